//! `docs/limits.md` against the code: every limit is documented, and every documented one exists.

#![expect(
    clippy::unwrap_used,
    reason = "a test of files of this repository: one that is missing is to stop it"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate_gateway::rules::parse;

/// A tool beside the gateway, whose limits concern what it prints.
const TOOLS: [&str; 1] = ["simulate"];
/// Keys of a sink that are no limits.
const NO_LIMITS: [&str; 4] = ["type", "path", "format", "rotate"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/limits.md")).unwrap()
}

/// What stands between backticks in the first column of a table.
fn documented() -> BTreeSet<String> {
    page()
        .lines()
        .filter_map(|line| line.strip_prefix('|'))
        .filter_map(|line| line.split('|').next().map(str::to_owned))
        .flat_map(|column| {
            let quoted = column.split('`').skip(1).step_by(2).map(str::to_owned);
            quoted.collect::<Vec<_>>()
        })
        .collect()
}

/// The keys of a section, as the configuration lists them to somebody who typed another.
fn keys(section: &str) -> BTreeSet<String> {
    let text = format!(
        "[gateway]\nsite = \"s\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n[sink.cloud]\n\
         type = \"file\"\npath = \"p\"\n{section}\nqqqqqqqqqqqqqqqqqqqq = 1\n"
    );
    let text = if section == "[sink.cloud]" {
        text.replace("path = \"p\"\n[sink.cloud]\n", "path = \"p\"\n")
    } else {
        text
    };
    let mistakes = parse(&text, "test").unwrap_err();
    let list = mistakes
        .iter()
        .filter_map(|mistake| mistake.help.as_deref())
        .find_map(|help| help.strip_prefix("the keys here are: "));
    let list = list.unwrap_or_else(|| panic!("{section}: {mistakes:?}"));
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_page_has_every_key_that_is_a_limit_and_no_other() {
    let mut known = BTreeSet::new();
    for (section, prefix) in [
        ("[limits]", "limits."),
        ("[log]", "log."),
        ("[clock]", "clock."),
        ("[sink.cloud]", "sink.NAME."),
    ] {
        let keys = keys(section);
        assert!(keys.len() >= 2, "{section}: {keys:?}");
        known.extend(
            keys.into_iter()
                .filter(|key| !NO_LIMITS.contains(&key.as_str()))
                .map(|key| format!("{prefix}{key}")),
        );
    }
    let documented = documented();
    let typed: BTreeSet<String> = documented
        .into_iter()
        .filter(|name| !name.contains("::"))
        .collect();
    assert_eq!(typed, known);
}

/// Constants of a crate whose name says that they are a limit, as `room::NAME`.
fn constants(folder: &Path, room: Option<&str>, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if stem.contains("tests") {
            continue;
        }
        let of = room.unwrap_or(&stem);
        if TOOLS.contains(&of) {
            continue;
        }
        if path.is_dir() {
            constants(&path, Some(of), found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for line in code.lines() {
                let Some((_, rest)) = line.split_once("const ") else {
                    continue;
                };
                let Some((name, _)) = rest.split_once(':') else {
                    continue;
                };
                let is_name = name
                    .bytes()
                    .all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == b'_');
                if is_name && name.split('_').any(|word| word == "MAX") {
                    found.insert(format!("{of}::{name}"));
                }
            }
        }
    }
}

#[test]
fn the_page_has_every_constant_that_is_a_limit_and_no_other() {
    let mut known = BTreeSet::new();
    constants(&root().join("gateway/src"), None, &mut known);
    constants(&root().join("shared/src"), Some("shared"), &mut known);
    constants(&root().join("firmware/src"), Some("firmware"), &mut known);
    assert!(known.len() > 60, "{}", known.len());
    // Names in the bounds column of a key count, too.
    let page = page();
    let missing: Vec<&String> = known
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/limits.md: {missing:?}");
    let gone: Vec<String> = documented()
        .into_iter()
        .filter(|name| name.contains("::") && !known.contains(name))
        .collect();
    assert!(gone.is_empty(), "only in docs/limits.md: {gone:?}");
}
