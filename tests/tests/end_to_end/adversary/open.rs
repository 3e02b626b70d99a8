//! Behind a Mosquitto that asks for no password: the adversary sees everything that is sent, and
//! publishes where it likes. What it does counts against nobody, since anybody may have done it.

use std::time::Duration;

use tidegate_shared::frame;
use tidegate_shared::ids::Incarnation;
use tidegate_shared::message::{self, Ack, Down, Refused, RefusedReason, Status, up};
use tidegate_shared::seal::{self, Opening};
use tidegate_tests::process::{Held, Process};
use tidegate_tests::simulation::progress;
use tidegate_tests::wall::{wait_for, wait_until};

use super::expected;
use super::field::{Field, HONEST, OFFENCES, memory_mb, topic};
use super::packets::{Client, Connect};
use super::table::{Table, Watch};
use crate::passage;
use crate::raw_device::RawDevice;
use crate::wire::{SITE, Wire};

const SOON: Duration = Duration::from_secs(20);
const MB_MAX: f64 = 64.0;
/// Garbage in an honest device's name.
const GARBAGE: usize = 500;
/// So many looks in a row find nothing else before devices count as still.
const STILL: usize = 3;
/// As what honest devices' resends are counted. They resend where an ack is late, which on a busy
/// machine may be at any moment.
const RESENT: [&str; 1] = ["duplicate"];

#[test]
fn on_an_open_broker_forgeries_are_counted_and_change_nothing() {
    let (alone, attacked) = (Field::open(), Field::open());
    let (mut quiet, mut gateway) = (alone.gateway(), attacked.gateway());
    let began_mb = memory_mb(&gateway, "VmRSS:");
    let wire = Wire::connect(attacked.port);
    let mut undisturbed = alone.simulate();
    let mut disturbed = attacked.simulate();

    let mut table =
        Table::new("A broker that lets everyone in, devices registered, one key stolen:");
    take_over(&attacked, &wire, &disturbed, &mut table);
    let mut watch = Watch::new(&attacked.rig, &[]);
    let held = hold(&disturbed, &wire, &mut watch);
    replay(&wire, &mut watch, &mut table);
    drop(held);
    watch.leave_out(&RESENT);
    forge(&attacked, &wire, &mut watch, &mut table);
    let answered = answer_in_its_place(&attacked, &wire);
    raise_suspicion(&attacked, &wire, &mut watch, &mut table);

    let expected = alone.outcome(&mut undisturbed);
    assert_eq!(attacked.outcome(&mut disturbed), expected);
    for attempt in answered {
        table.note(attempt, expected::IGNORED);
    }
    let counts = attacked.rig.ledger().to_string();
    assert!(!counts.contains("\"quarantined\":") && !counts.contains("\"throttled\":"));
    let most_mb = memory_mb(&gateway, "VmHWM:");
    assert!(
        most_mb < began_mb + MB_MAX,
        "{began_mb} MB became {most_mb} MB"
    );
    for process in [&mut quiet, &mut gateway] {
        assert!(process.stop(passage::STOP).success());
    }
    let audit = attacked
        .rig
        .command(&["audit", "show", "--config", "tidegate.toml", "--json"])
        .out;
    assert!(audit.contains("device-enrolled"), "{audit}");
    assert!(!audit.contains("device-quarantined"), "{audit}");
    table.check(&expected::OPEN);
}

/// What a device said so far: whole frames, without repeats, by whether they are sequenced.
fn recorded(wire: &Wire, device: &str, sequenced: bool) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for message in wire.messages(&format!("{device}/up")) {
        let envelope = seal::envelope(&message.payload, Opening::Up);
        let is_meant = envelope.is_ok_and(|said| said.header.is_sequenced() == sequenced);
        if is_meant && !frames.contains(&message.payload) {
            frames.push(message.payload);
        }
    }
    frames
}

/// Takes an honest device's place on the broker; it comes again and says Hello.
fn take_over(field: &Field, wire: &Wire, simulations: &[Process], table: &mut Table) {
    wait_for("the devices to speak", SOON, || {
        let has_spoken = |device: &&str| recorded(wire, device, true).len() > 2;
        HONEST.iter().all(has_spoken).then_some(())
    });
    let said = recorded(wire, HONEST[0], false).len();
    let connect = Connect {
        id: format!("tidegate-{SITE}-{}", HONEST[0]),
        ..Connect::default()
    };
    let taken = Client::connect(field.port, &connect);
    assert!(taken.is_ok(), "Mosquitto lets everyone in");
    wait_for("the device to come again", SOON, || {
        let line = progress(simulations.first()?)?;
        let connections = line["connections"].as_u64()?;
        (connections > 1 && recorded(wire, HONEST[0], false).len() > said).then_some(())
    });
    table.note(
        "take an honest device's client id",
        "it connects again, and loses nothing",
    );
}

/// Holds the honest devices, since what they send again themselves is counted as a replay is; and
/// waits until all that they said is counted, so that a word of ours is all that rises.
fn hold<'p>(devices: &'p [Process], wire: &Wire, watch: &mut Watch<'_>) -> Vec<Held<'p>> {
    let held = devices.iter().map(Process::hold).collect();
    let mut still = 0;
    wait_until("what the devices said to be counted", SOON, || {
        wire.publish(&format!("{}/up", HONEST[1]), vec![0x55; 64]);
        let risen = watch.risen_by(1, |reason| reason == "version");
        still = if risen.len() == 1 { still + 1 } else { 0 };
        still == STILL
    });
    held
}

/// What was recorded, again.
fn replay(wire: &Wire, watch: &mut Watch<'_>, table: &mut Table) {
    let up = format!("{}/up", HONEST[0]);
    let words = recorded(wire, HONEST[0], false);
    let frames = recorded(wire, HONEST[0], true);
    let (hello, batch) = (&words[0], &frames[1]);
    let mut say = |attempt, topic: &str, payloads: Vec<Vec<u8>>| {
        let count = payloads.len() as u64;
        for payload in payloads {
            wire.publish(topic, payload);
        }
        table.note(attempt, watch.told(count));
    };
    say("replay an honest device's Hello", &up, vec![hello.clone()]);
    say(
        "replay three of its frames, the last first",
        &up,
        frames[..3].iter().rev().cloned().collect(),
    );
    say(
        "its frame in another device's name",
        &format!("{}/up", HONEST[1]),
        vec![batch.clone()],
    );
    say("its frame with a byte changed", &up, vec![changed(batch)]);
    say(
        "its frame cut",
        &up,
        vec![batch[..batch.len() - 1].to_vec(), batch[..5].to_vec()],
    );
    let mut other = batch.clone();
    other[2] = 7;
    say("its frame under another key id", &up, vec![other]);
}

fn changed(frame: &[u8]) -> Vec<u8> {
    let mut changed = frame.to_vec();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    changed
}

/// Frames that it never said.
fn forge(field: &Field, wire: &Wire, watch: &mut Watch<'_>, table: &mut Table) {
    let mut thief = field.stolen();
    let plain = RawDevice::unconnected(HONEST[0], 7, 1_581_163_200);
    let up = topic(&format!("{}/up", HONEST[0]));
    let mut client = stranger(field, None);
    let mut say = |attempt, payloads: &[Vec<u8>]| {
        client
            .publish(&up, payloads)
            .expect("Mosquitto takes everything");
        table.note(attempt, watch.told(payloads.len() as u64));
    };
    say(
        "plain frames in its name",
        &[
            plain.hello(),
            plain.catalog(1),
            plain.batch(2, 0, 10, &[1, 2], &[]),
        ],
    );
    say(
        "frames in its name, sealed by the stolen key",
        &[thief.hello(), thief.seal(&plain.catalog(1))],
    );
    drop(client);

    // A will is published when its client vanishes without a word.
    let offline = plain.frame(0, |writer| {
        message::write(writer, up::STATUS, &Status { online: false })
    });
    let status = topic(&format!("{}/status", HONEST[0]));
    let willed = stranger(field, Some((status, offline)));
    drop(willed);
    table.note("a will in its name", watch.told(1));
    let garbage = vec![vec![0x55; 64]; GARBAGE];
    for payload in garbage {
        wire.publish(&format!("{}/up", HONEST[1]), payload);
    }
    table.note("500 times garbage in its name", watch.told(GARBAGE as u64));
}

fn stranger(field: &Field, will: Option<(String, Vec<u8>)>) -> Client {
    let connect = Connect {
        id: "adversary".into(),
        login: None,
        will,
    };
    let connected = Client::connect(field.port, &connect);
    connected.unwrap_or_else(|code| panic!("Mosquitto lets everyone in: {code:?}"))
}

/// What the gateway would have to say: acks of what it never had, refusals that would cost the
/// device its identity, and its own words again.
fn answer_in_its_place(field: &Field, wire: &Wire) -> Vec<&'static str> {
    let device = HONEST[0];
    let down = format!("{device}/down");
    let newest = recorded(wire, device, true).pop().expect("it spoke");
    let said = seal::envelope(&newest, Opening::Up).expect("it is sealed");
    let (incarnation, mark) = (said.header.incarnation, said.header.mark);
    let ack = Ack {
        incarnation,
        boot: mark.boot,
        through: u32::MAX,
        window: 64,
        ..Ack::default()
    };
    let refused = Refused {
        incarnation,
        boot: mark.boot,
        sequence: mark.sequence,
        reason: RefusedReason::Conflict,
        ..Refused::default()
    };
    let thief = field.stolen();
    let words = [Down::Ack(ack), Down::Refused(refused)];
    for word in &words {
        let plain = spoken(incarnation, word);
        wire.publish(&down, thief.seal_down(said.header.mark.boot, &plain));
        wire.publish(&down, plain);
    }
    let recorded = wire.messages(&down);
    for message in recorded.iter().take(5) {
        wire.publish(&down, message.payload.clone());
        wire.publish(&down, changed(&message.payload));
    }
    vec![
        "a plain ack of everything, to an honest device",
        "the same, sealed by the stolen key",
        "a plain refusal that would cost it its identity",
        "the same, sealed by the stolen key",
        "what the gateway said to it, again",
        "what the gateway said to it, with a byte changed",
    ]
}

fn spoken(incarnation: Incarnation, word: &Down<'_>) -> Vec<u8> {
    let header = frame::Header {
        incarnation,
        ..frame::Header::default()
    };
    let mut room = [0; 256];
    let (bytes, _) =
        frame::write(&header, &mut room, |writer| word.write(writer)).expect("it fits");
    bytes.to_vec()
}

/// As much as would put a device in quarantine, if it were known who speaks.
fn raise_suspicion(field: &Field, wire: &Wire, watch: &mut Watch<'_>, table: &mut Table) {
    let frame = recorded(wire, HONEST[0], true).swap_remove(0);
    for _ in 0..OFFENCES {
        wire.publish(&format!("{}/up", HONEST[0]), changed(&frame));
    }
    table.note("60 forged frames in its name", watch.told(OFFENCES as u64));
    let told = field.told(HONEST[0], "conduct.suspicion", "opened");
    assert!(told.values["forged"] > 1.0, "{told:?}");
    table.note(
        "  … and what is done about it",
        "suspicion is told, nobody is in quarantine",
    );
}
