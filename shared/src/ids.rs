//! Names and numbers that identify things on the wire.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{DEVICE_BYTES_MAX, SENSOR_BYTES_MAX, SITE_BYTES_MAX};

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// The text is longer than the limit.
    TooLong {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// A byte outside `[A-Za-z0-9._-]`.
    Character {
        /// Byte offset of the first such byte.
        at: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name is empty"),
            Self::TooLong { bytes, bytes_max } => {
                write!(
                    f,
                    "the name has {bytes} bytes, at most {bytes_max} are allowed"
                )
            }
            Self::Character { at } => write!(
                f,
                "the character at byte {at} is not one of A-Z a-z 0-9 . _ -"
            ),
        }
    }
}

impl core::error::Error for NameError {}

/// Whether a byte may stand in a name.
pub const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}

fn check_name(text: &str, bytes_max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > bytes_max {
        return Err(NameError::TooLong {
            bytes: text.len(),
            bytes_max,
        });
    }
    match text.bytes().position(|byte| !is_name_byte(byte)) {
        Some(at) => Err(NameError::Character { at }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(heapless::String<{ $max }>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(text: &str) -> Result<Self, NameError> {
                check_name(text, $max)?;
                heapless::String::try_from(text).map(Self).map_err(|_| NameError::TooLong {
                    bytes: text.len(),
                    bytes_max: $max,
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = heapless::String::<{ $max }>::deserialize(deserializer)?;
                Self::try_from(text.as_str()).map_err(serde::de::Error::custom)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl core::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

name!(
    /// A site: one gateway and its devices. At most 24 of `[A-Za-z0-9._-]`.
    SiteName,
    SITE_BYTES_MAX
);
name!(
    /// A device of a site. At most 32 of `[A-Za-z0-9._-]`.
    DeviceName,
    DEVICE_BYTES_MAX
);
name!(
    /// A sensor of a device. At most 32 of `[A-Za-z0-9._-]`.
    SensorName,
    SENSOR_BYTES_MAX
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u32);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#010x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:08x}", self.0)
            }
        }
    };
}

number!(
    /// Drawn at random when a device's store is empty; 0 is nobody's.
    Incarnation
);
number!(
    /// One start of a gateway, drawn at random; 0 is nobody's.
    Term
);
number!(
    /// CRC-32C of a whole catalog's bytes: what a batch names its catalog by.
    CatalogHash
);
number!(
    /// CRC-32C of a plain frame (its trailer): says which content is meant.
    Check
);

/// A place in a device's stream within one incarnation, ordered by boot, then sequence.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Mark {
    /// Start of the device, counted from 1.
    pub boot: u32,
    /// Frame of that boot, counted from 1; 0 stands before the first.
    pub sequence: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.boot, self.sequence)
    }
}
