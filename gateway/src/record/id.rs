//! Record ids: SHA-256, cut to 16 bytes, over what a record stands for.
//!
//! Texts are hashed behind their length and numbers in fixed width, so that no two identities
//! share an encoding. Counters take no part: an id is the same however often it is derived.
//!
//! ```text
//! "tidegate record" | kind u8 | site | log incarnation u32 | rule | rule version u32
//! device | sensor | epoch u32 | then
//!   window (kind 1): start i64 | end i64 | revision u32
//!   sample (kind 2): incarnation u32 | boot u32 | sequence u32 | block u16 | index u16 | time i64
//!   alert (kind 3): cause u8 | state u8 | start i64 | end i64 | sample as in kind 2
//!   count window (kind 4): revision u32 | its first sample as in kind 2
//!   decision (kind 5): cause u8 | state u8 | log position u64 | time i64
//!   note (kind 6): log position u64 | time i64
//! text = length u32 LE, bytes; numbers are little-endian
//! ```

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_shared::mutation::{self, Mutation, is_on};

use super::{AlertCause, AlertState, RecordId};

/// What every record's identity begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Site.
    pub site: &'a str,
    /// Identity of the log that the record is derived from.
    pub log_incarnation: u32,
    /// Rule.
    pub rule: &'a str,
    /// Version of that rule.
    pub version: u32,
    /// Device.
    pub device: &'a str,
    /// Sensor.
    pub sensor: &'a str,
    /// The device's epoch.
    pub epoch: u32,
}

/// A window's place in time and its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowIdentity {
    /// Window's start in µs.
    pub start_us: i64,
    /// Window's end in µs.
    pub end_us: i64,
    /// 0 for the first emission.
    pub revision: u32,
}

/// A sample's place on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleIdentity {
    /// Incarnation of the frame that brought it.
    pub incarnation: u32,
    /// Boot of that frame.
    pub boot: u32,
    /// Sequence of that frame.
    pub sequence: u32,
    /// Block within the frame, from 0.
    pub block: u16,
    /// Sample within the block, from 0.
    pub index: u16,
    /// Event time in µs.
    pub time_us: i64,
}

/// The id of a window's record.
pub fn of_window(origin: &Origin<'_>, window: &WindowIdentity) -> RecordId {
    let mut hash = begin(1, origin);
    hash.update(window.start_us.to_le_bytes());
    hash.update(window.end_us.to_le_bytes());
    hash.update(window.revision.to_le_bytes());
    finish(hash)
}

/// The id of a passed sample's record.
pub fn of_sample(origin: &Origin<'_>, identity: &SampleIdentity) -> RecordId {
    let mut hash = begin(2, origin);
    sample(&mut hash, identity);
    finish(hash)
}

/// The id of an alert's record; the sample is the one that told.
pub fn of_alert(
    origin: &Origin<'_>,
    (cause, state): (AlertCause, AlertState),
    (start_us, end_us): (i64, i64),
    identity: &SampleIdentity,
) -> RecordId {
    let mut hash = begin(3, origin);
    hash.update([cause as u8, state as u8]);
    hash.update(start_us.to_le_bytes());
    hash.update(end_us.to_le_bytes());
    sample(&mut hash, identity);
    finish(hash)
}

/// The id of the record that tells of a decision: where it stands in the log is the sample.
pub fn of_decision(
    origin: &Origin<'_>,
    (cause, state): (AlertCause, AlertState),
    (position, time_us): (u64, i64),
) -> RecordId {
    let mut hash = begin(5, origin);
    hash.update([cause as u8, state as u8]);
    hash.update(position.to_le_bytes());
    hash.update(time_us.to_le_bytes());
    finish(hash)
}

/// The id of the record that carries a note: where that stands in the log is the sample.
pub fn of_note(origin: &Origin<'_>, (position, time_us): (u64, i64)) -> RecordId {
    let mut hash = begin(6, origin);
    hash.update(position.to_le_bytes());
    hash.update(time_us.to_le_bytes());
    finish(hash)
}

/// The id of the record of a window that holds a number of samples, by its first.
pub fn of_count_window(origin: &Origin<'_>, first: &SampleIdentity, revision: u32) -> RecordId {
    let mut hash = begin(4, origin);
    hash.update(revision.to_le_bytes());
    sample(&mut hash, first);
    finish(hash)
}

fn sample(hash: &mut Sha256, sample: &SampleIdentity) {
    hash.update(sample.incarnation.to_le_bytes());
    hash.update(sample.boot.to_le_bytes());
    hash.update(sample.sequence.to_le_bytes());
    hash.update(sample.block.to_le_bytes());
    hash.update(sample.index.to_le_bytes());
    hash.update(sample.time_us.to_le_bytes());
}

fn begin(kind: u8, origin: &Origin<'_>) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update(b"tidegate record");
    hash.update([kind]);
    text(&mut hash, origin.site);
    hash.update(origin.log_incarnation.to_le_bytes());
    text(&mut hash, origin.rule);
    hash.update(origin.version.to_le_bytes());
    text(&mut hash, origin.device);
    text(&mut hash, origin.sensor);
    hash.update(origin.epoch.to_le_bytes());
    hash
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u32).to_le_bytes());
    hash.update(text.as_bytes());
}

fn finish(mut hash: Sha256) -> RecordId {
    if is_on(Mutation::IdsFromCounter) {
        hash.update(mutation::count().to_le_bytes());
    }
    let mut id = [0; 16];
    id.iter_mut()
        .zip(hash.finalize())
        .for_each(|(to, from)| *to = from);
    RecordId(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const ORIGIN: Origin<'_> = Origin {
        site: "s",
        log_incarnation: 1,
        rule: "r",
        version: 1,
        device: "d",
        sensor: "x",
        epoch: 0,
    };
    const WINDOW: WindowIdentity = WindowIdentity {
        start_us: 0,
        end_us: 60,
        revision: 0,
    };

    #[test]
    fn every_part_of_the_identity_counts() {
        let origins = [
            ORIGIN,
            Origin {
                site: "t",
                ..ORIGIN
            },
            Origin {
                log_incarnation: 2,
                ..ORIGIN
            },
            Origin {
                rule: "q",
                ..ORIGIN
            },
            Origin {
                version: 2,
                ..ORIGIN
            },
            Origin {
                device: "dx",
                sensor: "",
                ..ORIGIN
            },
            Origin {
                device: "",
                sensor: "dx",
                ..ORIGIN
            },
            Origin { epoch: 1, ..ORIGIN },
        ];
        let windows = [
            WINDOW,
            WindowIdentity {
                start_us: -1,
                ..WINDOW
            },
            WindowIdentity {
                end_us: 61,
                ..WINDOW
            },
            WindowIdentity {
                revision: 1,
                ..WINDOW
            },
        ];
        let ids: BTreeSet<_> = origins
            .iter()
            .flat_map(|origin| windows.iter().map(move |window| of_window(origin, window)))
            .collect();
        assert_eq!(ids.len(), origins.len() * windows.len());
    }

    #[test]
    fn an_id_never_changes() {
        assert_eq!(
            of_window(&ORIGIN, &WINDOW).to_string(),
            "ccc2b846ad32b10a52d1eee80e8859ef"
        );
    }
}
