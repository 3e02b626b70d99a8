//! Tests of programs: each operator and function, and what is undefined.

use super::*;
use crate::rules::expression::{Constant, Scope, Type, parse};

const SCOPE: Scope<'_> = Scope {
    numbers: &["value", "flow"],
    texts: Constant::ALL,
    tags: true,
};
const CONSTANTS: Constants<'_> = Constants {
    site: "pump-house",
    device: "pump-1",
    sensor: "vibration.rms",
    unit: "mm/s",
    kind: "gauge",
    tags: &[("line", "A")],
};

fn bound(text: &str, wanted: Type) -> Program {
    Program::bind(&parse(text, wanted, &SCOPE).unwrap(), &CONSTANTS)
}

fn number(text: &str, inputs: &[f64]) -> Option<f64> {
    bound(text, Type::Number).number(inputs)
}

fn holds(text: &str, inputs: &[f64]) -> Option<bool> {
    bound(text, Type::Bool).holds(inputs)
}

#[test]
fn numbers_are_computed() {
    for (text, expected) in [
        ("value + flow", 5.0),
        ("value - flow", 10.0),
        ("value * flow", -18.75),
        ("value / flow", -3.0),
        ("value % 2", 1.5),
        ("-value % 2", -1.5),
        ("value % flow", 0.0),
        ("1 + 2 * 3 - 4 / 8", 6.5),
        ("abs(flow)", 2.5),
        ("sqrt(value + 1.5)", 3.0),
        ("floor(flow)", -3.0),
        ("ceil(flow)", -2.0),
        ("round(flow)", -3.0),
        ("round(value)", 8.0),
        ("min(value, flow, 3)", -2.5),
        ("max(value, flow, 3)", 7.5),
        ("value > flow ? value : flow", 7.5),
        ("unit == 'mm/s' ? value * 1000 : value", 7500.0),
        ("0x10", 16.0),
        (".5e1", 5.0),
    ] {
        assert_eq!(number(text, &[7.5, -2.5]), Some(expected), "{text}");
    }
}

#[test]
fn conditions_hold_or_do_not() {
    for (text, expected) in [
        ("value < 7.5", false),
        ("value <= 7.5", true),
        ("value > 7.5", false),
        ("value >= 7.5", true),
        ("value == 7.5", true),
        ("value != 7.5", false),
        ("7 < value", true),
        ("flow * -3 == value", true),
        ("value in [1, 7.5]", true),
        ("value in []", false),
        ("value > 7 && flow > 0", false),
        ("value > 7 || flow > 0", true),
        ("!(value > 7)", false),
        ("(value > 7) == (flow < 0)", true),
        ("(value > 7) != (flow < 0)", false),
        ("value > 7 ? flow < 0 : flow > 0", true),
        ("site == 'pump-house' && device != \"pump-2\"", true),
        (
            "sensor.endsWith('.rms') && sensor.startsWith('vib') && sensor.contains('ion.')",
            true,
        ),
        ("unit in ['m/s', 'mm/s']", true),
        ("kind in []", false),
        ("tags.line == tags['line'] && tags.line == 'A'", true),
        ("tags.missing == ''", true),
        ("tags.missing.contains('A')", false),
    ] {
        assert_eq!(holds(text, &[7.5, -2.5]), Some(expected), "{text}");
    }
}

#[test]
fn what_is_not_finite_is_undefined() {
    for text in [
        "value / (flow - flow)",
        "value % (flow - flow)",
        "1e308 * value * value",
        "sqrt(-value)",
        // Even where a value beyond all numbers would end in one of them.
        "1 / (1 / (flow - flow))",
        "min(1 / (flow - flow), 1)",
        "max(sqrt(-value), 1)",
        "1 / (1 - 1) > 3 ? 1 : 2",
    ] {
        assert_eq!(number(text, &[7.5, -2.5]), None, "{text}");
    }
    for absent in [&[7.5][..], &[7.5, f64::NAN], &[7.5, f64::INFINITY]] {
        assert_eq!(number("value + flow", absent), None);
        assert_eq!(number("value > 3 ? value : flow", absent), Some(7.5));
        assert_eq!(number("min(value, flow)", absent), None);
        assert_eq!(holds("value < flow", absent), None);
        assert_eq!(holds("flow != flow", absent), None);
        assert_eq!(holds("flow in [1]", absent), None);
    }
}

#[test]
fn and_and_or_are_three_valued() {
    let undefined = "flow > 1";
    for (text, expected) in [
        (format!("false && {undefined}"), Some(false)),
        (format!("{undefined} && value < 0"), Some(false)),
        (format!("value > 0 && {undefined}"), None),
        (format!("{undefined} || value > 0"), Some(true)),
        (format!("value < 0 || {undefined}"), None),
        (format!("!({undefined})"), None),
        (format!("({undefined}) == ({undefined})"), None),
        (format!("{undefined} ? true : true"), None),
    ] {
        assert_eq!(holds(&text, &[7.5, f64::NAN]), expected, "{text}");
    }
}

#[test]
fn what_is_constant_is_folded() {
    for (text, expected) in [
        ("device == 'pump-1'", Some(true)),
        ("device == 'pump-2' && value > 3", Some(false)),
        ("tags.line in ['A'] || value > 3", Some(true)),
        ("1 + 1 == 2", Some(true)),
        ("3 / (2 - 2) > 1", None),
        ("(1 - 1) / (2 - 2) in [1]", None),
    ] {
        let folded = Program(Root::Condition(Condition::Constant(expected)));
        assert_eq!(bound(text, Type::Bool), folded, "{text}");
    }
    let plain = bound("value > 6", Type::Bool);
    for text in [
        "device == 'pump-1' && value > 2 * 3",
        "6 < value",
        "!(value <= 6)",
        "(value > 6) == true",
        "device == 'other' ? value > 1 : value > 6",
        "value > 6 || kind == 'bool'",
    ] {
        assert_eq!(bound(text, Type::Bool), plain, "{text}");
    }
}

#[test]
fn a_program_gives_what_its_expression_gives() {
    let inputs = &[7.5, 1.0];
    assert_eq!(bound("device", Type::Text).text(), Some("pump-1"));
    assert_eq!(bound("device", Type::Text).number(inputs), None);
    assert_eq!(bound("value", Type::Number).holds(inputs), None);
    assert_eq!(bound("value > 1", Type::Bool).number(inputs), Some(1.0));
    assert_eq!(bound("value < 1", Type::Bool).number(inputs), Some(0.0));
    assert_eq!(bound("value", Type::Number).interval(), None);
}
