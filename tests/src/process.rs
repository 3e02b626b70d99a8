//! Processes that never outlive their test: killed by id on drop, every wait bounded, their output
//! kept and printed when the test fails.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::report::say;
use crate::wall::poll_for;

/// Lines of output printed when a test fails.
const TAIL_LINES: usize = 60;

/// A running (or ended) process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    ended: Option<ExitStatus>,
}

/// A process that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

impl Process {
    /// Starts a command. Output goes to `DIR/NAME.out` and `DIR/NAME.err`, behind what an earlier
    /// process of that name wrote.
    pub fn start(name: &str, command: &mut Command, dir: &Path) -> Self {
        let out = dir.join(format!("{name}.out"));
        let err = dir.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(append(&out))
            .stderr(append(&err))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            out,
            err,
            ended: None,
        }
    }

    /// Runs a command to its end, at most `limit` long.
    pub fn run(name: &str, command: &mut Command, dir: &Path, limit: Duration) -> Finished {
        let own = tempfile::tempdir_in(dir).expect("the test's folder takes another one");
        let mut process = Self::start(name, command, own.path());
        let status = process.wait(limit);
        Finished {
            status,
            out: process.out_text(),
            err: process.err_text(),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self
                .child
                .try_wait()
                .expect("a child of this process can be waited for");
        }
        self.ended
    }

    /// Waits for its end; fails the test after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        poll_for(limit, || self.ended())
            .unwrap_or_else(|| panic!("{} still runs after {} s", self.name, limit.as_secs_f32()))
    }

    /// Kills it as a power cut would (SIGKILL) and waits until it is gone. Whether it was running.
    pub fn kill(&mut self) -> bool {
        let running = self.ended().is_none();
        if running {
            // It may end by itself in between; then there is nothing left to kill.
            let _ = self.child.kill();
            self.wait(Duration::from_secs(10));
        }
        running
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        if self.ended().is_none() {
            // It may end by itself in between; its status says how.
            let _ = kill_process(pid_of(self.id()), Signal::TERM);
        }
        self.wait(limit)
    }

    /// Sends SIGHUP to the process of an id.
    pub fn hang_up(id: u32) {
        kill_process(pid_of(id), Signal::HUP).expect("a child of this process takes signals");
    }

    /// Has it stand still (SIGSTOP) until the guard is dropped.
    pub fn hold(&self) -> Held<'_> {
        // One that has ended by itself stands still anyway.
        let _ = kill_process(pid_of(self.id()), Signal::STOP);
        Held(self)
    }

    /// What it wrote to stdout so far.
    pub fn out_text(&self) -> String {
        read_lossy(&self.out)
    }

    /// What it wrote to stderr so far.
    pub fn err_text(&self) -> String {
        read_lossy(&self.err)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            for (stream, text) in [("stdout", self.out_text()), ("stderr", self.err_text())] {
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines.len().saturating_sub(TAIL_LINES);
                say(&format!(
                    "--- {} {stream}, last {} of {} lines",
                    self.name,
                    lines.len() - tail,
                    lines.len()
                ));
                lines[tail..].iter().for_each(|line| say(line));
            }
        }
    }
}

/// A process that stands still; it goes on (SIGCONT) when this is dropped.
#[derive(Debug)]
pub struct Held<'p>(&'p Process);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = kill_process(pid_of(self.0.id()), Signal::CONT);
    }
}

/// The system's name of a child that was not waited for yet.
fn pid_of(id: u32) -> Pid {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    pid.expect("a child's process id is a positive i32")
}

/// Whether a process ended by SIGKILL.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

fn append(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()))
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let finished = Process::run("sh", &mut command, dir.path(), Duration::from_secs(10));
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((&*finished.out, &*finished.err), ("out\n", "err\n"));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start("sleep", Command::new("sleep").arg("600"), dir.path());
        let pid = Pid::from_raw(i32::try_from(process.child.id()).unwrap()).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_ok());
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn a_killed_process_is_told_from_a_stopped_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut killed = Process::start("sleep", Command::new("sleep").arg("600"), dir.path());
        assert!(killed.kill());
        assert!(was_killed(killed.wait(Duration::from_secs(1))));
        assert!(!killed.kill());
        let mut stopped = Process::start("sleep", Command::new("sleep").arg("600"), dir.path());
        assert!(!was_killed(stopped.stop(Duration::from_secs(10))));
    }
}
