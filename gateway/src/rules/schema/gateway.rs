//! `[gateway]`, `[mqtt]`, `[log]`, `[limits]` and `[clock]`.

use serde_json::{Value, json};
use tidegate_shared::limits::{SITE_BYTES_MAX, WINDOW_MAX};

use super::{
    about, by_default, duration_by_default, path, size_by_default, table, text, tls, whole,
};
use crate::entry::Limits;
use crate::rules::resolve::DATA_DIR;
use crate::rules::settings::{IntakeSettings, LogSettings};
use crate::rules::typed::DEVICES_MAX_BOUND;

pub(super) fn gateway() -> Value {
    table(
        "[gateway]",
        "The gateway itself",
        &["site"],
        vec![
            (
                "site",
                json!({
                    "description": "Names the site in topics and records",
                    "type": "string",
                    "pattern": "^[A-Za-z0-9._-]+$",
                    "maxLength": SITE_BYTES_MAX,
                }),
            ),
            (
                "data_dir",
                about(
                    "Log, spool and control socket; relative to the working directory",
                    by_default(DATA_DIR, json!({ "type": "string", "minLength": 1 })),
                ),
            ),
        ],
    )
}

pub(super) fn mqtt() -> Value {
    table(
        "[mqtt]",
        "Which broker: one of your own by `url`, or the one inside the gateway",
        &[],
        vec![
            (
                "url",
                about(
                    "A broker of your own: mqtt:// or mqtts://[user:password@]host[:port]",
                    json!({ "type": "string", "pattern": "^mqtts?://" }),
                ),
            ),
            (
                "tls",
                tls::client(
                    "With mqtts://: whom to trust and who to be; the system's certificates without ca",
                ),
            ),
            (
                "embedded",
                table(
                    "`embedded`",
                    "The broker inside the gateway",
                    &["listen"],
                    vec![
                        (
                            "listen",
                            about("Address and port, such as 127.0.0.1:1883", text()),
                        ),
                        ("tls", broker_tls()),
                    ],
                ),
            ),
        ],
    )
}

fn broker_tls() -> Value {
    tls::server(
        "`tls` in `embedded`",
        "The broker inside speaks TLS, and nothing else",
        vec![(
            "client_ca",
            about(
                "PEM file of the authorities that sign devices' certificates; each device then needs one with its name",
                path(),
            ),
        )],
    )
}

pub(super) fn log() -> Value {
    let default = LogSettings::default();
    table(
        "[log]",
        "How the log is written",
        &[],
        vec![
            (
                "commit_ms",
                about(
                    "Longest wait of a frame for its commit batch",
                    by_default(default.commit_ms, whole(0, 60_000)),
                ),
            ),
            (
                "segment_bytes",
                about(
                    "Least growth before a new segment begins",
                    size_by_default(default.segment_bytes),
                ),
            ),
            (
                "bytes_max",
                about(
                    "Segments beyond this are recycled, oldest first",
                    size_by_default(default.bytes_max),
                ),
            ),
        ],
    )
}

pub(super) fn limits() -> Value {
    let (limits, intake) = (Limits::default(), IntakeSettings::default());
    table(
        "[limits]",
        "Limits of the gateway: docs/limits.md says what happens at each",
        &[],
        vec![
            (
                "devices_max",
                about(
                    "Devices admitted; others are refused and counted",
                    by_default(limits.devices_max, whole(1, DEVICES_MAX_BOUND)),
                ),
            ),
            (
                "pending_bytes_max",
                about(
                    "Frames that may wait for their fsync, all devices together",
                    size_by_default(intake.pending_bytes_max as u64),
                ),
            ),
            (
                "window_max",
                about(
                    "Frames one device may have in flight",
                    by_default(intake.window_max, whole(1, WINDOW_MAX.into())),
                ),
            ),
            (
                "pending_catalog_max",
                about(
                    "Batches of one device that wait for their catalog",
                    by_default(limits.pending_catalog_max, whole(1, 65_536)),
                ),
            ),
            (
                "revise_for",
                about(
                    "How long a window closed early may still be revised",
                    duration_by_default(limits.revise_for_us),
                ),
            ),
            (
                "offline_close",
                about(
                    "A device gone this long has its windows closed",
                    duration_by_default(limits.offline_close_us),
                ),
            ),
        ],
    )
}

pub(super) fn clock() -> Value {
    let limits = Limits::default();
    table(
        "[clock]",
        "The gateway's own clock, for devices without one: see docs/clock.md",
        &[],
        vec![
            (
                "wait",
                about(
                    "Longest wait of records for a synchronised clock; \"0s\": none",
                    duration_by_default(limits.clock_wait_us),
                ),
            ),
            (
                "hold_bytes_max",
                about(
                    "Frames held in memory meanwhile; beyond, none waits any longer",
                    size_by_default(limits.clock_hold_bytes_max),
                ),
            ),
        ],
    )
}
