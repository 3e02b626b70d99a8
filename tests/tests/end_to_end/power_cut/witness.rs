//! The witness: what somebody outside the gateway knows it has promised, to hold against what a
//! cut has left.

use std::collections::BTreeMap;

use tidegate_gateway::disk::{Disk, FaultDisk};
use tidegate_gateway::entry::{Entry, Logged, Verdict};
use tidegate_gateway::log::{LocalLog, Log};
use tidegate_gateway::rules::settings::LogSettings;
use tidegate_gateway::store::OpenReport;
use tidegate_shared::frame;
use tidegate_shared::ids::DeviceName;
use tidegate_shared::message::Ack;

/// Device, incarnation and boot.
pub type Pair = (DeviceName, u32, u32);

/// What is known to be durable, on its way, acked and delivered.
#[derive(Debug, Default)]
pub struct Witness {
    /// Every entry that is in the log, by position.
    entries: BTreeMap<u64, Logged>,
    /// Entries offered to the log that it has not confirmed.
    offered: Vec<Logged>,
    /// Sequences of each pair, in the order of the log.
    logged: BTreeMap<Pair, Vec<u32>>,
    /// How far each pair was acked.
    acked: BTreeMap<Pair, u32>,
    /// Highest position that a delivered record was caused by.
    delivered: Option<u64>,
    /// Identity of the log.
    pub log_incarnation: Option<u32>,
}

impl Witness {
    /// Position after the last entry known to be durable.
    pub fn end(&self) -> u64 {
        self.entries
            .last_key_value()
            .map_or(0, |(last, _)| last + 1)
    }

    /// Entries go to the log.
    pub fn offer(&mut self, entries: &[Logged]) {
        self.offered = entries.to_vec();
    }

    /// The log confirmed them.
    pub fn confirm(&mut self, end: u64) {
        for logged in std::mem::take(&mut self.offered) {
            self.note(logged);
        }
        assert_eq!(self.end(), end, "the log gives positions out one by one");
    }

    fn note(&mut self, logged: Logged) {
        match &logged.entry {
            Entry::Frame(found) => {
                assert_eq!(found.verdict, Verdict::Next, "no honest frame is stale");
                let header = frame::read(&found.bytes)
                    .expect("the log holds frames")
                    .header;
                let incarnation = header.incarnation.0;
                let pair = (found.device.clone(), incarnation, header.mark.boot);
                let sequences = self.logged.entry(pair).or_default();
                sequences.push(header.mark.sequence);
            }
            // What follows the end of a boot that is over: the log cannot know that it is nothing.
            Entry::Gap(gap) if gap.through == u32::MAX => {
                let pair = (gap.device.clone(), gap.incarnation.0, gap.boot);
                let frames = self.logged.get(&pair).map_or(0, Vec::len) as u32;
                assert_eq!((gap.from, gap.lost_here), (frames + 1, 0), "{gap:?}");
            }
            Entry::Gap(gap) => panic!("nothing was lost, yet a gap was logged: {gap:?}"),
            Entry::Started {
                log_incarnation, ..
            } => self.log_incarnation = Some(*log_incarnation),
            _ => {}
        }
        self.entries.insert(self.end(), logged);
    }

    /// An ack went out: all that it speaks of is durable.
    pub fn ack(&mut self, device: &DeviceName, ack: &Ack) {
        let pair = (device.clone(), ack.incarnation.0, ack.boot);
        let logged = self.logged.get(&pair).map_or(0, Vec::len) as u32;
        assert!(
            ack.through <= logged,
            "{pair:?} acked through {} with {logged} frames durable",
            ack.through
        );
        let acked = self.acked.entry(pair).or_default();
        *acked = ack.through.max(*acked);
    }

    /// A record caused by the entry at `position` was given to a sink.
    pub fn deliver(&mut self, position: u64) {
        assert!(
            position < self.end(),
            "delivered before its cause at {position} was durable; the log ends at {}",
            self.end()
        );
        self.delivered = self.delivered.max(Some(position));
    }

    /// Compares with what a cut left. Opening and reading a log changes nothing.
    pub fn examine(&mut self, disk: &FaultDisk, settings: LogSettings) {
        let end = self.end();
        let disk: std::sync::Arc<dyn Disk> = std::sync::Arc::new(disk.clone());
        let opened = LocalLog::open(disk, "log", settings, 1).expect("a cut log opens");
        let found: Vec<(u64, Vec<u8>)> = opened
            .log
            .read(0, 0)
            .and_then(Iterator::collect)
            .expect("what a cut left can be read");
        let first = found.first().map_or(0, |(first, _)| *first);
        assert!(
            first <= opened.recovery.from,
            "the base is older than the log"
        );
        let found_end = first + found.len() as u64;
        assert!(
            found_end >= end,
            "{} entries that were durable are gone",
            end - found_end
        );
        assert!(self.delivered.is_none_or(|position| position < found_end));
        for (expected, (position, bytes)) in (first..).zip(&found) {
            assert_eq!(expected, *position, "entries follow each other");
            let logged: Logged = postcard::from_bytes(bytes).expect("the log holds entries");
            if let Some(known) = self.entries.get(position) {
                assert_eq!(*known, logged, "the entry at {position} changed");
            } else {
                let index = (position - end) as usize;
                let offered = self.offered.get(index);
                assert_eq!(offered, Some(&logged), "nobody wrote what is at {position}");
                self.note(logged);
            }
        }
        self.offered.clear();
        for (pair, acked) in &self.acked {
            let logged = self.logged.get(pair).map_or(0, Vec::len) as u32;
            assert!(*acked <= logged, "{pair:?}: acked frames are lost");
        }
    }

    /// What an opening may say after a cut: commits may be forgotten, nothing else.
    pub fn check_report(&self, report: &OpenReport, log_incarnation: u32) {
        assert!(report.recovery.is_clean(), "{report:?}");
        assert_eq!(report.recovery.end, self.end(), "{report:?}");
        assert!(report.parts_lost.is_empty(), "{report:?}");
        assert!(!report.ids_begin_anew, "{report:?}");
        assert_eq!(report.entries_unreadable, 0, "{report:?}");
        let spool = &report.spool;
        let losses = spool.records_lost + spool.parts_damaged + spool.commits_uncounted;
        assert!(losses == 0 && !spool.recounted, "{report:?}");
        // Without a durable entry nothing was said under the old name, and a new one may be drawn.
        if let Some(known) = self.log_incarnation {
            assert_eq!(known, log_incarnation, "the log's name changed");
        }
    }

    /// Every frame of a pair is in the log once, in order, and acked.
    pub fn holds_all(&self, pair: &Pair, frames: u32) {
        let logged = self.logged.get(pair).map_or(&[][..], Vec::as_slice);
        assert!(
            logged.iter().copied().eq(1..=frames),
            "{pair:?}: {frames} frames were sent, the log has {logged:?}"
        );
        assert_eq!(self.acked.get(pair), Some(&frames), "{pair:?}");
    }
}
