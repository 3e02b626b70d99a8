//! Replay: a gateway's log applied again, whole, with restarts and from every base, and what it
//! gives held against the rules that the log put in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_gateway::disk::overlay::OverlayDisk;
use tidegate_gateway::entry::{Entry, Logged};
use tidegate_gateway::explain::{Past, Replay, line};
use tidegate_gateway::ledger::counters::{Counters, RuleCounters};
use tidegate_gateway::pipeline::{Pipeline, Restored};
use tidegate_gateway::record::{Emitted, Record, RecordId, to_json};
use tidegate_tests::dice::Dice;

use super::editions::Editions;
use super::node::Node;
use super::story::Story;
use super::witness::read_log;

/// An entry in so many is followed by a restart.
const RESTART_EVERY: u64 = 40;

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
    /// The windows emitted so far.
    windows: BTreeMap<Key, Emissions>,
    /// Samples counted so far.
    counters: Counters,
}

/// A window: rule, version, device, sensor, epoch, start.
type Key = (String, u32, String, String, u32, i64);

/// Revisions of a window, and their fresh samples.
#[derive(Debug, Default, Clone, Copy)]
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
        derived.take(&emitted, story);
        if let Entry::Rules { text } = &logged.entry {
            derived.editions.take(text);
            derived.rule_sets.push(text.clone());
        }
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
        let all = self.windows.values();
        all.map(|one| u64::from(one.revisions.saturating_sub(1)))
            .sum()
    }

    /// An entry caused these, under the rules before it.
    fn take(&mut self, emitted: &[Emitted], story: &mut Story) {
        let mut fresh: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
        for one in emitted {
            let record = &one.record;
            self.editions.check(record, story);
            self.editions.check_way(one, story);
            self.lines.push((one.place.position, line(one)));
            let known = self.records.insert(record.id, to_json(record));
            story.check("an id is derived once", known.is_none(), || {
                format!("{known:?} and {record:?}")
            });
            if record.start_us < record.end_us {
                self.revise(record, story);
            }
            *fresh
                .entry((&record.device, &record.sensor, &record.rule))
                .or_default() += record.fresh;
        }
        let counters = self.pipeline.counters();
        self.account(&counters, &fresh, story);
        self.counters = counters;
    }

    /// A window's revisions are numbered without a gap and each holds all samples so far.
    fn revise(&mut self, record: &Record, story: &mut Story) {
        let key = (
            record.rule.clone(),
            record.version,
            record.device.clone(),
            record.sensor.clone(),
            record.epoch,
            record.start_us,
        );
        let known = self.windows.entry(key).or_default();
        let next = known.revisions;
        story.check("revisions are dense", record.revision == next, || {
            format!("{record:?} is not revision {next}")
        });
        known.revisions += 1;
        known.fresh += record.fresh;
        let holds_all = record.samples == known.fresh && record.fresh > 0;
        let so_far = known.fresh;
        story.check("a revision holds all its samples", holds_all, || {
            format!("{so_far} fresh samples so far: {record:?}")
        });
    }

    /// What an entry brought was matched once by every rule in force that takes it, and what was
    /// folded is what the records say.
    fn account(
        &self,
        now: &Counters,
        fresh: &BTreeMap<(&str, &str, &str), u64>,
        story: &mut Story,
    ) {
        let none = RuleCounters::default();
        for (device, counts) in &now.devices {
            let known = self.counters.devices.get(device);
            for (sensor, counts) in &counts.sensors {
                let known = known.and_then(|known| known.sensors.get(sensor));
                if known == Some(counts) {
                    continue;
                }
                let logged = counts.logged - known.map_or(0, |known| known.logged);
                let before = |rule| known.and_then(|known| known.rules.get(rule));
                for (rule, counts) in &counts.rules {
                    let before = before(rule).unwrap_or(&none);
                    let matched = counts.matched - before.matched;
                    let takes = self.editions.takes(rule, device, sensor);
                    // A rule that is gone, or takes others now, finishes the windows it has open.
                    let once = matched == logged || (!takes && matched < logged);
                    story.check("a rule takes a sample once", once, || {
                        format!("{device} {sensor} {rule}: {matched} of {logged}, {takes}")
                    });
                    let gone = counts.filtered.values().sum::<u64>() + counts.late;
                    let holds = counts.matched == gone + counts.folded + counts.open;
                    let key = (device.as_str(), sensor.as_str(), rule.as_str());
                    let sent = fresh.get(&key).copied().unwrap_or(0);
                    let holds = holds && counts.folded - before.folded == sent;
                    story.check("every entry balances", holds, || {
                        format!("{key:?}: {sent} fresh samples, {before:?}, then {counts:?}")
                    });
                }
                let mut names = self.editions.names();
                let missed = names.find(|name| {
                    self.editions.takes(name, device, sensor) && !counts.rules.contains_key(*name)
                });
                story.check("no rule in force is left out", missed.is_none(), || {
                    format!("{device} {sensor}: {missed:?}")
                });
            }
        }
    }
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
