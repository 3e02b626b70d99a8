//! Values: for which of them a condition holds.
//!
//! A set of numbers is the stretches between cuts: a cut is just before a number or just behind
//! it, and at every cut the set begins or ends. So `value > 3` is one stretch from behind 3 to
//! behind infinity. Of a condition there are two sets: the values for which it holds whatever
//! else is, and those for which it holds at all. They are one where `value` alone decides.

use crate::rules::Keep;
use crate::rules::expression::{Comparison, Condition, Number};

/// A place between numbers: before one, or behind it.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Cut(f64, bool);

/// A set of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values(Vec<Cut>);

impl Values {
    /// No number.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Every number.
    pub(super) fn all() -> Self {
        Self(vec![
            Cut(f64::NEG_INFINITY, false),
            Cut(f64::INFINITY, true),
        ])
    }

    /// What `keep` lets through.
    pub(super) fn kept(keep: &Keep) -> Self {
        let begin = keep.min.unwrap_or(f64::NEG_INFINITY);
        let end = keep.max.unwrap_or(f64::INFINITY);
        Self::between(Cut(begin, false), Cut(end, true))
    }

    /// Those that compare so with a number.
    fn compared(comparison: Comparison, with: f64) -> Self {
        // −0 and 0 are one number.
        let with = with + 0.0;
        let (first, last) = (Cut(f64::NEG_INFINITY, false), Cut(f64::INFINITY, true));
        let (before, behind) = (Cut(with, false), Cut(with, true));
        match comparison {
            Comparison::Less => Self::between(first, before),
            Comparison::LessOrEqual => Self::between(first, behind),
            Comparison::Greater => Self::between(behind, last),
            Comparison::GreaterOrEqual => Self::between(before, last),
            Comparison::Equal => Self::between(before, behind),
            Comparison::NotEqual => Self::between(before, behind).without(),
        }
    }

    fn between(begin: Cut, end: Cut) -> Self {
        Self(if begin < end {
            vec![begin, end]
        } else {
            Vec::new()
        })
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of them, near their beginning.
    pub(super) fn example(&self) -> Option<f64> {
        let [begin, end, ..] = self.0.as_slice() else {
            return None;
        };
        Some(if !begin.1 && begin.0.is_finite() {
            begin.0
        } else if end.1 && end.0.is_finite() {
            end.0
        } else if begin.0.is_finite() && end.0.is_finite() {
            f64::midpoint(begin.0, end.0)
        } else if begin.0.is_finite() {
            begin.0 + 1.0
        } else if end.0.is_finite() {
            end.0 - 1.0
        } else {
            0.0
        })
    }

    /// Every other number.
    fn without(&self) -> Self {
        Self::all().joined(self, |all, these| all && !these)
    }

    /// Those of both.
    pub(super) fn and(&self, other: &Self) -> Self {
        self.joined(other, |one, other| one && other)
    }

    fn or(&self, other: &Self) -> Self {
        self.joined(other, |one, other| one || other)
    }

    /// Whether it has all of another.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.and(self) == *other
    }

    /// Goes along the cuts of both and keeps those where `inside` changes.
    fn joined(&self, other: &Self, inside: fn(bool, bool) -> bool) -> Self {
        let mut cuts: Vec<(Cut, bool)> = self.0.iter().map(|cut| (*cut, true)).collect();
        cuts.extend(other.0.iter().map(|cut| (*cut, false)));
        cuts.sort_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut in_one, mut in_other, mut was_inside) = (false, false, false);
        let mut kept = Vec::new();
        let mut rest = cuts.into_iter().peekable();
        while let Some((cut, of_one)) = rest.next() {
            if of_one {
                in_one = !in_one;
            } else {
                in_other = !in_other;
            }
            if rest.peek().is_some_and(|(next, _)| *next == cut) {
                continue;
            }
            let is_inside = inside(in_one, in_other);
            if is_inside != was_inside {
                kept.push(cut);
            }
            was_inside = is_inside;
        }
        Self(kept)
    }
}

/// The values for which a condition holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Holding {
    /// Whatever else is.
    pub(super) surely: Values,
    /// At all.
    pub(super) perhaps: Values,
}

impl Holding {
    /// Those of a condition.
    pub(super) fn of(condition: &Condition) -> Self {
        match condition {
            Condition::Literal(holds) => Self::decided(if *holds {
                Values::all()
            } else {
                Values::none()
            }),
            Condition::Compare {
                comparison,
                left,
                right,
            } => Self::of_comparison(*comparison, left, right),
            Condition::NumberIn(number, list) if matches!(**number, Number::Input(0)) => {
                let points = list
                    .iter()
                    .map(|one| Values::compared(Comparison::Equal, *one));
                Self::decided(points.fold(Values::none(), |all, one| all.or(&one)))
            }
            Condition::Not(condition) => Self::of(condition).not(),
            Condition::All(conditions) => {
                let all = Self::decided(Values::all());
                conditions
                    .iter()
                    .map(Self::of)
                    .fold(all, |all, one| all.and(&one))
            }
            Condition::Any(conditions) => {
                let none = Self::decided(Values::none());
                conditions
                    .iter()
                    .map(Self::of)
                    .fold(none, |any, one| any.or(&one))
            }
            Condition::Same(one, other) => {
                let (one, other) = (Self::of(one), Self::of(other));
                one.and(&other).or(&one.not().and(&other.not()))
            }
            Condition::Choice {
                condition,
                then,
                otherwise,
            } => {
                let chosen = Self::of(condition);
                let then = chosen.and(&Self::of(then));
                then.or(&chosen.not().and(&Self::of(otherwise)))
            }
            _ => Self::open(),
        }
    }

    fn of_comparison(comparison: Comparison, left: &Number, right: &Number) -> Self {
        match (left, right) {
            (Number::Input(0), Number::Literal(with)) => {
                Self::decided(Values::compared(comparison, *with))
            }
            (Number::Literal(with), Number::Input(0)) => {
                Self::decided(Values::compared(turned(comparison), *with))
            }
            _ => Self::open(),
        }
    }

    /// `value` alone decides.
    fn decided(values: Values) -> Self {
        Self {
            surely: values.clone(),
            perhaps: values,
        }
    }

    /// `value` says nothing.
    pub(super) fn open() -> Self {
        Self {
            surely: Values::none(),
            perhaps: Values::all(),
        }
    }

    fn not(&self) -> Self {
        Self {
            surely: self.perhaps.without(),
            perhaps: self.surely.without(),
        }
    }

    fn and(&self, other: &Self) -> Self {
        Self {
            surely: self.surely.and(&other.surely),
            perhaps: self.perhaps.and(&other.perhaps),
        }
    }

    fn or(&self, other: &Self) -> Self {
        Self {
            surely: self.surely.or(&other.surely),
            perhaps: self.perhaps.or(&other.perhaps),
        }
    }
}

/// A comparison read from its right side.
fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has(values: &Values, number: f64) -> bool {
        let passed = |cut: &&Cut| **cut <= Cut(number, false);
        values.0.iter().filter(passed).count() % 2 == 1
    }

    fn any_condition() -> impl Strategy<Value = Condition> {
        let comparison = proptest::sample::select(vec![
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
            Comparison::Equal,
            Comparison::NotEqual,
        ]);
        let leaf = (comparison, -3..=3_i8, any::<bool>()).prop_map(|(comparison, with, turn)| {
            let (value, with) = (Number::Input(0), Number::Literal(f64::from(with)));
            let (left, right) = if turn { (with, value) } else { (value, with) };
            Condition::Compare {
                comparison,
                left: Box::new(left),
                right: Box::new(right),
            }
        });
        leaf.prop_recursive(3, 16, 3, |inner| {
            let several = proptest::collection::vec(inner.clone(), 1..4);
            prop_oneof![
                several.clone().prop_map(Condition::All),
                several.prop_map(Condition::Any),
                inner.clone().prop_map(|one| Condition::Not(Box::new(one))),
                (inner.clone(), inner.clone())
                    .prop_map(|(one, other)| Condition::Same(Box::new(one), Box::new(other))),
                (inner.clone(), inner.clone(), inner).prop_map(|(condition, then, otherwise)| {
                    Condition::Choice {
                        condition: Box::new(condition),
                        then: Box::new(then),
                        otherwise: Box::new(otherwise),
                    }
                }),
            ]
        })
    }

    /// What the condition gives for a value, worked out plainly.
    fn holds(condition: &Condition, value: f64) -> bool {
        let number = |number: &Number| match number {
            Number::Literal(number) => *number,
            _ => value,
        };
        match condition {
            Condition::Compare {
                comparison,
                left,
                right,
            } => {
                let order = number(left).total_cmp(&number(right));
                match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                    Comparison::Equal => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                }
            }
            Condition::All(all) => all.iter().all(|one| holds(one, value)),
            Condition::Any(any) => any.iter().any(|one| holds(one, value)),
            Condition::Not(one) => !holds(one, value),
            Condition::Same(one, other) => holds(one, value) == holds(other, value),
            Condition::Choice {
                condition,
                then,
                otherwise,
            } => holds(
                if holds(condition, value) {
                    then
                } else {
                    otherwise
                },
                value,
            ),
            _ => unreachable!("no other condition is drawn"),
        }
    }

    proptest! {
        #[test]
        fn a_value_is_in_the_set_when_the_condition_holds(condition in any_condition()) {
            let found = Holding::of(&condition);
            for halves in -8..=8 {
                let value = f64::from(halves) / 2.0;
                prop_assert_eq!(has(&found.surely, value), holds(&condition, value));
            }
            prop_assert_eq!(&found.surely, &found.perhaps);
        }

        #[test]
        fn sets_are_kept_in_one_form(one in any_condition(), other in any_condition()) {
            let (one, other) = (Holding::of(&one).surely, Holding::of(&other).surely);
            prop_assert_eq!(one.and(&other), other.and(&one));
            prop_assert_eq!(one.without().without(), one.clone());
            prop_assert!(one.or(&other).covers(&one));
            prop_assert!(one.and(&one.without()).is_empty());
        }
    }

    #[test]
    fn what_depends_on_more_is_open() {
        let other = Condition::Compare {
            comparison: Comparison::Greater,
            left: Box::new(Number::Input(1)),
            right: Box::new(Number::Literal(3.0)),
        };
        let never = Condition::All(vec![other.clone(), Condition::Literal(false)]);
        assert!(Holding::of(&never).perhaps.is_empty());
        let always = Condition::Any(vec![other, Condition::Literal(true)]);
        assert_eq!(Holding::of(&always).surely, Values::all());
    }
}
