//! Guessing, repeating and misusing claims: on an open broker, where everything that devices say can
//! be read and said again, and at the broker inside, by who has the code.

use std::time::Duration;

use tidegate_firmware::settings::DeviceKey;
use tidegate_shared::claim::{ClaimId, Code};
use tidegate_shared::seal::Key;
use tidegate_tests::wall::{Stopwatch, poll_for, wait_until};

use super::expected;
use super::field::{Field, HONEST, topic};
use super::packets::{Client, Connect};
use super::table::{Table, Watch, refusal};
use crate::claimant::{self, Claimant};
use crate::passage;
use crate::raw_device::RawDevice;
use crate::wire::{SITE, Wire};

const SOON: Duration = Duration::from_mins(1);
/// Longer than a name has to wait for its next claim.
const PAUSE: Duration = Duration::from_millis(1_100);
const GUESSES: usize = 100;
const FLOOD: usize = 500;
/// Twice as many as a device may make.
const OFFENCES: usize = 200;
/// What the gateway says to a claim that came too early.
const EARLY: &str = "claim-throttled";

#[test]
fn guessed_repeated_and_stolen_claims_give_nobody_a_device() {
    let field = Field::open();
    let mut gateway = field.gateway();
    let wire = Wire::connect(field.port);
    let mut simulations = field.simulate();
    let before = keys(&field);
    let mut table = Table::new("A broker that lets everyone in, claims open:");
    // Two devices may enrol under names of which two are registered already.
    let code = claimant::open(&field.rig, field.port, "pump", 2, "1h");
    let mut tries = Tries {
        wire: &wire,
        watch: Watch::new(&field.rig, &HONEST),
        table: &mut table,
    };
    guess(&code, &mut tries);
    repeat(&code, &mut tries);
    misuse(&field, &code, &mut tries);
    come_late(&field, &mut tries);

    field.outcome(&mut simulations);
    let ledger = field.rig.ledger().to_string();
    let held = ["quarantined", "throttled", "foreign"].map(|reason| format!("\"{reason}\":"));
    let is_held = held.iter().any(|reason| ledger.contains(reason));
    let nothing = if is_held { "something" } else { "nothing" };
    table.note("  … and what is held against a device", nothing);
    let same = if keys(&field) == before {
        "what it said before"
    } else {
        "something else"
    };
    table.note("  … and what the registry says of the honest ones", same);
    assert!(gateway.stop(passage::STOP).success());
    table.check(&expected::CLAIMS);
}

/// The honest devices' keys, as fingerprints.
fn keys(field: &Field) -> Vec<String> {
    let show = |name: &&str| {
        let show = ["device", "show", name, "--config", "tidegate.toml"];
        let out = field.rig.command(&show).out;
        let keys = out.lines().filter(|line| line.contains("fingerprint"));
        keys.map(str::to_owned).collect::<String>()
    };
    HONEST.iter().map(show).collect()
}

/// What is attempted over the wire.
struct Tries<'t, 'r> {
    wire: &'t Wire,
    watch: Watch<'r>,
    table: &'t mut Table,
}

impl Tries<'_, '_> {
    /// Says something once, and again where it came too early.
    fn say(&mut self, attempt: &'static str, device: &str, payload: &[u8]) {
        let told = poll_for(SOON, || {
            self.wire.publish(&format!("{device}/up"), payload.to_vec());
            let mut risen = self.watch.risen(1);
            risen.remove(EARLY);
            if risen.is_empty() {
                pass();
                return None;
            }
            Some(risen.into_keys().collect::<Vec<_>>().join(", "))
        });
        let told = told.unwrap_or_else(|| "nothing is counted".into());
        self.table.note(attempt, told);
    }

    /// Has a device claim until it is granted a key.
    fn enrol(&mut self, device: &Claimant) -> DeviceKey {
        let (up, down) = (
            format!("{}/up", device.name),
            format!("{}/down", device.name),
        );
        let granted = poll_for(SOON, || {
            self.wire.publish(&up, device.said());
            poll_for(PAUSE, || {
                let said = self.wire.messages(&down);
                said.iter().find_map(|said| device.granted(&said.payload))
            })
        });
        // What came too early is none of what is watched.
        self.watch.pass();
        granted.expect("who has the code is granted a key")
    }
}

/// Lets the second pass in which a name is looked at once.
fn pass() {
    Stopwatch::new().pass_until(PAUSE);
}

/// Without the code.
fn guess(code: &Code, tries: &mut Tries<'_, '_>) {
    for number in 0..GUESSES as u8 {
        let guess = Code {
            key: Key::new([number; 32]),
            ..code.clone()
        };
        let claimant = Claimant::new(&guess, "pump-a", 1);
        tries.wire.publish("pump-a/up", claimant.said());
    }
    let told = tries.watch.told(GUESSES as u64);
    tries.table.note("100 guesses at the code", told);
    let other = Code {
        id: ClaimId(code.id.0 ^ 1),
        ..code.clone()
    };
    let claimant = Claimant::new(&other, "pump-a", 1);
    tries.say("a claim that nobody opened", "pump-a", &claimant.said());
}

/// What a device says when it enrols was recorded.
fn repeat(code: &Code, tries: &mut Tries<'_, '_>) {
    let device = Claimant::new(code, "pump-a", 1);
    let recorded = device.said();
    let mut changed = recorded.clone();
    changed[10] ^= 1;
    tries.say("a device's claim, with a byte changed", "pump-a", &changed);
    tries.say("a device's claim, cut", "pump-a", &recorded[..50]);
    tries.say("a device's claim, in another's name", "pump-b", &recorded);
    let first = tries.enrol(&device);
    pass();
    let heard = || tries.wire.messages("pump-a/down");
    let before = heard().len();
    tries.wire.publish("pump-a/up", recorded.clone());
    wait_until("the recording to be answered", SOON, || {
        heard().len() > before
    });
    let answer = heard().pop().expect("it was answered").payload;
    let thief = Claimant::new(code, "pump-a", 2);
    let same = device.granted(&answer) == Some(first) && thief.granted(&answer).is_none();
    tries.table.note(
        "a device's claim again",
        if same {
            "answered with the same key, for that device alone"
        } else {
            "answered with another key"
        },
    );
    // It started again before it was heard, and has another key.
    tries.enrol(&Claimant::new(code, "pump-a", 3));
    tries.say(
        "a claim of an earlier start of the device",
        "pump-a",
        &recorded,
    );
}

/// With the code.
fn misuse(field: &Field, code: &Code, tries: &mut Tries<'_, '_>) {
    let claim = |tries: &mut Tries<'_, '_>, attempt, device: &str| {
        let claimant = Claimant::new(code, device, 9);
        tries.say(attempt, device, &claimant.said());
    };
    claim(tries, "the code, in a registered device's name", HONEST[0]);
    // As of now `pump-a` is heard under its key.
    let key = tries.enrol(&Claimant::new(code, "pump-a", 3));
    be_heard(tries.wire, "pump-a", &key);
    wait_until("the device to be heard", SOON, || {
        claimant::listed(&field.rig, code)["waiting"] == serde_json::json!([])
    });
    tries.watch.pass();
    claim(
        tries,
        "the code, in the name of a device that enrolled",
        "pump-a",
    );
    claim(tries, "the code, under another prefix", "valve-1");
    tries.enrol(&Claimant::new(code, "pump-b", 9));
    let outcome = "enrolled: it has the code";
    tries
        .table
        .note("the code, under a name of its prefix", outcome);
    claim(tries, "the code, for one device more", "pump-c");
    let said = Claimant::new(code, HONEST[0], 9).said();
    pass();
    for _ in 0..FLOOD {
        let up = format!("{}/up", HONEST[0]);
        tries.wire.publish(&up, said.clone());
    }
    let reasons = tries.watch.reasons(FLOOD as u64);
    tries.table.note("500 claims in one name", reasons);
}

/// Says Hello and one frame under a key.
fn be_heard(wire: &Wire, name: &str, key: &DeviceKey) {
    let device = RawDevice::unconnected(name, 0x0c1a_1301, 1_581_163_200);
    let up = format!("{name}/up");
    wire.publish(&up, claimant::sealed(key, 1, &device.hello()));
    wire.publish(&up, claimant::sealed(key, 0, &device.catalog(1)));
}

/// Claims that are over.
fn come_late(field: &Field, tries: &mut Tries<'_, '_>) {
    let closed = claimant::open(&field.rig, field.port, "late", 2, "2h");
    field.device(&["claim", "close", &closed.id.to_string()]);
    let claimant = Claimant::new(&closed, "late-1", 1);
    tries.say("a claim that somebody closed", "late-1", &claimant.said());
    let expired = claimant::open(&field.rig, field.port, "late", 2, "1s");
    wait_until("the claim to expire", SOON, || {
        claimant::listed(&field.rig, &expired)["state"] == "expired"
    });
    let claimant = Claimant::new(&expired, "late-2", 1);
    tries.say("a claim whose time is over", "late-2", &claimant.said());
}

#[test]
fn at_the_broker_inside_a_code_lets_in_to_claim_and_to_nothing_else() {
    let field = Field::closed();
    let mut gateway = field.gateway();
    let mut table = Table::new("The broker inside, a claim open, its code stolen:");
    let code = claimant::open(&field.rig, field.port, "pump", 2, "1h");
    let thief = Claimant::new(&code, "pump-a", 1);
    come_in(&field, &code, &thief, &mut table);
    let mut client = Client::connect(field.port, &connect(&thief));
    let client = client.as_mut().expect("the code lets it in");
    reach(client, &mut table);
    let key = claim(client, &thief);
    table.note("its claim", "granted: it has the code");
    offend(client);
    speak(&field, &thief, &key);
    wait_until("the device to be heard", SOON, || {
        claimant::listed(&field.rig, &code)["waiting"] == serde_json::json!([])
    });
    let uncounted = ["key", "forged", "truncated"].map(|reason| format!("\"{reason}\":"));
    let ledger = field.rig.ledger().to_string();
    let is_passed_on = uncounted.iter().any(|reason| ledger.contains(reason));
    table.note(
        "200 frames in the name that was just granted a key",
        if is_passed_on {
            "taken"
        } else {
            "dropped by the broker"
        },
    );
    let again = Client::connect(field.port, &connect(&thief));
    table.note(
        "the code again, when the device was heard",
        refusal(again.map_or_else(|code| code, |_| Some(0))),
    );
    let ledger = field.rig.ledger().to_string();
    let is_held = ledger.contains("\"foreign\":") || ledger.contains("\"quarantined\":");
    let nothing = if is_held { "something" } else { "nothing" };
    table.note("  … and what is held against a device", nothing);
    assert!(gateway.stop(passage::STOP).success());
    table.check(&expected::CLAIMANTS);
}

/// How a device with a claim and no key connects.
fn connect(claimant: &Claimant) -> Connect {
    Connect {
        id: format!("tidegate-{SITE}-{}", claimant.name),
        login: Some(claimant.login()),
        will: None,
    }
}

fn come_in(field: &Field, code: &Code, thief: &Claimant, table: &mut Table) {
    let mut refused = 0;
    for number in 0..GUESSES {
        let guess = Connect {
            login: Some((thief.name.to_string(), format!("{number:032x}"))),
            ..connect(thief)
        };
        let code = Client::connect(field.port, &guess).err();
        refused += usize::from(code == Some(Some(0x86)));
    }
    let outcome = format!("{} ×{refused}", refusal(Some(0x86)));
    table.note("100 guesses at the code's password", outcome);
    let as_other = |name: &str| connect(&Claimant::new(code, name, 1));
    let status = topic(&format!("{}/status", thief.name));
    for (attempt, connect) in [
        ("the code, as a registered device", as_other(HONEST[0])),
        ("the code, under another prefix", as_other("valve-1")),
        (
            "the code, with another's client id",
            Connect {
                id: as_other(HONEST[0]).id,
                ..connect(thief)
            },
        ),
        (
            "the code, with a will",
            Connect {
                will: Some((status, b"gone".to_vec())),
                ..connect(thief)
            },
        ),
        ("the code, under a name of its prefix", connect(thief)),
    ] {
        let code = Client::connect(field.port, &connect).map_or_else(|code| code, |_| Some(0));
        table.note(attempt, refusal(code));
    }
}

/// What would be held against the device that just enrolled, if it were taken for its word.
fn offend(client: &mut Client) {
    let forged = b"\x01\x01\x07 sealed under a key that nobody has".to_vec();
    let said = client.publish(&topic("pump-a/up"), &vec![forged; OFFENCES]);
    assert_eq!(said.map(|codes| codes.len()).ok(), Some(OFFENCES));
}

/// Topics that are not for who claims.
fn reach(client: &mut Client, table: &mut Table) {
    for (attempt, rest) in [
        ("speak on another's up topic", "pump-1/up"),
        ("say its own status", "pump-a/status"),
        ("speak as the gateway", "gateway"),
    ] {
        let codes = client.publish(&topic(rest), &[b"x".to_vec()]);
        let code = codes.ok().and_then(|codes| codes.first().copied());
        table.note(attempt, refusal(code));
    }
    for (attempt, filter) in [
        ("subscribe to all that devices send", "+/up"),
        ("subscribe to another's answers", "pump-1/down"),
        ("subscribe to its own answers", "pump-a/down"),
    ] {
        let code = client.subscribe(&topic(filter)).ok();
        table.note(attempt, refusal(code));
    }
}

/// Claims until it is granted a key.
fn claim(client: &mut Client, thief: &Claimant) -> DeviceKey {
    let up = topic(&format!("{}/up", thief.name));
    client.publish(&up, &[thief.said()]).expect("its own topic");
    let granted = std::iter::from_fn(|| client.hear().ok());
    let mut granted = granted.filter_map(|payload| thief.granted(&payload));
    granted.next().expect("it is granted a key")
}

/// Connects under the key that it got, and is heard.
fn speak(field: &Field, thief: &Claimant, key: &DeviceKey) {
    let login = (thief.name.to_string(), key.password().as_str().to_owned());
    let connect = Connect {
        login: Some(login),
        ..connect(thief)
    };
    let connected = Client::connect(field.port, &connect);
    let mut client = connected.unwrap_or_else(|code| panic!("its key lets it in: {code:?}"));
    let device = RawDevice::unconnected(thief.name.as_str(), 0x0c1a_1302, 1_581_163_200);
    let frames = [
        claimant::sealed(key, 1, &device.hello()),
        claimant::sealed(key, 0, &device.catalog(1)),
    ];
    let up = topic(&format!("{}/up", thief.name));
    client.publish(&up, &frames).expect("its own topic");
}
