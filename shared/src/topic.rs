//! MQTT topics and client ids: `tidegate/v1/<site>/<device>/up` and its siblings.

use core::fmt::Write;

use crate::ids::{DeviceName, NameError, SiteName};

/// What every topic of this protocol version starts with.
pub const PREFIX: &str = "tidegate/v1/";
/// Longest topic in bytes: prefix, site, device, `/status` and the separator.
pub const TOPIC_BYTES_MAX: usize = 12 + 24 + 1 + 32 + 7;
/// Longest client id in bytes: `tidegate-<site>-<device>`.
pub const CLIENT_ID_BYTES_MAX: usize = 9 + 24 + 1 + 32;
/// A topic's text.
pub type TopicText = heapless::String<TOPIC_BYTES_MAX>;
/// A client id's text.
pub type ClientId = heapless::String<CLIENT_ID_BYTES_MAX>;

/// A topic of one site. The device name `gateway` belongs to nobody: it is the gateway's topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// Frames of a device: Hello, Progress, and all that is sequenced.
    Up(DeviceName),
    /// Frames for a device; message expiry 30 s.
    Down(DeviceName),
    /// Whether a device is online; retained, with will.
    Status(DeviceName),
    /// Whether the site's gateway is online; retained, with will.
    Gateway,
}

/// Why a topic is not one of this site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicError {
    /// Not under `tidegate/v1/<site>/`.
    Foreign,
    /// The last part is none of `up`, `down`, `status`, `gateway`.
    Unknown,
    /// The device part is not a device name.
    Device(NameError),
}

impl core::fmt::Display for TopicError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Foreign => f.write_str("the topic is not one of this site"),
            Self::Unknown => f.write_str("the topic ends in none of up, down, status, gateway"),
            Self::Device(error) => write!(f, "the topic names no device: {error}"),
        }
    }
}

impl core::error::Error for TopicError {}

impl Topic {
    /// The topic's text.
    pub fn text(&self, site: &SiteName) -> TopicText {
        let mut text = TopicText::new();
        // The capacity is the sum of the parts' limits, so writing cannot fail.
        let _ = match self {
            Self::Up(device) => write!(text, "{PREFIX}{site}/{device}/up"),
            Self::Down(device) => write!(text, "{PREFIX}{site}/{device}/down"),
            Self::Status(device) => write!(text, "{PREFIX}{site}/{device}/status"),
            Self::Gateway => write!(text, "{PREFIX}{site}/gateway"),
        };
        text
    }

    /// Reads a topic of `site`.
    pub fn parse(site: &SiteName, text: &str) -> Result<Self, TopicError> {
        let rest = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix(site.as_str()))
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(TopicError::Foreign)?;
        if rest == "gateway" {
            return Ok(Self::Gateway);
        }
        let (device, kind) = rest.split_once('/').ok_or(TopicError::Unknown)?;
        let name = || DeviceName::try_from(device).map_err(TopicError::Device);
        match kind {
            "up" => name().map(Self::Up),
            "down" => name().map(Self::Down),
            "status" => name().map(Self::Status),
            _ => Err(TopicError::Unknown),
        }
    }
}

/// The client id of a device.
pub fn device_client_id(site: &SiteName, device: &DeviceName) -> ClientId {
    let mut text = ClientId::new();
    let _ = write!(text, "tidegate-{site}-{device}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back_as_written() {
        let site = SiteName::try_from("pump-house").unwrap();
        let device = DeviceName::try_from("pump-1").unwrap();
        for topic in [
            Topic::Up(device.clone()),
            Topic::Down(device.clone()),
            Topic::Status(device),
            Topic::Gateway,
        ] {
            assert_eq!(Topic::parse(&site, &topic.text(&site)), Ok(topic));
        }
    }

    #[test]
    fn longest_names_fit() {
        let site = SiteName::try_from("s".repeat(24).as_str()).unwrap();
        let device = DeviceName::try_from("d".repeat(32).as_str()).unwrap();
        assert!(
            Topic::Status(device.clone())
                .text(&site)
                .ends_with("/status")
        );
        assert_eq!(device_client_id(&site, &device).len(), CLIENT_ID_BYTES_MAX);
    }

    #[test]
    fn a_foreign_topic_is_refused() {
        let site = SiteName::try_from("pump-house").unwrap();
        assert_eq!(
            Topic::parse(&site, "tidegate/v1/pump-house2/x/up"),
            Err(TopicError::Foreign)
        );
        assert_eq!(
            Topic::parse(&site, "tidegate/v1/pump-house/x/sideways"),
            Err(TopicError::Unknown)
        );
        assert!(matches!(
            Topic::parse(&site, "tidegate/v1/pump-house/a b/up"),
            Err(TopicError::Device(NameError::Character { at: 1 }))
        ));
    }
}
