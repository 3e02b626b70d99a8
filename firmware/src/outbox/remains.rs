//! What remains of a boot after a soft reset: its frames and its counts, in RAM that is not
//! cleared at start.
//!
//! A reset comes at any instruction: by a watchdog, a panic, a pin. The next boot finds here the
//! frames that the last one held, and what it counted; it sends the frames as they are, and ends
//! the last boot for it ([`crate::device::Device::resume`]). So the gateway's books of that boot
//! balance exactly:
//!
//! ```text
//! evicted = taken - suppressed - failed - settled - held
//! ```
//! *Settled* are the samples of frames that were acknowledged, *held* those of frames that are
//! here; both by the frames' receipts. What is neither was lost with the last boot: samples in no
//! frame yet, frames evicted. It needs no counter of its own, so none can be wrong.
//!
//! Invariants:
//! 1. Every pattern of bits is a value of this type; magic, checks and frames' trailers tell what
//!    a boot left from what RAM holds after power-on.
//! 2. Each sensor's account stands twice: the newer copy with a right check holds. A change writes
//!    the other copy.
//! 3. A frame is noted as acknowledged, then settled, then popped, and its account says through
//!    which mark: one that is both settled and held counts once.
//! 4. A boot's accounts begin with the held frames of earlier boots as a debt: `settled` below 0.

#[cfg(test)]
mod tests;

use core::sync::atomic::{Ordering, compiler_fence};

use tidegate_shared::frame::crc32c;
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};
use tidegate_shared::message::Counts;

use super::{Content, Entry, Outbox, OutboxError, RamOutbox, Standing};

const MAGIC: u32 = 0x5447_7265;

/// What one sensor's samples came to, as of its newest sample or acknowledgement.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Account {
    taken: u64,
    suppressed: u64,
    failed: u64,
    /// Samples of acknowledged frames, less those held from earlier boots at the start.
    settled: i64,
    /// The newest frame that is settled.
    through_boot: u32,
    through_sequence: u32,
    time_us: u64,
    incarnation: u32,
    boot: u32,
    generation: u32,
    check: u32,
}

impl Account {
    const NONE: Self = Self {
        taken: 0,
        suppressed: 0,
        failed: 0,
        settled: 0,
        through_boot: 0,
        through_sequence: 0,
        time_us: 0,
        incarnation: 0,
        boot: 0,
        generation: 0,
        check: 0,
    };

    fn computed(&self) -> u32 {
        let mut bytes = [0; 60];
        let longs = [
            self.taken,
            self.suppressed,
            self.failed,
            self.settled.cast_unsigned(),
            self.time_us,
        ];
        let words = [
            self.through_boot,
            self.through_sequence,
            self.incarnation,
            self.boot,
            self.generation,
        ];
        for (there, long) in bytes.chunks_exact_mut(8).zip(longs) {
            there.copy_from_slice(&long.to_le_bytes());
        }
        let rest = bytes.get_mut(40..).unwrap_or_default();
        for (there, word) in rest.chunks_exact_mut(4).zip(words) {
            there.copy_from_slice(&word.to_le_bytes());
        }
        crc32c(&bytes)
    }

    fn is_of(&self, head: &Head) -> bool {
        self.incarnation == head.incarnation
            && self.boot == head.boot
            && self.check == self.computed()
    }

    fn through(&self) -> Mark {
        Mark {
            boot: self.through_boot,
            sequence: self.through_sequence,
        }
    }
}

/// Whose frames and accounts these are.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Head {
    magic: u32,
    incarnation: u32,
    boot: u32,
    catalog: u32,
    sensors: u32,
    check: u32,
}

impl Head {
    const NONE: Self = Self {
        magic: 0,
        incarnation: 0,
        boot: 0,
        catalog: 0,
        sensors: 0,
        check: 0,
    };

    fn computed(&self) -> u32 {
        let mut bytes = [0; 16];
        let words = [self.incarnation, self.boot, self.catalog, self.sensors];
        for (there, word) in bytes.chunks_exact_mut(4).zip(words) {
            there.copy_from_slice(&word.to_le_bytes());
        }
        crc32c(&bytes)
    }
}

/// The last boot, as it is to be ended by this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past<const SENSORS: usize> {
    /// Which boot it was, of the same incarnation.
    pub boot: u32,
    /// Sequence of its next frame.
    pub sequence: u32,
    /// The catalog that its counts are by.
    pub catalog: CatalogHash,
    /// Sensors in it.
    pub sensors: u16,
    /// Uptime of its newest sample, in µs.
    pub uptime_us: u64,
    /// Its counts, with everything lost counted as evicted.
    pub counts: [Counts; SENSORS],
}

/// Frames and counts that outlive a soft reset: an [`RamOutbox`] with accounts beside it, for
/// `SENSORS` sensors. A board lays it into RAM that its start-up code leaves alone, asks
/// [`Remains::recover`] once, and gives a `&mut` of it to its device as the outbox.
#[derive(Debug)]
#[repr(C)]
pub struct Remains<const SENSORS: usize, const BYTES: usize, const FRAMES: usize> {
    head: Head,
    /// Newest sequence that this boot has pushed.
    sequence: u32,
    accounts: [[Account; 2]; SENSORS],
    /// An account of no sensor: the newest frame acknowledged, of this incarnation and any boot.
    acked: [Account; 2],
    outbox: RamOutbox<BYTES, FRAMES>,
}

impl<const SENSORS: usize, const BYTES: usize, const FRAMES: usize> Default
    for Remains<SENSORS, BYTES, FRAMES>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<const SENSORS: usize, const BYTES: usize, const FRAMES: usize>
    Remains<SENSORS, BYTES, FRAMES>
{
    /// Nothing remains.
    pub const fn new() -> Self {
        Self {
            head: Head::NONE,
            sequence: 0,
            accounts: [[Account::NONE; 2]; SENSORS],
            acked: [Account::NONE; 2],
            outbox: RamOutbox::new(),
        }
    }

    /// Looks at what RAM holds, as the first thing of a start under `incarnation`: keeps the
    /// frames if they are whole and all of this incarnation, and tells of the boot that left them.
    /// `None` when there is none, or when its counts cannot be told: then they are unknown, and no
    /// number is made up. `buffer` holds one frame.
    pub fn recover(
        &mut self,
        incarnation: Incarnation,
        buffer: &mut [u8],
    ) -> Option<Past<SENSORS>> {
        let past = self.look(incarnation, buffer);
        if past.is_none() {
            // Unknown now, and not known again by a change that puts a right check on it.
            self.head.magic = 0;
            compiler_fence(Ordering::SeqCst);
        }
        // Acknowledged, and not yet popped when the reset came.
        let acked = self.acked();
        self.release_through(acked);
        past
    }

    fn look(&mut self, incarnation: Incarnation, buffer: &mut [u8]) -> Option<Past<SENSORS>> {
        self.keep_acked(incarnation);
        if !self.outbox.is_intact(incarnation, buffer) {
            // Lost; where the accounts hold, what the frames held is counted as that.
            self.outbox.clear();
        }
        let head = self.head;
        let is_known = head.magic == magic::<SENSORS, BYTES, FRAMES>()
            && head.check == head.computed()
            && head.incarnation == incarnation.0;
        if !is_known {
            return None;
        }
        let mut past = Past {
            boot: head.boot,
            sequence: self.newest(head.boot).saturating_add(1),
            catalog: CatalogHash(head.catalog),
            sensors: head.sensors as u16,
            uptime_us: 0,
            counts: [Counts::default(); SENSORS],
        };
        let sensors = past.sensors;
        for (sensor, counts) in (0..sensors).zip(&mut past.counts) {
            let account = self.account(sensor)?;
            if let Some(copies) = self.accounts.get_mut(usize::from(sensor)) {
                // A torn one may look newer to the next change, which asks no check.
                *copies = [account; 2];
            }
            past.uptime_us = past.uptime_us.max(account.time_us);
            *counts = self.ended(sensor, &account)?;
        }
        Some(past)
    }

    fn acked(&self) -> Mark {
        let [one, other] = &self.acked;
        if is_newer(one, other) { one } else { other }.through()
    }

    fn release_through(&mut self, through: Mark) {
        while let Some(oldest) = self.outbox.next_after(Mark::default())
            && oldest.mark <= through
        {
            self.release(&oldest);
            self.outbox.pop_through(oldest.mark);
        }
    }

    /// Notes a frame as acknowledged, and its samples as settled.
    fn release(&mut self, entry: &Entry) {
        let mark = self.acked().max(entry.mark);
        write_older(&mut self.acked, |acked| {
            acked.through_boot = mark.boot;
            acked.through_sequence = mark.sequence;
        });
        self.settle(entry);
    }

    /// Bytes of frames and receipts held.
    pub fn bytes_used(&self) -> usize {
        self.outbox.bytes_used()
    }

    /// The frames.
    #[cfg(feature = "flash-outbox")]
    pub(super) fn frames(&self) -> &RamOutbox<BYTES, FRAMES> {
        &self.outbox
    }

    /// Samples of a frame that was moved on, and so settled, are lost after all.
    #[cfg(feature = "flash-outbox")]
    pub(super) fn unsettle(&mut self, entry: &Entry, sensor: u8, samples: u8) {
        if !self.is_counted(entry) {
            return;
        }
        self.change(sensor.into(), |account| {
            account.settled = account.settled.saturating_sub(samples.into());
        });
    }

    fn ended(&self, sensor: u16, account: &Account) -> Option<Counts> {
        let held = self.held(sensor, |mark| mark > account.through());
        let explained = account.suppressed.checked_add(account.failed)?;
        let rest = i64::try_from(account.taken.checked_sub(explained)?).ok()?;
        let evicted = rest.checked_sub(account.settled)?.checked_sub(held)?;
        Some(Counts {
            taken: account.taken,
            suppressed: account.suppressed,
            failed: account.failed,
            evicted: u64::try_from(evicted).ok()?,
        })
    }

    /// Samples of a sensor in the held batches of this catalog whose mark `is_meant`.
    fn held(&self, sensor: u16, is_meant: impl Fn(Mark) -> bool) -> i64 {
        let (mut samples, mut after) = (0, Mark::default());
        while let Some(entry) = self.outbox.next_after(after) {
            after = entry.mark;
            if self.is_counted(&entry) && is_meant(entry.mark) {
                self.outbox.receipt(entry.mark, |one, held| {
                    if u16::from(one) == sensor {
                        samples += i64::from(held);
                    }
                });
            }
        }
        samples
    }

    fn is_counted(&self, entry: &Entry) -> bool {
        entry.content == Content::Batch(CatalogHash(self.head.catalog))
    }

    fn newest(&self, boot: u32) -> u32 {
        let (mut newest, mut after) = (self.sequence, Mark { boot, sequence: 0 });
        while let Some(entry) = self.outbox.next_after(after) {
            after = entry.mark;
            if after.boot == boot {
                newest = newest.max(after.sequence);
            }
        }
        newest
    }

    /// The account of a sensor: the newer copy that is this boot's.
    fn account(&self, sensor: u16) -> Option<Account> {
        let [one, other] = self.accounts.get(usize::from(sensor))?;
        match (one.is_of(&self.head), other.is_of(&self.head)) {
            (true, true) => Some(if is_newer(one, other) { *one } else { *other }),
            (true, false) => Some(*one),
            (false, true) => Some(*other),
            (false, false) => None,
        }
    }

    fn change(&mut self, sensor: u16, change: impl FnOnce(&mut Account)) {
        if let Some(copies) = self.accounts.get_mut(usize::from(sensor)) {
            write_older(copies, change);
        }
    }

    /// Forgets what was acknowledged, unless it was under `incarnation`.
    fn keep_acked(&mut self, incarnation: Incarnation) {
        let is_kept =
            |one: &Account| one.incarnation == incarnation.0 && one.check == one.computed();
        let [one, other] = self.acked;
        let mut kept = match (is_kept(&one), is_kept(&other)) {
            (true, true) if is_newer(&one, &other) => one,
            (true, false) => one,
            (_, true) => other,
            (false, false) => Account::NONE,
        };
        kept.incarnation = incarnation.0;
        kept.check = kept.computed();
        self.acked = [kept; 2];
    }

    /// Counts the samples of a frame as settled.
    fn settle(&mut self, entry: &Entry) {
        if !self.is_counted(entry) {
            return;
        }
        let mark = entry.mark;
        let mut receipt = heapless::Vec::<(u8, u8), SENSORS>::new();
        // A receipt names each sensor once.
        self.outbox.receipt(mark, |sensor, samples| {
            receipt.push((sensor, samples)).unwrap_or(());
        });
        for (sensor, samples) in receipt {
            self.change(sensor.into(), |account| {
                if account.through() >= mark {
                    return;
                }
                account.settled = account.settled.saturating_add(samples.into());
                account.through_boot = mark.boot;
                account.through_sequence = mark.sequence;
            });
        }
    }
}

/// Writes the older copy. Which one that is the generation says alone: both are this boot's.
fn write_older(copies: &mut [Account; 2], change: impl FnOnce(&mut Account)) {
    let [one, other] = copies;
    let (newer, older) = if is_newer(one, other) {
        (one, other)
    } else {
        (other, one)
    };
    let mut account = *newer;
    change(&mut account);
    account.generation = account.generation.wrapping_add(1);
    account.check = account.computed();
    *older = account;
    compiler_fence(Ordering::SeqCst);
}

/// Generations wrap around; the two are never far apart.
fn is_newer(one: &Account, other: &Account) -> bool {
    one.generation.wrapping_sub(other.generation) as i32 > 0
}

/// Differs with the layout: another image's remains are none of this one's.
const fn magic<const SENSORS: usize, const BYTES: usize, const FRAMES: usize>() -> u32 {
    MAGIC ^ (SENSORS as u32) << 24 ^ (BYTES as u32) << 8 ^ FRAMES as u32
}

impl<const SENSORS: usize, const BYTES: usize, const FRAMES: usize> Outbox
    for &mut Remains<SENSORS, BYTES, FRAMES>
{
    fn push(
        &mut self,
        entry: Entry,
        frame: &[u8],
        receipt: impl Iterator<Item = (u8, u8)> + Clone,
    ) -> Result<(), OutboxError> {
        self.outbox.push(entry, frame, receipt)?;
        if entry.mark.boot == self.head.boot {
            self.sequence = entry.mark.sequence;
        }
        Ok(())
    }

    fn read(&self, mark: Mark, out: &mut [u8]) -> Result<usize, OutboxError> {
        self.outbox.read(mark, out)
    }

    fn next_after(&self, mark: Mark) -> Option<Entry> {
        self.outbox.next_after(mark)
    }

    fn receipt(&self, mark: Mark, each: impl FnMut(u8, u8)) {
        self.outbox.receipt(mark, each);
    }

    fn get(&self, mark: Mark) -> Option<Entry> {
        self.outbox.get(mark)
    }

    fn count(&self, after: Mark, through: Mark) -> usize {
        self.outbox.count(after, through)
    }

    fn pop_through(&mut self, through: Mark) {
        self.release_through(through);
    }

    fn evict(&mut self, lost: impl FnMut(u8, u8)) -> Option<Entry> {
        self.outbox.evict(lost)
    }

    fn names(&self, catalog: CatalogHash) -> bool {
        self.outbox.names(catalog)
    }

    fn replace(&mut self, mark: Mark, entry: Entry, frame: &[u8]) -> Result<(), OutboxError> {
        self.outbox.replace(mark, entry, frame)
    }

    fn has_room(&self, bytes: usize, frames: usize) -> bool {
        self.outbox.has_room(bytes, frames)
    }

    fn could_hold(&self, bytes: usize) -> bool {
        self.outbox.could_hold(bytes)
    }

    fn stand(&mut self, standing: Option<&Standing>) {
        self.head.magic = 0;
        compiler_fence(Ordering::SeqCst);
        let Some(standing) = standing else {
            return;
        };
        self.head = Head {
            magic: 0,
            incarnation: standing.incarnation.0,
            boot: standing.boot,
            catalog: standing.catalog.0,
            sensors: standing.sensors.into(),
            check: 0,
        };
        self.keep_acked(standing.incarnation);
        self.sequence = 0;
        self.sequence = self.newest(standing.boot);
        let blank = Account {
            incarnation: standing.incarnation.0,
            boot: standing.boot,
            ..Account::NONE
        };
        self.accounts = [[blank; 2]; SENSORS];
        for sensor in 0..standing.sensors {
            let debt = self.held(sensor, |mark| mark.boot != standing.boot);
            self.change(sensor, |account| account.settled = -debt);
        }
        self.head.check = self.head.computed();
        compiler_fence(Ordering::SeqCst);
        self.head.magic = magic::<SENSORS, BYTES, FRAMES>();
    }

    fn acked(&self) -> Mark {
        Remains::acked(self)
    }

    /// A boot counter that fell behind: frames and marks of boots to come cannot be told from
    /// theirs, and are dropped.
    fn adopt(&mut self, incarnation: Incarnation, boot: u32) {
        if self.outbox.newest().is_some_and(|mark| mark.boot >= boot) {
            self.outbox.clear();
        }
        if Remains::acked(self).boot >= boot {
            self.acked = [Account::NONE; 2];
        }
        self.keep_acked(incarnation);
    }

    fn note(&mut self, sensor: u16, counts: &Counts, time_us: u64) {
        self.change(sensor, |account| {
            account.taken = counts.taken;
            account.suppressed = counts.suppressed;
            account.failed = counts.failed;
            account.time_us = time_us;
        });
    }
}
