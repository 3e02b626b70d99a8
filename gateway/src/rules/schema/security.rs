//! `[security]`.

use serde_json::Value;

use super::sink::secret;
use super::{about, one_of_names, table};
use crate::rules::typed::FRAMES;

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
        ],
    )
}
