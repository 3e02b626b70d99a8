//! Binding: from the typed tree and a lane's constants to what is left to do per sample.

use std::ops::Bound;

use super::{Condition, Constants, Number, Root};
use crate::rules::expression::{self, Comparison, Constant, Relation, Text, Tree};

/// Binds a whole tree.
pub(super) fn root(tree: &Tree, constants: &Constants<'_>) -> Root {
    match tree {
        Tree::Number(tree) => Root::Number(number(tree, constants)),
        Tree::Condition(tree) => Root::Condition(condition(tree, constants)),
        Tree::Text(tree) => Root::Text(text(tree, constants).to_owned()),
    }
}

fn text<'t>(tree: &'t Text, constants: &Constants<'t>) -> &'t str {
    match tree {
        Text::Literal(text) => text,
        Text::Constant(Constant::Site) => constants.site,
        Text::Constant(Constant::Device) => constants.device,
        Text::Constant(Constant::Sensor) => constants.sensor,
        Text::Constant(Constant::Unit) => constants.unit,
        Text::Constant(Constant::Kind) => constants.kind,
        Text::Tag(name) => constants
            .tags
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value),
    }
}

fn number(tree: &expression::Number, constants: &Constants<'_>) -> Number {
    use expression::Number as Tree;
    let bind = |tree| number(tree, constants);
    match tree {
        Tree::Literal(number) => Number::Constant(*number),
        Tree::Input(input) => Number::Input(usize::from(*input)),
        Tree::Negative(of) => folded(Number::Negative(Box::new(bind(of)))),
        Tree::Arithmetic {
            operator,
            left,
            right,
        } => folded(Number::Arithmetic(
            *operator,
            Box::new([bind(left), bind(right)]),
        )),
        Tree::Function { function, argument } => {
            folded(Number::Function(*function, Box::new(bind(argument))))
        }
        Tree::Least(parts) => folded(Number::Least(parts.iter().map(bind).collect())),
        Tree::Greatest(parts) => folded(Number::Greatest(parts.iter().map(bind).collect())),
        Tree::Choice {
            condition: chosen_by,
            then,
            otherwise,
        } => match condition(chosen_by, constants) {
            Condition::Constant(Some(true)) => bind(then),
            Condition::Constant(Some(false)) => bind(otherwise),
            Condition::Constant(None) => Number::Constant(f64::NAN),
            chosen_by => Number::Choice(Box::new((chosen_by, [bind(then), bind(otherwise)]))),
        },
    }
}

/// A constant instead of arithmetic on constants.
fn folded(number: Number) -> Number {
    let constant = match &number {
        Number::Negative(of) | Number::Function(_, of) => is_constant(of),
        Number::Arithmetic(_, sides) => sides.iter().all(is_constant),
        Number::Least(parts) | Number::Greatest(parts) => parts.iter().all(is_constant),
        Number::Constant(_) | Number::Input(_) | Number::Choice(_) => false,
    };
    if constant {
        Number::Constant(number.value(&[]))
    } else {
        number
    }
}

fn is_constant(number: &Number) -> bool {
    matches!(number, Number::Constant(_))
}

fn condition(tree: &expression::Condition, constants: &Constants<'_>) -> Condition {
    use expression::Condition as Tree;
    let bind = |tree| condition(tree, constants);
    match tree {
        Tree::Literal(holds) => Condition::Constant(Some(*holds)),
        Tree::Compare {
            comparison,
            left,
            right,
        } => compare(
            *comparison,
            number(left, constants),
            number(right, constants),
        ),
        Tree::NumberIn(of, list) => {
            let one_of = Condition::OneOf(Box::new(number(of, constants)), list.as_slice().into());
            match &one_of {
                Condition::OneOf(of, _) if is_constant(of) => {
                    Condition::Constant(one_of.holds(&[]))
                }
                _ => one_of,
            }
        }
        Tree::TextIn(of, list) => {
            let of = text(of, constants);
            Condition::Constant(Some(list.iter().any(|one| one == of)))
        }
        Tree::Texts {
            relation,
            text: of,
            with,
        } => {
            let (of, with) = (text(of, constants), text(with, constants));
            Condition::Constant(Some(match relation {
                Relation::Equal => of == with,
                Relation::NotEqual => of != with,
                Relation::StartsWith => of.starts_with(with),
                Relation::EndsWith => of.ends_with(with),
                Relation::Contains => of.contains(with),
            }))
        }
        Tree::Same(left, right) => same(bind(left), bind(right)),
        Tree::Not(of) => not(bind(of)),
        Tree::All(parts) => all(parts.iter().map(bind)),
        Tree::Any(parts) => any(parts.iter().map(bind)),
        Tree::Choice {
            condition: chosen_by,
            then,
            otherwise,
        } => match bind(chosen_by) {
            Condition::Constant(Some(true)) => bind(then),
            Condition::Constant(Some(false)) => bind(otherwise),
            Condition::Constant(None) => Condition::Constant(None),
            chosen_by => Condition::Choice(Box::new([chosen_by, bind(then), bind(otherwise)])),
        },
    }
}

fn compare(comparison: Comparison, left: Number, right: Number) -> Condition {
    match (&left, &right) {
        (Number::Input(input), Number::Constant(number)) if !number.is_nan() => {
            Condition::Against(comparison, *input, *number)
        }
        (Number::Constant(number), Number::Input(input)) if !number.is_nan() => {
            Condition::Against(turned(comparison), *input, *number)
        }
        (Number::Constant(number), _) | (_, Number::Constant(number)) if number.is_nan() => {
            Condition::Constant(None)
        }
        (Number::Constant(left), Number::Constant(right)) => {
            Condition::Constant(comparison.of(*left, *right))
        }
        _ => Condition::Compare(comparison, Box::new([left, right])),
    }
}

/// The comparison with its sides changed.
fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Equal | Comparison::NotEqual => comparison,
    }
}

/// The comparison that holds when this one does not, and is undefined when this one is.
fn opposite(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
    }
}

fn not(condition: Condition) -> Condition {
    match condition {
        Condition::Constant(holds) => Condition::Constant(holds.map(|holds| !holds)),
        Condition::Against(comparison, input, number) => {
            Condition::Against(opposite(comparison), input, number)
        }
        Condition::Compare(comparison, sides) => Condition::Compare(opposite(comparison), sides),
        Condition::Not(of) => *of,
        other => Condition::Not(Box::new(other)),
    }
}

fn same(left: Condition, right: Condition) -> Condition {
    match (left, right) {
        (Condition::Constant(None), _) | (_, Condition::Constant(None)) => {
            Condition::Constant(None)
        }
        (Condition::Constant(Some(true)), other) | (other, Condition::Constant(Some(true))) => {
            other
        }
        (Condition::Constant(Some(false)), other) | (other, Condition::Constant(Some(false))) => {
            not(other)
        }
        (left, right) => Condition::Same(Box::new([left, right])),
    }
}

fn all(parts: impl Iterator<Item = Condition>) -> Condition {
    joined(parts, false, Condition::All)
}

fn any(parts: impl Iterator<Item = Condition>) -> Condition {
    joined(parts, true, Condition::Any)
}

/// Joins conditions of which one that is `decisive` decides: `&&` by false, `||` by true.
fn joined(
    parts: impl Iterator<Item = Condition>,
    decisive: bool,
    join: fn(Box<[Condition]>) -> Condition,
) -> Condition {
    let mut kept = Vec::new();
    for part in parts {
        match part {
            Condition::Constant(Some(holds)) if holds == decisive => {
                return Condition::Constant(Some(decisive));
            }
            Condition::Constant(Some(_)) => {}
            other => kept.push(other),
        }
    }
    let undefined = |part: &Condition| *part == Condition::Constant(None);
    match kept.as_slice() {
        [] => Condition::Constant(Some(!decisive)),
        parts if parts.iter().all(undefined) => Condition::Constant(None),
        [_] => kept.swap_remove(0),
        _ => join(kept.into_boxed_slice()),
    }
}

/// Everything.
const EVERYTHING: (Bound<f64>, Bound<f64>) = (Bound::Unbounded, Bound::Unbounded);
/// Nothing.
const NOTHING: (Bound<f64>, Bound<f64>) = (Bound::Included(1.0), Bound::Included(-1.0));

impl Condition {
    /// Where it holds, see [`super::Program::interval`].
    pub(super) fn interval(&self) -> Option<(Bound<f64>, Bound<f64>)> {
        match self {
            Self::Constant(Some(true)) => Some(EVERYTHING),
            Self::Constant(Some(false)) => Some(NOTHING),
            Self::Against(comparison, 0, number) => against(*comparison, *number),
            Self::All(parts) => parts.iter().try_fold(EVERYTHING, |(low, high), part| {
                let (part_low, part_high) = part.interval()?;
                Some((higher(low, part_low), lower(high, part_high)))
            }),
            _ => None,
        }
    }
}

fn against(comparison: Comparison, number: f64) -> Option<(Bound<f64>, Bound<f64>)> {
    Some(match comparison {
        Comparison::Less => (Bound::Unbounded, Bound::Excluded(number)),
        Comparison::LessOrEqual => (Bound::Unbounded, Bound::Included(number)),
        Comparison::Greater => (Bound::Excluded(number), Bound::Unbounded),
        Comparison::GreaterOrEqual => (Bound::Included(number), Bound::Unbounded),
        Comparison::Equal => (Bound::Included(number), Bound::Included(number)),
        Comparison::NotEqual => return None,
    })
}

/// The lower bound that excludes more.
fn higher(a: Bound<f64>, b: Bound<f64>) -> Bound<f64> {
    narrower(a, b, |a, b| a > b)
}

/// The upper bound that excludes more.
fn lower(a: Bound<f64>, b: Bound<f64>) -> Bound<f64> {
    narrower(a, b, |a, b| a < b)
}

fn narrower(a: Bound<f64>, b: Bound<f64>, is_narrower: fn(f64, f64) -> bool) -> Bound<f64> {
    let (Some(at_a), Some(at_b)) = (at(a), at(b)) else {
        return if a == Bound::Unbounded { b } else { a };
    };
    let tied = !is_narrower(at_a, at_b) && !is_narrower(at_b, at_a);
    let a_wins = is_narrower(at_a, at_b) || (tied && matches!(a, Bound::Excluded(_)));
    if a_wins { a } else { b }
}

fn at(bound: Bound<f64>) -> Option<f64> {
    match bound {
        Bound::Included(at) | Bound::Excluded(at) => Some(at),
        Bound::Unbounded => None,
    }
}
