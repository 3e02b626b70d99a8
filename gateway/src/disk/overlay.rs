//! A disk that reads through to another and keeps every change in memory.
//!
//! It lets commands that only look (a ledger beside a stopped gateway) run the very recovery that
//! a start would run, without changing a byte of the data directory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// Changes over a base disk; dropped with the value.
pub struct OverlayDisk {
    base: Arc<dyn Disk>,
    changes: Mutex<BTreeMap<String, Change>>,
}

#[derive(Clone)]
enum Change {
    Removed,
    File(Arc<OverlayFile>),
}

impl OverlayDisk {
    /// An overlay without changes.
    pub fn new(base: Arc<dyn Disk>) -> Self {
        Self {
            base,
            changes: Mutex::default(),
        }
    }

    fn changes(&self) -> MutexGuard<'_, BTreeMap<String, Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path} does not exist"))
}

impl Disk for OverlayDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut changes = self.changes();
        match changes.get(path) {
            Some(Change::Removed) => Err(missing(path)),
            Some(Change::File(file)) => Ok(file.clone()),
            None => {
                let file = Arc::new(OverlayFile {
                    content: Mutex::new(Content::Base(self.base.open(path)?)),
                });
                changes.insert(path.into(), Change::File(file.clone()));
                Ok(file)
            }
        }
    }

    fn create(&self, path: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(OverlayFile {
            content: Mutex::new(Content::Own(vec![0; bytes as usize])),
        });
        self.changes()
            .insert(path.into(), Change::File(file.clone()));
        Ok(file)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = self.base.list(folder)?;
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        for (path, change) in self.changes().iter() {
            let Some(name) = path
                .strip_prefix(&prefix)
                .filter(|name| !name.contains('/'))
            else {
                continue;
            };
            names.retain(|known| known != name);
            if matches!(change, Change::File(_)) {
                names.push(name.into());
            }
        }
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.open(from)?;
        let mut changes = self.changes();
        let moved = changes.insert(from.into(), Change::Removed);
        changes.insert(to.into(), moved.ok_or_else(|| missing(from))?);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.open(path)?;
        self.changes().insert(path.into(), Change::Removed);
        Ok(())
    }

    fn sync_dir(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }
}

struct OverlayFile {
    content: Mutex<Content>,
}

enum Content {
    Base(Arc<dyn DiskFile>),
    Own(Vec<u8>),
}

impl OverlayFile {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for OverlayFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match &*self.content() {
            Content::Base(file) => file.read_at(offset, into),
            Content::Own(bytes) => {
                let from = bytes.get(offset as usize..).unwrap_or_default();
                let count = from.len().min(into.len());
                into[..count].copy_from_slice(&from[..count]);
                Ok(count)
            }
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.content();
        if let Content::Base(file) = &*content {
            let mut own = vec![0; file.bytes()? as usize];
            let read = file.read_at(0, &mut own)?;
            own.truncate(read);
            *content = Content::Own(own);
        }
        if let Content::Own(own) = &mut *content {
            let end = offset as usize + bytes.len();
            own.resize(own.len().max(end), 0);
            own[offset as usize..end].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        match &*self.content() {
            Content::Base(file) => file.bytes(),
            Content::Own(bytes) => Ok(bytes.len() as u64),
        }
    }
}
