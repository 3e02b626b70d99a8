//! The world: meters, a broker, one gateway at a time, receivers, and the time that passes for
//! all of them.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_firmware::device::Channel;
use tidegate_gateway::disk::FaultDisk;
use tidegate_gateway::disk::fault::Torn;
use tidegate_gateway::record::RecordId;
use tidegate_gateway::rules::settings::Settings;
use tidegate_gateway::session::Event;
use tidegate_shared::topic::Topic;
use tidegate_tests::ledger;
use tidegate_tests::report::say;

use super::books::{self, Books};
use super::gateway::{Gateway, PowerCut, Published};
use super::meter::{Meter, Said};
use super::receiver::Receiver;
use super::script::{METERS, RESTART_ROW, ROOMY, SENSORS, SMALL, STALL_ROWS, settings};
use super::witness::Witness;

/// Time of one step, in µs.
const STEP_US: u64 = 50_000;
/// Steps that the gateway is off after a cut.
const STEPS_OFF: u32 = 3;
/// A run that takes longer hangs: idle devices would be closed at 1,800.
const STEPS_MAX: u32 = 1_500;

/// Everything there is.
pub struct World {
    pub disk: FaultDisk,
    settings: Settings,
    now_us: u64,
    steps: u32,
    meters: Vec<Meter>,
    gateway: Option<Gateway>,
    starts: u32,
    is_restarted: bool,
    presence: Option<Vec<u8>>,
    statuses: BTreeMap<usize, Vec<u8>>,
    receivers: BTreeMap<String, Receiver>,
    witness: Witness,
    /// Every file name there ever was.
    files: BTreeSet<String>,
    /// The books at the end.
    books: Books,
}

/// What a finished run came to.
#[derive(Debug)]
pub struct Ending {
    log_incarnation: Option<u32>,
    /// Ids of windows.
    windows: BTreeSet<RecordId>,
    /// All records without their ids, sorted.
    lines: Vec<String>,
    logged: BTreeMap<(String, String), u64>,
}

impl World {
    /// An empty disk, the gateway off, the meters connected.
    pub fn new() -> Self {
        let mut world = Self {
            disk: FaultDisk::new(),
            settings: settings(),
            now_us: 0,
            steps: 0,
            meters: (0..METERS).map(Meter::new).collect(),
            gateway: None,
            starts: 0,
            is_restarted: false,
            presence: None,
            statuses: BTreeMap::new(),
            receivers: BTreeMap::new(),
            witness: Witness::default(),
            files: BTreeSet::new(),
            books: Books::default(),
        };
        for number in 0..METERS {
            let said = world.meters[number].connect(0, None);
            world.hear(number, said);
        }
        world
    }

    /// Runs the script to its end, a clean stop included, or up to the power cut.
    pub fn run(&mut self) -> Result<(), PowerCut> {
        let ran = self.run_on();
        if ran.is_err() {
            self.lose_gateway();
        }
        ran
    }

    fn run_on(&mut self) -> Result<(), PowerCut> {
        self.start()?;
        while !self.is_over() {
            self.step()?;
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "the run does not come to its end");
            let row = self.meters[METERS - 1].row;
            if row >= RESTART_ROW && !self.is_restarted {
                self.is_restarted = true;
                self.stop()?;
                self.start()?;
            }
        }
        if let Some(gateway) = &self.gateway {
            self.books = books::balanced(gateway.store());
        }
        self.stop()
    }

    fn is_over(&self) -> bool {
        let at_rest = self.gateway.as_ref().is_some_and(Gateway::is_at_rest);
        at_rest && self.meters.iter().all(Meter::is_over)
    }

    fn start(&mut self) -> Result<(), PowerCut> {
        self.starts += 1;
        let draw = 0x7000 + self.starts;
        let started = Gateway::start(&self.disk, &self.settings, draw, self.now_us, &self.witness);
        let gateway = self.gateway.insert(started?);
        let (witness, mut out) = (&mut self.witness, Vec::new());
        gateway.handle(self.now_us, Event::Subscribed, witness, &mut out);
        let site = self.settings.site.clone();
        let mut kept: Vec<(Topic, Vec<u8>)> = Vec::new();
        kept.extend(self.presence.clone().map(|bytes| (Topic::Gateway, bytes)));
        for (number, bytes) in &self.statuses {
            let topic = Topic::Status(self.meters[*number].name.clone());
            kept.push((topic, bytes.clone()));
        }
        for (topic, payload) in kept {
            let event = Event::Received {
                topic: &topic.text(&site),
                retained: true,
                payload: &payload,
            };
            gateway.handle(self.now_us, event, witness, &mut out);
        }
        self.route(out);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), PowerCut> {
        let mut out = Vec::new();
        let gateway = self.gateway.take();
        let stopped = gateway.map(|gateway| {
            // Power may go while it stops: then the broker says its will.
            let will = gateway.will.clone();
            let stopped = gateway.stop(self.now_us, &mut self.witness, &mut out);
            (stopped, will)
        });
        self.route(out);
        let Some((stopped, will)) = stopped else {
            return Ok(());
        };
        if stopped.is_err() {
            self.announce(will);
        }
        stopped
    }

    /// One step of time for everybody.
    fn step(&mut self) -> Result<(), PowerCut> {
        self.now_us += STEP_US;
        let mut stepped = Ok(());
        for number in 0..METERS {
            let said = self.meters[number].step(self.now_us, self.presence.as_ref());
            for one in said {
                self.hear(number, one);
            }
        }
        let row = self.meters[METERS - 1].row;
        let is_stalled = |sink: &str| sink == SMALL && STALL_ROWS.contains(&row);
        let mut out = Vec::new();
        if let Some(gateway) = &mut self.gateway {
            let (witness, receivers) = (&mut self.witness, &mut self.receivers);
            stepped = gateway.step(self.now_us, witness, receivers, is_stalled, &mut out);
        }
        self.route(out);
        self.files.extend(self.disk.paths());
        stepped
    }

    /// What a meter says reaches the broker, and the gateway if it is there.
    fn hear(&mut self, number: usize, said: Said) {
        let name = self.meters[number].name.clone();
        let (topic, payload) = match said {
            Said::Status(payload) => {
                self.statuses.insert(number, payload.clone());
                (Topic::Status(name), payload)
            }
            Said::Up(payload) => (Topic::Up(name), payload),
        };
        self.bring(&topic, &payload);
    }

    /// Brings a message to the gateway, and what it answers on.
    fn bring(&mut self, topic: &Topic, payload: &[u8]) {
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        let event = Event::Received {
            topic: &topic.text(&self.settings.site),
            retained: false,
            payload,
        };
        let mut out = Vec::new();
        gateway.handle(self.now_us, event, &mut self.witness, &mut out);
        self.route(out);
    }

    fn route(&mut self, out: Vec<Published>) {
        for published in out {
            match published.topic {
                Topic::Gateway => {
                    assert!(published.retained);
                    // The gateway reads its own topic, too.
                    self.bring(&Topic::Gateway, &published.payload);
                    self.announce(published.payload);
                }
                Topic::Down(device) => {
                    let meter = self.meters.iter_mut().find(|meter| meter.name == device);
                    let inbox = meter.map(|meter| &mut meter.inbox);
                    if let Some(inbox) = inbox {
                        inbox.push_back((Channel::Down, published.payload));
                    }
                }
                other => panic!("the gateway has nothing to say on {other:?}"),
            }
        }
    }

    fn announce(&mut self, presence: Vec<u8>) {
        for meter in &mut self.meters {
            meter.inbox.push_back((Channel::Gateway, presence.clone()));
        }
        self.presence = Some(presence);
    }

    /// The gateway is gone without a word; the broker says its will.
    fn lose_gateway(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            self.announce(gateway.will);
        }
    }

    /// Time passes without power; then the disk is as the cut left it, which the witness sees.
    pub fn power_up(&mut self, torn: Torn) {
        for _ in 0..STEPS_OFF {
            self.step().expect("nothing fails without a gateway");
        }
        self.disk = self.disk.after_cut(torn);
        self.witness.examine(&self.disk, self.settings.log);
    }

    /// Checks a finished run in itself; returns what other runs must agree with.
    pub fn ending(&self) -> Ending {
        for meter in &self.meters {
            for (boot, frames) in (1..).zip(meter.frames()) {
                let pair = (meter.name.clone(), meter.incarnation().0, boot);
                self.witness.holds_all(&pair, frames);
            }
            for (sensor, name) in SENSORS.iter().enumerate() {
                let key = (meter.name.to_string(), (*name).to_owned());
                let logged = self.books.logged.get(&key);
                assert_eq!(logged, Some(&meter.taken(sensor)), "{key:?}");
            }
        }
        self.check_receivers();
        Ending {
            log_incarnation: self.witness.log_incarnation,
            windows: self.receivers[ROOMY].windows(),
            lines: self.receivers[ROOMY].lines(),
            logged: self.books.logged.clone(),
        }
    }

    /// What the receivers have is what the books say, each record counted once.
    fn check_receivers(&self) {
        let small = self.receivers[SMALL].fresh();
        let roomy = self.receivers[ROOMY].fresh();
        for (key, folded) in &self.books.folded {
            let of_roomy = self.books.sent[ROOMY][key];
            assert_eq!(of_roomy.evicted + of_roomy.dropped, 0, "{key:?}");
            assert_eq!(of_roomy.delivered, *folded, "{key:?}");
            assert_eq!(roomy.get(key).copied().unwrap_or(0), *folded, "{key:?}");
            let of_small = self.books.sent[SMALL][key];
            let received = small.get(key).copied().unwrap_or(0);
            // A commit that the cut forgot is made again, or its records are evicted meanwhile:
            // the receiver may have more than the books know, never less.
            assert!(received >= of_small.delivered, "{key:?}");
            assert!(received <= *folded, "{key:?}");
        }
        for (id, (line, _)) in &self.receivers[SMALL].records {
            let elsewhere = self.receivers[ROOMY].records.get(id);
            let elsewhere = elsewhere.map(|(line, _)| line);
            assert_eq!(elsewhere, Some(line), "{id}: two sinks, two contents");
        }
    }

    /// Says what the run was.
    pub fn tell(&self) {
        let totals = self.totals();
        say(&format!(
            "power cut: {} operations in {} steps, {} log entries, {} records, {totals:?}",
            self.disk.mutations(),
            self.steps,
            self.witness.end(),
            self.receivers[ROOMY].records.len(),
        ));
    }

    fn totals(&self) -> Totals {
        let present = self.disk.paths();
        let is_gone = |name: &&String| !present.contains(name);
        let named = |prefix: &'static str| {
            let names = self.files.iter();
            names.filter(move |name| name.starts_with(prefix))
        };
        let gateway = Gateway::start(
            &self.disk.after_cut(Torn::Nothing),
            &self.settings,
            1,
            self.now_us,
            &self.witness,
        );
        let gateway = gateway.expect("what a clean stop left opens");
        let ledger = gateway.store().ledger();
        let small = &ledger["sinks"][SMALL];
        Totals {
            segments: named("log/segment-").count(),
            bases: named("log/base-").count(),
            recycled: named("log/segment-").filter(is_gone).count(),
            spool_recycled: named("spool/archive").filter(is_gone).count(),
            delivered: ledger::total(small, "delivered_records"),
            evicted: ledger::total(small, "evicted_records"),
            dropped: ledger::total(small, "dropped_records"),
            revisions: self.revisions(),
        }
    }

    fn revisions(&self) -> usize {
        let records = self.receivers[ROOMY].records.values();
        records
            .filter(|(_, waiting)| waiting.record.revision > 0)
            .count()
    }

    /// A run in which nothing happens would survive anything.
    pub fn reaches_what_it_is_about(&self) {
        let totals = self.totals();
        assert!(totals.segments >= 3 && totals.bases >= 2, "{totals:?}");
        assert!(
            totals.recycled >= 1 && totals.spool_recycled >= 1,
            "{totals:?}"
        );
        assert!(totals.delivered >= 50 && totals.evicted >= 20, "{totals:?}");
        assert!(totals.revisions >= 1, "{totals:?}");
    }
}

/// What a run did.
#[derive(Debug)]
#[expect(dead_code, reason = "all of it is printed")]
struct Totals {
    segments: usize,
    bases: usize,
    recycled: usize,
    /// Of the sink that loses nothing.
    spool_recycled: usize,
    delivered: u64,
    evicted: u64,
    dropped: u64,
    revisions: usize,
}

impl Ending {
    /// The same records, byte for byte; the ids of windows too, if the log kept its name, which
    /// they hash: a cut before the log's first durable entry leaves none to keep. The ids of
    /// passed samples hash the sequence of their frame, and a device that is welcomed once more
    /// sends one more frame (its Totals) between: those agree within a run only.
    pub fn agrees_with(&self, uncut: &Self) {
        assert_eq!(self.logged, uncut.logged, "samples logged");
        let (mine, theirs) = (self.lines.iter(), uncut.lines.iter());
        let first = mine.zip(theirs).find(|(mine, theirs)| mine != theirs);
        assert_eq!(first, None, "records changed");
        assert_eq!(self.lines.len(), uncut.lines.len(), "records");
        if self.log_incarnation == uncut.log_incarnation {
            assert!(self.windows == uncut.windows, "ids changed");
        }
    }
}
