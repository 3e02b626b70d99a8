//! Conditions: what keeps a gateway from working as usual, for `tidegate status` and for people.

use std::error::Error;
use std::io;

use serde::Serialize;

use crate::clock::trust::Distrust;

/// What kind of trouble a disk makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// No room is left, or no quota.
    DiskFull,
    /// The file system is mounted read-only, or turned so after an error.
    ReadOnly,
    /// A write or sync failed: the disk is not to be relied upon.
    DiskFailing,
}

impl Fault {
    /// The kind of an error, by the system's error among its causes.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(one) = cause {
            match one.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                    return Self::DiskFull;
                }
                Some(io::ErrorKind::ReadOnlyFilesystem) => return Self::ReadOnly,
                _ => cause = one.source(),
            }
        }
        Self::DiskFailing
    }

    /// Its name in JSON and on the terminal.
    pub fn name(self) -> &'static str {
        match self {
            Self::DiskFull => "disk-full",
            Self::ReadOnly => "read-only",
            Self::DiskFailing => "disk-failing",
        }
    }
}

/// What keeps the gateway from working as usual. It is entered and left by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "condition", rename_all = "kebab-case")]
pub enum Condition {
    /// The log cannot be written: nothing is acked, devices keep their frames; asked again every
    /// second.
    LogFailing {
        /// Since this wall clock time, in µs.
        since_us: i64,
        /// What kind of trouble.
        fault: Fault,
        /// The error and its causes.
        why: String,
    },
    /// Records cannot be spooled: they are safe in the log, nothing more is taken.
    SpoolFailing {
        /// Since this wall clock time, in µs.
        since_us: i64,
        /// What kind of trouble.
        fault: Fault,
        /// The error and its causes.
        why: String,
    },
    /// The wall clock is not to be trusted: frames are logged and acked, those whose time needs
    /// it wait in the pipeline.
    ClockUntrusted {
        /// Since this (untrusted) wall clock time, in µs.
        since_us: i64,
        /// Why not.
        why: Distrust,
    },
    /// Another gateway owns the site: nothing is logged or acked.
    Standby {
        /// Since this wall clock time, in µs.
        since_us: i64,
    },
    /// The broker is away or has not confirmed the subscriptions: devices keep their frames.
    Unsubscribed,
}

impl Condition {
    /// What it is called, with the kind of trouble.
    pub fn name(&self) -> (&'static str, Option<Fault>) {
        match self {
            Self::LogFailing { fault, .. } => ("log-failing", Some(*fault)),
            Self::SpoolFailing { fault, .. } => ("spool-failing", Some(*fault)),
            Self::ClockUntrusted { .. } => ("clock-untrusted", None),
            Self::Standby { .. } => ("standby", None),
            Self::Unsubscribed => ("unsubscribed", None),
        }
    }

    /// What it means for the data, for people.
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::LogFailing { .. } => {
                "the log cannot be written: nothing is acked until it can, devices keep their frames"
            }
            Self::SpoolFailing { .. } => {
                "records cannot be spooled: they are safe in the log, nothing more is taken until they can"
            }
            Self::ClockUntrusted { .. } => {
                "the clock is not synchronised: frames are logged and acked, those whose time needs the clock wait"
            }
            Self::Standby { .. } => {
                "another gateway owns this site: nothing is logged or acked here"
            }
            Self::Unsubscribed => "the broker is not there: devices keep their frames until it is",
        }
    }
}
