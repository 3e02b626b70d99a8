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
    /// speak in another's name, and of any other nothing is known.
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

    /// What is done about devices that offend; `inside` says whether the broker is the gateway's.
    pub fn policy(&self, inside: bool) -> Policy {
        let QuarantineSettings {
            offences,
            within_us,
            hold_us,
        } = self.quarantine;
        let vouched = match self.publishers {
            Some(publishers) => publishers == Publishers::Authenticated,
            None => inside,
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
}
