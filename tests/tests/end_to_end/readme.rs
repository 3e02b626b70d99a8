//! What the documentation says works: every command of the README is run by a test or named with
//! the reason why not, and every configuration in it and in the examples passes `check`.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_tests::report::say;
use tidegate_tests::rig::{command, repository};

/// How a command of the README is covered.
enum Covered {
    /// Run here, in an empty folder.
    Here,
    /// Run by another test, with the same arguments.
    By(&'static str),
    /// Not run, and why.
    LeftOut(&'static str),
}

/// Commands by how they begin; the first that fits counts.
const COMMANDS: &[(&str, Covered)] = &[
    ("cargo run --release -- demo", Covered::By("demo")),
    ("tests/run --full", Covered::LeftOut("it runs this test")),
    ("tests/run", Covered::LeftOut("it runs this test")),
    ("tidegate demo", Covered::By("demo")),
    ("tidegate check", Covered::By("bad_config")),
    ("tidegate run", Covered::By("real_input")),
    ("tidegate simulate --trace", Covered::By("real_input")),
    ("tidegate ledger", Covered::By("bad_input")),
    ("tidegate help", Covered::Here),
    ("tidegate --help", Covered::Here),
    (
        "cargo install",
        Covered::LeftOut("it writes outside the clone"),
    ),
    ("git clone", Covered::LeftOut("it needs a network")),
    ("cd ", Covered::LeftOut("it only goes somewhere")),
];

#[test]
fn every_command_of_the_readme_is_covered() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let mut commands = Vec::new();
    for (language, block) in blocks(&readme) {
        if matches!(language, "sh" | "bash" | "console" | "shell") {
            commands.extend(block.replace("\\\n", " ").lines().map(str::to_owned));
        }
    }
    for line in &commands {
        let line = line.trim().trim_start_matches("$ ");
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let covered = COMMANDS.iter().find(|(begin, _)| line.starts_with(begin));
        match covered.map(|(_, covered)| covered) {
            Some(Covered::Here) => {
                let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
                let finished = command(dir.path(), &arguments);
                assert!(finished.status.success(), "{line}: {}", finished.err);
            }
            Some(Covered::By(test)) => say(&format!("readme: `{line}` is run by {test}")),
            Some(Covered::LeftOut(why)) => say(&format!("readme: `{line}` is left out: {why}")),
            None => panic!("no test runs the README's `{line}`; add it to COMMANDS"),
        }
    }
    assert!(
        commands.iter().any(|line| line.contains("tests/run")),
        "the README does not say how to test"
    );
}

#[test]
fn every_example_configuration_passes() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let mut files = examples(&repository().join("examples"));
    files.extend(examples(&repository().join("gateway/examples")));
    for (number, (language, block)) in blocks(&readme).into_iter().enumerate() {
        if language == "toml" && block.contains("[gateway]") {
            let file = dir.path().join(format!("readme-{number}.toml"));
            fs::write(&file, block).expect("the folder takes a file");
            files.push(file);
        }
    }
    for file in &files {
        let name = file.to_string_lossy();
        let finished = command(dir.path(), &["check", &name]);
        assert!(
            finished.status.success(),
            "{name}: {}{}",
            finished.out,
            finished.err
        );
    }
    say(&format!(
        "readme: {} example configurations pass",
        files.len()
    ));
}

/// Fenced blocks: language and text.
fn blocks(markdown: &str) -> Vec<(&str, &str)> {
    let mut blocks = Vec::new();
    let mut rest = markdown;
    while let Some((_, fenced)) = rest.split_once("```") {
        let Some((block, after)) = fenced.split_once("```") else {
            break;
        };
        let (language, text) = block.split_once('\n').unwrap_or((block, ""));
        blocks.push((language.trim(), text));
        rest = after;
    }
    blocks
}

fn examples(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect()
}
