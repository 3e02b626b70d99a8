//! Parse: from a configuration's text to settings, or to every mistake in it at once.

use std::collections::BTreeSet;

use toml::Spanned;
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
    parse_as(text, file, |tree, findings| {
        resolve(Typed::read(tree, findings), findings)
    })
}

/// A mistake of what the text names, not of the text: told at the place of a section's key.
pub fn mistake_at(text: &str, file: &str, (section, key): (&str, &str), why: &str) -> Mistake {
    let (tree, _) = DeTable::parse_recoverable(text);
    let section = tree.get_ref().get(section);
    let value = section.and_then(|section| section.get_ref().as_table()?.get(key));
    let span = value.or(section).map_or(0..0, Spanned::span);
    let mut findings = Findings::default();
    findings.mistake(Kind::Malformed, span, why, "this cannot be used");
    let mut placed = findings.placed(text, file);
    placed.swap_remove(0)
}

/// Reads a text in TOML as whatever `read` makes of its tree.
pub(super) fn parse_as<T>(
    text: &str,
    file: &str,
    read: impl FnOnce(&Spanned<DeTable<'_>>, &mut Findings) -> Option<T>,
) -> Result<(T, Vec<Mistake>), Vec<Mistake>> {
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
    let ends = LineEnds::of(text);
    let (tree, errors) = DeTable::parse_recoverable(text);
    let whole = read(&tree, &mut findings);
    if !errors.is_empty() {
        keep_sure(&mut findings, &ends, &errors);
    }
    note_syntax(&mut findings, &ends, &errors);
    match whole {
        Some(whole) if !findings.any_mistake() => Ok((whole, findings.placed(text, file))),
        _ => Err(findings.placed(text, file)),
    }
}

/// Notes what is not TOML, the first of each line: the parser's later ones on the same line
/// follow from it.
fn note_syntax(findings: &mut Findings, ends: &LineEnds, errors: &[toml::de::Error]) {
    let mut lines = BTreeSet::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        if !lines.insert(ends.line(span.start)) {
            continue;
        }
        let why = error.message();
        let unquoted = ["quoted", "mantissa", "float"]
            .iter()
            .any(|word| why.contains(word));
        findings
            .mistake(Kind::Syntax, span, "this is not TOML", why)
            .help_maybe(unquoted.then(|| "texts are written in quotes: key = \"text\"".to_owned()));
    }
}

/// Where each line ends: a file that is no TOML at all has a mistake on every line, and each
/// asks for its number.
struct LineEnds(Vec<usize>);

impl LineEnds {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of an offset, from 0.
    fn line(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at)
    }
}

/// Where the text is no TOML, what seems to be missing may be what could not be read: leaves out
/// findings of absence, and everything else on the lines concerned.
fn keep_sure(findings: &mut Findings, ends: &LineEnds, errors: &[toml::de::Error]) {
    let lines: BTreeSet<usize> = errors
        .iter()
        .filter_map(toml::de::Error::span)
        .flat_map(|span| [ends.line(span.start), ends.line(span.end)])
        .collect();
    findings.retain(|found| {
        let absence = matches!(
            found.kind,
            Kind::Missing
                | Kind::UnknownName
                | Kind::Unused
                | Kind::Never
                | Kind::Doubtful
                | Kind::Duplicate
        );
        !absence && !lines.contains(&ends.line(found.span.start))
    });
}
