//! Remedies: what to try when a command failed, by what refused it.

use std::error::Error;
use std::io::{self, ErrorKind};

use crate::backup::BackupError;
use crate::disk::data_dir::DataDirError;
use crate::http::HttpError;
#[cfg(feature = "embedded-broker")]
use crate::mqtt::embedded::EmbeddedError;
use crate::run::RunError;
use crate::run::demo::DemoError;
use crate::simulate::SimulateError;
use crate::store::LookError;

/// What to try after a failure, by the innermost cause that something can be said of.
pub(super) fn of(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut causes = Vec::new();
    let mut next = Some(within(error));
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    let ours = causes.iter().find_map(|cause| of_ours(*cause));
    ours.or_else(|| {
        let system = causes.iter().rev();
        let mut system = system.filter_map(|cause| cause.downcast_ref::<io::Error>());
        system.find_map(|cause| of_system(cause.kind()))
    })
}

/// The error that a transparent one stands for: it passes its own cause on, but not itself.
fn within<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    if let Some(DemoError::Gateway(inner)) = error.downcast_ref() {
        return within(inner);
    }
    if let Some(LookError::DataDir(inner)) = error.downcast_ref() {
        return inner;
    }
    match error.downcast_ref() {
        Some(RunError::DataDir(inner)) => inner,
        Some(RunError::Http(inner)) => inner,
        Some(RunError::Broker(inner)) => inner,
        _ => error,
    }
}

/// What to try after an error of this program that says more than the system's.
fn of_ours(error: &(dyn Error + 'static)) -> Option<&'static str> {
    #[cfg(feature = "embedded-broker")]
    if let Some(EmbeddedError::Listen { source, .. }) = error.downcast_ref() {
        return Some(match source.kind() {
            ErrorKind::AddrInUse => {
                "stop what listens there (ss -ltnp names it), or set another port in mqtt.embedded.listen"
            }
            ErrorKind::PermissionDenied => {
                "set a port from 1024 up in mqtt.embedded.listen; lower ones are the system's"
            }
            ErrorKind::AddrNotAvailable => {
                "set an address of this machine in mqtt.embedded.listen (ip addr names them), or 0.0.0.0"
            }
            _ => "set another address in mqtt.embedded.listen",
        });
    }
    if let Some(HttpError::Refused { source, .. }) = error.downcast_ref() {
        return Some(match source.kind() {
            ErrorKind::PermissionDenied => {
                "set a port from 1024 up in http.listen; lower ones are the system's"
            }
            _ => "set an address of this machine in http.listen (ip addr names them)",
        });
    }
    if let Some(
        SimulateError::KeyUnreadable { source, .. } | SimulateError::TraceUnreadable { source, .. },
    ) = error.downcast_ref()
    {
        return of_reading(source.kind());
    }
    if let Some(BackupError::Unreadable { source, .. }) = error.downcast_ref()
        && source.kind() == ErrorKind::PermissionDenied
    {
        return Some("run it as the gateway's user, or as root");
    }
    match error.downcast_ref()? {
        DataDirError::Held { .. } => {
            Some("stop that gateway first, or give this one a gateway.data_dir of its own")
        }
        DataDirError::Newer { .. } => {
            Some("install the version that made it, or a newer one; the data stays as it is")
        }
        DataDirError::Io { .. } => None,
    }
}

/// What to try after what the system said.
pub(super) fn of_system(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::PermissionDenied => {
            Some("run as the user that it belongs to, or let this one write there")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("free some space on that disk (df shows how much there is), then start again")
        }
        ErrorKind::ReadOnlyFilesystem => Some(
            "mount that file system for writing, or set gateway.data_dir to one that may be written",
        ),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            Some("a file stands where a folder is needed: move it, or name another place")
        }
        ErrorKind::NotFound => {
            Some("see that the name is right and that the folder in it is there")
        }
        ErrorKind::OutOfMemory => Some("free some memory, then start again"),
        _ => None,
    }
}

/// What to try after what the system said of a file that was to be read.
pub(super) fn of_reading(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::PermissionDenied => {
            Some("run as the user that it belongs to, or let this one read it")
        }
        ErrorKind::NotFound => {
            Some("name a file that is there; a relative name is taken from the working directory")
        }
        ErrorKind::IsADirectory => Some("it is a folder: name the file"),
        kind => of_system(kind),
    }
}

/// What to try after what the system said of a file that a person named and that was to be made.
pub(super) fn of_making(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::ReadOnlyFilesystem => {
            Some("mount that file system for writing, or name a file on another one")
        }
        ErrorKind::NotFound => Some("create the folder that is missing, or name another one"),
        kind => of_system(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the store cannot be opened")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_innermost_cause_that_says_something_counts() {
        let full = Outer(io::Error::from(ErrorKind::StorageFull));
        assert!(of(&full).unwrap().contains("free some space"));
        let within = Outer(io::Error::other(Outer(
            ErrorKind::ReadOnlyFilesystem.into(),
        )));
        assert!(of(&within).unwrap().contains("mount"));
        assert_eq!(of(&Outer(io::Error::other("strange"))), None);
    }

    #[test]
    fn a_missing_file_to_read_needs_no_folder() {
        let unreadable = SimulateError::KeyUnreadable {
            path: "nosuch".into(),
            source: ErrorKind::NotFound.into(),
        };
        assert!(of(&unreadable).unwrap().contains("name a file"));
        let missing = of(&Outer(ErrorKind::NotFound.into())).unwrap();
        assert!(!missing.contains("create"), "{missing}");
    }

    #[test]
    fn a_backup_of_another_users_files_names_who_may() {
        let unreadable = BackupError::Unreadable {
            path: "registry".to_owned(),
            source: ErrorKind::PermissionDenied.into(),
        };
        assert!(of(&unreadable).unwrap().contains("the gateway's user"));
    }

    #[test]
    fn an_error_of_our_own_says_more_than_the_systems() {
        let newer = DataDirError::Newer {
            dir: "data".into(),
            format: 9,
            made_by: "tidegate 9.0.0".to_owned(),
        };
        assert!(of(&newer).unwrap().contains("install"));
        let run = RunError::DataDir(newer);
        assert!(of(&run).unwrap().contains("install"));
        assert!(of(&DemoError::Gateway(run)).unwrap().contains("install"));
        let refused = DataDirError::Io {
            path: "data/lock".into(),
            source: ErrorKind::PermissionDenied.into(),
        };
        assert!(of(&refused).unwrap().contains("user"));
    }
}
