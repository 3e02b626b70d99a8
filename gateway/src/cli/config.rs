//! Config: loading the configuration's file for a command.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::failure::Failure;
use super::output::{look, say};
use crate::rules::settings::Settings;
use crate::rules::{CONFIG_BYTES_MAX, Mistake, Severity, draw, parse};

/// Reads the file's text, at most a byte more than a configuration may have.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let unreadable = |source| Failure::ConfigUnreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|why| {
        let at = why.utf8_error().valid_up_to();
        let message = format!("it is not UTF-8 text from byte {at} on");
        unreadable(io::Error::new(io::ErrorKind::InvalidData, message))
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
    let text = read(path)?;
    let file = path.to_string_lossy();
    match parse(&text, &file) {
        Ok((settings, found)) => {
            if warnings == Warnings::Told {
                say(&draw(&found, &text, look()));
            }
            Ok(settings)
        }
        Err(findings) => {
            say(&draw(&findings, &text, look()));
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
