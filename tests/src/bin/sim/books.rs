//! Books: at the end of a run the counters must say what is true.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_gateway::entry::Uncounted;
use tidegate_gateway::ledger;
use tidegate_gateway::ledger::balance::Balances;
use tidegate_gateway::ledger::counters::Counters;
use tidegate_gateway::record::GROUP;
use tidegate_gateway::rules::Group;
use tidegate_gateway::store::Store;

use super::node::Node;
use super::replay::derive;
use super::shapes;
use super::story::Story;
use super::unit::{SENSORS, Unit, truth};
use super::world::World;

/// Checks every gateway's books.
pub fn check(world: &mut World) {
    for unit in &world.units {
        let named = world.units.iter().filter(|other| other.name == unit.name);
        let is_alone = named.count() == 1;
        let kept = unit.renames == 0 || !is_alone;
        world
            .story
            .check("an honest device keeps its incarnation", kept, || {
                format!("{} drew {} new ones", unit.name, unit.renames)
            });
    }
    for number in 0..world.nodes.len() {
        let Some(store) = world.nodes[number].store() else {
            continue;
        };
        let (json, balances) = (store.ledger(), store.balances());
        let node = &world.nodes[number];
        let settled = node.file.is_settled();
        let holds = settled && *store.rules() == node.settings.rules;
        // One that stands by logs nothing, so nothing new holds there.
        let may_wait = world.nodes.len() > 1 && !settled;
        world.story.check(
            "the rules that were written hold",
            holds || may_wait,
            || format!("settled: {settled}, in force {:#?}", store.rules()),
        );
        replayed(world, number, &json);
        let is_only = world.nodes.len() == 1;
        let node = &world.nodes[number];
        sensors(node, is_only, &world.units, &json, &mut world.story);
        balanced(world, number, &balances);
        sinks(world, number, &json);
    }
}

/// The log, folded from its first entry, gives the same counters and records.
fn replayed(world: &mut World, number: usize, json: &Value) {
    let node = &world.nodes[number];
    let derived = derive(node, &mut world.story);
    let happened = &mut world.story.coverage.happened;
    *happened.entry("window revised").or_default() += derived.revisions();
    *happened.entry("version counted on").or_default() += derived.editions.changes();
    let sets = &derived.rule_sets;
    let stray = sets.iter().find(|set| !world.author.wrote(set));
    world
        .story
        .check("only right rules enter the log", stray.is_none(), || {
            format!("{stray:?}")
        });
    let again = sets.windows(2).any(|pair| pair[0] == pair[1]);
    world
        .story
        .check("rules in force are not logged again", !again, || {
            format!("{sets:#?}")
        });
    let spool = tidegate_gateway::spool::counters::Counters::default();
    let again = ledger::of_store(node.witness.end(), &derived.pipeline.counters(), &spool);
    let same = again["devices"] == json["devices"];
    world
        .story
        .check("replay gives the same counters", same, || {
            format!("live {}\nreplayed {}", json["devices"], again["devices"])
        });
    if node.restored == 0 && world.nodes.len() == 1 {
        for (name, upstream) in &world.upstreams {
            let mut sent = upstream.records();
            let stray = sent.find(|(id, line)| derived.records.get(*id) != Some(line));
            world
                .story
                .check("what was sent is derived again", stray.is_none(), || {
                    let other = stray.map(|(id, _)| derived.records.get(id));
                    format!("{name} has {stray:?}, the log gives {other:?}")
                });
        }
    }
}

/// What the log holds of a sensor is what the ledger says.
fn sensors(node: &Node, is_only: bool, units: &[Unit], json: &Value, story: &mut Story) {
    for ((device, sensor), (taken, _)) in truth(units) {
        let name = SENSORS[sensor];
        let counts = &json["devices"][device.as_str()]["sensors"][name];
        let logged = node.witness.logged(&device, sensor);
        let distinct = node.witness.distinct(&device, sensor);
        let said = count(&counts["logged"]) + sum(&counts["rejected"]);
        // A batch that waits for its catalog counts for the device: its sensors are not known.
        let nameless = &json["devices"][device.as_str()]["samples"];
        let nameless = sum(&nameless["rejected"]) + count(&nameless["waiting_for_catalog"]);
        let counted = said <= logged && logged <= said + nameless;
        story.check("what is logged is counted", counted, || {
            format!("{device} {name}: {logged} samples in the log, the ledger says {counts}")
        });
        story.check(
            "no more is logged than was taken",
            distinct <= taken,
            || format!("{device} {name}: {distinct} of {taken}"),
        );
        // A device's own clock does not step back here: what it sends in order is never late, but
        // for windows that a gateway has not waited for, which believed that a day had passed.
        let mut named = units.iter().filter(|unit| unit.name.as_str() == device);
        let is_steady = named.all(|unit| unit.has_clock && unit.renames == 0)
            && !node.witness.expires
            && node.wall_ahead_us < node.settings.limits.revise_for_us;
        for (rule, counters) in fields(&counts["rules"]) {
            let late = count(&counters["late"]);
            story.check(
                "nothing is late from a steady clock",
                late == 0 || !is_steady || node.witness.editions.ever_drops(rule),
                || format!("{device} {name} {rule}: {counters}"),
            );
        }
    }
    for (device, counts) in fields(&json["devices"]) {
        for (name, counts) in fields(&counts["sensors"]) {
            for (rule, counters) in fields(&counts["rules"]) {
                let gone = ["late", "examined", "folded", "open"];
                let gone = gone.into_iter().map(|one| count(&counters[one]));
                let gone = gone.sum::<u64>() + sum(&counters["filtered"]);
                let matched = count(&counters["matched"]);
                story.check("rules balance", matched == gone, || {
                    format!("{device} {name} {rule}: {counters}")
                });
                // Every device has ended, and said so last.
                let open = count(&counters["open"]);
                let waits =
                    count(&json["devices"][device.as_str()]["samples"]["waiting_for_catalog"]);
                // A number of records is waited for.
                let editions = &node.witness.editions;
                let fills = editions.ever(rule, |rule| rule.from.is_some() && shapes::counts(rule));
                let closed = open == 0 || waits > 0 || fills || !is_only;
                story.check("an end closes what is open", closed, || {
                    format!("{device} {name} {rule}: {counters}")
                });
            }
        }
    }
}

/// The ledger's balances hold, and say what is true of devices whose every boot ended as planned.
fn balanced(world: &mut World, number: usize, balances: &Balances) {
    let Some((counters, _)) = world.nodes[number].store().map(Store::counters) else {
        return;
    };
    let story = &mut world.story;
    // Two devices that spoke as one in turn and never contradicted each other are one to a gateway.
    // It took what only one of them had sent and what the other told as taken: the difference
    // that the ledger shows is then the truth. Where it refused one of them it must say so.
    let is_one = |name: &str| {
        let named = world.units.iter().filter(|unit| unit.name.as_str() == name);
        named.count() == 1
    };
    let samples = balances.samples.iter();
    let samples = samples.filter(|row| row.terms.difference != 0);
    let samples: Vec<_> = samples
        .filter(|row| is_one(&row.device) || was_refused(&counters, &row.device))
        .collect();
    let rules = balances.rules.iter();
    let rules: Vec<_> = rules.filter(|row| row.terms.difference != 0).collect();
    let sinks = balances.sinks.iter();
    let sinks: Vec<_> = sinks.filter(|row| row.terms.difference != 0).collect();
    let balanced = samples.is_empty() && rules.is_empty() && sinks.is_empty();
    story.check("the ledger balances", balanced, || {
        format!("{samples:#?} {rules:#?} {sinks:#?}")
    });
    let node = &world.nodes[number];
    if node.restored > 0 || world.nodes.len() > 1 {
        return;
    }
    for ((device, sensor), (taken, suppressed)) in truth(&world.units) {
        let mut named = world
            .units
            .iter()
            .filter(|unit| unit.name.as_str() == device);
        let is_told = named.clone().count() == 1 && named.all(|unit| unit.cut_short == 0);
        let name = Some(SENSORS[sensor]);
        let mut rows = balances.samples.iter();
        let row = rows.find(|row| row.device == device && row.sensor.as_deref() == name);
        let Some(row) = row.filter(|_| is_told) else {
            continue;
        };
        let logged = node.witness.logged(&device, sensor) as i64;
        let missing = taken as i64 - suppressed as i64 - logged;
        let terms = &row.terms;
        let right = row.taken == Some(taken as i64)
            && terms.suppressed == suppressed as i64
            && terms.logged + terms.rejected == logged
            && terms.lost_on_device + terms.unknown == missing
            && terms.lost_here == 0;
        story.check("the ledger says what is true", right, || {
            format!("taken {taken}, suppressed {suppressed}, logged {logged}: {row:#?}")
        });
        // Of a device that was always there everything is known.
        let exact = terms.unknown <= 0;
        story.check("nothing is unknown of an honest device", exact, || {
            format!("{row:#?}")
        });
    }
}

/// Whether frames of a device were refused as another one's.
fn was_refused(counters: &Counters, device: &str) -> bool {
    let not_logged = counters.devices.get(device).map(|one| &one.not_logged);
    let reasons = [Uncounted::Conflict, Uncounted::AfterGap];
    not_logged.is_some_and(|counts| reasons.iter().any(|one| counts.contains_key(one)))
}

/// What a rule folded is what each of its sinks got, will get, or was denied: of a sensor, or of a
/// device where the rule makes records of several sensors.
fn sinks(world: &mut World, number: usize, json: &Value) {
    let mut sums: BTreeMap<[&str; 4], (u64, u64)> = BTreeMap::new();
    let node = &world.nodes[number];
    let grouped = |rule: &str| {
        let editions = &node.witness.editions;
        editions.ever(rule, |rule| rule.group == Group::Device)
    };
    for (device, counters) in fields(&json["devices"]) {
        for (sensor, counts) in fields(&counters["sensors"]) {
            for (rule, counts) in fields(&counts["rules"]) {
                let sensor = if grouped(rule) { GROUP } else { sensor };
                for (sink, folded) in fields(&counts["forwarded"]) {
                    sums.entry([device, sensor, rule, sink]).or_default().0 += count(folded);
                }
            }
        }
    }
    for (sink, rules) in fields(&json["sinks"]) {
        for (rule, counts) in fields(rules) {
            for (device, sensors) in fields(&counts["devices"]) {
                for (sensor, of) in fields(sensors) {
                    let delivered = count(&of["delivered_fresh"]);
                    let others = ["refused_fresh", "evicted_fresh", "dropped_fresh", "waiting"];
                    let others = others.into_iter().map(|one| count(&of[one]));
                    let place = if grouped(rule) { GROUP } else { sensor };
                    let sum = sums.entry([device, place, rule, sink]).or_default();
                    sum.1 += delivered + others.sum::<u64>();
                    let key = (number, rule.clone(), device.clone(), sensor.clone());
                    let upstream = world.upstreams.get(sink);
                    let taken = upstream.and_then(|one| one.fresh.get(&key)).copied();
                    let enough = taken.unwrap_or(0) >= delivered || node.restored > 0;
                    world
                        .story
                        .check("delivered means the sink has it", enough, || {
                            format!("{key:?}: delivered {delivered}, {sink} has {taken:?}")
                        });
                }
            }
        }
    }
    for (place, (folded, gone)) in sums {
        world.story.check("sinks balance", folded == gone, || {
            format!("{place:?}: folded {folded}, {gone} of them in records")
        });
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn sum(value: &Value) -> u64 {
    fields(value).map(|(_, one)| count(one)).sum()
}
