//! Backups of registry and audit log, at rest and at work.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use crate::audit::verify::{Trusted, verify};
use crate::audit::{Folder, LogKey, Who};
use crate::backup::tests::Working;
use crate::backup::*;
use crate::disk::{FaultDisk, RealDisk};
use crate::registry::{Order, store};
use crate::rules::settings::{Secret, SecuritySettings};
use crate::time::Timestamp;
use crate::trust::{Trust, Whose, witness_signer};

const WHOSE: Whose<'static> = Whose {
    site: "plant",
    gateway: 0xabc,
    start: 1,
};

struct Rig {
    disk: FaultDisk,
    settings: SecuritySettings,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "07".repeat(32)).unwrap();
        Self {
            disk: FaultDisk::new(),
            settings: SecuritySettings {
                key: Some(Secret::File(path)),
                ..SecuritySettings::default()
            },
            dir,
        }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    fn open(&self) -> Trust {
        Trust::open(&self.disk(), &self.settings, WHOSE).unwrap()
    }

    fn tar(&self) -> PathBuf {
        self.dir.path().join("store.tar")
    }

    /// Restores the backup and opens it, once its audit log has been verified.
    fn restored(&self, case: &str) -> (PathBuf, Trust) {
        let data = self.dir.path().join("data");
        fs::remove_dir_all(&data).ok();
        restore(&self.tar(), &data, None).unwrap();
        let public = self.disk.content("audit/public-key").unwrap();
        let key = LogKey::parse(String::from_utf8(public).unwrap().trim()).unwrap();
        let folder = Folder::of(&data);
        let trusted = Trusted {
            key: &key,
            witnesses: &[],
            seen: None,
            told: &[],
        };
        let report = verify(&folder, &folder.paths().unwrap(), trusted);
        let report = report.unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
        assert_eq!(report.not_covered, [""; 0], "{case}");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(&data).unwrap());
        let trust = Trust::open(&disk, &self.settings, WHOSE);
        (data, trust.unwrap_or_else(|why| panic!("{case}: {why}")))
    }
}

fn order(trust: &mut Trust, order: &Order) {
    let now = Timestamp {
        mono_us: 1,
        wall_us: 1_000_000,
        wall_trusted: true,
    };
    trust.carry_out(now, Who::Gateway, order).unwrap();
}

fn add(trust: &mut Trust, number: u32) {
    order(
        trust,
        &Order::Add(format!("pump-{number}").parse().unwrap()),
    );
}

#[test]
fn a_restored_gateway_has_the_keyring_of_the_original() {
    let rig = Rig::new();
    let mut trust = rig.open();
    for number in 0..3 {
        add(&mut trust, number);
    }
    order(&mut trust, &Order::Rotate("pump-0".parse().unwrap()));
    order(&mut trust, &Order::Revoke("pump-1".parse().unwrap()));
    let cosigns = |disk: &Arc<dyn Disk>| {
        let whose = (WHOSE.site, WHOSE.gateway);
        let signer = witness_signer(disk, &rig.settings, whose, None).unwrap();
        signer.public()
    };
    let by = cosigns(&rig.disk());
    let known = "witness/0123456789abcdef.json";
    rig.disk.put(known, b"of another's log".to_vec());
    rig.disk.put("witness/0123456789abcdef.json.new", vec![1]);
    back_up(&rig.disk(), &rig.tar(), 0, &mut |_, _| {}).unwrap();
    let (data, mut again) = rig.restored("at rest");
    let keyring = again.keyring().unwrap();
    assert_eq!(keyring, trust.keyring().unwrap());
    let keys: usize = keyring.devices.values().map(Vec::len).sum();
    assert_eq!((keyring.devices.len(), keys), (3, 3));
    assert_eq!(fs::read(data.join(known)).unwrap(), b"of another's log");
    assert!(!data.join("witness/0123456789abcdef.json.new").exists());
    let restored: Arc<dyn Disk> = Arc::new(RealDisk::existing(&data).unwrap());
    assert_eq!(cosigns(&restored), by);
    for name in SEALED.into_iter().filter(|name| *name != store::NEXT) {
        let mode = fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    add(&mut again, 9);
    assert_eq!(again.keyring().unwrap().devices.len(), 4);
}

/// The gateway's disk refused to put the registry in its place: what it became is in the backup.
#[test]
fn a_registry_that_waits_for_its_place_is_in_the_backup() {
    let rig = Rig::new();
    let mut trust = rig.open();
    add(&mut trust, 0);
    let before = rig.disk.content(store::FILE).unwrap();
    add(&mut trust, 1);
    let next = rig.disk.content(store::FILE).unwrap();
    rig.disk.put(store::FILE, before);
    rig.disk.put(store::NEXT, next);
    back_up(&rig.disk(), &rig.tar(), 0, &mut |_, _| {}).unwrap();
    let (data, mut again) = rig.restored("waiting");
    assert_eq!(again.keyring().unwrap(), trust.keyring().unwrap());
    assert_eq!(again.keyring().unwrap().devices.len(), 2);
    assert!(!data.join(store::NEXT).exists(), "it is in its place");
}

/// An order comes while the registry is copied: log and registry of the copy are of one moment.
#[test]
fn an_order_while_the_registry_is_copied_is_in_both_or_neither() {
    for every in 1..12 {
        let rig = Rig::new();
        let mut trust = rig.open();
        add(&mut trust, 0);
        let once = Mutex::new(Some(trust));
        let step = move || {
            if let Some(mut trust) = once.lock().unwrap().take() {
                add(&mut trust, 1);
            }
        };
        let working: Arc<dyn Disk> = Arc::new(Working::new(rig.disk.clone(), every, step));
        back_up(&working, &rig.tar(), 0, &mut |_, _| {}).unwrap();
        let (data, _) = rig.restored(&format!("after {every}"));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(&data).unwrap());
        let mut again = Trust::open(&disk, &rig.settings, WHOSE).unwrap();
        let noted = again.entries().unwrap();
        assert_eq!(
            again.keyring().unwrap().devices.len() as u64,
            noted,
            "{every}"
        );
    }
}

/// A gateway adds devices while it is copied, one for every so many files that are opened; false
/// when it was too busy.
fn back_up_at_work(every: u64, warm: u32) -> bool {
    let rig = Rig::new();
    let mut trust = rig.open();
    for number in 0..warm {
        add(&mut trust, number);
    }
    let work = Mutex::new((trust, warm));
    let disk = rig.disk.clone();
    let step = move || {
        let (trust, number) = &mut *work.lock().unwrap();
        add(trust, *number);
        *number += 1;
        // As a witness would answer at once: a copy that has this and an older checkpoint is none.
        let newest = disk.content("audit/checkpoint").unwrap();
        disk.put("audit/cosigned/0123abcd", newest);
    };
    step();
    let working: Arc<dyn Disk> = Arc::new(Working::new(rig.disk.clone(), every, step));
    match back_up(&working, &rig.tar(), 0, &mut |_, _| {}) {
        Ok(_) => {}
        Err(BackupError::Audit(AuditError::TileMissing { .. })) => {
            assert!(!rig.tar().exists());
            return false;
        }
        Err(error) => panic!("{error}"),
    }
    let case = format!("every {every} after {warm}");
    let (_, mut again) = rig.restored(&case);
    let keyring = again.keyring().unwrap();
    assert!(keyring.devices.len() >= warm as usize, "{case}");
    for (device, keys) in &keyring.devices {
        assert_eq!(keys.len(), 1, "{case}: {device} has no key in force");
    }
    true
}

#[test]
fn an_audit_log_at_work_is_copied_as_of_one_checkpoint() {
    // The second is about to fill its first tile.
    for warm in [3, 254] {
        for every in [2, 5] {
            back_up_at_work(every, warm);
        }
        assert!(back_up_at_work(9, warm), "after {warm}");
    }
    // Wherever it is in reading when the log grows.
    for every in 8..=24 {
        assert!(back_up_at_work(every, 3), "every {every}");
    }
    assert!(!back_up_at_work(1, 10), "every tile went while it was read");
}

/// Whatever is damaged, no backup is made that would not verify, and the one before stays.
#[test]
fn a_damaged_audit_log_makes_no_backup() {
    for path in [
        "public-key",
        "checkpoint",
        "tile/0/000.p/3",
        "tile/entries/000.p/3",
    ] {
        let rig = Rig::new();
        let mut trust = rig.open();
        for number in 0..3 {
            add(&mut trust, number);
        }
        back_up(&rig.disk(), &rig.tar(), 0, &mut |_, _| {}).unwrap();
        let before = fs::read(rig.tar()).unwrap();
        rig.disk().remove(&format!("audit/{path}")).unwrap();
        let made = back_up(&rig.disk(), &rig.tar(), 0, &mut |_, _| {});
        assert!(matches!(made, Err(BackupError::Audit(_))), "{path}");
        assert_eq!(fs::read(rig.tar()).unwrap(), before, "{path}");
    }
}
