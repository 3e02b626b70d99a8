//! Whole tests of rules: golden diagnostics of wrong ones, and the repository's own.
//!
//! `golden/NAME.toml` is a test, `golden/NAME.txt` what is said about it. Run with
//! `UPDATE_GOLDEN=1` to write the latter anew, and read the difference.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::rehearsal::{rehearse, tell};
use crate::rules::{Look, draw, parse};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Files of a folder whose name ends so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}

fn missing(name: &str) -> Result<Ruled, String> {
    Err(format!("{name} cannot be read: no such file"))
}

#[test]
fn diagnostics_are_as_in_the_golden_files() {
    let mut differing = Vec::new();
    let golden = files(&folder("src/rules/rehearsal/golden"), ".toml");
    assert_eq!(golden.len(), 5);
    for path in golden {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = text_of(&path);
        let mistakes = parse_test(&text, &file, missing).unwrap_err();
        let mut found = String::new();
        for mistake in &mistakes {
            writeln!(found, "{mistake}").unwrap();
        }
        found.push('\n');
        found.push_str(&draw(&mistakes, &text, Look::Plain));
        let stored = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&stored, &found).unwrap();
        } else if std::fs::read_to_string(&stored).ok().as_deref() != Some(&found) {
            differing.push(format!("--- {file}\n{found}"));
        }
    }
    assert!(
        differing.is_empty(),
        "differing from their golden files (UPDATE_GOLDEN=1 rewrites them):\n{}",
        differing.join("\n")
    );
}

#[test]
fn several_mistakes_are_told_at_once_with_their_places() {
    let text = text_of(&folder("src/rules/rehearsal/golden/several.toml"));
    let mistakes = parse_test(&text, "several.toml", missing).unwrap_err();
    let kinds: Vec<Kind> = mistakes.iter().map(|mistake| mistake.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::UnknownKey,
            Kind::UnknownName,
            Kind::Malformed,
            Kind::UnknownName,
            Kind::UnknownKey,
            Kind::UnknownName,
            Kind::Conflict,
        ]
    );
    let lines: Vec<usize> = mistakes.iter().map(|mistake| mistake.line).collect();
    assert!(lines.is_sorted() && lines[0] == 1, "{lines:?}");
}

#[test]
fn the_examples_hold() {
    let tests = files(&folder("../examples"), ".test.toml");
    assert!(tests.len() >= 6);
    for path in tests {
        let load = |name: &str| {
            let text = text_of(&folder("../examples").join(name));
            let (settings, warnings) = parse(&text, name).unwrap();
            assert_eq!(warnings, []);
            Ok(Ruled::from(settings))
        };
        let test = parse_test(&text_of(&path), "example", load)
            .unwrap_or_else(|mistakes| panic!("{}: {mistakes:#?}", path.display()));
        let outcome = rehearse(&test);
        let told = tell(&test, &outcome, &path.to_string_lossy(), Look::Plain);
        assert!(outcome.holds(), "{told}");
    }
}

#[test]
fn more_than_is_allowed_is_refused() {
    let base = |steps: &str| {
        let text = format!(
            "expect = []\n[[rule]]\nname = \"r\"\nmatch = {{}}\nforward = [\"x\"]\n\
             [device.d]\ntimeline = [{steps}]\n"
        );
        let mistakes = parse_test(&text, "t", missing).unwrap_err();
        mistakes.iter().map(|one| one.kind).collect::<Vec<_>>()
    };
    let many = r#"{ every = "1ms", samples = { a = [1, 2] }, repeat = 500001 }"#;
    assert_eq!(base(many), [Kind::OutOfRange]);
    let long = r#"{ every = "366d", samples = { a = [1, 2] } }"#;
    assert_eq!(base(long), [Kind::OutOfRange]);
    assert_eq!(base(r#"{ silence = "367d" }"#), [Kind::OutOfRange]);
    let fine = r#"{ every = "1s", samples = { a = [1e300] } }"#;
    assert_eq!(base(fine), [Kind::OutOfRange]);
}
