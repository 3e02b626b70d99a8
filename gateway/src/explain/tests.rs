//! Explaining what a real store did with a log written by hand.

use std::sync::Arc;

use tidegate_shared::ids::{Incarnation, Mark};
use tidegate_shared::message::Counts;

use super::answer::{Answer, Delivery, Fate, Lost, State, Unknown};
use super::{ExplainError, Past, Question, explain};
use crate::disk::overlay::OverlayDisk;
use crate::disk::{Disk, FaultDisk};
use crate::entry::{Entry, GapEntry};
use crate::pipeline::tests::script::{EPOCH_US, S, Script, name, passing, rule};
use crate::record::rfc3339;
use crate::rules::settings::Settings;
use crate::rules::{Keep, Priority, Rule, parse};
use crate::spool::journal::Shares;
use crate::spool::{Delivery as Left, Outcome};
use crate::store::Store;
use crate::time::{SECOND_US, Timestamp};

const CONFIGURATION: &str = r#"
    [gateway]
    site = "site"
    [mqtt]
    url = "mqtt://127.0.0.1"
    [sink.cloud]
    type = "file"
    path = "records"
    [[rule]]
    name = "all"
    match = { sensor = "*" }
    forward = ["cloud"]
"#;

struct World {
    fault: FaultDisk,
    disk: Arc<dyn Disk>,
    settings: Settings,
    store: Store,
    taken: usize,
}

impl World {
    fn new() -> Self {
        Self::with_log(1 << 20, 1 << 30)
    }

    fn with_log(segment_bytes: u64, bytes_max: u64) -> Self {
        let (mut settings, _) = parse(CONFIGURATION, "test").unwrap();
        settings.log.segment_bytes = segment_bytes;
        settings.log.bytes_max = bytes_max;
        let fault = FaultDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(fault.clone());
        let (store, _) = Store::open(&disk, &settings, 1, Timestamp::default()).unwrap();
        Self {
            fault,
            disk,
            settings,
            store,
            taken: 0,
        }
    }

    /// Takes what the script has written since.
    fn take(&mut self, script: &Script) {
        for entry in script.log[self.taken..].chunks(1) {
            self.store.append(entry).unwrap();
            self.store.fold(entry);
            self.store.settle(script.at).unwrap();
        }
        self.taken = script.log.len();
    }

    fn leave(&mut self, range: std::ops::RangeInclusive<u64>, outcome: Outcome, bytes: u64) {
        let spool = self.store.spool();
        let mut spool = spool.lock().unwrap();
        let id = spool.queue("cloud", Priority::Normal).unwrap();
        let delivery = Left {
            outcome,
            at: Timestamp {
                wall_us: EPOCH_US,
                ..Timestamp::default()
            },
            bytes_before: bytes * 4,
            bytes_after: bytes,
            header_bytes: 0,
            attempts: 1,
        };
        spool
            .commit(id, range, delivery, &Shares::default())
            .unwrap();
    }

    fn ask(&self, sensor: &str, time_s: i64) -> Answer {
        self.try_ask(sensor, time_s).unwrap()
    }

    fn try_ask(&self, sensor: &str, time_s: i64) -> Result<Answer, ExplainError> {
        let question = Question {
            device: "dev".into(),
            sensor: sensor.into(),
            time_us: EPOCH_US + time_s * SECOND_US,
        };
        let before = self.fault.mutations();
        let overlay: Arc<dyn Disk> = Arc::new(OverlayDisk::new(Arc::clone(&self.disk)));
        let settings = &self.settings;
        let of = (&settings.site, settings.log, settings.sinks.as_slice());
        let answer = explain(&overlay, of, &question, &mut |done, whole| {
            assert!(done < whole);
        });
        assert_eq!(
            self.fault.mutations(),
            before,
            "nothing on the disk changed"
        );
        answer
    }
}

fn deliveries(answer: &Answer) -> Vec<&Delivery> {
    let records = answer.rules.iter().flat_map(|rule| &rule.records);
    records.flat_map(|record| &record.deliveries).collect()
}

#[test]
fn a_sample_is_followed_from_its_frame_to_its_sink() {
    let mut world = World::new();
    let mut script = Script::new(&[rule("r", 60, 30), passing("p")]);
    script.batch(20 * S, &[(0, &[(3 * S, 5), (10 * S, 7)])]);
    world.take(&script);
    let waiting = world.ask("a", 3);
    assert_eq!(waiting.unknown, None);
    let sample = waiting.sample.as_ref().unwrap();
    assert_eq!((sample.distance_us, sample.value), (0, Some(0.05)));
    assert_eq!((sample.frame.sequence, sample.frame.start), (4, Some(1)));
    assert_eq!(sample.frame.position, Some(script.log.len() as u64 - 1));
    let fates: Vec<_> = waiting.rules.iter().map(|rule| rule.fate).collect();
    assert_eq!(fates, [Fate::Waiting, Fate::Passed]);
    assert_eq!(deliveries(&waiting)[0].state, State::Waiting);
    assert!(waiting.to_string().contains("in the open window"));

    script.batch(200 * S, &[(0, &[(150 * S, 7)])]);
    world.take(&script);
    // The queue holds p(3 s), p(10 s), r(0..60), p(150 s) in some order of the second entry.
    world.leave(1..=2, Outcome::Confirmed, 1_000);
    world.leave(3..=3, Outcome::Evicted, 0);
    let told = world.ask("a", 3);
    assert_eq!(told.rules[0].fate, Fate::Folded);
    assert_eq!(told.rules[0].records[0].samples, 2);
    let of_rule = &told.rules[0].records[0].deliveries[0];
    assert_eq!(of_rule.state, State::Evicted);
    let passed = &told.rules[1].records[0].deliveries[0];
    assert_eq!(passed.state, State::Delivered);
    assert_eq!(passed.at, Some(rfc3339(EPOCH_US)));
    let batch = passed.batch.as_ref().unwrap();
    assert_eq!((batch.first, batch.last, batch.records), (1, 2, 2));
    assert!(!batch.share_is_even);
    let other = world.ask("a", 10);
    let other = other.rules[1].records[0].deliveries[0]
        .batch
        .clone()
        .unwrap();
    assert_eq!(batch.share_bytes + other.share_bytes, 1_000);
    assert!(told.to_string().contains("delivered"));
}

#[test]
fn filtered_and_unmatched_samples_say_why() {
    let mut world = World::new();
    let kept = Rule {
        keep: Some(Keep {
            min: Some(0.0),
            max: None,
            rate_max: None,
        }),
        ..rule("r", 60, 30)
    };
    let mut only_a = kept;
    only_a.matching.sensor = vec!["a".into()];
    let mut script = Script::new(&[only_a]);
    script.batch(20 * S, &[(0, &[(3 * S, -5)]), (1, &[(4 * S, 1)])]);
    world.take(&script);
    let filtered = world.ask("a", 3);
    assert_eq!(filtered.rules[0].fate, Fate::FilteredByKeep);
    assert!(filtered.to_string().contains("keeps at least 0"));
    let unmatched = world.ask("b", 4);
    assert!(unmatched.rules.is_empty());
    assert!(unmatched.to_string().contains("no rule matched it"));
}

#[test]
fn what_is_not_there_is_told_with_the_nearest_and_the_devices_counts() {
    let mut world = World::new();
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.totals(&[Counts::default(); 2]);
    script.batch(20 * S, &[(0, &[(3 * S, 5), (15 * S, 5)])]);
    let counts = Counts {
        taken: 20,
        suppressed: 18,
        ..Counts::default()
    };
    script.totals(&[counts; 2]);
    world.take(&script);
    let answer = world.ask("a", 8);
    assert_eq!(answer.unknown, None, "the device is complete there");
    let sample = answer.sample.as_ref().unwrap();
    assert_eq!(sample.distance_us, -5 * SECOND_US);
    let around = answer.around.unwrap();
    assert_eq!((around.taken, around.suppressed), (20, 18));
    assert!(answer.to_string().contains("18 suppressed"));
    assert_eq!(world.ask("a", 500).unknown, Some(Unknown::NotYet));
    assert_eq!(world.ask("c", 8).unknown, Some(Unknown::NoSamples));
    assert_eq!(world.ask("a", 3).unknown, None);
}

#[test]
fn a_time_inside_a_gap_is_unknown_and_names_the_gap() {
    let mut world = World::new();
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(20 * S, &[(0, &[(3 * S, 5)])]);
    let gap = GapEntry {
        device: name("dev"),
        incarnation: Incarnation(7),
        boot: 1,
        from: 5,
        through: 8,
        lost_here: 6,
    };
    script.push(Entry::Gap(gap));
    script.mark = Mark {
        boot: 1,
        sequence: 8,
    };
    script.batch(90 * S, &[(0, &[(60 * S, 5)])]);
    world.take(&script);
    let answer = world.ask("a", 40);
    assert_eq!(answer.unknown, Some(Unknown::Lost));
    let wanted = Lost::Frames {
        position: 8,
        incarnation: 7,
        boot: 1,
        from: 5,
        through: Some(8),
        lost_by_gateway_through: Some(6),
        after: Some(rfc3339(EPOCH_US + 20 * SECOND_US)),
        before: Some(rfc3339(EPOCH_US + 60 * SECOND_US)),
    };
    assert_eq!(answer.lost, [wanted]);
    assert!(answer.to_string().contains("up to 6 by the gateway's disk"));
    assert_eq!(world.ask("a", 10).lost, []);
    assert_eq!(world.ask("a", 10).unknown, None);
    assert_eq!(world.ask("a", 70).unknown, None);
}

#[test]
fn frames_that_wait_for_their_catalog_are_followed_when_it_comes() {
    let mut world = World::new();
    let mut script = Script::new(&[rule("r", 60, 30)]);
    let known = script.catalog;
    let other = [crate::pipeline::tests::script::sensor("z", "", 0)];
    let bytes = crate::pipeline::tests::script::catalog_bytes(&other);
    script.catalog = tidegate_shared::catalog::hash(&bytes);
    script.batch(20 * S, &[(0, &[(3 * S, 5)])]);
    world.take(&script);
    let waiting = world.ask("z", 3);
    assert_eq!(
        (waiting.frames_waiting, waiting.sample.is_none()),
        (1, true)
    );
    assert_eq!(waiting.unknown, Some(Unknown::UnusedFrames));
    let logged = script.log.len() as u64 - 1;
    script.catalog(&other);
    world.take(&script);
    let answer = world.ask("z", 3);
    let frame = &answer.sample.as_ref().unwrap().frame;
    assert_eq!(frame.position, Some(logged));
    assert_eq!(frame.folded_position, logged + 2);
    assert!(answer.to_string().contains("waited for its catalog"));
    assert_ne!(script.catalog, known);
}

/// Days of a device that speaks every ten minutes.
fn days(world: &mut World, days: u64) -> Script {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    for batch in 0..days * 144 {
        script.pass(600 * S);
        let from = 3_600 * S + batch * 600 * S;
        let samples: Vec<_> = (0..60)
            .map(|one| (from + one * 10 * S, one as i64))
            .collect();
        script.batch(from + 600 * S, &[(0, &samples)]);
        world.take(&script);
    }
    script
}

#[test]
fn a_replay_begins_at_a_base_before_the_time_and_says_when_the_log_does_not_reach_it() {
    let mut world = World::with_log(4_096, 1);
    let script = days(&mut world, 6);
    let overlay: Arc<dyn Disk> = Arc::new(OverlayDisk::new(Arc::clone(&world.disk)));
    let past = Past::open(overlay, &world.settings.site, world.settings.log).unwrap();
    let reach = past.begin_first().unwrap().from;
    assert!(reach > 100, "the first entries are recycled: {reach}");
    assert!(past.bases().len() >= 2);
    assert!(matches!(
        past.begin_at_most(3),
        Err(ExplainError::TooEarly { position: 3, .. })
    ));
    let newest_s = (script.at.wall_us - EPOCH_US) / SECOND_US;
    let recent = world.ask("a", newest_s - 3_600);
    assert_eq!(recent.unknown, None);
    assert_eq!(recent.rules[0].fate, Fate::Folded);
    assert_eq!(deliveries(&recent)[0].state, State::Waiting);
    let old = world.ask("a", 4_000);
    assert_eq!(old.unknown, Some(Unknown::BeforeReach));
    assert!(old.reach.from_time.is_some());
}

#[test]
fn a_replay_does_not_begin_earlier_than_it_must() {
    let mut world = World::with_log(4_096, 1 << 30);
    let script = days(&mut world, 4);
    let newest_s = (script.at.wall_us - EPOCH_US) / SECOND_US;
    let late = world.ask("a", newest_s - 600);
    let early = world.ask("a", 3_600);
    assert_eq!(early.reach.from_position, 0);
    assert!(late.reach.from_position > 100, "{:?}", late.reach);
    assert!(late.reach.is_complete && early.reach.is_complete);
    assert_eq!((late.unknown, early.unknown), (None, None));
}
