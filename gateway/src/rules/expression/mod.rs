//! Expressions: conditions and formulas of rules, in a part of CEL (<https://cel.dev>).
//!
//! What is supported, and what each operator does, is said in `docs/rules-expressions.md`. Two
//! things differ from CEL: every number is an `f64`, so that `value * 2` means what it says; and
//! every type is checked before anything runs.
//!
//! ```text
//! text ─▶ lexer: tokens ─▶ syntax: what was written, with its places ─▶ check: the typed tree
//! ```
//!
//! Invariants:
//! - Any text is answered: it is at most [`TEXT_BYTES_MAX`] long, and neither what was written
//!   nor the tree is deeper than [`DEPTH_MAX`], so that nothing recurses further.
//! - The log holds the tree, not only the text: replaying needs no parser.
//! - Everything that every tool of CEL would read differently is refused, not reinterpreted.

mod check;
mod lexer;
mod names;
mod node;
mod syntax;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use self::names::usable_as_name;
pub use self::node::{
    Arithmetic, Comparison, Condition, Constant, Function, Number, Relation, Text, Tree,
};

/// Longest expression: several screens' worth; longer ones are rather several rules.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// Deepest nesting of an expression and of its tree. As JSON a level takes two of the 128 that a
/// reader of JSON goes down.
pub const DEPTH_MAX: usize = 40;

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A number.
    Number,
    /// Whether something holds.
    Bool,
    /// A text.
    Text,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a number",
            Self::Bool => "a condition",
            Self::Text => "a text",
        })
    }
}

/// Names that an expression may use.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Numbers, in the order in which a program gets its inputs: `value`, then aliases.
    pub numbers: &'a [&'a str],
    /// Texts.
    pub texts: &'a [Constant],
    /// Whether there are `tags.NAME` and `tags["NAME"]`.
    pub tags: bool,
}

impl Scope<'static> {
    /// What an expression over one sample may use: its value, its sensor's names and tags.
    pub const SAMPLE: Self = Self {
        numbers: &["value"],
        texts: Constant::ALL,
        tags: true,
    };
}

/// An expression that was read and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expression {
    /// What was written.
    pub text: String,
    tree: Tree,
}

impl Expression {
    /// What runs.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What it gives.
    pub fn gives(&self) -> Type {
        match self.tree {
            Tree::Number(_) => Type::Number,
            Tree::Condition(_) => Type::Bool,
            Tree::Text(_) => Type::Text,
        }
    }
}

/// A mistake in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionMistake {
    /// The offending part: bytes of the text.
    pub span: Range<usize>,
    /// What is wrong, in a sentence without its stop.
    pub message: String,
    /// What was expected, in a few words; may be empty.
    pub expected: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl ExpressionMistake {
    fn new(
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        Self {
            span,
            message: message.into(),
            expected: expected.into(),
            help,
        }
    }
}

/// Reads an expression that is to give `wanted`. Of mistakes in its grammar the first is told, of
/// mistaken names and types all, in the order of the text.
pub fn parse(
    text: &str,
    wanted: Type,
    scope: &Scope<'_>,
) -> Result<Expression, Vec<ExpressionMistake>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(vec![ExpressionMistake::new(
            0..text.len(),
            format!("an expression of {} bytes is too long", text.len()),
            format!("expected at most {TEXT_BYTES_MAX} bytes"),
            Some("say it in several rules".to_owned()),
        )]);
    }
    let syntax = syntax::read(text).map_err(|mistake| vec![mistake])?;
    let tree = check::check(text, &syntax, wanted, scope)?;
    Ok(Expression {
        text: text.to_owned(),
        tree,
    })
}
