//! Scripts of months: what was sent when, and what is decided.

use super::*;

const DAY_US: i64 = 86_400 * 1_000_000;
const CAP: u64 = 1_000_000;

/// A day of November 2026, counted from 0; December's come behind.
fn day(nth: i64) -> Timestamp {
    let november: Month = "2026-11".parse().unwrap();
    Timestamp {
        wall_us: november.start_us().unwrap() + nth * DAY_US + 1,
        wall_trusted: true,
        ..Timestamp::default()
    }
}

fn settings(at_cap: Action) -> BudgetSettings {
    BudgetSettings {
        cap_bytes: CAP,
        warn_permille: 800,
        at_cap,
    }
}

fn machine() -> Budget {
    let sinks = Sinks {
        remote: vec!["cloud".into()],
        all: vec!["cloud".into(), "local".into()],
    };
    Budget::new(Some(settings(Action::DropLow)), sinks, Decision::none())
}

/// What is decided when so much was sent by a moment of a bill as old as the month.
fn decided(budget: &mut Budget, now: Timestamp, bytes: u64) -> Option<Decision> {
    budget.hear(Spent {
        month: Month::of(now),
        since_us: Some(0),
        sinks: [("cloud".into(), bytes), ("local".into(), 9 * CAP)].into(),
        gap: false,
    });
    budget.decide(now)
}

fn level(budget: &mut Budget, now: Timestamp, bytes: u64) -> Option<Level> {
    decided(budget, now, bytes).map(|decision| decision.level)
}

#[test]
fn a_month_is_warned_of_and_capped_and_the_next_is_free() {
    let mut budget = machine();
    assert_eq!(level(&mut budget, day(20), 500_000), None);
    assert_eq!(level(&mut budget, day(29), 799_999), None);
    let warned = decided(&mut budget, day(29), 800_000).unwrap();
    assert_eq!(warned.level, Level::Warned);
    assert_eq!(warned.sinks, ["cloud", "local"]);
    assert_eq!(level(&mut budget, day(29), 900_000), None, "once");
    assert_eq!(level(&mut budget, day(29), CAP), Some(Level::Capped));
    assert_eq!(level(&mut budget, day(29), 2 * CAP), None);
    let lifted = decided(&mut budget, day(30), 0).unwrap();
    assert_eq!(
        (lifted.level, lifted.month),
        (Level::Free, "2026-12".parse().unwrap())
    );
    assert_eq!(level(&mut budget, day(31), 1_000), None);
}

#[test]
fn the_pace_warns_before_the_bytes_do() {
    let mut budget = machine();
    // 40,000 bytes a day would make 1.2 MB of November, but the first day says nothing yet.
    assert_eq!(level(&mut budget, day(0), 40_000), None);
    let warned = decided(&mut budget, day(2), 80_000).unwrap();
    assert_eq!(warned.level, Level::Warned);
    assert!(warned.forecast_bytes.unwrap().abs_diff(1_200_000) < 100);
    // The level stays when the pace falls: a warning is not taken back within the month.
    assert_eq!(level(&mut budget, day(20), 80_000), None);
}

#[test]
fn a_bill_that_began_within_the_month_is_forecast_from_there() {
    let november = Month::of(day(0));
    let began_us = day(20).wall_us;
    assert_eq!(
        forecast(november, Some(began_us), 100, day(20).wall_us),
        None
    );
    assert_eq!(forecast(november, None, 100, day(29).wall_us), None);
    let forecast = forecast(november, Some(began_us), 100, day(25).wall_us);
    assert_eq!(forecast, Some(199));
}

#[test]
fn an_untrusted_clock_decides_nothing() {
    let mut budget = machine();
    let untrusted = Timestamp {
        wall_trusted: false,
        ..day(3)
    };
    assert_eq!(level(&mut budget, untrusted, 5 * CAP), None);
    assert_eq!(budget.standing(untrusted), None);
    assert_eq!(level(&mut budget, day(3), 5 * CAP), Some(Level::Capped));
}

#[test]
fn what_was_sent_last_month_is_not_taken_for_this_one() {
    let mut budget = machine();
    assert_eq!(level(&mut budget, day(29), CAP), Some(Level::Capped));
    assert_eq!(budget.decide(day(30)), None, "the bill has not spoken yet");
    assert_eq!(budget.standing(day(30)), None);
    assert_eq!(level(&mut budget, day(30), 10), Some(Level::Free));
}

#[test]
fn another_budget_is_judged_anew() {
    let mut budget = machine();
    assert_eq!(level(&mut budget, day(9), CAP), Some(Level::Capped));
    budget.set(Some(BudgetSettings {
        cap_bytes: 10 * CAP,
        ..settings(Action::DropLow)
    }));
    assert_eq!(level(&mut budget, day(9), CAP), Some(Level::Free));
    budget.set(Some(settings(Action::Nothing)));
    assert_eq!(level(&mut budget, day(9), CAP), Some(Level::Capped));
    budget.set(Some(settings(Action::Coarsen { to_us: DAY_US })));
    let changed = decided(&mut budget, day(9), CAP).unwrap();
    assert_eq!(changed.action, Action::Coarsen { to_us: DAY_US });
    budget.set(None);
    let lifted = decided(&mut budget, day(9), CAP).unwrap();
    assert_eq!((lifted.level, lifted.cap_bytes), (Level::Free, 0));
    assert_eq!(level(&mut budget, day(9), 9 * CAP), None);
    assert_eq!(budget.standing(day(9)), None);
}

#[test]
fn a_restart_goes_on_from_what_the_log_holds() {
    let mut budget = machine();
    let capped = decided(&mut budget, day(9), CAP).unwrap();
    let text = capped.to_json();
    let held: Decision = serde_json::from_str(&text).unwrap();
    assert_eq!(held, capped);
    let mut again = Budget::new(Some(settings(Action::DropLow)), budget.sinks.clone(), held);
    // What a power cut took from the bill does not lift the cap.
    assert_eq!(level(&mut again, day(10), CAP / 2), None);
    assert_eq!(level(&mut again, day(30), 0), Some(Level::Free));
}
