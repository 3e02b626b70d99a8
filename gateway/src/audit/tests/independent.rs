//! Checkpoints and proofs are verified by other code than what made them: RFC 9162's own
//! algorithms, SHA-256 of another version of its crate, and the Ed25519 of ring.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::*;

type Node = [u8; 32];

fn leaf(entry: &[u8]) -> Node {
    Sha256::new()
        .chain_update([0])
        .chain_update(entry)
        .finalize()
        .into()
}

fn node(left: &Node, right: &Node) -> Node {
    let hash = Sha256::new().chain_update([1]);
    hash.chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// RFC 9162, 2.1.3.2.
fn includes(index: u64, size: u64, path: &[Node], leaf: Node) -> Option<Node> {
    let (mut first, mut last, mut root) = (index, size.checked_sub(1)?, leaf);
    if index >= size {
        return None;
    }
    for step in path {
        if last == 0 {
            return None;
        }
        if first & 1 == 1 || first == last {
            root = node(step, &root);
            while first & 1 == 0 && first != 0 {
                (first, last) = (first >> 1, last >> 1);
            }
        } else {
            root = node(&root, step);
        }
        (first, last) = (first >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// RFC 9162, 2.1.4.2: whether a tree goes on into a larger one.
fn continues(old: u64, new: u64, old_root: Node, new_root: Node, path: &[Node]) -> bool {
    let mut path = path.to_vec();
    if old.is_power_of_two() {
        path.insert(0, old_root);
    }
    let Some((start, rest)) = path.split_first() else {
        return false;
    };
    let (mut first, mut last) = (old - 1, new - 1);
    while first & 1 == 1 {
        (first, last) = (first >> 1, last >> 1);
    }
    let (mut of_old, mut of_new) = (*start, *start);
    for step in rest {
        if last == 0 {
            return false;
        }
        if first & 1 == 1 || first == last {
            (of_old, of_new) = (node(step, &of_old), node(step, &of_new));
            while first & 1 == 0 && first != 0 {
                (first, last) = (first >> 1, last >> 1);
            }
        } else {
            of_new = node(&of_new, step);
        }
        (first, last) = (first >> 1, last >> 1);
    }
    last == 0 && of_old == old_root && of_new == new_root
}

/// Size and root of a signed checkpoint, its signature verified with ring; a cosignature with it.
fn checkpoint(bytes: &[u8], key: &str, is_witness: bool) -> Option<(u64, Node)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (body, signatures) = text.split_once("\n\n")?;
    let body = format!("{body}\n");
    let mut key = key.splitn(3, '+');
    let (name, id, material) = (key.next()?, key.next()?, key.next()?);
    let material = STANDARD.decode(material).ok()?;
    let hash = Sha256::digest([name.as_bytes(), b"\n", &material].concat());
    assert_eq!(
        format!("{:08x}", u32::from_be_bytes(hash[..4].try_into().unwrap())),
        id
    );
    assert_eq!(material[0], if is_witness { 4 } else { 1 });
    let mut verified = signatures.lines().filter_map(|line| {
        let blob = line.strip_prefix(&format!("— {name} "))?;
        let blob = STANDARD.decode(blob).ok()?;
        let (of, signature) = blob.split_at(4);
        let (message, signature) = if is_witness {
            let (at, signature) = signature.split_at(8);
            let at = u64::from_be_bytes(at.try_into().unwrap());
            (format!("cosignature/v1\ntime {at}\n{body}"), signature)
        } else {
            (body.clone(), signature)
        };
        let key = UnparsedPublicKey::new(&ED25519, &material[1..]);
        let verified = key.verify(message.as_bytes(), signature).is_ok();
        (of == &hash[..4] && verified).then_some(())
    });
    verified.next()?;
    let mut lines = body.lines();
    lines.next()?;
    let size = lines.next()?.parse().ok()?;
    let root = STANDARD.decode(lines.next()?).ok()?;
    Some((size, root.try_into().ok()?))
}

fn nodes(hashes: &[tlog_tiles::Hash]) -> Vec<Node> {
    hashes.iter().map(|hash| hash.0).collect()
}

/// Verifies a proof's text.
fn verify_proof(text: &[u8], entry: &[u8], key: &str) -> bool {
    let text = std::str::from_utf8(text).unwrap();
    let (head, signed) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let index = lines.next().unwrap().strip_prefix("index ").unwrap();
    let path = lines.map(|line| STANDARD.decode(line).unwrap().try_into().unwrap());
    let path: Vec<Node> = path.collect();
    let Some((size, root)) = checkpoint(signed.as_bytes(), key, false) else {
        return false;
    };
    includes(index.parse().unwrap(), size, &path, leaf(entry)) == Some(root)
}

#[test]
fn every_entry_is_proved_at_every_size() {
    let fault = FaultDisk::new();
    let mut log = log_on(&fault);
    let key = log.key().clone();
    for size in (1..=18).chain([254, 255, 256, 257, 258, 300, 511, 512, 513, 700]) {
        grow_to(&mut log, size);
        let snapshot = log.snapshot().unwrap();
        let step = if size < 20 { 1 } else { 29 };
        for index in (0..size).step_by(step).chain([size - 1]) {
            let bytes = entry(index).to_bytes().unwrap();
            assert_eq!(snapshot.entry(index).unwrap(), bytes);
            let proof = snapshot.prove(index, snapshot.signed()).unwrap();
            let text = proof.to_bytes();
            assert_eq!(proof::Proof::parse(&text).unwrap(), proof);
            proof.check(&bytes, &key, &[]).unwrap();
            assert!(verify_proof(&text, &bytes, key.text()), "{index} of {size}");
            let other = entry(index + 1).to_bytes().unwrap();
            assert!(!verify_proof(&text, &other, key.text()));
            assert!(proof.check(&other, &key, &[]).is_err());
        }
        let report = Copy::of(&fault).verify(&key, &[]).unwrap();
        assert_eq!((report.signed.size(), report.not_covered.len()), (size, 0));
    }
}

#[test]
fn every_growth_is_proved_and_every_cosignature_verified() {
    let (_, mut log) = log_of(0);
    let key = log.key().clone();
    let (_, mut witness, by) = witness(1, &key);
    let mut states: Vec<(u64, Node)> = Vec::new();
    for size in [0, 1, 2, 3, 7, 8, 9, 255, 256, 257, 511, 512, 600] {
        grow_to(&mut log, size);
        let snapshot = log.snapshot().unwrap();
        let (told, root) = checkpoint(&snapshot.signed().to_bytes(), key.text(), false).unwrap();
        assert_eq!(told, size);
        for (old, old_root) in states.iter().filter(|(old, _)| *old > 0) {
            let path = nodes(&snapshot.request(*old).unwrap().proof);
            assert!(
                continues(*old, size, *old_root, root, &path),
                "{old} {size}"
            );
            let mut wrong = root;
            wrong[0] ^= 1;
            assert!(!continues(*old, size, *old_root, wrong, &path));
        }
        let old = states.last().map_or(0, |(old, _)| *old);
        let request = log.for_witness(old).unwrap();
        let line = witness
            .add_checkpoint(&request.to_bytes(), 1_700_000_000)
            .unwrap();
        let note = [request.checkpoint.as_slice(), line.as_bytes()].concat();
        assert_eq!(checkpoint(&note, &by.text(), true), Some((size, root)));
        states.push((size, root));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_sequence_of_appends_proves_all_of_its_entries(
        batches in proptest::collection::vec(1_u64..90, 1..9),
        reopened in proptest::collection::vec(any::<bool>(), 9),
    ) {
        let (fault, mut log) = log_of(0);
        for (batch, reopen) in batches.iter().zip(reopened) {
            let old = log.size().unwrap();
            log.append_all(&entries(old..old + batch)).unwrap();
            if reopen {
                log = Log::open(disk_of(&fault), &seed(1)).unwrap();
            }
        }
        let size = batches.iter().sum::<u64>();
        prop_assert_eq!(log.size(), Some(size));
        let snapshot = log.snapshot().unwrap();
        for index in 0..size {
            let bytes = entry(index).to_bytes().unwrap();
            let proof = snapshot.prove(index, snapshot.signed()).unwrap();
            prop_assert!(verify_proof(&proof.to_bytes(), &bytes, log.key().text()));
        }
        Copy::of(&fault).verify(log.key(), &[]).unwrap();
    }
}
