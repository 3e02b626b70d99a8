//! Tree: reading the spanned TOML tree value by value, noting each mistake and going on.
//!
//! A reader returns `None` when it has noted a mistake, so that the caller goes on with what is
//! left and the person sees everything at once.

#[cfg(test)]
pub(super) mod asked;

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Findings, Kind, nearest};
use super::quantity::{self, show_duration, show_size};

/// A value with its place.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A table being read: every key asked for is known, every other one is a mistake at the end.
#[derive(Debug)]
pub(super) struct Section<'v, 't> {
    /// What it is called in messages: `[gateway]`, `rule "minute"`.
    pub(super) title: String,
    /// Its header or braces.
    pub(super) span: Range<usize>,
    table: &'v DeTable<'t>,
    known: Vec<&'static str>,
    missing: Vec<(&'static str, &'static str)>,
    later: &'static [&'static str],
    /// Keys that people look for here, and what to write instead.
    pub(super) elsewhere: &'static [(&'static str, &'static str)],
}

impl<'v, 't> Section<'v, 't> {
    /// Begins to read a table.
    pub(super) fn new(
        title: impl Into<String>,
        span: Range<usize>,
        table: &'v DeTable<'t>,
        later: &'static [&'static str],
    ) -> Self {
        Self {
            title: title.into(),
            span,
            table,
            known: Vec::new(),
            missing: Vec::new(),
            later,
            elsewhere: &[],
        }
    }

    /// Begins to read a value that must be a table.
    pub(super) fn of_value(
        title: impl Into<String>,
        value: &'v Value<'t>,
        later: &'static [&'static str],
        expected: &str,
        findings: &mut Findings,
    ) -> Option<Self> {
        let title = title.into();
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::new(title, value.span(), table, later)),
            other => {
                wrong_type(&title, value.span(), other, expected, findings);
                None
            }
        }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'v Value<'t>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// Whether a key is there.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where a key stands, or the whole table where it is not there.
    pub(super) fn place(&self, key: &str) -> Range<usize> {
        let entry = self.table.get_key_value(key);
        entry.map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// Where its value stands.
    pub(super) fn value_place(&self, key: &str) -> Range<usize> {
        let value = self.table.get(key);
        value.map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// The value of a key that must be there; what is absent is noted when the section closes.
    pub(super) fn need(
        &mut self,
        key: &'static str,
        example: &'static str,
    ) -> Option<&'v Value<'t>> {
        let value = self.get(key);
        if value.is_none() {
            self.missing.push((key, example));
        }
        value
    }

    /// Whether another key of this section was probably meant to be `key`: then its absence is
    /// not a second mistake. Ask when every other key has been asked for.
    pub(super) fn misspelt(&self, key: &str) -> bool {
        self.entries().any(|(typed, _, _)| {
            !self.known.contains(&typed)
                && !self.later.contains(&typed)
                && self.elsewhere(typed).is_none()
                && nearest(typed, self.known.iter().copied()) == Some(key)
        })
    }

    /// What to write instead of a key that is looked for here.
    fn elsewhere(&self, key: &str) -> Option<&'static str> {
        let found = self.elsewhere.iter().find(|(name, _)| *name == key);
        found.map(|(_, help)| *help)
    }

    /// All keys and values, for tables whose keys are names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v str, Range<usize>, &'v Value<'t>)> {
        self.table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    /// Refuses every key that was not asked for, and notes those that are missing.
    pub(super) fn close(self, findings: &mut Findings) {
        #[cfg(test)]
        asked::note(&self.title, &self.known);
        for (key, example) in &self.missing {
            if self.misspelt(key) {
                continue;
            }
            findings
                .mistake(
                    Kind::Missing,
                    self.span.clone(),
                    format!("{} has no `{key}`", self.title),
                    format!("`{key}` must be given"),
                )
                .help(format!("add {example}"));
        }
        for (key, span, _) in self.entries() {
            if self.known.contains(&key) {
                continue;
            }
            if self.later.contains(&key) {
                findings
                    .mistake(
                        Kind::NotInThisVersion,
                        span,
                        format!("`{key}` in {} is not in this version", self.title),
                        "planned, not built yet",
                    )
                    .help("take it out; the changelog says when it comes");
                continue;
            }
            let near = nearest(key, self.known.iter().copied());
            let help = match (self.elsewhere(key), near) {
                (Some(help), _) => help.to_owned(),
                (None, Some(name)) => format!("did you mean `{name}`?"),
                (None, None) => format!("the keys here are: {}", self.known.join(", ")),
            };
            findings
                .mistake(
                    Kind::UnknownKey,
                    span,
                    format!("unknown key `{}` in {}", short(key), self.title),
                    "not a key here",
                )
                .help(help);
        }
    }
}

/// A text cut to what a message can carry.
pub(super) fn short(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A type's name with its article.
fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wrong_type(
    name: &str,
    span: Range<usize>,
    found: &DeValue<'_>,
    expected: &str,
    findings: &mut Findings,
) {
    findings.mistake(
        Kind::WrongType,
        span,
        format!("{name} is {}", type_name(found)),
        format!("expected {expected}"),
    );
}

/// Reads a text; `name` is `` `site` ``, `expected` is `a text such as "pump-house"`.
pub(super) fn text<'v>(
    name: &str,
    value: &'v Value<'_>,
    expected: &str,
    findings: &mut Findings,
) -> Option<&'v str> {
    let found = value.get_ref();
    if found.as_str().is_none() {
        wrong_type(name, value.span(), found, expected, findings);
    }
    found.as_str()
}

/// Reads a list.
pub(super) fn list<'v, 't>(
    name: &str,
    value: &'v Value<'t>,
    expected: &str,
    findings: &mut Findings,
) -> Option<&'v [Value<'t>]> {
    match value.get_ref() {
        DeValue::Array(values) => Some(values),
        other => {
            wrong_type(name, value.span(), other, expected, findings);
            None
        }
    }
}

/// Reads a finite number, whole or decimal.
pub(super) fn number(name: &str, value: &Value<'_>, findings: &mut Findings) -> Option<f64> {
    let typed = match value.get_ref() {
        DeValue::Integer(whole) => i64::from_str_radix(whole.as_str(), whole.radix())
            .ok()
            .map(|whole| whole as f64),
        DeValue::Float(decimal) => decimal.as_str().parse().ok(),
        other => {
            wrong_type(name, value.span(), other, "a number", findings);
            return None;
        }
    };
    let finite = typed.filter(|number: &f64| number.is_finite());
    if finite.is_none() {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("{name} is not a finite number"),
            "expected a finite number",
        );
    }
    finite
}

/// Reads a number above 0.
pub(super) fn positive(
    name: &str,
    value: &Value<'_>,
    expected: &str,
    findings: &mut Findings,
) -> Option<f64> {
    let number = number(name, value, findings)?;
    if number <= 0.0 {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("{name} is not above 0"),
            expected,
        );
        return None;
    }
    Some(number)
}

/// Reads true or false.
pub(super) fn boolean(name: &str, value: &Value<'_>, findings: &mut Findings) -> Option<bool> {
    match value.get_ref() {
        DeValue::Boolean(given) => Some(*given),
        other => {
            wrong_type(name, value.span(), other, "true or false", findings);
            None
        }
    }
}

/// Reads a whole number within bounds.
pub(super) fn whole(
    name: &str,
    value: &Value<'_>,
    bounds: RangeInclusive<u64>,
    findings: &mut Findings,
) -> Option<u64> {
    let expected = format!("expected {} to {}", bounds.start(), bounds.end());
    match value.get_ref() {
        DeValue::Integer(typed) => {
            let number = u64::from_str_radix(typed.as_str(), typed.radix()).ok();
            within(name, value.span(), number, &bounds, expected, findings)
        }
        other => {
            let words = format!("a whole number from {} to {}", bounds.start(), bounds.end());
            wrong_type(name, value.span(), other, &words, findings);
            None
        }
    }
}

/// Reads a size: whole bytes or a text such as `"16 MiB"`.
pub(super) fn size(
    name: &str,
    value: &Value<'_>,
    bounds: RangeInclusive<u64>,
    findings: &mut Findings,
) -> Option<u64> {
    let expected = format!(
        "expected {} to {}",
        show_size(*bounds.start()),
        show_size(*bounds.end())
    );
    let bytes = match value.get_ref() {
        DeValue::Integer(typed) => u64::from_str_radix(typed.as_str(), typed.radix()).ok(),
        DeValue::String(typed) => match quantity::size_bytes(typed) {
            Ok(bytes) => Some(bytes),
            Err(why) => {
                let message = format!("{name} is not a size: {why}");
                malformed(
                    value.span(),
                    message,
                    "expected a size such as \"16 MiB\"",
                    findings,
                );
                return None;
            }
        },
        other => {
            let words = "a size such as \"16 MiB\", or bytes";
            wrong_type(name, value.span(), other, words, findings);
            return None;
        }
    };
    within(name, value.span(), bytes, &bounds, expected, findings)
}

/// Reads a duration such as `"30s"` within bounds, in µs.
pub(super) fn duration(
    name: &str,
    value: &Value<'_>,
    bounds: RangeInclusive<i64>,
    findings: &mut Findings,
) -> Option<i64> {
    const EXPECTED: &str = "a duration such as \"500ms\", \"30s\", \"1m\", \"2h\" or \"1d\"";
    let typed = match value.get_ref() {
        DeValue::String(typed) => typed,
        other => {
            wrong_type(name, value.span(), other, EXPECTED, findings);
            return None;
        }
    };
    match quantity::duration_us(typed) {
        Ok(us) => {
            let expected = format!(
                "expected {} to {}",
                show_duration(*bounds.start()),
                show_duration(*bounds.end())
            );
            within(name, value.span(), Some(us), &bounds, expected, findings)
        }
        Err(why) => {
            let message = format!("{name} is not a duration: {why}");
            malformed(
                value.span(),
                message,
                &format!("expected {EXPECTED}"),
                findings,
            );
            None
        }
    }
}

/// Reads one name of a fixed list.
pub(super) fn choice<T: Copy>(
    name: &str,
    value: &Value<'_>,
    choices: &[(&'static str, T)],
    findings: &mut Findings,
) -> Option<T> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let expected = match quoted.split_last() {
        Some((last, [_, ..])) => {
            let (others, _) = quoted.split_at(quoted.len() - 1);
            format!("{} or {last}", others.join(", "))
        }
        _ => quoted.concat(),
    };
    let typed = text(name, value, &expected, findings)?;
    let chosen = choices.iter().find(|(name, _)| *name == typed);
    if chosen.is_none() {
        findings
            .mistake(
                Kind::UnknownName,
                value.span(),
                format!("{name} cannot be \"{}\"", short(typed)),
                format!("expected {expected}"),
            )
            .help_maybe(nearest(typed, names).map(|name| format!("did you mean \"{name}\"?")));
    }
    chosen.map(|(_, chosen)| *chosen)
}

/// Notes a text that does not read as what it should be.
pub(super) fn malformed(
    span: Range<usize>,
    message: impl Into<String>,
    expected: &str,
    findings: &mut Findings,
) {
    findings.mistake(Kind::Malformed, span, message, expected);
}

/// Keeps a number within bounds, or notes that it is not.
fn within<N: PartialOrd + Copy + Display>(
    name: &str,
    span: Range<usize>,
    number: Option<N>,
    bounds: &RangeInclusive<N>,
    expected: String,
    findings: &mut Findings,
) -> Option<N> {
    let kept = number.filter(|number| bounds.contains(number));
    if kept.is_none() {
        let side = match number {
            Some(number) if number > *bounds.end() => "too large",
            Some(_) => "too small",
            None => "out of range",
        };
        findings.mistake(
            Kind::OutOfRange,
            span,
            format!("{name} is {side}"),
            expected,
        );
    }
    kept
}
