//! What check and repair found, as lines.

use std::fmt::Write;
use std::ops::Range;

use serde::Serialize;

use crate::inspection::check::{Report, RoomReport};
use crate::inspection::repair::{Repaired, Step};
use crate::rules::settings::Settings;
use crate::rules::show_size;

/// Ranges shown; more are only counted.
const RANGES_SHOWN_MAX: usize = 8;

/// One JSON object.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value)
        .expect("reports hold texts, numbers and lists under text keys, which are all JSON")
}

/// What a check found.
pub(super) fn check_lines(settings: &Settings, found: &Report) -> String {
    let mut out = format!("{}\n", settings.data_dir.display());
    for (room, report) in &found.rooms {
        let torn = report.sum(|one| one.walked.torn_bytes);
        let _ = writeln!(
            out,
            "  {room:<8} {} segments, {} batches, {} entries, {}; {} bases{}{}",
            report.segments.len(),
            report.sum(|one| one.walked.batches),
            report.sum(|one| one.walked.entries),
            show_size(report.sum(|one| one.walked.bytes)),
            report.bases.len(),
            if torn > 0 {
                format!("; {torn} bytes of a cut write, never acknowledged")
            } else {
                String::new()
            },
            if report.recycled_meanwhile > 0 {
                format!(
                    "; {} files were recycled meanwhile",
                    report.recycled_meanwhile
                )
            } else {
                String::new()
            },
        );
        room_lines(&mut out, report);
    }
    if !found.identity_readable {
        out.push_str("  identity cannot be read: the next start draws another gateway id\n");
    }
    out.push_str(if found.clean {
        "everything durable is there\n"
    } else {
        "DAMAGED: the next start goes on without what is lost\n"
    });
    out
}

fn room_lines(out: &mut String, report: &RoomReport) {
    for segment in &report.segments {
        for damage in &segment.walked.damaged {
            let _ = writeln!(
                out,
                "    DAMAGED {} at byte {}: {} bytes, {}",
                segment.file,
                damage.offset,
                damage.bytes,
                lost(damage.first..damage.end)
            );
        }
        let told = segment.walked.damaged.len() as u64;
        if segment.walked.damaged_places > told {
            let more = segment.walked.damaged_places - told;
            let _ = writeln!(out, "    DAMAGED {} in {more} more places", segment.file);
        }
        if segment.entries_unreadable > 0 {
            let _ = writeln!(
                out,
                "    UNREADABLE {}: {} entries of another version",
                segment.file, segment.entries_unreadable
            );
        }
    }
    for base in report.bases.iter().filter(|base| !base.is_intact()) {
        let _ = if base.readable {
            writeln!(
                out,
                "    DAMAGED {}: parts {}, and {} without a name",
                base.file,
                base.parts_damaged.join(", "),
                base.parts_unnamed
            )
        } else {
            writeln!(out, "    DAMAGED {}: it is no base any more", base.file)
        };
    }
    ranges(out, "    MISSING positions", &report.missing);
    ranges(
        out,
        "    missing before the newest base, for replay and explain only: positions",
        &report.missing_before_base,
    );
}

fn lost(positions: Range<u64>) -> String {
    if positions.is_empty() {
        "no positions known to be lost".to_owned()
    } else {
        format!(
            "positions {} to {} lost",
            positions.start,
            positions.end - 1
        )
    }
}

fn ranges(out: &mut String, what: &str, ranges: &[Range<u64>]) {
    for range in ranges.iter().take(RANGES_SHOWN_MAX) {
        let _ = writeln!(out, "{what} {} to {}", range.start, range.end - 1);
    }
    if ranges.len() > RANGES_SHOWN_MAX {
        let _ = writeln!(
            out,
            "{what}: {} more ranges",
            ranges.len() - RANGES_SHOWN_MAX
        );
    }
}

/// What a repair did, or would do.
pub(super) fn repair_lines(settings: &Settings, repaired: &Repaired) -> String {
    let mut out = check_lines(settings, &repaired.found);
    if repaired.steps.is_empty() {
        out.push_str("nothing to repair\n");
    }
    for step in &repaired.steps {
        let _ = match step {
            Step::Salvaged {
                file,
                kept_as,
                entries,
                entries_lost,
            } => writeln!(
                out,
                "  {file}: {entries} entries go on, {entries_lost} are lost; the damaged file is kept as {kept_as}"
            ),
            Step::MovedAside { file, kept_as } => {
                writeln!(
                    out,
                    "  {file}: another base is used; it is kept as {kept_as}"
                )
            }
            Step::Covered {
                entries_lost,
                records_lost,
                parts_lost,
            } => writeln!(
                out,
                "  new bases cover the loss of {entries_lost} entries and {records_lost} waiting records{}",
                if parts_lost.is_empty() {
                    String::new()
                } else {
                    format!(" and of the state of {}", parts_lost.join(", "))
                }
            ),
            Step::LeftToStart { entries_lost } => writeln!(
                out,
                "  the state that record ids count from is lost: the next start begins them anew and misses {entries_lost} entries"
            ),
        };
    }
    out
}
