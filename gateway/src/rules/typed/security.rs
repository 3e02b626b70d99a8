//! `[security]`: which frames are taken, where the key stands that secrets are sealed under, and
//! what is done about devices that offend.

use toml::de::DeValue;

use super::rule::TIME_US_MAX;
use super::sink::secret;
use crate::rules::mistake::Findings;
use crate::rules::settings::{Frames, Publishers, QuarantineSettings, SecuritySettings};
use crate::rules::tree::{Section, Value, choice, duration, whole};

/// What `frames` may say.
pub(in crate::rules) const FRAMES: [(&str, Frames); 2] = [
    ("require", Frames::Require),
    ("allow-plain", Frames::AllowPlain),
];
/// What `publishers` may say.
pub(in crate::rules) const PUBLISHERS: [(&str, Publishers); 2] = [
    ("authenticated", Publishers::Authenticated),
    ("anyone", Publishers::Anyone),
];
/// Fewest and most `offences`.
pub(in crate::rules) const OFFENCES: std::ops::RangeInclusive<u64> = 10..=1_000_000;
/// Shortest `within` and `hold`, in µs.
const TIME_US_MIN: i64 = 1_000_000;
/// What `hold` says instead of a duration.
pub(in crate::rules) const UNTIL_RELEASED: &str = "until-released";

/// Reads the section; what is mistaken in it is among the findings, and then nothing runs.
pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> SecuritySettings {
    let frames = section
        .get("frames")
        .and_then(|value| choice("`frames`", value, &FRAMES, findings));
    let key = section
        .get("key")
        .and_then(|value| secret("`key`", value, findings));
    let publishers = section
        .get("publishers")
        .and_then(|value| choice("`publishers`", value, &PUBLISHERS, findings));
    let quarantine = section
        .get("quarantine")
        .map(|value| quarantine(value, findings));
    section.close(findings);
    SecuritySettings {
        frames,
        key,
        publishers,
        quarantine: quarantine.unwrap_or_default(),
    }
}

fn quarantine(value: &Value<'_>, findings: &mut Findings) -> QuarantineSettings {
    const EXPECTED: &str = "a table such as { offences = 100, within = \"10m\", hold = \"1h\" }";
    let mut settings = QuarantineSettings::default();
    let Some(mut section) = Section::of_value("`quarantine`", value, &[], EXPECTED, findings)
    else {
        return settings;
    };
    let times = TIME_US_MIN..=TIME_US_MAX;
    let offences = section
        .get("offences")
        .and_then(|value| whole("`offences`", value, OFFENCES, findings));
    let within = section
        .get("within")
        .and_then(|value| duration("`within`", value, times.clone(), findings));
    let hold = section.get("hold").map(|value| match value.get_ref() {
        DeValue::String(typed) if typed == UNTIL_RELEASED => None,
        _ => duration("`hold`", value, times, findings),
    });
    section.close(findings);
    if let Some(offences) = offences {
        settings.offences = u32::try_from(offences).unwrap_or(u32::MAX);
    }
    settings.within_us = within.map_or(settings.within_us, i64::unsigned_abs);
    if let Some(hold) = hold {
        settings.hold_us = hold.map(i64::unsigned_abs);
    }
    settings
}
