//! Scripts: a gateway and its devices that write a log, entry by entry, on clocks set by hand.

use std::collections::BTreeMap;

use tidegate_gateway::checkpoint::{Checkpoint, Decision, KIND};
use tidegate_gateway::entry::{
    ENGINE, Entry, FrameEntry, GapEntry, LinkChange, LinkEntry, Logged, Verdict,
};
use tidegate_gateway::rules::{Rule, RuleSet};
use tidegate_gateway::time::Timestamp;
use tidegate_shared::batch::{self, BatchHead, BlockSource};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::catalog::{self, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, DeviceName, Incarnation, Mark};
use tidegate_shared::message::{
    CatalogPart, ClockSource, Counts, DeviceClock, Event, EventCode, TotalsHead, up, write,
    write_totals,
};

/// A second, in µs of uptime.
pub const S: u64 = 1_000_000;
/// What the gateway's clock says when the log begins; a whole number of hours.
pub const BEGIN_US: i64 = 1_767_225_600_000_000;
/// Longest frame that a script writes.
const FRAME_BYTES_MAX: usize = 8_192;
const INVARIANT: &str = "the script's names and messages are valid and fit their frames";

/// Samples of one sensor: its index, uptimes in µs and raw values, and which are bad.
pub struct Samples {
    /// Index in the catalog.
    pub sensor: u16,
    /// Uptime and raw value, ascending.
    pub values: Vec<(u64, i64)>,
    /// Places of the bad ones.
    pub bad: Vec<usize>,
}

/// Where a device stands.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its boot, and the sequence of its newest frame.
    pub mark: Mark,
    /// The catalog that its batches name.
    pub catalog: CatalogHash,
}

/// A log in the writing.
pub struct Script {
    /// The entries so far.
    pub log: Vec<Logged>,
    /// The gateway's clocks.
    pub at: Timestamp,
    /// The device that speaks.
    pub device: &'static str,
    start: u32,
    devices: BTreeMap<&'static str, Standing>,
}

impl Script {
    /// Before the first start.
    pub fn new() -> Self {
        Self {
            log: Vec::new(),
            at: Timestamp {
                mono_us: 0,
                wall_us: BEGIN_US,
                wall_trusted: true,
            },
            device: "",
            start: 0,
            devices: BTreeMap::new(),
        }
    }

    /// Writes an entry.
    pub fn push(&mut self, entry: Entry) {
        self.log.push(Logged {
            start: self.start,
            at: self.at,
            entry,
        });
    }

    /// Time passes on both clocks.
    pub fn pass(&mut self, us: u64) {
        self.at.mono_us += us;
        self.at.wall_us += us as i64;
    }

    /// The gateway starts (again).
    pub fn start(&mut self, log_incarnation: u32) {
        self.start += 1;
        self.at.mono_us = 0;
        self.push(Entry::Started {
            engine: ENGINE,
            log_incarnation,
            term: 100 + self.start,
            site: "golden".into(),
        });
    }

    /// Other rules are in force.
    pub fn rules(&mut self, rules: &[Rule]) {
        let set = RuleSet {
            rules: rules.to_vec(),
        };
        let text = serde_json::to_string(&set).expect(INVARIANT);
        self.push(Entry::Rules { text });
    }

    /// The audit log has so many entries.
    pub fn checkpoint(&mut self, entries: u64) {
        let note =
            format!("golden.0123456789abcdef.tidegate\n{entries}\ncm9vdA==\n\n— golden c2ln\n");
        let checkpoint = Checkpoint { entries, note };
        let decision = Decision::of(checkpoint, vec!["cloud".into()]);
        self.push(Entry::Decision {
            kind: KIND.to_owned(),
            text: decision.to_json(),
        });
    }

    /// The gateway's own subscription.
    pub fn subscribed(&mut self, subscribed: bool) {
        self.push(Entry::Link(LinkEntry {
            device: None,
            change: LinkChange::Subscribed(subscribed),
        }));
    }

    /// Another device speaks.
    pub fn speak(&mut self, device: &'static str) {
        self.device = device;
        self.devices.entry(device).or_insert(Standing {
            incarnation: Incarnation(0x1000 + device.len() as u32),
            mark: Mark {
                boot: 1,
                sequence: 0,
            },
            catalog: CatalogHash(0),
        });
    }

    /// Where the device stands that speaks.
    pub fn standing(&mut self) -> &mut Standing {
        self.devices.get_mut(self.device).expect("somebody speaks")
    }

    /// The device that speaks starts anew.
    pub fn boot(&mut self, incarnation: Option<u32>) {
        let standing = self.standing();
        standing.mark.sequence = 0;
        match incarnation {
            Some(incarnation) => {
                standing.incarnation = Incarnation(incarnation);
                standing.mark.boot = 1;
            }
            None => standing.mark.boot += 1,
        }
    }

    /// Its link says something.
    pub fn link(&mut self, change: LinkChange) {
        self.push(Entry::Link(LinkEntry {
            device: Some(DeviceName::try_from(self.device).expect(INVARIANT)),
            change,
        }));
    }

    /// Its Hello opens its boot.
    pub fn open(&mut self, has_clock: bool) {
        let Standing {
            incarnation, mark, ..
        } = *self.standing();
        self.link(LinkChange::Opened {
            incarnation,
            boot: mark.boot,
            hold_ms: 10_000,
            has_clock,
            firmware: "golden 1".into(),
        });
    }

    /// A live exchange shows the offset of its uptime.
    pub fn offset(&mut self, offset_us: i64) {
        let Standing {
            incarnation, mark, ..
        } = *self.standing();
        self.link(LinkChange::Offset {
            incarnation,
            boot: mark.boot,
            offset_us,
        });
    }

    /// Frames of it will never come; `lost_here` of the first ones were lost by the gateway.
    pub fn gap(&mut self, frames: u32, lost_here: u32) {
        let Standing {
            incarnation, mark, ..
        } = *self.standing();
        let device = DeviceName::try_from(self.device).expect(INVARIANT);
        self.push(Entry::Gap(GapEntry {
            device,
            incarnation,
            boot: mark.boot,
            from: mark.sequence + 1,
            through: mark.sequence + frames,
            lost_here: if lost_here == 0 {
                0
            } else {
                mark.sequence + lost_here
            },
        }));
        self.standing().mark.sequence += frames;
    }

    /// Its next frame.
    pub fn frame(&mut self, body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>) {
        let standing = self.standing();
        standing.mark.sequence += 1;
        let header = Header {
            key_id: 0,
            incarnation: standing.incarnation,
            mark: standing.mark,
        };
        let mut out = [0; FRAME_BYTES_MAX];
        let (bytes, _) = frame::write(&header, &mut out, body).expect(INVARIANT);
        self.raw(bytes.to_vec(), Verdict::Next);
    }

    /// A frame of it with any bytes.
    pub fn raw(&mut self, bytes: Vec<u8>, verdict: Verdict) {
        let device = DeviceName::try_from(self.device).expect(INVARIANT);
        self.push(Entry::Frame(FrameEntry {
            device,
            key_id: 0,
            verdict,
            bytes,
        }));
    }

    /// Names a catalog in the batches that follow, and gives its bytes.
    pub fn describe(&mut self, sensors: &[SensorInfo<'_>]) -> Vec<u8> {
        let mut out = [0; FRAME_BYTES_MAX];
        let bytes = catalog::write(sensors, &mut out).expect(INVARIANT).to_vec();
        self.standing().catalog = catalog::hash(&bytes);
        bytes
    }

    /// Its catalog, in parts.
    pub fn catalog(&mut self, bytes: &[u8], parts: u16) {
        let hash = catalog::hash(bytes);
        let length = bytes.len().div_ceil(usize::from(parts));
        for (part, bytes) in (0..).zip(bytes.chunks(length)) {
            let part = CatalogPart {
                hash,
                part,
                parts,
                bytes,
            };
            self.frame(|writer| write(writer, up::CATALOG, &part));
        }
    }

    /// Its own clock reads this at an uptime.
    pub fn clock(&mut self, uptime_us: u64, utc_us: i64) {
        let clock = DeviceClock {
            uptime_us,
            utc_us,
            error_us: 0,
            source: ClockSource::Trace,
        };
        self.frame(|writer| write(writer, up::CLOCK, &clock));
    }

    /// Something happened on it.
    pub fn event(&mut self, code: EventCode) {
        let event = Event { uptime_us: 0, code };
        self.frame(|writer| write(writer, up::EVENT, &event));
    }

    /// Its counts.
    pub fn totals(&mut self, counts: &[Counts]) {
        let head = TotalsHead {
            catalog: self.standing().catalog,
            uptime_us: 0,
            first: 0,
            count: counts.len() as u16,
        };
        self.frame(|writer| write_totals(writer, &head, counts.iter().copied()));
    }

    /// A batch of it, complete until an uptime.
    pub fn batch(&mut self, complete_until_us: u64, blocks: &[Samples]) {
        let times = blocks.iter().flat_map(|block| &block.values);
        let base_us = times.map(|(at, _)| *at).min().unwrap_or(complete_until_us);
        let columns: Vec<(Vec<u32>, Vec<i64>, BadSet)> = blocks
            .iter()
            .map(|block| {
                let offsets = block.values.iter().map(|(at, _)| (at - base_us) as u32);
                let raws = block.values.iter().map(|(_, raw)| *raw);
                let mut bad = BadSet::default();
                for index in &block.bad {
                    bad.insert(*index);
                }
                (offsets.collect(), raws.collect(), bad)
            })
            .collect();
        let head = BatchHead {
            catalog: self.standing().catalog,
            base_us,
            complete_until_us,
        };
        let sources = blocks.iter().zip(&columns);
        let sources = sources.map(|(block, (offsets, raws, bad))| BlockSource {
            sensor: block.sensor,
            first_index: 0,
            offsets_us: offsets,
            raws,
            bad: *bad,
        });
        self.frame(|writer| batch::write(writer, &head, sources));
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}
