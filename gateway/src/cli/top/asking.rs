//! Asking: a thread that asks the running gateway each second, so that keys never wait for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::control::{self, AskError, Command};
use crate::plant::{Devices, Overview, Selection};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);

/// What the gateway said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub overview: Overview,
    pub devices: Devices,
}

/// The devices to ask for from here on, until they are taken: a later wish replaces an earlier one.
#[derive(Clone, Default)]
struct Wanted(Arc<Mutex<Option<Selection>>>);

impl Wanted {
    fn put(&self, selection: Selection) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(selection);
    }

    fn take(&self) -> Option<Selection> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

/// The thread.
pub(super) struct Asking {
    wanted: Wanted,
    /// Says that something is wanted; full while that was not heard yet.
    wake: SyncSender<()>,
    /// What it says, or why it says nothing.
    pub answers: Receiver<Result<Answer, String>>,
}

impl Asking {
    /// Begins to ask for some devices.
    pub fn begin(data_dir: PathBuf, selection: Selection) -> io::Result<Self> {
        Self::begin_with(selection, move |selection| {
            ask(&data_dir, selection).map_err(|why| why.to_string())
        })
    }

    fn begin_with(
        selection: Selection,
        ask: impl FnMut(&Selection) -> Result<Answer, String> + Send + 'static,
    ) -> io::Result<Self> {
        let wanted = Wanted::default();
        let taken = wanted.clone();
        let (wake, woken) = sync_channel(1);
        let (said, answers) = sync_channel(1);
        thread::Builder::new()
            .name("asking".into())
            .spawn(move || ask_on(ask, selection, (&taken, &woken), &said))?;
        Ok(Self {
            wanted,
            wake,
            answers,
        })
    }

    /// Asks for other devices from here on, and at once.
    pub fn change(&self, selection: Selection) {
        self.wanted.put(selection);
        // Full: the thread has yet to hear of an earlier wish, and will find this one.
        let _ = self.wake.try_send(());
    }
}

/// Asks until nobody listens any more.
fn ask_on(
    mut ask: impl FnMut(&Selection) -> Result<Answer, String>,
    mut selection: Selection,
    (wanted, woken): (&Wanted, &Receiver<()>),
    said: &SyncSender<Result<Answer, String>>,
) {
    loop {
        if said.send(ask(&selection)).is_err() {
            return;
        }
        match woken.recv_timeout(EVERY) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(other) = wanted.take() {
            selection = other;
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

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn of(glob: &str) -> Selection {
        Selection {
            glob: Some(glob.to_owned()),
            ..Selection::default()
        }
    }

    /// A gateway that takes its time while a filter is typed: what is asked next is the filter's end.
    #[test]
    fn the_newest_wish_is_asked_for_however_many_came_before() {
        let (ask, asked) = sync_channel(0);
        let (let_answer, may_answer) = sync_channel::<()>(0);
        let asking = Asking::begin_with(of("*"), move |selection| {
            let _ = ask.send(selection.clone());
            let _ = may_answer.recv();
            Err("nobody answers".into())
        })
        .unwrap();
        assert_eq!(asked.recv_timeout(PATIENCE), Ok(of("*")));
        for typed in 0..20 {
            asking.change(of(&format!("pump-{typed}")));
        }
        let_answer.send(()).unwrap();
        assert!(asking.answers.recv_timeout(PATIENCE).unwrap().is_err());
        assert_eq!(asked.recv_timeout(PATIENCE), Ok(of("pump-19")));
        let_answer.send(()).unwrap();
        assert!(asking.answers.recv_timeout(PATIENCE).unwrap().is_err());
        // It stays what is asked for.
        assert_eq!(asked.recv_timeout(PATIENCE), Ok(of("pump-19")));
        // Whoever leaves ends the thread: its end of the questions is gone.
        drop(asking);
        let_answer.send(()).unwrap();
        assert!(asked.recv_timeout(PATIENCE).is_err());
    }
}
