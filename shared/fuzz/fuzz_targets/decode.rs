//! Feeds bytes to everything that decodes: a frame, its message, and all that lies in it.
//!
//! The bytes are read as they are and once more with their last four replaced by the right
//! trailer, because no fuzzer guesses a CRC. What decodes as a batch must survive a round trip, and
//! what is a frame must survive sealing; bytes that somebody else sealed never open. Claims and
//! grants are read with the bytes as they are, and once more behind the right head.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate_shared::batch::{self, BatchHead, BatchReader, BlockSource, Scratch};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::Writer;
use tidegate_shared::catalog::Sensors;
use tidegate_shared::claim::{
    self, CLAIM_BYTES, ClaimId, Claimant, Code, GRANT_BYTES, PUBLIC_BYTES, Secret,
};
use tidegate_shared::frame::{self, TRAILER_BYTES, crc32c};
use tidegate_shared::ids::{DeviceName, SiteName, Term};
use tidegate_shared::message::{Down, Up};
use tidegate_shared::seal::{self, Key, Opening, SEALED_BYTES_MAX, Way};

/// A decoded block: sensor, first index, offsets from the batch's base, raws, bad samples.
type Decoded = (u16, u16, Vec<u32>, Vec<i64>, BadSet);

fuzz_target!(|bytes: &[u8]| {
    read_frame(bytes);
    read_sealed(bytes);
    read_claim(bytes);
    if let Some(split) = bytes.len().checked_sub(TRAILER_BYTES) {
        let covered = &bytes[..split];
        let mut whole = covered.to_vec();
        whole.extend(crc32c(covered).to_le_bytes());
        read_frame(&whole);
    }
});

fn read_frame(bytes: &[u8]) {
    let Ok(frame) = frame::read(bytes) else {
        return;
    };
    seal_and_open(bytes, frame.header.is_sequenced());
    let _ = Down::read(frame.body).map(|message| format!("{message:?}"));
    match Up::read(frame.body) {
        Ok(Up::Batch(body)) => {
            if let Some((head, blocks)) = read_batch(body) {
                read_back(&head, &blocks);
            }
        }
        Ok(Up::Totals(totals)) => assert!(totals.counts().count() <= usize::from(u16::MAX)),
        Ok(Up::Catalog(part)) => {
            assert!(Sensors::new(part.bytes).map_or(0, Iterator::count) <= 256);
        }
        Ok(message) => drop(format!("{message:?}")),
        Err(error) => assert!(error.at <= frame.body.len(), "{error}"),
    }
}

/// Nobody guesses a tag: what is not of this key never opens, and its envelope says no more than
/// the bytes hold.
fn read_sealed(bytes: &[u8]) {
    let key = Key::new([7; 32]);
    let mut out = [0; SEALED_BYTES_MAX];
    for opening in [Opening::Up, Opening::Down { boot: 1 }] {
        assert!(seal::open(&key, opening, bytes, &mut out).is_err());
    }
}

/// Who claims, by which code, and the secret of its start.
static PARTY: LazyLock<(Code, SiteName, DeviceName, Secret)> = LazyLock::new(|| {
    let code = Code {
        id: ClaimId(0x1234_5678),
        key: Key::new([7; 32]),
    };
    (
        code,
        SiteName::try_from("site").expect("a name"),
        DeviceName::try_from("pump-1").expect("a name"),
        Secret::new([9; PUBLIC_BYTES]),
    )
});

/// Nobody guesses a code's tag either: no grant is taken, and no claim but the one that was made with
/// it (which the fuzzer learns, where it is compared); and neither is a frame.
fn read_claim(bytes: &[u8]) {
    let (code, site, device, secret) = &*PARTY;
    let claimant = Claimant { code, site, device };
    let said = claimant.ask(secret);
    let judge = |bytes: &[u8]| {
        assert_eq!(claimant.asked(bytes).is_ok(), bytes == &said[..]);
        assert!(claimant.granted(secret, bytes).is_err());
        if claim::is_claim(bytes) {
            assert!(frame::read(bytes).is_err() && !seal::is_sealed(bytes));
        }
    };
    judge(bytes);
    for bytes_exact in [CLAIM_BYTES, GRANT_BYTES] {
        let head = said.iter().take(2 + 4 + PUBLIC_BYTES);
        let mut whole: Vec<u8> = head.chain(bytes).copied().collect();
        whole.resize(bytes_exact, 0);
        assert_eq!(claim::claim_id(&whole).is_ok(), bytes_exact == CLAIM_BYTES);
        judge(&whole);
    }
}

fn seal_and_open(bytes: &[u8], is_sequenced: bool) {
    let key = Key::new([7; 32]);
    let (mut sealed, mut opened) = ([0; SEALED_BYTES_MAX], [0; SEALED_BYTES_MAX]);
    let up = Way::Up {
        counter: u32::from(!is_sequenced),
    };
    let used = seal::seal(&key, 1, up, bytes, &mut sealed).expect("it is a frame");
    let again = seal::open(&key, Opening::Up, &sealed[..used], &mut opened).expect("it is sealed");
    assert!(again.frame.body == frame::read(bytes).expect("it is a frame").body);
    let down = Way::Down {
        boot: 1,
        term: Term(u32::MAX),
        hello: 1,
        counter: 1,
    };
    let used = seal::seal(&key, 1, down, bytes, &mut sealed).expect("it is a frame");
    let opening = Opening::Down { boot: 1 };
    let again = seal::open(&key, opening, &sealed[..used], &mut opened).expect("it is sealed");
    assert!(again.frame.body == frame::read(bytes).expect("it is a frame").body);
}

fn read_batch(body: &[u8]) -> Option<(BatchHead, Vec<Decoded>)> {
    let mut reader = BatchReader::new(body).ok()?;
    let mut scratch = Scratch::default();
    let mut blocks = Vec::new();
    loop {
        match reader.next_block(&mut scratch) {
            Ok(Some(block)) => {
                assert!(block.uptimes_us.is_sorted());
                let offset = |time: &u64| u32::try_from(time - reader.head.base_us).unwrap();
                let offsets = block.uptimes_us.iter().map(offset).collect();
                blocks.push((
                    block.sensor,
                    block.first_index,
                    offsets,
                    block.raws.to_vec(),
                    block.bad,
                ));
            }
            Ok(None) => return Some((reader.head, blocks)),
            // The message's number is one byte more.
            Err(error) => {
                assert!(error.at <= body.len() + 1, "{error}");
                return None;
            }
        }
    }
}

fn read_back(head: &BatchHead, blocks: &[Decoded]) {
    let sources = blocks
        .iter()
        .map(|(sensor, first_index, offsets_us, raws, bad)| BlockSource {
            sensor: *sensor,
            first_index: *first_index,
            offsets_us,
            raws,
            bad: *bad,
        });
    let mut bytes = vec![0; 1 << 20];
    let mut writer = Writer::new(&mut bytes);
    batch::write(&mut writer, head, sources).expect("what was read can be written");
    let written = writer.written();
    // What came in a wasteful form is written in the smallest.
    if written.len() <= tidegate_shared::limits::FRAME_BYTES_MAX {
        let again = read_batch(&written[1..]).expect("what was written can be read");
        assert_eq!((head, blocks), (&again.0, again.1.as_slice()));
    }
}
