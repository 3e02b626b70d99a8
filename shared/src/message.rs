//! Messages: what a frame's body says. The number of a message is a varint before its fields.
//!
//! | way | number | message | sequenced |
//! |---|---|---|---|
//! | up | 1 | [`Hello`] | no |
//! | up | 2 | [`Progress`] | no |
//! | up | 3 | [`CatalogPart`] | yes |
//! | up | 4 | batch ([`crate::batch`]) | yes |
//! | up | 5 | [`TotalsHead`] and its counts | yes |
//! | up | 6 | [`DeviceClock`] | yes |
//! | up | 7 | [`Event`] | yes |
//! | up | 8 | report: see [`crate::report`] | yes |
//! | up | 9 | [`Status`], on the status topic | no |
//! | down | 1 | [`Welcome`] | no |
//! | down | 2 | [`Ack`] | no |
//! | down | 3 | [`Refused`] | no |
//! | down | 4 | [`CatalogWanted`] | no |
//! | down | 5, 6, 7 | config, command, update, opaque | no |
//! | down | 8 | [`Presence`], on the gateway topic | no |

use serde::{Deserialize, Serialize};

use crate::body::{BodyError, BodyFault, Reader, Writer};
use crate::ids::{CatalogHash, Check, Incarnation, Mark, Term};
use crate::limits::SENSORS_MAX;

/// Why a device started.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResetReason {
    /// The device cannot tell.
    #[default]
    Unknown,
    /// Power came (back).
    PowerOn,
    /// Asked for by software.
    Software,
    /// The watchdog fired.
    Watchdog,
    /// The supply voltage sagged.
    BrownOut,
    /// A panic; its message travels in an [`Event`].
    Panic,
    /// An update was installed.
    Update,
}

/// Where a device's clock comes from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClockSource {
    /// Not said.
    #[default]
    Unknown,
    /// A battery-backed clock.
    Rtc,
    /// Network time.
    Sntp,
    /// The time column of a replayed trace.
    Trace,
}

/// A pair of readings of a device's uptime and its UTC clock. Message 6, and part of Progress.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceClock {
    /// Uptime in µs, the one that samples are timed by.
    pub uptime_us: u64,
    /// UTC at that uptime, µs since 1970-01-01.
    pub utc_us: i64,
    /// Bound of the error in µs.
    pub error_us: u32,
    /// Where it comes from.
    pub source: ClockSource,
}

/// What changes between sends. Message 2; the newest wins.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Oldest frame still held; the next to be sent when nothing is held.
    pub floor: Mark,
    /// Highest frame acknowledged by a gateway; zeros before the first ack.
    pub acked: Mark,
    /// Uptime in µs when this was sent.
    pub uptime_us: u64,
    /// Frames held, this incarnation.
    pub depth: u32,
    /// The device's clock if it has one.
    pub clock: Option<DeviceClock>,
}

/// A device's first word in every session. Message 1.
///
/// Progress stands last: what either of the two gains later is added at the end of Progress.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest protocol version spoken.
    pub protocol_min: u16,
    /// Highest protocol version spoken.
    pub protocol_max: u16,
    /// Firmware name and version.
    pub firmware: heapless::String<32>,
    /// Why the device started.
    pub reset: ResetReason,
    /// The catalog in use.
    pub catalog: CatalogHash,
    /// Version of the configuration in use; 0 for the built-in one.
    pub config_version: u32,
    /// Longest time a sample waits on the device before its batch closes, in ms.
    pub hold_ms: u32,
    /// Largest frame the device can take, in bytes.
    pub frame_bytes_max: u16,
    /// What changes between sends.
    pub progress: Progress,
}

/// A part of a catalog's bytes. Message 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogPart<'a> {
    /// CRC-32C of the whole catalog.
    pub hash: CatalogHash,
    /// Which part, from 0.
    pub part: u16,
    /// Of how many.
    pub parts: u16,
    /// The part's bytes.
    pub bytes: &'a [u8],
}

/// Opens a Totals message (5): for the sensors `first ..` follow one [`Counts`] each, to the
/// number of `count`. All are cumulative since the boot began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsHead {
    /// The catalog whose sensor indices are meant.
    pub catalog: CatalogHash,
    /// Uptime in µs when the counts were read.
    pub uptime_us: u64,
    /// Index of the first sensor counted here.
    pub first: u16,
    /// How many sensors.
    pub count: u16,
}

impl TotalsHead {
    /// Index behind the last sensor counted.
    fn end(&self) -> usize {
        usize::from(self.first) + usize::from(self.count)
    }
}

/// What became of one sensor's samples on the device since the boot began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Samples taken, failed ones included.
    pub taken: u64,
    /// Held back by the gate on purpose.
    pub suppressed: u64,
    /// Readings that failed and gave no value.
    pub failed: u64,
    /// Dropped with frames that the outbox had to evict, or that fitted no frame.
    pub evicted: u64,
}

/// A Totals message, its counts read one by one.
#[derive(Debug, Clone)]
pub struct Totals<'a> {
    /// Catalog, time and range.
    pub head: TotalsHead,
    reader: Reader<'a>,
}

impl Totals<'_> {
    /// The counts in sensor order, starting at `head.first`; an error is the last.
    pub fn counts(&self) -> impl Iterator<Item = Result<Counts, BodyError>> + '_ {
        let mut reader = self.reader.clone();
        let mut left = self.head.count;
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let counts = read_counts(&mut reader);
            if counts.is_err() {
                left = 0;
            }
            Some(counts)
        })
    }
}

fn read_counts(reader: &mut Reader<'_>) -> Result<Counts, BodyError> {
    Ok(Counts {
        taken: reader.varint()?,
        suppressed: reader.varint()?,
        failed: reader.varint()?,
        evicted: reader.varint()?,
    })
}

/// What happened on a device.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventCode {
    /// Not said: what a body without a code reads as.
    #[default]
    Unknown,
    /// The last frame of a planned stop, after its Totals.
    Ended,
    /// The gateway asked for a catalog that the device no longer has.
    NoSuchCatalog {
        /// The catalog asked for.
        hash: CatalogHash,
    },
    /// A sensor began to fail.
    SensorFault {
        /// Index in the current catalog.
        sensor: u16,
        /// The board's own code, listed in its README.
        code: u16,
    },
    /// A sensor works again.
    SensorCleared {
        /// Index in the current catalog.
        sensor: u16,
    },
    /// The previous boot ended in a panic.
    Panic {
        /// Its message, cut to fit.
        message: heapless::String<64>,
    },
}

/// An event. Message 7.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Uptime in µs when it happened.
    pub uptime_us: u64,
    /// What happened.
    pub code: EventCode,
}

/// Whether a device is online, retained on its status topic and its will. Message 9.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Online, or (by will or planned stop) offline.
    pub online: bool,
}

/// A message from a device.
#[derive(Debug, Clone)]
pub enum Up<'a> {
    /// First word in a session.
    Hello(Hello),
    /// What changes between sends.
    Progress(Progress),
    /// Part of the sensors' description.
    Catalog(CatalogPart<'a>),
    /// Samples: the bytes behind the message number, for [`crate::batch::BatchReader`].
    Batch(&'a [u8]),
    /// Counts per sensor.
    Totals(Totals<'a>),
    /// A device's clock.
    Clock(DeviceClock),
    /// Something happened.
    Event(Event),
    /// What a device reports about itself: the bytes for [`crate::report::Report`].
    Report(&'a [u8]),
    /// Online or offline.
    Status(Status),
}

/// Numbers of the up messages.
pub mod up {
    #![allow(missing_docs, reason = "each constant is a row of the module's table")]
    pub const HELLO: u32 = 1;
    pub const PROGRESS: u32 = 2;
    pub const CATALOG: u32 = 3;
    pub const BATCH: u32 = 4;
    pub const TOTALS: u32 = 5;
    pub const CLOCK: u32 = 6;
    pub const EVENT: u32 = 7;
    pub const REPORT: u32 = 8;
    pub const STATUS: u32 = 9;
}

/// Numbers of the down messages.
pub mod down {
    #![allow(missing_docs, reason = "each constant is a row of the module's table")]
    pub const WELCOME: u32 = 1;
    pub const ACK: u32 = 2;
    pub const REFUSED: u32 = 3;
    pub const CATALOG_WANTED: u32 = 4;
    pub const CONFIG: u32 = 5;
    pub const COMMAND: u32 = 6;
    pub const UPDATE: u32 = 7;
    pub const PRESENCE: u32 = 8;
}

impl<'a> Up<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        let number = reader.varint_u32()?;
        Ok(match number {
            up::HELLO => Self::Hello(reader.value()?),
            up::PROGRESS => Self::Progress(reader.value()?),
            up::CATALOG => Self::Catalog(reader.value()?),
            up::BATCH => Self::Batch(reader.rest()),
            up::TOTALS => {
                let limit = reader.error(BodyFault::Limit);
                let head: TotalsHead = reader.value()?;
                if head.end() > SENSORS_MAX {
                    return Err(limit);
                }
                Self::Totals(Totals { head, reader })
            }
            up::CLOCK => Self::Clock(reader.value()?),
            up::EVENT => Self::Event(reader.value()?),
            up::REPORT => Self::Report(reader.value()?),
            up::STATUS => Self::Status(reader.value()?),
            number => {
                return Err(BodyError {
                    at: 0,
                    fault: BodyFault::Message { number },
                });
            }
        })
    }
}

/// Writes a message of fixed fields: its number, then its value. For `Up` messages but batch
/// and totals, and for all of `Down`.
pub fn write<T: Serialize + ?Sized>(
    writer: &mut Writer<'_>,
    number: u32,
    value: &T,
) -> Result<(), BodyError> {
    writer.varint(number.into())?;
    writer.value(value)
}

/// Writes a Totals message; as many `counts` as the head says.
pub fn write_totals(
    writer: &mut Writer<'_>,
    head: &TotalsHead,
    counts: impl IntoIterator<Item = Counts>,
) -> Result<(), BodyError> {
    if head.end() > SENSORS_MAX {
        return Err(writer.error(BodyFault::Limit));
    }
    write(writer, up::TOTALS, head)?;
    let mut left = head.count;
    for one in counts {
        left = left.checked_sub(1).ok_or(writer.error(BodyFault::Value))?;
        for count in [one.taken, one.suppressed, one.failed, one.evicted] {
            writer.varint(count)?;
        }
    }
    if left == 0 {
        Ok(())
    } else {
        Err(writer.error(BodyFault::Value))
    }
}

/// The gateway's answer to a Hello. Message 1.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Lowest protocol version spoken.
    pub protocol_min: u16,
    /// Highest protocol version spoken.
    pub protocol_max: u16,
    /// This start of the gateway.
    pub term: Term,
    /// Largest frame the gateway takes, in bytes.
    pub frame_bytes_max: u16,
    /// Frames that may be in flight, at most 64.
    pub window: u16,
}

/// What is on the gateway's disk. Message 2.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The incarnation meant.
    pub incarnation: Incarnation,
    /// The boot meant.
    pub boot: u32,
    /// Every sequence up to and including this one is durable.
    pub through: u32,
    /// Check of the frame `through`; 0 when it lies in a gap or before the first.
    pub check: Check,
    /// Frames that may be in flight, at most 64.
    pub window: u16,
    /// Wait this long before sending more, in ms.
    pub retry_after_ms: u32,
    /// The gateway's clock, µs since 1970-01-01; 0 while it is not trusted.
    pub utc_us: i64,
    /// This start of the gateway.
    pub term: Term,
}

/// Why a frame or a device is refused.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusedReason {
    /// Come back later.
    #[default]
    Retry,
    /// More devices than `devices_max`.
    DeviceLimit,
    /// Another gateway owns the site.
    Standby,
    /// No common protocol version.
    Protocol,
    /// The key is not known or not valid.
    Key,
    /// The identity is known with other content: draw a new incarnation.
    Conflict,
}

/// A frame (or with sequence 0 a device) is not taken. Message 3.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The incarnation meant.
    pub incarnation: Incarnation,
    /// The boot meant.
    pub boot: u32,
    /// The frame meant; 0 for the whole device.
    pub sequence: u32,
    /// Check of the frame meant; 0 for the whole device.
    pub check: Check,
    /// Why.
    pub reason: RefusedReason,
    /// Come back after this long, in ms.
    pub retry_after_ms: u32,
    /// This start of the gateway.
    pub term: Term,
}

/// The gateway holds batches of a catalog that it does not have. Message 4.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogWanted {
    /// The catalog asked for.
    pub hash: CatalogHash,
}

/// Whether the site's gateway is online, retained on its topic and its will. Message 8.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Drawn with the data directory.
    pub gateway: u64,
    /// This start of the gateway.
    pub term: Term,
    /// Starts of this gateway, counted from 1.
    pub start: u32,
    /// Online, or (by will or clean stop) offline.
    pub online: bool,
}

/// A message to a device, or on the gateway topic to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down<'a> {
    /// Answer to Hello.
    Welcome(Welcome),
    /// What is durable.
    Ack(Ack),
    /// What is not taken.
    Refused(Refused),
    /// A catalog is missing.
    CatalogWanted(CatalogWanted),
    /// Opaque until built.
    Config(&'a [u8]),
    /// Opaque until built.
    Command(&'a [u8]),
    /// Opaque until built.
    Update(&'a [u8]),
    /// The gateway's presence.
    Presence(Presence),
}

impl<'a> Down<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        let number = reader.varint_u32()?;
        Ok(match number {
            down::WELCOME => Self::Welcome(reader.value()?),
            down::ACK => Self::Ack(reader.value()?),
            down::REFUSED => Self::Refused(reader.value()?),
            down::CATALOG_WANTED => Self::CatalogWanted(reader.value()?),
            down::CONFIG => Self::Config(reader.value()?),
            down::COMMAND => Self::Command(reader.value()?),
            down::UPDATE => Self::Update(reader.value()?),
            down::PRESENCE => Self::Presence(reader.value()?),
            number => {
                return Err(BodyError {
                    at: 0,
                    fault: BodyFault::Message { number },
                });
            }
        })
    }

    /// Writes the message's body.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), BodyError> {
        match self {
            Self::Welcome(message) => write(writer, down::WELCOME, message),
            Self::Ack(message) => write(writer, down::ACK, message),
            Self::Refused(message) => write(writer, down::REFUSED, message),
            Self::CatalogWanted(message) => write(writer, down::CATALOG_WANTED, message),
            Self::Config(bytes) => write(writer, down::CONFIG, bytes),
            Self::Command(bytes) => write(writer, down::COMMAND, bytes),
            Self::Update(bytes) => write(writer, down::UPDATE, bytes),
            Self::Presence(message) => write(writer, down::PRESENCE, message),
        }
    }
}
