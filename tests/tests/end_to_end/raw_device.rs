//! A device made of bare frames, for saying what the firmware library never would.

use tidegate_shared::batch::{self, BatchHead, BlockSource};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::catalog::{self, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};
use tidegate_shared::limits::{FRAME_BYTES_MAX, PROTOCOL};
use tidegate_shared::message::{
    self, CatalogPart, ClockSource, DeviceClock, Down, Hello, Progress, Status, up,
};

use crate::wire::Wire;

/// A second in µs.
const SECOND_US: i64 = 1_000_000;

/// A device with one sensor, `level`, and a clock that it believes in.
pub struct RawDevice<'w> {
    /// None of a device that somebody else speaks for.
    wire: Option<&'w Wire>,
    name: String,
    incarnation: Incarnation,
    /// UTC at uptime zero.
    began_us: i64,
    catalog: Vec<u8>,
}

impl<'w> RawDevice<'w> {
    /// A device whose uptime began at `began_s` seconds since 1970-01-01.
    pub fn new(wire: &'w Wire, name: &str, incarnation: u32, began_s: i64) -> Self {
        Self {
            wire: Some(wire),
            ..Self::unconnected(name, incarnation, began_s)
        }
    }

    /// One that makes frames, and leaves it to others to send them.
    pub fn unconnected(name: &str, incarnation: u32, began_s: i64) -> Self {
        let level = SensorInfo {
            id: "level".try_into().expect("level is a name"),
            unit: "m",
            kind: catalog::Kind::Gauge,
            scale: catalog::Scale::decimal(-2),
            urgent: false,
            tags: heapless::Vec::new(),
        };
        let mut buffer = [0; 256];
        let catalog = catalog::write(&[level], &mut buffer).expect("one sensor fits");
        Self {
            wire: None,
            name: name.to_owned(),
            incarnation: Incarnation(incarnation),
            began_us: began_s * SECOND_US,
            catalog: catalog.to_vec(),
        }
    }

    /// Its incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// A frame of this device; sequence 0 is unsequenced.
    pub fn frame(
        &self,
        sequence: u32,
        body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>,
    ) -> Vec<u8> {
        let header = Header {
            key_id: 0,
            incarnation: self.incarnation,
            mark: Mark { boot: 1, sequence },
        };
        let mut buffer = [0; FRAME_BYTES_MAX];
        let (bytes, _) = frame::write(&header, &mut buffer, body).expect("the frame fits");
        bytes.to_vec()
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: Vec<u8>) {
        self.wire().publish(&format!("{}/up", self.name), bytes);
    }

    /// Says online and Hello.
    pub fn greet(&self) {
        let status = self.frame(0, |writer| {
            message::write(writer, up::STATUS, &Status { online: true })
        });
        self.wire()
            .publish(&format!("{}/status", self.name), status);
        self.send(self.hello());
    }

    /// Says Hello and waits for Welcome.
    pub fn enter(&self) {
        self.greet();
        self.wire().answer(&self.name, "Welcome", |down| {
            matches!(down, Down::Welcome(_)).then_some(())
        });
    }

    /// A Hello frame.
    pub fn hello(&self) -> Vec<u8> {
        let hello = Hello {
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            firmware: heapless::String::try_from("raw 1").expect("short enough"),
            catalog: self.catalog_hash(),
            hold_ms: 1_000,
            frame_bytes_max: 1_024,
            progress: Progress {
                floor: Mark {
                    boot: 1,
                    sequence: 1,
                },
                uptime_us: 1,
                depth: 1,
                clock: Some(self.clock()),
                ..Progress::default()
            },
            ..Hello::default()
        };
        self.frame(0, |writer| message::write(writer, up::HELLO, &hello))
    }

    /// The catalog as a frame.
    pub fn catalog(&self, sequence: u32) -> Vec<u8> {
        let part = CatalogPart {
            hash: self.catalog_hash(),
            part: 0,
            parts: 1,
            bytes: &self.catalog,
        };
        self.frame(sequence, |writer| {
            message::write(writer, up::CATALOG, &part)
        })
    }

    /// The clock as a stored frame.
    pub fn clock_frame(&self, sequence: u32) -> Vec<u8> {
        let clock = self.clock();
        self.frame(sequence, |writer| message::write(writer, up::CLOCK, &clock))
    }

    /// A batch of one sensor, a sample a second from uptime `from_s` on; `bad` marks samples.
    pub fn batch(
        &self,
        sequence: u32,
        sensor: u16,
        from_s: u32,
        raws: &[i64],
        bad: &[usize],
    ) -> Vec<u8> {
        let base_us = u64::from(from_s) * SECOND_US.unsigned_abs();
        let offsets_us: Vec<u32> = (0..raws.len() as u32).map(|at| at * 1_000_000).collect();
        let mut marked = BadSet::default();
        for at in bad {
            marked.insert(*at);
        }
        let head = BatchHead {
            catalog: self.catalog_hash(),
            base_us,
            complete_until_us: base_us + u64::from(offsets_us.last().copied().unwrap_or(0)),
        };
        let block = BlockSource {
            sensor,
            first_index: from_s as u16,
            offsets_us: &offsets_us,
            raws,
            bad: marked,
        };
        self.frame(sequence, |writer| {
            batch::write(writer, &head, std::iter::once(block))
        })
    }

    /// Waits until a sequence is acked.
    pub fn wait_acked(&self, sequence: u32) {
        let what = format!("Ack through {sequence}");
        self.wire().answer(&self.name, &what, |down| match down {
            Down::Ack(ack) if ack.through >= sequence => Some(()),
            _ => None,
        });
    }

    fn wire(&self) -> &Wire {
        self.wire.expect("it was made with a wire")
    }

    fn catalog_hash(&self) -> CatalogHash {
        catalog::hash(&self.catalog)
    }

    fn clock(&self) -> DeviceClock {
        DeviceClock {
            uptime_us: 1,
            utc_us: self.began_us + 1,
            error_us: 1_000,
            source: ClockSource::Rtc,
        }
    }
}
