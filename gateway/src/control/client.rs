//! The client: asks the running gateway one thing, and waits for the answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Command, EXCHANGE_MAX, RESPONSE_BYTES_MAX, Response, socket_path};
use crate::plant::{Passing, TapFilter};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No gateway runs on this data directory.
    #[error("no gateway runs on the data directory {}: nobody answers at its {}", folder_of(path).display(), name_of(path))]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The gateway belongs to somebody else.
    #[error("the gateway at {} belongs to another user: run this command as that user", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The gateway took the question and did not answer.
    #[error("the gateway at {} did not answer: it may be stopping; ask again", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer is longer than may be.
    #[error("the gateway's answer is longer than {bytes_max} bytes")]
    TooLong {
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// The answer is not of this protocol.
    #[error("the gateway's answer cannot be read: gateway and command may differ in version")]
    Unreadable {
        /// What is wrong with the JSON.
        source: serde_json::Error,
    },
    /// The gateway refused.
    #[error("the gateway refused: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
}

/// The socket's folder, from the root on where that can be told.
fn folder_of(socket: &Path) -> PathBuf {
    let folder = socket.parent().unwrap_or(socket);
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

fn name_of(socket: &Path) -> String {
    let name = socket.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Asks the gateway that runs on a data directory. Blocks, each step at most
/// [`EXCHANGE_MAX`].
pub fn ask(data_dir: &Path, command: &Command) -> Result<Value, AskError> {
    let path = socket_path(data_dir);
    let line = exchange(&mut BufReader::new(connect(&path)?), command);
    understand(&line.map_err(|source| AskError::NoAnswer { path, source })?)
}

/// Samples and records of a running gateway as they flow.
#[derive(Debug)]
pub struct Tapped {
    lines: BufReader<UnixStream>,
    line: Vec<u8>,
    path: PathBuf,
}

/// Taps the gateway that runs on a data directory.
pub fn tap(data_dir: &Path, filter: &TapFilter) -> Result<Tapped, AskError> {
    let path = socket_path(data_dir);
    let mut lines = BufReader::new(connect(&path)?);
    let line = exchange(&mut lines, &Command::Tap(filter.clone()));
    understand(&line.map_err(|source| AskError::NoAnswer {
        path: path.clone(),
        source,
    })?)?;
    Ok(Tapped {
        lines,
        line: Vec::new(),
        path,
    })
}

impl Tapped {
    /// What flows by next; none once the gateway stopped. Blocks, at most so long where a time is
    /// given: then it says that it waits still.
    pub fn next(&mut self, longest: Option<Duration>) -> Result<Tick, AskError> {
        let read = self.read(longest);
        let ended = read.map_err(|source| AskError::NoAnswer {
            path: self.path.clone(),
            source,
        })?;
        match ended {
            Some(false) => {}
            Some(true) => return Ok(Tick::Ended),
            None => return Ok(Tick::Waits),
        }
        let passing = serde_json::from_slice(&self.line);
        self.line.clear();
        Ok(Tick::Passes(
            passing.map_err(|source| AskError::Unreadable { source })?,
        ))
    }

    /// Reads a line; whether there is none any more, or nothing when the time is over.
    fn read(&mut self, longest: Option<Duration>) -> io::Result<Option<bool>> {
        if longest.is_some_and(|longest| longest.is_zero()) {
            return Ok(None);
        }
        self.lines.get_ref().set_read_timeout(longest)?;
        let most = (RESPONSE_BYTES_MAX + 1 - self.line.len()) as u64;
        // What came of a line before the time was over stays for the next call.
        let read = (&mut self.lines)
            .take(most)
            .read_until(b'\n', &mut self.line);
        match read {
            Ok(_) => Ok(Some(!self.line.ends_with(b"\n"))),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(None),
                io::ErrorKind::ConnectionReset => Ok(Some(true)),
                _ => Err(error),
            },
        }
    }
}

/// What a tap tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Tick {
    /// Something flowed by.
    Passes(Passing),
    /// Nothing did so far.
    Waits,
    /// The gateway stopped, or closed the tap.
    Ended,
}

fn connect(path: &Path) -> Result<UnixStream, AskError> {
    UnixStream::connect(path).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => AskError::NotAllowed { path },
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput => AskError::NotRunning { path },
            _ => AskError::NoAnswer { path, source },
        }
    })
}

fn understand(line: &[u8]) -> Result<Value, AskError> {
    if line.len() > RESPONSE_BYTES_MAX {
        return Err(AskError::TooLong {
            bytes_max: RESPONSE_BYTES_MAX,
        });
    }
    match serde_json::from_slice(line).map_err(|source| AskError::Unreadable { source })? {
        Response::Ok(answer) => Ok(answer),
        Response::Error(reason) => Err(AskError::Refused { reason }),
    }
}

/// Sends a command and reads the line that answers it.
fn exchange(lines: &mut BufReader<UnixStream>, command: &Command) -> io::Result<Vec<u8>> {
    lines.get_ref().set_read_timeout(Some(EXCHANGE_MAX))?;
    lines.get_ref().set_write_timeout(Some(EXCHANGE_MAX))?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    // A gateway that is busy says so and closes, perhaps before it was asked: its words count,
    // not that the question went nowhere.
    let sent = lines.get_mut().write_all(&line);
    let mut answer = Vec::new();
    let read = lines
        .take(RESPONSE_BYTES_MAX as u64 + 1)
        .read_until(b'\n', &mut answer);
    if answer.ends_with(b"\n") {
        return Ok(answer);
    }
    sent?;
    read?;
    if answer.len() > RESPONSE_BYTES_MAX {
        return Ok(answer);
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
