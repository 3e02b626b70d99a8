//! The last panic's message, in RAM that is not cleared at start.
//!
//! ```text
//! magic u32 | length u32 | message | CRC-32C over length and message
//! ```
//! After power-on the RAM holds anything: magic and check tell a message from that. It is taken
//! once, so a panic is reported by the next boot only.

use core::fmt;

use tidegate_shared::frame::crc32c;

/// Most bytes of a message: what an event carries.
pub const NOTE_BYTES_MAX: usize = 64;

const MAGIC: u32 = 0x5447_706e;

/// The block. Every pattern of bits is one, so a board may lay it into RAM that keeps what it held.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Note {
    magic: u32,
    length: u32,
    text: [u8; NOTE_BYTES_MAX],
    check: u32,
}

impl Default for Note {
    fn default() -> Self {
        Self::new()
    }
}

impl Note {
    /// A block without a message.
    pub const fn new() -> Self {
        Self {
            magic: 0,
            length: 0,
            text: [0; NOTE_BYTES_MAX],
            check: 0,
        }
    }

    /// Keeps what `message` says, as much of it as fits.
    pub fn keep(&mut self, message: impl fmt::Display) {
        *self = Self::new();
        // Too long a message is an error of the writer, and what fitted is kept.
        let _ = fmt::write(self, format_args!("{message}"));
        self.check = self.computed();
        self.magic = MAGIC;
    }

    /// Takes the message, if there is one.
    pub fn take(&mut self) -> Option<heapless::String<NOTE_BYTES_MAX>> {
        let is_kept = self.magic == MAGIC && self.check == self.computed();
        let text = self.text.get(..self.length as usize).filter(|_| is_kept);
        let text = text.and_then(|text| core::str::from_utf8(text).ok());
        let text = text.and_then(|text| heapless::String::try_from(text).ok());
        self.magic = 0;
        text
    }

    fn computed(&self) -> u32 {
        let length = (self.length as usize).min(NOTE_BYTES_MAX);
        crc32c(self.text.get(..length).unwrap_or_default()) ^ self.length
    }
}

impl fmt::Write for Note {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let at = self.length as usize;
            let there = self.text.get_mut(at..at + character.len_utf8());
            character.encode_utf8(there.ok_or(fmt::Error)?);
            self.length += character.len_utf8() as u32;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_once() {
        let mut note = Note::new();
        assert_eq!(note.take(), None);
        note.keep(format_args!("panicked at {}:{}", "main.rs", 7));
        assert_eq!(note.take().as_deref(), Some("panicked at main.rs:7"));
        assert_eq!(note.take(), None);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut note = Note::new();
        note.keep("é".repeat(40));
        assert_eq!(note.take().as_deref(), Some("é".repeat(32).as_str()));
        let odd = std::format!("x{}", "é".repeat(40));
        note.keep(&odd);
        assert_eq!(note.take().as_deref(), odd.get(..63));
    }

    #[test]
    fn what_ram_holds_after_power_on_is_no_message() {
        let mut note = Note::new();
        note.keep("once");
        for word in 0..4 {
            let mut damaged = note;
            match word {
                0 => damaged.magic ^= 1,
                1 => damaged.length ^= 1,
                2 => damaged.text[2] ^= 1,
                _ => damaged.check ^= 1,
            }
            assert_eq!(damaged.take(), None, "word {word}");
        }
        let mut wild = Note {
            magic: MAGIC,
            length: u32::MAX,
            text: [0xff; 64],
            check: 0,
        };
        assert_eq!(wild.take(), None);
    }
}
