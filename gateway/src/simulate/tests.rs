//! Simulated devices over the embedded broker, against a gateway of a few lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_shared::batch::{BatchReader, Scratch};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{Check, DeviceName, Incarnation, SiteName, Term};
use tidegate_shared::message::{
    Ack, Down, EventCode, Presence, Progress, Refused, RefusedReason, Up, Welcome,
};
use tidegate_shared::seal::{self, Key, Opening, SEALED_BYTES_MAX, Way};
use tidegate_shared::topic::Topic;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

mod claims;

use super::*;
use tidegate_firmware::settings::DeviceKey;
use tidegate_shared::claim::{self, Code};

use crate::mqtt::access::Doorkeeper;
use crate::mqtt::embedded::{self, EmbeddedBroker};
use crate::mqtt::{Broker, Link, LinkEvent, LinkHandle, Will, connect};
use crate::rules::settings::{ServeTls, TlsSettings};
use crate::sinks::tls::authority::{Authority, Flaw};
use crate::time::SystemClock;

type Pair = (String, Incarnation, u32);

/// Frames by device, incarnation and boot, in order of sequence.
type Log = Arc<Mutex<BTreeMap<Pair, Vec<Vec<u8>>>>>;

/// A gateway that logs to memory and acks at once.
struct Gateway {
    link: LinkHandle,
    events: mpsc::Receiver<LinkEvent>,
    site: SiteName,
    term: Term,
    log: Log,
    /// Frames still to be swallowed without an answer.
    deaf: u32,
    /// Refuse this device's first incarnation as known with other content.
    conflict: bool,
    /// Take sealed frames alone, and answer so.
    sealing: Option<Sealing>,
    /// Grant this key to the first device that claims by this code, and take it sealed from then on.
    granting: Option<(Code, DeviceKey)>,
}

/// What a gateway knows of a device with a key.
struct Sealing {
    key: DeviceKey,
    /// Who said the last Hello, with its counter.
    hello: (Incarnation, u32, u32),
    counter: u32,
}

impl Sealing {
    fn open(&mut self, sealed: &[u8]) -> Vec<u8> {
        let mut out = vec![0; SEALED_BYTES_MAX];
        let key = Key::new(self.key.bytes);
        let opened = seal::open(&key, Opening::Up, sealed, &mut out).expect("its key");
        let Header {
            incarnation, mark, ..
        } = opened.frame.header;
        if let Ok(Up::Hello(_)) = Up::read(opened.frame.body) {
            self.hello = (incarnation, mark.boot, opened.counter);
        }
        opened.plain.to_vec()
    }

    fn seal(&mut self, term: Term, message: &Down<'_>) -> Vec<u8> {
        let (incarnation, boot, hello) = self.hello;
        let header = Header {
            incarnation,
            ..Header::default()
        };
        let mut plain = [0; 128];
        let written = frame::write(&header, &mut plain, |writer| message.write(writer));
        self.counter += 1;
        let way = Way::Down {
            boot,
            term,
            hello,
            counter: self.counter,
        };
        let (key, mut out) = (Key::new(self.key.bytes), vec![0; 256]);
        let used = seal::seal(&key, self.key.id, way, written.unwrap().0, &mut out).unwrap();
        out.truncate(used);
        out
    }
}

impl Gateway {
    fn start(broker: &EmbeddedBroker, term: u32, log: &Log) -> Self {
        Self::start_at(&Broker::at(broker.local_addr()), term, log)
    }

    fn start_at(broker: &Broker, term: u32, log: &Log) -> Self {
        let site = SiteName::try_from("house").unwrap();
        let term = Term(term);
        let presence = presence(term, false);
        let will = Will {
            topic: Topic::Gateway.text(&site).to_string(),
            payload: presence,
            retained: true,
        };
        let client = format!("tidegate-gw-{}", term.0);
        let (link, events) = connect(broker, &site, &client, will);
        Self {
            link,
            events,
            site,
            term,
            log: Arc::clone(log),
            deaf: 0,
            conflict: false,
            sealing: None,
            granting: None,
        }
    }

    async fn serve(mut self) {
        while let Some(event) = self.events.recv().await {
            match event {
                LinkEvent::Subscribed => {
                    let topic = Topic::Gateway.text(&self.site).to_string();
                    self.link
                        .publish(&topic, presence(self.term, true), true, None);
                }
                LinkEvent::Message { topic, payload, .. } => {
                    if let Ok(Topic::Up(device)) = Topic::parse(&self.site, &topic) {
                        self.take(&device, &payload);
                    }
                }
                LinkEvent::Disconnected { .. } => {}
            }
        }
    }

    fn take(&mut self, device: &DeviceName, payload: &[u8]) {
        if self.deaf > 0 {
            self.deaf -= 1;
            return;
        }
        if claim::is_claim(payload) {
            // Said again before the grant came, it is answered already.
            if let Some((code, key)) = self.granting.take() {
                self.grant(device, &code, key, payload);
            }
            return;
        }
        let opened = self.sealing.as_mut().map(|sealing| sealing.open(payload));
        let payload = opened.as_deref().unwrap_or(payload);
        let read = frame::read(payload).expect("devices send frames");
        let Header {
            incarnation, mark, ..
        } = read.header;
        let pair = (device.to_string(), incarnation, mark.boot);
        if mark.sequence == 0 {
            match Up::read(read.body).unwrap() {
                Up::Hello(hello) => {
                    self.skip_to(&pair, &hello.progress);
                    let (term, window) = (self.term, 7);
                    let welcome = Welcome {
                        protocol_min: 1,
                        protocol_max: 1,
                        term,
                        frame_bytes_max: 8_192,
                        window,
                    };
                    self.say(device, &Down::Welcome(welcome));
                    self.ack(device, &pair);
                }
                Up::Progress(progress) => self.skip_to(&pair, &progress),
                other => panic!("{other:?} is not unsequenced"),
            }
            return;
        }
        if self.conflict {
            self.conflict = false;
            let refused = Refused {
                incarnation,
                boot: mark.boot,
                sequence: mark.sequence,
                check: read.check,
                reason: RefusedReason::Conflict,
                retry_after_ms: 0,
                term: self.term,
            };
            self.say(device, &Down::Refused(refused));
            return;
        }
        {
            let mut log = self.log.lock().unwrap();
            let frames = log.entry(pair.clone()).or_default();
            let at = mark.sequence as usize - 1;
            match frames.get(at) {
                Some(known) => assert_eq!(known, payload, "a resend is byte-identical"),
                None if frames.len() == at => frames.push(payload.to_vec()),
                None => return,
            }
        }
        self.ack(device, &pair);
    }

    fn skip_to(&self, pair: &Pair, progress: &Progress) {
        let mut log = self.log.lock().unwrap();
        let frames = log.entry(pair.clone()).or_default();
        while frames.len() + 1 < progress.floor.sequence as usize {
            frames.push(Vec::new());
        }
    }

    fn ack(&mut self, device: &DeviceName, pair: &Pair) {
        let log = self.log.lock().unwrap();
        let frames = &log[pair];
        let newest = frames.last().and_then(|bytes| frame::read(bytes).ok());
        let ack = Ack {
            incarnation: pair.1,
            boot: pair.2,
            through: frames.len() as u32,
            check: newest.map_or(Check(0), |frame| frame.check),
            window: 7,
            term: self.term,
            ..Ack::default()
        };
        drop(log);
        self.say(device, &Down::Ack(ack));
    }

    fn say(&mut self, device: &DeviceName, message: &Down<'_>) {
        let topic = Topic::Down(device.clone()).text(&self.site).to_string();
        let payload = match &mut self.sealing {
            Some(sealing) => sealing.seal(self.term, message),
            None => framed(message),
        };
        self.link.publish(&topic, payload, false, Some(30));
    }
}

fn framed(message: &Down<'_>) -> Vec<u8> {
    let mut out = [0; 128];
    let (bytes, _) =
        frame::write(&Header::default(), &mut out, |writer| message.write(writer)).unwrap();
    bytes.to_vec()
}

fn presence(term: Term, online: bool) -> Vec<u8> {
    framed(&Down::Presence(Presence {
        gateway: 1,
        term,
        start: term.0,
        online,
    }))
}

async fn broker() -> EmbeddedBroker {
    broker_with(None).await
}

async fn broker_with(tls: Option<&ServeTls>) -> EmbeddedBroker {
    let site = SiteName::try_from("house").unwrap();
    let (doorkeeper, _) = Doorkeeper::new(site, "tidegate-gw-0".into()).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    embedded::start(listen, tls, doorkeeper, Arc::new(SystemClock::new()))
        .await
        .unwrap()
}

fn args(broker: &EmbeddedBroker) -> SimulateArgs {
    let address = broker.local_addr();
    let address = BrokerAddress {
        host: address.ip().to_string(),
        port: address.port(),
        is_secure: false,
    };
    SimulateArgs {
        speed: Speed::Max,
        ..SimulateArgs::plant("pump", "house", address)
    }
}

async fn simulated(args: &SimulateArgs) -> Result<Summary, SimulateError> {
    let running = run_until(args, std::future::pending(), |_| ());
    tokio::time::timeout(Duration::from_mins(1), running)
        .await
        .expect("it ends in time")
}

/// Every sample of a device, by sensor: times and raw values. Its last frame must be `Ended`.
fn samples(frames: &[Vec<u8>]) -> BTreeMap<u16, Vec<(u64, i64)>> {
    let mut samples: BTreeMap<u16, Vec<(u64, i64)>> = BTreeMap::new();
    let mut last = None;
    for bytes in frames {
        let body = frame::read(bytes).unwrap().body;
        match Up::read(body).unwrap() {
            Up::Batch(body) => {
                let mut reader = BatchReader::new(body).unwrap();
                let mut scratch = Scratch::default();
                while let Some(block) = reader.next_block(&mut scratch).unwrap() {
                    let values = block
                        .uptimes_us
                        .iter()
                        .copied()
                        .zip(block.raws.iter().copied());
                    samples.entry(block.sensor).or_default().extend(values);
                }
            }
            Up::Event(event) => last = Some(event.code),
            _ => last = None,
        }
    }
    assert_eq!(last, Some(EventCode::Ended));
    samples
}

#[tokio::test]
async fn a_device_reaches_a_broker_over_tls_that_it_trusts() {
    let authority = Authority::new("house");
    let own = authority.issue("127.0.0.1", Flaw::None);
    let tls = ServeTls {
        cert: authority.write("cert.pem", &own.cert),
        key: authority.write("key.pem", &own.key),
        client_ca: None,
    };
    let (broker, log) = (broker_with(Some(&tls)).await, Log::default());
    let trusting = Broker {
        tls: Some(TlsSettings {
            ca: Some(authority.file()),
            ..TlsSettings::default()
        }),
        ..Broker::at(broker.local_addr())
    };
    let gateway = tokio::spawn(Gateway::start_at(&trusting, 1, &log).serve());
    let mut args = SimulateArgs {
        duration: 60,
        ca_file: Some(authority.file()),
        ..args(&broker)
    };
    args.broker.is_secure = true;
    let summary = simulated(&args).await.unwrap();
    assert!(summary.done && summary.figures.acked > 0);
    args.ca_file = Some(Path::new("/nowhere/ca.pem").into());
    let why = simulated(&args).await.unwrap_err().to_string();
    assert!(why.contains("--ca-file = /nowhere/ca.pem"), "{why}");
    gateway.abort();
}

#[tokio::test]
async fn a_trace_arrives_as_it_was_written() {
    let (broker, log) = (broker().await, Log::default());
    let gateway = tokio::spawn(Gateway::start(&broker, 1, &log).serve());
    let mut text = "time;a;b\n".to_owned();
    for row in 0..700 {
        let b = if row % 100 == 7 {
            String::new()
        } else {
            format!("0.{:02}", row % 90)
        };
        writeln!(text, "{};{};{b}", 1_577_836_800 + 2 * row, row * 3).unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let args = SimulateArgs {
        trace: Some(file.path().to_owned()),
        ..args(&broker)
    };
    let summary = simulated(&args).await.unwrap();
    gateway.abort();
    assert!(summary.done);
    let figures = summary.figures;
    assert_eq!(
        (figures.rows, figures.samples_taken, figures.samples_failed),
        (700, 1_400, 7)
    );
    assert_eq!((figures.samples_evicted, figures.depth), (0, 0));
    let log = log.lock().unwrap();
    assert_eq!(log.len(), 1);
    let frames = log.values().next().unwrap();
    assert_eq!(figures.acked, frames.len() as u64);
    let samples = samples(frames);
    assert_eq!(samples[&0].len(), 700);
    for (row, (uptime_us, raw)) in samples[&0].iter().enumerate() {
        assert_eq!(
            (*uptime_us, *raw),
            (1_000_000 + 2_000_000 * row as u64, row as i64 * 3)
        );
    }
    assert_eq!(samples[&1].len(), 693);
    assert_eq!(samples[&1][7], (1_000_000 + 2_000_000 * 8, 8));
}

#[tokio::test]
async fn many_devices_share_a_process_and_keep_their_state() {
    let (broker, log) = (broker().await, Log::default());
    let gateway = tokio::spawn(Gateway::start(&broker, 1, &log).serve());
    let dir = tempfile::tempdir().unwrap();
    let state = Some(dir.path().join("state.json"));
    let args = SimulateArgs {
        devices: 20,
        duration: 200,
        state,
        ..args(&broker)
    };
    for boot in 1..=2 {
        let summary = simulated(&args).await.unwrap();
        assert_eq!((summary.devices, summary.done), (20, true));
        assert_eq!(summary.figures.samples_taken, 20 * 200 * 4);
        assert_eq!(log.lock().unwrap().len(), 20 * boot);
    }
    gateway.abort();
    let log = log.lock().unwrap();
    let mut pairs: Vec<_> = log
        .keys()
        .map(|(device, incarnation, _)| (device, incarnation))
        .collect();
    pairs.dedup();
    assert_eq!(
        pairs.len(),
        20,
        "a device keeps its incarnation over its boots"
    );
}

#[tokio::test]
async fn a_gateway_that_comes_back_gets_what_the_other_never_acked() {
    let (broker, log) = (broker().await, Log::default());
    let mut first = Gateway::start(&broker, 1, &log);
    // It welcomes, then hears nothing more and dies.
    first.deaf = 0;
    let address = args(&broker);
    let args = SimulateArgs {
        duration: 2_000,
        ..address
    };
    let first = tokio::spawn(async move {
        let _ = tokio::time::timeout(Duration::from_millis(300), first.serve()).await;
    });
    let simulation = simulated(&args);
    let second = async {
        first.await.unwrap();
        let mut second = Gateway::start(&broker, 2, &log);
        second.deaf = 3;
        second.serve().await;
    };
    tokio::select! {
        summary = simulation => assert!(summary.unwrap().done),
        () = second => panic!("the gateway serves for ever"),
    }
    let log = log.lock().unwrap();
    let samples = samples(log.values().next().unwrap());
    assert!((0..4).all(|sensor| samples[&sensor].len() == 2_000));
}

#[tokio::test]
async fn a_conflict_makes_a_new_incarnation() {
    let (broker, log) = (broker().await, Log::default());
    let mut gateway = Gateway::start(&broker, 1, &log);
    gateway.conflict = true;
    let gateway = tokio::spawn(gateway.serve());
    let args = SimulateArgs {
        duration: 300,
        ..args(&broker)
    };
    let summary = simulated(&args).await.unwrap();
    gateway.abort();
    assert!(summary.done);
    assert_eq!(summary.figures.renamed, 1);
    let log = log.lock().unwrap();
    let whole: Vec<_> = log.values().filter(|frames| !frames.is_empty()).collect();
    assert_eq!(whole.len(), 1, "all under the new incarnation");
    assert!(samples(whole[0]).values().all(|values| values.len() == 300));
}

#[tokio::test]
async fn asked_to_stop_it_delivers_what_was_taken() {
    let (broker, log) = (broker().await, Log::default());
    let gateway = tokio::spawn(Gateway::start(&broker, 1, &log).serve());
    let args = SimulateArgs {
        speed: Speed::Times(100.0),
        ..args(&broker)
    };
    let begun = tokio::sync::Notify::new();
    let watch = |summary: &Summary| {
        if summary.figures.samples_taken >= 4 {
            begun.notify_one();
        }
    };
    let summary = run_until(&args, begun.notified(), watch).await.unwrap();
    gateway.abort();
    assert!(summary.done);
    let taken = summary.figures.samples_taken;
    assert!((4..4 * 3_600).contains(&taken), "{taken}");
    let log = log.lock().unwrap();
    let delivered: usize = samples(log.values().next().unwrap())
        .values()
        .map(Vec::len)
        .sum();
    assert_eq!(delivered as u64, taken);
}

#[tokio::test]
async fn the_real_trace_costs_about_a_byte_a_sample() {
    let Some(data) = std::env::var_os("TIDEGATE_DATA") else {
        println!("left out: TIDEGATE_DATA is not set");
        return;
    };
    let (broker, log) = (broker().await, Log::default());
    let gateway = tokio::spawn(Gateway::start(&broker, 1, &log).serve());
    let resolution = [
        "Accelerometer1RMS=1e-4",
        "Accelerometer2RMS=1e-4",
        "Current=1e-3",
        "Pressure=1e-3",
        "Temperature=1e-2",
        "Thermocouple=1e-2",
        "Voltage=1e-1",
        "Volume Flow RateRMS=1e-2",
    ];
    let args = SimulateArgs {
        trace: Some(Path::new(&data).join("skab/anomaly-free.csv")),
        resolution: resolution.map(|one| one.parse().unwrap()).to_vec(),
        ..args(&broker)
    };
    let summary = simulated(&args).await.unwrap();
    gateway.abort();
    println!("{}", summary.told());
    assert_eq!(summary.figures.samples_taken, 8 * 9_405);
    let bytes = summary.bytes_per_sample.unwrap();
    assert!(bytes <= 1.05, "{bytes} bytes per sample");
}

/// A key, and a file of its digits.
fn keyed() -> (DeviceKey, tempfile::NamedTempFile) {
    let key = DeviceKey {
        id: 9,
        bytes: [0x5a; 32],
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "5a".repeat(32)).unwrap();
    (key, file)
}

#[tokio::test]
async fn a_device_with_a_key_delivers_all_of_it_sealed() {
    let (broker, log) = (broker().await, Log::default());
    let (key, file) = keyed();
    let mut gateway = Gateway::start(&broker, 1, &log);
    gateway.sealing = Some(Sealing {
        key,
        hello: (Incarnation(0), 0, 0),
        counter: 0x7fff_fff0,
    });
    let gateway = tokio::spawn(gateway.serve());
    let args = SimulateArgs {
        key_file: Some(file.path().to_owned()),
        key_id: Some(9),
        duration: 600,
        ..args(&broker)
    };
    let summary = simulated(&args).await.unwrap();
    assert_eq!(summary.figures.depth, 0);
    let frames: Vec<_> = log.lock().unwrap().values().flatten().cloned().collect();
    let samples = samples(&frames);
    assert!(!samples.is_empty() && samples.values().all(|sensor| sensor.len() == 600));
    gateway.abort();
}

#[tokio::test]
async fn a_device_with_a_key_says_name_and_password_to_the_broker() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (key, file) = keyed();
    let address = BrokerAddress {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        is_secure: false,
    };
    let args = SimulateArgs {
        key_file: Some(file.path().to_owned()),
        key_id: Some(9),
        ..SimulateArgs::plant("pump", "house", address)
    };
    let connect = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (kind, length) = (
            stream.read_u8().await.unwrap(),
            stream.read_u8().await.unwrap(),
        );
        assert_eq!(kind, 0x10, "CONNECT");
        // A second byte of the length, if there is one: 7 bits each.
        let length = match length {
            short @ ..0x80 => usize::from(short),
            low => usize::from(low & 0x7f) | usize::from(stream.read_u8().await.unwrap()) << 7,
        };
        let mut packet = vec![0; length];
        stream.read_exact(&mut packet).await.unwrap();
        packet
    };
    let packet = tokio::select! {
        packet = tokio::time::timeout(Duration::from_mins(1), connect) => packet.unwrap(),
        ended = run_until(&args, std::future::pending(), |_| ()) => panic!("{ended:?}"),
    };
    assert_eq!(packet[7] & 0xc0, 0xc0, "user name and password");
    let mut login = b"\x00\x04pump\x00\x20".to_vec();
    login.extend(key.password().as_bytes());
    let rest = packet
        .strip_suffix(&login[..])
        .expect("the login stands last");
    let will = (0..rest.len())
        .map(|at| rest.split_at(at))
        .find_map(|(_, end)| {
            let (length, will) = end.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)) == will.len()).then_some(will)
        });
    let mut plain = [0; 64];
    let key = Key::new(key.bytes);
    let will = seal::open(&key, Opening::Up, will.expect("a will"), &mut plain).unwrap();
    let said = Up::read(will.frame.body).unwrap();
    assert!(matches!(said, Up::Status(status) if !status.online));
    assert_eq!(will.counter, 1, "the online that follows is counted 2");
}
