//! Session: the gateway's end of the delivery protocol, a state machine without I/O or clock.
//!
//! Terms: a *pair* is an (incarnation, boot) of a device; a sequence is *accounted for* when it
//! is logged or inside a logged gap; *live* is what was appended, *durable* what an fsync covers.
//!
//! ```text
//! Received ──> frame ok? ──> standing by? ──> device admitted? ──> pair opened?
//!                │ counted      │ counted,       │ device-limit,      │ unopened: answered by an
//!                v by reason    v Hello refused  v refused            v ack that shows the term
//!     Hello, Progress ──> link entries on change, gaps ──> Welcome, acks of the pairs touched
//!     sequenced ──> next: appended │ ahead: dropped │ duplicate: acked again
//!                   after-gap, conflict: refused, never acked  │ stale boot: appended raw
//! Durable ──> folded ──> one ack per pair that moved
//! ```
//! Invariants:
//! 1. An ack speaks of what [`Event::Durable`] brought, never of what was only appended.
//! 2. An identity is appended as [`Verdict::Next`](crate::entry::Verdict::Next) once; per pair
//!    what is logged and what is a gap are contiguous from 1.
//! 3. The live marks equal the durable ones folded with what was appended since.
//! 4. What is not logged is counted by reason, for its device if that is admitted.
//! 5. Who announced frames gets a turn or a slot with each ack (`turns`); who is live is never
//!    paced.

mod claims;
#[cfg(test)]
mod claims_tests;
mod conduct;
#[cfg(test)]
mod conduct_tests;
mod config;
mod event;
mod hello;
mod intake;
mod keys;
#[cfg(test)]
mod keys_tests;
mod marks;
mod offset;
mod pair;
mod presence;
mod reply;
#[cfg(test)]
mod returning;
mod sequenced;
#[cfg(test)]
mod simulation;
mod tally;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeMap;

use tidegate_shared::ids::{CatalogHash, DeviceName, Incarnation, Mark};
use tidegate_shared::limits::{FRAME_BYTES_DEFAULT, FRAME_BYTES_MAX, WINDOW_MAX};
use tidegate_shared::topic::Topic;

use crate::entry::{Entry, Limits, LinkChange, LinkEntry};
use crate::time::Timestamp;

pub use claims::{CLAIMS_MAX, CLAIMS_US, Claims, OpenClaim};
pub use conduct::{Held, NOISE_MAX, NOISE_US, Policy, Ruling, Standing, THROTTLED_MAX, Turn};
pub use config::SessionConfig;
pub use event::{Effect, Event};
pub use keys::{DeviceKey, Frames, HEARD_MAX, Keyring};
pub use marks::{Counts, FLOORS_MAX, Marks, PAIRS_MAX, PartUnreadable, STALE_MAX};
pub use pair::{CHECKS_MAX, GAPS_MAX};
pub use presence::{ANSWER_US, REPEAT_US, STANDBY_US};
pub use tally::Tallies;
pub use turns::{
    BUDGET_BYTES_FIRST, BUDGET_BYTES_MIN, LEASE_US, PAUSE_US_MAX, PAUSE_US_MIN, Pacing, QUICK_US,
    SLOW_US, TURN_WINDOWS,
};

use offset::Offset;
use presence::{Step, Watch};
use turns::{Ask, Grant, Turns, lot};

/// Most effects of one event, `Durable` and `StoreBusy` excepted: the first makes one ack per
/// pair it moves, the second one entry per device whose link changed meanwhile. The largest is a
/// Hello: restored, opened, up, floor, ten gaps, offset, backlog, welcome, eight acks, catalog.
pub const EFFECTS_MAX: usize = 32;
/// Frames granted in flight unless configured: the devices' MQTT client keeps at most 8
/// publishes, its status included.
pub const WINDOW_DEFAULT: u16 = 7;
/// Bytes of frames that may wait for their fsync, all devices together: 4,096 of 1 KiB.
pub const PENDING_BYTES_MAX: usize = 4 << 20;
/// How long devices wait, in ms, when the store cannot take frames: a few commits.
pub const RETRY_AFTER_MS: u32 = 5_000;
/// How long devices wait, in ms, that are refused for what only a person changes.
pub const REFUSED_AFTER_MS: u32 = 60_000;
/// Shortest time between two requests for the same catalog of a device, in µs.
pub const CATALOG_AGAIN_US: u64 = 5_000_000;
/// Expiry of messages to devices, in s.
pub const DOWN_EXPIRY_S: u32 = 30;

/// The gateway's end of the delivery protocol, for all devices of a site.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    live: Marks,
    durable: Marks,
    watch: Watch,
    links: BTreeMap<DeviceName, Link>,
    tallies: Tallies,
    pending_bytes: usize,
    turns: Turns,
    store_busy: bool,
    restored: bool,
    conduct: conduct::Conduct,
    claim_pace: claims::ClaimPace,
    /// When the event at hand happens; its entries say whether that wall clock is trusted.
    now: Timestamp,
    out: Vec<Effect>,
}

/// What is known of an admitted device in this start only.
#[derive(Debug, Default)]
struct Link {
    /// Frames appended and not durable yet.
    pending_frames: u32,
    /// Frames the device announced that have not come yet.
    awaited: u32,
    /// Bytes of its longest frame in this start; 0 before the first.
    frame_bytes: usize,
    /// The newest Hello or Progress: incarnation, boot, uptime in µs.
    heard: Option<(Incarnation, u32, u64)>,
    offset: Offset,
    /// The incarnation and lowest frame that was refused as another device's, until one of the
    /// two says Hello.
    contested: Option<(Incarnation, Mark)>,
    /// What its status topic or Hello said last.
    up: Option<bool>,
    /// The catalog the pipeline waits for, and when it was last asked for.
    wanted: Option<(CatalogHash, Option<u64>)>,
    sealed: keys::Sealed,
}

impl Session {
    /// Starts from what the log holds.
    pub fn new(mut config: SessionConfig, mut marks: Marks) -> Self {
        // Whatever an earlier start wrote, this one did not subscribe yet.
        marks.gateway.subscribed = false;
        config.window = config.window.clamp(1, WINDOW_MAX);
        config.frame_bytes_max = config.frame_bytes_max.min(FRAME_BYTES_MAX);
        Self {
            watch: Watch::new(config.gateway_id, config.start),
            tallies: Tallies::from_marks(&marks),
            turns: Turns::new(config.pending_bytes_max),
            config,
            live: marks.clone(),
            durable: marks,
            links: BTreeMap::new(),
            pending_bytes: 0,
            store_busy: false,
            restored: false,
            conduct: conduct::Conduct::default(),
            claim_pace: claims::ClaimPace::default(),
            now: Timestamp::default(),
            out: Vec::new(),
        }
    }

    /// Takes one event; what is to be done is added to `effects`, in order.
    pub fn handle(&mut self, now: Timestamp, event: Event<'_>, effects: &mut impl Extend<Effect>) {
        self.now = now;
        match event {
            Event::Subscribed => {
                let step = self.watch.subscribed(now.mono_us);
                self.note_subscription();
                self.take_step(step);
            }
            Event::Disconnected => {
                self.watch.disconnected();
                self.note_subscription();
            }
            Event::Received {
                topic,
                retained,
                payload,
            } => self.receive(now, topic, retained, payload),
            Event::Durable(entries) => self.settle(now, entries),
            Event::StoreBusy(busy) => {
                self.store_busy = busy;
                self.note_links();
            }
            Event::CatalogWanted { device, hash } => self.want_catalog(now, device, hash),
            Event::Deadline => {
                let step = self.watch.deadline(now.mono_us);
                self.take_step(step);
                self.expire();
            }
            Event::Foreign(device) => self.note_foreign(device),
            Event::Release(device) => self.free(device),
            Event::Granted { device, grant } => self.send_grant(device, grant),
            Event::ClaimRefused { device, reason } => self.refuse_claim(device, reason),
            Event::Stop => {
                let step = self.watch.stop();
                self.take_step(step);
            }
        }
        effects.extend(self.out.drain(..));
    }

    /// When [`Event::Deadline`] is due, on the monotonic clock in µs.
    pub fn next_deadline(&self) -> Option<u64> {
        let deadlines = [self.watch.next_deadline(), self.conduct_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Whether another gateway owns the site.
    pub fn is_standby(&self) -> bool {
        self.watch.is_standby()
    }

    /// How devices that came back are paced.
    pub fn pacing(&self) -> Pacing {
        self.turns.pacing()
    }

    /// The limits that hold: the newest durable ones.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// From the next ack on, grants so many frames in flight.
    pub fn grant_at_most(&mut self, window: u16) {
        self.config.window = window.clamp(1, WINDOW_MAX);
    }

    /// Bytes of frames that were appended and are not durable yet.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// What was counted instead of logged, cumulative over all starts.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The tallies that changed since this was last asked, as entries for a batch that is due
    /// anyway. None while standing by.
    pub fn tally_entries(&mut self) -> Vec<Entry> {
        if self.watch.is_standby() {
            return Vec::new();
        }
        let entries = self.tallies.take_entries();
        for entry in &entries {
            self.live.fold(entry, self.now.wall_trusted);
        }
        entries
    }

    /// The fold of everything durable: what a base needs.
    pub fn marks(&self) -> &Marks {
        &self.durable
    }

    /// The payload of the gateway topic's will: this start is offline.
    pub fn offline_payload(&self) -> Vec<u8> {
        self.presence_payload(false)
    }

    /// Puts an entry into the next batch; the live marks know it from here on.
    fn append(&mut self, entry: Entry) {
        self.live.fold(&entry, self.now.wall_trusted);
        self.out.push(Effect::Append(entry));
    }

    fn append_link(&mut self, device: Option<&DeviceName>, change: LinkChange) {
        self.append(Entry::Link(LinkEntry {
            device: device.cloned(),
            change,
        }));
    }

    fn may_log(&self) -> bool {
        !self.watch.is_standby() && !self.watch.is_stopped()
    }

    fn take_step(&mut self, step: Step) {
        if step.restored {
            self.note_restored();
        }
        if let Some(standby) = step.standby {
            self.change_role(standby);
        }
        if let Some(online) = step.publish {
            let payload = self.presence_payload(online);
            self.out.push(Effect::Publish {
                topic: Topic::Gateway,
                retained: true,
                expiry_s: None,
                payload,
            });
        }
    }

    /// The last entry of an owner that stands by says that it hears no more: the devices' silence
    /// is not theirs.
    fn change_role(&mut self, standby: bool) {
        if standby && self.live.gateway.subscribed && !self.watch.is_stopped() {
            self.append_link(None, LinkChange::Subscribed(false));
        }
        self.out.push(Effect::Standby(standby));
        if !standby {
            self.note_subscription();
            self.note_links();
        }
    }

    fn note_restored(&mut self) {
        if !self.restored {
            self.restored = true;
            self.out.push(Effect::Restored);
            // The entry that begins the new incarnation ends what the log says of subscriptions.
            self.live.gateway.subscribed = false;
            self.note_subscription();
        }
    }

    fn note_subscription(&mut self) {
        let subscribed = self.watch.is_connected();
        if self.may_log() && self.live.gateway.subscribed != subscribed {
            self.append_link(None, LinkChange::Subscribed(subscribed));
        }
    }

    /// Writes what links did while nothing could be written.
    fn note_links(&mut self) {
        let devices: Vec<DeviceName> = self.links.keys().cloned().collect();
        for device in devices {
            self.note_link(&device);
        }
    }

    fn note_link(&mut self, device: &DeviceName) {
        if !self.may_log() || self.store_busy {
            return;
        }
        let up = self.links.get(device).and_then(|link| link.up);
        let written = self.live.devices.get(device).map(|marks| marks.up);
        if let (Some(up), Some(written)) = (up, written)
            && up != written
        {
            self.append_link(Some(device), LinkChange::Up(up));
        }
    }

    /// How many frames a device may have in flight, and when.
    fn grant(&mut self, now: Timestamp, device: &DeviceName) -> Grant {
        let window = self.config.window;
        let Some(link) = self.links.get(device) else {
            return Grant {
                window,
                retry_after_ms: 0,
            };
        };
        let frame_bytes = if link.frame_bytes == 0 {
            FRAME_BYTES_DEFAULT
        } else {
            link.frame_bytes
        };
        let ask = Ask {
            awaited: link.awaited,
            frame_bytes: frame_bytes as u64,
            window,
        };
        self.turns.grant(now.mono_us, device, ask)
    }

    /// How long a device waits when the store takes nothing: not all devices equally long.
    fn busy_ms(&self, device: &DeviceName) -> u32 {
        let ms = self.config.retry_after_ms;
        let spread_ms = lot(device, 0) % (u64::from(ms) / 2 + 1);
        ms.saturating_add(u32::try_from(spread_ms).unwrap_or(0))
    }

    fn link(&mut self, device: &DeviceName) -> &mut Link {
        self.links.entry(device.clone()).or_default()
    }
}
