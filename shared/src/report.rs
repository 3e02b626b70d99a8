//! Reports: what stands in the bytes of a Report message.
//!
//! A report is its kind as a varint, then its fields; it grows at its end as bodies do.
//!
//! | kind | report |
//! |---|---|
//! | 1 | flash: how a device's outbox in flash fares |

use serde::{Deserialize, Serialize};

use crate::body::{BodyError, BodyFault, Reader, Writer};

/// Most bytes of a report.
pub const REPORT_BYTES_MAX: usize = 64;

/// Numbers of the kinds.
pub mod kind {
    #![allow(missing_docs, reason = "each constant is a row of the module's table")]
    pub const FLASH: u32 = 1;
}

/// How an outbox in flash fares. Kind 1. Counts are those of this boot unless they say otherwise.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlashReport {
    /// Frames held in flash now.
    pub frames: u32,
    /// Pages of the outbox.
    pub pages: u32,
    /// Pages erased, in all boots as far as the device kept count.
    pub erases: u32,
    /// Pages erased.
    pub erases_boot: u32,
    /// Of these, while samples had to wait longer than their buffers last.
    pub erases_forced: u32,
    /// Frames written to flash.
    pub spilled: u32,
    /// Frames that the start found missing, unreadable or out of order.
    pub lost: u32,
    /// Writes and other operations that failed.
    pub failures: u32,
    /// Erases a day, in thousandths; none within a boot's first hour.
    pub erases_per_day_milli: Option<u32>,
    /// Years until the flash has seen the erases that it endures, at this rate, at most 100.
    pub years_left: Option<u16>,
}

/// A report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// How an outbox in flash fares.
    Flash(FlashReport),
}

impl Report {
    /// Reads the bytes of a Report message.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(bytes);
        match reader.varint_u32()? {
            kind::FLASH => Ok(Self::Flash(reader.value()?)),
            number => Err(BodyError {
                at: 0,
                fault: BodyFault::Message { number },
            }),
        }
    }

    /// Writes the bytes of a Report message, at most [`REPORT_BYTES_MAX`].
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), BodyError> {
        match self {
            Self::Flash(report) => {
                writer.varint(kind::FLASH.into())?;
                writer.value(report)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest() -> Report {
        Report::Flash(FlashReport {
            frames: u32::MAX,
            pages: u32::MAX,
            erases: u32::MAX,
            erases_boot: u32::MAX,
            erases_forced: u32::MAX,
            spilled: u32::MAX,
            lost: u32::MAX,
            failures: u32::MAX,
            erases_per_day_milli: Some(u32::MAX),
            years_left: Some(u16::MAX),
        })
    }

    #[test]
    fn reports_read_as_written_grow_and_fit() {
        let mut out = [0; REPORT_BYTES_MAX];
        let mut writer = Writer::new(&mut out);
        largest().write(&mut writer).expect("it fits");
        let bytes = writer.written().to_vec();
        assert_eq!(Report::read(&bytes), Ok(largest()));
        let longer = [&bytes[..], &[1, 2, 3]].concat();
        assert_eq!(Report::read(&longer), Ok(largest()));
        let shorter = FlashReport {
            frames: 5,
            ..FlashReport::default()
        };
        assert_eq!(Report::read(&[1, 5]), Ok(Report::Flash(shorter)));
        assert!(Report::read(&[9, 5]).is_err(), "a kind of a later version");
        assert!(Report::read(&[]).is_err());
    }
}
