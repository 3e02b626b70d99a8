//! The boot store with the power cut at every byte of every write.

use super::*;

struct Dice(u32);

impl Entropy for Dice {
    fn draw(&mut self) -> u32 {
        self.0 += 1;
        self.0 - 1
    }
}

/// The power is gone.
#[derive(Debug, PartialEq, Eq)]
struct Off;

/// Two pages of flash: a write erases its page byte by byte, then programs it byte by byte, and
/// stops where the power is cut.
struct Flash {
    pages: [[u8; RECORD_BYTES]; 2],
    /// Bytes that are still erased or programmed before the power is cut.
    steps: usize,
    /// Bits that no longer become 0.
    stuck: u8,
}

impl Flash {
    fn blank() -> Self {
        Self {
            pages: [[0xff; RECORD_BYTES]; 2],
            steps: usize::MAX,
            stuck: 0,
        }
    }
}

impl Slots for Flash {
    type Error = Off;

    fn read(&mut self, slot: usize) -> Result<[u8; RECORD_BYTES], Off> {
        Ok(self.pages[slot])
    }

    fn write(&mut self, slot: usize, record: &[u8; RECORD_BYTES]) -> Result<(), Off> {
        for byte in &mut self.pages[slot] {
            self.steps = self.steps.checked_sub(1).ok_or(Off)?;
            *byte = 0xff;
        }
        for (byte, new) in self.pages[slot].iter_mut().zip(record) {
            self.steps = self.steps.checked_sub(1).ok_or(Off)?;
            *byte = new | self.stuck;
        }
        Ok(())
    }
}

#[test]
fn boots_are_counted_under_one_incarnation() {
    let (mut flash, mut dice) = (Flash::blank(), Dice(0));
    let first = begin(&mut flash, &mut dice).unwrap();
    assert_eq!((first.boot, first.found), (1, Found::Empty));
    assert_eq!(first.incarnation, Incarnation(1), "0 is nobody's");
    for boot in 2..10 {
        let next = begin(&mut flash, &mut dice).unwrap();
        assert_eq!((next.boot, next.found), (boot, Found::Record));
        assert_eq!(next.incarnation, first.incarnation);
    }
}

#[test]
fn a_power_cut_at_any_byte_leaves_the_last_boot() {
    for starts in 0..4_u32 {
        for steps in 0..2 * RECORD_BYTES {
            let (mut flash, mut dice) = (Flash::blank(), Dice(7));
            for _ in 0..starts {
                begin(&mut flash, &mut dice).unwrap();
            }
            flash.steps = steps;
            assert_eq!(begin(&mut flash, &mut dice), Err(StoreError::Slots(Off)));
            flash.steps = usize::MAX;
            let next = begin(&mut flash, &mut dice).unwrap();
            assert_eq!(next.boot, starts + 1, "{starts} starts, cut at {steps}");
            if starts > 0 {
                assert_eq!(next.incarnation, Incarnation(7));
            }
        }
    }
}

#[test]
fn a_new_incarnation_is_kept_over_the_old_one() {
    let (mut flash, mut dice) = (Flash::blank(), Dice(7));
    begin(&mut flash, &mut dice).unwrap();
    rename(&mut flash, Incarnation(99), 1).unwrap();
    let next = begin(&mut flash, &mut dice).unwrap();
    assert_eq!((next.incarnation, next.boot), (Incarnation(99), 2));
}

#[test]
fn generations_may_wrap_around() {
    let (mut flash, mut dice) = (Flash::blank(), Dice(7));
    let old = Record {
        generation: u32::MAX,
        incarnation: Incarnation(3),
        boot: 40,
        own: Own::NONE,
    };
    flash.pages[1] = old.bytes();
    assert_eq!(begin(&mut flash, &mut dice).unwrap().boot, 41);
    assert_eq!(begin(&mut flash, &mut dice).unwrap().boot, 42);
}

fn own(id: u8) -> Own {
    let key = DeviceKey {
        id,
        bytes: core::array::from_fn(|at| at as u8 + id),
    };
    let own = Own::NONE.with_number(0x00c0_ffee);
    own.with_key(0x1234_5678, &key)
}

#[test]
fn what_is_a_boards_own_stays_with_its_boots() {
    let (mut flash, mut dice) = (Flash::blank(), Dice(7));
    let first = begin(&mut flash, &mut dice).unwrap();
    assert_eq!(first.own, Own::NONE);
    keep(&mut flash, &first, own(1)).unwrap();
    for boot in 2..5 {
        let next = begin(&mut flash, &mut dice).unwrap();
        assert_eq!((next.boot, next.incarnation), (boot, first.incarnation));
        assert_eq!(next.own, own(1));
    }
    rename(&mut flash, Incarnation(99), 4).unwrap();
    let next = begin(&mut flash, &mut dice).unwrap();
    assert_eq!((next.incarnation, next.own), (Incarnation(99), own(1)));
}

#[test]
fn a_key_is_of_the_claim_that_it_was_granted_by() {
    let own = own(3);
    let key = own.key_of(0x1234_5678).map(|key| (key.id, key.bytes));
    assert_eq!(key, Some((3, core::array::from_fn(|at| at as u8 + 3))));
    assert_eq!(own.number(), 0x00c0_ffee);
    assert_eq!(std::format!("{own:?}"), "Own(…)");
    assert_eq!(own.key_of(0x1234_5679), None);
    assert_eq!(Own::NONE.key_of(0), None);
}

#[test]
fn a_power_cut_while_a_key_is_kept_leaves_what_was_kept_before() {
    for steps in 0..=2 * RECORD_BYTES {
        let (mut flash, mut dice) = (Flash::blank(), Dice(7));
        let first = begin(&mut flash, &mut dice).unwrap();
        keep(&mut flash, &first, own(1)).unwrap();
        flash.steps = steps;
        let kept = keep(&mut flash, &first, own(2));
        flash.steps = usize::MAX;
        let next = begin(&mut flash, &mut dice).unwrap();
        assert_eq!(next.boot, 2, "cut at {steps}");
        let expected = if kept.is_ok() { own(2) } else { own(1) };
        assert_eq!(next.own, expected, "cut at {steps}");
        assert_eq!(kept.is_ok(), steps == 2 * RECORD_BYTES);
    }
}

#[test]
fn a_store_without_this_boot_keeps_nothing() {
    let (mut flash, mut dice) = (Flash::blank(), Dice(7));
    let first = begin(&mut flash, &mut dice).unwrap();
    let mut other = Flash::blank();
    let kept = keep(&mut other, &first, own(1));
    assert_eq!(kept, Err(StoreError::ReadBack));
    begin(&mut flash, &mut dice).unwrap();
    let kept = keep(&mut flash, &first, own(1));
    assert_eq!(kept, Err(StoreError::ReadBack), "of another start");
    flash.stuck = 4;
    let second = begin(&mut flash, &mut dice);
    assert_eq!(second, Err(StoreError::ReadBack));
}

#[test]
fn damage_of_both_slots_is_told_from_an_empty_store() {
    let (mut flash, mut dice) = (Flash::blank(), Dice(7));
    begin(&mut flash, &mut dice).unwrap();
    begin(&mut flash, &mut dice).unwrap();
    flash.pages[0][9] ^= 1;
    let kept = begin(&mut flash, &mut dice).unwrap();
    assert_eq!(kept.found, Found::Record, "one slot is enough");
    flash.pages[0][9] ^= 1;
    flash.pages[1][9] ^= 1;
    let drawn = begin(&mut flash, &mut dice).unwrap();
    assert_eq!((drawn.boot, drawn.found), (1, Found::Damaged));
    assert_ne!(drawn.incarnation, kept.incarnation);
}

#[test]
fn a_store_that_does_not_hold_is_an_error() {
    let (mut flash, mut dice) = (Flash::blank(), Dice(7));
    flash.stuck = 4;
    assert_eq!(begin(&mut flash, &mut dice), Err(StoreError::ReadBack));
}
