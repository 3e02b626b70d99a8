//! Catalogs: a device's description of its sensors, known by the CRC-32C of its bytes.
//!
//! ```text
//! catalog = count varint, then per sensor: length varint, postcard SensorInfo of that length
//! ```
//! Each sensor has a length of its own, so that a sensor's description may grow at its end.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::body::{BodyError, BodyFault, Reader, Writer, read_value};
use crate::frame::crc32c;
use crate::ids::{CatalogHash, SensorName};
use crate::limits::{EXPONENT_MAX, SENSORS_MAX, TAG_BYTES_MAX, TAGS_MAX, UNIT_BYTES_MAX};

/// What a sensor's numbers mean.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A measured quantity: temperature, pressure.
    #[default]
    Gauge,
    /// A count that only grows, but for resets: litres, revolutions.
    Counter,
    /// One of several numbered states.
    State,
    /// 0 or 1.
    Bool,
}

/// How a raw integer becomes a value: `(raw × step + offset) × 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scale {
    /// Factor of the raw integer; at least 1.
    pub step: u32,
    /// Added after the factor.
    pub offset: i64,
    /// Decimal exponent, -18 to 18.
    pub exponent: i8,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            step: 1,
            offset: 0,
            exponent: 0,
        }
    }
}

impl Scale {
    /// A decimal resolution: raw counts units of `10^exponent`.
    pub const fn decimal(exponent: i8) -> Self {
        Self {
            step: 1,
            offset: 0,
            exponent,
        }
    }

    /// `raw × step + offset`: the value in units of `10^exponent`, exactly.
    pub const fn mantissa(&self, raw: i64) -> i128 {
        raw as i128 * self.step as i128 + self.offset as i128
    }
}

/// One sensor's description, borrowed from a catalog's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorInfo<'a> {
    /// Name, unique within the device.
    pub id: SensorName,
    /// Unit, at most 16 UTF-8 bytes; empty for plain numbers.
    #[serde(borrow)]
    pub unit: &'a str,
    /// What the numbers mean.
    pub kind: Kind,
    /// From raw integers to values.
    pub scale: Scale,
    /// Whether a batch with a sample of it closes within a second.
    pub urgent: bool,
    /// At most 4 `key=value` texts of at most 32 bytes.
    pub tags: heapless::Vec<&'a str, TAGS_MAX>,
}

impl SensorInfo<'_> {
    /// Whether every limit is kept.
    pub fn is_valid(&self) -> bool {
        self.unit.len() <= UNIT_BYTES_MAX
            && self.scale.step >= 1
            && self.scale.exponent.unsigned_abs() <= EXPONENT_MAX.unsigned_abs()
            && self.tags.iter().all(|tag| tag.len() <= TAG_BYTES_MAX)
    }
}

impl fmt::Display for SensorInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.id, self.unit)
    }
}

/// A catalog's hash.
pub fn hash(bytes: &[u8]) -> CatalogHash {
    CatalogHash(crc32c(bytes))
}

/// Writes a catalog into `out` and returns its bytes.
pub fn write<'o>(sensors: &[SensorInfo<'_>], out: &'o mut [u8]) -> Result<&'o [u8], BodyError> {
    let mut writer = Writer::new(out);
    if sensors.len() > SENSORS_MAX || !sensors.iter().all(SensorInfo::is_valid) {
        return Err(writer.error(BodyFault::Limit));
    }
    writer.varint(sensors.len() as u64)?;
    for sensor in sensors {
        // A description takes at most 24 + 16 + 20 + 4 × 33 bytes.
        let mut scratch = [0; 256];
        let mut one = Writer::new(&mut scratch);
        one.value(sensor)?;
        writer.varint(one.len() as u64)?;
        writer.put(one.written())?;
    }
    let used = writer.len();
    Ok(out.get(..used).unwrap_or_default())
}

/// A catalog's sensors, read from its bytes one by one, in index order.
#[derive(Debug, Clone)]
pub struct Sensors<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Sensors<'a> {
    /// Opens a catalog.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(bytes);
        let left = reader.varint()?;
        if left > SENSORS_MAX as u64 {
            return Err(reader.error(BodyFault::Limit));
        }
        Ok(Self {
            reader,
            left: left as usize,
        })
    }
}

impl<'a> Iterator for Sensors<'a> {
    type Item = Result<SensorInfo<'a>, BodyError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let start = self.reader.at();
        let mut one = || {
            let length = self.reader.varint_u32()? as usize;
            let description = self.reader.at();
            let sensor = read_value(self.reader.take(length)?);
            let sensor: SensorInfo<'a> = sensor.map_err(|error| BodyError {
                at: description + error.at,
                ..error
            })?;
            if sensor.is_valid() {
                Ok(sensor)
            } else {
                Err(BodyError {
                    at: start,
                    fault: BodyFault::Limit,
                })
            }
        };
        let sensor = one();
        if sensor.is_err() {
            self.left = 0;
        }
        Some(sensor)
    }
}
