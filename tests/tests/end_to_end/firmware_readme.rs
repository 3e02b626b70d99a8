//! What the device library's documentation says works: the settings page that it tells to make
//! says what was asked for (`documentation` names the commands that need a board), and a board's
//! `main.rs` is as short as is claimed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tidegate_shared::frame::crc32c;
use tidegate_tests::rig::repository;

const PAGE: &str = "cargo run -q -p tidegate-board --example page -- ";

#[test]
fn every_command_of_the_firmware_readme_is_covered() {
    let mut pages = 0;
    for line in commands() {
        let arguments = line.strip_prefix(PAGE);
        check_page(arguments.unwrap_or_else(|| panic!("no test runs `{line}`")));
        pages += 1;
    }
    assert_eq!(pages, 1, "the README tells how to make a settings page");
}

#[test]
fn a_board_has_a_main_of_under_100_lines() {
    let boards = fs::read_dir(boards()).expect("there are boards");
    let mains = boards
        .flatten()
        .map(|entry| entry.path().join("src/main.rs"));
    let mut names = 0;
    for main in mains.filter(|main| main.exists()) {
        let text = fs::read_to_string(&main).expect("a source is text");
        let lines = text.lines().count();
        assert!(lines < 100, "{}: {lines} lines", main.display());
        names += 1;
    }
    assert!(names >= 2, "two boards that people own");
}

/// Makes a page as the README says, and reads it by the layout in `settings.rs`.
fn check_page(arguments: &str) {
    let (arguments, file) = arguments.split_once('>').expect("the page goes to a file");
    assert_eq!(file.trim(), "page.bin");
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let [site, device, broker] = words.as_slice() else {
        panic!("a page has a site, a device and a broker: {arguments}");
    };
    let made = page(&words);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let page = made.stdout;
    let (covered, check) = page.split_last_chunk().expect("a page has a check");
    assert_eq!(crc32c(covered), u32::from_le_bytes(*check));
    assert_eq!(covered[..5], *b"TGcf\x01");
    let (host, port) = broker.rsplit_once(':').expect("a broker is HOST:PORT");
    let mut fields = Vec::new();
    for text in [*site, *device, host] {
        fields.push(text.len() as u8);
        fields.extend(text.as_bytes());
    }
    fields.extend(port.parse::<u16>().expect("a port").to_le_bytes());
    assert_eq!(
        usize::from(u16::from_le_bytes([covered[5], covered[6]])),
        fields.len()
    );
    assert_eq!(covered[7..], fields);
    for wrong in [
        [*site, *device, host],
        [*site, "a/b", *broker],
        ["", *device, *broker],
    ] {
        assert!(!page_succeeds(&wrong), "{wrong:?} makes no page");
    }
}

fn page_succeeds(words: &[&str]) -> bool {
    let made = page(words);
    made.status.success() || !made.stdout.is_empty()
}

fn page(words: &[&str]) -> std::process::Output {
    let mut arguments: Vec<&str> = PAGE.split_whitespace().skip(1).collect();
    arguments.extend(words);
    Command::new(env!("CARGO"))
        .current_dir(boards())
        .args(arguments)
        .output()
        .expect("cargo runs")
}

fn boards() -> PathBuf {
    repository().join("firmware/boards")
}

/// Commands of the README's shell blocks, one a line.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(repository().join("firmware/README.md"));
    let readme = readme.expect("there is a README");
    let mut commands = Vec::new();
    let mut is_shell = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(language) => is_shell = language.starts_with("sh"),
            None if is_shell => commands.push(line.trim().to_owned()),
            None => {}
        }
    }
    commands
}
