//! Identity: who this gateway is, in a file of its own beside the log.
//!
//! The id is drawn with the data directory; the start counter grows by one at every start and is
//! durable before the start says anything to anybody.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_shared::frame::crc32c;

use crate::disk::Disk;

const FILE: &str = "identity";
const FILE_NEXT: &str = "identity.next";

/// Who this gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Drawn at random with the data directory.
    pub gateway: u64,
    /// Starts of this gateway, this one included.
    pub start: u32,
    /// The log incarnation of the backup that the store was unpacked from: what it was copied
    /// from went on under it, so this store must not.
    pub log_left: Option<u32>,
}

/// Why the identity could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's identity could not be written; nothing was received yet: {source}")]
pub struct IdentityUnwritten {
    #[from]
    source: std::io::Error,
}

/// Reads the identity; `None` when there is none or it is damaged.
pub fn read(disk: &Arc<dyn Disk>) -> Option<Identity> {
    let file = disk.open(FILE).ok()?;
    let mut bytes = vec![0; 64];
    let count = file.read_at(0, &mut bytes).ok()?;
    let (check, body) = bytes.get(..count)?.split_at_checked(4)?;
    let (identity, rest): (Identity, _) = postcard::take_from_bytes(body).ok()?;
    let used = body.len() - rest.len();
    (crc32c(body.get(..used)?).to_le_bytes() == check).then_some(identity)
}

/// Counts a start, durably. A missing or damaged identity is drawn anew from `draw`.
///
/// # Errors
/// The disk refused; the start must not go on.
pub fn begin(disk: &Arc<dyn Disk>, draw: u64) -> Result<Identity, IdentityUnwritten> {
    let last = read(disk);
    if last.is_none() && disk.open(FILE).is_ok() {
        tracing::warn!(
            "the gateway's identity was damaged: it has a new id and counts its starts from 1; nothing else is lost"
        );
    }
    let identity = last.map_or(
        Identity {
            gateway: draw,
            start: 1,
            log_left: None,
        },
        |last| Identity {
            start: last.start.saturating_add(1),
            ..last
        },
    );
    write(disk, &identity)?;
    Ok(identity)
}

/// Who the gateway is, before its first start too: then it is drawn, and kept.
///
/// # Errors
/// The disk refused.
pub fn known(disk: &Arc<dyn Disk>, draw: u64) -> Result<Identity, IdentityUnwritten> {
    if let Some(identity) = read(disk) {
        return Ok(identity);
    }
    let identity = Identity {
        gateway: draw,
        start: 0,
        log_left: None,
    };
    write(disk, &identity)?;
    Ok(identity)
}

/// Notes that the store was unpacked from a backup, and who it is from now on if not who it was.
/// A missing or damaged identity stays so: the next start draws one.
///
/// # Errors
/// The disk refused.
pub fn leave_log(
    disk: &Arc<dyn Disk>,
    log_left: u32,
    gateway: Option<u64>,
) -> Result<(), IdentityUnwritten> {
    let Some(last) = read(disk) else {
        return Ok(());
    };
    let identity = Identity {
        gateway: gateway.unwrap_or(last.gateway),
        log_left: Some(log_left),
        ..last
    };
    write(disk, &identity)
}

fn write(disk: &Arc<dyn Disk>, identity: &Identity) -> Result<(), IdentityUnwritten> {
    let body = postcard::to_stdvec(identity).map_err(std::io::Error::other)?;
    let mut bytes = crc32c(&body).to_le_bytes().to_vec();
    bytes.extend(body);
    let file = disk.create(FILE_NEXT, 0)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    disk.rename(FILE_NEXT, FILE)?;
    disk.sync_dir("")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FaultDisk;

    #[test]
    fn who_is_known_before_the_first_start_is_the_same_behind_it() {
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
        let before = known(&disk, 7).unwrap();
        assert_eq!((before.gateway, before.start), (7, 0));
        assert_eq!(known(&disk, 8).unwrap(), before);
        let begun = begin(&disk, 9).unwrap();
        assert_eq!((begun.gateway, begun.start), (7, 1));
        assert_eq!(known(&disk, 8).unwrap(), begun);
    }

    #[test]
    fn a_start_is_counted_and_every_damage_draws_another_id() {
        let fault = FaultDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(fault.clone());
        let drawn = |gateway, start| Identity {
            gateway,
            start,
            log_left: None,
        };
        assert_eq!(begin(&disk, 5).unwrap(), drawn(5, 1));
        assert_eq!(begin(&disk, 6).unwrap(), drawn(5, 2));
        let whole = fault.content(FILE).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x5a;
            for damaged in [flipped, whole[..at].to_vec()] {
                fault.put(FILE, damaged);
                assert_eq!(begin(&disk, 9).unwrap(), drawn(9, 1), "byte {at}");
            }
        }
        fault.put(FILE, whole);
        assert_eq!(begin(&disk, 9).unwrap(), drawn(5, 3));
        leave_log(&disk, 77, Some(8)).unwrap();
        let left = Identity {
            log_left: Some(77),
            ..drawn(8, 4)
        };
        assert_eq!(begin(&disk, 9).unwrap(), left);
    }
}
