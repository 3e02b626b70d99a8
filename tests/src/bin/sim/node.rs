//! Nodes: machines that run a gateway. The conductor, the store and the deliveries are the real
//! ones; the node is their shell, with a disk, clocks and a power supply that fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_gateway::conductor::service::{Request, serve};
use tidegate_gateway::conductor::{Conductor, Draws, Effect, Event, News, Report, Start, start};
use tidegate_gateway::disk::fault::Torn;
use tidegate_gateway::disk::{Disk, FaultDisk};
use tidegate_gateway::entry::Uncounted;
use tidegate_gateway::rules::settings::Settings;
use tidegate_gateway::session::{PENDING_BYTES_MAX, Policy, Standing};
use tidegate_gateway::store::Store;
use tidegate_gateway::time::{Timestamp, Word};
use tidegate_shared::frame;
use tidegate_shared::ids::Term;
use tidegate_shared::message::Down;
use tidegate_shared::mutation::{Mutation, is_on};
use tidegate_shared::topic::Topic;
use tidegate_tests::dice::Dice;

use super::network::{Client, Message, Network};
use super::reload::ConfigurationFile;
use super::story::Story;
use super::unit::{SITE, UTC_US};
use super::upstream::{Around, Sending, Upstream};
use super::vault::{Heard, Vault, Word as Said, place_of};
use super::witness::Witness;

/// How a gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The process is killed: what it wrote is in the cache.
    Killed,
    /// The power goes: what was not synced is gone, or torn.
    PowerCut,
}

/// A gateway that runs.
struct Running {
    conductor: Conductor,
    store: Store,
    sinks: Vec<Sending>,
    began_us: u64,
    will: Vec<u8>,
    id: u64,
    start: u32,
    term: Term,
    connect_at_us: u64,
    suback_at_us: Option<u64>,
    is_connected: bool,
    request: Option<(u64, Request)>,
    is_stopping: bool,
    /// The edition of the registry that it has.
    keys: u64,
    heard: Heard,
    /// Messages to devices.
    answers: u64,
}

/// A machine.
pub struct Node {
    pub number: usize,
    pub disk: FaultDisk,
    pub settings: Arc<Settings>,
    pub file: ConfigurationFile,
    running: Option<Running>,
    start_at_us: u64,
    /// How far the wall clock is off.
    pub wall_off_us: i64,
    /// How far ahead it has been at most.
    pub wall_ahead_us: i64,
    pub trusted: bool,
    image: Option<FaultDisk>,
    pub witness: Witness,
    pub restored: u32,
    dice: Dice,
}

/// What a node needs of the world.
pub struct Surroundings<'a> {
    pub now_us: u64,
    pub network: &'a mut Network,
    pub vault: &'a mut Vault,
    pub upstreams: &'a mut BTreeMap<String, Upstream>,
    pub story: &'a mut Story,
}

impl Node {
    pub fn new(number: usize, text: &str, dice: &mut Dice) -> Self {
        let file = ConfigurationFile::new(text);
        Self {
            number,
            disk: FaultDisk::new(),
            settings: file.in_force(),
            file,
            running: None,
            start_at_us: 0,
            wall_off_us: 0,
            wall_ahead_us: 0,
            trusted: true,
            image: None,
            witness: Witness::default(),
            restored: 0,
            dice: Dice::new(dice.bits()),
        }
    }

    fn client(&self) -> Client {
        Client::Gateway(self.number)
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn store(&self) -> Option<&Store> {
        self.running.as_ref().map(|running| &running.store)
    }

    /// The term of the present start.
    pub fn term(&self) -> Option<Term> {
        self.running.as_ref().map(|running| running.term)
    }

    /// Whether nothing is pending, waiting or on its way.
    pub fn is_at_rest(&self) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let spool = running.store.spool();
        let Ok(spool) = spool.lock() else {
            return false;
        };
        let waiting = spool
            .queues()
            .filter_map(|(id, ..)| spool.waiting(id).ok())
            .map(|backlog| backlog.records);
        running.conductor.is_at_rest() && waiting.sum::<u64>() == 0
    }

    /// What it does, for a story.
    pub fn state(&self) -> String {
        let Some(running) = &self.running else {
            return format!("gateway {} is off until {}", self.number, self.start_at_us);
        };
        let sinks: Vec<String> = running.sinks.iter().map(Sending::state).collect();
        format!(
            "gateway {}: {:?}, pending {:?}, not logged {:?}, {}",
            self.number,
            running.conductor.conditions(),
            running.conductor.pending(),
            running.conductor.session().tallies(),
            sinks.join("; ")
        )
    }

    fn word(&self) -> Word {
        if self.trusted {
            Word::Synchronised
        } else {
            Word::Unsynchronised
        }
    }

    fn timestamp(&self, began_us: u64, now_us: u64) -> Timestamp {
        Timestamp {
            mono_us: now_us - began_us,
            wall_us: UTC_US + now_us as i64 + self.wall_off_us,
            wall_trusted: self.trusted,
        }
    }

    fn start(&mut self, now_us: u64, vault: &Vault, story: &mut Story) {
        let now = self.timestamp(now_us, now_us);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let draws = Draws {
            gateway: self.dice.bits(),
            incarnation: self.dice.bits() as u32 | 1,
            spare_incarnation: self.dice.bits() as u32 | 1,
            term: self.dice.bits() as u32 | 1,
            counter: self.dice.bits() as u32,
        };
        let number = self.number;
        self.file.start(story);
        self.settings = self.file.in_force();
        let started = match start(&disk, &self.settings, draws, (now, self.word())) {
            Ok(started) => started,
            Err(error) => {
                story.tell(|| format!("gateway {number} cannot start: {error}"));
                if self.disk.is_cut() {
                    self.end(Ending::PowerCut, now_us, story);
                } else {
                    self.start_at_us = now_us + 5_000_000;
                }
                return;
            }
        };
        let Start {
            identity,
            term,
            mut conductor,
            store,
            report,
            will,
            ..
        } = started;
        let clean = report.recovery.is_clean()
            && report.parts_lost.is_empty()
            && report.entries_unreadable == 0
            && report.spool.records_lost == 0
            && report.spool.commits_uncounted == 0
            && report.spool.parts_damaged == 0;
        story.check("a start finds nothing damaged", clean, || {
            format!("{report:?}")
        });
        story.tell(|| {
            let (start, end) = (identity.start, report.recovery.end);
            format!("gateway {number} starts for the {start}. time, the log ends at {end}")
        });
        let sinks = self
            .settings
            .sinks
            .iter()
            .map(|sink| Sending::new(sink, &store, self.dice.bits()))
            .collect();
        if let Some(ring) = vault.ring() {
            conductor.set_keys(ring.clone());
            conductor.set_policy(Policy {
                vouched: true,
                ..Policy::default()
            });
        }
        self.running = Some(Running {
            conductor,
            store,
            sinks,
            began_us: now_us,
            will,
            id: identity.gateway,
            start: identity.start,
            term,
            connect_at_us: now_us + 1_000 + self.dice.below(2_000_000),
            suback_at_us: None,
            is_connected: false,
            request: None,
            is_stopping: false,
            keys: vault.edition,
            heard: Heard::new(),
            answers: 0,
        });
    }

    /// The gateway is no more; it starts again after a while.
    pub fn end(&mut self, ending: Ending, now_us: u64, story: &mut Story) {
        self.running = None;
        let off_us = 500_000 + self.dice.below(90_000_000);
        self.start_at_us = now_us + off_us;
        if ending == Ending::PowerCut {
            let torn = if self.dice.percent(50) {
                Torn::Sectors(self.dice.bits())
            } else {
                Torn::Nothing
            };
            self.disk = self.disk.after_cut(torn);
            self.start_at_us += 10_000_000;
        }
        self.witness
            .examine(&self.disk, &self.settings, false, story);
    }

    /// Starts, if it is off, without waiting.
    pub fn start_soon(&mut self, now_us: u64) {
        self.start_at_us = self.start_at_us.min(now_us + 1_000_000);
    }

    pub fn stay_off(&mut self, until_us: u64) {
        self.start_at_us = until_us;
    }

    /// Asks it to stop cleanly.
    pub fn stop(&mut self, around: &mut Surroundings<'_>) {
        if let Some(running) = &mut self.running {
            running.is_stopping = true;
            self.handle(Event::Stop, around);
        }
    }

    /// Copies the disk as a power cut would leave it now.
    pub fn keep_image(&mut self) {
        self.image = Some(self.disk.after_cut(Torn::Nothing));
    }

    /// Puts the copy in the place of the disk.
    pub fn restore_image(&mut self, now_us: u64, story: &mut Story) -> bool {
        let Some(image) = self.image.take() else {
            return false;
        };
        self.running = None;
        self.disk = image;
        self.restored += 1;
        self.witness
            .examine(&self.disk, &self.settings, true, story);
        self.start_at_us = now_us + 5_000_000;
        true
    }

    /// When it has to be stepped next.
    pub fn next_us(&self, network: &Network) -> u64 {
        let Some(running) = &self.running else {
            return self.start_at_us;
        };
        let mut next_us = running.began_us + running.conductor.next_deadline();
        if let Some((at_us, _)) = &running.request {
            next_us = next_us.min(*at_us);
        }
        if let Some(at_us) = running.suback_at_us {
            next_us = next_us.min(at_us);
        }
        if !running.is_connected && network.is_up {
            next_us = next_us.min(running.connect_at_us);
        }
        for sink in &running.sinks {
            next_us = next_us.min(sink.next_us(running.began_us));
        }
        next_us
    }

    /// Does what is due.
    pub fn step(&mut self, around: &mut Surroundings<'_>) {
        if self.running.is_none() && self.start_at_us <= around.now_us {
            self.start(around.now_us, around.vault, around.story);
        }
        self.connect(around);
        let due = |running: &Running| {
            running.began_us + running.conductor.next_deadline() <= around.now_us
        };
        if self.running.as_ref().is_some_and(due) {
            self.handle(Event::Deadline, around);
        }
        self.serve(around);
        self.deliver(around);
        self.check_limits(around.story);
        self.finish(around);
        self.notice_cut(around);
    }

    /// A power cut that an armed operation met ends the gateway.
    fn notice_cut(&mut self, around: &mut Surroundings<'_>) {
        if self.running.is_some() && self.disk.is_cut() {
            around
                .network
                .disconnect(self.client(), false, around.now_us);
            let number = self.number;
            around
                .story
                .tell(|| format!("gateway {number}: the power went while it wrote"));
            self.end(Ending::PowerCut, around.now_us, around.story);
        }
    }

    fn connect(&mut self, around: &mut Surroundings<'_>) {
        let client = self.client();
        let Some(running) = &mut self.running else {
            return;
        };
        let now_us = around.now_us;
        if !running.is_connected && running.connect_at_us <= now_us && around.network.is_up {
            let will = Message {
                topic: format!("tidegate/v1/{SITE}/gateway"),
                payload: running.will.clone(),
                retained: true,
            };
            let name = format!("tidegate-gw-{:016x}", running.id);
            let connected = around.network.connect(client, &name, will, now_us);
            running.is_connected = connected.is_some();
            running.suback_at_us = connected.map(|_| now_us + 1_000 + self.dice.below(500_000));
            if running.is_connected && is_on(Mutation::OnlineUnsubscribed) {
                self.handle(Event::Subscribed, around);
            }
        }
        let Some(running) = &mut self.running else {
            return;
        };
        if running.suback_at_us.is_some_and(|at_us| at_us <= now_us) {
            running.suback_at_us = None;
            let base = format!("tidegate/v1/{SITE}");
            let filters = ["+/up", "+/status", "gateway"].map(|end| format!("{base}/{end}"));
            around.network.subscribe(client, &filters, now_us);
            self.handle(Event::Subscribed, around);
        }
    }

    /// The connection to the broker is gone.
    pub fn lose_connection(&mut self, around: &mut Surroundings<'_>) {
        let wait_us = 500_000 + self.dice.below(10_000_000);
        let Some(running) = &mut self.running else {
            return;
        };
        if !running.is_connected {
            return;
        }
        running.is_connected = false;
        running.suback_at_us = None;
        running.connect_at_us = around.now_us + wait_us;
        self.handle(Event::Disconnected, around);
    }

    /// A message has come.
    pub fn receive(&mut self, message: &Message, around: &mut Surroundings<'_>) {
        let Some(running) = &mut self.running else {
            return;
        };
        let own = (running.id, running.start);
        let Message { topic, payload, .. } = message;
        let takes = !running.conductor.session().is_standby();
        let said = around.vault.hear(topic, payload, &mut running.heard, takes);
        let before = (running.refused(), running.answers);
        if let Some(plain) = said.plain.as_deref().filter(|_| !said.is_again) {
            self.witness.hear(topic, plain, own, around.now_us);
        }
        self.handle(
            Event::Received {
                topic: &message.topic,
                retained: message.retained,
                payload: &message.payload,
            },
            around,
        );
        self.check_heard(topic, &said, before, around);
    }

    /// What an honest device says is opened, taken once, and held against nobody.
    fn check_heard(
        &self,
        topic: &str,
        said: &Said,
        (refused, answers): ([u64; 3], u64),
        around: &mut Surroundings<'_>,
    ) {
        let place = place_of(topic).filter(|_| around.vault.ring().is_some());
        let (Some(running), Some((device, _))) = (&self.running, place) else {
            return;
        };
        let [forged, plain, key] = running.refused();
        let is_opened = [forged, plain] == refused[..2] && (key == refused[2] || said.is_retired);
        let story = &mut *around.story;
        story.check("an honest frame is opened", is_opened, || {
            format!("{device}: {refused:?} became {:?}", running.refused())
        });
        let is_once = !said.is_again || running.answers == answers;
        story.check("a sealed word is taken once", is_once, || {
            format!("{device} was answered again")
        });
        let standing = running.conductor.session().standing(&device);
        story.check(
            "an honest device is free",
            standing == Standing::Free,
            || format!("{device} is {standing:?}"),
        );
    }

    fn handle(&mut self, event: Event<'_>, around: &mut Surroundings<'_>) {
        let client = self.client();
        let Some(began_us) = self.running.as_ref().map(|running| running.began_us) else {
            return;
        };
        let now = self.timestamp(began_us, around.now_us);
        let word = self.word();
        let Some(running) = &mut self.running else {
            return;
        };
        let edition = around.vault.edition;
        if let Some(ring) = around.vault.ring().filter(|_| running.keys != edition) {
            running.conductor.set_keys(ring.clone());
            running.keys = edition;
        }
        let mut effects = Vec::new();
        let mut is_in_force = false;
        running.conductor.hear(word);
        running.conductor.handle(now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Commit(entries) => {
                    let at_us = around.now_us + 500 + self.dice.below(40_000);
                    running.request = Some((at_us, Request::Commit(entries)));
                }
                Effect::Settle => {
                    let at_us = around.now_us + 500 + self.dice.below(40_000);
                    running.request = Some((at_us, Request::Settle));
                }
                Effect::Publish {
                    topic,
                    retained,
                    payload,
                    ..
                } => {
                    running.answers += u64::from(matches!(topic, Topic::Down(_)));
                    note_published(&mut self.witness, &topic, &payload, client, around);
                    let site = &self.settings.site;
                    let message = Message {
                        topic: topic.text(site).to_string(),
                        payload,
                        retained,
                    };
                    around.network.publish(client, message, around.now_us);
                }
                Effect::KeyUsed { device, key_id } => {
                    around.vault.confirm(&device, key_id, around.story);
                }
                // Nobody claims in a simulation.
                Effect::Claimed { .. } => {}
                Effect::InForce => is_in_force = true,
                Effect::Tell(news) => {
                    let number = self.number;
                    let is_ruling = matches!(news, News::Ruled(_));
                    let story = &mut *around.story;
                    story.check("nobody honest is ruled on", !is_ruling, || {
                        format!("{news:?}")
                    });
                    around.story.tell(|| format!("gateway {number}: {news:?}"));
                }
            }
        }
        if is_in_force {
            self.hold(around);
        }
    }

    /// Another configuration was written: a gateway that runs is to read it.
    pub fn write_configuration(&mut self, text: String, around: &mut Surroundings<'_>) {
        self.file.write(text);
        self.read_configuration(around);
    }

    fn read_configuration(&mut self, around: &mut Surroundings<'_>) {
        let is_busy = |running: &Running| running.is_stopping;
        if self.running.as_ref().is_none_or(is_busy) {
            around.story.happen("reload: read by the next start");
            return;
        }
        if let Some(reconfiguration) = self.file.read(around.story) {
            self.handle(Event::Reconfigured(reconfiguration), around);
        }
    }

    /// The conductor says that what was read last holds.
    fn hold(&mut self, around: &mut Surroundings<'_>) {
        let is_wanted = self.file.hold(around.story);
        self.settings = self.file.in_force();
        if let Some(running) = &self.running {
            let same = *running.store.rules() == self.settings.rules;
            around
                .story
                .check("what is in force is what the log holds", same, || {
                    format!(
                        "{:#?}\nand {:#?}",
                        running.store.rules(),
                        self.settings.rules
                    )
                });
        }
        if is_wanted {
            self.read_configuration(around);
        }
    }

    /// The store carries out the request that is due.
    fn serve(&mut self, around: &mut Surroundings<'_>) {
        let Some(running) = &mut self.running else {
            return;
        };
        let now_us = around.now_us;
        let Some((_, request)) = running.request.take_if(|(at_us, _)| *at_us <= now_us) else {
            return;
        };
        if let Request::Commit(entries) = &request {
            self.witness.offer(entries, running.began_us);
        }
        let end = running.store.end();
        let now = self.timestamp(self.running.as_ref().map_or(0, |one| one.began_us), now_us);
        let Some(running) = &mut self.running else {
            return;
        };
        let mut reports: Vec<Report> = Vec::new();
        let records = serve(&mut running.store, &|| now, request, &mut |report| {
            reports.push(report);
        });
        if running.store.end() > end {
            self.witness.confirm(running.store.end(), around.story);
        }
        if records > 0 {
            for sink in &mut running.sinks {
                sink.wake();
            }
        }
        for report in reports {
            // After a cut nothing is said but what was said before it.
            if self.disk.is_cut() && !matches!(report, Report::Durable(_)) {
                return;
            }
            self.handle(Event::Report(report), around);
        }
    }

    fn deliver(&mut self, around: &mut Surroundings<'_>) {
        let Some(began_us) = self.running.as_ref().map(|running| running.began_us) else {
            return;
        };
        let now = self.timestamp(began_us, around.now_us);
        let Some(running) = &mut self.running else {
            return;
        };
        for sink in &mut running.sinks {
            if sink.next_us(began_us) > around.now_us {
                continue;
            }
            let upstream = around.upstreams.entry(sink.name.clone());
            sink.step(&mut Around {
                gateway: self.number,
                now,
                now_us: around.now_us,
                upstream: upstream.or_insert_with(Upstream::new),
                witness: &mut self.witness,
                story: around.story,
                dice: &mut self.dice,
            });
        }
    }

    fn check_limits(&mut self, story: &mut Story) {
        let Some(running) = &self.running else {
            return;
        };
        let (_, bytes) = running.conductor.pending();
        let most = PENDING_BYTES_MAX + (1 << 20);
        story.check("pending entries are bounded", bytes <= most, || {
            format!("{bytes} bytes")
        });
    }

    /// A clean stop that has nothing more to write says goodbye.
    fn finish(&mut self, around: &mut Surroundings<'_>) {
        let rests = |running: &Running| running.is_stopping && running.conductor.is_at_rest();
        if !self.running.as_ref().is_some_and(rests) {
            return;
        }
        let began_us = self.running.as_ref().map_or(0, |running| running.began_us);
        let now = self.timestamp(began_us, around.now_us);
        let (client, number) = (self.client(), self.number);
        if let Some(mut running) = self.running.take() {
            let mut effects = Vec::new();
            running.conductor.stop(now, &mut effects);
            for effect in effects {
                if let Effect::Publish { topic, payload, .. } = effect {
                    let message = Message {
                        topic: topic.text(&self.settings.site).to_string(),
                        payload,
                        retained: true,
                    };
                    around.network.publish(client, message, around.now_us);
                }
            }
            if let Err(error) = running.store.stop(now) {
                around
                    .story
                    .tell(|| format!("gateway {number} wrote no last base: {error}"));
            }
            around.network.say_goodbye(client);
            around.story.tell(|| format!("gateway {number} stopped"));
        }
        if self.disk.is_cut() {
            self.end(Ending::PowerCut, around.now_us, around.story);
        } else {
            self.witness
                .examine(&self.disk, &self.settings, false, around.story);
            self.start_at_us = around.now_us + 1_000_000 + self.dice.below(30_000_000);
        }
    }
}

impl Running {
    /// Frames that no honest device says: forged, plain, of a key that nobody has.
    fn refused(&self) -> [u64; 3] {
        let tallies = self.conductor.session().tallies();
        [Uncounted::Forged, Uncounted::Plain, Uncounted::Key].map(|reason| tallies.total(reason))
    }
}

/// What a gateway says is held against what is true.
fn note_published(
    witness: &mut Witness,
    topic: &Topic,
    payload: &[u8],
    client: Client,
    around: &mut Surroundings<'_>,
) {
    let plain = match topic {
        Topic::Down(device) => around.vault.open_down(device, payload),
        _ => Some(payload.to_vec()),
    };
    let Some(Ok(frame)) = plain.as_deref().map(frame::read) else {
        around
            .story
            .check("a gateway says frames", false, || format!("{topic:?}"));
        return;
    };
    match (topic, Down::read(frame.body)) {
        (Topic::Down(device), Ok(Down::Ack(ack))) => witness.ack(device, &ack, around.story),
        (Topic::Gateway, Ok(Down::Presence(presence))) if presence.online => {
            let hears = around.network.is_subscribed(client);
            let is_gone = !around.network.is_connected(client);
            around
                .story
                .check("online is said by who hears", hears || is_gone, || {
                    format!("{client:?} says online and is not subscribed")
                });
        }
        _ => {}
    }
}
