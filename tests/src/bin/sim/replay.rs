//! Replay: a gateway's log applied again, whole, with restarts and from every base, and what it
//! gives held against the rules that the log put in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_gateway::disk::overlay::OverlayDisk;
use tidegate_gateway::entry::{Entry, Logged};
use tidegate_gateway::explain::{Past, Replay, line};
use tidegate_gateway::ledger::counters::Counters;
use tidegate_gateway::pipeline::{Pipeline, Restored};
use tidegate_gateway::record::{
    AlertCause, AlertNote, AlertState, ClockQuality, Emitted, Record, RecordId, to_json,
};
use tidegate_tests::dice::Dice;

use super::account;
use super::editions::Editions;
use super::node::Node;
use super::shapes;
use super::story::Story;
use super::unit::UTC_US;
use super::witness::read_log;

/// An entry in so many is followed by a restart.
const RESTART_EVERY: u64 = 40;
const SECOND_US: i64 = 1_000_000;

/// What a log gives.
pub struct Derived {
    pub pipeline: Pipeline,
    /// Every record as it is sent, by id.
    pub records: BTreeMap<RecordId, String>,
    pub editions: Editions,
    /// Every rule set that came in force, in order.
    pub rule_sets: Vec<String>,
    /// Lines of all records, with their places, in order.
    lines: Vec<(u64, String)>,
    /// The windows emitted so far, and those of a number of samples that may go on.
    windows: BTreeMap<Key, Emissions>,
    filling: BTreeMap<Lane, Vec<Emissions>>,
    revisions: u64,
    /// When versions that are over were, in UTC µs of the world.
    over: BTreeMap<(String, u32), i64>,
    /// The alerts that are open, and what was said of them.
    open: BTreeMap<(Lane, AlertCause), AlertNote>,
    /// Samples counted so far.
    counters: Counters,
}

/// Where records come from: rule, version, device, sensor.
type Lane = (String, u32, String, String);
/// A window: whose, epoch, start.
type Key = (Lane, u32, i64);

/// Revisions of a window, and their fresh samples.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Emissions {
    revisions: u32,
    fresh: u64,
}

/// Applies a node's log from its first entry, with nothing but the log.
pub fn derive(node: &Node, story: &mut Story) -> Derived {
    let site = &node.settings.site;
    let mut derived = Derived {
        pipeline: Pipeline::new(site),
        records: BTreeMap::new(),
        editions: Editions::default(),
        rule_sets: Vec::new(),
        lines: Vec::new(),
        windows: BTreeMap::new(),
        filling: BTreeMap::new(),
        revisions: 0,
        over: BTreeMap::new(),
        open: BTreeMap::new(),
        counters: Counters::default(),
    };
    let mut restarted = Pipeline::new(site);
    let mut dice = Dice::new(node.witness.end());
    let mut emitted = Vec::new();
    for (position, bytes) in read_log(&node.disk, &node.settings, story) {
        let Ok(logged) = postcard::from_bytes::<Logged>(&bytes) else {
            continue;
        };
        let mut again = Vec::new();
        restarted.apply(position, &logged, &mut again);
        derived.pipeline.apply(position, &logged, &mut emitted);
        let same = again.iter().map(line).eq(emitted.iter().map(line));
        story.check("restarts change no record", same, || {
            format!("{position}: {emitted:#?}\nwith restarts {again:#?}")
        });
        let before = derived.editions.clone();
        if let Entry::Rules { text } = &logged.entry {
            derived.editions.take(text);
            derived.rule_sets.push(text.clone());
            let moment = node.witness.moment(position);
            let now_us = UTC_US + moment.map_or(0, |moment| moment.world_us as i64);
            for version in derived.editions.over() {
                derived.over.entry(version).or_insert(now_us);
            }
        }
        derived.take(&emitted, &before, story);
        emitted.clear();
        if dice.below(RESTART_EVERY) == 0 {
            let (state, lost) = Pipeline::restore(site, &restarted.snapshot());
            story.check("a snapshot is whole", lost == Restored::default(), || {
                format!("{position}: {lost:?}")
            });
            restarted = state;
        }
    }
    let same = restarted.counters() == derived.pipeline.counters();
    story.check("restarts change no counter", same, String::new);
    from_bases(node, &derived, story);
    derived
}

impl Derived {
    /// Revisions among the records.
    pub fn revisions(&self) -> u64 {
        self.revisions
    }

    /// An entry caused these, under the rules before it, or under those that it put in force.
    fn take(&mut self, emitted: &[Emitted], before: &Editions, story: &mut Story) {
        for one in emitted {
            let record = &one.record;
            self.editions.check(record, story);
            let is_old = before.goes_its_way(one);
            if !is_old {
                self.editions.check_way(one, story);
            }
            self.lines.push((one.place.position, line(one)));
            let known = self.records.insert(record.id, to_json(record));
            story.check("an id is derived once", known.is_none(), || {
                format!("{known:?} and {record:?}")
            });
            self.follow(record, story);
        }
        self.follow_alerts(emitted, story);
        let counters = self.pipeline.counters();
        let entry = account::Account {
            emitted,
            rules: (before, &self.editions),
            counters: (&self.counters, &counters),
        };
        entry.check(story);
        self.counters = counters;
    }

    fn follow(&mut self, record: &Record, story: &mut Story) {
        let Some(rule) = self.editions.get(&record.rule, record.version) else {
            return;
        };
        story.happen(shapes::name(rule));
        let version = (record.rule.clone(), record.version);
        if let Some(over_us) = self.over.get(&version).copied() {
            story.happen("record of an earlier version");
            let was_open = record.start_us <= over_us + SECOND_US;
            let right = was_open || record.clock != ClockQuality::Device;
            story.check("an earlier version begins no window", right, || {
                format!("over at {over_us}: {record:?}")
            });
        }
        if rule.window.is_none() {
            return;
        }
        self.revisions += u64::from(record.revision > 0);
        let (overlap, counts) = (shapes::overlap(rule), shapes::counts(rule));
        if counts {
            self.fill(record, story);
        } else {
            self.revise(record, overlap, story);
        }
    }

    /// A window's revisions are numbered without a gap and each holds all samples so far. Where
    /// windows share samples it holds others as well.
    fn revise(&mut self, record: &Record, overlap: bool, story: &mut Story) {
        let key = (lane(record), record.epoch, record.start_us);
        let known = self.windows.entry(key).or_default();
        let next = known.revisions;
        story.check("revisions are dense", record.revision == next, || {
            format!("{record:?} is not revision {next}")
        });
        known.revisions += 1;
        known.fresh += record.fresh;
        let so_far = known.fresh;
        let holds_all = if overlap {
            record.samples >= so_far && record.samples > 0
        } else {
            record.samples == so_far && record.fresh > 0
        };
        story.check("a revision holds all its samples", holds_all, || {
            format!("{so_far} fresh samples so far: {record:?}")
        });
    }

    /// As [`Self::revise`], of windows of a number of samples: a revision is of one that was not
    /// full, whichever times it had.
    fn fill(&mut self, record: &Record, story: &mut Story) {
        let filling = self.filling.entry(lane(record)).or_default();
        let before = Emissions {
            revisions: record.revision,
            fresh: record.samples - record.fresh.min(record.samples),
        };
        let found = filling.iter().position(|one| *one == before);
        let begins = before == Emissions::default();
        story.check("revisions are dense", begins || found.is_some(), || {
            format!("{record:?} is none of {filling:?}")
        });
        if let Some(found) = found {
            filling.remove(found);
        }
        filling.push(Emissions {
            revisions: record.revision + 1,
            fresh: record.samples,
        });
    }

    /// An alert opens, lasts and is cleared, in this order, each opening once.
    fn follow_alerts(&mut self, emitted: &[Emitted], story: &mut Story) {
        let records = emitted.iter().map(|one| &one.record);
        let mut told: Vec<(&Record, AlertNote)> = records
            .filter_map(|record| Some((record, record.alert?)))
            .collect();
        // Of two epochs in one entry the second may be of earlier times.
        told.sort_by_key(|(record, _)| record.epoch);
        for (record, note) in told {
            let key = (lane(record), note.cause);
            let open = self.open.get(&key).copied();
            let right = match note.state {
                AlertState::Opened => open.is_none(),
                AlertState::Still | AlertState::Cleared => {
                    open.is_some_and(|open| open.historic == note.historic)
                }
            };
            story.check("alerts open and are cleared in turn", right, || {
                format!("{record:?}, open is {open:?}")
            });
            if note.state == AlertState::Cleared {
                self.open.remove(&key);
            } else {
                self.open.insert(key, note);
            }
        }
    }
}

fn lane(record: &Record) -> Lane {
    (
        record.rule.clone(),
        record.version,
        record.device.clone(),
        record.sensor.clone(),
    )
}

/// From every base the same records follow.
fn from_bases(node: &Node, derived: &Derived, story: &mut Story) {
    let disk = Arc::new(OverlayDisk::new(Arc::new(node.disk.clone())));
    let past = match Past::open(disk, &node.settings.site, node.settings.log) {
        Ok(past) => past,
        Err(error) => {
            story.check("the past can be read", false, || error.to_string());
            return;
        }
    };
    for base in past.bases() {
        match past.begin_at_most(base) {
            Ok(replay) => from_base(replay, base, derived, story),
            Err(error) => story.check("the past can be read", false, || error.to_string()),
        }
    }
}

fn from_base(replay: Replay, base: u64, derived: &Derived, story: &mut Story) {
    let intact = replay.from == base;
    story.check("every base can be read", intact, || base.to_string());
    let at = derived.lines.partition_point(|(at, _)| *at < replay.from);
    let mut wanted = derived.lines[at..].iter().map(|(_, line)| line);
    let mut other = None;
    for step in replay {
        let Ok(step) = step else { break };
        for found in step.emitted.iter().map(line) {
            let wanted = wanted.next();
            if wanted != Some(&found) && other.is_none() {
                other = Some(format!("{found}\ninstead of {wanted:?}"));
            }
        }
    }
    let left = wanted.next();
    let same = other.is_none() && left.is_none();
    story.check("every base gives the same records", same, || {
        format!("base {base}: {other:?}, {left:?} is missing")
    });
}
