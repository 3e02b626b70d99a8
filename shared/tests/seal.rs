//! Properties of sealed frames, and a vector of each way.

#![expect(clippy::unwrap_used, reason = "a test fails by unwrapping")]

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{Incarnation, Mark, Term};
use tidegate_shared::limits::FRAME_BYTES_MAX;
use tidegate_shared::seal::{
    self, Key, Opening, SEAL_BYTES_MAX, SEALED_BYTES_MAX, SealError, TAG_BYTES, Way,
};

fn plain(header: &Header, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; FRAME_BYTES_MAX];
    let (bytes, _) = frame::write(header, &mut out, |writer| writer.put(body)).unwrap();
    bytes.to_vec()
}

fn sealed(key: &Key, key_id: u8, way: Way, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; SEALED_BYTES_MAX];
    let used = seal::seal(key, key_id, way, plain, &mut out).unwrap();
    out.truncate(used);
    out
}

fn opening(way: Way) -> Opening {
    match way {
        Way::Up { .. } => Opening::Up,
        Way::Down { boot, .. } => Opening::Down { boot },
    }
}

fn key() -> impl Strategy<Value = Key> {
    any::<[u8; 32]>().prop_map(Key::new)
}

/// A plain frame and the way it goes.
fn sent() -> impl Strategy<Value = (Way, Vec<u8>)> {
    let body = vec(any::<u8>(), 0..=2_000);
    let numbers = any::<(u32, u32, u32)>();
    let counter = 1..=u32::MAX;
    let down = any::<(u32, u32)>();
    (body, numbers, counter, down, any::<bool>()).prop_map(
        |(body, (incarnation, boot, sequence), counter, (term, hello), is_down)| {
            let header = |mark| Header {
                key_id: 0,
                incarnation: Incarnation(incarnation),
                mark,
            };
            if is_down {
                let way = Way::Down {
                    boot,
                    term: Term(term),
                    hello,
                    counter,
                };
                return (way, plain(&header(Mark { boot, sequence: 0 }), &body));
            }
            let counter = if sequence == 0 { counter } else { 0 };
            let mark = Mark { boot, sequence };
            (Way::Up { counter }, plain(&header(mark), &body))
        },
    )
}

proptest! {
    #[test]
    fn what_was_sealed_opens_to_the_same_frame(
        key in key(), key_id in 1..=u8::MAX, (way, plain) in sent(),
    ) {
        let sealed = sealed(&key, key_id, way, &plain);
        prop_assert!(sealed.len() <= plain.len() + SEAL_BYTES_MAX);
        prop_assert!(seal::is_sealed(&sealed) && !seal::is_sealed(&plain));
        let said = seal::envelope(&sealed, opening(way)).unwrap();
        prop_assert_eq!(said.header.key_id, key_id);
        let mut out = vec![0; FRAME_BYTES_MAX];
        let opened = seal::open(&key, opening(way), &sealed, &mut out).unwrap();
        prop_assert_eq!(frame::read(opened.plain).unwrap(), opened.frame);
        let sent = frame::read(&plain).unwrap();
        prop_assert_eq!(opened.frame.body, sent.body);
        match way {
            Way::Up { counter } => {
                prop_assert_eq!(opened.plain, plain);
                prop_assert_eq!(opened.counter, counter);
            }
            Way::Down { term, hello, counter, .. } => {
                let mark = Mark { boot: term.0, sequence: hello };
                prop_assert_eq!(opened.frame.header.mark, mark);
                prop_assert_eq!(opened.counter, counter);
            }
        }
    }

    #[test]
    fn no_changed_byte_and_no_cut_opens(
        key in key(), (way, plain) in sent(), at in any::<prop::sample::Index>(), change in 1..=u8::MAX,
    ) {
        let mut sealed = sealed(&key, 1, way, &plain);
        let at = at.index(sealed.len());
        let mut out = vec![0; FRAME_BYTES_MAX];
        prop_assert!(seal::open(&key, opening(way), &sealed[..at], &mut out).is_err());
        sealed[at] ^= change;
        let changed = seal::open(&key, opening(way), &sealed, &mut out);
        prop_assert!(changed.is_err(), "byte {at}: {changed:?}");
        prop_assert!(frame::read(&sealed).is_err(), "a sealed frame is no plain one");
    }

    #[test]
    fn no_other_key_and_no_other_way_opens(
        key in key(), other in key(), (way, plain) in sent(), boot in any::<u32>(),
    ) {
        let sealed = sealed(&key, 1, way, &plain);
        let mut out = vec![0; FRAME_BYTES_MAX];
        if key != other {
            let opened = seal::open(&other, opening(way), &sealed, &mut out);
            prop_assert_eq!(opened, Err(SealError::Tag));
        }
        let foreign = match way {
            Way::Up { .. } => Opening::Down { boot },
            Way::Down { boot: of, .. } if of != boot => Opening::Down { boot },
            Way::Down { .. } => Opening::Up,
        };
        prop_assert!(seal::open(&key, foreign, &sealed, &mut out).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..=200), key in key(), room in 0..=300_usize) {
        let mut bytes = bytes;
        let mut out = vec![0; room];
        for _ in 0..2 {
            for opening in [Opening::Up, Opening::Down { boot: 1 }] {
                prop_assert!(seal::open(&key, opening, &bytes, &mut out).is_err());
            }
            let sealed = seal::seal(&key, 1, Way::Up { counter: 1 }, &bytes, &mut out);
            prop_assert!(sealed.is_err());
            // And with a header that is believed.
            if let Some(head) = bytes.first_chunk_mut() {
                *head = [frame::VERSION, frame::FLAG_SEALED];
            }
        }
    }

    #[test]
    fn a_short_buffer_is_an_error((way, plain) in sent(), short in any::<prop::sample::Index>()) {
        let key = Key::new([7; 32]);
        let whole = sealed(&key, 1, way, &plain);
        let mut out = vec![0; short.index(whole.len())];
        prop_assert_eq!(seal::seal(&key, 1, way, &plain, &mut out), Err(SealError::Full));
        let mut out = vec![0; short.index(plain.len())];
        prop_assert_eq!(seal::open(&key, opening(way), &whole, &mut out), Err(SealError::Full));
    }
}

/// A counter is what keeps the nonces of unsequenced frames apart: none may lack one.
#[test]
fn an_unsequenced_frame_without_a_counter_is_refused() {
    let key = Key::new([7; 32]);
    let header = Header {
        key_id: 0,
        incarnation: Incarnation(1),
        mark: Mark {
            boot: 1,
            sequence: 0,
        },
    };
    let sealed = sealed(&key, 1, Way::Up { counter: 0 }, &plain(&header, b"hello"));
    let mut out = [0; 100];
    let opened = seal::open(&key, Opening::Up, &sealed, &mut out);
    assert!(matches!(opened, Err(SealError::Frame(_))), "{opened:?}");
}

#[test]
fn a_key_shows_nothing_and_its_password_is_its_own() {
    let (one, other) = (Key::new([7; 32]), Key::new([8; 32]));
    assert_eq!(format!("{one:?}"), "Key(…)");
    assert_ne!(one.password(), other.password());
    assert_eq!(one.password(), Key::new([7; 32]).password());
    assert!(one.password().iter().all(|byte| *byte != 7));
}

/// The vectors: `UPDATE_GOLDEN=1` writes them when they are missing, never over one that is there.
#[test]
fn the_vectors_hold() {
    let key = Key::new(core::array::from_fn(|at| at as u8));
    let header = |sequence| Header {
        key_id: 0,
        incarnation: Incarnation(0x1234_5678),
        mark: Mark { boot: 7, sequence },
    };
    let down = Way::Down {
        boot: 7,
        term: Term(0xcafe_f00d),
        hello: 2,
        counter: 1_000_000,
    };
    let cases = [
        ("up-sequenced", Way::Up { counter: 0 }, header(303)),
        ("up-unsequenced", Way::Up { counter: 5 }, header(0)),
        ("down", down, header(0)),
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/sealed-1");
    for (name, way, header) in cases {
        let plain = plain(&header, b"any body will do");
        let sealed = sealed(&key, 3, way, &plain);
        assert_eq!(sealed.len() - TAG_BYTES, sealed_text(&sealed, way, &plain));
        let mut text = format!(
            "{name}: {way:?}, key id 3, key 00 01 02 … 1f, password {}\n\nplain:",
            hex(&key.password())
        );
        let _ = write!(text, "\n{}\n\nsealed:\n{}\n", hex(&plain), hex(&sealed));
        let path = folder.join(format!("{name}.txt"));
        let kept = std::fs::read_to_string(&path);
        if kept.is_err() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
            continue;
        }
        assert_eq!(kept.unwrap(), text, "{}", path.display());
    }
}

/// Where the tag begins: header, counter and body, of which the body is as long as the plain one.
fn sealed_text(sealed: &[u8], way: Way, plain: &[u8]) -> usize {
    let body = frame::read(plain).unwrap().body;
    let said = seal::envelope(sealed, opening(way)).unwrap();
    let mut header = vec![0; 40];
    let (written, _) = frame::write(&said.header, &mut header, |writer| match said.counter {
        0 => Ok(()),
        counter => writer.varint(counter.into()),
    })
    .unwrap();
    written.len() - 4 + body.len()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
