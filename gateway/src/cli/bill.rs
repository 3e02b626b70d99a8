//! `tidegate bill`: what was sent to which sink for which rule in a month, and the budget.
//!
//! What was sent is asked of the running gateway, or else read from its files. A month that the
//! bill does not reach is told as unknown: nothing is printed as 0 that may have been more.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::args::BillArgs;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{print, print_as_is};
use super::table::{align, grouped};
use super::wiring;
use crate::budget::{Action, Billed, Level, Standing};
use crate::control::{self, AskError};
use crate::record::rfc3339;
use crate::rules::settings::Settings;
use crate::rules::show_duration;
use crate::sinks::framing::BAND_PERCENT;
use crate::spool::bill::{ALL, Bill, Cost, Month, MonthBill, Sensors};

/// What is shown of a month.
#[derive(Debug, Serialize)]
struct Shown {
    month: Month,
    /// Since when the bill is kept, RFC 3339.
    since: Option<String>,
    /// Whether something sent in it may be missing: what is shown is a lower bound.
    gap: bool,
    /// Whether sensors are no longer told apart.
    by_rule: bool,
    /// How far the framing may be off, in percent of it.
    framing_band_percent: u64,
    total: Line,
    /// By sink, then rule.
    sinks: BTreeMap<String, Sink>,
    budget: Option<Standing>,
}

#[derive(Debug, Default, Serialize)]
struct Sink {
    total: Line,
    rules: BTreeMap<String, Rule>,
}

#[derive(Debug, Default, Serialize)]
struct Rule {
    #[serde(flatten)]
    total: Line,
    /// By device, then sensor.
    sensors: Sensors,
}

/// Costs with their sum.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Line {
    #[serde(flatten)]
    cost: Cost,
    wire_bytes: u64,
}

/// Shows the bill of a month.
pub(super) fn show(args: &BillArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let (billed, origin) = fetch(&settings)?;
    let month = args
        .month
        .or_else(|| billed.bill.months.keys().next_back().copied());
    let heading = format!(
        "bill of site {}, {origin} {}\n\n",
        settings.site,
        settings.data_dir.display()
    );
    let Some(month) = month else {
        if args.json {
            let nothing = serde_json::json!({
                "month": null, "sinks": {}, "budget": billed.standing,
            });
            return print_as_is(&format!("{nothing:#}\n"));
        }
        return print(&format!(
            "{heading}nothing was sent yet that the bill knows of\n"
        ));
    };
    let Some(of_month) = billed.bill.months.get(&month) else {
        return Err(Failure::NotBilled {
            why: absent(&billed.bill, month),
        });
    };
    let shown = gather(month, of_month, &billed, args);
    if args.json {
        let text = serde_json::to_string_pretty(&shown).map_err(|source| Failure::Failed {
            command: "bill",
            source: source.into(),
        })?;
        return print_as_is(&format!("{text}\n"));
    }
    print(&format!("{heading}{}", render(&shown, args.sensors)))
}

/// Asks the running gateway first: its bill is ahead of its files.
fn fetch(settings: &Settings) -> Result<(Billed, &'static str), Failure> {
    let data_dir = &settings.data_dir;
    match control::ask(data_dir, &control::Command::Bill) {
        Ok(answer) => serde_json::from_value(answer)
            .map(|billed| (billed, "from the gateway that runs on"))
            .map_err(|source| Failure::Failed {
                command: "bill",
                source: source.into(),
            }),
        Err(AskError::NotRunning { .. }) if !data_dir.is_dir() => Err(Failure::NoData {
            path: data_dir.clone(),
        }),
        Err(AskError::NotRunning { .. }) => Ok((wiring::read_bill(settings)?, "from the files in")),
        Err(why) => Err(why.into()),
    }
}

/// Why there is no bill of a month.
fn absent(bill: &Bill, month: Month) -> String {
    let begun = bill.begun_us.map(Month::of_wall);
    let oldest = bill.months.keys().find(|known| **known != Month::Unknown);
    match (begun, oldest) {
        (Some(begun), _) if month < begun => {
            format!("what was sent in {month} is unknown: the bill begins in {begun}")
        }
        (_, Some(oldest)) if month < *oldest => {
            format!(
                "what was sent in {month} is no longer known: the oldest month kept is {oldest}"
            )
        }
        _ => format!("nothing was sent in {month} that the bill knows of"),
    }
}

fn gather(month: Month, of_month: &MonthBill, billed: &Billed, args: &BillArgs) -> Shown {
    let wanted = |name: &str, only: &Option<String>| only.as_ref().is_none_or(|only| only == name);
    let mut shown = Shown {
        month,
        since: billed.bill.begun_us.map(rfc3339),
        gap: of_month.gap,
        by_rule: of_month.by_rule,
        framing_band_percent: BAND_PERCENT,
        total: Line::default(),
        sinks: BTreeMap::new(),
        budget: billed.standing.clone(),
    };
    let sinks = of_month.sinks.iter();
    for (name, rules) in sinks.filter(|(name, _)| wanted(name, &args.sink)) {
        let sink = shown.sinks.entry(name.clone()).or_default();
        for (name, sensors) in rules.iter().filter(|(name, _)| wanted(name, &args.rule)) {
            let rule = sink.rules.entry(name.clone()).or_default();
            for cost in sensors.values().flat_map(BTreeMap::values) {
                rule.total.add(cost);
            }
            sink.total.add(&rule.total.cost);
            if args.sensors {
                rule.sensors.clone_from(sensors);
            }
        }
        shown.total.add(&sink.total.cost);
    }
    shown
}

impl Line {
    fn add(&mut self, cost: &Cost) {
        self.cost.add(cost);
        self.wire_bytes = self.cost.wire_bytes();
    }
}

/// Lays a month out for people.
fn render(shown: &Shown, sensors: bool) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", of_which(shown));
    let mut rows = vec![
        [
            "",
            "records",
            "before",
            "bodies",
            "framing est.",
            "total est.",
            "share",
        ]
        .map(str::to_owned)
        .to_vec(),
        row("total", &shown.total.cost, &shown.total),
    ];
    for (sink, of_sink) in &shown.sinks {
        rows.push(row(sink, &of_sink.total.cost, &shown.total));
        let mut rules: Vec<(&String, &Rule)> = of_sink.rules.iter().collect();
        // What costs most first; the order of equal ones is that of their names.
        rules.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.total.wire_bytes));
        for (name, rule) in rules {
            let name = named(name, "rules not told apart");
            rows.push(row(&format!("  {name}"), &rule.total.cost, &shown.total));
            for (device, of_device) in rule.sensors.iter().filter(|_| sensors) {
                for (sensor, cost) in of_device {
                    let name = match (device.as_str(), sensor.as_str()) {
                        (ALL, ALL) => "sensors not told apart, or groups".to_owned(),
                        _ => format!("{device} {sensor}"),
                    };
                    rows.push(row(&format!("    {name}"), cost, &shown.total));
                }
            }
        }
    }
    align(&mut out, &rows);
    let _ = writeln!(
        out,
        "\nbytes on the wire; bodies are counted, the framing around them is an estimate to within {BAND_PERCENT} %"
    );
    if let Some(standing) = &shown.budget {
        let _ = writeln!(
            out,
            "budget of {}: {}",
            standing.month,
            standing_words(standing)
        );
    }
    out
}

/// Of which time the bill is, and what of it is not known.
fn of_which(shown: &Shown) -> String {
    let mut text = match shown.month {
        Month::Unknown => "sent while the gateway's clock was not to be trusted".to_owned(),
        month @ Month::Nth(_) => format!("sent in {month}"),
    };
    if let Some(since) = shown.since.as_ref().filter(|since| {
        shown.month != Month::Unknown && since.starts_with(&shown.month.to_string())
    }) {
        let _ = write!(text, ", since {since}, when the bill began");
    }
    if shown.gap {
        text.push_str("; at least: part of what was sent is unknown, as the journal was damaged");
    }
    if shown.by_rule {
        text.push_str("; sensors are no longer told apart");
    }
    text
}

fn named<'n>(name: &'n str, all: &'n str) -> &'n str {
    if name == ALL { all } else { name }
}

fn row(name: &str, cost: &Cost, whole: &Line) -> Vec<String> {
    let number = |count: u64| grouped(&count.to_string());
    vec![
        name.to_owned(),
        number(cost.records),
        number(cost.bytes_before),
        number(cost.bytes_after),
        number(cost.framing_bytes),
        number(cost.wire_bytes()),
        share(cost.wire_bytes(), whole.wire_bytes),
    ]
}

/// A share in tenths of a percent; what is below is not 0.
fn share(part: u64, whole: u64) -> String {
    let permille = u128::from(part) * 1_000 / u128::from(whole.max(1));
    if permille == 0 && part > 0 {
        return "< 0.1 %".to_owned();
    }
    format!("{}.{} %", permille / 10, permille % 10)
}

/// Where the budget stands, in a line.
pub(super) fn standing_words(standing: &Standing) -> String {
    let number = |count: u64| grouped(&count.to_string());
    let at_least = if standing.gap { "at least " } else { "" };
    let forecast = standing.forecast_bytes.map_or_else(
        || "the month's end is unknown, too little of it was seen".to_owned(),
        |bytes| format!("about {} by the month's end at this pace", number(bytes)),
    );
    let level = match (standing.level, standing.action) {
        (Level::Free, _) => String::new(),
        (Level::Warned, _) => "; warned of".to_owned(),
        (Level::Capped, Action::Nothing) => "; used up, nothing is changed".to_owned(),
        (Level::Capped, Action::DropLow) => {
            "; used up, records of low priority are dropped and counted".to_owned()
        }
        (Level::Capped, Action::Coarsen { to_us }) => format!(
            "; used up, windows shorter than {0} run at {0}",
            show_duration(to_us)
        ),
    };
    format!(
        "{at_least}{} of {} bytes used ({}), {forecast}{level}",
        number(standing.used_bytes),
        number(standing.cap_bytes),
        share(standing.used_bytes, standing.cap_bytes)
    )
}

#[cfg(test)]
mod tests;
