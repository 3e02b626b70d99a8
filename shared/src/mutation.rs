//! Mutations: faults in the protocol itself, to be switched on by tests of the simulator.
//!
//! A simulator that cannot find a known fault proves nothing. So each fault of this list is built
//! in at the place where it would be made, asleep: without the feature `mutations` [`is_on`] is
//! constantly false and nothing of it is compiled; with it a test may switch one on for its own
//! thread. No release is built with it.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The gateway acks what it has not synced.
    AckBeforeFsync,
    /// Records go to the spool before their entry is durable.
    RecordBeforeEntry,
    /// A frame that is logged already is taken as the next one.
    DuplicatesLogged,
    /// A base does not hold what was counted.
    CounterNotPersisted,
    /// A known identity with other content is acked as a duplicate.
    ConflictAsDuplicate,
    /// Frames are read with a device's newest catalog, whichever they name.
    NewestCatalog,
    /// A record's id comes from a counter.
    IdsFromCounter,
    /// A close by idleness moves the watermark.
    IdlenessMovesWatermark,
    /// What a device says of its floor is ignored.
    FloorIgnored,
    /// Timers run on the wall clock.
    TimersOnWallClock,
    /// A device takes a refusal for a frame that it does not hold.
    RefusedUnchecked,
    /// The gateway says online before it is subscribed.
    OnlineUnsubscribed,
    /// A restored store goes on under its old log incarnation.
    RestoredReusesIds,
    /// Other rules are said to hold before the log holds them.
    ReloadBeforeFsync,
    /// A rule that computes something else keeps its version.
    ReloadKeepsVersion,
    /// Windows that are open when their rule changes are dropped.
    WindowsDroppedAtReload,
    /// A revision holds its own samples only, not those of the revisions before.
    RevisionForgets,
    /// A second revision has the number of the first.
    RevisionNumberRepeated,
    /// The gateway's counter stays what it was: two answers have one nonce.
    DownCounterReused,
    /// The gateway takes a sealed Hello as often as it comes.
    CounterNotChecked,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::AckBeforeFsync,
        Self::RecordBeforeEntry,
        Self::DuplicatesLogged,
        Self::CounterNotPersisted,
        Self::ConflictAsDuplicate,
        Self::NewestCatalog,
        Self::IdsFromCounter,
        Self::IdlenessMovesWatermark,
        Self::FloorIgnored,
        Self::TimersOnWallClock,
        Self::RefusedUnchecked,
        Self::OnlineUnsubscribed,
        Self::RestoredReusesIds,
        Self::ReloadBeforeFsync,
        Self::ReloadKeepsVersion,
        Self::WindowsDroppedAtReload,
        Self::RevisionForgets,
        Self::RevisionNumberRepeated,
        Self::DownCounterReused,
        Self::CounterNotChecked,
    ];
}

#[cfg(feature = "mutations")]
mod switch {
    extern crate std;

    use core::cell::Cell;

    use super::Mutation;

    std::thread_local! {
        static ON: Cell<Option<Mutation>> = const { Cell::new(None) };
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether this thread runs with a fault.
    pub fn is_on(mutation: Mutation) -> bool {
        ON.get() == Some(mutation)
    }

    /// Numbers, one after the other.
    pub fn count() -> u64 {
        COUNT.set(COUNT.get() + 1);
        COUNT.get()
    }

    /// Switches a fault on for this thread, or all off.
    pub fn switch(mutation: Option<Mutation>) {
        ON.set(mutation);
    }
}

#[cfg(feature = "mutations")]
pub use switch::{count, is_on, switch};

/// Whether this thread runs with a fault: never, in this build.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the question must vanish from images of devices, at any optimisation"
)]
pub const fn is_on(_: Mutation) -> bool {
    false
}

/// Numbers, one after the other; not in this build.
#[cfg(not(feature = "mutations"))]
pub const fn count() -> u64 {
    0
}
