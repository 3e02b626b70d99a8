//! What the documentation says works: every command of the README is run by a test or named with
//! the reason why not, every configuration in it and in the examples passes `check`, and every
//! test of rules beside them passes `test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tidegate_tests::ports;
use tidegate_tests::process::Process;
use tidegate_tests::records;
use tidegate_tests::report::say;
use tidegate_tests::rig::{Rig, command, repository, tidegate};
use tidegate_tests::wall::wait_until;

/// How a command of the README is covered.
enum Covered {
    /// Run here, in the repository.
    Here,
    /// Run in its place in the README's own walk through a first gateway.
    Walked,
    /// Run by another test, with the same arguments.
    By(&'static str),
    /// Not run, and why.
    LeftOut(&'static str),
}

/// Commands by how they begin; the first that fits counts.
const COMMANDS: &[(&str, Covered)] = &[
    ("cargo run --release -- demo", Covered::By("demo")),
    ("tests/run", Covered::LeftOut("it runs this test")),
    ("tidegate check", Covered::Here),
    ("tidegate test", Covered::Here),
    ("tidegate run", Covered::Walked),
    ("tidegate simulate", Covered::Walked),
    ("tidegate ledger", Covered::Walked),
    (
        "tidegate status",
        Covered::LeftOut("its answer is tested beside the gateway's control socket"),
    ),
    ("git clone", Covered::LeftOut("it needs a network")),
    ("cd ", Covered::LeftOut("it only goes somewhere")),
];

#[test]
fn every_command_of_the_readme_is_covered() {
    let commands = commands();
    for line in &commands {
        let covered = COMMANDS.iter().find(|(begin, _)| line.starts_with(begin));
        match covered.map(|(_, covered)| covered) {
            Some(Covered::Here) => {
                let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
                let finished = command(&repository(), &arguments);
                assert!(finished.status.success(), "{line}: {}", finished.err);
            }
            Some(Covered::Walked) => {}
            Some(Covered::By(test)) => say(&format!("readme: `{line}` is run by {test}")),
            Some(Covered::LeftOut(why)) => say(&format!("readme: `{line}` is left out: {why}")),
            None => panic!("no test runs the README's `{line}`; add it to COMMANDS"),
        }
    }
    assert!(
        commands.iter().any(|line| line == "tests/run"),
        "the README does not say how to test"
    );
}

/// The README's configuration and commands, on ports of the test: a record arrives, and the
/// ledger answers.
#[test]
fn the_walk_of_the_readme_delivers_a_record() {
    let readme = readme();
    let configuration = blocks(&readme)
        .into_iter()
        .find(|(language, block)| *language == "toml" && block.contains("[gateway]"))
        .map(|(_, block)| {
            block
                .replace(":1883", &format!(":{}", ports::BROKER_PORT))
                .replace(":8080", &format!(":{}", ports::RECEIVER_PORT))
        })
        .expect("the README shows a configuration");
    let rig = Rig::free(&configuration);
    let broker = format!(":{}", rig.broker.port);
    let commands = commands();
    let arguments = |name: &str| -> Vec<String> {
        let begin = format!("tidegate {name}");
        let line = commands.iter().find(|line| line.starts_with(&begin));
        let line = line.unwrap_or_else(|| panic!("the README shows no `{begin}`"));
        let words = line.split_whitespace().skip(1);
        words.map(|word| word.replace(":1883", &broker)).collect()
    };
    let start = |name: &str| {
        let mut command = Command::new(tidegate());
        command.current_dir(rig.path()).args(arguments(name));
        Process::start(name, &mut command, rig.path())
    };
    let mut gateway = start("run");
    let simulation = start("simulate");
    wait_until("a record", Duration::from_secs(30), || {
        records::read(&rig.receiver.requests())
            .iter()
            .any(|one| one.taken && one.record.device == "pump-1")
    });
    let ledger = arguments("ledger");
    let ledger: Vec<&str> = ledger.iter().map(String::as_str).collect();
    let finished = rig.command(&ledger);
    assert!(finished.status.success(), "{}", finished.err);
    serde_json::from_str::<serde_json::Value>(&finished.out).expect("the ledger is JSON");
    drop(simulation);
    assert!(gateway.stop(Duration::from_secs(20)).success());
}

#[test]
fn every_example_configuration_passes() {
    let readme = readme();
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
        let verb = if name.ends_with(".test.toml") {
            "test"
        } else {
            "check"
        };
        let finished = command(dir.path(), &[verb, &name]);
        assert!(
            finished.status.success(),
            "{name}: {}{}",
            finished.out,
            finished.err
        );
    }
    say(&format!(
        "readme: {} example configurations and tests of rules pass",
        files.len()
    ));
}

/// Commands of the README's shell blocks, one a line; `cargo run --release --` is `tidegate`,
/// except before the first command, which must work as it stands.
fn commands() -> Vec<String> {
    let mut commands = Vec::new();
    for (language, block) in blocks(&readme()) {
        if !matches!(language, "sh" | "bash" | "console" | "shell") {
            continue;
        }
        for line in block.replace("\\\n", " ").lines() {
            let line = line.trim().trim_start_matches("$ ");
            let line = line.split(" #").next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            commands.push(if line == "cargo run --release -- demo" {
                line.to_owned()
            } else {
                line.replace("cargo run --release --", "tidegate")
            });
        }
    }
    commands
}

fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).expect("there is a README")
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
