//! Operators between two sides: arithmetic and comparisons.

use std::ops::Range;

use super::{Checker, kind_of};
use crate::rules::expression::Type;
use crate::rules::expression::node::{Arithmetic, Comparison, Condition, Number, Relation, Tree};
use crate::rules::expression::syntax::{Kind, Syntax};

impl Checker<'_> {
    pub(super) fn binary(
        &mut self,
        span: &Range<usize>,
        operator: &str,
        left: &Syntax,
        right: &Syntax,
    ) -> Option<Tree> {
        if operator == "in" {
            return self.one_of(left, right);
        }
        if let Some(arithmetic) = arithmetic(operator) {
            return self.arithmetic(span, arithmetic, left, right);
        }
        let comparison = comparison(operator)?;
        match (self.tree(left), self.tree(right)) {
            (Some(left_is), Some(right_is)) => {
                self.compare(span, comparison, (left, left_is), (right, right_is))
            }
            _ => None,
        }
    }

    fn arithmetic(
        &mut self,
        span: &Range<usize>,
        operator: Arithmetic,
        left: &Syntax,
        right: &Syntax,
    ) -> Option<Tree> {
        let (left, right) = (self.number(left), self.number(right));
        let (left, right) = (left?, right?);
        let by_zero = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder)
            && right == Number::Literal(0.0);
        if by_zero {
            let message = "a division by 0 is never defined";
            return self.mistake(span.clone(), message, "", None);
        }
        Some(Tree::Number(Number::Arithmetic {
            operator,
            left: Box::new(left),
            right: Box::new(right),
        }))
    }

    fn compare(
        &mut self,
        span: &Range<usize>,
        comparison: Comparison,
        (left, left_is): (&Syntax, Tree),
        (right, right_is): (&Syntax, Tree),
    ) -> Option<Tree> {
        let equal = comparison == Comparison::Equal;
        let equality = equal || comparison == Comparison::NotEqual;
        let condition = match (left_is, right_is) {
            (Tree::Number(left), Tree::Number(right)) => Condition::Compare {
                comparison,
                left: Box::new(left),
                right: Box::new(right),
            },
            (Tree::Text(text), Tree::Text(with)) if equality => Condition::Texts {
                relation: if equal {
                    Relation::Equal
                } else {
                    Relation::NotEqual
                },
                text,
                with,
            },
            (Tree::Condition(left), Tree::Condition(right)) if equality => {
                let same = Condition::Same(Box::new(left), Box::new(right));
                if equal {
                    same
                } else {
                    Condition::Not(Box::new(same))
                }
            }
            (left_is, right_is) => {
                return self.not_comparable(span, (left, &left_is), (right, &right_is));
            }
        };
        Some(Tree::Condition(condition))
    }

    fn not_comparable(
        &mut self,
        span: &Range<usize>,
        (left, left_is): (&Syntax, &Tree),
        (right, right_is): (&Syntax, &Tree),
    ) -> Option<Tree> {
        if kind_of(left_is) == kind_of(right_is) {
            let what = match kind_of(left_is) {
                Type::Text => "texts have no order",
                _ => "conditions have no order",
            };
            return self.mistake(span.clone(), what, "expected `==` or `!=`", None);
        }
        let chained = matches!(left.kind, Kind::Binary { .. })
            && matches!((left_is, right_is), (Tree::Condition(_), Tree::Number(_)));
        let help = chained.then(|| "a chain is written `1 < value && value < 5`".to_owned());
        let message = format!(
            "{} is {}, {} {}: they cannot be compared",
            self.shown(left),
            kind_of(left_is),
            self.shown(right),
            kind_of(right_is),
        );
        self.mistake(span.clone(), message, "expected two of one type", help)
    }
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    Some(match operator {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "%" => Arithmetic::Remainder,
        _ => return None,
    })
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        _ => return None,
    })
}
