//! Frames: header, body, trailer. The bytes of one MQTT payload.
//!
//! ```text
//! version u8 | flags u8 | key id u8 | incarnation u32 LE | boot varint | sequence varint
//! body ...
//! CRC-32C u32 LE over all bytes before it        (plain; a sealed frame ends in a 16-byte tag)
//! ```
//! A sequence of 0 means unsequenced: the frame is not logged, not acked and not resent.

use core::fmt;

use crate::body::{BodyError, BodyFault, Reader, Writer};
use crate::ids::{Check, Incarnation, Mark};
use crate::limits::FRAME_BYTES_MAX;

/// The version every frame starts with.
pub const VERSION: u8 = 1;
/// Flag: the frame is sealed ([`crate::seal`]).
pub const FLAG_SEALED: u8 = 0x01;
/// Flag: no frame of a registered device, but a claim, or the grant that answers it
/// (`claim`, behind the feature of that name). Never together with another flag.
pub const FLAG_CLAIM: u8 = 0x02;
/// Bytes of a plain frame's trailer.
pub const TRAILER_BYTES: usize = 4;
/// Fewest bytes of a header.
const HEADER_BYTES_MIN: usize = 3 + 4 + 1 + 1;
/// Most bytes of a header.
pub const HEADER_BYTES_MAX: usize = 3 + 4 + 5 + 5;

/// 16 KiB of table read 16 bytes at a time; a device takes 1 KiB and a byte at a time.
#[cfg(feature = "fast-crc")]
type Table = crc::Table<16>;
#[cfg(not(feature = "fast-crc"))]
type Table = crc::Table<1>;

static CASTAGNOLI: crc::Crc<u32, Table> = crc::Crc::<u32, Table>::new(&crc::CRC_32_ISCSI);

/// CRC-32C (Castagnoli, RFC 3720 B.4) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    CASTAGNOLI.checksum(bytes)
}

/// What stands before every body.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which key sealed the frame; 0 in plain frames.
    pub key_id: u8,
    /// The device's incarnation (in down frames: of the device spoken to; 0 for all devices).
    pub incarnation: Incarnation,
    /// Boot and sequence; sequence 0 is unsequenced.
    pub mark: Mark,
}

impl Header {
    /// Whether the frame is to be logged and acked.
    pub fn is_sequenced(&self) -> bool {
        self.mark.sequence != 0
    }
}

/// A frame whose trailer verified, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What stands before the body.
    pub header: Header,
    /// The message.
    pub body: &'a [u8],
    /// The trailer: CRC-32C of what stands before it.
    pub check: Check,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// Too short for a header and a trailer.
    Truncated {
        /// Bytes found.
        bytes: usize,
    },
    /// Longer than any frame may be.
    TooLong {
        /// Bytes found.
        bytes: usize,
    },
    /// Another version of the format.
    Version {
        /// The version found.
        version: u8,
    },
    /// Flags that this version does not know, or a sealed frame where a plain one is read.
    Flags {
        /// The flags found.
        flags: u8,
    },
    /// The header's numbers cannot be read.
    Header {
        /// Byte offset of the fault.
        at: usize,
    },
    /// The trailer does not match the bytes before it.
    Trailer {
        /// CRC-32C computed.
        computed: u32,
        /// CRC-32C found.
        found: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { bytes } => write!(f, "{bytes} bytes are too short for a frame"),
            Self::TooLong { bytes } => {
                write!(
                    f,
                    "{bytes} bytes are too long, a frame has at most {FRAME_BYTES_MAX}"
                )
            }
            Self::Version { version } => {
                write!(
                    f,
                    "frame version {version} at byte 0, this is version {VERSION}"
                )
            }
            Self::Flags { flags } => write!(f, "flags {flags:#04x} at byte 1 are not known"),
            Self::Header { at } => write!(f, "the header cannot be read at byte {at}"),
            Self::Trailer { computed, found } => write!(
                f,
                "the trailer says {found:08x}, the bytes before it give {computed:08x}"
            ),
        }
    }
}

impl core::error::Error for FrameError {}

/// Reads and verifies a plain frame.
pub fn read(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let truncated = FrameError::Truncated { bytes: bytes.len() };
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { bytes: bytes.len() });
    }
    let (&version, &flags) = bytes.first().zip(bytes.get(1)).ok_or(truncated)?;
    if version != VERSION {
        return Err(FrameError::Version { version });
    }
    if flags != 0 {
        return Err(FrameError::Flags { flags });
    }
    let (covered, trailer) = bytes
        .len()
        .checked_sub(TRAILER_BYTES)
        .filter(|covered| *covered >= HEADER_BYTES_MIN)
        .and_then(|split| bytes.split_at_checked(split))
        .ok_or(truncated)?;
    let found = Reader::new(trailer).u32_le().map_err(|_| truncated)?;
    let computed = crc32c(covered);
    if computed != found {
        return Err(FrameError::Trailer { computed, found });
    }
    let mut reader = Reader::new(covered);
    let header = read_header(&mut reader).map_err(|error| match error.fault {
        BodyFault::End => truncated,
        _ => FrameError::Header { at: error.at },
    })?;
    Ok(Frame {
        header,
        body: reader.rest(),
        check: Check(found),
    })
}

pub(crate) fn read_header(reader: &mut Reader<'_>) -> Result<Header, BodyError> {
    reader.take(2)?;
    Ok(Header {
        key_id: reader.byte()?,
        incarnation: Incarnation(reader.u32_le()?),
        mark: Mark {
            boot: reader.varint_u32()?,
            sequence: reader.varint_u32()?,
        },
    })
}

/// Writes a plain frame into `out`; `body` writes what stands between header and trailer.
/// Returns the frame's bytes and its check.
pub fn write<'o>(
    header: &Header,
    out: &'o mut [u8],
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>,
) -> Result<(&'o [u8], Check), BodyError> {
    let mut writer = Writer::new(out);
    write_header(header, 0, &mut writer)?;
    body(&mut writer)?;
    if writer.len() > FRAME_BYTES_MAX - TRAILER_BYTES {
        return Err(writer.error(BodyFault::Limit));
    }
    let check = Check(crc32c(writer.written()));
    writer.put(&check.0.to_le_bytes())?;
    let used = writer.len();
    Ok((out.get(..used).unwrap_or_default(), check))
}

pub(crate) fn write_header(
    header: &Header,
    flags: u8,
    writer: &mut Writer<'_>,
) -> Result<(), BodyError> {
    writer.put(&[VERSION, flags, header.key_id])?;
    writer.put(&header.incarnation.0.to_le_bytes())?;
    writer.varint(header.mark.boot.into())?;
    writer.varint(header.mark.sequence.into())
}
