//! A start succeeds on any bytes, and leaves an outbox that works.

use proptest::prelude::*;

use super::*;

/// A page of a flash that was something else before.
fn page() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0xff; PAGE]),
        Just(vec![0; PAGE]),
        any::<[u8; 32]>().prop_map(|bytes| bytes.repeat(PAGE / 32)),
        proptest::collection::vec(any::<u8>(), PAGE),
        // Marks as of a queue around noise.
        (
            any::<[bool; 2]>(),
            proptest::collection::vec(any::<u8>(), PAGE)
        )
            .prop_map(|([begun, closed], mut bytes)| {
                bytes[..4].fill(if begun { 0 } else { 0xff });
                bytes[PAGE - 4..].fill(if closed { 0 } else { 0xff });
                bytes
            }),
        (any::<bool>(), any::<u64>()).prop_map(|(closed, seed)| headers(closed, seed)),
    ]
}

/// A page full of headers that hold, before items that mostly do not.
fn headers(closed: bool, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    let mut random = seed | 1;
    while bytes.len() < PAGE - 4 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let length = (random >> 40) as u16 % 600;
        bytes.extend((random as u32).to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(length_crc(length).to_le_bytes());
        let filler = usize::from(length).min(4 * (random >> 56) as usize % 64);
        bytes.resize(bytes.len() + filler, random as u8);
    }
    bytes.truncate(PAGE - 4);
    bytes.resize(PAGE, if closed { 0 } else { 0xff });
    bytes
}

/// The CRC-16F/4.2 that `sequential-storage` puts behind a length.
fn length_crc(length: u16) -> u16 {
    let mut crc = 0xffff_u16;
    for byte in length.to_le_bytes() {
        crc ^= u16::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x1a2e } else { 0 };
        }
    }
    match !crc {
        0xffff => 0xfffe,
        crc => crc,
    }
}

/// A flash that was an outbox, with a bit in it turned over here and there.
fn used(frames: u32, flips: &[(usize, u8)]) -> Nor<4> {
    let mut outbox = fresh::<4>();
    for sequence in 1..=frames {
        push_evicting(&mut outbox, sequence, 100_000);
        if sequence % 7 == 0 {
            outbox.pop_through(mark(sequence - 5));
        }
    }
    outbox.spill_now();
    let mut flash = outbox.into_flash();
    for (at, bit) in flips {
        flash.bytes_mut()[*at] ^= 1 << bit;
    }
    flash
}

/// Opens, and uses what is there as a device does: everything that is held is read or evicted,
/// and what is pushed is kept over another start.
fn is_usable(flash: Nor<4>) -> FlashStatus {
    let mut outbox = opened(flash);
    outbox.adopt(Incarnation(9), 1_000);
    let status = outbox.status();
    assert!(outbox.len() <= 64);
    let (mut after, mut read) = (Mark::default(), 0);
    while let Some(entry) = outbox.next_after(after) {
        assert!(entry.mark > after);
        after = entry.mark;
        match outbox.read(after, &mut [0; 256]) {
            Ok(_) => read += 1,
            Err(error) => assert_eq!(error, OutboxError::Corrupt),
        }
    }
    assert!(read <= outbox.len());
    for sequence in 1..=60 {
        while !outbox.has_room(100, 1) || outbox.wants_eviction() {
            outbox.evict(|_, _| ()).unwrap();
            outbox.tend(0, 100_000);
        }
        let mark = Mark {
            boot: 1_000,
            sequence,
        };
        let (entry, bytes) = frozen(9, mark, Content::Other, &body(sequence));
        outbox.push(entry, &bytes, [].into_iter()).unwrap();
    }
    for _ in 0..8 {
        outbox.tend(0, 100_000);
    }
    let held = frames(&outbox);
    assert_eq!(outbox.spill_now(), 0);
    let mut outbox = opened(outbox.into_flash());
    outbox.adopt(Incarnation(9), 1_001);
    assert_eq!(frames(&outbox), held);
    status
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_pages_start(pages in proptest::collection::vec(page(), 8)) {
        let mut flash = Nor::<4>::new();
        flash.bytes_mut().copy_from_slice(&pages.concat());
        is_usable(flash);
    }

    #[test]
    fn a_page_of_anything_in_a_used_flash_starts(
        frames in 0_u32..150,
        at in 0_usize..8,
        page in page(),
    ) {
        let mut flash = used(frames, &[]);
        flash.bytes_mut()[at * PAGE..][..PAGE].copy_from_slice(&page);
        is_usable(flash);
    }

    #[test]
    fn flipped_bits_start(
        frames in 0_u32..150,
        flips in proptest::collection::vec((0_usize..8 * PAGE, 0_u8..8), 0..12),
    ) {
        is_usable(used(frames, &flips));
    }
}

#[test]
fn a_flash_of_other_things_is_cleared_once() {
    let mut flash = Nor::<4>::new();
    flash.bytes_mut().fill(0x5a);
    let status = is_usable(flash);
    assert_eq!((status.erases_boot, status.frames), (8, 0));
    assert_eq!(status.failures, 1, "it says so");
}

#[test]
fn an_item_larger_than_any_of_ours_is_struck_out_and_the_others_stay() {
    let mut outbox = fresh::<4>();
    let pushed: Vec<_> = (1..=2).map(|one| push(&mut outbox, one)).collect();
    outbox.spill_now();
    let end = outbox.flash.io.borrow().seen.write_end.get() as usize;
    let mut flash = outbox.into_flash();
    let length = 200_u16;
    let header = [
        [1, 2],
        [3, 4],
        length.to_le_bytes(),
        length_crc(length).to_le_bytes(),
    ];
    flash.bytes_mut()[end..end + 8].copy_from_slice(header.as_flattened());
    let mut outbox = opened(flash);
    outbox.adopt(Incarnation(9), 2);
    assert_eq!(frames(&outbox), pushed);
    assert_eq!(
        (outbox.status().failures, outbox.status().erases_boot),
        (0, 0)
    );
    assert_eq!(outbox.into_flash().refused(), None);
}
