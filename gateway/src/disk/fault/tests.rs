//! The twin does what a treacherous disk does, and only that.

use super::*;

fn written(disk: &FaultDisk, path: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create(path, 0).unwrap();
    file.write_at(0, bytes).unwrap();
    file
}

#[test]
fn only_what_was_synced_outlives_a_cut() {
    let disk = FaultDisk::new();
    let file = written(&disk, "a/kept", b"first");
    file.sync().unwrap();
    written(&disk, "a/unnamed", b"x").sync().unwrap();
    disk.sync_dir("a").unwrap();
    written(&disk, "a/late", b"x").sync().unwrap();
    disk.rename("a/unnamed", "a/renamed").unwrap();
    file.write_at(0, b"other").unwrap();
    disk.cut();
    assert!(file.sync().is_err() && disk.list("a").is_err());
    let next = disk.after_cut(Torn::Nothing);
    assert_eq!(next.list("a").unwrap(), ["kept", "unnamed"]);
    assert_eq!(next.content("a/kept").unwrap(), b"first");
}

#[test]
fn a_torn_cut_keeps_some_sectors_whole() {
    let disk = FaultDisk::new();
    let file = disk.create("a", 0).unwrap();
    file.write_at(0, &[1; 8 * SECTOR_BYTES]).unwrap();
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    file.write_at(0, &[2; 8 * SECTOR_BYTES]).unwrap();
    let kept: BTreeSet<usize> = (0..20)
        .map(|seed| {
            let content = disk.after_cut(Torn::Sectors(seed)).content("a").unwrap();
            for sector in content.chunks(SECTOR_BYTES) {
                assert!(sector.iter().all(|byte| *byte == sector[0]));
            }
            content
                .chunks(SECTOR_BYTES)
                .filter(|sector| sector[0] == 2)
                .count()
        })
        .collect();
    assert!(kept.len() > 3, "{kept:?}");
}

#[test]
fn a_failed_sync_forgets_though_it_reads_back() {
    let disk = FaultDisk::new();
    let file = written(&disk, "a", b"new");
    disk.sync_dir("").unwrap();
    disk.fail_sync(2);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(disk.content("a").unwrap(), b"new");
    assert_eq!(
        disk.after_cut(Torn::Sectors(1)).content("a").unwrap(),
        [0; 3]
    );
}

#[test]
fn a_cut_at_an_operation_fails_it_and_all_after() {
    let disk = FaultDisk::new();
    disk.cut_at(3);
    let file = written(&disk, "a", b"x");
    assert!(file.sync().is_err() && disk.is_cut());
    assert!(file.write_at(0, b"y").is_err());
    assert_eq!(disk.mutations(), 3);
}

#[test]
fn a_full_and_a_read_only_disk_say_so() {
    let disk = FaultDisk::new();
    disk.limit_bytes(Some(1_000));
    let file = disk.create("a", 900).unwrap();
    let full = disk.create("b", 200).map(|_| ()).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert!(file.write_at(950, &[0; 51]).is_err());
    file.write_at(950, &[0; 50]).unwrap();
    disk.remove("a").unwrap();
    disk.sync_dir("").unwrap();
    disk.create("b", 1_000).unwrap();
    disk.set_read_only(true);
    let kind = disk.remove("b").unwrap_err().kind();
    assert_eq!(kind, io::ErrorKind::ReadOnlyFilesystem);
    disk.make_unreadable("b", 600).unwrap();
    let mut into = [0; 10];
    let file = disk.open("b").unwrap();
    assert!(file.read_at(620, &mut into).is_err() && file.read_at(0, &mut into).is_ok());
}
