//! With the broker inside, which lets registered devices in alone: the adversary has the key of
//! one, and its place on the broker.

use std::thread::{self, JoinHandle};

use tidegate_shared::message::{self, Ack, Down, Progress, up};
use tidegate_tests::connection::Connection;
use tidegate_tests::process::Process;
use tidegate_tests::report::figure;

use super::expected;
use super::field::{Field, HONEST, OFFENCES, STOLEN, Thief, memory_mb, topic};
use super::packets::{Client, Connect, packet, publish, subscribe};
use super::table::{Table, Watch, closed, refusal};
use crate::passage;
use crate::raw_device::RawDevice;

/// Passwords tried.
const GUESSES: usize = 100;
/// Hellos that are answered to somebody who does not read.
const UNREAD: usize = 6_000;
/// Frames sent again: more than a bad network would.
const DUPLICATES: usize = 3_000;
/// Of memory, above what the gateway began with.
const MB_MAX: f64 = 64.0;
/// More than fits a packet.
const OVERSIZED: usize = 60_000;

#[test]
fn a_stolen_key_speaks_for_its_device_alone_and_not_for_long() {
    let (alone, attacked) = (Field::closed(), Field::closed());
    let (mut quiet, mut gateway) = (alone.gateway(), attacked.gateway());
    let mut undisturbed = alone.simulate();
    let mut disturbed = attacked.simulate();
    let began_mb = memory_mb(&gateway, "VmRSS:");

    let mut table = Table::new("The broker inside, devices registered, one key stolen:");
    let mut thief = attacked.stolen();
    let half = half_a_packet(attacked.port);
    knock(&attacked, &thief, &mut table);
    break_rules(&attacked, &thief, &mut table);
    let mut client = thief.connected(attacked.port);
    let mut watch = Watch::new(&attacked.rig, &HONEST);
    reach(&mut client, &mut watch, &mut table);
    speak(&mut thief, &mut client, &mut watch, &mut table);
    drop(client);
    not_read(&attacked, &mut thief, &mut table);
    overdo(&attacked, &mut thief, &mut table);
    table.note(
        "half a CONNECT, then silence",
        half.join().expect("it ends"),
    );
    check_memory(&gateway, began_mb);

    let expected = alone.outcome(&mut undisturbed);
    assert_eq!(attacked.outcome(&mut disturbed), expected);
    for process in [&mut quiet, &mut gateway] {
        assert!(process.stop(passage::STOP).success());
    }
    check_noted(&attacked);
    table.check(&expected::CLOSED);
}

fn half_a_packet(port: u16) -> JoinHandle<String> {
    thread::spawn(move || {
        let packet = Connect::default().packet();
        let mut client = Client::open(port).expect("the broker listens");
        let sent = client.send(&packet[..packet.len() / 2]);
        closed(sent.is_ok() && client.is_closed())
    })
}

/// Who comes in, and as whom.
fn knock(field: &Field, thief: &Thief, table: &mut Table) {
    let port = field.port;
    let mut knock = |attempt, connect: &Connect| {
        let code = Client::connect(port, connect).map_or_else(|code| code, |_| Some(0));
        table.note(attempt, refusal(code));
    };
    let own = thief.connect();
    let id = |name: &str| own.id.replace(STOLEN, name);
    let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
    let with = |login| Connect {
        login,
        ..own.clone()
    };
    knock("no user name", &with(None));
    knock(
        "a device that is not registered",
        &with(login("nobody", "00")),
    );
    knock(
        "the gateway's own user",
        &with(login("tidegate-gateway", &"0".repeat(32))),
    );
    let as_other = |id| Connect { id, ..own.clone() };
    knock(
        "own password, another's client id",
        &as_other(id(HONEST[0])),
    );
    knock("own password, no client id", &as_other(String::new()));
    let willed = |will| Connect {
        will: Some(will),
        ..own.clone()
    };
    let status = topic(&format!("{}/status", HONEST[0]));
    knock(
        "own password, another's will",
        &willed((status, b"gone".to_vec())),
    );
    knock(
        "a client id of 60,000 bytes",
        &as_other("x".repeat(OVERSIZED)),
    );
    let user = login(&"u".repeat(OVERSIZED), "00");
    knock("a user name of 60,000 bytes", &with(user));
    let will = (topic(&format!("{STOLEN}/status")), vec![0; OVERSIZED]);
    knock("a will of 60,000 bytes", &willed(will));
    guess(port, &id(HONEST[0]), table);
}

fn guess(port: u16, id: &str, table: &mut Table) {
    let mut refused = 0;
    for number in 0..GUESSES {
        let connect = Connect {
            id: id.to_owned(),
            login: Some((HONEST[0].into(), format!("{number:032x}"))),
            will: None,
        };
        let code = Client::connect(port, &connect).err();
        refused += usize::from(code == Some(Some(0x86)));
    }
    let outcome = format!("{} ×{refused}", refusal(Some(0x86)));
    table.note("100 guesses at another's password", outcome);
}

/// What is no MQTT, or none that is allowed.
fn break_rules(field: &Field, thief: &Thief, table: &mut Table) {
    let port = field.port;
    let connect = thief.connect().packet();
    let mut raw = |attempt, bytes: &[u8]| {
        let mut client = Client::open(port).expect("the broker listens");
        // It may be closed before all is sent.
        let _ = client.send(bytes);
        table.note(attempt, closed(client.is_closed()));
    };
    raw("4 KiB of garbage", &[0x55; 4_096]);
    let browser = format!("GET / HTTP/1.1\r\nAccept: {}\r\n\r\n", "x".repeat(80));
    raw("an HTTP request", browser.as_bytes());
    let mut short = connect.clone();
    short[1] -= 10;
    raw("a CONNECT that says it is shorter", &short);
    raw(
        "a string that ends behind its packet",
        &packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x3c\x00\xff\xffx"),
    );
    raw(
        "PUBLISH before CONNECT",
        &publish(&topic("pump-1/up"), None, b"x"),
    );
    raw(
        "a length of five bytes",
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f],
    );
    let mut after = |attempt, bytes: &[u8]| {
        let mut client = thief.connected(port);
        let _ = client.send(bytes);
        table.note(attempt, closed(client.is_closed()));
    };
    after("a second CONNECT", &connect);
    after(
        "a PUBLISH that says it has 256 MiB",
        &[0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1],
    );
    after("a packet type that is none", &[0x00, 0x00]);
    after("QoS 3", &packet(0x36, b"\x00\x01x\x00\x01\x00"));
    after("a subscription with QoS 3", &subscribe("x", 3));
    after(
        "a topic of 60,000 bytes",
        &publish(&"t".repeat(OVERSIZED), None, b"x"),
    );
    let shaken = Connection::open(port).and_then(|plain| plain.into_tls(None));
    table.note("TLS where none is spoken", closed(shaken.is_err()));
}

/// Others' topics.
fn reach(client: &mut Client, watch: &mut Watch<'_>, table: &mut Table) {
    let down = topic("pump-1/down");
    let filters = [
        ("subscribe to everything", "#".to_owned()),
        ("subscribe to all that devices send", topic("+/up")),
        ("subscribe to the broker's own topics", "$SYS/#".into()),
        ("subscribe as a group", format!("$share/g/{down}")),
        ("subscribe to another's answers", down),
    ];
    for (attempt, filter) in filters {
        let code = client.subscribe(&filter).ok();
        table.note(attempt, refusal(code));
    }
    let ack = Ack {
        through: u32::MAX,
        ..Ack::default()
    };
    let gateway = RawDevice::unconnected(HONEST[0], 7, 0);
    let ack = gateway.frame(0, |writer| Down::Ack(ack).write(writer));
    for (attempt, rest) in [
        ("speak on another's up topic", "pump-1/up"),
        ("say another's status", "pump-1/status"),
        ("ack in the gateway's place", "pump-1/down"),
        ("speak as the gateway", "gateway"),
    ] {
        let codes = client.publish(&topic(rest), std::slice::from_ref(&ack));
        table.note(
            attempt,
            refusal(codes.ok().and_then(|codes| codes.first().copied())),
        );
    }
    table.note(
        "  … of these, held against the stolen device",
        watch.told(9),
    );
}

/// Frames on the stolen device's own topic.
fn speak(thief: &mut Thief, client: &mut Client, watch: &mut Watch<'_>, table: &mut Table) {
    let own_down = topic(&format!("{STOLEN}/down"));
    let granted = client.subscribe(&own_down).ok();
    table.note("subscribe to its own answers", refusal(granted));
    let up = topic(&format!("{STOLEN}/up"));
    let hello = thief.hello();
    client
        .publish(&up, std::slice::from_ref(&hello))
        .expect("its own topic");
    let welcomed = thief.hear(client, |down| matches!(down, Down::Welcome(_)));
    table.note(
        "Hello under the stolen key",
        if welcomed {
            "taken: it is the device"
        } else {
            "no answer"
        },
    );

    let progress = Progress::default();
    let first = thief.word(|writer| message::write(writer, up::PROGRESS, &progress));
    let second = thief.word(|writer| message::write(writer, up::PROGRESS, &progress));
    let batch = |sequence, value: i64| thief.device.batch(sequence, 0, 10, &[value, 2, 3], &[]);
    let catalog = thief.seal(&thief.device.catalog(1));
    let mut forged = thief.seal(&batch(2, 1));
    *forged.last_mut().expect("a tag") ^= 1;
    let cut = thief.seal(&batch(2, 1));
    let mut say = |attempt, payloads: &[Vec<u8>], counted: u64| {
        client.publish(&up, payloads).expect("its own topic");
        table.note(attempt, watch.told(counted));
    };
    say("its Hello again", &[hello], 1);
    say("Progress in reverse", &[second, first], 1);
    say("a wrong tag", &[forged], 1);
    say("another key id", &[thief.seal_as(9, 0, &batch(2, 1))], 1);
    say(
        "a plain frame",
        &[thief.device.batch(2, 0, 10, &[1, 2, 3], &[])],
        1,
    );
    say(
        "a frame cut in its header, and in its tag",
        &[cut[..5].to_vec(), cut[..cut.len() - 1].to_vec()],
        2,
    );
    say("8 KiB and more", &[vec![1; 9_000]], 1);
    say(
        "another version, other flags",
        &[vec![9; 64], [&[1, 0x80][..], &[0; 62]].concat()],
        2,
    );
    say(
        "frames out of order",
        &[thief.seal(&batch(3, 1)), catalog, thief.seal(&batch(3, 1))],
        2,
    );
    say(
        "two contents of one frame",
        &[thief.seal(&batch(2, 1)), thief.seal(&batch(2, 9))],
        1,
    );
}

/// Asks for answers and does not read them.
fn not_read(field: &Field, thief: &mut Thief, table: &mut Table) {
    let mut client = thief.connected(field.port);
    client.narrow();
    for rest in [format!("{STOLEN}/down"), "gateway".to_owned()] {
        client.subscribe(&topic(&rest)).expect("its own topics");
    }
    let up = topic(&format!("{STOLEN}/up"));
    let mut sent = 0;
    while sent < UNREAD && client.send(&publish(&up, None, &thief.hello())).is_ok() {
        sent += 1;
    }
    table.note(
        "6,000 Hellos whose answers are not read",
        format!("{sent} sent; memory stays bounded"),
    );
}

/// Too much of everything, until the gateway has enough.
fn overdo(field: &Field, thief: &mut Thief, table: &mut Table) {
    let mut client = thief.connected(field.port);
    let mut watch = Watch::new(&field.rig, &HONEST);
    let up = topic(&format!("{STOLEN}/up"));
    let again = thief.seal(&thief.device.catalog(1));
    client
        .publish(&up, &vec![again; DUPLICATES])
        .expect("its own topic");
    table.note(
        "3,000 times the same frame",
        watch.reasons(DUPLICATES as u64),
    );
    let mut forged = thief.seal(&thief.device.catalog(9));
    *forged.last_mut().expect("a tag") ^= 1;
    client
        .publish(&up, &vec![forged; 50])
        .expect("its own topic");
    let passed = 50 - watch.risen(50).get("throttled").copied().unwrap_or(0);
    // Five a second are looked at.
    table.note(
        "50 wrong tags",
        if passed < 25 {
            "throttled"
        } else {
            "all looked at"
        },
    );
    let others = topic("pump-1/up");
    client
        .publish(&others, &vec![b"x".to_vec(); OFFENCES])
        .expect("the connection stays");
    table.note(
        "60 words on another's topic",
        watch.reasons(OFFENCES as u64),
    );

    let why = field.told(STOLEN, "conduct.quarantine", "opened").values;
    assert!(why["forged"] >= 1.0 && why["foreign"] >= 1.0, "{why:?}");
    let hello = thief.hello();
    client.publish(&up, &[hello]).expect("its own topic");
    table.note("Hello after all that", watch.told(1));
    field.device(&["release", STOLEN]);
    field.told(STOLEN, "conduct.quarantine", "cleared");
    client
        .subscribe(&topic(&format!("{STOLEN}/down")))
        .expect("its own topic");
    let hello = thief.hello();
    client.publish(&up, &[hello]).expect("its own topic");
    let welcomed = thief.hear(&mut client, |down| matches!(down, Down::Welcome(_)));
    table.note(
        "Hello after tidegate device release",
        if welcomed { "taken" } else { "no answer" },
    );
}

fn check_memory(gateway: &Process, began_mb: f64) {
    let most_mb = memory_mb(gateway, "VmHWM:");
    figure(
        "adversary",
        &format!("memory of the gateway: {began_mb:.1} MB at first, {most_mb:.1} MB at most"),
    );
    assert!(most_mb < began_mb + MB_MAX, "{most_mb} MB");
}

/// What was done about it is in the log and in the audit log.
fn check_noted(field: &Field) {
    let export = [
        "log",
        "export",
        "--kind",
        "decision",
        "--config",
        "tidegate.toml",
    ];
    let decisions = field.rig.command(&export).out;
    let of_stolen = |line: &&str| line.contains("conduct") && line.contains(STOLEN);
    assert_eq!(
        decisions.lines().filter(of_stolen).count(),
        2,
        "{decisions}"
    );
    let show = ["audit", "show", "--config", "tidegate.toml", "--json"];
    let audit = field.rig.command(&show).out;
    let of = |act: &str, device: &str| {
        let lines = audit.lines().filter(|line| line.contains(act));
        lines.filter(|line| line.contains(device)).count()
    };
    for act in ["device-quarantined", "device-released"] {
        assert_eq!(of(act, STOLEN), 1, "{act}: {audit}");
        assert!(HONEST.iter().all(|honest| of(act, honest) == 0), "{audit}");
    }
}
