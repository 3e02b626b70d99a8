//! Player: one device, from what happens to it to the entries that the log would hold of it.
//!
//! It does what the device library and the session do, as far as the pipeline can tell: samples
//! gather in a batch that closes after `hold`, at 60 samples of a sensor, or before the device's
//! time or power changes; frames wait while the link is down and come in order when it is back;
//! every boot is opened before its frames.

use std::collections::BTreeMap;

use tidegate_shared::batch::{self, BatchHead, BlockSource};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::catalog::{self, Scale, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};
use tidegate_shared::limits::FRAME_BYTES_MAX;
use tidegate_shared::message::{
    CatalogPart, ClockSource, DeviceClock, Event, EventCode, up, write,
};

use super::gateway::absences;
use super::timeline::{Happening, place};
use super::{Device, Test};
use crate::entry::{Entry, FrameEntry, LinkChange, LinkEntry, Verdict};

/// Samples of one sensor at which a batch closes, as on a device.
const BATCH_SENSOR_SAMPLES: usize = 60;
/// Samples of all sensors at which it closes, so that it fits the largest frame.
const BATCH_SAMPLES: usize = 400;

/// What a device gave.
#[derive(Debug)]
pub(super) struct Played {
    /// Entries with their times in µs, in order.
    pub entries: Vec<(i64, Entry)>,
    /// Samples whose time fell where the device was off.
    pub not_taken: u64,
}

/// Plays a device's timeline.
pub(super) fn play(device: &Device, number: u32, test: &Test) -> Played {
    let mut player = Player {
        device,
        begin_utc_us: test.begin_utc_us,
        incarnation: Incarnation(number + 1),
        entries: Vec::new(),
        waiting: Vec::new(),
        downs: 0,
        is_gateway_gone: false,
        is_off: true,
        mark: Mark::default(),
        unopened: Vec::new(),
        began_us: 0,
        error_us: 0,
        catalog: CatalogHash(0),
        batch: Columns::new(),
        batch_began_us: None,
        complete_us: 0,
        late: BTreeMap::new(),
        late_order: 0,
        not_taken: 0,
    };
    player.begin();
    let mut happenings = absences(&test.gateway);
    happenings.extend(place(&device.steps));
    happenings.sort_by_key(|(at_us, _)| *at_us);
    for (at_us, happening) in happenings {
        player.pass(at_us);
        player.happen(at_us, happening);
    }
    player.pass(i64::MAX);
    Played {
        entries: player.entries,
        not_taken: player.not_taken,
    }
}

/// Samples by sensor: uptime in µs and raw value, if it is not bad.
type Columns = BTreeMap<u16, Vec<(u64, Option<i64>)>>;

struct Player<'d> {
    device: &'d Device,
    begin_utc_us: i64,
    incarnation: Incarnation,
    entries: Vec<(i64, Entry)>,
    /// Frames that wait for the link.
    waiting: Vec<Entry>,
    /// Causes for which the link is down.
    downs: u32,
    /// Whether the gateway cannot be reached.
    is_gateway_gone: bool,
    is_off: bool,
    mark: Mark,
    /// Boots that no Hello has opened.
    unopened: Vec<u32>,
    /// When the boot began.
    began_us: i64,
    /// How far the device's time is ahead of virtual time.
    error_us: i64,
    catalog: CatalogHash,
    batch: Columns,
    batch_began_us: Option<i64>,
    /// Uptime up to which the newest batch said to be complete.
    complete_us: u64,
    /// Samples that arrive on their own, by (arrival, order): sensor, uptime, raw value.
    late: BTreeMap<(i64, u64), (u16, u64, Option<i64>)>,
    late_order: u64,
    not_taken: u64,
}

impl Player<'_> {
    /// The first boot, with the catalog as its first frame.
    fn begin(&mut self) {
        self.start(0);
        let sensors: Vec<SensorInfo<'_>> = self.device.sensors.iter().map(describe).collect();
        let mut bytes = vec![0; FRAME_BYTES_MAX];
        let Ok(bytes) = catalog::write(&sensors, &mut bytes) else {
            return;
        };
        self.catalog = catalog::hash(bytes);
        let part = CatalogPart {
            hash: self.catalog,
            part: 0,
            parts: 1,
            bytes,
        };
        self.frame(0, |writer| write(writer, up::CATALOG, &part));
    }

    /// Time passes up to a moment: batches close and late samples arrive.
    fn pass(&mut self, until_us: i64) {
        loop {
            let hold_us = self.device.hold_us;
            let close_us = self.batch_began_us.map(|began_us| began_us + hold_us);
            let arrive_us = self.late.keys().next().map(|(at_us, _)| *at_us);
            let next_us = close_us.into_iter().chain(arrive_us).min();
            let Some(next_us) = next_us.filter(|next_us| *next_us <= until_us) else {
                return;
            };
            if close_us == Some(next_us) {
                self.close(next_us);
            } else {
                self.arrive_late(next_us, next_us);
            }
        }
    }

    fn happen(&mut self, at_us: i64, happening: Happening) {
        match happening {
            Happening::Sample { .. } if self.is_off => self.not_taken += 1,
            Happening::Sample {
                sensor,
                raw,
                late_us,
            } => {
                let uptime_us = self.uptime_us(at_us);
                match late_us {
                    Some(late_us) => {
                        self.late_order += 1;
                        let arrival = (at_us + late_us, self.late_order);
                        self.late.insert(arrival, (sensor, uptime_us, raw));
                    }
                    None => self.gather(at_us, sensor, uptime_us, raw),
                }
            }
            Happening::GatewayGone => self.is_gateway_gone = true,
            Happening::GatewayBack => self.meet(at_us),
            Happening::Down => self.go_down(at_us),
            Happening::Up => self.come_up(at_us),
            Happening::Off { planned } => self.go_off(at_us, planned),
            Happening::On if self.is_off => {
                self.start(at_us);
                self.come_up(at_us);
            }
            Happening::On => {}
            Happening::Clock(by_us) => {
                self.close(at_us);
                self.error_us += by_us;
                self.tell_time(at_us);
            }
        }
    }

    fn gather(&mut self, at_us: i64, sensor: u16, uptime_us: u64, raw: Option<i64>) {
        self.batch_began_us.get_or_insert(at_us);
        let column = self.batch.entry(sensor).or_default();
        column.push((uptime_us, raw));
        let is_full = column.len() >= BATCH_SENSOR_SAMPLES;
        let samples: usize = self.batch.values().map(Vec::len).sum();
        if is_full || samples >= BATCH_SAMPLES {
            self.close(at_us);
        }
    }

    /// Closes the batch: the device's stream is complete until now.
    fn close(&mut self, at_us: i64) {
        if self.batch_began_us.take().is_none() {
            return;
        }
        self.complete_us = self.uptime_us(at_us);
        let columns = std::mem::take(&mut self.batch);
        self.send(at_us, &columns);
    }

    /// The samples that are due by then arrive, and say nothing of what else is complete.
    fn arrive_late(&mut self, at_us: i64, due_us: i64) {
        let later = self.late.split_off(&(due_us, u64::MAX));
        for (sensor, uptime_us, raw) in std::mem::replace(&mut self.late, later).into_values() {
            self.send(at_us, &Columns::from([(sensor, vec![(uptime_us, raw)])]));
        }
    }

    fn send(&mut self, at_us: i64, columns: &Columns) {
        let firsts = columns.values().filter_map(|column| column.first());
        let base_us = firsts.map(|(uptime_us, _)| *uptime_us).min().unwrap_or(0);
        let split: Vec<(u16, Vec<u32>, Vec<i64>, BadSet)> = columns
            .iter()
            .map(|(sensor, column)| {
                let offsets = column.iter().map(|(at, _)| (at - base_us) as u32);
                let raws = column.iter().map(|(_, raw)| raw.unwrap_or_default());
                let mut bad = BadSet::default();
                for (index, _) in column
                    .iter()
                    .enumerate()
                    .filter(|(_, (_, raw))| raw.is_none())
                {
                    bad.insert(index);
                }
                (*sensor, offsets.collect(), raws.collect(), bad)
            })
            .collect();
        let head = BatchHead {
            catalog: self.catalog,
            base_us,
            complete_until_us: self.complete_us,
        };
        let blocks = split
            .iter()
            .map(|(sensor, offsets_us, raws, bad)| BlockSource {
                sensor: *sensor,
                first_index: 0,
                offsets_us,
                raws,
                bad: *bad,
            });
        self.frame(at_us, |writer| batch::write(writer, &head, blocks));
    }

    /// The device goes off; what it held becomes frames before.
    fn go_off(&mut self, at_us: i64, planned: bool) {
        if self.is_off {
            return;
        }
        self.close(at_us);
        self.arrive_late(at_us, i64::MAX);
        if planned {
            let event = Event {
                uptime_us: self.uptime_us(at_us),
                code: EventCode::Ended,
            };
            self.frame(at_us, |writer| write(writer, up::EVENT, &event));
        }
        self.go_down(at_us);
        self.is_off = true;
    }

    /// The next boot begins; it is opened when the link is up.
    fn start(&mut self, at_us: i64) {
        self.is_off = false;
        self.mark = Mark {
            boot: self.mark.boot + 1,
            sequence: 0,
        };
        self.began_us = at_us;
        self.complete_us = 0;
        if self.is_reached() {
            self.open(at_us, self.mark.boot);
        } else {
            self.unopened.push(self.mark.boot);
        }
        self.tell_time(at_us);
    }

    fn go_down(&mut self, at_us: i64) {
        self.downs += 1;
        if self.downs == 1 && !self.is_gateway_gone {
            self.link(at_us, LinkChange::Up(false));
        }
    }

    /// The gateway is back: it hears how the link is, and what waits comes.
    fn meet(&mut self, at_us: i64) {
        self.is_gateway_gone = false;
        if self.downs == 0 {
            self.bring(at_us);
        } else {
            self.link(at_us, LinkChange::Up(false));
        }
    }

    /// Whether the link to the gateway is up.
    fn is_reached(&self) -> bool {
        self.downs == 0 && !self.is_gateway_gone
    }

    /// A cause for the link to be down is gone; with the last one comes what waits.
    fn come_up(&mut self, at_us: i64) {
        self.downs = self.downs.saturating_sub(1);
        if self.is_reached() {
            self.bring(at_us);
        }
    }

    fn bring(&mut self, at_us: i64) {
        let unopened = std::mem::take(&mut self.unopened);
        if unopened.is_empty() {
            self.link(at_us, LinkChange::Up(true));
        }
        for boot in unopened {
            self.open(at_us, boot);
        }
        if !self.device.has_clock {
            self.tell_time(at_us);
        }
        let waiting = std::mem::take(&mut self.waiting);
        let come = waiting.into_iter().map(|entry| (at_us, entry));
        self.entries.extend(come);
    }

    fn open(&mut self, at_us: i64, boot: u32) {
        self.link(
            at_us,
            LinkChange::Opened {
                incarnation: self.incarnation,
                boot,
                hold_ms: (self.device.hold_us / 1_000) as u32,
                has_clock: self.device.has_clock,
                firmware: "rehearsal".to_owned(),
            },
        );
    }

    /// The device says what time it is, or the gateway learns it from a live exchange.
    fn tell_time(&mut self, at_us: i64) {
        let utc_us = self.begin_utc_us + at_us + self.error_us;
        let uptime_us = self.uptime_us(at_us);
        if self.device.has_clock {
            let clock = DeviceClock {
                uptime_us,
                utc_us,
                error_us: 0,
                source: ClockSource::Rtc,
            };
            self.frame(at_us, |writer| write(writer, up::CLOCK, &clock));
        } else if self.is_reached() {
            self.link(
                at_us,
                LinkChange::Offset {
                    incarnation: self.incarnation,
                    boot: self.mark.boot,
                    offset_us: utc_us.saturating_sub_unsigned(uptime_us),
                },
            );
        }
    }

    fn uptime_us(&self, at_us: i64) -> u64 {
        at_us.saturating_sub(self.began_us).max(0) as u64
    }

    fn link(&mut self, at_us: i64, change: LinkChange) {
        let entry = Entry::Link(LinkEntry {
            device: Some(self.device.name.clone()),
            change,
        });
        self.entries.push((at_us, entry));
    }

    /// Makes the boot's next frame, which waits while the link is down.
    fn frame(&mut self, at_us: i64, body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>) {
        self.mark.sequence += 1;
        let header = Header {
            key_id: 0,
            incarnation: self.incarnation,
            mark: self.mark,
        };
        let mut out = vec![0; FRAME_BYTES_MAX];
        let (bytes, _) = frame::write(&header, &mut out, body)
            .expect("a batch of at most 400 samples and a catalog of 64 sensors fit a frame");
        let entry = Entry::Frame(FrameEntry {
            device: self.device.name.clone(),
            key_id: 0,
            verdict: Verdict::Next,
            bytes: bytes.to_vec(),
        });
        if self.is_reached() {
            self.entries.push((at_us, entry));
        } else {
            self.waiting.push(entry);
        }
    }
}

fn describe(sensor: &super::Sensor) -> SensorInfo<'_> {
    SensorInfo {
        id: sensor.name.clone(),
        unit: &sensor.unit,
        kind: sensor.kind,
        scale: Scale::decimal(-(sensor.decimals as i8)),
        urgent: false,
        tags: sensor.tags.iter().map(String::as_str).collect(),
    }
}
