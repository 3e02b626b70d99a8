//! Programs: expressions of rules, bound to one lane and evaluated sample by sample.
//!
//! Binding puts the lane's texts and tags in, so that what compares texts becomes `true` or
//! `false`, and folds what is constant; what is left is arithmetic on inputs.
//!
//! Invariants:
//! - Evaluation allocates nothing, and recurses as deep as an expression is nested: at most
//!   [`DEPTH_MAX`](crate::rules::expression::DEPTH_MAX).
//! - The same on every target: + − × ÷ %, square root, rounding and comparisons of `f64`, all
//!   exact or correctly rounded, in the order in which they are written.
//! - *Undefined* is a NaN. Whatever is not finite is made one at once: a division by zero, an
//!   overflow, an input that is not there. It spreads through arithmetic and comparisons; `&&`,
//!   `||` and `?:` may decide without it.

mod bind;
mod evaluate;
#[cfg(test)]
mod tests;

use std::ops::Bound;

use crate::rules::expression::{Arithmetic, Comparison, Expression, Function};

/// What is the same for every sample of a lane.
#[derive(Debug, Clone, Copy)]
pub struct Constants<'a> {
    /// The site.
    pub site: &'a str,
    /// The device's name.
    pub device: &'a str,
    /// The sensor's name.
    pub sensor: &'a str,
    /// The sensor's unit.
    pub unit: &'a str,
    /// The sensor's kind: `gauge`, `counter`, `state` or `bool`.
    pub kind: &'a str,
    /// The sensor's tags; one that is not here is an empty text.
    pub tags: &'a [(&'a str, &'a str)],
}

/// An expression bound to a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Program(Root);

#[derive(Debug, Clone, PartialEq)]
enum Root {
    Number(Number),
    Condition(Condition),
    Text(String),
}

/// A number; NaN when undefined, never infinite.
#[derive(Debug, Clone, PartialEq)]
enum Number {
    Constant(f64),
    Input(usize),
    Negative(Box<Number>),
    Arithmetic(Arithmetic, Box<[Number; 2]>),
    Function(Function, Box<Number>),
    Least(Box<[Number]>),
    Greatest(Box<[Number]>),
    Choice(Box<(Condition, [Number; 2])>),
}

/// A condition: holds, does not, or is undefined.
#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Constant(Option<bool>),
    /// An input compared with a constant that is defined: most of all conditions.
    Against(Comparison, usize, f64),
    Compare(Comparison, Box<[Number; 2]>),
    OneOf(Box<Number>, Box<[f64]>),
    Same(Box<[Condition; 2]>),
    Not(Box<Condition>),
    All(Box<[Condition]>),
    Any(Box<[Condition]>),
    Choice(Box<[Condition; 3]>),
}

impl Program {
    /// Puts a lane's constants into an expression.
    pub fn bind(expression: &Expression, constants: &Constants<'_>) -> Self {
        Self(bind::root(expression.tree(), constants))
    }

    /// The number that it gives. `None` when that is undefined: a division by zero, an overflow,
    /// an input that it needs and that is absent (a NaN, or beyond `inputs`). Of a condition: 1
    /// when it holds, 0 when it does not.
    pub fn number(&self, inputs: &[f64]) -> Option<f64> {
        match &self.0 {
            Root::Number(number) => Some(number.value(inputs)).filter(|value| value.is_finite()),
            Root::Condition(condition) => condition
                .holds(inputs)
                .map(|holds| f64::from(u8::from(holds))),
            Root::Text(_) => None,
        }
    }

    /// Whether it holds; `None` when that is undefined. As in CEL, `false && undefined` is false
    /// and `true || undefined` true, in either order. Only a condition holds.
    pub fn holds(&self, inputs: &[f64]) -> Option<bool> {
        match &self.0 {
            Root::Condition(condition) => condition.holds(inputs),
            Root::Number(_) | Root::Text(_) => None,
        }
    }

    /// The text that it gives, if it gives a text: the same for every sample.
    pub fn text(&self) -> Option<&str> {
        match &self.0 {
            Root::Text(text) => Some(text),
            Root::Number(_) | Root::Condition(_) => None,
        }
    }

    /// The values of input 0 for which it holds, when those are all that matters and lie between
    /// two bounds: comparisons (but `!=`) of input 0 with constants, joined by `&&`, or `true` or
    /// `false`. An interval whose lower bound is above the upper one is empty.
    ///
    /// For every finite input, `holds` is `Some(true)` inside and `Some(false)` outside.
    pub fn interval(&self) -> Option<(Bound<f64>, Bound<f64>)> {
        match &self.0 {
            Root::Condition(condition) => condition.interval(),
            Root::Number(_) | Root::Text(_) => None,
        }
    }
}
