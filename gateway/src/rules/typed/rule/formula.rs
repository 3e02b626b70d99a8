//! Formulas: the expressions of a rule, their mistakes placed in the file.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::rules::Expression;
use crate::rules::expression::{Constant, Scope, Type, parse};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{Value, text};

/// What a rule's expressions may name.
#[derive(Debug)]
pub(super) struct Names<'v> {
    numbers: Vec<&'v str>,
}

impl<'v> Names<'v> {
    /// `value` and every alias, be it one whose sensor is mistaken.
    pub(super) fn of(with: Option<&'v Value<'_>>) -> Self {
        let aliases = with.and_then(|value| value.get_ref().as_table());
        let aliases = aliases.into_iter().flatten().map(|(alias, _)| {
            let alias: &'v str = alias.get_ref().as_ref();
            alias
        });
        Self {
            numbers: std::iter::once("value").chain(aliases).collect(),
        }
    }

    /// Reads a condition.
    pub(super) fn condition(
        &self,
        name: &str,
        value: &Value<'_>,
        findings: &mut Findings,
    ) -> Option<Spanned<Expression>> {
        let expected = "a condition such as \"value > 4.5\"";
        read(name, value, Type::Bool, expected, &self.scope(), findings)
    }

    /// Reads what gives a number.
    pub(super) fn number(
        &self,
        name: &str,
        value: &Value<'_>,
        findings: &mut Findings,
    ) -> Option<Spanned<Expression>> {
        let expected = "a formula such as \"value * 1.8 + 32\"";
        read(name, value, Type::Number, expected, &self.scope(), findings)
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            numbers: &self.numbers,
            texts: Constant::ALL,
            tags: true,
        }
    }
}

/// Reads a condition over `value` alone.
pub(super) fn condition_of_value(
    name: &str,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<Spanned<Expression>> {
    let scope = Scope {
        numbers: &["value"],
        texts: &[],
        tags: false,
    };
    let expected = "a condition such as \"value > 4.5\"";
    read(name, value, Type::Bool, expected, &scope, findings)
}

fn read(
    name: &str,
    value: &Value<'_>,
    wanted: Type,
    expected: &str,
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Option<Spanned<Expression>> {
    let typed = text(name, value, expected, findings)?;
    match parse(typed, wanted, scope) {
        Ok(expression) => Some(Spanned::new(value.span(), expression)),
        Err(mistakes) => {
            for mistake in mistakes {
                findings
                    .mistake(
                        Kind::Malformed,
                        place(value, &mistake.span),
                        mistake.message,
                        mistake.expected,
                    )
                    .help_maybe(mistake.help);
            }
            None
        }
    }
}

/// Where a part of a text stands in the file: that part where what stands there is the text as
/// it is, the whole value where it has escapes.
fn place(value: &Value<'_>, part: &Range<usize>) -> Range<usize> {
    let whole = value.span();
    let DeValue::String(Cow::Borrowed(typed)) = value.get_ref() else {
        return whole;
    };
    // One quote or three on each side; a line's end behind the opening three is no part of the
    // text.
    let around = whole.len().saturating_sub(typed.len());
    let before = match around {
        2 => 1,
        6.. => around - 3,
        _ => return whole,
    };
    let begin = whole.start + before;
    begin + part.start..begin + part.end
}
