//! Bytes from elsewhere are refused or read, and nothing else happens.

use proptest::prelude::*;

use super::*;
use crate::audit::proof::Proof;
use crate::audit::tiles;
use crate::audit::witness::Request;

fn read_all(bytes: &[u8]) {
    let (_, log) = log_of(0);
    let _ = Request::parse(bytes);
    let _ = Proof::parse(bytes);
    let _ = Entry::parse(0, bytes);
    let _ = Signed::read(bytes, log.key(), &[]);
    let _ = tiles::split(bytes, 3);
    let text = String::from_utf8_lossy(bytes);
    let _ = LogKey::parse(&text);
    let _ = WitnessKey::parse(&text);
    if let Some(tile) = tiles::parse(&text) {
        assert_eq!(tiles::path(&tile), text);
    }
}

/// The crate panicked at all of them but the first.
#[test]
fn a_tile_of_no_hashes_is_none() {
    for width in ["0", "00", "000", "+0", "+00"] {
        assert_eq!(tiles::parse(&format!("tile/0/000.p/{width}")), None);
        assert_eq!(
            tiles::parse(&format!("tile/entries/x001/000.p/{width}")),
            None
        );
    }
    assert!(tiles::parse("tile/0/000.p/1").is_some());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
    }

    #[test]
    fn what_is_nearly_right_is_read_or_refused(
        which in 0_usize..4,
        at in any::<prop::sample::Index>(),
        put in proptest::collection::vec(any::<u8>(), 0..4),
        cut in 0_usize..4,
    ) {
        let (_, log) = log_of(5);
        let snapshot = log.snapshot().unwrap();
        let mut bytes = match which {
            0 => log.for_witness(3).unwrap().to_bytes(),
            1 => snapshot.prove(2, snapshot.signed()).unwrap().to_bytes(),
            2 => entry(1).to_bytes().unwrap(),
            _ => log.key().text().as_bytes().to_vec(),
        };
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put);
        read_all(&bytes);
    }

    #[test]
    fn any_path_is_that_of_a_tile_or_not(
        level in "([0-9]{1,3}|entries|data|x)",
        path in "(x?[0-9]{1,3}/){0,8}[0-9]{1,4}(\\.p/[0-9]{1,4})?",
    ) {
        read_all(format!("tile/{level}/{path}").as_bytes());
    }
}
