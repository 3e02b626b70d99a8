//! Backups of a store at rest and of one at work.

use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::disk::FaultDisk;
use crate::rules::settings::Settings;
use crate::store::damage::world::{Kept, Script, World, later, settings};
use crate::store::{OpenReport, Store};

fn unpacked(path: &Path, dir: &Path, settings: &Settings) -> (Kept, OpenReport) {
    restore(path, dir, None).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(dir).unwrap());
    let (mut store, report) = Store::open(&disk, settings, 8, later()).unwrap();
    (Kept::of(&mut store), report)
}

#[test]
fn a_store_at_rest_comes_back_as_it_was() {
    for world in [World::killed(), World::stopped()] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.tar");
        let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
        let summary = back_up(&disk, &path, 0, &mut |_, _| {}).unwrap();
        assert_eq!(
            (summary.log_end, summary.recycled_meanwhile),
            (world.end, 0)
        );
        assert!(!dir.path().join("store.tar.partial").exists());
        let (kept, report) = unpacked(&path, &dir.path().join("data"), &world.settings);
        assert_eq!(kept, world.kept);
        assert!(report.recovery.is_clean(), "{report:?}");
    }
}

/// It tells as much of the plant as the data directory, which is its owner's alone.
#[test]
fn a_backup_is_its_owners_alone_from_its_first_byte_on() {
    let world = World::stopped();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.tar");
    let partial = dir.path().join("store.tar.partial");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
    // What an earlier version or a power cut left behind.
    for left in [&path, &partial] {
        fs::write(left, b"left").unwrap();
        fs::set_permissions(left, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut modes = Vec::new();
    back_up(&disk, &path, 0, &mut |_, _| modes.push(mode(&partial))).unwrap();
    assert!(
        !modes.is_empty() && modes.iter().all(|mode| *mode == 0o600),
        "{modes:?}"
    );
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn dead_letters_and_the_registry_come_along() {
    let world = World::stopped();
    let name = format!("dead-letters/cloud.normal-{:032x}.dead", 7);
    world.disk.put(&name, b"what a sink refused".to_vec());
    world.disk.put("registry", b"sealed keys".to_vec());
    let dir = tempfile::tempdir().unwrap();
    let (path, data) = (dir.path().join("store.tar"), dir.path().join("data"));
    let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
    back_up(&disk, &path, 0, &mut |_, _| {}).unwrap();
    restore(&path, &data, None).unwrap();
    assert_eq!(fs::read(data.join(name)).unwrap(), b"what a sink refused");
    assert_eq!(fs::read(data.join("registry")).unwrap(), b"sealed keys");
}

/// A disk under a gateway that goes on working: a step for every so many files that are opened.
pub(super) struct Working {
    disk: FaultDisk,
    step: Box<dyn Fn() + Send + Sync>,
    opens: AtomicU64,
    every: u64,
}

impl Working {
    pub(super) fn new(
        disk: FaultDisk,
        every: u64,
        step: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            disk,
            step: Box::new(step),
            opens: AtomicU64::new(0),
            every,
        }
    }
}

impl Disk for Working {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let opens = self.opens.fetch_add(1, Ordering::Relaxed) + 1;
        if opens.is_multiple_of(self.every) {
            (self.step)();
        }
        self.disk.open(path)
    }
    fn create(&self, path: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path, bytes)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn create_dir(&self, folder: &str) -> io::Result<()> {
        self.disk.create_dir(folder)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_dir(folder)
    }
}

/// A backup while the gateway works: everything that the copied log knows of is in the copy or at
/// its sink.
fn back_up_at_work(every: u64, warm: u64) -> bool {
    let mut settings = settings();
    settings.log.bytes_max = 40 << 10;
    let disk = FaultDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut store, _) = Store::open(&shared, &settings, 7, later()).unwrap();
    let mut script = Script::begin(&mut store, &settings).unwrap();
    for _ in 0..warm {
        script.step(&mut store).unwrap();
    }
    let work = Arc::new(Mutex::new((store, script)));
    let stepping = Arc::clone(&work);
    let step = move || {
        let (store, script) = &mut *stepping.lock().unwrap();
        script.step(store).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.tar");
    let at_work: Arc<dyn Disk> = Arc::new(Working::new(disk, every, step));
    let summary = match back_up(&at_work, &path, 0, &mut |_, _| {}) {
        Ok(summary) => summary,
        Err(BackupError::TooBusy { .. }) => {
            assert!(!path.exists());
            return false;
        }
        Err(error) => panic!("{error}"),
    };
    let (kept, report) = unpacked(&path, &dir.path().join("data"), &settings);
    let case = format!("every {every} after {warm}: {summary:?} {report:?}");
    assert!(report.recovery.is_clean(), "{case}");
    assert_eq!(report.recovery.end, summary.log_end, "{case}");
    let spool = &report.spool;
    assert_eq!(
        (
            spool.records_lost,
            spool.commits_uncounted,
            spool.parts_damaged
        ),
        (0, 0, 0),
        "{case}"
    );
    assert_eq!(kept.lost_records, 0, "{case}");
    let (store, script) = &mut *work.lock().unwrap();
    let live = Kept::of(store);
    for (position, bytes) in &kept.entries {
        assert!(
            live.entries.get(position).is_none_or(|live| live == bytes),
            "{case}"
        );
    }
    for (queue, waiting) in &live.waiting {
        let confirmed = script.confirmed.get(queue).into_iter().flatten();
        for place in waiting.iter().chain(confirmed) {
            let known = place.position < summary.log_end;
            let there = kept.waiting[queue].contains(place);
            let gone = script
                .confirmed
                .get(queue)
                .is_some_and(|one| one.contains(place));
            assert!(!known || there || gone, "{queue} {place:?}: {case}");
            assert!(
                known || !there,
                "ahead of the log: {queue} {place:?}: {case}"
            );
        }
    }
    true
}

#[test]
fn a_store_at_work_is_copied_as_of_one_moment() {
    let mut made = 0;
    for every in [2, 8] {
        for warm in [0, 40, 90] {
            made += u32::from(back_up_at_work(every, warm));
        }
    }
    assert!(made >= 3, "{made} backups were made");
}

#[test]
fn a_directory_with_anything_in_it_is_not_unpacked_into() {
    let world = World::stopped();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.tar");
    let disk: Arc<dyn Disk> = Arc::new(world.disk);
    back_up(&disk, &path, 0, &mut |_, _| {}).unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("identity"), "mine").unwrap();
    assert!(matches!(
        restore(&path, &data, None),
        Err(BackupError::NotEmpty { .. })
    ));
    fs::remove_file(data.join("identity")).unwrap();
    restore(&path, &data, None).unwrap();
    assert!(data.join("log").is_dir());
}

#[test]
fn a_copy_does_not_go_on_under_the_incarnation_of_the_original() {
    let world = World::stopped();
    let disk: Arc<dyn Disk> = Arc::new(world.disk);
    let original = identity::begin(&disk, 5).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.tar");
    back_up(&disk, &path, 0, &mut |_, _| {}).unwrap();
    for (name, gateway) in [("same", None), ("other", Some(9))] {
        let data = dir.path().join(name);
        let summary = restore(&path, &data, gateway).unwrap();
        assert_eq!(summary.log_end, world.end);
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(&data).unwrap());
        let copy = identity::begin(&disk, 6).unwrap();
        assert_eq!(copy.gateway, gateway.unwrap_or(original.gateway));
        assert_eq!((copy.start, copy.log_left), (original.start + 1, Some(7)));
    }
}

#[test]
fn a_foreign_or_cut_file_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("foreign.tar");
    let data = dir.path().join("data");
    for name in ["log/a/b", "other/x", "lock", "log"] {
        let mut tar = tar::Builder::new(File::create(&path).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        tar.append_data(&mut header, name, &b"x"[..]).unwrap();
        tar.finish().unwrap();
        drop(tar);
        assert!(
            matches!(
                restore(&path, &data, None),
                Err(BackupError::Foreign { .. })
            ),
            "{name}"
        );
        assert!(!data.exists());
    }
    fs::write(&path, [7; 1_500]).unwrap();
    assert!(matches!(
        restore(&path, &data, None),
        Err(BackupError::Unpack { .. })
    ));
    assert!(!data.exists());
}

/// A disk of which another user may not open one file.
struct Forbidden {
    disk: FaultDisk,
    path: String,
}

impl Disk for Forbidden {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        if path == self.path {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.open(path)
    }

    fn create(&self, path: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path, bytes)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        self.disk.create_dir(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_dir(folder)
    }
}

#[test]
fn a_file_that_cannot_be_read_makes_no_backup_and_is_named() {
    let world = World::stopped();
    let letter = format!("dead-letters/cloud.normal-{:032x}.dead", 7);
    for name in [
        "registry",
        "audit-key",
        "witness-key",
        "audit/public-key",
        &letter,
    ] {
        world.disk.put(name, b"for its owner alone".to_vec());
    }
    let mut paths: Vec<String> = Vec::new();
    for folder in ["log", "spool", "journal", "dead-letters"] {
        let names = world.disk.list(folder).unwrap();
        paths.extend(names.iter().map(|name| format!("{folder}/{name}")));
    }
    paths.extend(["registry", "audit-key", "audit/public-key"].map(str::to_owned));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.tar");
    for path in paths {
        let disk: Arc<dyn Disk> = Arc::new(Forbidden {
            disk: world.disk.clone(),
            path: path.clone(),
        });
        let why = back_up(&disk, &file, 0, &mut |_, _| {}).unwrap_err();
        let said = why.to_string();
        assert!(said.starts_with(&path), "{path}: {said}");
        assert!(said.contains("no backup was made"), "{said}");
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "{path}");
    }
}

#[test]
fn a_backup_says_whether_registry_and_audit_log_are_in_it() {
    let world = World::stopped();
    let dir = tempfile::tempdir().unwrap();
    let (path, data) = (dir.path().join("store.tar"), dir.path().join("data"));
    let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
    let made = back_up(&disk, &path, 0, &mut |_, _| {}).unwrap();
    assert_eq!((made.registry, made.audit_log), (false, false));
    world.disk.put("registry", b"sealed keys".to_vec());
    let made = back_up(&disk, &path, 0, &mut |_, _| {}).unwrap();
    assert_eq!((made.registry, made.audit_log), (true, false));
    let back = restore(&path, &data, None).unwrap();
    assert_eq!((back.registry, back.audit_log), (true, false));
}
