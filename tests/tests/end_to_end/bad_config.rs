//! A configuration with mistakes is refused with all of them, each with its place.

use std::fs;

use tidegate_tests::rig::{CONFIGURATION, command};

#[test]
fn three_mistakes_are_reported_at_once_with_line_and_column() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let mistaken = CONFIGURATION
        .replace("\"pump-house\"", "\"pump house\"")
        .replace("compress =", "compres =")
        .replace("\"1m\"", "\"1 parsec\"");
    fs::write(dir.path().join("tidegate.toml"), &mistaken).expect("the folder takes a file");
    for arguments in [
        &["check", "tidegate.toml"][..],
        &["run", "--config", "tidegate.toml"][..],
    ] {
        let finished = command(dir.path(), arguments);
        assert!(
            !finished.status.success(),
            "{arguments:?} took the mistakes"
        );
        let said = finished.out + &finished.err;
        for text in ["pump house", "compres ", "1 parsec"] {
            let (line, column) = place(&mistaken, text);
            let place = format!("tidegate.toml:{line}:{column}");
            assert!(said.contains(&place), "no mistake at {place} in:\n{said}");
        }
        assert!(said.contains("compress"), "no suggestion in:\n{said}");
    }
    assert!(
        !dir.path().join("data").exists(),
        "a mistaken configuration made a data directory"
    );
}

#[test]
fn the_documented_configuration_passes() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    fs::write(dir.path().join("tidegate.toml"), CONFIGURATION).expect("the folder takes a file");
    let finished = command(dir.path(), &["check", "tidegate.toml"]);
    assert!(
        finished.status.success(),
        "{}{}",
        finished.out,
        finished.err
    );
}

/// Line and column, from 1, of the value or key that holds `text` (a value begins at its quote).
fn place(document: &str, text: &str) -> (usize, usize) {
    let at = document.find(text).expect("the mistake was made");
    let at = if document[..at].ends_with('"') {
        at - 1
    } else {
        at
    };
    let line = document[..at].matches('\n').count() + 1;
    let column = at - document[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
    (line, column)
}
