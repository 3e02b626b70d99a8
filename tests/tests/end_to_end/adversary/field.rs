//! The field: a gateway with three registered devices, of which one was stolen, and the honest
//! ones' day.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use tidegate_firmware::settings::{DeviceKey, Settings};
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::ids::Term;
use tidegate_shared::message::Down;
use tidegate_shared::seal::{self, Key, Opening, SEALED_BYTES_MAX, Way};
use tidegate_tests::ports;
use tidegate_tests::process::Process;
use tidegate_tests::records::{self, Record};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::{Simulation, progress};
use tidegate_tests::wall::{wait_for, wait_until};

use super::packets::{Client, Connect};
use crate::bad_input::{TRACE_S, write_trace};
use crate::passage;
use crate::raw_device::RawDevice;
use crate::wire::SITE;

/// The devices that nobody stole.
pub const HONEST: [&str; 2] = ["pump-1", "pump-2"];
/// The one that somebody did.
pub const STOLEN: &str = "stolen";
/// So many offences are one too many.
pub const OFFENCES: usize = 60;

const SOON: Duration = Duration::from_mins(1);
/// The trace of ten minutes takes 10 s.
const SPEED: &str = "60";

/// A rig with a registry.
pub struct Field {
    pub rig: Rig,
    /// Where devices connect.
    pub port: u16,
}

impl Field {
    /// Behind the broker inside the gateway.
    pub fn closed() -> Self {
        let port = ports::free();
        let inside = format!("embedded = {{ listen = \"127.0.0.1:{port}\" }}");
        let broker = "url = \"mqtt://127.0.0.1:21883\"";
        assert!(CONFIGURATION.contains(broker));
        Self::new(&CONFIGURATION.replace(broker, &inside), Some(port))
    }

    /// Behind a Mosquitto that asks for no password.
    pub fn open() -> Self {
        Self::new(CONFIGURATION, None)
    }

    fn new(configuration: &str, port: Option<u16>) -> Self {
        let security = format!(
            "[security]\nkey = {{ file = \"key\" }}\n\
             quarantine = {{ offences = {OFFENCES}, within = \"10m\", hold = \"1h\" }}\n"
        );
        let rig = Rig::free(&format!("{configuration}{security}"));
        let key = rig.path().join("key");
        fs::write(&key, "5a".repeat(32)).expect("the folder takes a file");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
        let port = port.unwrap_or(rig.broker.port);
        let field = Self { rig, port };
        for name in [HONEST[0], HONEST[1], STOLEN] {
            let (broker, page) = (format!("127.0.0.1:{port}"), format!("{name}.page"));
            let add = ["add", name, "--broker", &broker, "--out", &page, "--no-qr"];
            field.device(&add);
        }
        field
    }

    /// Runs `tidegate device`.
    pub fn device(&self, arguments: &[&str]) {
        let all = [&["device"], arguments, &["--config", "tidegate.toml"]].concat();
        let done = self.rig.command(&all);
        assert!(done.status.success(), "{all:?}: {}{}", done.out, done.err);
    }

    /// The gateway, once it is reached.
    pub fn gateway(&self) -> Process {
        let gateway = self.rig.gateway(&[]);
        wait_until("the broker to answer", SOON, || ports::answers(self.port));
        wait_until("the gateway to answer", SOON, || {
            let status = ["status", "--config", "tidegate.toml"];
            self.rig.command(&status).out.contains(SITE)
        });
        gateway
    }

    /// The honest devices, each with the same trace.
    pub fn simulate(&self) -> Vec<Process> {
        let trace = write_trace(self.rig.path());
        let start = |name: &&str| {
            let mut simulation = Simulation::new(&trace, name, self.port);
            SPEED.clone_into(&mut simulation.speed);
            let page = format!("{name}.page");
            simulation.more = vec!["--key-file".into(), page];
            simulation.start(self.rig.path())
        };
        HONEST.iter().map(start).collect()
    }

    /// What the honest devices' day came to, when it is over.
    pub fn outcome(&self, simulations: &mut [Process]) -> Outcome {
        for simulation in &mut *simulations {
            passage::wait_simulated(simulation, SOON);
        }
        let windows = HONEST.len() * 2 * TRACE_S as usize / 60;
        wait_until("the honest devices' records", SOON, || {
            self.records().len() >= windows
        });
        let ledger = wait_for("the books to balance", SOON, || {
            let ledger = self.rig.ledger();
            let waiting = &ledger["balances"]["total"]["sinks"]["waiting"];
            (ledger["balances"]["balanced"] == true && *waiting == 0).then_some(ledger)
        });
        let sensors = |name: &&str| {
            let sensors = ledger["devices"][name]["sensors"].clone();
            assert!(sensors.is_object(), "{name} sent nothing: {ledger:#}");
            ((*name).to_owned(), sensors)
        };
        Outcome {
            records: self.records(),
            sensors: HONEST.iter().map(sensors).collect(),
            renamed: figure(simulations, "renamed"),
            evicted: figure(simulations, "samples_evicted"),
        }
    }

    fn records(&self) -> Vec<Record> {
        let received = records::read(&self.rig.receiver.requests());
        let of_rule = received.iter().filter(|one| one.record.rule == "minute");
        let mut records: Vec<Record> = of_rule.map(|one| one.record.content()).collect();
        records.retain(|record| HONEST.contains(&record.device.as_str()));
        records.sort_by_key(|record| (record.window(), record.revision));
        records
    }

    /// Waits for the record that tells of a device's conduct.
    pub fn told(&self, device: &str, sensor: &str, state: &str) -> Record {
        wait_for("a record of the device's conduct", SOON, || {
            let received = records::read(&self.rig.receiver.requests());
            let found = received.into_iter().find(|one| {
                let record = &one.record;
                let line: Value = serde_json::from_str(&one.line).unwrap_or_default();
                (
                    record.rule.as_str(),
                    record.device.as_str(),
                    record.sensor.as_str(),
                ) == ("tidegate.conduct", device, sensor)
                    && line["cause"] == "conduct"
                    && line["alert"] == state
            });
            found.map(|one| one.record)
        })
    }

    /// The key that was stolen with the device.
    pub fn stolen(&self) -> Thief {
        let page = fs::read(self.rig.path().join("stolen.page")).expect("the page was written");
        let page = Settings::read(&page).expect("a page").expect("of settings");
        Thief {
            key: page.key.expect("with a key"),
            device: RawDevice::unconnected(STOLEN, 0x57_01e2, 1_581_163_200),
            counter: 0,
        }
    }
}

/// What a day came to.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    records: Vec<Record>,
    /// What the ledger says of each device's sensors.
    sensors: BTreeMap<String, Value>,
    /// Incarnations that a refusal made them draw.
    renamed: u64,
    evicted: u64,
}

fn figure(simulations: &[Process], name: &str) -> u64 {
    let of = |process| progress(process).and_then(|line: Value| line[name].as_u64());
    let figures = simulations.iter().map(of);
    figures
        .map(|figure| figure.expect("a simulation ends with its figures"))
        .sum()
}

/// Who has the stolen key, and can say everything that its device could.
pub struct Thief {
    pub key: DeviceKey,
    pub device: RawDevice<'static>,
    counter: u32,
}

impl Thief {
    /// The device's own connection.
    pub fn connect(&self) -> Connect {
        Connect {
            id: format!("tidegate-{SITE}-{STOLEN}"),
            login: Some((STOLEN.into(), self.key.password().as_str().into())),
            will: None,
        }
    }

    /// Connects as the device.
    pub fn connected(&self, port: u16) -> Client {
        let connected = Client::connect(port, &self.connect());
        connected.unwrap_or_else(|code| panic!("its key lets it in: {code:?}"))
    }

    /// Seals what is sequenced.
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        self.seal_as(self.key.id, 0, plain)
    }

    /// Seals what is not, under the next number.
    pub fn count(&mut self, plain: &[u8]) -> Vec<u8> {
        self.counter += 1;
        self.seal_as(self.key.id, self.counter, plain)
    }

    /// Seals under any key id and number.
    pub fn seal_as(&self, key_id: u8, counter: u32, plain: &[u8]) -> Vec<u8> {
        self.sealed(key_id, Way::Up { counter }, plain)
    }

    fn sealed(&self, key_id: u8, way: Way, plain: &[u8]) -> Vec<u8> {
        let mut sealed = [0; SEALED_BYTES_MAX];
        let key = Key::new(self.key.bytes);
        let used = seal::seal(&key, key_id, way, plain, &mut sealed);
        sealed[..used.expect("a frame that can be sealed")].to_vec()
    }

    /// Seals what the gateway would say.
    pub fn seal_down(&self, boot: u32, plain: &[u8]) -> Vec<u8> {
        let way = Way::Down {
            boot,
            term: Term(1),
            hello: 1,
            counter: u32::MAX,
        };
        self.sealed(self.key.id, way, plain)
    }

    /// A further Hello.
    pub fn hello(&mut self) -> Vec<u8> {
        let hello = self.device.hello();
        self.count(&hello)
    }

    /// An unsequenced frame under the next number.
    pub fn word(&mut self, body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>) -> Vec<u8> {
        let plain = self.device.frame(0, body);
        self.count(&plain)
    }

    /// Waits for the gateway to say something that `pick` takes.
    pub fn hear(&self, client: &mut Client, pick: impl Fn(&Down<'_>) -> bool) -> bool {
        let key = Key::new(self.key.bytes);
        while let Ok(payload) = client.hear() {
            let mut room = [0; SEALED_BYTES_MAX];
            let opened = seal::open(&key, Opening::Down { boot: 1 }, &payload, &mut room);
            if opened
                .is_ok_and(|opened| Down::read(opened.frame.body).is_ok_and(|down| pick(&down)))
            {
                return true;
            }
        }
        false
    }
}

/// A topic of the site.
pub fn topic(rest: &str) -> String {
    format!("tidegate/v1/{SITE}/{rest}")
}

/// A line of the kernel's about a process' memory, in MB (10^6 bytes).
pub fn memory_mb(process: &Process, name: &str) -> f64 {
    let path = format!("/proc/{}/status", process.id());
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_else(|| panic!("{path} has no {name}")) * 1_024.0 / 1e6
}
