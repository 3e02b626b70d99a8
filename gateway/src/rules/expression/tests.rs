//! Tests of expressions: what is read, and what is told of mistakes.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// A value, two aliases, every text and tags.
const SCOPE: Scope<'_> = Scope {
    numbers: &["value", "flow", "limit"],
    texts: Constant::ALL,
    tags: true,
};

/// Every mistake of a text with its place.
fn told(text: &str) -> String {
    let Err(mistakes) = parse(text, Type::Bool, &SCOPE) else {
        panic!("{text} is read");
    };
    let mut told = format!("`{}`\n", text.escape_debug());
    for mistake in mistakes {
        let ExpressionMistake {
            span,
            message,
            expected,
            help,
        } = mistake;
        let part = text[span.clone()].escape_debug();
        writeln!(told, "{}..{} `{part}`", span.start, span.end).unwrap();
        let lines = [Some(message), Some(expected), help].into_iter().flatten();
        for line in lines.filter(|line| !line.is_empty()) {
            writeln!(told, "  {line}").unwrap();
        }
    }
    told
}

#[test]
fn what_is_written_is_read() {
    for (text, wanted) in [
        ("value > 4.5", Type::Bool),
        ("value * 2 + -1 <= limit % 3", Type::Bool),
        ("device == \"pump-1\" && value > 3", Type::Bool),
        (
            "unit in ['C', \"K\"] || value in [1, -2.5, 0x10]",
            Type::Bool,
        ),
        (
            "tags.line.startsWith('a') && !tags[\"hall 3\"].contains(r\"\\\")",
            Type::Bool,
        ),
        (
            "(value > 3 ? flow : abs(limit)) >= 0.5e-3 // why",
            Type::Bool,
        ),
        ("value > 1 == (flow < .5)", Type::Bool),
        (
            "min(value, flow, 3) - max(sqrt(value), round(floor(ceil(2.5))))",
            Type::Number,
        ),
        ("device", Type::Text),
        ("true", Type::Bool),
    ] {
        let expression = parse(text, wanted, &SCOPE).unwrap_or_else(|found| panic!("{found:?}"));
        assert_eq!(expression.gives(), wanted);
        assert_eq!(expression.text, text);
    }
}

#[test]
fn precedence_is_that_of_cel() {
    let tree = |text| parse(text, Type::Bool, &SCOPE).unwrap().tree;
    for (plain, bracketed) in [
        ("value + 2 * 3 > 4", "(value + (2 * 3)) > 4"),
        ("value - 2 - 3 > 4", "((value - 2) - 3) > 4"),
        ("value / 2 * 3 > 4", "((value / 2) * 3) > 4"),
        ("-value * 3 > 4", "((-value) * 3) > 4"),
        (
            "value > 1 && flow > 2 || limit > 3",
            "((value > 1) && (flow > 2)) || (limit > 3)",
        ),
        (
            "value > 1 || flow > 2 && limit > 3",
            "(value > 1) || ((flow > 2) && (limit > 3))",
        ),
        (
            "value > 1 == true == false",
            "((value > 1) == true) == false",
        ),
        (
            "true ? false : value > 1 ? true : false",
            "true ? false : ((value > 1) ? true : false)",
        ),
        (
            "true || false ? value > 1 : false",
            "(true || false) ? (value > 1) : false",
        ),
    ] {
        assert_eq!(tree(plain), tree(bracketed), "{plain}");
    }
}

/// What is told of each, in `mistakes.txt`.
const MISTAKEN: &[&str] = &[
    "",
    "value",
    "value > \"a\"",
    "value > device",
    "valu > 4",
    "value >",
    "value = 4",
    "value > 4,5",
    "value > 4 and flow > 3",
    "not value > 4",
    "value <> 4",
    "1 < value < 5",
    "value > 1u",
    "value > 1e999",
    "value > 99999999999999999999",
    "value > 4.",
    "value > 1_000",
    "has(tags.x)",
    "[1, 2].exists(x, x > value)",
    "device.matches(\"a.*\")",
    "value > pow(flow, 2)",
    "math.greatest(value, 3) > 2",
    "math.sin(value) > 2",
    "abs(value, 3) > 1",
    "min(value) > 1",
    "device > \"a\"",
    "device + \"x\" == \"a\"",
    "tags == \"x\"",
    "tags[3] == \"x\"",
    "value.x > 3",
    "\"a\" in tags",
    "value in flow",
    "value in [\"a\", flow, 3]",
    "null == value",
    "value > 3 ? device : sensor",
    "value > 3 ? 1 : true",
    "device == \"pump",
    "device == 'a\\q'",
    "b\"x\" == device",
    "value > 3 }",
    "{'a': 1}",
    "value & 3",
    "value > 1 / 0",
    "valu > 4 && flwo < device",
    "double(value) > 3",
    "(value > 3",
    "value > 3)",
    "device.startsWith(3)",
    "!value",
    "value && true",
    "-device > 3",
    "value ** 2 > 3",
    "é > 3",
    "unit == \"\"\"a\"\"\"",
    "value > 3 = true",
    "true < false",
    "[1]",
    "size(device) > 3",
    "kind.startswith('a')",
    "value > 1.5.2",
    "abs() > 1",
    "device.contains() && unit.endsWith(\"a\", \"b\")",
    "sin(value) > 0.5",
    "squareroot(value) > 2",
    "tags.a.b == \"x\"",
    "device.name == \"x\"",
    "value in [1, 2] in [3]",
    "value > 3 &&",
    "flow.startsWith(\"a\")",
    "-true",
    "value > 0x",
    "device == \"tab\tin a very long text that nobody wants to read twice\" > 3",
    "\"ü\" + valu",
    "value % 0 > 1",
    "true in [true]",
    "[value, 2] == [1]",
    "value > 3 ? true",
    "value > `x`",
];

#[test]
fn mistakes_are_told_as_in_the_golden_file() {
    let found: Vec<String> = MISTAKEN.iter().map(|text| told(text)).collect();
    let found = found.join("\n");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules/expression/mistakes.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    assert_eq!(
        found,
        expected,
        "UPDATE_GOLDEN=1 rewrites {}",
        golden.display()
    );
}

#[test]
fn an_expression_gives_what_is_wanted() {
    for (text, wanted) in [
        ("value", Type::Bool),
        ("value > 3", Type::Number),
        ("device", Type::Number),
        ("value", Type::Text),
    ] {
        let [mistake] = &parse(text, wanted, &SCOPE).unwrap_err()[..] else {
            panic!("{text}");
        };
        assert_eq!(mistake.expected, format!("expected {wanted}"));
        assert_eq!(mistake.span, 0..text.len());
    }
}

#[test]
fn only_what_is_in_scope_is_known() {
    let bare = Scope {
        numbers: &["value"],
        texts: &[Constant::Unit],
        tags: false,
    };
    assert!(parse("value > 3 && unit == 'C'", Type::Bool, &bare).is_ok());
    for text in [
        "flow > 3",
        "device == 'a'",
        "tags.line == 'A'",
        "tags['line'] == 'A'",
    ] {
        let found = parse(text, Type::Bool, &bare).unwrap_err();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].expected, "expected value or unit");
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    let nested = |open: &str, close: &str, levels: usize| {
        format!("{}value{} > 1", open.repeat(levels), close.repeat(levels))
    };
    let refused = |text: &str| {
        parse(text, Type::Bool, &SCOPE).unwrap_err()[0]
            .message
            .clone()
    };
    assert!(parse(&nested("(", ")", DEPTH_MAX - 1), Type::Bool, &SCOPE).is_ok());
    for text in [
        nested("(", ")", DEPTH_MAX),
        nested("abs(", ")", DEPTH_MAX),
        nested("-", "", DEPTH_MAX),
        nested("", " + 1", DEPTH_MAX),
        "(".repeat(TEXT_BYTES_MAX),
        "[".repeat(TEXT_BYTES_MAX),
        "!".repeat(TEXT_BYTES_MAX),
        "tags[".repeat(200),
        format!("true{}", " ? true : true".repeat(60)),
        format!("device{}", ".a".repeat(500)),
    ] {
        assert_eq!(
            refused(&text),
            "the expression is nested too deeply here",
            "{text}"
        );
    }
    let long = format!("value > 1{}", " ".repeat(TEXT_BYTES_MAX));
    assert_eq!(refused(&long), "an expression of 1033 bytes is too long");
    // Any number of conditions is one level.
    let wide = format!("value > 1{}", " && value < 9".repeat(75));
    assert!(parse(&wide, Type::Bool, &SCOPE).is_ok());
}

/// A reader of JSON goes down 128 levels; the rule set around an expression takes some.
#[test]
fn the_deepest_tree_is_read_back_from_json() {
    for text in [
        format!(
            "{}value{} > 1",
            "abs(".repeat(DEPTH_MAX - 3),
            ")".repeat(DEPTH_MAX - 3)
        ),
        format!("value{} > 1", " + 1".repeat(DEPTH_MAX - 2)),
        format!("{}true{}", "!(true && ".repeat(19), ")".repeat(19)),
        format!("true{}", " ? true : true".repeat(DEPTH_MAX - 1)),
    ] {
        let expression = parse(&text, Type::Bool, &SCOPE).unwrap();
        let mut json = serde_json::to_string(&expression).unwrap();
        for _ in 0..20 {
            json = format!("[{json}]");
        }
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        let inside = (0..20).fold(&read, |read, _| &read[0]);
        assert_eq!(
            serde_json::from_value::<Expression>(inside.clone()).unwrap(),
            expression
        );
    }
}

#[test]
fn a_name_is_usable_when_nothing_else_has_it() {
    for name in ["flow", "_a1", "inlet_C", "minimum"] {
        assert!(usable_as_name(name), "{name}");
    }
    for name in [
        "", "1a", "a-b", "a.b", "é", "true", "in", "while", "min", "device", "tags", "math",
    ] {
        assert!(!usable_as_name(name), "{name}");
    }
}
