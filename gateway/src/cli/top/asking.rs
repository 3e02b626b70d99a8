//! Asking: a thread that asks the running gateway each second, so that keys never wait for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::control::{self, AskError, Command};
use crate::plant::{Devices, Overview, Selection};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// Changes of what is asked for that may wait; a later one is taken with the next key.
const CHANGES_MAX: usize = 4;

/// What the gateway said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub overview: Overview,
    pub devices: Devices,
}

/// The thread.
pub(super) struct Asking {
    changes: SyncSender<Selection>,
    /// What it says, or why it says nothing.
    pub answers: Receiver<Result<Answer, String>>,
}

impl Asking {
    /// Begins to ask for some devices.
    pub fn begin(data_dir: PathBuf, selection: Selection) -> io::Result<Self> {
        let (changes, changed) = sync_channel(CHANGES_MAX);
        let (said, answers) = sync_channel(1);
        thread::Builder::new()
            .name("asking".into())
            .spawn(move || ask_on(&data_dir, selection, &changed, &said))?;
        Ok(Self { changes, answers })
    }

    /// Asks for other devices from here on, and at once.
    pub fn change(&self, selection: Selection) {
        let _ = self.changes.try_send(selection);
    }
}

/// Asks until nobody listens any more.
fn ask_on(
    data_dir: &Path,
    mut selection: Selection,
    changed: &Receiver<Selection>,
    said: &SyncSender<Result<Answer, String>>,
) {
    loop {
        let answer = ask(data_dir, &selection).map_err(|why| why.to_string());
        if said.send(answer).is_err() {
            return;
        }
        match changed.recv_timeout(EVERY) {
            Ok(other) => selection = changed.try_iter().last().unwrap_or(other),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Asks once.
pub(super) fn ask(data_dir: &Path, selection: &Selection) -> Result<Answer, AskError> {
    Ok(Answer {
        overview: asked(data_dir, &Command::Overview)?,
        devices: asked(data_dir, &Command::Devices(selection.clone()))?,
    })
}

fn asked<T: DeserializeOwned>(data_dir: &Path, command: &Command) -> Result<T, AskError> {
    let answer = control::ask(data_dir, command)?;
    serde_json::from_value(answer).map_err(|source| AskError::Unreadable { source })
}
