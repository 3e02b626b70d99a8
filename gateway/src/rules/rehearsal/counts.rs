//! `[[counts]]`: what has to become of the samples.

use super::expected::Names;
use crate::rehearsal::{Count, CountsWanted};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{Section, Value, whole};

/// Reads expected counts; their line is an offset until the text is at hand.
pub(super) fn read(
    number: usize,
    value: &Value<'_>,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<CountsWanted> {
    let title = format!("[[counts]] number {number}");
    let expected = "a section that begins with [[counts]]";
    let mut section = Section::of_value(title, value, &[], expected, findings)?;
    let rule = names.read("rule", &mut section, findings);
    let device = names.read("device", &mut section, findings);
    let sensor = names.read("sensor", &mut section, findings);
    let mut counts = Vec::new();
    let plain = [
        Count::Logged,
        Count::Rejected,
        Count::Unmatched,
        Count::Matched,
        Count::Late,
        Count::Folded,
        Count::Open,
    ];
    for count in plain {
        let value = section.get(count.name());
        if let Some(value) = value.filter(|_| rule.is_some() && !count.is_of_rules()) {
            findings
                .mistake(
                    Kind::Conflict,
                    value.span(),
                    format!("`{}` is not counted by rule", count.name()),
                    "it is counted by device and sensor",
                )
                .help("write it in a [[counts]] without `rule`");
        }
        counts.extend(value.and_then(|value| read_count(count, value, findings)));
    }
    if let Some(value) = section.get("filtered") {
        let expected = "a table such as { keep = 1, deadband = 2 }";
        if let Some(mut filtered) = Section::of_value("`filtered`", value, &[], expected, findings)
        {
            for (key, count) in [
                ("keep", Count::FilteredKeep),
                ("deadband", Count::FilteredDeadband),
            ] {
                let value = filtered.get(key);
                counts.extend(value.and_then(|value| read_count(count, value, findings)));
            }
            filtered.close(findings);
        }
    }
    let line = section.span.start;
    section.close(findings);
    Some(CountsWanted {
        number,
        line,
        device,
        sensor,
        rule,
        counts,
    })
}

fn read_count(count: Count, value: &Value<'_>, findings: &mut Findings) -> Option<(Count, u64)> {
    let name = format!("`{}`", count.name());
    let number = whole(&name, value, 0..=u64::from(u32::MAX), findings)?;
    Some((count, number))
}
