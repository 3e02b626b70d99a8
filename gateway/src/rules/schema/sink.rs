//! `[sink.NAME]`.

use serde_json::{Value, json};

use super::{about, by_default, duration_by_default, one_of_names, size_by_default, table, whole};
use crate::rules::settings::SinkSettings;

pub(super) fn sink() -> Value {
    table(
        "[sink.NAME]",
        "Where records go",
        &["type"],
        vec![
            (
                "type",
                about(
                    "http: POST of NDJSON; file: NDJSON appended to a file",
                    one_of_names(&["http", "file"]),
                ),
            ),
            (
                "url",
                about(
                    "Of `http`: where to post",
                    json!({ "type": "string", "pattern": "^https?://" }),
                ),
            ),
            (
                "compress",
                about(
                    "Of `http`: what bodies are compressed with",
                    by_default("gzip", one_of_names(&["gzip", "none"])),
                ),
            ),
            (
                "path",
                about(
                    "Of `file`: which one, relative to the working directory",
                    json!({ "type": "string", "minLength": 1 }),
                ),
            ),
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
                    by_default(SinkSettings::DEAD_LETTERS_MAX, whole(0, 1_000_000)),
                ),
            ),
            (
                "drain_bytes_per_s",
                about(
                    "Pace of a backlog after an outage: body bytes before compression; a file has none by default",
                    size_by_default(SinkSettings::DRAIN_BYTES_PER_S),
                ),
            ),
            (
                "drain_records_per_s",
                about(
                    "Pace of a backlog after an outage: records; a file has none by default",
                    by_default(SinkSettings::DRAIN_RECORDS_PER_S, whole(1, 1_000_000_000)),
                ),
            ),
            (
                "drain_spread",
                about(
                    "A backlog begins after a wait drawn up to this; 0s by default for a file",
                    duration_by_default((SinkSettings::DRAIN_SPREAD_MS * 1_000).cast_signed()),
                ),
            ),
        ],
    )
}
