//! `[security]`.

use serde_json::{Value, json};

use super::sink::secret;
use super::{about, by_default, duration, duration_by_default, one_of_names, table, whole};
use crate::rules::settings::QuarantineSettings;
use crate::rules::typed::{FRAMES, OFFENCES, PUBLISHERS, UNTIL_RELEASED};

pub(super) fn security() -> Value {
    table(
        "[security]",
        "Which devices may speak: see docs/devices.md",
        &[],
        vec![
            (
                "frames",
                about(
                    "Which frames are taken; left out, only sealed ones once a device is registered",
                    one_of_names(&FRAMES.map(|(name, _)| name)),
                ),
            ),
            (
                "key",
                about(
                    "What device keys are sealed under: 64 hexadecimal digits or base64 of 32 bytes",
                    secret("`key`"),
                ),
            ),
            (
                "publishers",
                about(
                    "Who may publish on a device's topics; left out, only that device if the broker inside has TLS or listens on loopback, else anyone",
                    one_of_names(&PUBLISHERS.map(|(name, _)| name)),
                ),
            ),
            ("quarantine", quarantine()),
        ],
    )
}

fn quarantine() -> Value {
    let default = QuarantineSettings::default();
    table(
        "`quarantine`",
        "When a device that offends is held, and for how long: see docs/security.md",
        &[],
        vec![
            (
                "offences",
                about(
                    "So many are one too many; half of them slow the device down",
                    by_default(default.offences, whole(*OFFENCES.start(), *OFFENCES.end())),
                ),
            ),
            (
                "within",
                about(
                    "In which time so many are forgotten",
                    duration_by_default(default.within_us as i64),
                ),
            ),
            (
                "hold",
                about(
                    "How long the device is held",
                    json!({ "anyOf": [duration(), { "enum": [UNTIL_RELEASED] }], "default": "1h" }),
                ),
            ),
        ],
    )
}
