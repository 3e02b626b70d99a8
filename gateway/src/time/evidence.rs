//! Evidence: what the machine says of its wall clock, without a system call of our own.
//!
//! | evidence | says |
//! |---|---|
//! | `/run/systemd/timesync/synchronized` | synchronised: systemd's time service has set the clock since the machine started |
//! | `timedatectl show`: `NTPSynchronized=yes` | synchronised: the kernel's own flag, whichever time service set it |
//! | `timedatectl show`: `NTP=yes`, or a file of a time service in `/run` | a time service is there, and has not set it yet |
//! | `/dev/rtc`, `/dev/rtc0` | there is a clock with a battery that the kernel began from |
//!
//! The flag itself is read by `adjtimex`, which no crate taken here wraps without unsafe; the
//! daemon behind `timedatectl` reads it for anyone who asks.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Word;

/// Exists once systemd's time service has set the clock.
const SYNCHRONIZED: &str = "run/systemd/timesync/synchronized";
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
/// Longest answer read: it has seven short lines.
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
        let answer = if self.has(SYSTEMD) {
            ask_timedatectl()
        } else {
            None
        };
        self.weigh(answer.as_deref())
    }

    /// The word by files and, if there was one, an answer of `timedatectl show`.
    fn weigh(&self, answer: Option<&str>) -> Word {
        let said = |line: &str| answer.is_some_and(|text| text.lines().any(|one| one == line));
        let may_come = said("NTP=yes") || SERVICES.iter().chain(&RTCS).any(|path| self.has(path));
        if self.has(SYNCHRONIZED) || said("NTPSynchronized=yes") {
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

fn ask_timedatectl() -> Option<String> {
    let mut child = Command::new("timedatectl")
        .arg("show")
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

    #[test]
    fn a_container_says_nothing() {
        let (_root, bare) = machine(&[]);
        assert_eq!(bare.word(), Word::Silent);
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
            assert_eq!(evidence.word(), Word::Unsynchronised, "{file}");
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
