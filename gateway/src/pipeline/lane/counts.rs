//! Counts of a lane: where its samples went.

use serde::{Deserialize, Serialize};

use crate::ledger::counters::Filter;
use crate::pipeline::gate::filter_of;
use crate::rules::Thinning;

/// Where a lane's samples went.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pipeline) struct LaneCounts {
    pub matched: u64,
    pub keep: u64,
    /// By deadband, decimation or whatever thinning the rule has.
    pub thinned: u64,
    pub late: u64,
    pub folded: u64,
    pub(super) rare: Option<Box<Rare>>,
}

/// What only some rules count.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rare {
    pub examined: u64,
    rate: u64,
    undefined: u64,
    when: u64,
}

impl LaneCounts {
    /// Adds another lane's.
    pub fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.keep += other.keep;
        self.thinned += other.thinned;
        self.late += other.late;
        self.folded += other.folded;
        if let Some(other) = &other.rare {
            let rare = self.rare.get_or_insert_default();
            rare.examined += other.examined;
            rare.rate += other.rate;
            rare.undefined += other.undefined;
            rare.when += other.when;
        }
    }

    /// Those that an alert examined.
    pub fn examined(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.examined)
    }

    /// Those that were filtered or came late.
    pub fn left_out(&self) -> u64 {
        let filtered = self.filtered(None);
        self.late + filtered.iter().map(|(_, count)| count).sum::<u64>()
    }

    /// Counts one as matched, and as filtered for having no value.
    pub fn undefined(&mut self) {
        self.matched += 1;
        self.filter(Filter::Undefined);
    }

    /// Those filtered, by reason.
    pub fn filtered(&self, thin: Option<&Thinning>) -> [(Filter, u64); 5] {
        let rare = self.rare.as_deref();
        let rare = |count: fn(&Rare) -> u64| rare.map_or(0, count);
        [
            (Filter::Keep, self.keep),
            (Filter::Rate, rare(|rare| rare.rate)),
            (Filter::Undefined, rare(|rare| rare.undefined)),
            (Filter::When, rare(|rare| rare.when)),
            (thin.map_or(Filter::Deadband, filter_of), self.thinned),
        ]
    }

    /// Counts one as filtered.
    pub fn filter(&mut self, filter: Filter) {
        *match filter {
            Filter::Keep => &mut self.keep,
            Filter::Rate => &mut self.rare.get_or_insert_default().rate,
            Filter::Undefined => &mut self.rare.get_or_insert_default().undefined,
            Filter::When => &mut self.rare.get_or_insert_default().when,
            Filter::Deadband | Filter::OnChange | Filter::Decimate | Filter::MaxError => {
                &mut self.thinned
            }
        } += 1;
    }
}
