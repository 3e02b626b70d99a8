//! `[security]`: whether frames have to be sealed, and the key that secrets are sealed under at rest.

use super::Secret;
pub use crate::session::Frames;
use crate::session::Policy;

/// `[security]`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SecuritySettings {
    /// `security.frames`; left out, frames have to be sealed once a device is registered.
    pub frames: Option<Frames>,
    /// `security.key`: what device keys are sealed under in the data directory.
    pub key: Option<Secret>,
    /// `security.publishers`: what the broker makes sure of; left out, the one inside lets nobody
    /// speak in another's name where nobody can read passwords on their way, and of any other
    /// nothing is known.
    pub publishers: Option<Publishers>,
    /// `security.quarantine`.
    pub quarantine: QuarantineSettings,
}

/// `security.publishers`: who may publish on a device's topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publishers {
    /// `"authenticated"`: the broker lets only that device.
    Authenticated,
    /// `"anyone"`: whoever reaches the broker.
    Anyone,
}

/// `security.quarantine`: when a device goes there, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineSettings {
    /// `offences`, default 100: so many are one too many.
    pub offences: u32,
    /// `within`, default 10 min, in µs: in which time so many drain away.
    pub within_us: u64,
    /// `hold`, default 1 h, in µs; none: until somebody releases the device.
    pub hold_us: Option<u64>,
}

impl Default for QuarantineSettings {
    fn default() -> Self {
        let Policy {
            offences,
            within_us,
            hold_us,
            ..
        } = Policy::default();
        Self {
            offences,
            within_us,
            hold_us,
        }
    }
}

impl SecuritySettings {
    /// Which frames are taken, as the registry has a device or none.
    pub fn frames(&self, any_is_registered: bool) -> Frames {
        let by_default = if any_is_registered {
            Frames::Require
        } else {
            Frames::AllowPlain
        };
        self.frames.unwrap_or(by_default)
    }

    /// What is done about devices that offend, as the broker by itself lets nobody speak in
    /// another's name or not.
    pub(super) fn policy(&self, is_vouched: bool) -> Policy {
        let QuarantineSettings {
            offences,
            within_us,
            hold_us,
        } = self.quarantine;
        let vouched = match self.publishers {
            Some(publishers) => publishers == Publishers::Authenticated,
            None => is_vouched,
        };
        Policy {
            offences,
            within_us,
            hold_us,
            vouched,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MqttSettings, ServeTls};
    use super::*;

    #[test]
    fn frames_have_to_be_sealed_once_a_device_is_registered_unless_it_is_said() {
        let said = |frames| SecuritySettings {
            frames,
            ..SecuritySettings::default()
        };
        assert_eq!(said(None).frames(false), Frames::AllowPlain);
        assert_eq!(said(None).frames(true), Frames::Require);
        for frames in [Frames::Require, Frames::AllowPlain] {
            assert_eq!(said(Some(frames)).frames(false), frames);
            assert_eq!(said(Some(frames)).frames(true), frames);
        }
    }

    /// Whoever listened once has the password of a device that sent it over a network without TLS.
    #[test]
    fn a_broker_vouches_for_publishers_where_nobody_reads_their_passwords_or_it_is_said() {
        let embedded = |listen: &str, is_secured: bool| MqttSettings::Embedded {
            listen: listen.parse().unwrap(),
            tls: is_secured.then(|| ServeTls {
                cert: "broker.pem".into(),
                key: "broker.key".into(),
                client_ca: None,
            }),
        };
        let external = MqttSettings::External {
            host: "127.0.0.1".into(),
            port: 1883,
            credentials: None,
            tls: None,
        };
        let said = |publishers| SecuritySettings {
            publishers,
            ..SecuritySettings::default()
        };
        for (mqtt, is_vouched) in [
            (embedded("127.0.0.1:1883", false), true),
            (embedded("[::1]:1883", false), true),
            (embedded("[::ffff:127.0.0.1]:1883", false), true),
            (embedded("0.0.0.0:1883", false), false),
            (embedded("192.0.2.1:1883", false), false),
            (embedded("0.0.0.0:8883", true), true),
            (external, false),
        ] {
            let vouched = |publishers| said(publishers).policy(mqtt.vouches()).vouched;
            assert_eq!(vouched(None), is_vouched, "{mqtt:?}");
            assert!(vouched(Some(Publishers::Authenticated)), "{mqtt:?}");
            assert!(!vouched(Some(Publishers::Anyone)), "{mqtt:?}");
        }
    }
}
