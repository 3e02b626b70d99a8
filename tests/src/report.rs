//! What tests tell their reader, past libtest's capture: lines on stderr, and figures that
//! `tests/run --full` collects.

use std::fs::OpenOptions;
use std::io::Write;

/// Environment variable with the file that figures are appended to.
pub const FIGURES: &str = "TIDEGATE_FIGURES";
/// Environment variable with the folder of test data.
pub const DATA: &str = "TIDEGATE_DATA";
/// Environment variable that asks for the long form.
pub const FULL: &str = "TIDEGATE_FULL";

/// Says a line, also when the test passes.
pub fn say(line: &str) {
    // A reader who went away is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says a figure, and appends it to the figures' file if one is asked for: a line of
/// `section <tab> text`.
pub fn figure(section: &str, text: &str) {
    say(&format!("figure: {section}: {text}"));
    let Some(path) = std::env::var_os(FIGURES) else {
        return;
    };
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{section}\t{text}\n").as_bytes()))
        .unwrap_or_else(|error| panic!("cannot write {FIGURES}={}: {error}", path.display()));
}

/// The folder of test data, or `None` with a line that names what is left out.
///
/// A folder that is named but missing fails the test.
pub fn data(what: &str) -> Option<std::path::PathBuf> {
    let Some(path) = std::env::var_os(DATA) else {
        say(&format!("{what}: left out: {DATA} is not set"));
        return None;
    };
    let path = std::path::PathBuf::from(path);
    assert!(
        path.join("skab/anomaly-free.csv").is_file(),
        "{DATA}={} holds no skab/anomaly-free.csv",
        path.display()
    );
    Some(path)
}

/// Whether the long form is asked for; says what is left out when it is not.
pub fn is_full(what: &str) -> bool {
    let full = std::env::var_os(FULL).is_some();
    if !full {
        say(&format!("{what}: left out: only in tests/run --full"));
    }
    full
}
