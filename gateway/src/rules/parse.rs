//! Parse: from a configuration's text to settings, or to every mistake in it at once.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::mistake::{Findings, Kind, Mistake};
use super::resolve::resolve;
use super::settings::Settings;
use super::typed::Typed;

/// Most bytes of a configuration: a thousand rules with room to explain each.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Reads a configuration; `file` is its name for people.
///
/// Gives the settings and the warnings, or every mistake (and warning) in the order of the text.
/// Nothing is read or written but the text.
pub fn parse(text: &str, file: &str) -> Result<(Settings, Vec<Mistake>), Vec<Mistake>> {
    let mut findings = Findings::default();
    if text.len() > CONFIG_BYTES_MAX {
        findings.mistake(
            Kind::OutOfRange,
            0..0,
            format!("the file has {} bytes", text.len()),
            format!("at most {CONFIG_BYTES_MAX} bytes are allowed"),
        );
        return Err(findings.placed(text, file));
    }
    let (tree, errors) = DeTable::parse_recoverable(text);
    let typed = Typed::read(&tree, &mut findings);
    let settings = resolve(typed, &mut findings);
    if !errors.is_empty() {
        keep_sure(&mut findings, text, &errors);
    }
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        findings.mistake(Kind::Syntax, span, "this is not TOML", error.message());
    }
    match settings {
        Some(settings) if !findings.any_mistake() => Ok((settings, findings.placed(text, file))),
        _ => Err(findings.placed(text, file)),
    }
}

/// Where the text is no TOML, what seems to be missing may be what could not be read: leaves out
/// findings of absence, and everything else on the lines concerned.
fn keep_sure(findings: &mut Findings, text: &str, errors: &[toml::de::Error]) {
    let line_of = |at: usize| {
        text.as_bytes()
            .iter()
            .take(at)
            .filter(|byte| **byte == b'\n')
            .count()
    };
    let lines: BTreeSet<usize> = errors
        .iter()
        .filter_map(toml::de::Error::span)
        .flat_map(|span| [line_of(span.start), line_of(span.end)])
        .collect();
    findings.retain(|found| {
        let absence = matches!(
            found.kind,
            Kind::Missing | Kind::UnknownName | Kind::Unused | Kind::Duplicate
        );
        !absence && !lines.contains(&line_of(found.span.start))
    });
}
