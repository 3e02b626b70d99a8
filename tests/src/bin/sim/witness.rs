//! Witness: what somebody outside a gateway knows it has promised, to hold against all it says
//! and against what is on its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_gateway::disk::{Disk, FaultDisk};
use tidegate_gateway::entry::{Entry, FrameEntry, LinkChange, Logged, Verdict};
use tidegate_gateway::log::{LocalLog, Log};
use tidegate_gateway::record::Record;
use tidegate_gateway::rules::settings::Settings;
use tidegate_shared::batch::{BatchReader, Scratch};
use tidegate_shared::frame::{self, crc32c};
use tidegate_shared::ids::DeviceName;
use tidegate_shared::message::{Ack, Down, Up};

use super::editions::Editions;
use super::story::Story;
use super::unit::{UTC_US, meaning};

/// A device that holds samples for 10 s is silent after that, and a rule's lateness; clocks drift a
/// little.
const SILENCE_US: u64 = 9_900_000;
/// A frame that came while the gateway's clock was untrusted may be taken, and move the watermark,
/// by any entry until `clock.wait` is over: ten minutes of time in which the gateway runs, so more
/// of the world's.
const HOLD_US: u64 = 1_800_000_000;

/// Longer than any device is silent here.
const EXPIRY_US: i64 = 7_200_000_000;

/// Device, incarnation and boot.
type Pair = (String, u32, u32);

/// What an entry was about, as far as closing windows goes.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The world's time when it was made, in µs.
    pub world_us: u64,
    /// The device whose frame it is.
    pub frame_of: Option<String>,
    /// Whether it was made while the gateway's clock was untrusted.
    pub doubtful: bool,
    /// Whose windows may close at once by it: an end, a new epoch, other limits.
    pub closes: Option<Closes>,
    /// The device's event time up to which it is complete, as far as its batches said.
    pub complete_us: Option<i64>,
    /// The log incarnation in force.
    pub incarnation: u32,
    /// It goes on under the incarnation under which the original of a restored image went on, and
    /// nobody had told the gateway so far.
    pub unaware: bool,
}

/// Whose windows may close at once by an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closes {
    /// One device's.
    Of(String),
    /// All.
    All,
}

/// What is known to be on a gateway's disk.
#[derive(Debug, Default)]
pub struct Witness {
    /// Checks of the entries known to be durable, by position, and what they were about.
    entries: Vec<(u32, Moment)>,
    /// How many of them a gateway has said to be durable. Behind them stands what a kill has left
    /// in files that nobody synced: the next start makes it durable, if it comes so far.
    sure: usize,
    offered: Vec<(Logged, u64)>,
    /// Highest sequence accounted for.
    accounted: BTreeMap<Pair, u32>,
    /// Highest sequence of pairs that are too old.
    stale: BTreeMap<Pair, u32>,
    /// Samples logged as next ones: device, sensor, value.
    samples: BTreeSet<(String, usize, i64)>,
    /// Times that a sample came again, under names that are mixed.
    again: BTreeMap<(String, usize), u64>,
    /// Names under which two devices speak through a network that mixes them.
    pub mixed: BTreeSet<String>,
    incarnation: u32,
    /// The incarnation that a restored image carried: its original went on under that.
    left: Option<u32>,
    /// Since when this start of the gateway was told that its store is older, in the world's µs.
    told_us: Option<u64>,
    highest_delivered: Option<u64>,
    /// UTC minus uptime as a boot's newest Clock frame said.
    offsets: BTreeMap<Pair, i64>,
    /// The pair of each device's newest batch.
    newest: BTreeMap<String, Pair>,
    /// The rules that the log has put in force.
    pub editions: Editions,
    /// Whether windows may have been kept for revisions so briefly that some became final by that.
    pub expires: bool,
}

impl Witness {
    /// Position after the last durable entry.
    pub fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    /// What the entry at a position was about.
    pub fn moment(&self, position: u64) -> Option<&Moment> {
        self.entries
            .get(position as usize)
            .map(|(_, moment)| moment)
    }

    /// What the entries up to a position were about, for a story.
    pub fn before(&self, position: u64, most: usize) -> Vec<&Moment> {
        let up_to = self.entries.iter().take(position as usize + 1);
        let moments = up_to.map(|(_, moment)| moment);
        moments.rev().take(most).collect()
    }

    /// Whether a record's window may have closed by the entry at a position: its device said that
    /// it is complete, or closed everything, or was silent.
    pub fn may_close(&self, record: &Record, position: u64) -> bool {
        let device = record.device.as_str();
        let patience_us = self.editions.patience_us(&record.rule, record.version);
        let Some((lateness_us, gap_us)) = patience_us else {
            return true;
        };
        let due_us = record.end_us + lateness_us;
        let silence_us = SILENCE_US + (lateness_us + gap_us).unsigned_abs();
        let Some(entries) = self.entries.get(..=position as usize) else {
            return true;
        };
        let mut silent_since_us = None;
        let now_us = entries.last().map_or(0, |(_, moment)| moment.world_us);
        if self.expires || self.may_be_held(device, position, now_us) {
            return true;
        }
        for (at, (_, moment)) in entries.iter().enumerate().rev() {
            if now_us.saturating_sub(moment.world_us) > silence_us {
                break;
            }
            let closes = match &moment.closes {
                Some(Closes::All) => true,
                Some(Closes::Of(other)) => other == device,
                None => false,
            };
            let is_its = moment.frame_of.as_deref() == Some(device);
            let complete = moment
                .complete_us
                .is_some_and(|until_us| until_us >= due_us);
            if closes || (is_its && complete) {
                return true;
            }
            // The cause itself came when its timers had passed.
            if is_its && at as u64 != position {
                silent_since_us = Some(moment.world_us);
                break;
            }
        }
        silent_since_us.is_none()
    }

    /// Whether a frame of a device may have waited for the gateway's clock until a position.
    fn may_be_held(&self, device: &str, position: u64, now_us: u64) -> bool {
        let entries = self.entries.iter().take(position as usize);
        entries.rev().any(|(_, moment)| {
            moment.doubtful
                && moment.frame_of.as_deref() == Some(device)
                && now_us.saturating_sub(moment.world_us) <= HOLD_US
        })
    }

    /// Samples of a device's sensor that are in the log, each as often as it is.
    pub fn logged(&self, device: &str, sensor: usize) -> u64 {
        let again = self.again.get(&(device.to_owned(), sensor));
        self.distinct(device, sensor) + again.copied().unwrap_or(0)
    }

    /// Different samples of a device's sensor that are in the log.
    pub fn distinct(&self, device: &str, sensor: usize) -> u64 {
        let of = |value| (device.to_owned(), sensor, value);
        self.samples.range(of(i64::MIN)..=of(i64::MAX)).count() as u64
    }

    /// Entries of a start that began at a time of the world go to the log.
    pub fn offer(&mut self, entries: &[Logged], began_us: u64) {
        let made_us = |one: &Logged| began_us + one.at.mono_us;
        self.offered = entries
            .iter()
            .map(|one| (one.clone(), made_us(one)))
            .collect();
    }

    /// The log took them, up to `end`.
    pub fn confirm(&mut self, end: u64, story: &mut Story) {
        for (logged, world_us) in std::mem::take(&mut self.offered) {
            self.note(&logged, world_us, story);
        }
        self.sure = self.entries.len();
        story.check("positions follow each other", self.end() == end, || {
            format!("{} entries are durable, the log ends at {end}", self.end())
        });
    }

    fn note(&mut self, logged: &Logged, world_us: u64, story: &mut Story) {
        let mut moment = Moment {
            world_us,
            frame_of: None,
            doubtful: !logged.at.wall_trusted,
            closes: None,
            complete_us: None,
            incarnation: self.incarnation,
            unaware: false,
        };
        match &logged.entry {
            Entry::Frame(found) => {
                moment.frame_of = Some(found.device.to_string());
                self.note_frame(found, &mut moment, story);
            }
            Entry::Gap(gap) => {
                let pair = (gap.device.to_string(), gap.incarnation.0, gap.boot);
                let accounted = self.accounted.entry(pair).or_default();
                *accounted = gap.through.max(*accounted);
            }
            Entry::Started {
                log_incarnation, ..
            } => {
                self.incarnation = *log_incarnation;
                moment.incarnation = *log_incarnation;
            }
            Entry::Link(link) => {
                if let (LinkChange::Opened { .. }, Some(device)) = (&link.change, &link.device) {
                    moment.closes = Some(Closes::Of(device.to_string()));
                }
            }
            // Nothing closes by other rules: open windows finish under the old ones.
            Entry::Rules { text } => self.editions.take(text),
            Entry::Limits(limits) => {
                moment.closes = Some(Closes::All);
                self.expires |= limits.revise_for_us < EXPIRY_US;
            }
            _ => {}
        }
        moment.unaware = self.left == Some(moment.incarnation)
            && self.told_us.is_none_or(|told_us| world_us < told_us);
        story.coverage.entries += 1;
        self.entries.push((check_of(logged), moment));
    }

    fn note_frame(&mut self, found: &FrameEntry, moment: &mut Moment, story: &mut Story) {
        let device = found.device.to_string();
        let Ok(frame) = frame::read(&found.bytes) else {
            story.check("the log holds frames", false, || device);
            return;
        };
        let (incarnation, mark) = (frame.header.incarnation.0, frame.header.mark);
        let pair = (device.clone(), incarnation, mark.boot);
        let up = Up::read(frame.body);
        if found.verdict == Verdict::StaleBoot {
            let highest = self.stale.entry(pair).or_default();
            *highest = mark.sequence.max(*highest);
            return;
        }
        let accounted = self.accounted.entry(pair.clone()).or_default();
        let is_next = mark.sequence == *accounted + 1;
        *accounted = mark.sequence.max(*accounted);
        story.check("a frame is logged once, in order", is_next, || {
            format!("{device} {incarnation:08x} {mark:?} is logged again or out of order")
        });
        match up {
            Ok(Up::Batch(body)) => {
                for (sensor, value) in samples_of(body) {
                    let is_new = self.samples.insert((device.clone(), sensor, value));
                    if !is_new {
                        *self.again.entry((device.clone(), sensor)).or_default() += 1;
                    }
                    let is_mixed = self.mixed.contains(&device);
                    story.check("a sample is logged once", is_new || is_mixed, || {
                        format!("{device}: sensor {sensor}, value {value} came again with {mark:?}")
                    });
                }
                if let Ok(reader) = BatchReader::new(body) {
                    // A restored image may lack the Clock frame that its original acked: the
                    // gateway learns the offset then. No batch speaks of later than its coming.
                    let now_us = UTC_US + moment.world_us as i64 + 1_000_000;
                    let uptime_us = reader.head.complete_until_us as i64;
                    let offset_us = self.offsets.get(&pair);
                    let said_us = offset_us.map(|offset_us| uptime_us.saturating_add(*offset_us));
                    moment.complete_us = Some(said_us.unwrap_or(now_us));
                }
                self.note_pair(device, &pair, moment);
            }
            Ok(Up::Totals(_)) => self.note_pair(device, &pair, moment),
            Ok(Up::Clock(clock)) => {
                let offset_us = clock.utc_us.saturating_sub_unsigned(clock.uptime_us);
                self.offsets.insert(pair, offset_us);
            }
            // A catalog may change a scale: that begins an epoch.
            Ok(Up::Catalog(_)) => moment.closes = Some(Closes::Of(device)),
            // It ended, or says that a catalog is gone, for which frames have waited.
            Ok(Up::Event(_)) => {
                moment.closes = Some(Closes::Of(device));
            }
            _ => {}
        }
    }

    /// Batches and Totals name their catalog: those of another boot may begin an epoch.
    fn note_pair(&mut self, device: String, pair: &Pair, moment: &mut Moment) {
        let newest = self.newest.insert(device.clone(), pair.clone());
        if newest.is_some_and(|newest| newest != *pair) {
            moment.closes = Some(Closes::Of(device));
        }
    }

    /// An ack leaves: all that it speaks of is durable.
    pub fn ack(&mut self, device: &DeviceName, ack: &Ack, story: &mut Story) {
        let pair = (device.to_string(), ack.incarnation.0, ack.boot);
        let durable = self.known_through(&pair);
        story.check("acked means on disk", ack.through <= durable, || {
            format!(
                "{pair:?} is acked through {}, durable {durable}",
                ack.through
            )
        });
    }

    /// A record caused by the entry at `position` is on its way to a sink.
    pub fn send(&mut self, position: u64, story: &mut Story) {
        let end = self.end();
        story.check("a record's cause is on disk", position < end, || {
            format!("a record of position {position} is sent, the log ends at {end}")
        });
        self.highest_delivered = self.highest_delivered.max(Some(position));
    }

    /// Compares with what a fault has left, and goes on from that. `is_older` tells of a restored
    /// image: then nothing is compared.
    pub fn examine(
        &mut self,
        disk: &FaultDisk,
        settings: &Settings,
        is_older: bool,
        story: &mut Story,
    ) {
        let found = read_log(disk, settings, story);
        let before = std::mem::take(self);
        self.mixed = before.mixed;
        (self.left, self.told_us) = (before.left, before.told_us);
        let (known, offered) = (before.entries, before.offered);
        for (position, bytes) in &found {
            let expected = self.entries.len() as u64;
            story.check("entries follow each other", *position == expected, || {
                format!("{position} follows {expected}")
            });
            let logged: Result<Logged, _> = postcard::from_bytes(bytes);
            let Ok(logged) = logged else {
                story.check("the log holds entries", false, || position.to_string());
                continue;
            };
            let index = *position as usize;
            let known_at = known.get(index).map(|(check, one)| (*check, one.world_us));
            let offered_at = index
                .checked_sub(known.len())
                .and_then(|at| offered.get(at))
                .map(|(one, at_us)| (check_of(one), *at_us));
            let expected = known_at.or(offered_at);
            let now_us = story.now_us;
            let world_us = expected.map_or(now_us, |(_, at_us)| at_us);
            let same = expected.is_some_and(|(check, _)| check == check_of(&logged));
            story.check("what is durable never changes", same || is_older, || {
                format!("nobody wrote what is at {position}")
            });
            let mut quiet = Story::default();
            self.note(&logged, world_us, &mut quiet);
            if let (Some((_, known)), Some((_, noted))) =
                (known.get(index), self.entries.last_mut())
            {
                noted.unaware = known.unaware;
            }
        }
        let kept = found.len() >= before.sure;
        self.sure = before.sure.min(found.len());
        story.check("what is durable stays", kept || is_older, || {
            format!(
                "{} of {} durable entries are left",
                found.len(),
                before.sure
            )
        });
        let delivered = before.highest_delivered.filter(|_| !is_older);
        let caused = delivered.is_none_or(|position| position < self.end());
        story.check("a record's cause stays on disk", caused, || {
            format!(
                "{delivered:?} was delivered, the log ends at {}",
                self.end()
            )
        });
        self.highest_delivered = delivered;
        self.told_us = None;
        if is_older {
            self.left = Some(self.incarnation);
        }
    }

    /// A message reaches the gateway of that id, which counted that start. Two things tell it that
    /// its store is older than what it said: a device that was acked more than the log holds, and
    /// its own id with a later start.
    pub fn hear(&mut self, topic: &str, payload: &[u8], (id, start): (u64, u32), now_us: u64) {
        let Ok(frame) = frame::read(payload) else {
            return;
        };
        let tells = match topic.rsplit('/').next() {
            Some("gateway") => matches!(
                Down::read(frame.body),
                Ok(Down::Presence(said)) if said.gateway == id && said.start > start
            ),
            Some("up") => {
                let device = topic.rsplit('/').nth(1).unwrap_or_default();
                let of = |boot| (device.to_owned(), frame.header.incarnation.0, boot);
                let acked = match Up::read(frame.body) {
                    Ok(Up::Hello(hello)) => Some(hello.progress.acked),
                    // That of a boot that is not open yet is answered only.
                    Ok(Up::Progress(progress)) => Some(progress.acked)
                        .filter(|_| self.accounted.contains_key(&of(frame.header.mark.boot))),
                    _ => None,
                };
                acked.is_some_and(|acked| acked.sequence > self.known_through(&of(acked.boot)))
            }
            _ => false,
        };
        if tells {
            self.told_us.get_or_insert(now_us);
        }
    }

    /// Highest sequence of a pair that is accounted for, or was too old.
    fn known_through(&self, pair: &Pair) -> u32 {
        let accounted = self.accounted.get(pair).copied().unwrap_or(0);
        let stale = self.stale.get(pair).copied().unwrap_or(0);
        accounted.max(stale)
    }
}

/// The entries of a log on a disk.
pub fn read_log(disk: &FaultDisk, settings: &Settings, story: &mut Story) -> Vec<(u64, Vec<u8>)> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let opened = LocalLog::open(disk, "log", settings.log, 1);
    let read = opened.and_then(|opened| opened.log.read(0, 0)?.collect());
    match read {
        Ok(found) => found,
        Err(error) => {
            story.check("what a fault has left can be read", false, || {
                error.to_string()
            });
            Vec::new()
        }
    }
}

fn check_of(logged: &Logged) -> u32 {
    crc32c(&postcard::to_stdvec(logged).expect("entries can be written"))
}

/// The sensors and values of a batch.
fn samples_of(body: &[u8]) -> Vec<(usize, i64)> {
    let mut found = Vec::new();
    let Ok(mut reader) = BatchReader::new(body) else {
        return found;
    };
    let hash = reader.head.catalog;
    let mut scratch = Scratch::default();
    while let Ok(Some(block)) = reader.next_block(&mut scratch) {
        let raws = block.raws.iter();
        found.extend(raws.filter_map(|raw| meaning(hash, block.sensor, *raw)));
    }
    found
}
