//! Names: what the language itself calls things, and what people call them elsewhere.

use super::node::{Constant, Function, Relation};
use crate::rules::mistake::nearest;

/// What a function does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// Something of one number.
    OfOne(Function),
    /// The smallest of two or more.
    Least,
    /// The largest of two or more.
    Greatest,
}

/// Every function.
pub(super) const FUNCTIONS: &[(&str, Known)] = &[
    ("abs", Known::OfOne(Function::Abs)),
    ("min", Known::Least),
    ("max", Known::Greatest),
    ("sqrt", Known::OfOne(Function::Sqrt)),
    ("floor", Known::OfOne(Function::Floor)),
    ("ceil", Known::OfOne(Function::Ceil)),
    ("round", Known::OfOne(Function::Round)),
];
/// Every method of a text.
const METHODS: &[(&str, Relation)] = &[
    ("startsWith", Relation::StartsWith),
    ("endsWith", Relation::EndsWith),
    ("contains", Relation::Contains),
];
/// What there is, as messages say it.
pub(super) const EXPECTED_FUNCTION: &str = "expected abs, min, max, sqrt, floor, ceil or round, or on a text startsWith, endsWith or contains";
/// What CEL keeps for itself.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];
/// What other languages, and the rest of CEL, call functions.
const OTHER_FUNCTIONS: &[(&str, &str)] = &[
    ("ceiling", "ceil"),
    ("endswith", "endsWith"),
    ("ends_with", "endsWith"),
    ("fabs", "abs"),
    ("greatest", "max"),
    ("includes", "contains"),
    ("least", "min"),
    ("starts_with", "startsWith"),
];

/// Whether a name can stand for a number beside the names that an expression has anyway.
pub fn usable_as_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(starts_name)
        && bytes.all(continues_name)
        && name != "tags"
        && name != "math"
        && !RESERVED.contains(&name)
        && FUNCTIONS.iter().all(|(known, _)| *known != name)
        && Constant::ALL.iter().all(|constant| constant.name() != name)
}

/// What a method of a text asks.
pub(super) fn method(name: &str) -> Option<Relation> {
    let known = METHODS.iter().find(|(known, _)| *known == name);
    known.map(|(_, relation)| *relation)
}

/// Whether a name begins with it.
pub(super) fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Whether it can be inside a name.
pub(super) fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What to write for a function or method that does not exist.
pub(super) fn function_meant(typed: &str) -> Option<String> {
    let known = match typed {
        "has" => "a tag that is not there is an empty text: write `tags.name != \"\"`",
        "double" | "int" | "uint" => "every number is a double here: leave the conversion out",
        "string" => "names and tags are texts already",
        "matches" => "there are no patterns: use startsWith, endsWith, contains or `in`",
        "size" => "compare a text with \"\" to see whether it is empty",
        "pow" => "multiply: `x * x`",
        _ => "",
    };
    if !known.is_empty() {
        return Some(known.to_owned());
    }
    let lower = typed.to_lowercase();
    let other = OTHER_FUNCTIONS.iter().find(|(name, _)| *name == lower);
    let functions = FUNCTIONS.iter().map(|(name, _)| *name);
    let methods = METHODS.iter().map(|(name, _)| *name);
    // Short names are all alike: `sin` is not a slip for `min`.
    let near = || nearest(typed, functions.chain(methods)).filter(|_| typed.len() > 3);
    other
        .map(|(_, name)| *name)
        .or_else(near)
        .map(|name| format!("did you mean `{name}`?"))
}
