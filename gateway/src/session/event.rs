//! Events and effects: what happens to a session, and what it wants done.

use tidegate_shared::ids::{CatalogHash, DeviceName, Incarnation, Mark};
use tidegate_shared::topic::Topic;

use super::Ruling;
use crate::entry::{Entry, Logged, Uncounted};

/// What happens to a session.
#[derive(Debug, Clone, Copy)]
pub enum Event<'e> {
    /// The broker confirmed the subscriptions to up, status and gateway topics.
    Subscribed,
    /// The connection to the broker is gone.
    Disconnected,
    /// A message was delivered.
    Received {
        /// Its topic.
        topic: &'e str,
        /// Whether the broker kept it before it was delivered (the retain flag of the delivery;
        /// subscribe without retain-as-published).
        retained: bool,
        /// Its bytes.
        payload: &'e [u8],
    },
    /// The entries of a batch whose fsync returned, in order; also those the session did not ask
    /// for.
    Durable(&'e [Logged]),
    /// The store cannot take frames (true), or can again (false).
    StoreBusy(bool),
    /// The pipeline holds batches of a catalog it does not have.
    CatalogWanted {
        /// Whose.
        device: &'e DeviceName,
        /// Which.
        hash: CatalogHash,
    },
    /// The time of [`Session::next_deadline`](super::Session::next_deadline) has come.
    Deadline,
    /// The broker refused a registered device that it knew for certain what only another may do.
    Foreign(&'e DeviceName),
    /// Somebody releases a device from quarantine.
    Release(&'e DeviceName),
    /// A claim that was handed out was granted.
    Granted {
        /// To which device.
        device: &'e DeviceName,
        /// What it is to be told.
        grant: &'e [u8],
    },
    /// A claim that was handed out was refused, or could not be carried out.
    ClaimRefused {
        /// In whose name it came.
        device: &'e DeviceName,
        /// Why.
        reason: Uncounted,
    },
    /// The gateway stops cleanly: nothing more is appended; acks of what is durable still go out,
    /// and tallies can still be had.
    Stop,
}

/// What a session wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Put this into the next commit batch.
    Append(Entry),
    /// A device waits for what was appended: commit without waiting for more.
    CommitNow,
    /// Send this.
    Publish {
        /// Where to.
        topic: Topic,
        /// Whether the broker keeps it.
        retained: bool,
        /// Message expiry in s.
        expiry_s: Option<u32>,
        /// A frame.
        payload: Vec<u8>,
    },
    /// Another gateway owns the site (true), or this one does again (false).
    Standby(bool),
    /// The store is older than what this gateway said: draw a new log incarnation, as an entry
    /// before those of the effects that follow. At most once per start.
    Restored,
    /// An identity came with other content: a person should know. The frame was refused.
    Conflict {
        /// Whose.
        device: DeviceName,
        /// Of which incarnation.
        incarnation: Incarnation,
        /// Which frame.
        mark: Mark,
    },
    /// A device went into quarantine, or came out: a person should know, and it is to be decided in
    /// the log.
    Ruled(Ruling),
    /// The first frame under this key is on disk: an older one is of no more use.
    KeyUsed {
        /// Whose.
        device: DeviceName,
        /// Which.
        key_id: u8,
    },
    /// Somebody who has a claim's code asks for a key: the registry is to decide.
    Claimed {
        /// In this device's name.
        device: DeviceName,
        /// What was said.
        claim: Vec<u8>,
    },
    /// A claim was refused so often for this reason that it is to be told again.
    ClaimRefused {
        /// In whose name the last one came; anybody may have said it.
        device: DeviceName,
        /// Why.
        reason: Uncounted,
        /// How often.
        times: u64,
    },
}
