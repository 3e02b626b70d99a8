//! Text: a comparison for people. *Logged* is what the log's own rules gave, *tried* what the
//! configuration's would have given.

use std::fmt::Write;

use super::as_logged::edges;
use crate::cli::table::{align, grouped};
use crate::comparison::{Change, Fidelity, NotCompared, Report, Shape, Sides, SinkRow, Sums};

/// Lays out a report.
pub(super) fn render(report: &Report, file: &str) -> String {
    let mut out = String::new();
    beginning(&mut out, report, file);
    rules(&mut out, report);
    alerts(&mut out, report);
    sinks(&mut out, report);
    curves(&mut out, report);
    out
}

fn beginning(out: &mut String, report: &Report, file: &str) {
    let log = &report.log;
    let unknown = "an unknown time";
    let _ = writeln!(
        out,
        "the rules of {file}, tried on {} entries of the log: positions {} to {}, written from {} to {}",
        grouped(&log.entries.to_string()),
        log.from_position.unwrap_or(log.began_position),
        log.to_position,
        log.from_time.as_deref().unwrap_or(unknown),
        log.to_time.as_deref().unwrap_or(unknown),
    );
    let reach = match &log.reach_time {
        Some(time) => format!("position {}, written at {time}", log.reach_position),
        None => "its first entry".to_owned(),
    };
    let _ = writeln!(out, "the log reaches back to {reach}");
    out.push_str(&edges(log));
    if !report.rules_differ {
        out.push_str("these are the rules in force at the end of it\n");
    }
    match report.rules_changed {
        0 => {}
        1 => out.push_str("the log's own rules changed once within it\n"),
        times => {
            let _ = writeln!(out, "the log's own rules changed {times} times within it");
        }
    }
    for row in &report.rules {
        if let Some(warm_up) = &row.warm_up {
            let _ = writeln!(
                out,
                "warm-up: windows of {} had begun when the replay did, {} records of them lack samples; windows are whole from {} on",
                row.rule,
                grouped(&warm_up.records_cut.to_string()),
                warm_up.whole_from
            );
        }
    }
    for sink in &report.sinks_unknown {
        let _ = writeln!(
            out,
            "the log's rules forward to {sink}, which the configuration does not have: what that cost is left out"
        );
    }
}

fn rules(out: &mut String, report: &Report) {
    out.push_str("\nrules (bytes upstream are estimates)\n");
    let mut rows = heads(
        &["", "", "records", "samples", "bytes"],
        &["rule", "change"],
    );
    for row in &report.rules {
        let change = match row.change {
            Change::Same => "same",
            Change::Forward => "forward",
            Change::Changed => "changed",
            Change::Added => "added",
            Change::Removed => "removed",
        };
        let mut cells = vec![row.rule.clone(), change.to_owned()];
        let of = |count: fn(&Sums) -> u64| Sides {
            logged: row.sides.logged.as_ref().map(count),
            tried: row.sides.tried.as_ref().map(count),
        };
        cells.extend(sums(of));
        rows.push(cells);
    }
    let of = |count: fn(&Sums) -> u64| Sides {
        logged: Some(count(&report.total.logged)),
        tried: Some(count(&report.total.tried)),
    };
    let total = ["all".to_owned(), String::new()].into_iter();
    rows.push(total.chain(sums(of)).collect());
    align(out, &rows);
}

/// Alerts shown of each sort; the JSON has all.
const ALERTS_SHOWN: usize = 20;

fn alerts(out: &mut String, report: &Report) {
    let alerts = &report.alerts;
    if alerts.logged + alerts.tried == 0 {
        return;
    }
    let _ = writeln!(
        out,
        "\nalerts opened: {} logged, {} tried; {} gained, {} lost",
        grouped(&alerts.logged.to_string()),
        grouped(&alerts.tried.to_string()),
        grouped(&alerts.gained.len().to_string()),
        grouped(&alerts.lost.len().to_string()),
    );
    for (word, all) in [("gained", &alerts.gained), ("lost", &alerts.lost)] {
        for one in all.iter().take(ALERTS_SHOWN) {
            let until = one.end.as_deref().unwrap_or("the end");
            let _ = writeln!(
                out,
                "  {word:6} {} {} {}  {} to {until}",
                one.rule, one.device, one.sensor, one.start
            );
        }
        let more = all.len().saturating_sub(ALERTS_SHOWN);
        if more > 0 {
            let _ = writeln!(out, "  {word:6} {more} more, which --json tells");
        }
    }
    if alerts.left_out > 0 {
        let _ = writeln!(
            out,
            "  {} alerts were not compared: too many",
            grouped(&alerts.left_out.to_string())
        );
    }
}

/// Two lines of headings: one over each pair of columns, and one over each column.
fn heads(pairs: &[&str], first: &[&str]) -> Vec<Vec<String>> {
    let singles = first.len();
    let mut above: Vec<String> = pairs.iter().take(singles).map(|&one| one.into()).collect();
    let mut below: Vec<String> = first.iter().map(|&one| one.into()).collect();
    for pair in pairs.iter().skip(singles) {
        above.extend([(*pair).to_owned(), String::new()]);
        below.extend(["logged".to_owned(), "tried".to_owned()]);
    }
    vec![above, below]
}

fn sums(of: impl Fn(fn(&Sums) -> u64) -> Sides<Option<u64>>) -> Vec<String> {
    let counts: [fn(&Sums) -> u64; 3] = [
        |sums| sums.records,
        |sums| sums.samples,
        |sums| sums.sent_bytes,
    ];
    let pairs = counts.into_iter().map(of);
    let cells = pairs.flat_map(|sides| [sides.logged, sides.tried]);
    cells
        .map(|count| count.map_or("-".to_owned(), |count| grouped(&count.to_string())))
        .collect()
}

fn sinks(out: &mut String, report: &Report) {
    out.push_str("\nsinks\n");
    let heads = [
        "sink", "", "records", "batches", "bodies", "as sent", "framing",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for row in &report.sinks {
        rows.extend(sink_rows(row));
    }
    align(out, &rows);
}

fn sink_rows(row: &SinkRow) -> Vec<Vec<String>> {
    let sides = [("logged", row.sides.logged), ("tried", row.sides.tried)];
    let estimates = sides.map(|(side, sent)| (side, sent.records, sent.batches, sent.cost));
    let delivered = row
        .delivered
        .map(|one| ("delivered", one.records, one.batches, one.cost));
    let rows = estimates.into_iter().chain(delivered);
    rows.map(|(side, records, batches, cost)| {
        let counts = [
            records,
            batches,
            cost.bytes_before,
            cost.bytes_after,
            cost.header_bytes,
        ];
        let names = [row.sink.clone(), side.to_owned()].into_iter();
        let counts = counts.iter().map(|count| grouped(&count.to_string()));
        names.chain(counts).collect()
    })
    .collect()
}

fn curves(out: &mut String, report: &Report) {
    if report.curves.is_empty() {
        return;
    }
    out.push_str("\ncurves redrawn from the records, against the samples\n");
    let pairs = ["", "", "drawn as", "compared", "largest error", "RMS error"];
    let mut rows = heads(&pairs, &["curve", "unit"]);
    for row in &report.curves {
        let mut cells = vec![format!("{} {}", row.rule, row.sensor), row.unit.clone()];
        let cell: [fn(&Fidelity) -> String; 4] = [
            |one| shape(one.shape).to_owned(),
            |one| grouped(&one.compared.to_string()),
            |one| one.largest_error.map_or("-".to_owned(), number),
            |one| one.rms_error.map_or("-".to_owned(), number),
        ];
        for cell in cell {
            for side in [&row.sides.logged, &row.sides.tried] {
                cells.push(side.as_ref().map_or("-".to_owned(), cell));
            }
        }
        rows.push(cells);
    }
    align(out, &rows);
    let of = |side: fn(&Sides<Option<Fidelity>>) -> &Option<Fidelity>| {
        let sides = report.curves.iter().map(|row| &row.sides);
        sides.filter_map(move |sides| side(sides).as_ref())
    };
    not_compared(out, "logged", of(|sides| &sides.logged));
    not_compared(out, "tried", of(|sides| &sides.tried));
}

fn not_compared<'a>(out: &mut String, side: &str, all: impl Iterator<Item = &'a Fidelity>) {
    let mut reasons = [
        ("before a curve's first record", 0),
        ("behind its last", 0),
        ("outside keep", 0),
        ("late", 0),
        ("beyond the limit", 0),
        ("without a value to draw", 0),
    ];
    for fidelity in all {
        let NotCompared {
            before_first,
            after_last,
            implausible,
            late,
            beyond_limit,
            without_value,
        } = fidelity.not_compared;
        let counts = [
            before_first,
            after_last,
            implausible,
            late,
            beyond_limit,
            without_value,
        ];
        for ((_, sum), count) in reasons.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    let told: Vec<String> = reasons
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{} {reason}", grouped(&count.to_string())))
        .collect();
    if !told.is_empty() {
        let _ = writeln!(out, "  samples not compared, {side}: {}", told.join(", "));
    }
}

fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Steps => "steps",
        Shape::Line => "line",
        Shape::Nothing => "nothing",
    }
}

/// A number with four digits that say something.
fn number(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let mut decimals = 3_usize;
    let mut size = number.abs();
    while size >= 10.0 && decimals > 0 {
        size /= 10.0;
        decimals -= 1;
    }
    while size < 1.0 && decimals < 12 {
        size *= 10.0;
        decimals += 1;
    }
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_four_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1.000"),
            (0.012_341, "0.01234"),
            (12_345.6, "12346"),
            (99.996, "100.00"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
