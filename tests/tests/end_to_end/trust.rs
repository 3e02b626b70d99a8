//! Who may speak: a device is registered, heard under its key alone, given another, and revoked;
//! what was done is in an audit log that verifies offline.

mod upstream;
mod witness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::ledger::count;
use tidegate_tests::process::Process;
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::{wait_for, wait_until};

use crate::claimant::{self, Claimant};
use crate::passage;
use crate::wire::Wire;

const SOON: Duration = Duration::from_mins(1);
/// Seconds of the model of a pump, and so rows of a simulation.
const SECONDS: u64 = 600;

/// A rig whose gateway has a key to keep device keys under.
fn rig(more: &str) -> Rig {
    let configuration = format!("{CONFIGURATION}[security]\nkey = {{ file = \"key\" }}\n{more}");
    let rig = Rig::free(&configuration);
    let key = rig.path().join("key");
    fs::write(&key, "5a".repeat(32)).expect("the folder takes a file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    rig
}

fn device(rig: &Rig, arguments: &[&str]) -> String {
    let mut all = vec!["device"];
    all.extend(arguments);
    all.extend(["--config", "tidegate.toml"]);
    let done = rig.command(&all);
    assert!(done.status.success(), "{all:?}: {}{}", done.out, done.err);
    done.out
}

/// Has a key made, or another; the page lies in the rig's folder.
fn issue(rig: &Rig, order: &str, name: &str, page: &str) {
    let broker = format!("127.0.0.1:{}", rig.broker.port);
    let arguments = [order, name, "--broker", &broker, "--out", page, "--no-qr"];
    device(rig, &arguments);
}

fn simulate(rig: &Rig, name: &str, page: Option<&str>) -> Process {
    let mut simulation = Simulation::plant(name, rig.broker.port, 1, SECONDS);
    if let Some(page) = page {
        simulation.more.extend(["--key-file".into(), page.into()]);
    }
    simulation.start(rig.path())
}

fn run(rig: &Rig, name: &str, page: &str) {
    passage::wait_simulated(&mut simulate(rig, name, Some(page)), SOON);
}

fn taken(ledger: &Value) -> u64 {
    ledger["balances"]["total"]["samples"]["logged"]
        .as_u64()
        .unwrap_or(0)
}

fn settled(rig: &Rig) -> Value {
    let mut ledger = Value::Null;
    wait_until(
        "the books to balance with all records delivered",
        SOON,
        || {
            ledger = rig.ledger();
            let total = &ledger["balances"]["total"];
            ledger["balances"]["balanced"] == true && total["sinks"]["waiting"] == 0
        },
    );
    ledger
}

#[test]
fn a_device_is_heard_under_its_keys_alone_and_everything_is_noted() {
    let rig = rig("");
    let mut gateway = rig.gateway(&[]);
    wait_until("the gateway to answer", SOON, || {
        rig.command(&["status", "--config", "tidegate.toml"])
            .out
            .contains("pump-house")
    });
    issue(&rig, "add", "tank", "first.page");
    run(&rig, "tank", "first.page");
    let first = settled(&rig);
    assert!(taken(&first) >= SECONDS, "{first:#}");

    // Who has no key is not heard.
    let mut stranger = simulate(&rig, "stranger", None);
    wait_until("a plain frame to be refused", SOON, || {
        count(&rig.ledger(), "uncounted", "plain") > 0
    });
    stranger.kill();
    assert_eq!(taken(&rig.ledger()), taken(&first));

    // Another key, while the device speaks: the former one holds until the new one was heard.
    let mut speaking = simulate(&rig, "tank", Some("first.page"));
    issue(&rig, "rotate", "tank", "second.page");
    passage::wait_simulated(&mut speaking, SOON);
    run(&rig, "tank", "second.page");
    wait_until("the former key to end", SOON, || {
        !device(&rig, &["show", "tank"]).contains("key 1")
    });
    let rotated = settled(&rig);
    assert_eq!(
        taken(&rotated),
        3 * taken(&first),
        "no sample is lost or doubled"
    );
    let mut late = simulate(&rig, "tank", Some("first.page"));
    wait_until("the former key to be refused", SOON, || {
        count(&rig.ledger(), "uncounted", "key") > 0
    });
    late.kill();

    // Revoked while it speaks: what was logged before stays, and balances.
    let mut revoked = simulate(&rig, "tank", Some("second.page"));
    wait_until("it to be heard", SOON, || {
        taken(&rig.ledger()) > taken(&rotated)
    });
    device(&rig, &["revoke", "tank"]);
    let refused = count(&rig.ledger(), "uncounted", "key");
    let mut again = simulate(&rig, "tank", Some("second.page"));
    wait_until("it to be refused", SOON, || {
        count(&rig.ledger(), "uncounted", "key") > refused
    });
    again.kill();
    revoked.kill();
    settled(&rig);
    assert!(gateway.stop(passage::STOP).success());
    check_noted(&rig);
}

/// Devices with one page enrol by themselves: each gets a key of its own, its samples flow under it,
/// and who was let in by what is noted.
#[test]
fn a_batch_enrols_by_one_page_and_is_heard_under_keys_of_its_own() {
    let rig = rig("");
    let mut gateway = rig.gateway(&[]);
    wait_until("the gateway to answer", SOON, || {
        rig.command(&["status", "--config", "tidegate.toml"])
            .out
            .contains("pump-house")
    });
    let code = claimant::open(&rig, rig.broker.port, "tank", 2, "1h");
    let wire = Wire::connect(rig.broker.port);
    let (one, two) = (
        Claimant::new(&code, "tank-0000000a", 1),
        Claimant::new(&code, "tank-0000000b", 2),
    );
    let mut keys = Vec::new();
    for device in [&one, &two] {
        let (up, down) = (
            format!("{}/up", device.name),
            format!("{}/down", device.name),
        );
        wire.publish(&up, device.said());
        let key = wait_for("a grant", SOON, || {
            let said = wire.messages(&down);
            said.iter().find_map(|said| device.granted(&said.payload))
        });
        let page = format!("{}.page", device.name);
        fs::write(
            rig.path().join(&page),
            device.page(key.clone(), rig.broker.port),
        )
        .expect("the folder takes a file");
        keys.push(key);
    }
    assert_ne!(keys[0].bytes, keys[1].bytes, "each has a key of its own");
    // Not heard yet: the claim waits for both, though it is used up.
    let listed = claimant::listed(&rig, &code);
    assert_eq!(
        listed["waiting"].as_array().map(Vec::len),
        Some(2),
        "{listed:#}"
    );
    for device in [&one, &two] {
        run(&rig, device.name.as_str(), &format!("{}.page", device.name));
    }
    let ledger = settled(&rig);
    assert!(taken(&ledger) >= 2 * SECONDS, "{ledger:#}");
    for device in [&one, &two] {
        let name = device.name.as_str();
        assert!(ledger["devices"].get(name).is_some(), "{ledger:#}");
    }
    wait_until("the claim to end", SOON, || {
        claimant::listed(&rig, &code)["ended_at"].is_string()
    });
    assert_eq!(claimant::listed(&rig, &code)["state"], "used-up");
    assert!(gateway.stop(passage::STOP).success());

    let shown = rig.command(&["audit", "show", "--config", "tidegate.toml", "--json"]);
    let acts = |kind: &str| {
        let lines = shown.out.lines().filter(|line| line.contains(kind));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(acts("claim-opened").len(), 1, "{}", shown.out);
    let enrolled = acts("device-enrolled");
    assert_eq!(enrolled.len(), 2, "{}", shown.out);
    for line in &enrolled {
        let by = code.id.to_string();
        assert!(
            line.contains("\"by\":\"claim\"") && line.contains(&by),
            "{line}"
        );
    }
    let closed = acts("claim-closed");
    assert_eq!(closed.len(), 1, "{}", shown.out);
    assert!(closed[0].contains("used-up"), "{closed:?}");
}

/// The log says what was done, verifies from its files and public key, and no byte of an entry can
/// be changed.
fn check_noted(rig: &Rig) {
    let shown = rig.command(&["audit", "show", "--config", "tidegate.toml", "--json"]);
    assert!(shown.status.success(), "{}{}", shown.out, shown.err);
    for kind in [
        "device-enrolled",
        "key-rotated",
        "key-retired",
        "device-revoked",
    ] {
        assert!(shown.out.contains(kind), "no {kind} in {}", shown.out);
    }
    let folder = rig.path().join("data/audit");
    let verify = || {
        rig.command(&[
            "audit",
            "verify",
            "data/audit",
            "--key",
            "data/audit/public-key",
        ])
    };
    assert!(
        verify().status.success(),
        "{}{}",
        verify().out,
        verify().err
    );
    let bundle = fs::read_dir(folder.join("tile/entries/000.p"))
        .expect("there is a partial bundle")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max_by_key(|path| path.file_name().map(std::ffi::OsStr::len))
        .expect("it has a file");
    let whole = fs::read(&bundle).expect("it can be read");
    let mut changed = whole.clone();
    let at = whole.len() / 2;
    changed[at] ^= 1;
    fs::write(&bundle, &changed).expect("it can be written");
    let found = verify();
    assert!(!found.status.success(), "{}", found.out);
    fs::write(&bundle, &whole).expect("it can be written");
    assert!(verify().status.success());
}

/// The broker inside: a registered device's password is made of its key, and nobody else is let in.
#[test]
fn the_broker_inside_lets_registered_devices_in_alone() {
    let rig = rig("");
    let port = tidegate_tests::ports::free();
    let text = fs::read_to_string(rig.path().join("tidegate.toml")).expect("it is there");
    let url = format!("url = \"mqtt://127.0.0.1:{}\"", rig.broker.port);
    assert!(text.contains(&url));
    let text = text.replace(
        &url,
        &format!("embedded = {{ listen = \"127.0.0.1:{port}\" }}"),
    );
    fs::write(rig.path().join("tidegate.toml"), text).expect("it can be written");
    // Registered before the first start: there is no gateway to ask yet.
    let broker = format!("127.0.0.1:{port}");
    let add = |name: &str, page: &str| {
        device(
            &rig,
            &["add", name, "--broker", &broker, "--out", page, "--no-qr"],
        );
    };
    add("tank", "tank.page");
    let mut gateway = rig.gateway(&[]);
    let simulate = |name: &str, page: Option<&str>| {
        let mut simulation = Simulation::plant(name, port, 1, SECONDS);
        if let Some(page) = page {
            simulation.more.extend(["--key-file".into(), page.into()]);
        }
        simulation.start(rig.path())
    };
    passage::wait_simulated(&mut simulate("tank", Some("tank.page")), SOON);
    let mut stranger = simulate("stranger", None);
    add("pump", "pump.page");
    passage::wait_simulated(&mut simulate("pump", Some("pump.page")), SOON);
    let ledger = settled(&rig);
    assert!(taken(&ledger) >= 2 * SECONDS);
    assert!(ledger["devices"].get("stranger").is_none());
    stranger.kill();
    assert!(gateway.stop(passage::STOP).success());
}
