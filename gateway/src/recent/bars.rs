//! Bars: a record as a chart draws it.

use crate::plant::Bar;
use crate::record::{GROUP, Record, Value};

/// The values that can stand for a window, the best first.
const MIDDLES: [&str; 8] = [
    "mean",
    "time_weighted_mean",
    "median",
    "p50",
    "value",
    "last",
    "first",
    "sum",
];

/// Tells the bar of each sensor that a record has a number of. One of a group of sensors has
/// its values under their names.
pub(super) fn each(record: &Record, tell: &mut dyn FnMut(&str, Bar)) {
    if record.sensor != GROUP {
        if let Some(bar) = of(record, "") {
            tell(&record.sensor, bar);
        }
        return;
    }
    let mut before = "";
    for (name, _) in &record.values {
        let Some((sensor, _)) = name.rsplit_once('.') else {
            continue;
        };
        if sensor == before {
            continue;
        }
        before = sensor;
        if let Some(bar) = of(record, sensor) {
            tell(sensor, bar);
        }
    }
}

/// The bar of a record; of a sensor's values in it where one is named.
fn of(record: &Record, sensor: &str) -> Option<Bar> {
    let value = |wanted: &str| {
        let mut values = record.values.iter();
        let is_it = |name: &str| match sensor {
            "" => name == wanted,
            sensor => name.rsplit_once('.') == Some((sensor, wanted)),
        };
        let (_, value) = values.find(|(name, _)| is_it(name))?;
        match value {
            Value::Number(number) => Some(*number),
            Value::Count(_) | Value::Counts(_) => None,
        }
    };
    let (low, high) = (value("min"), value("max"));
    let between = || Some(low? / 2.0 + high? / 2.0);
    let middle = MIDDLES.iter().find_map(|name| value(name));
    Some(Bar {
        rule: record.rule.clone(),
        start_us: record.start_us,
        end_us: record.end_us,
        middle: middle.or_else(between)?,
        low,
        high,
        alert: record.alert.map(|note| note.state),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::example;

    fn number(name: &str, number: f64) -> (String, Value) {
        (name.to_owned(), Value::Number(number))
    }

    fn told(record: &Record) -> Vec<(String, f64, Option<f64>, Option<f64>)> {
        let mut told = Vec::new();
        each(record, &mut |sensor, bar| {
            told.push((sensor.to_owned(), bar.middle, bar.low, bar.high));
        });
        told
    }

    #[test]
    fn a_record_has_one_bar_with_its_best_middle() {
        let mut record = example(1);
        assert_eq!(told(&record), [], "a count is no value of the sensor");
        record.values = vec![number("min", 1.0), number("max", 4.0)];
        let wanted = ("Pressure".to_owned(), 2.5, Some(1.0), Some(4.0));
        assert_eq!(told(&record), [wanted]);
        record.values.push(number("last", 3.0));
        record.values.push(number("mean", 2.0));
        assert_eq!(Some(told(&record)[0].1), Some(2.0));
    }

    #[test]
    fn a_group_has_a_bar_for_each_of_its_sensors() {
        let mut record = example(1);
        record.sensor = GROUP.to_owned();
        record.values = vec![
            number("a.mean", 1.0),
            number("a.max", 2.0),
            number("vibration.rms.mean", 3.0),
            number("b.p99.9", 4.0),
        ];
        let wanted = [
            ("a".to_owned(), 1.0, None, Some(2.0)),
            ("vibration.rms".to_owned(), 3.0, None, None),
        ];
        assert_eq!(told(&record), wanted);
    }
}
