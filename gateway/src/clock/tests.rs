//! The clock as scripts: what was learnt when, and which UTC uptimes get.

use super::*;
use proptest::prelude::*;

const WALL_US: i64 = 1_700_000_000 * SECOND_US;
const ONE: Incarnation = Incarnation(1);

fn at() -> Timestamp {
    Timestamp {
        mono_us: 0,
        wall_us: WALL_US,
        wall_trusted: true,
    }
}

/// An exchange while the gateway's clock is as it is.
fn learn(clocks: &mut Clocks, boot: u32, offset_us: i64, wall_trusted: bool) {
    let at = Timestamp {
        wall_trusted,
        ..at()
    };
    let moment = Moment { start: 1, at };
    clocks.learn(ONE, boot, offset_us, &moment, &Wall::default());
}

fn map(clocks: &mut Clocks, boot: u32, base_us: u64, until_us: u64) -> Mapping {
    let mapping = clocks.map(ONE, boot, base_us, until_us, &at(), 30 * SECOND_US);
    clocks.settle(ONE, boot, &mapping, until_us);
    mapping
}

#[test]
fn an_own_clock_is_taken_as_it_is() {
    let mut clocks = Clocks::default();
    learn(&mut clocks, 1, 5, true);
    clocks.read_own(ONE, 1, 1_000, 9_000);
    let first = map(&mut clocks, 1, 0, 1_000);
    assert_eq!(first.event_us(500), 8_500);
    assert_eq!(first.quality, ClockQuality::Device);
    assert!(first.other_boot);
    clocks.read_own(ONE, 1, 2_000, 9_000);
    let second = map(&mut clocks, 1, 2_000, 2_000);
    assert_eq!(second.event_us(2_000), 9_000);
    assert!(!second.stepped_back, "by less than lateness");
    clocks.read_own(ONE, 1, 40 * 1_000_000, 9_000);
    let third = map(&mut clocks, 1, 40 * 1_000_000, 40 * 1_000_000);
    assert!(third.stepped_back);
}

#[test]
fn a_learnt_offset_is_slewed_and_a_stepped_one_taken() {
    let mut clocks = Clocks::default();
    learn(&mut clocks, 1, WALL_US, true);
    assert_eq!(map(&mut clocks, 1, 0, 1_000).event_us(7), WALL_US + 7);
    learn(&mut clocks, 1, WALL_US - 300, true);
    let slewed = map(&mut clocks, 1, 1_000, 2_000);
    assert_eq!(slewed.event_us(1_000), WALL_US + 1_000);
    assert_eq!(slewed.event_us(2_000), WALL_US + 1_900);
    assert_eq!(slewed.event_us(9_000), WALL_US + 8_700);
    assert!(!slewed.stepped_back);
    let settled = map(&mut clocks, 1, 8_000, 9_000);
    assert_eq!(settled.event_us(9_000), WALL_US + 8_700);
    learn(&mut clocks, 1, WALL_US + 3_600 * SECOND_US, false);
    let untrusted = Timestamp {
        wall_trusted: false,
        ..at()
    };
    let stepped = clocks.map(ONE, 1, 9_000, 10_000, &untrusted, 30 * SECOND_US);
    clocks.settle(ONE, 1, &stepped, 10_000);
    assert_eq!(stepped.event_us(9_000), WALL_US + 3_600 * SECOND_US + 9_000);
    assert_eq!(stepped.quality, ClockQuality::Untrusted);
    learn(&mut clocks, 1, WALL_US, true);
    assert!(map(&mut clocks, 1, 10_000, 11_000).stepped_back);
}

#[test]
fn a_boot_never_seen_live_lies_between_its_neighbours() {
    let mut clocks = Clocks::default();
    learn(&mut clocks, 1, 10_000, true);
    map(&mut clocks, 1, 0, 5_000);
    learn(&mut clocks, 3, 18_000, true);
    let bounded = map(&mut clocks, 2, 0, 1_000);
    assert_eq!(bounded.quality, ClockQuality::Bounded);
    assert_eq!(bounded.event_us(0), 15_000, "right behind boot 1");
    assert_eq!(bounded.event_us(9_000), 18_000, "before boot 3");
    let mut alone = Clocks::default();
    let bounded = map(&mut alone, 2, 0, 1_000);
    assert_eq!(bounded.event_us(1_000), WALL_US);
}

#[test]
fn no_more_boots_are_remembered_than_the_limit() {
    let mut clocks = Clocks::default();
    for boot in 1..=20 {
        clocks.open(ONE, boot);
    }
    assert_eq!(clocks.boots.len(), BOOTS_MAX);
    assert_eq!(clocks.boots[0].number, 13);
}

proptest! {
    #[test]
    fn learnt_time_never_runs_backwards(
        steps in prop::collection::vec((0_u64..60_000_000, -5_000_000_i64..5_000_000), 1..40),
    ) {
        let mut clocks = Clocks::default();
        let (mut uptime_us, mut last_us) = (0, i64::MIN);
        for (passed_us, jitter_us) in steps {
            learn(&mut clocks, 1, WALL_US + jitter_us, true);
            let until_us = uptime_us + passed_us;
            let mapping = map(&mut clocks, 1, uptime_us, until_us);
            prop_assert!(!mapping.stepped_back);
            for part in 0..=10 {
                let event_us = mapping.event_us(uptime_us + passed_us * part / 10);
                prop_assert!(event_us >= last_us);
                last_us = event_us;
            }
            uptime_us = until_us;
        }
    }

    #[test]
    fn no_uptime_overflows(offset_us: i64, uptime_us: u64, base_us: u64) {
        let mut clocks = Clocks::default();
        learn(&mut clocks, 1, offset_us, true);
        map(&mut clocks, 1, base_us, uptime_us).event_us(uptime_us);
        clocks.read_own(ONE, 1, uptime_us, offset_us);
        map(&mut clocks, 1, base_us, uptime_us).event_us(base_us);
        map(&mut clocks, 2, base_us, uptime_us).event_us(base_us);
    }
}

/// A day of a device whose oscillator runs wrong by `ppm`, its offset learnt anew whenever it is
/// off by 10 ms: the largest error of its event times, in µs.
fn drifting_day(ppm: i64) -> i64 {
    let mut clocks = Clocks::default();
    let (mut written_us, mut last_us, mut worst_us) = (i64::MIN, i64::MIN, 0);
    let mut before_us = 0;
    for minute in 0..1_440_i64 {
        let true_us = minute * 60 * SECOND_US;
        let uptime_us = true_us + true_us / 1_000_000 * ppm;
        let offset_us = WALL_US + true_us - uptime_us;
        if offset_us.abs_diff(written_us) >= 10_000 {
            learn(&mut clocks, 1, offset_us, true);
            written_us = offset_us;
        }
        let mapping = map(&mut clocks, 1, before_us, uptime_us as u64);
        assert!(!mapping.stepped_back, "minute {minute}");
        assert!(mapping.event_us(before_us) >= last_us, "minute {minute}");
        last_us = mapping.event_us(uptime_us as u64);
        worst_us = worst_us.max((last_us - WALL_US - true_us).abs());
        before_us = uptime_us as u64;
    }
    worst_us
}

#[test]
fn a_drifting_device_is_followed_by_slewing() {
    for ppm in [-200, -20, 0, 20, 200] {
        let worst_us = drifting_day(ppm);
        assert!(worst_us <= 10_000, "{ppm} ppm: {worst_us}");
    }
    assert!(drifting_day(20) > 0, "the test can see an error");
}

#[test]
fn a_jump_of_days_is_taken_at_once_and_backwards_begins_an_epoch() {
    const DAYS_US: i64 = 3 * 86_400 * SECOND_US;
    let mut clocks = Clocks::default();
    learn(&mut clocks, 1, WALL_US, true);
    map(&mut clocks, 1, 0, 1_000);
    learn(&mut clocks, 1, WALL_US + DAYS_US, true);
    let ahead = map(&mut clocks, 1, 1_000, 2_000);
    assert!(!ahead.stepped_back);
    assert_eq!(ahead.event_us(1_500), WALL_US + DAYS_US + 1_500);
    learn(&mut clocks, 1, WALL_US, true);
    let back = map(&mut clocks, 1, 2_000, 3_000);
    assert!(back.stepped_back);
    assert_eq!(back.event_us(2_500), WALL_US + 2_500);
}

/// Moments of a start whose wall clock was wrong by `wrong_us` while untrusted.
fn moment(start: u32, mono_us: u64, wrong_us: i64, wall_trusted: bool) -> Moment {
    let at = Timestamp {
        mono_us,
        wall_us: WALL_US + mono_us as i64 + wrong_us,
        wall_trusted,
    };
    Moment { start, at }
}

#[test]
fn an_offset_learnt_untrusted_is_corrected_when_its_start_is_trusted() {
    let (mut clocks, mut wall) = (Clocks::default(), Wall::default());
    let doubtful = moment(1, 50, -7_000_000, false);
    wall.advance(doubtful);
    clocks.learn(ONE, 1, WALL_US - 7_000_000, &doubtful, &wall);
    assert!(clocks.needs_wall(ONE, 1));
    assert!(wall.advance(moment(1, 90, 0, true)));
    clocks.correct(&wall);
    assert!(!clocks.needs_wall(ONE, 1));
    let mapping = map(&mut clocks, 1, 0, 1_000);
    assert_eq!(mapping.quality, ClockQuality::Learnt);
    assert_eq!(mapping.event_us(5), WALL_US + 5);
    // One learnt later, while trust is gone again, is corrected at once.
    let later = moment(1, 200, 99_000_000, false);
    wall.advance(later);
    clocks.learn(ONE, 2, WALL_US + 99_000_000, &later, &wall);
    assert_eq!(map(&mut clocks, 2, 0, 10).event_us(5), WALL_US + 5);
}

#[test]
fn an_offset_of_a_start_without_trust_places_nothing_once_a_later_one_has_it() {
    let (mut clocks, mut wall) = (Clocks::default(), Wall::default());
    let doubtful = moment(1, 50, -7_000_000, false);
    wall.advance(doubtful);
    clocks.learn(ONE, 1, WALL_US - 7_000_000, &doubtful, &wall);
    let mapping = clocks.map(ONE, 1, 0, 1_000, &doubtful.at, 0);
    assert_eq!(
        mapping.quality,
        ClockQuality::Untrusted,
        "it is all there is"
    );
    assert_eq!(mapping.event_us(5), WALL_US - 7_000_000 + 5);
    wall.advance(moment(2, 10, 0, true));
    clocks.correct(&wall);
    assert!(clocks.needs_wall(ONE, 1));
    let mapping = clocks.map(ONE, 1, 0, 1_000, &wall.best(&doubtful), 0);
    assert_eq!(mapping.quality, ClockQuality::Bounded);
    assert_eq!(
        mapping.event_us(1_000),
        WALL_US + 10,
        "no later than that start"
    );
    clocks.learn(ONE, 2, WALL_US, &moment(2, 20, 0, true), &wall);
    assert!(!clocks.needs_wall(ONE, 1), "the boot behind it bounds it");
}

#[test]
fn an_untrusted_clock_bounds_a_boot_from_above_only_where_nothing_else_does() {
    let mut clocks = Clocks::default();
    learn(&mut clocks, 1, WALL_US, true);
    map(&mut clocks, 1, 0, 5_000);
    let wrong = moment(1, 0, -WALL_US, false).at;
    let behind = clocks.map(ONE, 2, 0, 1_000, &wrong, 0);
    assert_eq!(behind.quality, ClockQuality::Untrusted);
    assert_eq!(behind.event_us(700), WALL_US + 5_700);
}
