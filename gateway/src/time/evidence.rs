//! Evidence: what the machine says of its wall clock, without a system call of our own.
//!
//! | evidence | says |
//! |---|---|
//! | `/run/systemd/timesync/synchronized` | synchronised: systemd's time service has set the clock since the machine started |
//! | `timedatectl show`: `NTPSynchronized=yes` | synchronised: the kernel's own flag, whichever time service set it |
//! | `busybox adjtimex`: not `return value: 5` | synchronised: the same flag, where systemd does not run the machine |
//! | `timedatectl show`: `NTP=yes`, or a file of a time service in `/run` | a time service is there, and has not set it yet |
//! | `/dev/rtc`, `/dev/rtc0` | there is a clock with a battery that the kernel began from |
//!
//! The flag itself is read by the system call `adjtimex`, which no crate taken here wraps without
//! unsafe; programs that most machines have read it for anyone who asks.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Word;

/// Exists once systemd's time service has set the clock.
const SYNCHRONIZED: &str = "run/systemd/timesync/synchronized";
/// What the kernel returns for a clock that is not synchronised (`TIME_ERROR`).
const NOT_SYNCHRONISED: &str = "5";
/// Exists where systemd runs the machine: elsewhere nobody answers `timedatectl`.
const SYSTEMD: &str = "run/systemd/system";
/// What time services leave in `/run`.
const SERVICES: [&str; 7] = [
    "run/systemd/timesync",
    "run/chrony",
    "run/chronyd.pid",
    "run/ntpd.pid",
    "run/ntpsec",
    "run/ntpd-rs",
    "run/openntpd",
];
/// Clocks with a battery.
const RTCS: [&str; 2] = ["dev/rtc", "dev/rtc0"];
/// How long an answer of `timedatectl` is waited for, and how often it is looked for.
const ANSWER_STEPS: u32 = 100;
const ANSWER_STEP: Duration = Duration::from_millis(20);
/// Longest answer read: those expected have a dozen short lines.
const ANSWER_BYTES_MAX: u64 = 4_096;

/// The machine's files, from a root.
#[derive(Debug)]
pub(super) struct Evidence {
    root: PathBuf,
}

impl Evidence {
    /// The evidence below a root, which is `/` but for tests.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// What the machine says now. Takes up to two seconds where systemd is slow to answer.
    pub fn word(&self) -> Word {
        if self.has(SYNCHRONIZED) {
            return Word::Synchronised;
        }
        let (program, argument) = if self.has(SYSTEMD) {
            ("timedatectl", "show")
        } else {
            ("busybox", "adjtimex")
        };
        self.weigh(ask(program, argument).as_deref())
    }

    /// The word by files and, if there was one, a program's answer.
    fn weigh(&self, answer: Option<&str>) -> Word {
        let said = |line: &str| answer.is_some_and(|text| text.lines().any(|one| one == line));
        let may_come = said("NTP=yes") || SERVICES.iter().chain(&RTCS).any(|path| self.has(path));
        let returned = answer.and_then(|text| {
            let line = text
                .lines()
                .find_map(|one| one.trim().strip_prefix("return value: "))?;
            line.split(' ').next()
        });
        let is_set = returned.is_some_and(|value| value != NOT_SYNCHRONISED);
        if is_set || said("NTPSynchronized=yes") {
            Word::Synchronised
        } else if may_come {
            Word::Unsynchronised
        } else {
            Word::Silent
        }
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

/// What a program says; `None` where there is none, or it fails or takes too long.
fn ask(program: &str, argument: &str) -> Option<String> {
    let mut child = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    if !ended(&mut child) {
        // Whether it can still be stopped does not matter: it is not waited for any more.
        let _ = child.kill();
        let _ = child.wait();
        return None;
    }
    let mut answer = String::new();
    let stdout = child.stdout.take()?;
    stdout
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut answer)
        .ok()?;
    Some(answer)
}

/// Waits for the child's end, a bounded time. Its answer is shorter than any pipe.
fn ended(child: &mut Child) -> bool {
    for _ in 0..ANSWER_STEPS {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(ANSWER_STEP),
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these files.
    fn machine(files: &[&str]) -> (tempfile::TempDir, Evidence) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let evidence = Evidence::new(root.path());
        (root, evidence)
    }

    /// What busybox 1.35 prints, shortened.
    fn adjtimex(returned: &str) -> String {
        format!("    mode:         0\n-t  tick:         10000 us\n    return value: {returned}\n")
    }

    #[test]
    fn the_kernels_own_answer_counts() {
        let (_root, bare) = machine(&[]);
        let unset = adjtimex("5 (clock not synchronized)");
        assert_eq!(bare.weigh(Some(&unset)), Word::Silent, "nothing may set it");
        let set = adjtimex("0 (clock synchronized)");
        assert_eq!(bare.weigh(Some(&set)), Word::Synchronised);
        let (_root, chrony) = machine(&["run/chrony/chronyd.pid"]);
        assert_eq!(chrony.weigh(Some(&unset)), Word::Unsynchronised);
        assert_eq!(chrony.weigh(Some(&set)), Word::Synchronised);
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_says_nothing() {
        assert_eq!(ask("tidegate-no-such-program", "x"), None);
        assert_eq!(ask("false", "x"), None);
        assert_eq!(ask("echo", "word").as_deref(), Some("word\n"));
    }

    #[test]
    fn a_container_says_nothing() {
        let (_root, bare) = machine(&[]);
        assert_eq!(bare.weigh(None), Word::Silent);
        assert_eq!(
            bare.weigh(Some("NTP=no\nNTPSynchronized=no\n")),
            Word::Silent
        );
    }

    #[test]
    fn a_clock_or_a_time_service_is_waited_for_until_it_has_spoken() {
        for file in [
            "dev/rtc0",
            "run/chrony/chronyd.pid",
            "run/systemd/timesync/x",
        ] {
            let (root, evidence) = machine(&[file]);
            assert_eq!(evidence.weigh(None), Word::Unsynchronised, "{file}");
            let yes = Some("CanNTP=yes\nNTP=yes\nNTPSynchronized=yes\n");
            assert_eq!(evidence.weigh(yes), Word::Synchronised, "{file}");
            let spoken = root.path().join(SYNCHRONIZED);
            std::fs::create_dir_all(spoken.parent().unwrap()).unwrap();
            std::fs::write(spoken, "").unwrap();
            assert_eq!(evidence.word(), Word::Synchronised, "{file}");
        }
        let (_root, enabled) = machine(&[]);
        let starting = Some("CanNTP=yes\nNTP=yes\nNTPSynchronized=no\n");
        assert_eq!(enabled.weigh(starting), Word::Unsynchronised);
    }
}
