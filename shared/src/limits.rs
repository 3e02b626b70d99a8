//! Every limit of the wire, with its reason.

/// Protocol version this crate speaks.
pub const PROTOCOL: u16 = 1;
/// Default largest frame in bytes: fits one Ethernet segment and a Cortex-M's buffers.
pub const FRAME_BYTES_DEFAULT: usize = 1_024;
/// Largest frame anyone may agree on, in bytes.
pub const FRAME_BYTES_MAX: usize = 8_192;
/// Longest site name, in bytes.
pub const SITE_BYTES_MAX: usize = 24;
/// Longest device name, in bytes.
pub const DEVICE_BYTES_MAX: usize = 32;
/// Longest sensor name, in bytes.
pub const SENSOR_BYTES_MAX: usize = 32;
/// Longest unit, in UTF-8 bytes.
pub const UNIT_BYTES_MAX: usize = 16;
/// Longest tag (`key=value`), in UTF-8 bytes.
pub const TAG_BYTES_MAX: usize = 32;
/// Most tags of one sensor.
pub const TAGS_MAX: usize = 4;
/// Most sensors of one device.
pub const SENSORS_MAX: usize = 256;
/// Most samples of one block: a count is one byte.
pub const BLOCK_SAMPLES_MAX: usize = 255;
/// Most time axes of one batch: one for each sensor.
pub const AXES_MAX: usize = SENSORS_MAX;
/// Most frames a gateway may grant in flight.
pub const WINDOW_MAX: u16 = 64;
/// Largest magnitude of a catalog's decimal exponent.
pub const EXPONENT_MAX: i8 = 18;
