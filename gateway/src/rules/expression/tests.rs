//! Tests of expressions: what is read, and what is told of mistakes.

use super::*;

/// A value, two aliases, every text and tags.
pub(super) const SCOPE: Scope<'_> = Scope {
    numbers: &["value", "flow", "limit"],
    texts: Constant::ALL,
    tags: true,
};

fn mistakes(text: &str, wanted: Type) -> Vec<ExpressionMistake> {
    match parse(text, wanted, &SCOPE) {
        Ok(expression) => panic!("{text} is read as {:?}", expression.tree),
        Err(mistakes) => mistakes,
    }
}

/// Line for line what is wrong where.
fn told(text: &str) -> String {
    let lines: Vec<String> = mistakes(text, Type::Bool)
        .iter()
        .map(|mistake| {
            let help = mistake.help.as_ref().map(|help| format!(" ({help})"));
            format!(
                "{}..{} [{}] {}: {}{}",
                mistake.span.start,
                mistake.span.end,
                &text[mistake.span.clone()],
                mistake.message,
                mistake.expected,
                help.unwrap_or_default()
            )
        })
        .collect();
    lines.join("\n")
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
            "value > 1 == flow > 2 == true",
            "(((value > 1) == flow > 2)) == true",
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
        if plain.contains("==") {
            // `a > 1 == b > 2` is `((a > 1) == b) > 2`, which compares a condition with a number.
            assert!(parse(plain, Type::Bool, &SCOPE).is_err(), "{plain}");
            assert!(parse(bracketed, Type::Bool, &SCOPE).is_err(), "{bracketed}");
            continue;
        }
        assert_eq!(tree(plain), tree(bracketed), "{plain}");
    }
}
