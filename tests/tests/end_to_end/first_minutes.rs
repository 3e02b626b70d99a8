//! The first five minutes: four questions, a configuration without a finding, and the commands that
//! `init` says come next, run as it says them, until a record is in the file. The README shows it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::pages::{self, Block};
use tidegate_tests::ports;
use tidegate_tests::process::{Finished, Process};
use tidegate_tests::rig::{command, repository, tidegate};
use tidegate_tests::wall::{wait_for, wait_until};

/// Runs `tidegate init` with lines on its standard input.
fn init(dir: &Path, arguments: &[&str], lines: &str) -> Finished {
    let answers = dir.join("answers");
    fs::write(&answers, lines).expect("the folder takes a file");
    let done = Command::new(tidegate())
        .current_dir(dir)
        .arg("init")
        .args(arguments)
        .stdin(Stdio::from(File::open(&answers).expect("it was written")))
        .output()
        .expect("the program runs");
    fs::remove_file(&answers).expect("it was written");
    Finished {
        status: done.status,
        out: String::from_utf8(done.stdout).expect("it speaks UTF-8"),
        err: String::from_utf8(done.stderr).expect("it speaks UTF-8"),
    }
}

/// The arguments of the command that init tells to run next.
fn next(told: &str, name: &str) -> Vec<String> {
    let begin = format!("  tidegate {name}");
    let line = told.lines().find(|line| line.starts_with(&begin));
    let line = line.unwrap_or_else(|| panic!("no `{begin}` in {told}"));
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

#[test]
fn four_answers_and_what_init_says_next_lead_to_records() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let port = ports::free();
    let lines = format!("pump house\npump-house\n127.0.0.1:{port}\n\n\n1m\n");
    let done = init(dir.path(), &[], &lines);
    assert!(done.status.success(), "{}", done.err);
    assert_eq!(done.err.matches("not taken: ").count(), 1, "{}", done.err);
    let file = dir.path().join("tidegate.toml");
    // The page has a port that every configuration of `init` has: tests run beside each other.
    let text = fs::read_to_string(&file).expect("it is written");
    let page = format!("127.0.0.1:{}", ports::free());
    assert!(text.contains("listen = \"127.0.0.1:8380\""), "{text}");
    let mode = fs::metadata(&file).expect("it is written").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    fs::write(&file, text.replace("127.0.0.1:8380", &page)).expect("it is written over");
    let checked = command(dir.path(), &["check"]);
    assert!(checked.status.success(), "{}", checked.err);
    assert_eq!(checked.err, "", "a finding");

    let start = |name: &str| {
        let mut command = Command::new(tidegate());
        command.current_dir(dir.path()).args(next(&done.out, name));
        Process::start(name, &mut command, dir.path())
    };
    let mut gateway = start("run");
    let mut plant = start("simulate");
    wait_until("a record of each sensor", Duration::from_mins(1), || {
        let records = fs::read_to_string(dir.path().join("records.ndjson")).unwrap_or_default();
        let records = records.lines().map(serde_json::from_str::<Value>);
        let mut sensors: Vec<String> = records
            .filter_map(|record| Some(record.ok()?["sensor"].as_str()?.to_owned()))
            .collect();
        sensors.sort();
        sensors.dedup();
        sensors.len() == 4
    });
    let status = next(&done.out, "status");
    let status: Vec<&str> = status.iter().map(String::as_str).collect();
    let status = command(dir.path(), &status);
    assert!(status.status.success(), "{}{}", status.out, status.err);
    assert!(plant.stop(Duration::from_secs(30)).success());
    assert!(gateway.stop(Duration::from_secs(20)).success());
}

#[test]
fn answers_by_flags_ask_nothing_and_no_file_is_written_over() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let flags = [
        "--yes",
        "--site",
        "hall",
        "--sink",
        "mqtt",
        "--to",
        "mqtt://127.0.0.1:1884",
    ];
    let done = init(dir.path(), &flags, "");
    assert!(done.status.success(), "{}", done.err);
    assert_eq!(done.err, "", "a question");
    let text = fs::read_to_string(dir.path().join("tidegate.toml")).expect("it is written");
    assert!(text.contains("site = \"hall\"") && text.contains("mqtt://127.0.0.1:1884"));

    let again = init(dir.path(), &["--yes"], "");
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        again.err,
        "error: tidegate.toml is there already; nothing was changed\n  \
         try: --force replaces it, --stdout shows what would be written, or name another file\n"
    );
    let after = fs::read_to_string(dir.path().join("tidegate.toml")).expect("it is there");
    assert_eq!(after, text);
    let shown = init(dir.path(), &["--yes", "--stdout", "--site", "other"], "");
    assert!(shown.out.contains("site = \"other\""), "{}", shown.out);
    let replaced = init(dir.path(), &["--yes", "--force", "--site", "other"], "");
    assert!(replaced.status.success(), "{}", replaced.err);
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
}

#[test]
fn answers_that_end_or_are_wrong_leave_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let ended = init(dir.path(), &[], "pump-house\n");
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.err.ends_with(
            "\nerror: the answers ended before the last question; nothing was written\n  \
             try: tidegate init --yes asks nothing and takes the defaults\n"
        ),
        "{}",
        ended.err
    );
    let wrong = init(dir.path(), &["--yes", "--broker", "localhost:1883"], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.err.contains("--broker is not taken"), "{}", wrong.err);
    assert!(wrong.err.contains("127.0.0.1:1883"), "{}", wrong.err);
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
}

/// A person who changes their mind: ctrl-c while a question is open.
#[test]
fn an_interrupted_question_says_that_nothing_was_written() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    // A pipe that stays open and silent, as a person who thinks.
    let mut init = Command::new(tidegate())
        .current_dir(dir.path())
        .arg("init")
        .stdin(Stdio::piped())
        .stderr(File::create(dir.path().join("err")).expect("the folder takes a file"))
        .spawn()
        .expect("the program runs");
    let said = || fs::read_to_string(dir.path().join("err")).unwrap_or_default();
    wait_until("the question", Duration::from_secs(10), || {
        said().contains("] > ")
    });
    let pid = i32::try_from(init.id()).ok();
    let pid = pid
        .and_then(rustix::process::Pid::from_raw)
        .expect("it has an id");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let status = wait_for("its end", Duration::from_secs(10), || {
        init.try_wait().expect("a child can be waited for")
    });
    assert_eq!(status.code(), Some(130), "{}", said());
    assert!(said().ends_with("\nnothing was written\n"), "{}", said());
    assert!(!dir.path().join("tidegate.toml").exists());
}

/// What README.md shows of `init` is what it says, the machine's name and the answers apart.
#[test]
fn the_readme_shows_the_questions_as_they_are_asked() {
    let pages = pages::all(&repository());
    let readme = pages.iter().find(|page| page.name == "README.md");
    let blocks = readme.expect("there is a README").blocks();
    let is_mine = |block: &&Block| block.words.iter().any(|word| word == "by:first_minutes");
    let commands = blocks.iter().find(is_mine).expect("the README has them");
    let lines: Vec<&str> = commands.text.lines().collect();
    assert_eq!(
        lines,
        ["cargo run --release -- init", "cargo run --release -- run"]
    );
    let shown = blocks.iter().find(|block| block.text.contains("\n4. "));
    let shown = &shown.expect("the README shows the questions").text;
    let answers = shown.lines().filter_map(|line| {
        let (_, answer) = line.split_once("] >")?;
        Some(format!("{}\n", answer.trim()))
    });
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let done = init(dir.path(), &[], &answers.collect::<String>());
    assert!(done.status.success(), "{}", done.err);
    // Typed answers are on the terminal, not in what is said: prompts are compared up to them.
    let bare = |text: &str| -> Vec<String> {
        let lines = text.split(['\n', '>']).map(str::trim);
        let lines = lines.filter(|line| {
            line.ends_with('?') || line.starts_with(|sign: char| sign.is_ascii_digit())
        });
        lines.map(str::to_owned).collect()
    };
    let (shown_questions, asked) = (bare(shown), bare(&done.err));
    assert_eq!(shown_questions, asked);
    for line in done.out.lines() {
        assert!(shown.contains(line), "the README does not show {line:?}");
    }
}
