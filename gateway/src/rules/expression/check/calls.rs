//! Calls and lists: functions, methods of texts, and `in`.

use std::ops::Range;

use super::Checker;
use crate::rules::expression::names::{
    EXPECTED_FUNCTION, FUNCTIONS, Known, function_meant, method,
};
use crate::rules::expression::node::{Condition, Number, Tree};
use crate::rules::expression::syntax::{Kind, Syntax};
use crate::rules::tree::short;

impl Checker<'_> {
    /// `left in [literal, …]`.
    pub(super) fn one_of(&mut self, left: &Syntax, right: &Syntax) -> Option<Tree> {
        let left_is = self.tree(left);
        let Kind::List(parts) = &right.kind else {
            let help = self.is_tags(right).then(|| {
                "a tag that is not there is an empty text: `tags.name != \"\"`".to_owned()
            });
            let expected = "expected a list such as [\"C\", \"K\"]";
            return self.mistake(right.span.clone(), "`in` looks into a list", expected, help);
        };
        let condition = match left_is? {
            Tree::Number(number) => {
                let list = self.each(parts, Self::number_literal)?;
                Condition::NumberIn(Box::new(number), list)
            }
            Tree::Text(text) => {
                let list = self.each(parts, Self::text_literal)?;
                Condition::TextIn(text, list)
            }
            Tree::Condition(_) => {
                let message = format!("{} is a condition", self.shown(left));
                return self.mistake(
                    left.span.clone(),
                    message,
                    "expected a number or a text left of `in`",
                    None,
                );
            }
        };
        Some(Tree::Condition(condition))
    }

    fn number_literal(&mut self, syntax: &Syntax) -> Option<f64> {
        match &syntax.kind {
            Kind::Number(number) => Some(*number),
            Kind::Negative(of) if matches!(of.kind, Kind::Number(_)) => {
                self.number_literal(of).map(|number| -number)
            }
            _ => self.no_literal(syntax, "a number as it stands, as the left side is one"),
        }
    }

    fn text_literal(&mut self, syntax: &Syntax) -> Option<String> {
        match &syntax.kind {
            Kind::Text(text) => Some(text.clone()),
            _ => self.no_literal(syntax, "a text in quotes, as the left side is one"),
        }
    }

    fn no_literal<T>(&mut self, syntax: &Syntax, expected: &str) -> Option<T> {
        let message = format!("{} cannot be in this list", self.shown(syntax));
        self.mistake(
            syntax.span.clone(),
            message,
            format!("expected {expected}"),
            None,
        )
    }

    pub(super) fn function(
        &mut self,
        span: &Range<usize>,
        name: &str,
        name_span: &Range<usize>,
        arguments: &[Syntax],
    ) -> Option<Tree> {
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            return self.no_function(name_span, name);
        };
        let numbers = self.each(arguments, Self::number);
        let (right_count, expected) = match function {
            Known::OfOne(_) => (arguments.len() == 1, "one number"),
            Known::Least | Known::Greatest => (arguments.len() >= 2, "two numbers or more"),
        };
        if !right_count {
            return self.wrong_count(span, name, arguments.len(), expected);
        }
        let mut numbers = numbers?;
        Some(Tree::Number(match function {
            Known::Least => Number::Least(numbers),
            Known::Greatest => Number::Greatest(numbers),
            Known::OfOne(function) => Number::Function {
                function: *function,
                argument: Box::new(numbers.pop()?),
            },
        }))
    }

    pub(super) fn method(
        &mut self,
        span: &Range<usize>,
        on: &Syntax,
        name: &str,
        name_span: &Range<usize>,
        arguments: &[Syntax],
    ) -> Option<Tree> {
        let relation = match method(name) {
            Some(relation) => relation,
            None if matches!(&on.kind, Kind::Name(on) if on == "math") => {
                let known = FUNCTIONS.iter().any(|(known, _)| *known == name);
                let help = if known {
                    Some(format!("write `{name}(…)` without `math.`"))
                } else {
                    function_meant(name)
                };
                let message = format!("there is no `math.{}`", short(name));
                let math = on.span.start..name_span.end;
                return self.mistake(math, message, EXPECTED_FUNCTION, help);
            }
            None => return self.no_function(name_span, name),
        };
        let text = self.words(on);
        let [with] = arguments else {
            return self.wrong_count(span, name, arguments.len(), "one text");
        };
        let with = self.words(with);
        Some(Tree::Condition(Condition::Texts {
            relation,
            text: text?,
            with: with?,
        }))
    }

    fn no_function(&mut self, span: &Range<usize>, name: &str) -> Option<Tree> {
        let message = format!("there is no function `{}` here", short(name));
        self.mistake(
            span.clone(),
            message,
            EXPECTED_FUNCTION,
            function_meant(name),
        )
    }

    fn wrong_count(
        &mut self,
        span: &Range<usize>,
        name: &str,
        count: usize,
        expected: &str,
    ) -> Option<Tree> {
        let message = match count {
            1 => format!("`{name}` is given one value"),
            count => format!("`{name}` is given {count} values"),
        };
        self.mistake(span.clone(), message, format!("expected {expected}"), None)
    }
}
