//! Config: loading the configuration's file for a command.

use std::path::Path;

use tracing::Level;

use super::failure::Failure;
use super::output::{look, say_at};
use crate::rules::settings::Settings;
use crate::rules::{self, Mistake, Severity, draw, parse};

/// Reads the file's text.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    rules::read(path).map_err(|source| Failure::ConfigUnreadable {
        path: path.to_owned(),
        source,
    })
}

/// Whether a command tells what is odd about a configuration that can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Warnings {
    /// It does: the configuration is about to run.
    Told,
    /// It does not: only where things are is asked.
    Untold,
}

/// Loads the settings; tells mistakes on stderr.
pub(super) fn load(path: &Path, warnings: Warnings) -> Result<Settings, Failure> {
    settings_of(&read(path)?, path, warnings)
}

/// The settings that a text read from `path` gives; tells mistakes on stderr.
pub(super) fn settings_of(
    text: &str,
    path: &Path,
    warnings: Warnings,
) -> Result<Settings, Failure> {
    let file = path.to_string_lossy();
    match parse(text, &file) {
        Ok((settings, found)) => {
            if warnings == Warnings::Told {
                say_at(Level::WARN, &draw(&found, text, look()));
            }
            Ok(settings)
        }
        Err(findings) => {
            say_at(Level::ERROR, &draw(&findings, text, look()));
            Err(Failure::ConfigMistaken {
                mistakes: count_mistakes(&findings),
                file: file.into_owned(),
            })
        }
    }
}

/// Mistakes among mistakes and warnings.
pub(super) fn count_mistakes(findings: &[Mistake]) -> usize {
    let severities = findings.iter().map(|finding| finding.severity);
    severities
        .filter(|severity| *severity == Severity::Mistake)
        .count()
}
