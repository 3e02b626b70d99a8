//! `[sink.NAME]`.

use serde_json::{Value, json};

use super::{
    about, by_default, duration, duration_by_default, one_of_names, path, size, size_by_default,
    table, text, tls, whole,
};
use crate::rules::settings::SinkSettings;
use crate::rules::typed::{HEADERS_MAX, type_names};

pub(super) fn sink() -> Value {
    let mut keys = vec![(
        "type",
        about(
            "Which kind of receiver: docs/sinks.md has every one with its keys",
            one_of_names(&type_names()),
        ),
    )];
    keys.extend(connection());
    keys.extend(bodies());
    keys.extend(messages());
    keys.extend(files());
    keys.extend(queue());
    table("[sink.NAME]", "Where records go", &["type"], keys)
}

/// A secret: where it stands.
pub(super) fn secret(title: &str) -> Value {
    table(
        title,
        "A secret, which never stands in the configuration itself",
        &[],
        vec![
            ("file", about("File that holds it", path())),
            ("env", about("Environment variable that holds it", text())),
            (
                "credential",
                about("Systemd credential of the gateway's service", text()),
            ),
        ],
    )
}

fn connection() -> Vec<(&'static str, Value)> {
    vec![
        (
            "url",
            about(
                "Of all but file and stdout: http(s)://, mqtt(s)://, nats:// or tls://",
                json!({ "type": "string", "pattern": "^(https?|mqtts?|nats|tls)://" }),
            ),
        ),
        (
            "auth",
            auth(
                "Of all with a url: who sends",
                vec![(
                    "credentials",
                    about("Of `nats`: file with user JWT and seed", path()),
                )],
            ),
        ),
        (
            "headers",
            headers("Of those over HTTP: headers of every request"),
        ),
        (
            "tls",
            tls::client(
                "Of all with a url: whom to trust and who to be; the system's certificates without ca",
            ),
        ),
    ]
}

pub(super) fn headers(what: &str) -> Value {
    json!({
        "description": what,
        "type": "object",
        "maxProperties": HEADERS_MAX,
        "additionalProperties": { "anyOf": [text(), secret("a header")] },
    })
}

/// With the keys that only some have.
pub(super) fn auth(of: &str, more: Vec<(&str, Value)>) -> Value {
    let mut keys = vec![
        ("user", about("User's name", text())),
        ("password", secret("`password`")),
        ("bearer", secret("`bearer`")),
        ("token", secret("`token`")),
    ];
    keys.extend(more);
    table("`auth`", of, &[], keys)
}

fn bodies() -> Vec<(&'static str, Value)> {
    vec![
        (
            "format",
            about(
                "Of `http`: ndjson, json or postcard; of `file`: ndjson, csv or parquet",
                by_default(
                    "ndjson",
                    one_of_names(&["ndjson", "json", "postcard", "csv", "parquet"]),
                ),
            ),
        ),
        (
            "compress",
            about(
                "Of `http`, `influxdb` (no zstd) and `otlp`: what bodies are compressed with",
                by_default("gzip", one_of_names(&["gzip", "zstd", "none"])),
            ),
        ),
        (
            "api",
            about(
                "Of `influxdb`: which version's write endpoint",
                one_of_names(&["v1", "v2", "v3"]),
            ),
        ),
        (
            "database",
            about("Of `influxdb` v1 and v3: database", path()),
        ),
        (
            "retention_policy",
            about("Of `influxdb` v1: retention policy", path()),
        ),
        ("org", about("Of `influxdb` v2: organisation", path())),
        ("bucket", about("Of `influxdb` v2: bucket", path())),
        (
            "measurement",
            about("Of `influxdb`: measurement", by_default("{rule}", path())),
        ),
        (
            "prefix",
            about(
                "Of `prometheus`: how metric names begin",
                by_default(
                    "tidegate",
                    json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }),
                ),
            ),
        ),
        (
            "revisions",
            about(
                "Of `prometheus`: rules that revise are refused, or a revision is a series of its own",
                by_default("refuse", one_of_names(&["refuse", "label"])),
            ),
        ),
    ]
}

fn messages() -> Vec<(&'static str, Value)> {
    vec![
        (
            "version",
            about(
                "Of `mqtt`: version of the protocol",
                by_default("5", one_of_names(&["5", "3.1.1"])),
            ),
        ),
        (
            "client_id",
            about("Of `mqtt`: tidegate-SITE-SINK by default", path()),
        ),
        (
            "payload",
            about(
                "Of `mqtt`: what a message holds",
                by_default("json", one_of_names(&["json", "sparkplug-b"])),
            ),
        ),
        (
            "topic",
            about(
                "Of `mqtt` with json: topic, with {site}, {device}, {sensor} and {rule}",
                by_default(
                    "tidegate/v1/{site}/records/{device}/{sensor}/{rule}",
                    path(),
                ),
            ),
        ),
        (
            "group",
            about("Of `mqtt` with sparkplug-b: the site by default", path()),
        ),
        (
            "edge_node",
            about(
                "Of `mqtt` with sparkplug-b: edge node",
                by_default("tidegate", path()),
            ),
        ),
        (
            "retain",
            about(
                "Of `mqtt` with json: the newest record of a topic stays there",
                by_default(false, json!({ "type": "boolean" })),
            ),
        ),
        (
            "subject",
            about(
                "Of `nats`: subject, with {site}, {device}, {sensor} and {rule}",
                by_default("tidegate.{site}.{device}.{sensor}.{rule}", path()),
            ),
        ),
    ]
}

fn files() -> Vec<(&'static str, Value)> {
    vec![
        (
            "path",
            about(
                "Of `file`: which one, relative to the working directory",
                path(),
            ),
        ),
        (
            "rotate",
            table(
                "`rotate`",
                "Of `file`: when it is closed under another name and a new one begun",
                &[],
                vec![
                    ("size", about("After so many bytes", size())),
                    ("age", about("So long after its first record", duration())),
                    (
                        "keep",
                        about("Closed files kept; all by default", whole(1, 100_000)),
                    ),
                ],
            ),
        ),
    ]
}

fn queue() -> Vec<(&'static str, Value)> {
    vec![
        (
            "spool_bytes_max",
            about(
                "Budget of each of its queues while the receiver is away",
                size_by_default(SinkSettings::SPOOL_BYTES_MAX),
            ),
        ),
        (
            "batch_records_max",
            about(
                "Most records of a request",
                by_default(SinkSettings::BATCH_RECORDS_MAX, whole(1, 100_000)),
            ),
        ),
        (
            "batch_bytes_max",
            about(
                "Most body bytes of a request, before compression",
                size_by_default(SinkSettings::BATCH_BYTES_MAX),
            ),
        ),
        (
            "batch_age",
            about(
                "How long records wait for more to fill a request; those of high priority never do",
                duration_by_default(0),
            ),
        ),
        (
            "timeout",
            about(
                "Longest time a request may take",
                duration_by_default((SinkSettings::TIMEOUT_MS * 1_000).cast_signed()),
            ),
        ),
        (
            "dead_letters_max",
            about(
                "Records that the receiver refused and that are kept; when full, delivery stops",
                by_default(SinkSettings::DEAD_LETTERS_MAX, whole(1, 1_000_000)),
            ),
        ),
        (
            "drain_bytes_per_s",
            about(
                "Pace of a backlog after an outage: body bytes before compression; file and stdout have none by default",
                size_by_default(SinkSettings::DRAIN_BYTES_PER_S),
            ),
        ),
        (
            "drain_records_per_s",
            about(
                "Pace of a backlog after an outage: records; file and stdout have none by default",
                by_default(SinkSettings::DRAIN_RECORDS_PER_S, whole(1, 1_000_000_000)),
            ),
        ),
        (
            "drain_spread",
            about(
                "A backlog begins after a wait drawn up to this; 0s by default for file and stdout",
                duration_by_default((SinkSettings::DRAIN_SPREAD_MS * 1_000).cast_signed()),
            ),
        ),
    ]
}
