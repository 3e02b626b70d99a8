//! `[security]`: whether frames have to be sealed, and the key that secrets are sealed under at rest.

use super::Secret;
pub use crate::session::Frames;

/// `[security]`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SecuritySettings {
    /// `security.frames`; left out, frames have to be sealed once a device is registered.
    pub frames: Option<Frames>,
    /// `security.key`: what device keys are sealed under in the data directory.
    pub key: Option<Secret>,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_to_be_sealed_once_a_device_is_registered_unless_it_is_said() {
        let said = |frames| SecuritySettings { frames, key: None };
        assert_eq!(said(None).frames(false), Frames::AllowPlain);
        assert_eq!(said(None).frames(true), Frames::Require);
        for frames in [Frames::Require, Frames::AllowPlain] {
            assert_eq!(said(Some(frames)).frames(false), frames);
            assert_eq!(said(Some(frames)).frames(true), frames);
        }
    }
}
