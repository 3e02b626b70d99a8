//! Books: the three balances laid out for people: a verdict, the totals, then the rows, and what
//! is unknown or does not balance with its reason.

use std::fmt::Write;

use super::table::{align, grouped};
use crate::ledger::balance::{
    Balances, Bound, RuleTerms, SampleRow, SampleTerms, SinkTerms, Unknown,
};

const SAMPLES: [&str; 10] = [
    "taken",
    "suppressed",
    "failed",
    "lost on device",
    "rejected",
    "logged",
    "lost here",
    "unknown",
    "difference",
    "waiting frames",
];
const RULES: [&str; 7] = [
    "matched",
    "filtered",
    "late",
    "examined",
    "folded",
    "open",
    "difference",
];
const SINKS: [&str; 10] = [
    "folded",
    "delivered",
    "dead-lettered",
    "evicted",
    "dropped",
    "by budget",
    "waiting",
    "lost here",
    "unknown",
    "difference",
];

/// Lays out balances.
pub(super) fn render(balances: &Balances) -> String {
    let mut out = String::new();
    verdict(&mut out, balances);
    let total = &balances.total;
    let taken = balances.samples.iter().all(|row| row.taken.is_some());
    section(
        &mut out,
        "samples: taken = suppressed + failed + lost on device + rejected + logged + lost here + unknown",
        &SAMPLES,
        sample_cells(&total.samples, taken),
        balances.samples.iter().map(|row| {
            let name = row.sensor.as_deref().unwrap_or("(no sensor)");
            let cells = sample_cells(&row.terms, row.taken.is_some());
            (format!("{} {name}", row.device), cells)
        }),
    );
    section(
        &mut out,
        "rules: matched = filtered + late + examined + folded + open",
        &RULES,
        rule_cells(&total.rules),
        balances.rules.iter().map(|row| {
            let name = format!("{} {} {}", row.rule, row.device, row.sensor);
            (name, rule_cells(&row.terms))
        }),
    );
    if total.unmatched != 0 {
        let _ = writeln!(
            out,
            "  {} logged samples matched no rule",
            number(total.unmatched)
        );
    }
    section(
        &mut out,
        "sinks: folded = delivered + dead-lettered + evicted + dropped + by budget + waiting + lost here + unknown",
        &SINKS,
        sink_cells(&total.sinks),
        balances.sinks.iter().map(|row| {
            let name = format!("{} {} {} {}", row.sink, row.rule, row.device, row.sensor);
            (name, sink_cells(&row.terms))
        }),
    );
    unknowns(&mut out, balances);
    differences(&mut out, balances);
    out
}

fn verdict(out: &mut String, balances: &Balances) {
    let books = if balances.balanced {
        "the books balance"
    } else {
        "THE BOOKS DO NOT BALANCE: something was counted wrongly; what it is stands at the end"
    };
    let unknown = if balances.unknown {
        "; something is unknown, see the end"
    } else {
        ", and nothing is unknown"
    };
    let _ = writeln!(out, "{books}{unknown}");
    if let Some(since) = balances.since {
        let _ = match since.from_us {
            Some(from_us) if from_us > since.asked_us => writeln!(
                out,
                "since {}: log and journal do not reach back to {}",
                utc(from_us),
                utc(since.asked_us)
            ),
            Some(from_us) => writeln!(out, "since {}", utc(from_us)),
            None => writeln!(
                out,
                "since the first entry of the log, which is later than {}",
                utc(since.asked_us)
            ),
        };
    }
}

/// A moment in RFC 3339.
fn utc(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| format!("{us} µs"), |at| at.to_string())
}

fn section(
    out: &mut String,
    heading: &str,
    columns: &[&str],
    total: Vec<String>,
    rows: impl Iterator<Item = (String, Vec<String>)>,
) {
    let _ = writeln!(out, "\n{heading}");
    let mut lines = vec![std::iter::once(String::new()).collect::<Vec<_>>()];
    lines[0].extend(columns.iter().map(|name| (*name).to_owned()));
    for (name, cells) in std::iter::once(("total".to_owned(), total)).chain(rows) {
        lines.push(std::iter::once(name).chain(cells).collect());
    }
    align(out, &lines);
}

/// A number with its sign, thousands apart.
fn number(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(&value.unsigned_abs().to_string()))
}

/// The terms of a row. What the device has not told is unknown, not 0.
fn sample_cells(terms: &SampleTerms, told: bool) -> Vec<String> {
    let said = |value: i64| {
        if told || value != 0 {
            number(value)
        } else {
            "unknown".to_owned()
        }
    };
    let taken = if told {
        number(terms.taken_min)
    } else {
        format!("≥ {}", number(terms.taken_min))
    };
    vec![
        taken,
        said(terms.suppressed),
        said(terms.failed),
        said(terms.lost_on_device),
        number(terms.rejected),
        number(terms.logged),
        number(terms.lost_here),
        number(terms.unknown),
        number(terms.difference),
        number(terms.waiting_frames),
    ]
}

fn rule_cells(terms: &RuleTerms) -> Vec<String> {
    let RuleTerms {
        matched,
        filtered,
        late,
        examined,
        folded,
        open,
        difference,
    } = *terms;
    [matched, filtered, late, examined, folded, open, difference]
        .map(number)
        .into()
}

fn sink_cells(terms: &SinkTerms) -> Vec<String> {
    [
        terms.folded,
        terms.delivered,
        terms.dead_lettered,
        terms.evicted,
        terms.dropped,
        terms.dropped_by_budget,
        terms.waiting,
        terms.lost_here,
        terms.unknown,
        terms.difference,
    ]
    .map(number)
    .into()
}

fn unknowns(out: &mut String, balances: &Balances) {
    if !balances.unknown {
        return;
    }
    let _ = writeln!(out, "\nunknown");
    for row in &balances.samples {
        for unknown in &row.unknowns {
            let _ = writeln!(out, "  {}: {}", name(row), told(unknown));
        }
    }
    for row in &balances.sinks {
        for unknown in &row.unknowns {
            let of = format!("{} {} {} {}", row.sink, row.rule, row.device, row.sensor);
            let _ = writeln!(out, "  {of}: {}", told(unknown));
        }
    }
}

fn name(row: &SampleRow) -> String {
    match &row.sensor {
        Some(sensor) => format!("{} {sensor}", row.device),
        None => row.device.clone(),
    }
}

/// A reason with its bound.
fn told(unknown: &Unknown) -> String {
    let bound = match unknown.bound {
        Bound::Samples(samples) => format!("at most {} samples", grouped(&samples.to_string())),
        Bound::Frames(frames) => format!(
            "at most {} frames, of up to 255 samples a sensor each",
            grouped(&frames.to_string())
        ),
        Bound::Us(us) => format!("at most what it takes in {} s", grouped(&seconds(us))),
        Bound::None => "without a bound".to_owned(),
    };
    format!("{}: {bound}", unknown.reason.words())
}

/// Whole seconds, rounded up: a bound must not be too small.
fn seconds(us: i64) -> String {
    us.unsigned_abs().div_ceil(1_000_000).to_string()
}

fn differences(out: &mut String, balances: &Balances) {
    if balances.balanced {
        return;
    }
    let _ = writeln!(out, "\ndoes not balance");
    let samples = balances.samples.iter();
    let samples = samples.map(|row| (format!("samples of {}", name(row)), row.terms.difference));
    let rules = balances.rules.iter().map(|row| {
        let of = format!("rule {} on {} {}", row.rule, row.device, row.sensor);
        (of, row.terms.difference)
    });
    let sinks = balances.sinks.iter().map(|row| {
        let of = format!(
            "rule {} on {} {} to {}",
            row.rule, row.device, row.sensor, row.sink
        );
        (of, row.terms.difference)
    });
    for (of, difference) in samples.chain(rules).chain(sinks) {
        match difference {
            0 => {}
            1.. => {
                let missing = number(difference);
                let _ = writeln!(out, "  {of}: {missing} samples are nowhere");
            }
            _ => {
                let more = number(-difference);
                let _ = writeln!(out, "  {of}: {more} samples are counted that never came");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::balance::{Reason, Since};

    #[test]
    fn a_total_then_rows_then_reasons() {
        let terms = SampleTerms {
            taken_min: 1_300,
            rejected: 100,
            logged: 1_200,
            ..SampleTerms::default()
        };
        let balances = Balances {
            samples: vec![SampleRow {
                device: "pump-1".into(),
                sensor: Some("Pressure".into()),
                taken: None,
                terms,
                unknowns: vec![Unknown {
                    reason: Reason::NoTotals,
                    bound: Bound::None,
                }],
            }],
            balanced: true,
            unknown: true,
            since: Some(Since {
                asked_us: 0,
                from_us: Some(1_700_000_000_000_000),
                position: 7,
            }),
            ..Balances::default()
        };
        let shown = render(&balances);
        for line in [
            "the books balance; something is unknown, see the end\n",
            "since 2023-11-14T22:13:20Z: log and journal do not reach back to 1970-01-01T00:00:00Z\n",
            "  pump-1 Pressure  ≥ 1,300     unknown  unknown         unknown       100   1,200",
            "\nunknown\n  pump-1 Pressure: the device has not told yet what it took: without a bound\n",
        ] {
            assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
        }
    }

    #[test]
    fn what_does_not_balance_is_named() {
        let mut row = SampleRow {
            device: "d".into(),
            sensor: Some("s".into()),
            taken: Some(3),
            terms: SampleTerms::default(),
            unknowns: Vec::new(),
        };
        row.terms.difference = -2;
        let balances = Balances {
            samples: vec![row],
            ..Balances::default()
        };
        let shown = render(&balances);
        assert!(shown.starts_with("THE BOOKS DO NOT BALANCE"), "{shown}");
        assert!(
            shown.ends_with("samples of d s: 2 samples are counted that never came\n"),
            "{shown}"
        );
    }
}
