//! What the documentation calls a command is one: each parses, and each flag exists. (That they do
//! what is said is tested end to end.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, CommandFactory};

use super::super::*;

/// Flags that pages name of other programs.
const FOREIGN: &[(&str, &[&str])] = &[
    ("README.md", &["--full", "--release"]),
    ("docs/logs.md", &["--unit", "--priority", "--since"]),
    (
        "docs/performance.md",
        &["--full", "--release", "--features", "--example"],
    ),
    ("docs/raspberry-pi.md", &["--full"]),
    (
        "docs/sinks.md",
        &[
            "--web.enable-remote-write-receiver",
            "--subjects",
            "--dupe-window",
        ],
    ),
    (
        "firmware/README.md",
        &["--chip", "--chip-erase", "--features", "--release"],
    ),
];

/// The pages about this version: decisions and changes tell of others, too.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let listed = |folder: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(root.join(folder)).unwrap().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut paths: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "firmware/README.md"]
        .iter()
        .map(|name| root.join(name))
        .chain(listed("docs"))
        .chain(listed("docs/views"))
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    paths.sort();
    let pages = paths.iter().map(|path| {
        let name = path.strip_prefix(root).unwrap();
        (
            name.display().to_string(),
            fs::read_to_string(path).unwrap(),
        )
    });
    pages.collect()
}

/// Code in the lines of a page, and commands in its blocks.
fn code(page: &str) -> (Vec<String>, Vec<String>) {
    let (mut spans, mut commands) = (Vec::new(), Vec::new());
    let mut language: Option<String> = None;
    for line in page.replace("\\\n", " ").lines() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            language = match language {
                Some(_) => None,
                None => Some(info.split(' ').next().unwrap_or_default().to_owned()),
            };
            continue;
        }
        match language.as_deref() {
            None => spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned)),
            Some("sh" | "console" | "bash" | "shell") => {
                let line = line.trim().trim_start_matches("$ ");
                let line = line.replace("cargo run --release -- ", "tidegate ");
                let ends = ["#", ">", "|", "&", ";"];
                let words = line.split_whitespace();
                let words = words.take_while(|word| !ends.iter().any(|end| word.starts_with(end)));
                let words: Vec<&str> = words.collect();
                if words.first() == Some(&"tidegate") {
                    commands.push(words.join(" "));
                }
            }
            Some(_) => {}
        }
    }
    (spans, commands)
}

/// A command as a page writes it, with something in every place that it leaves open.
fn filled(span: &str) -> Vec<String> {
    let words = span.split_whitespace().map(|word| {
        let word = word.trim_start_matches('[').trim_end_matches(']');
        let word = word.trim_end_matches('…').trim_end_matches("...");
        let first = word.split(['|', '\\']).next().unwrap_or_default();
        match first {
            "TIME" | "W" => "2026-03-01T12:30:00Z",
            "POSITION" | "N" => "1",
            "MONTH" => "2026-10",
            "DURATION" => "1h",
            "KIND" | "K" => "frame",
            other => other,
        }
        .to_owned()
    });
    words.filter(|word| !word.is_empty()).collect()
}

/// Whether a command parses, or only ends before all is said.
fn is_one(words: &[String]) -> Result<(), String> {
    let Err(error) = Cli::try_parse_from(words) else {
        return Ok(());
    };
    let is_begun = match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
        // An option that is named without a value.
        ErrorKind::InvalidValue => words.last().is_some_and(|word| word.starts_with("--")),
        _ => false,
    };
    if is_begun {
        Ok(())
    } else {
        Err(error.to_string())
    }
}

#[test]
fn every_command_that_a_page_names_parses() {
    let mut named = 0;
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let (spans, commands) = code(&text);
        for command in &commands {
            named += 1;
            let words = filled(command);
            if let Err(why) = Cli::try_parse_from(&words) {
                wrong.push(format!("{page}: `{command}`: {why}"));
            }
        }
        let spans = spans.iter().filter(|span| span.starts_with("tidegate "));
        for span in spans {
            named += 1;
            if let Err(why) = is_one(&filled(span)) {
                wrong.push(format!("{page}: `{span}`: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 50, "{named}");
}

#[test]
fn every_flag_that_a_page_names_exists() {
    let mut known = BTreeSet::from(["--help".to_owned(), "--version".to_owned()]);
    gather(&Cli::command(), &mut known);
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let foreign = FOREIGN.iter().filter(|(of, _)| *of == page);
        let foreign: Vec<&str> = foreign.flat_map(|(_, flags)| *flags).copied().collect();
        let (spans, _) = code(&text);
        let words = spans.iter().filter(|span| !span.starts_with("tidegate "));
        let words = words.flat_map(|span| span.split([' ', '=', '[', ']', ',']));
        for flag in words.filter(|word| word.starts_with("--") && word.len() > 2) {
            if !known.contains(flag) && !foreign.contains(&flag) {
                wrong.push(format!("{page}: {flag}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "flags that no command has:\n{}",
        wrong.join("\n")
    );
}

fn gather(command: &Command, known: &mut BTreeSet<String>) {
    let longs = command.get_arguments().filter_map(clap::Arg::get_long);
    known.extend(longs.map(|long| format!("--{long}")));
    for one in command.get_subcommands() {
        gather(one, known);
    }
}

#[test]
fn slips_in_pages_are_found() {
    let (spans, commands) = code("a `tidegate ruin` b\n```sh\n$ tidegate check --jso # x\n```\n");
    assert_eq!(spans, ["tidegate ruin"]);
    assert_eq!(commands, ["tidegate check --jso"]);
    assert!(is_one(&filled(&spans[0])).is_err());
    assert!(is_one(&filled(&commands[0])).is_err());
    assert!(is_one(&filled("tidegate sink")).is_ok());
    assert!(is_one(&filled("tidegate run --config")).is_ok());
    assert!(
        is_one(&filled(
            "tidegate log inspect [--from W] [--of log\\|spool]"
        ))
        .is_ok()
    );
}

/// Functions of a folder's Rust files, by name.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let named = text.lines().filter_map(|line| {
                let (_, rest) = line.split_once("fn ")?;
                Some(rest.split_once('(')?.0.to_owned())
            });
            found.extend(named);
        }
    }
}

#[test]
fn every_claim_about_security_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut known = BTreeSet::new();
    for folder in ["gateway/src", "shared/tests", "firmware/src", "tests/tests"] {
        functions(&root.join(folder), &mut known);
    }
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let (mut claims, mut is_claim) = (0, false);
    for row in page.lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        match cells[..] {
            ["", "claim", "by", "tested by", ""] => is_claim = true,
            ["", claim, _, tests, ""] if is_claim => {
                let tests = tests.split('`').skip(1).step_by(2);
                let tests: Vec<&str> = tests.filter(|name| !name.contains('/')).collect();
                let is_rule = claim.starts_with("---");
                assert!(is_rule || !tests.is_empty(), "{claim}: no test");
                let gone: Vec<_> = tests
                    .iter()
                    .filter(|name| !known.contains(**name))
                    .collect();
                assert!(gone.is_empty(), "{claim}: no test {gone:?}");
                claims += u32::from(!is_rule);
            }
            _ => is_claim = false,
        }
    }
    assert!(claims > 20, "{claims} claims");
}
