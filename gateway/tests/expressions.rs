//! Expressions against a naive evaluator, against the `cel` crate, and against any text at all.

#![expect(clippy::unwrap_used, reason = "a fault in a test is to fail it")]

use std::cell::Cell;
use std::fmt::Write as _;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;

use proptest::prelude::*;
use proptest::sample::select;
use tidegate_gateway::pipeline::program::{Constants, Program};
use tidegate_gateway::rules::expression::{Constant, Expression, Scope, Type, parse};

const SCOPE: Scope<'_> = Scope {
    numbers: &["value", "flow", "limit"],
    texts: Constant::ALL,
    tags: true,
};
const CONSTANTS: Constants<'_> = Constants {
    site: "pump-house",
    device: "pump-1",
    sensor: "pressure",
    unit: "bar",
    kind: "gauge",
    tags: &[("line", "A"), ("hall 3", "north")],
};
/// How a text is written, and what it is for `CONSTANTS`.
const TEXTS: &[(&str, &str)] = &[
    ("site", "pump-house"),
    ("device", "pump-1"),
    ("unit", "bar"),
    ("kind", "gauge"),
    ("tags.line", "A"),
    ("tags[\"hall 3\"]", "north"),
    ("tags.missing", ""),
    ("'pump'", "pump"),
    ("\"\\x41\"", "A"),
    ("r'bar'", "bar"),
    ("\"\"", ""),
];
/// Literals, none of them 0: dividing by that is a mistake.
const LITERALS: &[f64] = &[
    1.0, 2.0, 3.0, 0.5, -1.0, -2.5, 7.25, 1e-3, 1e154, 1.7e308, 5e-324,
];
/// Inputs, absent and unusable ones too.
const INPUTS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    2.0,
    -1.0,
    0.5,
    -2.5,
    3.0,
    4.0,
    1e154,
    1e308,
    -1e308,
    f64::NAN,
    f64::INFINITY,
];

#[derive(Debug, Clone)]
enum Number {
    Literal(f64),
    Input(usize),
    Negative(Box<Number>),
    Binary(&'static str, Box<[Number; 2]>),
    Function(&'static str, Vec<Number>),
    Choice(Box<(Condition, Number, Number)>),
}

type Text = (&'static str, &'static str);

#[derive(Debug, Clone)]
enum Condition {
    Literal(bool),
    Compare(&'static str, Box<[Number; 2]>),
    Equal(&'static str, Box<[Condition; 2]>),
    NumberIn(Box<Number>, Vec<f64>),
    TextIn(Text, Vec<&'static str>),
    Texts(&'static str, Text, Text),
    Method(&'static str, Text, Text),
    Not(Box<Condition>),
    Joined(&'static str, Vec<Condition>),
    Choice(Box<[Condition; 3]>),
}

/// Numbers; without `everything` only what the `cel` crate has for doubles.
fn number(depth: u32, everything: bool) -> BoxedStrategy<Number> {
    let leaf = prop_oneof![
        select(LITERALS).prop_map(Number::Literal),
        (0..3_usize).prop_map(Number::Input),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || number(depth - 1, everything);
    let operators: &[&str] = if everything {
        &["+", "-", "*", "/", "%"]
    } else {
        &["+", "-", "*", "/"]
    };
    let plain = prop_oneof![
        leaf,
        inner().prop_map(|of| Number::Negative(Box::new(of))),
        (select(operators), inner(), inner())
            .prop_map(|(operator, a, b)| Number::Binary(operator, Box::new([a, b]))),
        (condition(depth - 1, everything), inner(), inner())
            .prop_map(|parts| Number::Choice(Box::new(parts))),
    ];
    if !everything {
        return plain.boxed();
    }
    let of_one = select(&["abs", "sqrt", "floor", "ceil", "round"][..]);
    prop_oneof![
        3 => plain,
        1 => (of_one, inner()).prop_map(|(name, of)| Number::Function(name, vec![of])),
        1 => (select(&["min", "max"][..]), prop::collection::vec(inner(), 2..4))
            .prop_map(|(name, of)| Number::Function(name, of)),
    ]
    .boxed()
}

fn condition(depth: u32, everything: bool) -> BoxedStrategy<Condition> {
    let texts = || {
        select(TEXTS).prop_filter("the cel crate is given no tags", move |(written, _)| {
            everything || !written.starts_with("tags")
        })
    };
    let literals = select(&["pump", "A", "bar", ""][..]);
    let comparison = || select(&["<", "<=", ">", ">=", "==", "!="][..]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Condition::Literal),
        (comparison(), number(0, everything), number(0, everything))
            .prop_map(|(operator, a, b)| Condition::Compare(operator, Box::new([a, b]))),
        (select(&["==", "!="][..]), texts(), texts())
            .prop_map(|(operator, a, b)| Condition::Texts(operator, a, b)),
        (
            select(&["startsWith", "endsWith", "contains"][..]),
            texts(),
            texts()
        )
            .prop_map(|(name, a, b)| Condition::Method(name, a, b)),
        (texts(), prop::collection::vec(literals, 0..3))
            .prop_map(|(text, list)| Condition::TextIn(text, list)),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || condition(depth - 1, everything);
    let numbers = || number(depth - 1, everything);
    prop_oneof![
        1 => leaf,
        3 => (comparison(), numbers(), numbers())
            .prop_map(|(operator, a, b)| Condition::Compare(operator, Box::new([a, b]))),
        1 => (numbers(), prop::collection::vec(select(LITERALS), 0..3))
            .prop_map(|(of, list)| Condition::NumberIn(Box::new(of), list)),
        1 => (select(&["==", "!="][..]), inner(), inner())
            .prop_map(|(operator, a, b)| Condition::Equal(operator, Box::new([a, b]))),
        1 => inner().prop_map(|of| Condition::Not(Box::new(of))),
        3 => (select(&["&&", "||"][..]), prop::collection::vec(inner(), 2..4))
            .prop_map(|(operator, parts)| Condition::Joined(operator, parts)),
        1 => (inner(), inner(), inner())
            .prop_map(|(a, b, c)| Condition::Choice(Box::new([a, b, c]))),
    ]
    .boxed()
}

impl Number {
    fn written(&self) -> String {
        match self {
            Self::Literal(number) => format!("{number:?}"),
            Self::Input(at) => SCOPE.numbers[*at].to_owned(),
            Self::Negative(of) => format!("-({})", of.written()),
            Self::Binary(operator, sides) => {
                format!("({} {operator} {})", sides[0].written(), sides[1].written())
            }
            Self::Function(name, of) => {
                let of: Vec<String> = of.iter().map(Self::written).collect();
                format!("{name}({})", of.join(", "))
            }
            Self::Choice(parts) => {
                let (condition, then, otherwise) = &**parts;
                let condition = condition.written();
                format!(
                    "({condition} ? {} : {})",
                    then.written(),
                    otherwise.written()
                )
            }
        }
    }
}

impl Condition {
    fn written(&self) -> String {
        match self {
            Self::Literal(holds) => holds.to_string(),
            Self::Compare(operator, sides) => {
                format!("({} {operator} {})", sides[0].written(), sides[1].written())
            }
            Self::Equal(operator, sides) => {
                format!(
                    "(({}) {operator} ({}))",
                    sides[0].written(),
                    sides[1].written()
                )
            }
            Self::NumberIn(of, list) => format!("({} in {list:?})", of.written()),
            Self::TextIn((of, _), list) => format!("({of} in {list:?})"),
            Self::Texts(operator, (a, _), (b, _)) => format!("({a} {operator} {b})"),
            Self::Method(name, (a, _), (b, _)) => format!("{a}.{name}({b})"),
            Self::Not(of) => format!("!({})", of.written()),
            Self::Joined(operator, parts) => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|part| format!("({})", part.written()))
                    .collect();
                parts.join(&format!(" {operator} "))
            }
            Self::Choice(parts) => {
                let [a, b, c] = &**parts;
                format!(
                    "(({}) ? ({}) : ({}))",
                    a.written(),
                    b.written(),
                    c.written()
                )
            }
        }
    }
}

/// The naive evaluator: what the language is said to do, as directly as it can be said.
struct Naive<'a> {
    inputs: &'a [f64],
    /// Whether anything on the way was undefined.
    undefined: Cell<bool>,
}

impl Naive<'_> {
    fn finite(&self, number: f64) -> Option<f64> {
        if number.is_finite() {
            return Some(number);
        }
        self.undefined.set(true);
        None
    }

    fn number(&self, number: &Number) -> Option<f64> {
        match number {
            Number::Literal(number) => Some(*number),
            Number::Input(at) => self.finite(self.inputs[*at]),
            Number::Negative(of) => Some(-self.number(of)?),
            Number::Binary(operator, sides) => {
                let (a, b) = (self.number(&sides[0]), self.number(&sides[1]));
                let (a, b) = (a?, b?);
                self.finite(match *operator {
                    "+" => a + b,
                    "-" => a - b,
                    "*" => a * b,
                    "/" => a / b,
                    "%" => a % b,
                    other => panic!("{other}"),
                })
            }
            Number::Function(name, of) => {
                let of: Vec<Option<f64>> = of.iter().map(|of| self.number(of)).collect();
                let of: Vec<f64> = of.into_iter().collect::<Option<_>>()?;
                self.finite(match *name {
                    "abs" => of[0].abs(),
                    "sqrt" => of[0].sqrt(),
                    "floor" => of[0].floor(),
                    "ceil" => of[0].ceil(),
                    "round" => of[0].round(),
                    "min" => of.into_iter().reduce(|a, b| if b < a { b } else { a })?,
                    "max" => of.into_iter().reduce(|a, b| if b > a { b } else { a })?,
                    other => panic!("{other}"),
                })
            }
            Number::Choice(parts) => {
                let (condition, then, otherwise) = &**parts;
                if self.condition(condition)? {
                    self.number(then)
                } else {
                    self.number(otherwise)
                }
            }
        }
    }

    #[expect(clippy::float_cmp, reason = "that is what `==` says")]
    fn condition(&self, condition: &Condition) -> Option<bool> {
        Some(match condition {
            Condition::Literal(holds) => *holds,
            Condition::Compare(operator, sides) => {
                let (a, b) = (self.number(&sides[0]), self.number(&sides[1]));
                let (a, b) = (a?, b?);
                match *operator {
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    ">=" => a >= b,
                    "==" => a == b,
                    "!=" => a != b,
                    other => panic!("{other}"),
                }
            }
            Condition::Equal(operator, sides) => {
                let (a, b) = (self.condition(&sides[0]), self.condition(&sides[1]));
                (a? == b?) == (*operator == "==")
            }
            Condition::NumberIn(of, list) => {
                let of = self.number(of)?;
                list.contains(&of)
            }
            Condition::TextIn((_, of), list) => list.contains(of),
            Condition::Texts(operator, (_, a), (_, b)) => (a == b) == (*operator == "=="),
            Condition::Method(name, (_, a), (_, b)) => match *name {
                "startsWith" => a.starts_with(b),
                "endsWith" => a.ends_with(b),
                "contains" => a.contains(b),
                other => panic!("{other}"),
            },
            Condition::Not(of) => !self.condition(of)?,
            Condition::Joined(operator, parts) => {
                let decisive = *operator == "||";
                let parts: Vec<Option<bool>> =
                    parts.iter().map(|part| self.condition(part)).collect();
                if parts.contains(&Some(decisive)) {
                    decisive
                } else if parts.contains(&None) {
                    return None;
                } else {
                    !decisive
                }
            }
            Condition::Choice(parts) => {
                let [condition, then, otherwise] = &**parts;
                return if self.condition(condition)? {
                    self.condition(then)
                } else {
                    self.condition(otherwise)
                };
            }
        })
    }
}

/// Inputs for the three numbers of the scope.
fn inputs() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(select(INPUTS), 3)
}

/// The expression, unless it came out longer than one may be.
fn read(text: &str, wanted: Type) -> Option<Expression> {
    match parse(text, wanted, &SCOPE) {
        Ok(expression) => Some(expression),
        Err(mistakes) => {
            assert!(
                mistakes[0].message.contains("too long"),
                "{text}: {mistakes:?}"
            );
            None
        }
    }
}

/// What the `cel` crate makes of it; in a thread with room, as its parser takes about 85 KiB of
/// stack for a level of brackets when it is not optimised.
fn by_cel(text: &str, inputs: &[f64]) -> Result<cel::Value, String> {
    let (text, inputs) = (text.to_owned(), inputs.to_vec());
    let evaluation = move || {
        let program = cel::Program::compile(&text).map_err(|error| error.to_string())?;
        let mut context = cel::Context::default();
        for (name, value) in SCOPE.numbers.iter().zip(inputs) {
            context.add_variable_from_value(*name, value);
        }
        for (name, value) in TEXTS
            .iter()
            .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase()))
        {
            context.add_variable_from_value(*name, *value);
        }
        program.execute(&context).map_err(|error| error.to_string())
    };
    std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(evaluation)
        .unwrap()
        .join()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn numbers_are_what_a_naive_evaluator_says(tree in number(4, true), inputs in inputs()) {
        if let Some(expression) = read(&tree.written(), Type::Number) {
            let naive = Naive { inputs: &inputs, undefined: Cell::new(false) };
            let ours = Program::bind(&expression, &CONSTANTS).number(&inputs);
            let bits = |number: Option<f64>| number.map(f64::to_bits);
            prop_assert_eq!(bits(ours), bits(naive.number(&tree)), "{}", expression.text);
        }
    }

    #[test]
    fn conditions_are_what_a_naive_evaluator_says(tree in condition(4, true), inputs in inputs()) {
        if let Some(expression) = read(&tree.written(), Type::Bool) {
            let naive = Naive { inputs: &inputs, undefined: Cell::new(false) };
            let ours = Program::bind(&expression, &CONSTANTS).holds(&inputs);
            prop_assert_eq!(ours, naive.condition(&tree), "{}", expression.text);
        }
    }

    #[test]
    fn a_tree_survives_the_log(tree in condition(3, true), inputs in inputs()) {
        if let Some(expression) = read(&tree.written(), Type::Bool) {
            let json = serde_json::to_string(&expression).unwrap();
            let back: Expression = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&back, &expression);
            prop_assert_eq!(serde_json::to_string(&back).unwrap(), json);
            let bytes = postcard::to_stdvec(&expression).unwrap();
            prop_assert_eq!(&postcard::from_bytes::<Expression>(&bytes).unwrap(), &expression);
            let holds = |of: &Expression| Program::bind(of, &CONSTANTS).holds(&inputs);
            prop_assert_eq!(holds(&back), holds(&expression));
        }
    }

    /// Also for conditions that are not made to have one.
    #[test]
    fn an_interval_says_where_a_condition_holds(tree in condition(2, true), value in select(INPUTS)) {
        if let Some(expression) = read(&tree.written(), Type::Bool) {
            let program = Program::bind(&expression, &CONSTANTS);
            if let Some(interval) = program.interval().filter(|_| value.is_finite()) {
                prop_assert_eq!(program.holds(&[value]), Some(interval.contains(&value)), "{}", expression.text);
            }
        }
    }

    #[test]
    fn comparisons_of_the_value_have_an_interval(
        parts in prop::collection::vec(
            (any::<bool>(), any::<bool>(), select(&["<", "<=", ">", ">=", "=="][..]), -3_i8..3),
            1..5,
        ),
    ) {
        let mut text = String::from("device == 'pump-1'");
        for (turned, negated, operator, number) in &parts {
            let negated = if *negated && *operator != "==" { "!" } else { "" };
            let (a, b) = ("value".to_owned(), format!("{number} * 1.1"));
            let (a, b) = if *turned { (b, a) } else { (a, b) };
            write!(text, " && {negated}({a} {operator} {b})").unwrap();
        }
        let program = Program::bind(&parse(&text, Type::Bool, &SCOPE).unwrap(), &CONSTANTS);
        let interval = program.interval().unwrap();
        for number in -4..4 {
            let at = f64::from(number) * 1.1;
            for value in [at.next_down(), at, at.next_up(), at + 0.5] {
                prop_assert_eq!(program.holds(&[value]), Some(interval.contains(&value)), "{} at {}", text, value);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Doubles only: the `cel` crate adds no ints to doubles. It goes on with infinities, which
    /// are undefined here, so only where there are none.
    #[test]
    fn the_cel_crate_says_the_same(tree in condition(3, false), inputs in inputs()) {
        if let Some(expression) = read(&tree.written(), Type::Bool) {
            let naive = Naive { inputs: &inputs, undefined: Cell::new(false) };
            let said = naive.condition(&tree);
            if !naive.undefined.get() {
                let ours = Program::bind(&expression, &CONSTANTS).holds(&inputs);
                prop_assert_eq!(ours, said);
                let cel = by_cel(&expression.text, &inputs);
                prop_assert_eq!(cel, Ok(cel::Value::Bool(ours.unwrap())), "{}", expression.text);
            }
        }
    }
}

const TOKENS: &[&str] = &[
    "value",
    "flow",
    "device",
    "tags",
    "tags.x",
    "valu",
    "abs(",
    "min(",
    "has(",
    ".startsWith(",
    ".map(",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "<",
    ">=",
    "==",
    "=",
    "in",
    "?",
    ":",
    ",",
    ".",
    "1",
    "2.5",
    "1e999",
    "99999999999999999999",
    "0x",
    "1u",
    "\"a\"",
    "'",
    "\"\\u00",
    "r\"x\"",
    "b'a'",
    "é",
    "\\",
    "`a`",
    "//",
    "\n",
    "null",
    "true",
    "@",
    "\u{0}",
];

/// Every answer is one: an expression that runs, or mistakes with places in the text.
fn answered(text: &str) -> bool {
    let mut read = false;
    for wanted in [Type::Number, Type::Bool, Type::Text] {
        match parse(text, wanted, &SCOPE) {
            Ok(expression) => {
                read = true;
                let program = Program::bind(&expression, &CONSTANTS);
                for inputs in [&[][..], &[1.0, 2.0, 3.0], &[f64::NAN; 3]] {
                    let _ = (
                        program.number(inputs),
                        program.holds(inputs),
                        program.text(),
                    );
                }
                assert!(program.interval().is_none() || wanted == Type::Bool);
            }
            Err(mistakes) => {
                assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    assert!(
                        text.get(mistake.span.clone()).is_some(),
                        "{text:?}: {mistake:?}"
                    );
                    assert!(!mistake.message.is_empty() && !mistake.message.contains('\n'));
                }
            }
        }
    }
    read
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// And what is read here, the `cel` crate's parser reads too.
    #[test]
    fn any_tokens_are_answered(tokens in prop::collection::vec((select(TOKENS), any::<bool>()), 0..14)) {
        let mut text = String::new();
        for (token, gap) in tokens {
            text.push_str(token);
            text.push_str(if gap { " " } else { "" });
        }
        if answered(&text) {
            let cel = by_cel(&text, &[1.0, 2.0, 3.0]);
            let refused = cel.err().filter(|error| error.contains("ERROR:"));
            prop_assert_eq!(refused, None, "{}", text);
        }
    }

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        answered(&text);
    }
}

#[test]
fn every_example_of_the_page_is_read() {
    let page = include_str!("../../docs/rules-expressions.md");
    let blocks: Vec<&str> = page
        .split("```cel\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let examples: Vec<&str> = blocks
        .iter()
        .flat_map(|block| block.lines())
        .filter(|line| !line.is_empty())
        .collect();
    assert!(examples.len() >= 12, "{} examples", examples.len());
    for example in examples {
        let read =
            parse(example, Type::Bool, &SCOPE).or_else(|_| parse(example, Type::Number, &SCOPE));
        assert!(read.is_ok(), "{example}: {read:?}");
    }
}

#[test]
fn an_interval_is_closed_where_its_comparison_is() {
    let interval = |text: &str| {
        Program::bind(&parse(text, Type::Bool, &SCOPE).unwrap(), &CONSTANTS).interval()
    };
    for (text, expected) in [
        ("value > 4.5", Some((Excluded(4.5), Unbounded))),
        ("4.5 <= value", Some((Included(4.5), Unbounded))),
        (
            "value >= 1 && value < 2 && value >= 1.5",
            Some((Included(1.5), Excluded(2.0))),
        ),
        ("value <= 2 && value < 2", Some((Unbounded, Excluded(2.0)))),
        ("!(value > 4.5)", Some((Unbounded, Included(4.5)))),
        ("value == -2", Some((Included(-2.0), Included(-2.0)))),
        (
            "device == 'pump-1' && value > 2 * 3",
            Some((Excluded(6.0), Unbounded)),
        ),
        ("kind == 'gauge'", Some((Unbounded, Unbounded))),
        ("value != 3", None),
        ("flow > 3", None),
        ("value > flow", None),
        ("value > 3 || value < 1", None),
        ("value * 2 > 3", None),
        ("value > 1 && 1 / (2 - 2) > 1", None),
    ] {
        assert_eq!(interval(text), expected, "{text}");
    }
    assert!(
        !interval("device == 'other' && value > 2")
            .unwrap()
            .contains(&3.0)
    );
}
