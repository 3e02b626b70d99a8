//! `tidegate tap`: samples and records of the running gateway as they flow.

use std::fmt::Write;
use std::io::IsTerminal;

use serde_json::Value;

use super::args::TapArgs;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{print, print_as_is, say};
use super::status::number;
use crate::control::{self, Tick};
use crate::dead_letters::meant;
use crate::plain;
use crate::plant::{Passing, TapFilter};
use crate::rules::nearest;
use crate::time::{Clock, SystemClock};

/// Shows what flows until enough was shown, the time is over or the gateway stops.
pub(super) fn show(args: &TapArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let filter = TapFilter {
        device: args.device.clone(),
        sensor: args.sensor.clone(),
        rule: args.rule.clone(),
    };
    let rules = settings.rules.rules.iter().map(|rule| rule.name.as_str());
    if let Some(rule) = &args.rule
        && !rules.clone().any(|name| name == rule)
    {
        let meant = meant(nearest(rule, rules));
        say(&format!(
            "nothing flows by unless the running gateway has a rule `{rule}`: {} has none{meant}\n",
            args.config.display()
        ));
    }
    let mut tapped = control::tap(&settings.data_dir, &filter)?;
    if !args.json && std::io::stdout().is_terminal() {
        say("what flows by appears here; ctrl-c ends it\n");
    }
    let clock = SystemClock::new();
    let mut columns = Columns::default();
    let mut shown = 0;
    while args.count.is_none_or(|count| shown < count) {
        let left = args.run_for.map(|time| {
            let passed = std::time::Duration::from_micros(clock.now().mono_us);
            time.saturating_sub(passed)
        });
        let passing = match tapped.next(left)? {
            Tick::Passes(passing) => passing,
            Tick::Waits => return Ok(()),
            Tick::Ended => return Err(Failure::TapEnded),
        };
        if args.json {
            print_as_is(&json(&passing))?;
        } else {
            print(&columns.line(&passing))?;
        }
        shown += u64::from(!matches!(passing, Passing::Missed(_)));
    }
    Ok(())
}

fn json(passing: &Passing) -> String {
    let mut line = serde_json::to_string(passing).unwrap_or_default();
    line.push('\n');
    line
}

/// Widths of the columns: as wide as what was shown so far.
#[derive(Default)]
struct Columns {
    time: usize,
    device: usize,
    sensor: usize,
}

impl Columns {
    /// A line for people.
    fn line(&mut self, passing: &Passing) -> String {
        match passing {
            Passing::Sample {
                device,
                sensor,
                unit,
                time,
                value,
            } => {
                let told = format!("{value} {unit}");
                self.put([time, device, sensor], told.trim_end())
            }
            Passing::Record(record) => {
                let text = |name: &str| record[name].as_str().unwrap_or_default();
                let names = [text("start"), text("device"), text("sensor")];
                self.put(names, &of_record(record))
            }
            Passing::Missed(missed) => format!(
                "… {} samples and records flowed by unseen: whoever reads this is too slow\n",
                number(*missed)
            ),
        }
    }

    fn put(&mut self, names: [&str; 3], told: &str) -> String {
        let [time, device, sensor] = &names.map(plain::in_line);
        let widen = |width: &mut usize, text: &str| *width = text.chars().count().max(*width);
        widen(&mut self.time, time);
        widen(&mut self.device, device);
        widen(&mut self.sensor, sensor);
        let (time_width, device_width, sensor_width) = (self.time, self.device, self.sensor);
        let told = plain::in_line(told);
        format!("{time:<time_width$}  {device:<device_width$}  {sensor:<sensor_width$}  {told}\n")
    }
}

/// A record: its rule, what it tells of an alert, its values.
fn of_record(record: &Value) -> String {
    let mut told = format!("▸ {}", record["rule"].as_str().unwrap_or_default());
    if let Some(alert) = record["alert"].as_str() {
        let cause = record["cause"].as_str().unwrap_or_default();
        let _ = write!(told, "  {cause} {alert}");
    }
    if let Some(revision) = record["revision"].as_u64().filter(|number| *number > 0) {
        let _ = write!(told, "  revision {revision}");
    }
    let values = record["values"].as_object().into_iter().flatten();
    for (name, value) in values {
        let _ = write!(told, "  {name} {value}");
    }
    let unit = record["unit"].as_str().unwrap_or_default();
    format!("{told} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(sensor: &str, value: f64, unit: &str) -> Passing {
        Passing::Sample {
            device: "pump-1".into(),
            sensor: sensor.into(),
            unit: unit.into(),
            time: "2020-02-08T13:30:00Z".into(),
            value,
        }
    }

    /// A device names its unit, and any sender on the broker its texts.
    #[test]
    fn what_flows_by_gives_a_terminal_no_orders() {
        let unit = "\u{1b}]0;x\u{7}\r\nbar\u{9b}";
        let record = json!({
            "start": "2020-02-08T13:30:00Z\u{1b}", "device": "pump\n-1", "sensor": "p\t",
            "unit": unit, "rule": "minute\u{1b}c", "alert": "opened\u{8}", "cause": "silence\r",
            "values": { "mean\u{7f}": "\u{9b}2J" },
        });
        let all = [sample("pressure", 4.5, unit), Passing::Record(record)];
        for passing in &all {
            let line = Columns::default().line(passing);
            let bare = line.strip_suffix('\n').unwrap();
            assert!(!bare.contains(char::is_control), "{bare:?}");
            assert!(bare.contains("�]0;x���bar�"), "{bare:?}");
            // Programs are told what was said.
            let said: Value = serde_json::from_str(&json(passing)).unwrap();
            assert!(
                said.to_string().contains("\\u001b]0;x\\u0007\\r\\nbar"),
                "{said}"
            );
        }
    }

    #[test]
    fn lines_stand_under_each_other() {
        let mut columns = Columns::default();
        let record = json!({
            "start": "2020-02-08T13:30:00Z", "device": "pump-1", "sensor": "pressure",
            "unit": "bar", "rule": "minute", "revision": 1,
            "values": { "count": 13, "mean": 0.21 },
        });
        let alert = json!({
            "start": "2020-02-08T13:30:00Z", "device": "pump-1", "sensor": "level", "unit": "",
            "rule": "high", "alert": "opened", "cause": "silence", "revision": 0, "values": {},
        });
        let shown: String = [
            sample("vibration.rms", 4.5, "mm/s"),
            sample("on", 1.0, ""),
            Passing::Record(record),
            Passing::Record(alert),
            Passing::Missed(12_345),
        ]
        .iter()
        .map(|passing| columns.line(passing))
        .collect();
        assert_eq!(
            shown,
            "2020-02-08T13:30:00Z  pump-1  vibration.rms  4.5 mm/s\n\
             2020-02-08T13:30:00Z  pump-1  on             1\n\
             2020-02-08T13:30:00Z  pump-1  pressure       ▸ minute  revision 1  count 13  mean 0.21 bar\n\
             2020-02-08T13:30:00Z  pump-1  level          ▸ high  silence opened\n\
             … 12,345 samples and records flowed by unseen: whoever reads this is too slow\n"
        );
    }
}
