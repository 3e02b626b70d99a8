//! `[[counts]]`: what has to become of the samples.

use super::expected::Names;
use crate::rehearsal::{Count, CountsWanted, FILTERS, REJECTIONS, filter, rejection};
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
        ("logged", Count::Logged),
        ("unmatched", Count::Unmatched),
        ("matched", Count::Matched),
        ("late", Count::Late),
        ("examined", Count::Examined),
        ("folded", Count::Folded),
        ("open", Count::Open),
    ];
    for (name, count) in plain {
        let Some(value) = section.get(name) else {
            continue;
        };
        check_rule(count, rule.as_ref(), value, findings);
        counts.extend(read_count(count, value, findings));
    }
    if let Some(value) = section.get("filtered") {
        let reasons = FILTERS.map(|why| (filter(why), Count::Filtered(why)));
        read_reasons("filtered", value, &reasons, &mut counts, findings);
    }
    if let Some(value) = section.get("rejected") {
        check_rule(Count::Rejected, rule.as_ref(), value, findings);
        if value.get_ref().is_table() {
            let reasons = REJECTIONS.map(|why| (rejection(why), Count::RejectedAs(why)));
            read_reasons("rejected", value, &reasons, &mut counts, findings);
        } else {
            counts.extend(read_count(Count::Rejected, value, findings));
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

/// What is not counted by rule cannot be asked of one.
fn check_rule(count: Count, rule: Option<&String>, value: &Value<'_>, findings: &mut Findings) {
    if rule.is_none() || count.is_of_rules() {
        return;
    }
    findings
        .mistake(
            Kind::Conflict,
            value.span(),
            format!("`{}` is not counted by rule", count.name()),
            "it is counted by device and sensor",
        )
        .help("write it in a [[counts]] without `rule`");
}

/// Reads a table of counts by reason.
fn read_reasons(
    name: &str,
    value: &Value<'_>,
    reasons: &[(&'static str, Count)],
    counts: &mut Vec<(Count, u64)>,
    findings: &mut Findings,
) {
    let first = reasons.first().map_or("", |(name, _)| *name);
    let expected = format!("a table such as {{ {first} = 1 }}");
    let section = Section::of_value(format!("`{name}`"), value, &[], &expected, findings);
    let Some(mut section) = section else {
        return;
    };
    for (reason, count) in reasons {
        let value = section.get(reason);
        counts.extend(value.and_then(|value| read_count(*count, value, findings)));
    }
    section.close(findings);
}

fn read_count(count: Count, value: &Value<'_>, findings: &mut Findings) -> Option<(Count, u64)> {
    let name = format!("`{}`", count.name());
    let number = whole(&name, value, 0..=u64::from(u32::MAX), findings)?;
    Some((count, number))
}
