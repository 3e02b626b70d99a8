//! Start: from a disk to a conductor and its store.

use std::sync::Arc;

use tidegate_shared::ids::Term;

use super::{Conductor, Config};
use crate::budget::{self, Budget, Decision};
use crate::clock::trust::{TrustWatch, wait_us};
use crate::disk::Disk;
use crate::entry::{ENGINE, Entry, Limits};
use crate::identity::{self, Identity, IdentityUnwritten};
use crate::rules::settings::Settings;
use crate::session::{Session, SessionConfig};
use crate::store::{OpenReport, Store, StoreError};
use crate::time::{Timestamp, Word};

/// What a start draws from the system's entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// The gateway's id, should it have none.
    pub gateway: u64,
    /// A log incarnation, should the log have none to go on with; never 0.
    pub incarnation: u32,
    /// Another, should the store turn out to be an older copy; never 0.
    pub spare_incarnation: u32,
    /// The term; never 0.
    pub term: u32,
    /// What the counters of sealed answers begin behind.
    pub counter: u32,
}

/// A start that is ready to go.
pub struct Start {
    /// Who the gateway is.
    pub identity: Identity,
    /// This start's term.
    pub term: Term,
    /// The machine.
    pub conductor: Conductor,
    /// Its store.
    pub store: Store,
    /// What opening it has found.
    pub report: OpenReport,
    /// What the broker is to say on the gateway topic when the gateway is gone.
    pub will: Vec<u8>,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The start could not be counted.
    #[error(transparent)]
    Identity(#[from] IdentityUnwritten),
    /// The store could not be opened.
    #[error("the store cannot be opened; nothing was received yet and nothing in it was removed")]
    Store(#[from] StoreError),
}

/// Counts the start, opens the store, asks the log what it knows of the time, and writes down what this start begins with.
///
/// # Errors
/// The disk refused; nothing was said to anybody.
pub fn start(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    draws: Draws,
    (now, word): (Timestamp, Word),
) -> Result<Start, StartError> {
    let identity = identity::begin(disk, draws.gateway)?;
    let (store, report) = Store::open(disk, settings, draws.incarnation, now)?;
    // The files of a backup go on under another name: the original goes on under its own.
    let is_copy = identity.log_left == Some(store.log_incarnation());
    let log_incarnation = if report.ids_begin_anew || is_copy {
        draws.incarnation
    } else {
        store.log_incarnation()
    };
    let mut limits = settings.limits;
    limits.clock_wait_us = wait_us(limits.clock_wait_us, word);
    let term = Term(draws.term);
    let site = settings.site.clone();
    let mut config = SessionConfig::new(site.clone(), identity.gateway, term, identity.start);
    config.limits = limits;
    config.first_counter = draws.counter;
    config.window = settings.intake.window_max;
    config.pending_bytes_max = settings.intake.pending_bytes_max;
    let session = Session::new(config, store.marks().clone());
    let will = session.offline_payload();
    let config = Config {
        site,
        start: identity.start,
        term,
        commit_ms: settings.log.commit_ms,
        spare_incarnation: draws.spare_incarnation,
        budget: Budget::new(
            settings.budget,
            budget::Sinks::of(&settings.sinks),
            store.decided().unwrap_or_else(Decision::none),
        ),
    };
    let first = first_entries(&store, settings, &limits, log_incarnation, term);
    let watch = TrustWatch::new(store.newest_trusted_us());
    Ok(Start {
        identity,
        term,
        conductor: Conductor::new(config, session, first, (watch, word), now),
        store,
        report,
        will,
    })
}

/// What every start writes before anything else.
fn first_entries(
    store: &Store,
    settings: &Settings,
    limits: &Limits,
    log_incarnation: u32,
    term: Term,
) -> Vec<Entry> {
    let mut entries = vec![Entry::Started {
        engine: ENGINE,
        log_incarnation,
        term: term.0,
        site: settings.site.to_string(),
    }];
    if *store.rules() != settings.rules {
        let text = settings.rules.to_json();
        entries.push(Entry::Rules { text });
    }
    if store.limits() != limits {
        entries.push(Entry::Limits(*limits));
    }
    entries
}
