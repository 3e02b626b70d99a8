//! Registry and audit log together: what is in force is what both say.

mod witness;

use super::*;
use crate::disk::FaultDisk;
use crate::disk::fault::Torn;
use crate::entry::Uncounted;
use crate::registry::ClaimWish;
use crate::rules::settings::{Frames, Secret};

const WHOSE: Whose<'static> = Whose {
    site: "plant",
    gateway: 0xabc,
    start: 1,
};

pub(super) fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

/// A disk, and settings whose key stands in a file.
pub(super) struct Rig {
    pub(super) disk: FaultDisk,
    settings: SecuritySettings,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "07".repeat(32)).unwrap();
        Self {
            disk: FaultDisk::new(),
            settings: SecuritySettings {
                key: Some(Secret::File(path)),
                ..SecuritySettings::default()
            },
            _dir: dir,
        }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    pub(super) fn open(&self) -> Trust {
        Trust::open(&self.disk(), &self.settings, WHOSE).unwrap()
    }
}

pub(super) fn at(us: i64) -> Timestamp {
    Timestamp {
        mono_us: 1,
        wall_us: us,
        wall_trusted: true,
    }
}

pub(super) fn order(trust: &mut Trust, order: &Order) -> Result<Answer, OrderError> {
    trust.carry_out(at(1_000_000), Who::Control { uid: Some(7) }, order)
}

pub(super) fn kinds(trust: &Trust) -> Vec<String> {
    let log = trust.notes.log.as_ref().unwrap();
    let snapshot = log.snapshot().unwrap();
    let entries = snapshot.entries(0..snapshot.size()).unwrap();
    let kind = |(_, entry): &(u64, Entry)| {
        let json = serde_json::to_value(entry).unwrap();
        json["act"]["kind"].as_str().unwrap().to_owned()
    };
    entries.iter().map(kind).collect()
}

fn ids(keys: &Keyring, device: &str) -> Vec<u8> {
    keys.devices[&name(device)]
        .iter()
        .map(|key| key.id)
        .collect()
}

#[test]
fn every_order_is_noted_and_its_keys_are_in_force() {
    let rig = Rig::new();
    let mut trust = rig.open();
    assert_eq!(trust.keyring().unwrap().frames, Frames::AllowPlain);
    order(&mut trust, &Order::Add(name("a"))).unwrap();
    assert_eq!(trust.keyring().unwrap().frames, Frames::Require);
    order(&mut trust, &Order::Rotate(name("a"))).unwrap();
    assert_eq!(ids(&trust.keyring().unwrap(), "a"), [1, 2]);
    order(&mut trust, &Order::Rotate(name("a"))).unwrap();
    assert_eq!(ids(&trust.keyring().unwrap(), "a"), [1, 3]);
    assert!(trust.confirm(at(2), &name("a"), 3).unwrap());
    assert_eq!(ids(&trust.keyring().unwrap(), "a"), [3]);
    let rename = Order::Rename {
        from: name("a"),
        to: name("b"),
    };
    order(&mut trust, &rename).unwrap();
    let mut again = rig.open();
    assert_eq!(ids(&again.keyring().unwrap(), "a"), [0_u8; 0]);
    assert_eq!(ids(&again.keyring().unwrap(), "b"), [1]);
    order(&mut again, &Order::Revoke(name("b"))).unwrap();
    assert_eq!(ids(&again.keyring().unwrap(), "b"), [0_u8; 0]);
    order(&mut again, &Order::Add(name("b"))).unwrap();
    assert_eq!(ids(&again.keyring().unwrap(), "b"), [2]);
    let expected = [
        "device-enrolled",
        "key-rotated",
        "key-retired",
        "key-rotated",
        "key-retired",
        "device-renamed",
        "device-enrolled",
        "device-revoked",
        "device-enrolled",
    ];
    assert_eq!(kinds(&rig.open()), expected);
}

/// A device of each sort that orders tell apart.
fn plant(rig: &Rig) -> Trust {
    let mut trust = rig.open();
    for device in ["a", "b", "c"] {
        order(&mut trust, &Order::Add(name(device))).unwrap();
    }
    order(&mut trust, &Order::Rotate(name("b"))).unwrap();
    order(&mut trust, &Order::Revoke(name("c"))).unwrap();
    trust
}

/// Every change that a step of an order can make to a plant.
fn changes() -> Vec<Order> {
    let rename = |from, to| Order::Rename {
        from: name(from),
        to: name(to),
    };
    vec![
        Order::Add(name("d")),
        Order::Add(name("c")),
        Order::Rotate(name("a")),
        Order::Rotate(name("b")),
        Order::Revoke(name("b")),
        rename("a", "d"),
        rename("b", "c"),
    ]
}

/// What a trust says, which has to be what its log says.
fn said(trust: &mut Trust) -> (Keyring, usize) {
    let noted = kinds(trust).len();
    let standing = trust.notes.log.as_ref().unwrap().standing().unwrap();
    assert!(agree(trust.registrar.registry(), &standing));
    assert_eq!(*trust.notes.standing().unwrap(), standing);
    (trust.keyring().unwrap(), noted)
}

#[test]
fn whatever_step_the_power_fails_at_an_order_is_noted_and_done_or_neither() {
    for change in changes() {
        let steps = {
            let rig = Rig::new();
            let mut trust = plant(&rig);
            let before = rig.disk.mutations();
            order(&mut trust, &change).unwrap();
            rig.disk.mutations() - before
        };
        for nth in 0..steps {
            let mut rig = Rig::new();
            let mut trust = plant(&rig);
            let (_, noted) = said(&mut trust);
            rig.disk.cut_at(rig.disk.mutations() + nth + 1);
            let done = order(&mut trust, &change);
            rig.disk = rig.disk.after_cut(Torn::Sectors(nth));
            let mut again = rig.open();
            let (_, then) = said(&mut again);
            assert!(done.is_err() || then > noted, "{change:?}, step {nth}");
            // And a further one is carried out behind it.
            order(&mut again, &Order::Add(name("e"))).unwrap();
            assert_eq!(said(&mut again), said(&mut rig.open()));
        }
    }
}

#[test]
fn whatever_the_disk_refuses_of_an_order_is_noted_and_done_or_neither() {
    for change in changes() {
        let syncs = {
            let rig = Rig::new();
            let mut trust = plant(&rig);
            let before = rig.disk.syncs();
            order(&mut trust, &change).unwrap();
            rig.disk.syncs() - before
        };
        assert!(syncs > 4, "{change:?}: {syncs}");
        for nth in 1..=syncs {
            let rig = Rig::new();
            let mut trust = plant(&rig);
            let before = said(&mut trust);
            rig.disk.fail_sync(rig.disk.syncs() + nth);
            let done = order(&mut trust, &change);
            rig.disk.disarm();
            let then = said(&mut trust);
            assert_eq!(then.1 > before.1, then.0 != before.0, "{change:?}, {nth}");
            assert!(done.is_err() || then.1 > before.1, "{change:?}, sync {nth}");
            assert_eq!(said(&mut rig.open()), then, "{change:?}, sync {nth}");
            order(&mut trust, &Order::Add(name("e"))).unwrap();
            assert_eq!(said(&mut rig.open()), said(&mut trust));
        }
    }
}

/// Something stands where the registry is to be prepared, and stays there.
#[test]
fn what_cannot_be_prepared_is_not_noted_however_often_it_is_tried() {
    let rig = Rig::new();
    let mut trust = plant(&rig);
    let before = said(&mut trust);
    rig.disk.set_read_only(true);
    for _ in 0..3 {
        let why = order(&mut trust, &Order::Revoke(name("a"))).unwrap_err();
        assert!(why.to_string().contains("registry"), "{why}");
    }
    rig.disk.set_read_only(false);
    assert_eq!(said(&mut trust), before);
}

/// A start without `security.key` by mistake, after the very first order.
#[test]
fn what_waits_for_its_place_outlives_a_start_without_a_key() {
    let rig = Rig::new();
    let mut trust = rig.open();
    order(&mut trust, &Order::Add(name("a"))).unwrap();
    let waiting = rig.disk.content("registry").unwrap();
    rig.disk.put("registry.next", waiting);
    rig.disk().remove("registry").unwrap();
    Trust::open(&rig.disk(), &SecuritySettings::default(), WHOSE).unwrap();
    assert_eq!(ids(&rig.open().keyring().unwrap(), "a"), [1]);
}

#[test]
fn a_registry_that_is_gone_opens_nothing() {
    let rig = Rig::new();
    let mut trust = rig.open();
    let before = rig.disk.content("registry").is_ok();
    assert!(!before, "a gateway without devices has none");
    assert_eq!(trust.keyring().unwrap().frames, Frames::AllowPlain);
    let wish = ClaimWish {
        prefix: name("pump"),
        devices_max: 1,
        open_us: 3_600_000_000,
    };
    order(&mut trust, &Order::OpenClaim(wish)).unwrap();
    let empty = rig.disk.content("registry").unwrap();
    order(&mut trust, &Order::Add(name("a"))).unwrap();
    // One from before the first device.
    rig.disk.put("registry", empty);
    let mut again = rig.open();
    assert!(again.keyring().unwrap().devices.is_empty());
    assert_eq!(again.keyring().unwrap().frames, Frames::Require);
    rig.disk().remove("registry").unwrap();
    let Err(why) = Trust::open(&rig.disk(), &rig.settings, WHOSE) else {
        panic!("it opened");
    };
    assert!(
        matches!(why, TrustError::RegistryGone { devices: 1 }),
        "{why}"
    );
}

/// Somebody who can write the registry's file, and even seal it, but not the log: an older copy of
/// the file brings a revoked key back.
#[test]
fn a_key_that_the_log_does_not_have_is_not_in_force() {
    let rig = Rig::new();
    let mut trust = rig.open();
    order(&mut trust, &Order::Add(name("a"))).unwrap();
    let before = rig.disk.content("registry").unwrap();
    order(&mut trust, &Order::Revoke(name("a"))).unwrap();
    rig.disk.put("registry", before);
    let mut again = rig.open();
    assert_eq!(
        ids(&again.keyring().unwrap(), "a"),
        [0_u8; 0],
        "it stays revoked"
    );
    assert_eq!(again.keyring().unwrap().frames, Frames::Require);
}

#[test]
fn a_quarantine_outlives_a_restart_and_ends_once() {
    let rig = Rig::new();
    let mut trust = rig.open();
    order(&mut trust, &Order::Add(name("a"))).unwrap();
    let mut ruling = Ruling {
        device: name("a"),
        turn: Turn::Quarantined,
        is_over: false,
        why: BTreeMap::from([(Uncounted::Forged, 100)]),
        until_us: Some(5_000_000),
    };
    trust.rule(at(1_000_000), &ruling).unwrap();
    let mut again = rig.open();
    let held = BTreeMap::from([(name("a"), Some(5_000_000))]);
    assert_eq!(*again.held(), held);
    order(&mut again, &Order::Release(name("a"))).unwrap();
    // The session says so as well; it is the same release.
    ruling.is_over = true;
    again.rule(at(2_000_000), &ruling).unwrap();
    let twice = order(&mut again, &Order::Release(name("a")));
    assert!(twice.unwrap_err().to_string().contains("not in quarantine"));
    assert!(rig.open().held().is_empty());
    let expected = ["device-enrolled", "device-quarantined", "device-released"];
    assert_eq!(kinds(&rig.open()), expected);
    // A suspicion changes nothing, so nothing is noted.
    ruling.turn = Turn::Suspected;
    again.rule(at(3_000_000), &ruling).unwrap();
    assert_eq!(kinds(&again).len(), 3);
}

#[test]
fn the_checkpoint_that_goes_upstream_is_the_newest_and_signed() {
    let rig = Rig::new();
    let mut trust = rig.open();
    let empty = trust.checkpoint().unwrap().unwrap();
    assert_eq!((empty.entries, trust.entries()), (0, Some(0)));
    order(&mut trust, &Order::Add(name("tank"))).unwrap();
    let newest = trust.checkpoint().unwrap().unwrap();
    assert_eq!((newest.entries, trust.entries()), (1, Some(1)));
    let key = trust.notes.log.as_ref().unwrap().key().clone();
    let signed = audit::Signed::read(newest.note.as_bytes(), &key, &[]).unwrap();
    assert_eq!(signed.size(), 1);
    assert!(newest.note.len() < 400, "as limits.md says");
    assert_eq!(rig.open().checkpoint().unwrap(), Some(newest));
}

#[test]
fn without_a_key_nothing_is_registered_and_nothing_noted() {
    let rig = Rig::new();
    let settings = SecuritySettings::default();
    let mut trust = Trust::open(&rig.disk(), &settings, WHOSE).unwrap();
    assert!(!trust.is_noted());
    assert_eq!(trust.checkpoint().unwrap(), None);
    let refused = order(&mut trust, &Order::Add(name("a"))).unwrap_err();
    assert!(refused.to_string().contains("openssl rand"), "{refused}");
    trust
        .note_of(
            at(1),
            Who::Gateway,
            Act::ClockStepped {
                before_us: 1,
                after_us: 2,
            },
        )
        .unwrap();
    assert!(rig.disk.content("audit/checkpoint").is_err());
}

#[test]
fn a_log_whose_signing_key_is_gone_is_not_begun_anew() {
    let rig = Rig::new();
    drop(rig.open());
    rig.disk().remove(SEED).unwrap();
    let opened = Trust::open(&rig.disk(), &rig.settings, WHOSE);
    assert!(matches!(opened, Err(TrustError::NoSeed)));
}

/// Without its folder a log that was begun is gone, which is not as if it had never been.
#[test]
fn a_log_that_is_gone_is_not_begun_anew() {
    let rig = Rig::new();
    let mut trust = rig.open();
    order(&mut trust, &Order::Add(name("a"))).unwrap();
    let seed = rig.disk.content(SEED).unwrap();
    let paths = rig.disk.paths().into_iter();
    let log: BTreeMap<String, Vec<u8>> = paths
        .filter(|path| path.starts_with("audit/"))
        .map(|path| (path.clone(), rig.disk.content(&path).unwrap()))
        .collect();
    assert!(log.len() >= 4, "{log:?}");
    for path in log.keys() {
        rig.disk().remove(path).unwrap();
    }
    let opened = Trust::open(&rig.disk(), &rig.settings, WHOSE);
    let why = opened.err().unwrap();
    assert!(matches!(why, TrustError::LogGone), "{why}");
    assert!(why.to_string().contains("from a backup"), "{why}");
    assert_eq!(rig.disk.content(SEED).unwrap(), seed);
    assert!(rig.disk.content("audit/checkpoint").is_err());
    for (path, content) in log {
        rig.disk.put(&path, content);
    }
    assert_eq!(ids(&rig.open().keyring().unwrap(), "a"), [1]);
}

/// A cut while the log is begun leaves one that is begun again, under the same key or another, and
/// never one that is taken for gone.
#[test]
fn a_cut_while_the_log_is_begun_is_no_harm() {
    let steps = {
        let rig = Rig::new();
        drop(rig.open());
        rig.disk.mutations()
    };
    assert!(steps > 10, "{steps}");
    for nth in 0..steps {
        let mut rig = Rig::new();
        rig.disk.cut_at(nth + 1);
        assert!(Trust::open(&rig.disk(), &rig.settings, WHOSE).is_err());
        rig.disk = rig.disk.after_cut(Torn::Sectors(nth));
        let mut trust = rig.open();
        order(&mut trust, &Order::Add(name("a"))).unwrap();
        assert_eq!(ids(&rig.open().keyring().unwrap(), "a"), [1], "step {nth}");
    }
}

/// Whatever step the power fails at, a key is in force only if its issue is noted, and an order
/// that was answered holds.
#[test]
fn a_cut_at_any_step_leaves_nothing_in_force_that_is_not_noted() {
    let steps = {
        let rig = Rig::new();
        let mut trust = rig.open();
        let before = rig.disk.mutations();
        order(&mut trust, &Order::Add(name("a"))).unwrap();
        order(&mut trust, &Order::Rotate(name("a"))).unwrap();
        order(&mut trust, &Order::Revoke(name("a"))).unwrap();
        rig.disk.mutations() - before
    };
    assert!(steps > 20, "{steps}");
    for nth in 0..steps {
        let mut rig = Rig::new();
        let mut trust = rig.open();
        rig.disk.cut_at(rig.disk.mutations() + nth + 1);
        let mut answered = Vec::new();
        for one in [
            Order::Add(name("a")),
            Order::Rotate(name("a")),
            Order::Revoke(name("a")),
        ] {
            answered.push(order(&mut trust, &one).is_ok());
        }
        rig.disk = rig.disk.after_cut(Torn::Sectors(nth));
        let mut again = rig.open();
        let keys = again.keyring().unwrap();
        let live = keys.devices.get(&name("a")).map(Vec::len);
        match answered[..] {
            [true, true, true] => assert_eq!(live, Some(0), "step {nth}"),
            [true, ..] => assert!(live.is_some(), "step {nth}"),
            _ => {}
        }
        let log = again.notes.log.as_ref().unwrap();
        let standing = log.standing().unwrap();
        let valid = standing.keys().count();
        let in_force: usize = keys.devices.values().map(Vec::len).sum();
        assert!(in_force <= valid, "step {nth}: {in_force} of {valid}");
    }
}
