//! Trust's thread: carries out orders, notes what happens, and hands on the keys in force.
//!
//! Its appends wait for the disk, so they have a thread of their own. What does not fit its queue
//! is told as an error: an order is refused then, and what was only to be noted is in the
//! journal alone.

use std::sync::Arc;
use std::thread;

use tidegate_shared::ids::DeviceName;
use tokio::sync::{mpsc, oneshot};

use super::core::Question;
use crate::audit::{Act, Who};
use crate::causes;
#[cfg(feature = "embedded-broker")]
use crate::mqtt::access::{Access, Account, Doorkeeper, Password};
use crate::registry::{Answer, Order};
use crate::session::{Keyring, Ruling};
use crate::time::Clock;
use crate::trust::Trust;

/// Things to do that may wait.
pub const TASKS_MAX: usize = 256;

/// Something to do.
#[derive(Debug)]
pub enum Task {
    /// Somebody orders this; the answer is what came of it.
    Order(Order, Who, oneshot::Sender<Result<Answer, String>>),
    /// A frame under this key of a device is on disk.
    KeyUsed(DeviceName, u8),
    /// A device went into quarantine, or came out.
    Ruled(Ruling),
    /// This was done.
    Note(Act, Who),
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<Task>);

impl Handle {
    /// Has something done; what finds no room is told.
    pub fn give(&self, task: Task) {
        if let Err(refused) = self.0.try_send(task) {
            let task = refused.into_inner();
            tracing::error!(
                ?task,
                "the audit log's queue is full or it has stopped: this is not noted in it"
            );
        }
    }

    /// Has an order carried out.
    pub async fn order(&self, order: Order, who: Who) -> Option<Result<Answer, String>> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Task::Order(order, who, answer)).ok()?;
        answered.await.ok()
    }
}

/// Who hears of the keys in force.
pub struct Hearers {
    /// The core.
    pub core: mpsc::Sender<Question>,
    /// The embedded broker.
    #[cfg(feature = "embedded-broker")]
    pub doorkeeper: Option<Arc<Doorkeeper>>,
}

impl Hearers {
    fn tell(&self, keys: Keyring) {
        #[cfg(feature = "embedded-broker")]
        if let Some(doorkeeper) = &self.doorkeeper {
            doorkeeper.set(access(&keys));
        }
        // The core takes questions all the time; when it stops there is nothing to tell.
        let _ = self.core.blocking_send(Question::Keys(keys));
    }
}

/// Who may connect to the embedded broker: who has a key, with the password made of it.
#[cfg(feature = "embedded-broker")]
pub fn access(keys: &Keyring) -> Access {
    let accounts = keys.devices.iter().map(|(device, keys)| {
        let passwords = keys.iter().map(|key| {
            let text = format!("{:032x}", u128::from_be_bytes(key.key.password()));
            Password::of(text.as_bytes())
        });
        let passwords: Vec<Password> = passwords.collect();
        let account = if passwords.is_empty() {
            Account::Revoked
        } else {
            Account::Open(passwords)
        };
        (device.clone(), account)
    });
    accounts.collect()
}

/// Starts the thread; it ends with the last handle.
pub fn spawn(mut trust: Trust, hearers: Hearers, clock: Arc<dyn Clock>) -> std::io::Result<Handle> {
    let (tasks, mut given) = mpsc::channel(TASKS_MAX);
    thread::Builder::new()
        .name("trust".to_owned())
        .spawn(move || {
            let mut told = trust.entries();
            while let Some(task) = given.blocking_recv() {
                carry_out(&mut trust, &hearers, &*clock, task);
                if trust.entries() != told {
                    told = trust.entries();
                    hand_on_checkpoint(&trust, &hearers);
                }
            }
        })?;
    Ok(Handle(tasks))
}

fn carry_out(trust: &mut Trust, hearers: &Hearers, clock: &dyn Clock, task: Task) {
    let now = clock.now();
    match task {
        Task::Order(order, who, answer) => {
            let done = trust.carry_out(now, who, &order);
            if order.is_act() {
                hand_on(trust, hearers);
            }
            if let (Ok(_), Order::Release(device)) = (&done, &order) {
                let _ = hearers
                    .core
                    .blocking_send(Question::Release(device.clone()));
            }
            let _ = answer.send(done.map_err(|why| causes::told(&why)));
        }
        Task::KeyUsed(device, key_id) => match trust.confirm(now, &device, key_id) {
            Ok(true) => hand_on(trust, hearers),
            Ok(false) => {}
            Err(why) => tracing::error!(
                %device,
                key = key_id,
                why = causes::told(&why),
                "that the device uses its new key could not be kept: its former key stays valid"
            ),
        },
        Task::Ruled(ruling) => told(trust.rule(now, &ruling)),
        Task::Note(act, who) => told(trust.note_of(now, who, act)),
    }
}

fn hand_on(trust: &Trust, hearers: &Hearers) {
    match trust.keyring() {
        Ok(keys) => hearers.tell(keys),
        Err(why) => tracing::error!(
            why = causes::told(&why),
            "the audit log cannot be read: the keys in force stay those of before"
        ),
    }
}

/// Has the checkpoint go upstream.
fn hand_on_checkpoint(trust: &Trust, hearers: &Hearers) {
    match trust.checkpoint() {
        Ok(Some(newest)) => {
            // When the core stops there is nothing to tell: the next start does.
            let _ = hearers.core.blocking_send(Question::Checkpoint(newest));
        }
        Ok(None) => {}
        Err(why) => tracing::warn!(
            why = causes::told(&why),
            "the audit log's checkpoint cannot be read: it goes upstream with the next act, or start"
        ),
    }
}

fn told(noted: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(why) = noted {
        tracing::error!(
            why = causes::told(&*why),
            "this could not be noted in the audit log, and it was done nevertheless"
        );
    }
}
