//! `[security]`: which frames are taken, and where the key stands that secrets are sealed under.

use super::sink::secret;
use crate::rules::mistake::Findings;
use crate::rules::settings::{Frames, SecuritySettings};
use crate::rules::tree::{Section, choice};

/// What `frames` may say.
pub(in crate::rules) const FRAMES: [(&str, Frames); 2] = [
    ("require", Frames::Require),
    ("allow-plain", Frames::AllowPlain),
];

/// Reads the section; what is mistaken in it is among the findings, and then nothing runs.
pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> SecuritySettings {
    let frames = section
        .get("frames")
        .and_then(|value| choice("`frames`", value, &FRAMES, findings));
    let key = section
        .get("key")
        .and_then(|value| secret("`key`", value, findings));
    section.close(findings);
    SecuritySettings { frames, key }
}
