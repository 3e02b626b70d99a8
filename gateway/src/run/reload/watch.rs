//! Watch: hears of changes of one file, by the kernel's inotify on the folder that it lies in.
//!
//! The folder and not the file: most editors write a new file and rename it over the old one,
//! after which a watch on the file would look at what is gone.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Room for a dozen events of the longest names.
const EVENTS_BYTES: usize = 4 << 10;

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The file may be another.
    Changed,
    /// The folder is gone: nothing more will be heard.
    Lost,
}

/// A watch on a file.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<OwnedFd>,
    file: PathBuf,
    name: OsString,
}

impl Watch {
    /// Begins to listen. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The path names no file in a folder, or the system has no watch left.
    pub(super) fn begin(file: &Path) -> io::Result<Self> {
        let name = file.file_name();
        let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // A file that is written in place is whole once its writer closed it.
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, folder, flags)?;
        Ok(Self {
            inotify: register(inotify)?,
            file: file.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Waits until something is heard. Safe to be dropped while it waits.
    pub(super) async fn heard(&mut self) -> io::Result<Heard> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let heard = self.read()?;
            ready.clear_ready();
            if let Some(heard) = heard {
                return Ok(heard);
            }
        }
    }

    /// Reads what is there: all of it, so that the next readiness is a new one.
    fn read(&self) -> io::Result<Option<Heard>> {
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut events = Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut heard = None;
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(heard),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED;
            if event.events().intersects(gone) {
                heard = Some(Heard::Lost);
            } else if heard.is_none() && self.concerns(&event) {
                heard = Some(Heard::Changed);
            }
        }
    }

    /// Whether an event may be of the file. Behind a link whatever is renamed beside it may be
    /// the step of its path that changed, as where a folder of links is exchanged at once.
    fn concerns(&self, event: &inotify::Event<'_>) -> bool {
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            return true;
        }
        let name = event
            .file_name()
            .map(|name| OsStr::from_bytes(name.to_bytes()));
        name == Some(&self.name)
            || fs::symlink_metadata(&self.file).is_ok_and(|about| about.is_symlink())
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, because a type may lie about its descriptor; OwnedFd does not"
)]
fn register(inotify: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(inotify)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Long enough for the kernel, on a busy machine too.
    const SOON: Duration = Duration::from_secs(20);

    async fn heard(watch: &mut Watch) -> Heard {
        let heard = timeout(SOON, watch.heard()).await;
        heard.expect("it is heard").expect("it can be read")
    }

    #[tokio::test]
    async fn writing_in_place_renaming_and_making_anew_are_heard_and_neighbours_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tidegate.toml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::begin(&file).unwrap();
        fs::write(&file, "two").unwrap();
        assert_eq!(heard(&mut watch).await, Heard::Changed);
        fs::write(dir.path().join("new"), "three").unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        assert_eq!(heard(&mut watch).await, Heard::Changed);
        fs::remove_file(&file).unwrap();
        fs::write(&file, "four").unwrap();
        assert_eq!(heard(&mut watch).await, Heard::Changed);
        // All of the steps above are read: what is left is the neighbour.
        while watch.read().unwrap().is_some() {}
        fs::write(dir.path().join("neighbour"), "").unwrap();
        assert_eq!(watch.read().unwrap(), None);
    }

    #[tokio::test]
    async fn behind_a_link_an_exchanged_folder_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("tidegate.toml"), version).unwrap();
        }
        std::os::unix::fs::symlink("v1", at("current")).unwrap();
        std::os::unix::fs::symlink("current/tidegate.toml", at("tidegate.toml")).unwrap();
        let mut watch = Watch::begin(&at("tidegate.toml")).unwrap();
        std::os::unix::fs::symlink("v2", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert_eq!(heard(&mut watch).await, Heard::Changed);
        assert_eq!(fs::read_to_string(at("tidegate.toml")).unwrap(), "v2");
    }

    #[tokio::test]
    async fn a_folder_that_goes_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("etc");
        fs::create_dir(&folder).unwrap();
        let mut watch = Watch::begin(&folder.join("tidegate.toml")).unwrap();
        fs::remove_dir(&folder).unwrap();
        assert_eq!(heard(&mut watch).await, Heard::Lost);
    }
}
