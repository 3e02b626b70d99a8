//! The outbox over a mock flash: what it spills, frees and evicts, and what a start finds.

mod cuts;
mod ending;
mod garbage;
mod kept;
mod outage;
mod rotation;

use std::vec;
use std::vec::Vec;

use tidegate_shared::frame::Header;

use super::*;
use crate::outbox::nor::{MockNor, NorError};
use crate::outbox::{Content, RamOutbox};
use embedded_storage::nor_flash::NorFlash as _;

const PAGE: usize = 512;
const HASH: CatalogHash = CatalogHash(7);
const MS: u64 = 1_000;

type Nor<const WORD: usize> = MockNor<{ 8 * PAGE }, PAGE, WORD>;
/// 512 bytes of RAM before 4 KiB of flash.
type Small<const WORD: usize> = FlashOutbox<Nor<WORD>, RamOutbox<512, 8>, 64, 136>;

fn config() -> FlashConfig {
    FlashConfig {
        range: 0..8 * PAGE as u32,
        spill_after_ms: 1_000,
        erase_us_max: 100_000,
        endurance: 10_000,
        erases_before: 0,
    }
}

fn opened<const WORD: usize>(flash: Nor<WORD>) -> Small<WORD> {
    Small::open(flash, config(), RamOutbox::new()).unwrap()
}

/// An outbox that is used by boot 1 of incarnation 9.
fn fresh<const WORD: usize>() -> Small<WORD> {
    let mut outbox = opened(Nor::new());
    outbox.adopt(Incarnation(9), 1);
    outbox
}

fn mark(sequence: u32) -> Mark {
    Mark { boot: 1, sequence }
}

fn frozen(incarnation: u32, mark: Mark, content: Content, body: &[u8]) -> (Entry, Vec<u8>) {
    let header = Header {
        incarnation: Incarnation(incarnation),
        mark,
        ..Header::default()
    };
    let mut out = [0; 256];
    let (bytes, check) = frame::write(&header, &mut out, |writer| writer.put(body)).unwrap();
    let entry = Entry {
        mark,
        check,
        content,
    };
    (entry, bytes.to_vec())
}

/// A body known by its number, 20 to 75 bytes long.
fn body(number: u32) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(20 + (number.wrapping_mul(37) % 56) as usize, number as u8);
    body
}

fn push<const WORD: usize>(outbox: &mut Small<WORD>, sequence: u32) -> Vec<u8> {
    let (entry, bytes) = frozen(9, mark(sequence), Content::Batch(HASH), &body(sequence));
    let receipt = [(0, 60), (3, sequence as u8)];
    outbox.push(entry, &bytes, receipt.into_iter()).unwrap();
    bytes
}

/// The frames held, oldest first.
fn frames<const WORD: usize>(outbox: &Small<WORD>) -> Vec<Vec<u8>> {
    let (mut after, mut found) = (Mark::default(), vec![]);
    while let Some(entry) = outbox.next_after(after) {
        let mut out = [0; 256];
        let bytes = outbox.read(entry.mark, &mut out).unwrap();
        found.push(out[..bytes].to_vec());
        after = entry.mark;
    }
    found
}

fn restarted<const WORD: usize>(outbox: Small<WORD>, boot: u32) -> Small<WORD> {
    let mut outbox = opened(outbox.into_flash());
    outbox.adopt(Incarnation(9), boot);
    outbox
}

#[test]
fn frames_are_spilled_when_they_waited_and_not_before() {
    let mut outbox = fresh::<4>();
    let pushed: Vec<_> = (1..=3).map(|one| push(&mut outbox, one)).collect();
    outbox.tend(5_000 * MS, 0);
    push(&mut outbox, 4);
    outbox.tend(5_999 * MS, 0);
    assert_eq!(outbox.status().spilled, 0);
    outbox.tend(6_000 * MS, 0);
    assert_eq!((outbox.status().spilled, outbox.status().frames), (3, 3));
    outbox.tend(6_999 * MS, 0);
    assert_eq!(outbox.status().spilled, 4);
    outbox.pop_through(mark(2));
    let outbox = restarted(outbox, 2);
    assert_eq!(frames(&outbox)[0], pushed[2]);
    assert_eq!(outbox.len(), 2);
    assert_eq!(outbox.newest().unwrap().mark, mark(4));
    assert_eq!(outbox.newest().unwrap().incarnation, Incarnation(9));
}

#[test]
fn a_link_that_acknowledges_in_time_never_writes() {
    let mut outbox = fresh::<4>();
    for sequence in 1..=200 {
        push(&mut outbox, sequence);
        outbox.tend(u64::from(sequence) * 100 * MS, 1_000 * MS);
        outbox.pop_through(mark(sequence.saturating_sub(3)));
    }
    assert_eq!(outbox.into_flash().steps(), 0);
}

#[test]
fn a_supply_warning_saves_all() {
    let mut outbox = fresh::<4>();
    let pushed: Vec<_> = (1..=5).map(|one| push(&mut outbox, one)).collect();
    assert_eq!(outbox.spill_now(), 0);
    let outbox = restarted(outbox, 2);
    assert_eq!(frames(&outbox), pushed);
}

#[test]
fn what_is_in_both_is_one_queue() {
    let mut outbox = fresh::<4>();
    let pushed: Vec<_> = (1..=4).map(|one| push(&mut outbox, one)).collect();
    outbox.spill_now();
    let later: Vec<_> = (5..=7).map(|one| push(&mut outbox, one)).collect();
    assert_eq!((outbox.status().frames, outbox.len()), (4, 7));
    assert_eq!(frames(&outbox), [pushed, later].concat());
    assert_eq!(outbox.count(mark(2), mark(6)), 4);
    assert_eq!(outbox.get(mark(4)).unwrap().mark, mark(4));
    assert!(outbox.names(HASH));
    for sequence in [2, 6] {
        let mut receipt = vec![];
        outbox.receipt(mark(sequence), |sensor, samples| {
            receipt.push((sensor, samples));
        });
        assert_eq!(receipt, [(0, 60), (3, sequence as u8)]);
    }
    outbox.pop_through(mark(5));
    assert_eq!((outbox.status().frames, outbox.len()), (0, 2));
    assert_eq!(outbox.read(mark(5), &mut [0; 99]), Err(OutboxError::Absent));
    let too_short = outbox.read(mark(6), &mut [0; 9]);
    assert!(matches!(too_short, Err(OutboxError::TooLarge { .. })));
}

/// What a device does before it freezes a frame, and what it does all the time.
pub(super) fn push_evicting(outbox: &mut Small<4>, sequence: u32, stall_us: u64) -> Vec<(u32, u8)> {
    let mut evicted = vec![];
    let mut evict = |outbox: &mut Small<4>| {
        let mut samples = 0;
        let gone = outbox.evict(|_, count| samples = count).unwrap();
        evicted.push((gone.mark.sequence, samples));
    };
    while !outbox.has_room(100, 1) {
        evict(outbox);
    }
    push(outbox, sequence);
    while outbox.wants_eviction() {
        evict(outbox);
    }
    outbox.tend(u64::from(sequence) * 1_000 * MS, stall_us);
    evicted
}

#[test]
fn when_full_the_oldest_are_evicted_with_their_receipts_and_erases_come_ahead() {
    let mut outbox = fresh::<4>();
    let mut evicted = vec![];
    for sequence in 1..=400 {
        evicted.extend(push_evicting(&mut outbox, sequence, 100_000));
    }
    let gone: Vec<_> = (1..=evicted.len() as u32)
        .map(|one| (one, one as u8))
        .collect();
    assert_eq!(evicted, gone, "in order, each with its receipt");
    let (status, held) = (outbox.status(), outbox.len());
    assert_eq!(evicted.len() + held, 400);
    assert!(held >= 20, "{held} held in 4 KiB");
    assert!(
        status.erases_boot > 20 && status.erases_forced == 0,
        "{status:?}"
    );
    assert_eq!((status.lost, status.failures), (0, 0));
    assert!(status.pages_blank >= 2);
    assert_eq!(outbox.spill_now(), 0, "all of RAM always fits");
    let outbox = restarted(outbox, 2);
    assert_eq!(outbox.len(), held);
    assert_eq!(outbox.into_flash().refused(), None);
}

#[test]
fn without_time_for_an_erase_a_full_outbox_erases_nevertheless_and_says_so() {
    let mut outbox = fresh::<4>();
    let mut evicted = 0;
    for sequence in 1..=400 {
        evicted += push_evicting(&mut outbox, sequence, 99_999).len();
    }
    let (status, held) = (outbox.status(), outbox.len());
    assert_eq!(status.erases_forced, status.erases_boot);
    assert!(status.erases_boot > 20);
    assert_eq!(evicted + held, 400);
    assert!(held >= 20, "{held} held in 4 KiB");
}

#[test]
fn a_new_incarnation_renumbers_flash_and_ram() {
    let mut outbox = fresh::<4>();
    for sequence in 1..=30 {
        push_evicting(&mut outbox, sequence, 100_000);
    }
    let bodies: Vec<_> = frames(&outbox).iter().map(|one| body_of(one)).collect();
    rename(&mut outbox, 10);
    let renamed = frames(&outbox);
    let after: Vec<_> = renamed.iter().map(|one| body_of(one)).collect();
    assert_eq!(after, bodies);
    for (frame, sequence) in renamed.iter().zip(1..) {
        let header = frame::read(frame).unwrap().header;
        assert_eq!(
            (header.incarnation, header.mark),
            (Incarnation(10), mark(sequence))
        );
    }
    assert_eq!(outbox.spill_now(), 0);
    let mut outbox = opened(outbox.into_flash());
    outbox.adopt(Incarnation(10), 2);
    assert_eq!(frames(&outbox), renamed);
}

#[test]
fn frames_of_another_incarnation_come_along_without_their_totals() {
    let mut outbox = fresh::<4>();
    for (sequence, content) in (4..).zip([Content::Other, Content::Totals, Content::Other]) {
        let (entry, bytes) = frozen(9, mark(sequence), content, &body(sequence));
        outbox.push(entry, &bytes, [].into_iter()).unwrap();
    }
    outbox.spill_now();
    let mut outbox = opened(outbox.into_flash());
    outbox.adopt(Incarnation(12), 5);
    let bodies: Vec<_> = frames(&outbox).iter().map(|one| body_of(one)).collect();
    assert_eq!(bodies, [body(4), body(6)]);
    assert_eq!(outbox.next_after(Mark::default()).unwrap().mark, mark(1));
    assert_eq!(outbox.status().lost, 0);
    // A boot counter that fell behind the frames: they cannot be told from what comes.
    let mut outbox = opened(outbox.into_flash());
    outbox.adopt(Incarnation(12), 1);
    assert!(outbox.is_empty());
    assert_eq!(outbox.status().lost, 2);
}

#[test]
fn a_frame_that_rots_in_flash_is_never_given_out() {
    let mut outbox = fresh::<4>();
    let pushed: Vec<_> = (1..=3).map(|one| push(&mut outbox, one)).collect();
    outbox.spill_now();
    let io = outbox.flash.io.get_mut();
    let at = io
        .flash
        .bytes()
        .windows(8)
        .position(|seen| *seen == pushed[1][10..18]);
    io.flash.bytes_mut()[at.unwrap()] ^= 1;
    assert_eq!(
        outbox.read(mark(2), &mut [0; 256]),
        Err(OutboxError::Corrupt)
    );
    assert!(outbox.read(mark(3), &mut [0; 256]).is_ok());
    assert_eq!(outbox.len(), 3, "it keeps its place");
    let outbox = restarted(outbox, 2);
    assert_eq!(outbox.len(), 2);
    assert_eq!(outbox.status().lost, 1, "a hole was found");
}

#[test]
fn a_torn_header_does_not_hide_what_is_written_behind_it() {
    // Seven of eight bytes of a header are written. What is written behind them completes it to
    // a header that holds for one frame in 256, and would be skipped with the item it announces.
    let torn_by = |seed| {
        let mut outbox = fresh::<1>();
        push(&mut outbox, 1);
        // The mark of the page is the first byte.
        outbox.flash.io.get_mut().flash.cut_after(1 + 7, seed);
        assert_eq!(outbox.spill_now(), 1);
        let mut flash = outbox.into_flash();
        flash.power_on();
        (flash.bytes()[1 + 7] == 0xff).then_some(flash)
    };
    let torn = (0..10_000)
        .find_map(torn_by)
        .expect("an eighth byte without a change");
    let mut hidden = 0;
    for number in 1..2_000 {
        let mut outbox = opened(torn.clone());
        outbox.adopt(Incarnation(9), 2);
        assert!(outbox.is_empty());
        let mark = Mark {
            boot: 2,
            sequence: 1,
        };
        let (entry, bytes) = frozen(9, mark, Content::Other, &body(number));
        outbox.push(entry, &bytes, [].into_iter()).unwrap();
        assert_eq!(outbox.spill_now(), 0);
        hidden += outbox.status().failures;
        assert_eq!(
            frames(&restarted(outbox, 3)),
            [bytes],
            "frame {number} is gone"
        );
    }
    assert!(
        hidden > 0,
        "no write had to be done again: nothing was tested"
    );
}

#[test]
fn what_a_reset_left_in_ram_and_flash_stands_once() {
    let mut outbox = fresh::<4>();
    let pushed: Vec<_> = (1..=3).map(|one| push(&mut outbox, one)).collect();
    // A reset between the write and its end: RAM, which outlives it, still has what was spilled.
    let ram = outbox.ram.clone();
    outbox.spill_now();
    let mut outbox = Small::<4>::open(outbox.into_flash(), config(), ram).unwrap();
    outbox.adopt(Incarnation(9), 2);
    assert_eq!((outbox.len(), outbox.status().frames), (3, 3));
    assert_eq!(frames(&outbox), pushed);
}

#[test]
fn a_flash_that_cannot_work_is_refused_by_name() {
    let few = FlashConfig {
        range: 0..3 * PAGE as u32,
        ..config()
    };
    let refused = Small::<4>::open(Nor::new(), few, RamOutbox::new()).err();
    let too_few = FlashError::TooFewPages {
        pages: 3,
        pages_min: 5,
    };
    assert_eq!(refused, Some(too_few));
    for range in [0..700, 4..4 * PAGE as u32, 0..9 * PAGE as u32] {
        let misaligned = FlashConfig { range, ..config() };
        let refused = Small::<4>::open(Nor::new(), misaligned, RamOutbox::new()).err();
        assert_eq!(refused, Some(FlashError::Misaligned));
    }
    let refused = FlashOutbox::<Nor<4>, RamOutbox<512, 8>, 64, 600>::open(
        Nor::new(),
        config(),
        RamOutbox::new(),
    )
    .err();
    assert_eq!(refused, Some(FlashError::PageTooSmall));
}

#[test]
fn without_a_working_flash_there_is_an_outbox_in_ram() {
    let mut flash = Nor::<4>::new();
    flash.cut_after(0, 0);
    assert_eq!(flash.erase(0, PAGE as u32), Err(NorError::PowerOff));
    let mut outbox = opened(flash);
    outbox.adopt(Incarnation(9), 1);
    let mut evicted = 0;
    for sequence in 1..=50 {
        evicted += push_evicting(&mut outbox, sequence, 100_000).len();
    }
    assert!(outbox.len() >= 3);
    assert_eq!(evicted + outbox.len(), 50);
    assert!(outbox.status().failures > 0);
}

fn body_of(bytes: &[u8]) -> Vec<u8> {
    frame::read(bytes).unwrap().body.to_vec()
}

/// What a device does at a conflict, all frames of boot 1.
fn rename<const WORD: usize>(outbox: &mut Small<WORD>, incarnation: u32) {
    let (mut after, mut sequence) = (Mark::default(), 0);
    while let Some(entry) = outbox.next_after(after) {
        after = entry.mark;
        sequence += 1;
        let mut old = [0; 256];
        // Without power nothing is read: the test looks at what a start finds.
        let Ok(bytes) = outbox.read(entry.mark, &mut old) else {
            continue;
        };
        let mark = Mark {
            sequence,
            ..entry.mark
        };
        let (renumbered, frame) = frozen(incarnation, mark, entry.content, &body_of(&old[..bytes]));
        let _ = outbox.replace(entry.mark, renumbered, &frame);
    }
}
