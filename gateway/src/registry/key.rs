//! A device's key, and what it is called without showing it.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use tidegate_shared::ids::DeviceName;
use zeroize::Zeroizing;

/// Bytes of a device's key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = 16;

/// A device's key: 32 random bytes, overwritten when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Draws a key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Its bytes as 64 hexadecimal digits: for what is shown on purpose.
    pub fn hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES));
        write_hex(self.0.as_slice(), &mut text);
        text
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(hidden)")
    }
}

/// Hexadecimal digits in JSON, bytes elsewhere.
impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.hex())
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        deserialize_into(bytes.as_mut_slice(), "a key", deserializer)?;
        Ok(Self(bytes))
    }
}

/// What a key is called without showing it: the first 16 bytes of SHA-256 over
/// `tidegate device key v1`, the device's name, the key id and the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

impl Fingerprint {
    /// Of a device's key.
    pub fn of(device: &DeviceName, key_id: u8, key: &Key) -> Self {
        let hash = Sha256::new()
            .chain_update("tidegate device key v1")
            .chain_update(device.as_str())
            .chain_update([key_id])
            .chain_update(key.bytes())
            .finalize();
        let mut bytes = [0; FINGERPRINT_BYTES];
        for (byte, hashed) in bytes.iter_mut().zip(hash) {
            *byte = hashed;
        }
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; FINGERPRINT_BYTES] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write_hex(&self.0, &mut text);
        formatter.write_str(&text)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Hexadecimal digits in JSON, bytes elsewhere.
impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = [0; FINGERPRINT_BYTES];
        deserialize_into(&mut bytes, "a fingerprint", deserializer)?;
        Ok(Self(bytes))
    }
}

fn write_hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(nibble.into(), 16));
        }
    }
}

/// Reads so many bytes into place, without a copy of them anywhere.
fn deserialize_into<'de, D: Deserializer<'de>>(
    bytes: &mut [u8],
    what: &'static str,
    deserializer: D,
) -> Result<(), D::Error> {
    let count = bytes.len();
    let visitor = Into { bytes, what };
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(visitor)
    } else {
        deserializer.deserialize_tuple(count, visitor)
    }
}

struct Into<'b> {
    bytes: &'b mut [u8],
    what: &'static str,
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = 2 * self.bytes.len();
        write!(formatter, "{}: {digits} hexadecimal digits", self.what)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        // What was given is not repeated: it may be most of a key.
        let unfit = || E::custom(format_args!("this is not {}", self.what));
        if text.len() != 2 * self.bytes.len() {
            return Err(unfit());
        }
        for (byte, pair) in self.bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            for digit in pair {
                let digit = char::from(*digit).to_digit(16).ok_or_else(unfit)?;
                *byte = *byte << 4 | digit as u8;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        for byte in self.bytes {
            let next = sequence.next_element()?;
            *byte = next.ok_or_else(|| A::Error::custom("too few bytes"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_is_never_printed() {
        let key = Key::new(std::array::from_fn(|at| at as u8 * 8));
        let json = serde_json::to_string(&key).unwrap();
        assert!(json.starts_with("\"00081018"), "{json}");
        assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
        let bytes = postcard::to_stdvec(&key).unwrap();
        assert_eq!(bytes.len(), KEY_BYTES);
        assert_eq!(postcard::from_bytes::<Key>(&bytes).unwrap(), key);
        assert_eq!(format!("{key:?}"), "Key(hidden)");
        for wrong in ["\"00\"", &json.replace("18", "g8"), "7"] {
            let why = serde_json::from_str::<Key>(wrong).unwrap_err();
            assert!(!why.to_string().contains("0008"), "{why}");
        }
        assert_ne!(Key::draw().unwrap(), Key::draw().unwrap());
    }

    #[test]
    fn a_fingerprint_is_that_of_name_id_and_key() {
        let name = |text| DeviceName::try_from(text).unwrap();
        let of = |device, id, byte| Fingerprint::of(&name(device), id, &Key::new([byte; 32]));
        // printf 'tidegate device key v1pump-1\001' … | sha256sum
        assert_eq!(
            of("pump-1", 1, 7).to_string(),
            "b3cb683384671927418aec50a3471a19",
        );
        for other in [of("pump-2", 1, 7), of("pump-1", 2, 7), of("pump-1", 1, 8)] {
            assert_ne!(of("pump-1", 1, 7), other);
        }
        let json = serde_json::to_string(&of("pump-1", 1, 7)).unwrap();
        assert_eq!(
            serde_json::from_str::<Fingerprint>(&json).unwrap(),
            of("pump-1", 1, 7)
        );
    }
}
