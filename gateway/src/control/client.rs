//! The client: asks the running gateway one thing, and waits for the answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Command, EXCHANGE_MAX, RESPONSE_BYTES_MAX, Response, socket_path};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No gateway runs on this data directory.
    #[error("no gateway runs on this data directory: nobody answers at {}", path.display())]
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

/// Asks the gateway that runs on a data directory. Blocks, each step at most
/// [`EXCHANGE_MAX`].
pub fn ask(data_dir: &Path, command: &Command) -> Result<Value, AskError> {
    let path = socket_path(data_dir);
    let stream = UnixStream::connect(&path).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => AskError::NotAllowed { path: path.clone() },
        io::ErrorKind::NotFound
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput => AskError::NotRunning { path: path.clone() },
        _ => AskError::NoAnswer {
            path: path.clone(),
            source,
        },
    })?;
    let line = exchange(&stream, command).map_err(|source| AskError::NoAnswer { path, source })?;
    if line.len() > RESPONSE_BYTES_MAX {
        return Err(AskError::TooLong {
            bytes_max: RESPONSE_BYTES_MAX,
        });
    }
    match serde_json::from_slice(&line).map_err(|source| AskError::Unreadable { source })? {
        Response::Ok(answer) => Ok(answer),
        Response::Error(reason) => Err(AskError::Refused { reason }),
    }
}

fn exchange(mut stream: &UnixStream, command: &Command) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(EXCHANGE_MAX))?;
    stream.set_write_timeout(Some(EXCHANGE_MAX))?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    // A gateway that is busy says so and closes, perhaps before it was asked: its words count,
    // not that the question went nowhere.
    let sent = stream.write_all(&line);
    let mut answer = Vec::new();
    let read = BufReader::new(stream)
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
