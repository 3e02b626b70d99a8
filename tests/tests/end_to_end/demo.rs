//! The demo needs nothing but the binary, and shows what it saves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::pages;
use tidegate_tests::process::Process;
use tidegate_tests::report::figure;
use tidegate_tests::rig::{repository, tidegate};

#[test]
fn the_demo_delivers_records_and_says_what_it_saved() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let mut command = Command::new(tidegate());
    command
        .current_dir(dir.path())
        .args(["demo", "--for", "12", "--json"]);
    let finished = Process::run("demo", &mut command, dir.path(), Duration::from_mins(1));
    assert!(
        finished.status.success(),
        "the demo ended with {}: {}{}",
        finished.status,
        finished.out,
        finished.err
    );
    let mut summary = finished.out.lines().rev();
    let summary: Value = summary
        .find_map(|line| serde_json::from_str(line).ok())
        .expect("the demo ends with a summary as a JSON line");
    let number = |name: &str| {
        let number = summary[name].as_f64();
        number.unwrap_or_else(|| panic!("no {name} in {summary}"))
    };
    for name in ["samples_in", "records_out", "bytes_in", "bytes_out"] {
        assert!(number(name) > 0.0, "{name} is not above zero: {summary}");
    }
    figure("demo", &summary.to_string());

    let lines: usize = ndjson(dir.path())
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).expect("the sink's file is UTF-8");
            for line in text.lines() {
                serde_json::from_str::<Value>(line).expect("each line is a JSON record");
            }
            text.lines().count()
        })
        .sum();
    assert!(lines > 0, "the demo's file sink holds no record");
}

/// README.md shows what the demo prints: the same lines, with other numbers.
#[test]
fn the_readme_shows_what_the_demo_prints() {
    let pages = pages::all(&repository());
    let readme = pages.iter().find(|page| page.name == "README.md");
    let blocks = readme.expect("there is a README").blocks();
    let is_shown = |text: &str| text.contains("samples in");
    let shown = blocks.iter().find(|block| is_shown(&block.text));
    let shown = &shown.expect("the README shows the demo").text;
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let mut command = Command::new(tidegate());
    command
        .current_dir(dir.path())
        .args(["demo", "--for", "12"]);
    let finished = Process::run("demo", &mut command, dir.path(), Duration::from_mins(1));
    assert!(finished.status.success(), "{}", finished.err);
    let words = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| {
            let words = line.split_whitespace();
            let words = words.filter(|word| !word.starts_with(|sign: char| sign.is_ascii_digit()));
            // Sizes are in the unit that fits.
            let words = words.filter(|word| !word.ends_with("iB") && *word != "B");
            words.collect::<Vec<_>>().join(" ")
        });
        lines.filter(|line| !line.is_empty()).collect()
    };
    let printed = words(&finished.out);
    let shown = words(shown);
    assert!(shown.len() >= 5, "{shown:?}");
    assert!(
        printed.windows(shown.len()).any(|lines| lines == shown),
        "the README shows {shown:?}, the demo printed {printed:?}"
    );
}

/// Files of the sink, wherever the demo put them.
fn ndjson(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(ndjson(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "ndjson")
        {
            found.push(path);
        }
    }
    found
}
