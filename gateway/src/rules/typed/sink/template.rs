//! Templates: texts with `{site}`, `{device}`, `{sensor}` and `{rule}` in them.

use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::settings::{Template, TemplatePart};
use crate::rules::tree::{Value, malformed, short, text};

/// Longest text.
const TEMPLATE_BYTES_MAX: usize = 1_024;
/// Placeholders.
const PLACEHOLDERS: [(&str, TemplatePart); 4] = [
    ("site", TemplatePart::Site),
    ("device", TemplatePart::Device),
    ("sensor", TemplatePart::Sensor),
    ("rule", TemplatePart::Rule),
];

/// Reads a template; `example` is one that is right.
pub(super) fn read(
    name: &str,
    value: &Value<'_>,
    example: &str,
    findings: &mut Findings,
) -> Option<Template> {
    let typed = text(
        name,
        value,
        &format!("a text such as \"{example}\""),
        findings,
    )?;
    let expected = format!("expected a text such as \"{example}\"");
    let mut refuse = |why: &str| {
        let message = format!("{name} {why}");
        malformed(value.span(), message, &expected, findings);
    };
    if typed.is_empty() || typed.len() > TEMPLATE_BYTES_MAX {
        refuse(&format!("has not 1 to {TEMPLATE_BYTES_MAX} bytes"));
        return None;
    }
    if typed.chars().any(char::is_control) {
        refuse("holds a control character");
        return None;
    }
    match parts(typed) {
        Ok(parts) => Some(Template { parts }),
        Err(Slip::Braces) => {
            refuse("has a brace that is not closed or not opened");
            None
        }
        Err(Slip::Unknown(placeholder)) => {
            let near = nearest(placeholder, PLACEHOLDERS.iter().map(|(name, _)| *name));
            findings
                .mistake(
                    Kind::UnknownName,
                    value.span(),
                    format!(
                        "{name} has the unknown placeholder {{{}}}",
                        short(placeholder)
                    ),
                    "expected {site}, {device}, {sensor} or {rule}",
                )
                .help_maybe(near.map(|near| format!("did you mean {{{near}}}?")));
            None
        }
    }
}

/// A template that is known to be right.
pub(super) fn default(typed: &str) -> Template {
    let parts = parts(typed).unwrap_or_default();
    debug_assert!(!parts.is_empty(), "a default template is right");
    Template { parts }
}

/// What is wrong with a template.
enum Slip<'t> {
    Braces,
    Unknown(&'t str),
}

fn parts(typed: &str) -> Result<Vec<TemplatePart>, Slip<'_>> {
    let mut parts = Vec::new();
    let mut rest = typed;
    while !rest.is_empty() {
        let Some((before, behind)) = rest.split_once('{') else {
            parts.push(plain(rest)?);
            break;
        };
        if !before.is_empty() {
            parts.push(plain(before)?);
        }
        let (placeholder, after) = behind.split_once('}').ok_or(Slip::Braces)?;
        let known = PLACEHOLDERS.iter().find(|(name, _)| *name == placeholder);
        let (_, part) = known.ok_or(Slip::Unknown(placeholder))?;
        parts.push(part.clone());
        rest = after;
    }
    Ok(parts)
}

fn plain(text: &str) -> Result<TemplatePart, Slip<'_>> {
    if text.contains('}') {
        return Err(Slip::Braces);
    }
    Ok(TemplatePart::Text(text.to_owned()))
}

/// Whether a template cut at every `separator` has a part with nothing in it.
pub(super) fn has_empty_level(template: &Template, separator: char) -> bool {
    let shape: String = template
        .parts
        .iter()
        .map(|part| match part {
            TemplatePart::Text(text) => text.as_str(),
            _ => "x",
        })
        .collect();
    shape.split(separator).any(str::is_empty)
}

/// Whether one of the fixed texts of a template holds such a sign.
pub(super) fn holds(template: &Template, sign: impl Fn(char) -> bool) -> bool {
    template
        .parts
        .iter()
        .any(|part| matches!(part, TemplatePart::Text(text) if text.contains(&sign)))
}
