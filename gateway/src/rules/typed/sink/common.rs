//! Common: queue, batches, time and pace, which sinks of every type have.

use super::or_default;
use crate::rules::mistake::Findings;
use crate::rules::settings::{SinkKind, SinkSettings};
use crate::rules::tree::{Section, Value, duration, size, whole};

/// Longest time that a sink may name, in µs.
const SINK_US_MAX: i64 = 3_600_000_000;

/// What was typed of it, or its defaults; `None` where it was mistaken.
pub(super) struct Common {
    spool_bytes_max: Option<u64>,
    batch_records_max: Option<u64>,
    batch_bytes_max: Option<u64>,
    age_us: Option<i64>,
    timeout_us: Option<i64>,
    dead_letters_max: Option<u64>,
    drain: Option<Drain>,
}

/// How a backlog goes out.
struct Drain {
    bytes_per_s: Option<u64>,
    records_per_s: Option<u64>,
    spread_us: i64,
}

impl Common {
    /// Reads it; the pace of a backlog has defaults where records leave this machine.
    pub(super) fn read(
        section: &mut Section<'_, '_>,
        is_remote: bool,
        findings: &mut Findings,
    ) -> Self {
        let mut sized = |key, default, least, most| {
            let read = |value: &Value<'_>| size(&format!("`{key}`"), value, least..=most, findings);
            or_default(section, key, default, read)
        };
        let spool_bytes_max = sized(
            "spool_bytes_max",
            SinkSettings::SPOOL_BYTES_MAX,
            64 << 10,
            1 << 40,
        );
        let batch_bytes_max = sized(
            "batch_bytes_max",
            SinkSettings::BATCH_BYTES_MAX,
            1 << 10,
            64 << 20,
        );
        let mut counted = |key, default, least, most| {
            let read =
                |value: &Value<'_>| whole(&format!("`{key}`"), value, least..=most, findings);
            or_default(section, key, default, read)
        };
        let batch_records_max = counted(
            "batch_records_max",
            SinkSettings::BATCH_RECORDS_MAX,
            1,
            100_000,
        );
        let dead_letters_max = counted(
            "dead_letters_max",
            SinkSettings::DEAD_LETTERS_MAX,
            1,
            1_000_000,
        );
        let age_us = or_default(section, "batch_age", 0, |value| {
            duration("`batch_age`", value, 0..=SINK_US_MAX, findings)
        });
        let timeout = (SinkSettings::TIMEOUT_MS * 1_000).cast_signed();
        let timeout_us = or_default(section, "timeout", timeout, |value| {
            duration("`timeout`", value, 100_000..=SINK_US_MAX, findings)
        });
        Self {
            spool_bytes_max,
            batch_records_max,
            batch_bytes_max,
            age_us,
            timeout_us,
            dead_letters_max,
            drain: Drain::read(section, is_remote, findings),
        }
    }

    /// The settings of a sink.
    pub(super) fn settings(self, name: &str, kind: SinkKind) -> Option<SinkSettings> {
        let ms = |us: i64| (us / 1_000).unsigned_abs();
        let drain = self.drain?;
        Some(SinkSettings {
            name: name.to_owned(),
            kind,
            spool_bytes_max: self.spool_bytes_max?,
            batch_records_max: self.batch_records_max? as usize,
            batch_bytes_max: self.batch_bytes_max? as usize,
            batch_age_ms: ms(self.age_us?),
            timeout_ms: ms(self.timeout_us?),
            dead_letters_max: self.dead_letters_max?,
            drain_bytes_per_s: drain.bytes_per_s,
            drain_records_per_s: drain.records_per_s,
            drain_spread_ms: ms(drain.spread_us),
        })
    }
}

impl Drain {
    fn read(
        section: &mut Section<'_, '_>,
        is_remote: bool,
        findings: &mut Findings,
    ) -> Option<Self> {
        let bytes = is_remote.then_some(SinkSettings::DRAIN_BYTES_PER_S);
        let bytes_per_s = or_default(section, "drain_bytes_per_s", bytes, |value| {
            size("`drain_bytes_per_s`", value, 1 << 10..=1 << 40, findings).map(Some)
        });
        let records = is_remote.then_some(SinkSettings::DRAIN_RECORDS_PER_S);
        let records_per_s = or_default(section, "drain_records_per_s", records, |value| {
            whole("`drain_records_per_s`", value, 1..=1_000_000_000, findings).map(Some)
        });
        let spread_ms = if is_remote {
            SinkSettings::DRAIN_SPREAD_MS
        } else {
            0
        };
        let spread = (spread_ms * 1_000).cast_signed();
        let spread_us = or_default(section, "drain_spread", spread, |value| {
            duration("`drain_spread`", value, 0..=SINK_US_MAX, findings)
        });
        Some(Self {
            bytes_per_s: bytes_per_s?,
            records_per_s: records_per_s?,
            spread_us: spread_us?,
        })
    }
}
