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
