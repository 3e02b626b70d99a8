//! Conduct: who behaves as no honest device does is throttled, then held in quarantine.
//!
//! Terms: an *offence* is a word that no honest device says, such as one sealed by nobody's key;
//! *noise* is what brings nothing new, such as a frame that was taken already. Both fill a bucket
//! of the device that leaks; noise fills it only above what resends over a bad network make.
//!
//! ```text
//!            half full                     full
//!   Free ──────────────► Throttled ─────────────────► Quarantined
//!     ▲   drained            │            (or Suspected, where nobody vouches for publishers)
//!     └──────────────────────┴──── its time is over, or released ─────┘
//! ```
//! Invariants:
//! 1. Nobody is put in quarantine for what others can do in its name: only where the broker says
//!    who publishes ([`Policy::vouched`]). Elsewhere the same is told as suspicion, and changes
//!    nothing.
//! 2. What a device in quarantine sends is neither logged nor acked: it keeps its frames.
//! 3. Only registered devices are kept account of, so memory is bounded by the registry. One that
//!    just enrolled by a claim has none until it is heard: its name is open to all who have the code.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

use super::Session;
use crate::entry::Uncounted;
use crate::time::Timestamp;

/// Messages without news that a device may send in [`NOISE_US`] before they count as a flood: an
/// honest one resends at most a window of 64 frames every 4 s, which a network may double.
pub const NOISE_MAX: u32 = 1_000;
/// The time in which so much noise drains away, in µs.
pub const NOISE_US: u64 = 10_000_000;
/// Devices that one deadline frees.
const EXPIRED_MAX: usize = 8;
/// Messages of a throttled device that are looked at in a second.
pub const THROTTLED_MAX: u32 = 5;

/// What is done about offences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// So many within [`Self::within_us`] are one too many; half of them throttle.
    pub offences: u32,
    /// In which time so many drain away, in µs.
    pub within_us: u64,
    /// How long a quarantine lasts, in µs; without an end it lasts until somebody releases it.
    pub hold_us: Option<u64>,
    /// Whether the broker lets nobody publish in another's name.
    pub vouched: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            offences: 100,
            within_us: 600_000_000,
            hold_us: Some(3_600_000_000),
            vouched: false,
        }
    }
}

/// What becomes of a device that offended once too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// It is in quarantine.
    Quarantined,
    /// It would be, but anybody may have spoken in its name.
    Suspected,
}

/// That a turn began or is over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Which device.
    pub device: DeviceName,
    /// What became of it.
    pub turn: Turn,
    /// Whether that is over: its time has passed, or somebody released the device.
    pub is_over: bool,
    /// How often it did what, since it was free.
    pub why: BTreeMap<Uncounted, u64>,
    /// Until when, on the wall clock in µs; `None` until it is released.
    pub until_us: Option<i64>,
}

/// A device in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which device.
    pub device: DeviceName,
    /// How often it did what in this start of the gateway, since it was free.
    pub why: BTreeMap<Uncounted, u64>,
    /// Until when, on the monotonic clock in µs; `None` until it is released.
    pub until_us: Option<u64>,
}

/// How a device is taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As every other.
    #[default]
    Free,
    /// A few of its messages a second.
    Throttled,
    /// As every other, but it was told of.
    Suspected,
    /// Not at all.
    Quarantined,
}

/// A level that rises with each event and drains in time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    /// Millionths of an event.
    level: u64,
    at_us: u64,
}

impl Bucket {
    fn drain(&mut self, now_us: u64, max: u32, within_us: u64) {
        let passed = now_us.saturating_sub(self.at_us);
        let gone = u128::from(passed) * u128::from(max) * 1_000_000 / u128::from(within_us.max(1));
        self.level = self
            .level
            .saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX));
        self.at_us = now_us;
    }

    fn add(&mut self, now_us: u64, max: u32, within_us: u64) {
        self.drain(now_us, max, within_us);
        self.level = self.level.saturating_add(1_000_000);
    }

    fn holds(&self, events: u32) -> bool {
        self.level >= u64::from(events) * 1_000_000
    }
}

#[derive(Debug, Default)]
struct Account {
    offences: Bucket,
    noise: Bucket,
    examined: Bucket,
    why: BTreeMap<Uncounted, u64>,
    /// What became of it, and until when on the monotonic clock.
    held: Option<(Turn, Option<u64>)>,
}

/// The accounts of registered devices.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    accounts: BTreeMap<DeviceName, Account>,
}

impl Conduct {
    /// How a device is taken now.
    pub fn standing(&self, device: &DeviceName, policy: &Policy) -> Standing {
        let Some(account) = self.accounts.get(device) else {
            return Standing::Free;
        };
        match account.held {
            Some((Turn::Quarantined, _)) => Standing::Quarantined,
            Some((Turn::Suspected, _)) => Standing::Suspected,
            None if policy.vouched && account.offences.holds(policy.offences.div_ceil(2)) => {
                Standing::Throttled
            }
            None => Standing::Free,
        }
    }

    /// Whether a message of a throttled device is looked at.
    fn may_pass(&mut self, now_us: u64, device: &DeviceName) -> bool {
        let Some(account) = self.accounts.get_mut(device) else {
            return true;
        };
        let examined = &mut account.examined;
        examined.drain(now_us, THROTTLED_MAX, 1_000_000);
        let passes = !examined.holds(THROTTLED_MAX);
        if passes {
            examined.add(now_us, THROTTLED_MAX, 1_000_000);
        }
        passes
    }

    /// Brings an account up to a moment.
    fn drain(&mut self, now_us: u64, device: &DeviceName, policy: &Policy) {
        if let Some(account) = self.accounts.get_mut(device) {
            let offences = &mut account.offences;
            offences.drain(now_us, policy.offences, policy.within_us);
            if account.held.is_none() && offences.level == 0 {
                account.why.clear();
            }
        }
    }

    /// Notes what a device did; says so when it was once too often.
    fn note(
        &mut self,
        now: Timestamp,
        device: &DeviceName,
        reason: Uncounted,
        policy: &Policy,
    ) -> Option<Ruling> {
        let weight = weight(reason)?;
        self.drain(now.mono_us, device, policy);
        let account = self.accounts.entry(device.clone()).or_default();
        let is_flood = weight == Weight::Noise && {
            account.noise.add(now.mono_us, NOISE_MAX, NOISE_US);
            account.noise.holds(NOISE_MAX)
        };
        if weight == Weight::Noise && !is_flood {
            return None;
        }
        account
            .offences
            .add(now.mono_us, policy.offences, policy.within_us);
        *account.why.entry(reason).or_default() += 1;
        if account.held.is_some() || !account.offences.holds(policy.offences) {
            return None;
        }
        let until = policy.hold_us.map(|us| now.mono_us.saturating_add(us));
        let turn = if policy.vouched {
            Turn::Quarantined
        } else {
            Turn::Suspected
        };
        account.held = Some((turn, until));
        let until_us = policy
            .hold_us
            .map(|us| now.wall_us.saturating_add_unsigned(us));
        Some(Ruling {
            device: device.clone(),
            turn,
            is_over: false,
            why: account.why.clone(),
            until_us,
        })
    }

    /// Frees a device; none when it was free.
    fn release(&mut self, device: &DeviceName) -> Option<Ruling> {
        let (turn, _) = self.accounts.get(device)?.held?;
        let account = self.accounts.remove(device)?;
        Some(Ruling {
            device: device.clone(),
            turn,
            is_over: true,
            why: account.why,
            until_us: None,
        })
    }

    /// Frees those whose time is over.
    fn expire(&mut self, now_us: u64) -> Vec<Ruling> {
        let due = self.accounts.iter().filter(|(_, account)| {
            let until = account.held.and_then(|(_, until)| until);
            until.is_some_and(|until| until <= now_us)
        });
        let due: Vec<DeviceName> = due.map(|(device, _)| device.clone()).collect();
        // What is left over is due again at once.
        let due = due.iter().take(EXPIRED_MAX);
        due.filter_map(|device| self.release(device)).collect()
    }

    fn next_deadline(&self) -> Option<u64> {
        let held = self.accounts.values().filter_map(|account| account.held);
        held.filter_map(|(_, until)| until).min()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Offence,
    Noise,
}

/// What a count says of its device; nothing where the gateway itself is the reason, or anybody.
fn weight(reason: Uncounted) -> Option<Weight> {
    match reason {
        Uncounted::Forged
        | Uncounted::Key
        | Uncounted::Plain
        | Uncounted::Replayed
        | Uncounted::Conflict
        | Uncounted::Foreign => Some(Weight::Offence),
        Uncounted::Truncated
        | Uncounted::TooLong
        | Uncounted::Version
        | Uncounted::Flags
        | Uncounted::Header
        | Uncounted::Trailer
        | Uncounted::Message
        | Uncounted::Topic
        | Uncounted::Retained
        | Uncounted::Unopened
        | Uncounted::Ahead
        | Uncounted::Duplicate
        | Uncounted::AfterGap => Some(Weight::Noise),
        Uncounted::DeviceLimit
        | Uncounted::Standby
        | Uncounted::Busy
        | Uncounted::Throttled
        | Uncounted::Quarantined
        | Uncounted::ClaimUnknown
        | Uncounted::ClaimForged
        | Uncounted::ClaimExpired
        | Uncounted::ClaimUsedUp
        | Uncounted::ClaimClosed
        | Uncounted::ClaimTaken
        | Uncounted::ClaimOutside
        | Uncounted::ClaimReplayed
        | Uncounted::ClaimThrottled => None,
    }
}

impl Session {
    /// How a device is taken.
    pub fn standing(&self, device: &DeviceName) -> Standing {
        self.conduct.standing(device, &self.config.policy)
    }

    /// The devices in quarantine, by name.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        self.conduct
            .accounts
            .iter()
            .filter_map(|(device, account)| {
                let (turn, until_us) = account.held?;
                (turn == Turn::Quarantined).then(|| Held {
                    device: device.clone(),
                    why: account.why.clone(),
                    until_us,
                })
            })
    }

    /// From here on offences are answered so.
    pub fn set_policy(&mut self, policy: Policy) {
        self.config.policy = policy;
    }

    /// Takes up a quarantine of an earlier start; `until_us` is on the wall clock.
    pub fn hold(&mut self, now: Timestamp, device: DeviceName, until_us: Option<i64>) {
        let until = until_us.map(|until_us| {
            let left_us = u64::try_from(until_us.saturating_sub(now.wall_us)).unwrap_or(0);
            let most_us = self.config.policy.hold_us.unwrap_or(left_us);
            now.mono_us.saturating_add(left_us.min(most_us))
        });
        self.conduct.accounts.entry(device).or_default().held = Some((Turn::Quarantined, until));
    }

    /// Notes an offence that the broker saw: another's topic, another's name, a wrong password.
    pub(super) fn note_foreign(&mut self, device: &DeviceName) {
        self.count(device, Uncounted::Foreign);
    }

    pub(super) fn judge(&mut self, device: &DeviceName, reason: Uncounted) {
        let keys = &self.config.keys;
        let is_its_own = keys.devices.contains_key(device) && !keys.claims.is_waiting(device);
        if is_its_own && self.may_log() {
            let ruling = self
                .conduct
                .note(self.now, device, reason, &self.config.policy);
            self.out.extend(ruling.map(super::Effect::Ruled));
        }
    }

    pub(super) fn expire(&mut self) {
        if !self.may_log() {
            return;
        }
        let rulings = self.conduct.expire(self.now.mono_us);
        self.out
            .extend(rulings.into_iter().map(super::Effect::Ruled));
    }

    pub(super) fn free(&mut self, device: &DeviceName) {
        let ruling = self.conduct.release(device);
        // A standby logs nothing: it frees without a word.
        let ruling = ruling.filter(|_| self.may_log());
        self.out.extend(ruling.map(super::Effect::Ruled));
    }

    pub(super) fn conduct_deadline(&self) -> Option<u64> {
        self.conduct.next_deadline().filter(|_| self.may_log())
    }

    /// Whether a message of this device is looked at; counts it when it is not.
    pub(super) fn lets_in(&mut self, device: &DeviceName) -> bool {
        let policy = self.config.policy;
        self.conduct.drain(self.now.mono_us, device, &policy);
        match self.conduct.standing(device, &policy) {
            Standing::Quarantined => {
                self.count(device, Uncounted::Quarantined);
                false
            }
            Standing::Throttled if !self.conduct.may_pass(self.now.mono_us, device) => {
                self.count(device, Uncounted::Throttled);
                false
            }
            Standing::Throttled | Standing::Suspected | Standing::Free => true,
        }
    }
}
