//! Sealed frames: XChaCha20-Poly1305 around the body of a plain frame, by a key of its device.
//!
//! ```text
//! version u8 = 1 | flags u8 = 1 | key id u8 | incarnation u32 LE | boot varint | sequence varint
//! | counter varint, unless an up frame is sequenced
//! body, encrypted
//! tag, 16 bytes: over body and all bytes before it
//! ```
//! Terms: the *counter* numbers what is not sequenced: of a device's boot from 1, of a gateway's
//! term from a number drawn at random. In a down frame `boot` is the gateway's term and `sequence`
//! the counter of the Hello that it answers.
//!
//! ```text
//! nonce, 24 bytes = way u8 (1 up, 2 down) | incarnation u32 LE | boot u32 LE
//!                 | down: boot of the device u32 LE, up: 0 | 0 0 0     (these 16 make a key, HChaCha20)
//!                 | sequence u32 LE | counter u32 LE                   (these 8 number its frames)
//! ```
//! Invariants:
//! 1. No nonce repeats: a device persists its boot before it sends, a frame's content never
//!    changes under its sequence, and what is not sequenced is counted; a gateway that was restored
//!    from an older image would have to draw the same term and neighbouring counters again.
//! 2. What opens is byte for byte the plain frame that was sealed, its check included (a down
//!    frame's boot and sequence excepted).
//! 3. A plain frame and a sealed one never read as one another.
//!
//! Source of the construction: RFC 8439, and draft-irtf-cfrg-xchacha for the longer nonce.

use core::fmt;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroize;

use crate::body::{Reader, Writer};
use crate::frame::{self, FLAG_SEALED, Frame, FrameError, Header, TRAILER_BYTES, VERSION, crc32c};
use crate::ids::{Check, Incarnation, Mark, Term};
use crate::limits::FRAME_BYTES_MAX;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a sealed frame's trailer.
pub const TAG_BYTES: usize = 16;
/// So many bytes longer than the plain frame is a sealed one at most: the longer trailer, the
/// counter, and in a down frame two numbers that a plain one leaves 0.
pub const SEAL_BYTES_MAX: usize = TAG_BYTES - TRAILER_BYTES + 5 + 8;
/// Most bytes of a sealed frame.
pub const SEALED_BYTES_MAX: usize = FRAME_BYTES_MAX + SEAL_BYTES_MAX;
/// Bytes of a password made of a key.
pub const PASSWORD_BYTES: usize = 16;

pub(crate) const NONCE_BYTES: usize = 24;
const WAY_UP: u8 = 1;
const WAY_DOWN: u8 = 2;
const WAY_PASSWORD: u8 = 3;

/// A key that one device and its gateway share. Overwritten when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// A key of its bytes, which have to be drawn at random.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for whoever keeps it.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// What the device says to a broker that asks for a password: made of the key, but nobody gets
    /// the key from it.
    pub fn password(&self) -> [u8; PASSWORD_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[0] = WAY_PASSWORD;
        let mut password = [0; PASSWORD_BYTES];
        // The keystream itself; only bodies of 256 GiB could fail.
        let _ = self.cipher().encrypt_inout_detached(
            &XNonce::from(nonce),
            &[],
            InOutBuf::from(&mut password[..]),
        );
        password
    }

    pub(crate) fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Which way a frame goes, and what numbers it besides its plain header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From a device.
    Up {
        /// Of an unsequenced frame: the device's counter in its boot, from 1. Of a sequenced one: 0.
        counter: u32,
    },
    /// To a device.
    Down {
        /// The boot of the device that said the Hello.
        boot: u32,
        /// This start of the gateway.
        term: Term,
        /// The counter of the newest Hello that was taken.
        hello: u32,
        /// The gateway's counter for this device.
        counter: u32,
    },
}

/// Which key opens a sealed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A device's frame.
    Up,
    /// A frame to this device, in this boot.
    Down {
        /// The boot.
        boot: u32,
    },
}

/// What a sealed frame says in the clear; true only once it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Key id, incarnation; boot and sequence, or in a down frame term and the Hello's counter.
    pub header: Header,
    /// The counter of what is not sequenced; 0 in a sequenced frame.
    pub counter: u32,
    bytes: usize,
}

/// A frame that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The plain frame, header to check.
    pub plain: &'a [u8],
    /// The same, read.
    pub frame: Frame<'a>,
    /// Its counter; 0 of a sequenced frame.
    pub counter: u32,
}

/// Why a frame was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// What was to be sealed is no plain frame, or what was to be opened no sealed one.
    Frame(FrameError),
    /// The output buffer is too short.
    Full,
    /// The tag does not hold: another key, another counter, or bytes that somebody changed.
    Tag,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Full => f.write_str("the buffer is too short for the frame"),
            Self::Tag => f.write_str("the tag does not hold: another key made it, or none"),
        }
    }
}

impl core::error::Error for SealError {}

/// Whether these bytes say that they are a sealed frame.
pub fn is_sealed(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, FLAG_SEALED, ..])
}

/// What a sealed frame says in the clear. `opening` says where it was found.
pub fn envelope(sealed: &[u8], opening: Opening) -> Result<Envelope, FrameError> {
    let truncated = FrameError::Truncated {
        bytes: sealed.len(),
    };
    if sealed.len() > SEALED_BYTES_MAX {
        return Err(FrameError::TooLong {
            bytes: sealed.len(),
        });
    }
    let (&version, &flags) = sealed.first().zip(sealed.get(1)).ok_or(truncated)?;
    if version != VERSION {
        return Err(FrameError::Version { version });
    }
    if flags != FLAG_SEALED {
        return Err(FrameError::Flags { flags });
    }
    let split = sealed.len().checked_sub(TAG_BYTES).ok_or(truncated)?;
    let mut reader = Reader::new(sealed.get(..split).unwrap_or_default());
    let header = frame::read_header(&mut reader).map_err(|error| header_error(error, truncated))?;
    let is_counted = opening != Opening::Up || !header.is_sequenced();
    let counter = if is_counted {
        let counter = reader.varint_u32();
        counter.map_err(|error| header_error(error, truncated))?
    } else {
        0
    };
    if is_counted && counter == 0 {
        return Err(FrameError::Header { at: reader.at() });
    }
    Ok(Envelope {
        header,
        counter,
        bytes: reader.at(),
    })
}

fn header_error(error: crate::body::BodyError, truncated: FrameError) -> FrameError {
    match error.fault {
        crate::body::BodyFault::End => truncated,
        _ => FrameError::Header { at: error.at },
    }
}

/// Seals a plain frame into `out`; returns the bytes written. The caller sees to it that no
/// (key, way, counter) comes twice with another content.
pub fn seal(
    key: &Key,
    key_id: u8,
    way: Way,
    plain: &[u8],
    out: &mut [u8],
) -> Result<usize, SealError> {
    let frame = frame::read(plain).map_err(SealError::Frame)?;
    let (mark, counter) = match way {
        Way::Up { counter } => (frame.header.mark, counter),
        Way::Down {
            term,
            hello,
            counter,
            ..
        } => {
            let mark = Mark {
                boot: term.0,
                sequence: hello,
            };
            (mark, counter)
        }
    };
    let header = Header {
        key_id,
        incarnation: frame.header.incarnation,
        mark,
    };
    let opening = match way {
        Way::Up { .. } => Opening::Up,
        Way::Down { boot, .. } => Opening::Down { boot },
    };
    let mut writer = Writer::new(out);
    let mut write = || {
        frame::write_header(&header, FLAG_SEALED, &mut writer)?;
        if opening != Opening::Up || !header.is_sequenced() {
            writer.varint(counter.into())?;
        }
        let body = writer.len();
        writer.put(frame.body)?;
        Ok::<_, crate::body::BodyError>((body, writer.len()))
    };
    let (body, end) = write().map_err(|_| SealError::Full)?;
    let envelope = Envelope {
        header,
        counter,
        bytes: body,
    };
    let (head, rest) = out.split_at_mut_checked(body).ok_or(SealError::Full)?;
    let (text, rest) = rest
        .split_at_mut_checked(end - body)
        .ok_or(SealError::Full)?;
    let place = rest.get_mut(..TAG_BYTES).ok_or(SealError::Full)?;
    let tag = key
        .cipher()
        .encrypt_inout_detached(&nonce(&envelope, opening), head, InOutBuf::from(text))
        .map_err(|_| SealError::Tag)?;
    place.copy_from_slice(&tag);
    Ok(end + TAG_BYTES)
}

/// Opens a sealed frame into `out`, which takes the plain frame.
pub fn open<'o>(
    key: &Key,
    opening: Opening,
    sealed: &[u8],
    out: &'o mut [u8],
) -> Result<Opened<'o>, SealError> {
    let envelope = envelope(sealed, opening).map_err(SealError::Frame)?;
    let (rest, tag) = sealed
        .split_last_chunk::<TAG_BYTES>()
        .ok_or(SealError::Full)?;
    let (head, text) = rest
        .split_at_checked(envelope.bytes)
        .ok_or(SealError::Full)?;
    let header = Header {
        key_id: 0,
        ..envelope.header
    };
    let mut writer = Writer::new(out);
    let mut write = || {
        frame::write_header(&header, 0, &mut writer)?;
        let body = writer.len();
        writer.put(text)?;
        Ok::<_, crate::body::BodyError>((body, writer.len()))
    };
    let (body, end) = write().map_err(|_| SealError::Full)?;
    if end + TRAILER_BYTES > FRAME_BYTES_MAX {
        return Err(SealError::Frame(FrameError::TooLong { bytes: end }));
    }
    let text = out.get_mut(body..end).ok_or(SealError::Full)?;
    key.cipher()
        .decrypt_inout_detached(
            &nonce(&envelope, opening),
            head,
            InOutBuf::from(text),
            &Tag::from(*tag),
        )
        .map_err(|_| SealError::Tag)?;
    let covered = out.get(..end).ok_or(SealError::Full)?;
    let check = Check(crc32c(covered));
    let place = out
        .get_mut(end..end + TRAILER_BYTES)
        .ok_or(SealError::Full)?;
    place.copy_from_slice(&check.0.to_le_bytes());
    let plain = out.get(..end + TRAILER_BYTES).unwrap_or_default();
    Ok(Opened {
        plain,
        frame: Frame {
            header,
            body: plain.get(body..end).unwrap_or_default(),
            check,
        },
        counter: envelope.counter,
    })
}

fn nonce(envelope: &Envelope, opening: Opening) -> XNonce {
    let Header {
        incarnation: Incarnation(incarnation),
        mark,
        ..
    } = envelope.header;
    let (way, device_boot) = match opening {
        Opening::Up => (WAY_UP, 0),
        Opening::Down { boot } => (WAY_DOWN, boot),
    };
    let mut nonce = [0; NONCE_BYTES];
    nonce[0] = way;
    let words = [
        (1, incarnation),
        (5, mark.boot),
        (9, device_boot),
        (16, mark.sequence),
        (20, envelope.counter),
    ];
    for (at, word) in words {
        if let Some(place) = nonce.get_mut(at..at + 4) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }
    XNonce::from(nonce)
}
