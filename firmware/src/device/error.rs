//! What can be wrong with a catalog, a sample, or received bytes.

use tidegate_shared::body::BodyError;
use tidegate_shared::frame::FrameError;

/// Why a device cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceError {
    /// The catalog's bytes cannot be read.
    Catalog(BodyError),
    /// The catalog has more sensors than the device was built for.
    SensorsMax {
        /// Sensors in the catalog.
        sensors: usize,
        /// Sensors there is room for.
        sensors_max: usize,
    },
}

/// Why a sample is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleError {
    /// The catalog has no such sensor; nothing was counted.
    NoSuchSensor,
    /// Its time is earlier than that of an earlier call, or not after the sensor's last sample:
    /// it was counted as failed.
    Backwards,
    /// The device was stopped; nothing was counted.
    Stopped,
}

/// Why received bytes were ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveError {
    /// Not a frame.
    Frame(FrameError),
    /// A frame whose body cannot be read.
    Body(BodyError),
    /// For another incarnation than this device's.
    Stranger,
    /// A message that does not belong on its topic.
    Topic,
    /// A plain frame, where the device has a key.
    Unsealed,
    /// Sealed by a key of another id.
    OtherKey,
    /// Taken already, or no answer to a Hello of this connection.
    Stale,
    /// Its tag does not hold, or its message names another term than its header.
    Forged,
}
