//! What the documentation says can be done: every command of every page is run, or stands in a
//! table with the reason why not; every link leads somewhere.
//!
//! The words behind a fence say how a block is run; the page stays readable, because nobody shows
//! them:
//!
//! | fence | its commands |
//! |---|---|
//! | `sh` | run to their ends, beside a gateway with records, in its folder ([`Stage`]) |
//! | `sh fresh` | the same in a folder of their own, without a gateway and a data directory |
//! | `sh runs` | go on until they are stopped: each line is started, watched, and stopped again |
//! | `sh exit:3` | end with that code |
//! | `sh by:demo` | are run by the test `demo.rs`, which reads them from the page |
//! | `console` | are not run: a row of [`CONSOLE`] says why |

mod stage;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tidegate_tests::pages::{self, Block, Page};
use tidegate_tests::report::say;
use tidegate_tests::rig::repository;
use tidegate_tests::wall::Stopwatch;

use self::stage::Stage;

/// Blocks that cannot be run here: the page, how the block begins, and why.
const CONSOLE: &[(&str, &str, &str)] = &[
    ("README.md", "tests/run", "it runs this test"),
    (
        "docs/audit.md",
        "tidegate audit show --last",
        "it needs a log of acts; `cli::audit` tests what it prints",
    ),
    (
        "docs/audit.md",
        "tidegate audit verify COPY",
        "it needs a log of acts; `cli::audit` tests what it finds",
    ),
    (
        "docs/audit.md",
        "tidegate audit prove 17",
        "it needs a log of acts; `cli::audit` tests it",
    ),
    (
        "docs/audit.md",
        "tidegate audit request --out",
        "it needs two gateways; `cli::audit` tests them",
    ),
    (
        "docs/audit.md",
        "tidegate audit witness --watch",
        "it needs two gateways; `trust::witness` tests them",
    ),
    (
        "docs/audit.md",
        "tidegate audit request --ask",
        "it needs two gateways; `trust::witness` tests them",
    ),
    (
        "docs/audit.md",
        "head -n 3 audit/checkpoint",
        "it needs a log and the openssl program; `audit` checks signatures with another Ed25519",
    ),
    ("docs/page.md", "ssh -N", "it needs another machine"),
    (
        "docs/logs.md",
        "journalctl",
        "it needs a journal; `logs` tests what it reads",
    ),
    (
        "docs/devices.md",
        "probe-rs download",
        "it needs a board on a debug probe",
    ),
    (
        "docs/devices.md",
        "tidegate device claim close",
        "it needs the number of a claim; `cli::device` tests it",
    ),
    (
        "docs/http.md",
        "curl --cacert",
        "it needs a certificate and a name of its own; the gateway's own tests make them",
    ),
    (
        "docs/raspberry-pi.md",
        "sudo mkdir -p /etc/systemd/journald",
        "it changes the Pi's own journal",
    ),
    (
        "docs/raspberry-pi.md",
        "gateway/packaging/build",
        "it builds for three machines; tests/packages runs it",
    ),
    (
        "docs/raspberry-pi.md",
        "sudo apt install ./tidegate_*_arm64.deb\nsystemctl",
        "it needs a Pi; tests/packages installs in a clean Debian",
    ),
    (
        "docs/raspberry-pi.md",
        "sudoedit",
        "it needs a Pi and a person; tests/packages reloads right and mistaken configurations",
    ),
    (
        "docs/raspberry-pi.md",
        "sudo install -d",
        "it needs a Pi and a person",
    ),
    ("docs/raspberry-pi.md", "ssh -L", "it needs a Pi"),
    ("docs/raspberry-pi.md", "sudo openssl", "it needs a Pi"),
    ("docs/raspberry-pi.md", "timedatectl", "it needs systemd"),
    (
        "docs/raspberry-pi.md",
        "sudo mkdir -p /etc/systemd/system.conf",
        "it switches the Pi's own watchdog on",
    ),
    ("docs/raspberry-pi.md", "journalctl", "it needs a journal"),
    (
        "docs/raspberry-pi.md",
        "sudo tidegate backup /var",
        "it needs a Pi; tests/packages upgrades, backup.md's commands are run",
    ),
    (
        "docs/raspberry-pi.md",
        "sudo systemctl disable",
        "it needs a Pi to move from",
    ),
    (
        "docs/raspberry-pi.md",
        "sudo systemctl stop",
        "it needs a Pi to move to",
    ),
    (
        "docs/raspberry-pi.md",
        "systemctl status tidegate\njournalctl",
        "it needs a Pi whose gateway does not start",
    ),
    (
        "docs/security.md",
        "tidegate audit show --device",
        "it needs a device in quarantine; `session::conduct` and `cli::audit` test their parts",
    ),
    (
        "firmware/README.md",
        "cd firmware/boards/nucleo-f429zi",
        "it needs a board on a debug probe; tests/boards builds it",
    ),
    (
        "firmware/README.md",
        "probe-rs download",
        "it needs a board on a debug probe",
    ),
];

#[test]
fn every_command_of_the_documentation_is_run() {
    let watch = Stopwatch::new();
    let stage = Stage::new();
    let (mut run, mut rows) = (0, BTreeSet::new());
    for page in pages::all(&repository()) {
        for block in page.blocks() {
            match &*block.language {
                "sh" | "bash" | "shell" => {
                    if let Err(why) = run_block(&stage, &page, &block) {
                        panic!("{}:{}: {why}", page.name, block.line);
                    }
                    run += 1;
                }
                "console" => {
                    rows.insert(left_out(&page, &block));
                }
                _ => {}
            }
        }
    }
    for (number, (page, begins, _)) in CONSOLE.iter().enumerate() {
        assert!(
            rows.contains(&number),
            "no block of {page} begins with `{begins}`"
        );
    }
    assert!(run >= 10, "{run} blocks");
    say(&format!(
        "documentation: {run} blocks run, {} left out, {:.1} s",
        rows.len(),
        watch.elapsed().as_secs_f32()
    ));
}

/// Runs a block as its words say.
fn run_block(stage: &Stage, page: &Page, block: &Block) -> Result<(), String> {
    let (mut is_fresh, mut runs_on, mut code) = (false, false, 0);
    for word in &block.words {
        match word.split_once(':') {
            None if word == "fresh" => is_fresh = true,
            None if word == "runs" => runs_on = true,
            Some(("exit", number)) => {
                code = number.parse().map_err(|_| format!("exit:{number}"))?;
            }
            Some(("by", test)) => return run_elsewhere(page, test),
            _ => return Err(format!("`{word}` says nothing about a block")),
        }
    }
    let place = if is_fresh {
        &stage.fresh()
    } else {
        stage.place()
    };
    if runs_on {
        let lines = commands(&block.text);
        return lines.iter().try_for_each(|line| place.runs_on(line));
    }
    place.runs_to_its_end(&block.text, code)
}

/// Whether the test that runs a block is there and looks at the page.
fn run_elsewhere(page: &Page, test: &str) -> Result<(), String> {
    let file = repository().join(format!("tests/tests/end_to_end/{test}.rs"));
    let text = fs::read_to_string(&file).map_err(|_| format!("there is no test {test}"))?;
    if text.contains(&page.name) {
        Ok(())
    } else {
        Err(format!("the test {test} does not look at this page"))
    }
}

/// The row of a block that is not run.
fn left_out(page: &Page, block: &Block) -> usize {
    let rows = CONSOLE.iter().enumerate();
    let mut rows = rows.filter(|(_, (of, begins, _))| {
        *of == page.name && block.text.trim_start_matches("$ ").starts_with(begins)
    });
    let Some((number, (_, begins, why))) = rows.next() else {
        panic!(
            "{}:{}: a block of the sort `console` is not run: say why in CONSOLE, or make it `sh`",
            page.name, block.line
        );
    };
    say(&format!("{}: `{begins}` is left out: {why}", page.name));
    number
}

/// The commands of a block, one a line; comments left out.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().map(|line| {
        let line = line.split(" #").next().unwrap_or_default();
        line.trim().to_owned()
    });
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let pages = pages::all(&repository());
    let mut links = 0;
    let mut broken = Vec::new();
    for page in &pages {
        for link in page.links() {
            links += 1;
            if !leads_somewhere(&pages, page, &link) {
                broken.push(format!("{}: {link}", page.name));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "links to nowhere:\n{}",
        broken.join("\n")
    );
    assert!(links > 100, "{links}");
}

fn leads_somewhere(pages: &[Page], page: &Page, link: &str) -> bool {
    let repository = repository();
    let (path, anchor) = page.target(&repository, link);
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let Some(anchor) = anchor else { return true };
    let same = |one: &&Page| is_at(&repository, one, &path);
    pages
        .iter()
        .find(same)
        .is_some_and(|one| one.anchors().contains(&anchor))
}

fn is_at(repository: &Path, page: &Page, path: &Path) -> bool {
    let own = repository.join(&page.name);
    own.canonicalize().is_ok_and(|own| own == path)
}

#[test]
fn the_readme_names_every_page_of_the_folder_docs() {
    let pages = pages::all(&repository());
    let readme = pages.iter().find(|page| page.name == "README.md");
    let links = readme.expect("there is a README").links();
    for page in &pages {
        if page.name.starts_with("docs/") && page.name.matches('/').count() == 1 {
            assert!(
                links.contains(&page.name),
                "the README does not name {}",
                page.name
            );
        }
    }
}
