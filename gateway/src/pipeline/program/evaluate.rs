//! Evaluation: a walk over what binding left.

use super::{Condition, Number};
use crate::rules::expression::{Arithmetic, Comparison, Function};

/// Makes everything undefined that is not finite.
#[inline]
fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { f64::NAN }
}

/// An input, undefined when it is absent.
#[inline]
fn input(inputs: &[f64], at: usize) -> f64 {
    inputs.get(at).copied().map_or(f64::NAN, finite)
}

impl Number {
    /// Its value: finite, or NaN when undefined.
    pub(super) fn value(&self, inputs: &[f64]) -> f64 {
        match self {
            Self::Constant(number) => *number,
            Self::Input(at) => input(inputs, *at),
            Self::Negative(of) => -of.value(inputs),
            Self::Arithmetic(operator, sides) => {
                let [left, right] = &**sides;
                operator.of(left.value(inputs), right.value(inputs))
            }
            Self::Function(function, of) => function.of(of.value(inputs)),
            Self::Least(parts) => chosen(parts, inputs, |a, b| a < b),
            Self::Greatest(parts) => chosen(parts, inputs, |a, b| a > b),
            Self::Choice(parts) => {
                let (condition, [then, otherwise]) = &**parts;
                match condition.holds(inputs) {
                    Some(true) => then.value(inputs),
                    Some(false) => otherwise.value(inputs),
                    None => f64::NAN,
                }
            }
        }
    }
}

/// The first that is better than all others; undefined when one is. `f64::min` would leave NaN
/// out, and which zero it gives is the target's choice.
fn chosen(parts: &[Number], inputs: &[f64], better: fn(f64, f64) -> bool) -> f64 {
    let mut parts = parts.iter().map(|part| part.value(inputs));
    let first = parts.next().unwrap_or(f64::NAN);
    parts.fold(first, |best, next| {
        if best.is_nan() || next.is_nan() {
            f64::NAN
        } else if better(next, best) {
            next
        } else {
            best
        }
    })
}

impl Arithmetic {
    /// Undefined when a side is, or the result is not finite.
    #[inline]
    fn of(self, left: f64, right: f64) -> f64 {
        finite(match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
        })
    }
}

impl Function {
    /// Undefined when its argument is, and for the root of a negative number.
    #[inline]
    fn of(self, argument: f64) -> f64 {
        match self {
            Self::Abs => argument.abs(),
            Self::Sqrt => argument.sqrt(),
            Self::Floor => argument.floor(),
            Self::Ceil => argument.ceil(),
            Self::Round => argument.round(),
        }
    }
}

impl Comparison {
    /// Undefined when a side is.
    #[inline]
    #[expect(
        clippy::float_cmp,
        reason = "`==` compares two numbers exactly; who wants a tolerance writes `abs(a - b) < c`"
    )]
    pub(super) fn of(self, left: f64, right: f64) -> Option<bool> {
        if left.is_nan() || right.is_nan() {
            return None;
        }
        Some(match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        })
    }
}

impl Condition {
    /// Whether it holds; `None` when undefined.
    pub(super) fn holds(&self, inputs: &[f64]) -> Option<bool> {
        match self {
            Self::Constant(holds) => *holds,
            Self::Against(comparison, at, number) => comparison.of(input(inputs, *at), *number),
            Self::Compare(comparison, sides) => {
                let [left, right] = &**sides;
                comparison.of(left.value(inputs), right.value(inputs))
            }
            Self::OneOf(of, list) => {
                let of = of.value(inputs);
                (!of.is_nan()).then(|| list.contains(&of))
            }
            Self::Same(sides) => {
                let [left, right] = &**sides;
                Some(left.holds(inputs)? == right.holds(inputs)?)
            }
            Self::Not(of) => of.holds(inputs).map(|holds| !holds),
            Self::All(parts) => decided(parts, inputs, false),
            Self::Any(parts) => decided(parts, inputs, true),
            Self::Choice(parts) => {
                let [condition, then, otherwise] = &**parts;
                if condition.holds(inputs)? {
                    then.holds(inputs)
                } else {
                    otherwise.holds(inputs)
                }
            }
        }
    }
}

/// Whether one of them is `decisive`; undefined when none is, but one is undefined.
fn decided(parts: &[Condition], inputs: &[f64], decisive: bool) -> Option<bool> {
    let mut defined = true;
    for part in parts {
        match part.holds(inputs) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => defined = false,
        }
    }
    defined.then_some(!decisive)
}
