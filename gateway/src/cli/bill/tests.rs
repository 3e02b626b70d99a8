//! The bill as it is printed.

use super::*;

fn cost(records: u64, bytes: u64) -> Cost {
    Cost {
        records,
        bytes_before: 8 * bytes,
        bytes_after: bytes,
        framing_bytes: bytes / 2,
    }
}

fn sensors(rows: &[(&str, &str, Cost)]) -> Sensors {
    let mut sensors = Sensors::new();
    for (device, sensor, cost) in rows {
        let of_device = sensors.entry((*device).to_owned()).or_default();
        of_device.insert((*sensor).to_owned(), *cost);
    }
    sensors
}

fn billed() -> Billed {
    let november: Month = "2026-11".parse().unwrap();
    let mut month = MonthBill::default();
    month.sinks.insert(
        "cloud".into(),
        [
            (
                "minute".into(),
                sensors(&[
                    ("pump-1", "Pressure", cost(43_200, 900_000)),
                    ("pump-1", "Flow", cost(43_200, 800_000)),
                    (ALL, ALL, cost(10, 1_000)),
                ]),
            ),
            (
                "alarms".into(),
                sensors(&[("pump-1", "Pressure", cost(3, 600))]),
            ),
        ]
        .into(),
    );
    month.sinks.insert(
        "site".into(),
        [(
            "minute".into(),
            sensors(&[("pump-1", "Flow", cost(2, 100))]),
        )]
        .into(),
    );
    let mut bill = Bill::default();
    bill.begun_us = november.start_us().map(|us| us + 5_000_000);
    bill.months.insert(november, month);
    Billed {
        bill,
        standing: Some(Standing {
            month: november,
            level: Level::Warned,
            action: Action::DropLow,
            used_bytes: 2_552_400,
            gap: false,
            forecast_bytes: Some(3_100_000),
            warn_bytes: 2_400_000,
            cap_bytes: 3_000_000,
        }),
    }
}

fn args(sensors: bool, rule: Option<&str>) -> BillArgs {
    BillArgs {
        config: "tidegate.toml".into(),
        month: None,
        sink: None,
        rule: rule.map(str::to_owned),
        sensors,
        json: false,
    }
}

fn shown(billed: &Billed, args: &BillArgs) -> Shown {
    let (month, of_month) = billed.bill.months.iter().next_back().unwrap();
    gather(*month, of_month, billed, args)
}

#[test]
fn sinks_then_rules_by_what_they_cost_then_the_budget() {
    let expected = "\
sent in 2026-11, since 2026-11-01T00:00:05Z, when the bill began
            records      before     bodies  framing est.  total est.    share
  total      86,415  13,613,600  1,701,700       850,850   2,552,550  100.0 %
  cloud      86,413  13,612,800  1,701,600       850,800   2,552,400   99.9 %
    minute   86,410  13,608,000  1,701,000       850,500   2,551,500   99.9 %
    alarms        3       4,800        600           300         900  < 0.1 %
  site            2         800        100            50         150  < 0.1 %
    minute        2         800        100            50         150  < 0.1 %

bytes on the wire; bodies are counted, the framing around them is an estimate to within 25 %
budget of 2026-11: 2,552,400 of 3,000,000 bytes used (85.0 %), about 3,100,000 by the month's end at this pace; warned of
";
    let billed = billed();
    let found = render(&shown(&billed, &args(false, None)), false);
    assert_eq!(found, expected, "\n{found}");
}

#[test]
fn sensors_and_one_rule_where_they_are_asked_for() {
    let billed = billed();
    let found = render(&shown(&billed, &args(true, Some("minute"))), true);
    for line in [
        "    pump-1 Pressure ",
        "    sensors not told apart, or groups ",
        "  total ",
    ] {
        assert!(found.contains(line), "{line:?} is not in:\n{found}");
    }
    assert!(!found.contains("alarms"), "{found}");
}

#[test]
fn what_is_not_known_is_said() {
    let mut billed = billed();
    billed.standing = None;
    let (_, month) = billed.bill.months.iter_mut().next().unwrap();
    month.gap = true;
    month.by_rule = true;
    let found = render(&shown(&billed, &args(false, None)), false);
    assert!(
        found.contains("; at least: part of what was sent is unknown"),
        "{found}"
    );
    assert!(
        found.contains("; sensors are no longer told apart\n"),
        "{found}"
    );
    let absent = |month: &str| absent(&billed.bill, month.parse().unwrap());
    assert!(absent("2026-10").contains("unknown: the bill begins in 2026-11"));
    assert!(absent("2026-12").contains("nothing was sent in 2026-12"));
}

#[test]
fn a_forecast_that_cannot_be_made_is_unknown() {
    let mut standing = billed().standing.unwrap();
    standing.forecast_bytes = None;
    standing.gap = true;
    standing.level = Level::Capped;
    let words = standing_words(&standing);
    assert_eq!(
        words,
        "at least 2,552,400 of 3,000,000 bytes used (85.0 %), the month's end is unknown, too little of it was seen; used up, records of low priority are dropped and counted"
    );
}

#[test]
fn json_has_the_same_with_names() {
    let billed = billed();
    let json = serde_json::to_value(shown(&billed, &args(true, None))).unwrap();
    assert_eq!(json["month"], "2026-11");
    assert_eq!(json["sinks"]["cloud"]["rules"]["alarms"]["wire_bytes"], 900);
    let sensor = &json["sinks"]["cloud"]["rules"]["minute"]["sensors"]["pump-1"]["Flow"];
    assert_eq!(sensor["bytes_after"], 800_000);
    assert_eq!(json["budget"]["level"], "warned");
    // What a gateway answers reads back.
    let answer = serde_json::to_value(&billed).unwrap();
    assert_eq!(serde_json::from_value::<Billed>(answer).unwrap(), billed);
}
