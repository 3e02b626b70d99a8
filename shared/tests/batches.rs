//! Properties of batches: everything reads back, nothing panics, bounds are never too small.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_shared::batch::{self, BatchHead, BatchReader, BlockSource, Scratch};
use tidegate_shared::block::{BadSet, Encoding};
use tidegate_shared::body::{BodyError, BodyFault, Writer};
use tidegate_shared::ids::CatalogHash;
use tidegate_shared::limits::{BLOCK_SAMPLES_MAX, FRAME_BYTES_MAX, SENSORS_MAX};
use tidegate_shared::message::Up;
use tidegate_shared::{axis, block};

/// A block that owns what a source borrows.
#[derive(Debug, Clone)]
struct Owned {
    sensor: u16,
    first_index: u16,
    offsets_us: Vec<u32>,
    raws: Vec<i64>,
    bad: BadSet,
}

impl Owned {
    fn source(&self) -> BlockSource<'_> {
        BlockSource {
            sensor: self.sensor,
            first_index: self.first_index,
            offsets_us: &self.offsets_us,
            raws: &self.raws,
            bad: self.bad,
        }
    }

    /// What a reader shall see: 0 where a sample is bad.
    fn raws_read(&self) -> Vec<i64> {
        let read = |(at, raw): (usize, &i64)| if self.bad.contains(at) { 0 } else { *raw };
        self.raws.iter().enumerate().map(read).collect()
    }
}

fn write(head: &BatchHead, blocks: &[Owned]) -> Result<Vec<u8>, BodyError> {
    let mut bytes = vec![0; 1 << 20];
    let mut writer = Writer::new(&mut bytes);
    batch::write(&mut writer, head, blocks.iter().map(Owned::source))?;
    Ok(writer.written().to_vec())
}

/// A batch as read: its head, and per block what it holds and its uptimes.
type Decoded = (BatchHead, Vec<(Owned, Vec<u64>)>);

fn read(body: &[u8]) -> Result<Decoded, BodyError> {
    let Up::Batch(behind_number) = Up::read(body)? else {
        panic!("not a batch")
    };
    let mut reader = BatchReader::new(behind_number)?;
    let mut scratch = Scratch::default();
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block(&mut scratch)? {
        let owned = Owned {
            sensor: block.sensor,
            first_index: block.first_index,
            offsets_us: Vec::new(),
            raws: block.raws.to_vec(),
            bad: block.bad,
        };
        blocks.push((owned, block.uptimes_us.to_vec()));
    }
    Ok((reader.head, blocks))
}

/// Raw values of one of the shapes that the encodings are made for.
fn raws(count: usize) -> impl Strategy<Value = Vec<i64>> {
    let walk = |width: u32| {
        let step = -(1_i64 << width)..=1_i64 << width;
        move |count: usize| {
            (any::<i64>(), vec(step.clone(), count)).prop_map(|(first, steps)| {
                let next = |value: &mut i64, step: i64| {
                    *value = value.wrapping_add(step);
                    Some(*value)
                };
                steps
                    .into_iter()
                    .scan(first >> 40, next)
                    .collect::<Vec<_>>()
            })
        }
    };
    prop_oneof![
        any::<i64>().prop_map(move |value| vec![value; count]),
        walk(1)(count),
        walk(5)(count),
        walk(20)(count),
        walk(50)(count),
        // Few values: a palette.
        (vec(any::<i64>(), 1..=16), vec(0_usize..16, count)).prop_map(|(values, places)| {
            places
                .iter()
                .map(|place| values[place % values.len()])
                .collect()
        }),
        // Nearly always one value: Rice-coded places.
        (any::<i32>(), vec(0_u32..60, count)).prop_map(|(value, draws)| {
            draws
                .iter()
                .map(|draw| i64::from(value) + i64::from(*draw == 0))
                .collect()
        }),
        // Still, with outliers: Rice codes with escapes.
        vec((-3_i64..3, 0_u8..40, any::<i64>()), count).prop_map(|draws| {
            draws
                .iter()
                .map(|(near, draw, far)| if *draw == 0 { *far } else { *near })
                .collect()
        }),
        vec(any::<i64>(), count),
        vec(prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0)], count),
    ]
}

fn offsets() -> impl Strategy<Value = Vec<u32>> {
    let count = prop_oneof![Just(1_usize), 2_usize..10, Just(60), 1..=BLOCK_SAMPLES_MAX];
    let steps = |count: usize| {
        prop_oneof![
            // A period, now and then missed.
            (0_u32..2_000, 0_u32..=4, vec(0_u32..20, count)).prop_map(|(period, power, draws)| {
                let period = period * 10_u32.pow(power);
                draws
                    .iter()
                    .map(|draw| if *draw == 0 { 2 * period } else { period })
                    .collect()
            }),
            // A period with jitter.
            (100_u32..1_000_000, vec(0_u32..100, count)).prop_map(|(period, jitter)| {
                jitter.iter().map(|jitter| period + jitter).collect()
            }),
            vec(0_u32..16_000_000, count),
            vec(Just(0_u32), count),
        ]
    };
    (count.prop_flat_map(steps), 0_u32..1_000).prop_map(|(steps, first): (Vec<u32>, u32)| {
        let next = |offset: &mut u32, step: u32| {
            let found = *offset;
            *offset = offset.saturating_add(step);
            Some(found)
        };
        steps.into_iter().scan(first, next).collect()
    })
}

fn bad_set(count: usize) -> impl Strategy<Value = BadSet> {
    let marks = prop_oneof![
        6 => Just(Vec::new()),
        2 => vec(0..count, 1..4),
        1 => vec(0..count, 1..300),
        1 => Just((0..count).collect()),
    ];
    marks.prop_map(|marks| {
        let mut set = BadSet::default();
        for at in marks {
            set.insert(at);
        }
        set
    })
}

fn block(offsets_us: Vec<u32>) -> impl Strategy<Value = Owned> {
    let count = offsets_us.len();
    (
        raws(count),
        bad_set(count),
        prop_oneof![Just(7_u16), any::<u16>()],
    )
        .prop_map(move |(raws, bad, first_index)| Owned {
            sensor: 0,
            first_index,
            offsets_us: offsets_us.clone(),
            raws,
            bad,
        })
}

/// Several blocks on up to three axes, sensors ascending.
fn blocks() -> impl Strategy<Value = Vec<Owned>> {
    (vec(offsets(), 1..=3), vec((0_usize..3, 0_u16..20), 0..12)).prop_flat_map(|(axes, picks)| {
        let blocks: Vec<_> = picks
            .iter()
            .map(|(axis, _)| block(axes[axis % axes.len()].clone()))
            .collect();
        blocks.prop_map(move |mut blocks| {
            let mut sensor = 0;
            for (block, (_, gap)) in blocks.iter_mut().zip(&picks) {
                sensor += gap;
                block.sensor = sensor;
                sensor += 1;
            }
            blocks
        })
    })
}

fn head() -> impl Strategy<Value = BatchHead> {
    let near = (any::<u32>(), 0..=u64::MAX >> 2, any::<u32>());
    prop_oneof![
        near.clone()
            .prop_map(|(hash, base_us, more)| (hash, base_us, base_us + u64::from(more))),
        (any::<u32>(), 0..=u64::MAX >> 2, any::<u64>()),
    ]
    .prop_map(|(hash, base_us, complete_until_us)| BatchHead {
        catalog: CatalogHash(hash),
        base_us,
        complete_until_us,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn batches_read_back_as_written(head in head(), blocks in blocks()) {
        let body = write(&head, &blocks).unwrap();
        prop_assume!(body.len() <= FRAME_BYTES_MAX);
        let (head_read, read) = read(&body).unwrap();
        prop_assert_eq!(head_read, head);
        prop_assert_eq!(read.len(), blocks.len());
        for ((found, uptimes_us), block) in read.iter().zip(&blocks) {
            prop_assert_eq!(found.sensor, block.sensor);
            prop_assert_eq!(found.first_index, block.first_index);
            prop_assert_eq!(&found.raws, &block.raws_read());
            prop_assert_eq!(found.bad, block.bad);
            let times: Vec<u64> =
                block.offsets_us.iter().map(|offset| head.base_us + u64::from(*offset)).collect();
            prop_assert_eq!(uptimes_us, &times);
        }
    }

    #[test]
    fn bounds_are_never_too_small(head in head(), blocks in blocks()) {
        let mut bound = batch::HEAD_BYTES_MAX;
        let mut axes: Vec<&Vec<u32>> = Vec::new();
        for block in &blocks {
            let mut bytes = block::Bound::new();
            for (at, raw) in block.raws.iter().enumerate() {
                if block.bad.contains(at) { bytes.push_bad() } else { bytes.push(*raw) }
            }
            prop_assert_eq!(bytes.samples(), block.raws.len());
            prop_assert!(batch::payload_bytes(&block.source()).1 <= bytes.bytes());
            bound += bytes.bytes();
            if !axes.contains(&&block.offsets_us) {
                axes.push(&block.offsets_us);
                let mut axis = axis::Bound::new();
                block.offsets_us.iter().for_each(|offset| axis.push(*offset));
                bound += axis.bytes();
            }
        }
        let body = write(&head, &blocks).unwrap();
        prop_assert!(body.len() <= bound, "{} bytes, the bound is {bound}", body.len());
    }

    #[test]
    fn bounds_grow_with_every_sample(offsets_us in offsets(), raws in vec(any::<i64>(), 1..200)) {
        let (mut block, mut axis) = (block::Bound::new(), axis::Bound::new());
        for raw in raws {
            let before = block.bytes();
            block.push(raw);
            prop_assert!(block.bytes() >= before);
        }
        for offset in offsets_us {
            axis.push(offset);
            prop_assert!(axis.bytes() >= 3);
        }
    }

    #[test]
    fn bytes_behind_a_batch_are_ignored(blocks in blocks(), more in vec(any::<u8>(), 1..20)) {
        let body = write(&BatchHead::default(), &blocks).unwrap();
        prop_assume!(body.len() + more.len() <= FRAME_BYTES_MAX);
        let grown = [body.as_slice(), &more].concat();
        prop_assert_eq!(read(&grown).unwrap().1.len(), blocks.len());
    }

    #[test]
    fn a_batch_cut_short_says_where(blocks in blocks(), cut in any::<prop::sample::Index>()) {
        let body = write(&BatchHead::default(), &blocks).unwrap();
        prop_assume!(body.len() <= FRAME_BYTES_MAX);
        let kept = cut.index(body.len());
        if kept > 0 {
            let error = read(&body[..kept]).unwrap_err();
            prop_assert_eq!(error.fault, BodyFault::End);
            prop_assert!(error.at <= kept);
        }
    }

    #[test]
    fn mutated_batches_give_blocks_or_errors(
        blocks in blocks(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut body = write(&BatchHead::default(), &blocks).unwrap();
        prop_assume!(body.len() <= FRAME_BYTES_MAX);
        for (at, byte) in changes {
            let at = 1 + at.index(body.len() - 1);
            body[at] ^= byte;
        }
        if let Ok((head, blocks)) = read(&body) {
            for (block, uptimes_us) in blocks {
                prop_assert!(usize::from(block.sensor) < SENSORS_MAX);
                prop_assert_eq!(uptimes_us.len(), block.raws.len());
                prop_assert!(uptimes_us.is_sorted());
                prop_assert!(uptimes_us.iter().all(|time| *time >= head.base_us));
                prop_assert!(block.bad.count() as usize <= block.raws.len());
            }
        }
    }

    #[test]
    fn random_bytes_give_blocks_or_errors(mut body in vec(any::<u8>(), 1..600)) {
        body[0] = 4;
        let _ = read(&body);
    }

    #[test]
    fn a_full_buffer_is_an_error(blocks in blocks(), room in any::<prop::sample::Index>()) {
        let body = write(&BatchHead::default(), &blocks).unwrap();
        let mut bytes = vec![0; room.index(body.len())];
        let mut writer = Writer::new(&mut bytes);
        let error = batch::write(&mut writer, &BatchHead::default(), blocks.iter().map(Owned::source));
        prop_assert_eq!(error.unwrap_err().fault, BodyFault::Full);
    }
}

#[test]
fn the_shapes_reach_every_encoding() {
    let seen = Cell::new([0_u32; 5]);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    runner
        .run(&blocks(), |blocks| {
            let mut counts = seen.get();
            for one in &blocks {
                counts[batch::payload_bytes(&one.source()).0 as usize] += 1;
            }
            seen.set(counts);
            Ok(())
        })
        .unwrap();
    assert!(
        seen.get().iter().all(|count| *count > 10),
        "{:?}",
        seen.get()
    );
    assert_eq!(Encoding::from_number(5), None);
}

fn one(sensor: u16, offsets_us: &[u32], raws: &[i64]) -> Owned {
    Owned {
        sensor,
        first_index: 0,
        offsets_us: offsets_us.to_vec(),
        raws: raws.to_vec(),
        bad: BadSet::default(),
    }
}

#[test]
fn what_is_no_batch_is_not_written() {
    let head = BatchHead::default();
    let fault = |blocks: &[Owned]| write(&head, blocks).unwrap_err().fault;
    assert_eq!(fault(&[one(0, &[], &[])]), BodyFault::Limit);
    assert_eq!(fault(&[one(256, &[0], &[1])]), BodyFault::Limit);
    assert_eq!(fault(&[one(0, &[0; 256], &[1; 256])]), BodyFault::Limit);
    assert_eq!(fault(&[one(0, &[0, 1], &[1])]), BodyFault::Value);
    assert_eq!(fault(&[one(0, &[2, 1], &[1, 1])]), BodyFault::Value);
    assert_eq!(
        fault(&[one(1, &[0], &[1]), one(1, &[0], &[1])]),
        BodyFault::Value
    );
}

#[test]
fn the_largest_batch_is_bounded_work() {
    let blocks: Vec<_> = (0..256)
        .map(|sensor| one(sensor, &[0; 255], &[3; 255]))
        .collect();
    let body = write(&BatchHead::default(), &blocks).unwrap();
    assert!(body.len() < 600, "{}", body.len());
    assert_eq!(read(&body).unwrap().1.len(), 256);
}

#[test]
fn blocks_on_axes_in_turn_share_them() {
    let (one_axis, other) = ([0, 10, 20, 31], [0, 15, 32, 40]);
    let block = |sensor: u16| {
        one(
            sensor,
            if sensor.is_multiple_of(2) {
                &one_axis
            } else {
                &other
            },
            &[1; 4],
        )
    };
    let bytes = |count: u16| {
        write(
            &BatchHead::default(),
            &(0..count).map(block).collect::<Vec<_>>(),
        )
        .unwrap()
        .len()
    };
    // From the third on, a block is a head, a reference and a value.
    assert_eq!(bytes(8) - bytes(2), 6 * 3);
}

#[test]
fn errors_say_where() {
    let body = write(&BatchHead::default(), &[one(0, &[0, 10], &[5, 5])]).unwrap();
    // Number, catalog, base, complete until, count; then the block's head.
    let head_at = 1 + 4 + 1 + 1 + 1;
    let mut wrong = body.clone();
    wrong[head_at] |= 0x0f;
    let error = read(&wrong).unwrap_err();
    assert_eq!(
        error,
        BodyError {
            at: head_at,
            fault: BodyFault::Encoding { number: 15 }
        }
    );
    assert_eq!(
        error.to_string(),
        "block encoding 15 is not known (byte 8 of the body)"
    );
    let mut wrong = body;
    // Head, reference, count; then exponent and form.
    wrong[head_at + 3] = 0x0a;
    assert_eq!(
        read(&wrong).unwrap_err(),
        BodyError {
            at: head_at + 3,
            fault: BodyFault::Value
        }
    );
}

#[test]
fn behind_an_error_a_batch_has_ended() {
    let mut body = write(
        &BatchHead::default(),
        &[one(0, &[0], &[5]), one(1, &[0], &[5])],
    )
    .unwrap();
    body[8] |= 0x0f;
    let mut reader = BatchReader::new(&body[1..]).unwrap();
    let mut scratch = Scratch::default();
    assert_eq!(reader.blocks(), 2);
    assert!(reader.next_block(&mut scratch).is_err());
    assert!(reader.next_block(&mut scratch).unwrap().is_none());
}
