//! Tests of the audit log.

mod bytes;
mod cuts;
mod entries;
mod histories;
mod independent;
mod tampering;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::verify::{Report, Trusted, Wrong, verify};
use super::witness::{Request, Witness};
use super::*;
use crate::disk::{Disk, FaultDisk};
use crate::time::Timestamp;

const ORIGIN: &str = "pump-house.0123456789abcdef.tidegate";

fn seed(number: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([number; 32])
}

fn disk_of(fault: &FaultDisk) -> Arc<dyn Disk> {
    Arc::new(fault.clone())
}

fn log_on(fault: &FaultDisk) -> Log {
    Log::create(disk_of(fault), ORIGIN, &seed(1)).unwrap()
}

/// What commands and tasks do between two processes, here in one.
impl Log {
    pub(crate) fn for_witness(&self, old_size: u64) -> Result<Request, AuditError> {
        self.snapshot()?.request(old_size)
    }

    pub(crate) fn take_cosignature(
        &self,
        request: &Request,
        answer: &str,
        witness: &WitnessKey,
    ) -> Result<(), AuditError> {
        cosigned::keep(&self.source().disk, self.key(), request, answer, witness)
    }
}

/// An entry that says its number.
fn entry(number: u64) -> Entry {
    let now = Timestamp {
        mono_us: number,
        wall_us: 1_700_000_000_000_000 + number as i64,
        wall_trusted: true,
    };
    let device = format!("pump-{number}");
    Entry::new(now, 3, Who::Gateway, Act::DeviceReleased { device })
}

fn entries(range: std::ops::Range<u64>) -> Vec<Entry> {
    range.map(entry).collect()
}

/// A log of so many entries.
fn log_of(size: u64) -> (FaultDisk, Log) {
    let fault = FaultDisk::new();
    let mut log = log_on(&fault);
    grow_to(&mut log, size);
    (fault, log)
}

fn grow_to(log: &mut Log, size: u64) {
    while log.size().unwrap() < size {
        let old = log.size().unwrap();
        let next = size.min(old + 256);
        assert_eq!(log.append_all(&entries(old..next)).unwrap(), old..next);
    }
}

/// A copy of a log's folder.
#[derive(Clone)]
struct Copy(BTreeMap<String, Vec<u8>>);

impl Copy {
    fn of(fault: &FaultDisk) -> Self {
        let paths = fault.paths().into_iter();
        let files = paths.filter_map(|path| {
            let inner = path.strip_prefix("audit/")?.to_owned();
            Some((inner, fault.content(&path).unwrap()))
        });
        Self(files.collect())
    }

    fn put_on(&self, fault: &FaultDisk) {
        for (path, content) in &self.0 {
            fault.put(&format!("audit/{path}"), content.clone());
        }
    }

    fn verify(&self, key: &LogKey, witnesses: &[WitnessKey]) -> Result<Report, Wrong> {
        self.verify_from(key, witnesses, None)
    }

    fn verify_from(
        &self,
        key: &LogKey,
        witnesses: &[WitnessKey],
        seen: Option<&[u8]>,
    ) -> Result<Report, Wrong> {
        let paths: BTreeSet<String> = self.0.keys().cloned().collect();
        let trusted = Trusted {
            key,
            witnesses,
            seen,
            told: &[],
        };
        verify(self, &paths, trusted)
    }
}

impl Source for Copy {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let found = self.0.get(path).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let inside = self.0.keys().filter_map(|path| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            (!name.contains('/')).then(|| name.to_owned())
        });
        Ok(inside.collect())
    }
}

/// A witness of its own gateway that watches a log.
fn witness(number: u8, key: &LogKey) -> (FaultDisk, Witness, WitnessKey) {
    let fault = FaultDisk::new();
    let signer = WitnessSigner::new(&format!("other-{number}/witness"), &seed(100 + number));
    let public = signer.public();
    let witness = Witness::new(disk_of(&fault), signer);
    witness.watch(key).unwrap();
    (fault, witness, public)
}
