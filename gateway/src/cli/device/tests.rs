//! Devices over the command line, on the files of a gateway that does not run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_firmware::settings::Settings as Page;

use super::*;
use crate::causes;
use crate::control::{Command, Control, Handler};
use crate::disk::{Disk, RealDisk};
use crate::registry::Registrar;
use crate::registry::order::{KeyState, Shown, ShownKey};
use crate::registry::registrar::Unaudited;
use crate::registry::{Fingerprint, Key};

/// A plant's folder: configuration, key, data directory.
pub(super) struct Place {
    dir: TempDir,
}

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: DeviceCommand,
}

impl Place {
    pub(super) fn new(key: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        fs::write(place.path("key"), key).unwrap();
        let text = format!(
            "[gateway]\nsite = \"pump-house\"\ndata_dir = \"{}\"\n\
             [mqtt]\nembedded = {{ listen = \"127.0.0.1:1883\" }}\n\
             [security]\nkey = {{ file = \"{}\" }}\n",
            place.path("data").display(),
            place.path("key").display()
        );
        fs::write(place.path("tidegate.toml"), text).unwrap();
        place
    }

    /// Puts other words into the configuration.
    fn reword(&self, from: &str, to: &str) {
        let path = self.path("tidegate.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a line in which names with a slash before them are files here.
    pub(super) fn run(&self, line: &str) -> Result<(), String> {
        let words = line.split(' ').map(|word| match word.strip_prefix('/') {
            Some(name) => self.path(name).display().to_string(),
            None => word.to_owned(),
        });
        let config = self.path("tidegate.toml").display().to_string();
        let config = ["--config".to_owned(), config];
        let words = std::iter::once("device".to_owned()).chain(words);
        let line = Line::try_parse_from(words.chain(config)).unwrap();
        run(&line.command).map_err(|failure| failure.told())
    }

    fn devices(&self) -> Vec<Shown> {
        let desk = Desk::open(&self.path("tidegate.toml")).unwrap();
        match desk.ask(&Order::List).unwrap() {
            Answer::Listed(devices) => devices,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn page(&self, name: &str) -> Page {
        let page = fs::read(self.path(name)).unwrap();
        Page::read(&page).unwrap().unwrap()
    }
}

pub(super) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const OTHER_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

/// A gateway as far as orders about devices go.
struct Running(Mutex<Registrar>);

impl Running {
    fn on(place: &Place) -> Self {
        let settings = Desk::open(&place.path("tidegate.toml")).unwrap().settings;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&settings.data_dir).unwrap());
        let registrar = Registrar::configured(disk, &settings.security).unwrap();
        Self(Mutex::new(registrar))
    }
}

impl Handler for Running {
    async fn answer(&self, command: Command, _: Option<u32>) -> Result<Value, String> {
        let Command::Device(order) = command else {
            return Err("only devices here".to_owned());
        };
        let answer = self.0.lock().unwrap().carry_out(&order, 0, &mut Unaudited);
        let answer = answer.map_err(|why| causes::told(&why))?;
        serde_json::to_value(answer).map_err(|why| why.to_string())
    }
}

#[test]
fn a_running_gateway_is_asked_and_needs_nothing_of_the_commands_user() {
    let place = Place::new(KEY);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let running = Arc::new(Running::on(&place));
    let served = {
        let _within = runtime.enter();
        let control = Control::open(&place.path("data")).unwrap();
        let handler = Arc::clone(&running);
        runtime.spawn(async move { control.serve(handler, std::future::pending()).await })
    };
    // As where the key is a credential of the service alone.
    fs::remove_file(place.path("key")).unwrap();
    life(&place);
    place.run("export --out /sealed").unwrap();
    place.run("import /sealed --json").unwrap();
    assert!(!place.path("data/registry.incoming").exists());
    fs::write(place.path("other"), OTHER_KEY).unwrap();
    place
        .run("export --out /carried --key-file /other")
        .unwrap();
    let why = place.run("import /carried").unwrap_err();
    assert!(why.contains("another key"), "{why}");
    place.run("import /carried --key-file /other").unwrap();
    let held = running.0.lock().unwrap().registry().devices().len();
    assert_eq!(held, place.devices().len());
    served.abort();
}

#[test]
fn without_a_gateway_the_files_are_changed() {
    life(&Place::new(KEY));
}

/// A device is added, rotated, renamed and revoked.
fn life(place: &Place) {
    place
        .run("add pump-1 --broker 192.168.1.10:1883 --out /one")
        .unwrap();
    let page = place.page("one");
    assert_eq!(
        (page.site.as_str(), page.device.as_str()),
        ("pump-house", "pump-1")
    );
    let first = page.key.unwrap();
    assert_eq!(first.id, 1);
    let [device] = &place.devices()[..] else {
        panic!("{:?}", place.devices());
    };
    let expected = Fingerprint::of(&device.device, 1, &Key::new(first.bytes));
    assert_eq!(device.keys[0].fingerprint, expected);
    let mode = |path: &str| fs::metadata(place.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("one"), mode("data/registry")), (0o600, 0o600));
    let sealed = fs::read(place.path("data/registry")).unwrap();
    assert!(!sealed.windows(32).any(|window| window == first.bytes));

    place
        .run("rotate pump-1 --broker 192.168.1.10:1883 --out /two --json")
        .unwrap();
    let second = place.page("two").key.unwrap();
    assert_eq!(second.id, 2);
    assert_ne!(second.bytes, first.bytes);
    place
        .run("rename pump-1 pump-2 --broker 192.168.1.10:1883 --out /three")
        .unwrap();
    let page = place.page("three");
    assert_eq!(page.device.as_str(), "pump-2");
    let third = page.key.unwrap();
    assert_eq!(third.id, 1);
    assert_ne!(third.bytes, second.bytes);
    place.run("show pump-2").unwrap();
    place.run("revoke pump-2").unwrap();
    place.run("list --json").unwrap();
    let [former, device] = &place.devices()[..] else {
        panic!("{:?}", place.devices());
    };
    for device in [former, device] {
        assert!(device.is_revoked() && device.keys.is_empty());
    }
    let why = place.run("show pump-3").unwrap_err();
    assert!(why.contains("did you mean `pump-"), "{why}");
}

#[test]
fn an_order_that_fails_leaves_neither_key_nor_file() {
    let place = Place::new(KEY);
    let why = place.run("add pump-1 --out /one").unwrap_err();
    assert!(why.contains("--broker HOST:PORT"), "{why}");
    place
        .run("add pump-1 --broker 192.168.1.10:1883 --out /one")
        .unwrap();
    // The page of a key that is in use is not written over.
    let why = place.run("rotate pump-1 --broker 192.168.1.10:1883 --out /one");
    assert!(why.unwrap_err().contains("cannot be written"));
    assert_eq!(place.devices()[0].issued, 1);
    let why = place.run("add pump-1 --broker 192.168.1.10:1883 --out /two");
    assert!(why.unwrap_err().contains("tidegate device rotate pump-1"));
    assert!(!place.path("two").exists());
}

#[test]
fn without_a_key_or_with_another_one_nothing_is_changed_and_the_way_out_is_told() {
    let place = Place::new(KEY);
    place
        .run("add pump-1 --broker 192.168.1.10:1883 --out /one")
        .unwrap();
    let whole = fs::read(place.path("data/registry")).unwrap();
    let add = "add pump-2 --broker 192.168.1.10:1883 --out /two";
    for (key, said) in [
        (OTHER_KEY, "another key"),
        ("sesame\n", "openssl rand -hex 32"),
    ] {
        fs::write(place.path("key"), key).unwrap();
        for line in [add, "list", "revoke pump-1"] {
            let why = place.run(line).unwrap_err();
            assert!(why.contains(said), "{line}: {why}");
            assert!(!why.contains("sesame") && !why.contains("damaged"), "{why}");
        }
    }
    let config = place.path("tidegate.toml");
    let text = fs::read_to_string(&config).unwrap();
    let (without, _) = text.split_once("[security]").unwrap();
    fs::write(&config, without).unwrap();
    let why = place.run(add).unwrap_err();
    assert!(
        why.contains("security.key") && why.contains("nothing was changed"),
        "{why}"
    );
    assert_eq!(fs::read(place.path("data/registry")).unwrap(), whole);
    fs::remove_file(place.path("data/registry")).unwrap();
    let why = place.run(add).unwrap_err();
    assert!(why.contains("openssl rand -hex 32"), "{why}");
    assert!(!place.path("two").exists() && !place.path("data/registry").exists());
}

#[test]
fn devices_move_to_another_gateway_under_a_key_that_both_know() {
    let (old, new) = (Place::new(KEY), Place::new(OTHER_KEY));
    for device in ["pump-1", "pump-2"] {
        let line = format!("add {device} --broker 192.168.1.10:1883 --out /{device}");
        old.run(&line).unwrap();
    }
    fs::write(old.path("carried"), KEY.to_uppercase()).unwrap();
    old.run("export --out /sealed --key-file /carried").unwrap();
    for name in ["sealed", "carried"] {
        fs::copy(old.path(name), new.path(name)).unwrap();
    }
    let why = new.run("import /sealed").unwrap_err();
    assert!(why.contains("another key"), "{why}");
    new.run("import /sealed --key-file /carried --json")
        .unwrap();
    assert_eq!(new.devices(), old.devices());
    assert!(!new.path("data/registry.incoming").exists());
    let why = new.run("import /nothing --key-file /carried").unwrap_err();
    assert!(why.contains("cannot be read"), "{why}");
}

fn device(name: &str, keys: u8, confirmed_key: Option<u8>, is_revoked: bool) -> Shown {
    let name: DeviceName = name.parse().unwrap();
    let states = [KeyState::Current, KeyState::Next].into_iter();
    let keys = (1..=keys).zip(states).map(|(id, state)| ShownKey {
        id,
        state,
        fingerprint: Fingerprint::of(&name, id, &Key::new([id; 32])),
        created_at: format!("2026-03-0{id}T12:00:00.25Z"),
    });
    Shown {
        keys: keys.collect(),
        confirmed_key,
        issued: 2,
        revoked_at: is_revoked.then(|| "2026-03-05T12:00:00Z".to_owned()),
        device: name,
    }
}

#[test]
fn a_list_tells_which_key_each_has() {
    let devices = [
        device("pump-1", 1, Some(1), false),
        device("pump-2", 2, Some(1), false),
        device("pump-3", 0, None, true),
    ];
    assert_eq!(
        listed(&devices),
        "              key  next key  heard under              key made\n  \
           pump-1        1         -            1  2026-03-01T12:00:00Z\n  \
           pump-2        1         2            1  2026-03-02T12:00:00Z\n  \
           pump-3  revoked         -            -                     -\n"
    );
    assert!(listed(&[]).contains("tidegate device add"));
}

#[test]
fn a_device_is_told_with_its_fingerprints() {
    assert_eq!(
        shown(&device("pump-2", 2, None, false)),
        "pump-2\n  \
           key 1: valid; made 2026-03-01T12:00:00Z; fingerprint F1\n  \
           key 2: valid, made by a rotation and not heard yet; made 2026-03-02T12:00:00Z; fingerprint F2\n  \
           it was not heard under a key yet, as far as the registry knows; keys made so far: 2\n"
            .replace("F1", &device("pump-2", 2, None, false).keys[0].fingerprint.to_string())
            .replace("F2", &device("pump-2", 2, None, false).keys[1].fingerprint.to_string())
    );
    let told = shown(&device("pump-3", 0, Some(1), true));
    assert!(told.contains("revoked 2026-03-05T12:00:00Z"), "{told}");
}

#[test]
fn what_was_made_is_told_without_the_key_unless_it_is_asked_for() {
    let (name, key): (DeviceName, _) = ("pump-1".parse().unwrap(), Key::new([7; 32]));
    let mark = crate::registry::KeyMark {
        id: 1,
        fingerprint: Fingerprint::of(&name, 1, &key),
    };
    let made = |key| Made {
        device: name.clone(),
        mark,
        broker: "192.168.1.10:1883".to_owned(),
        page: "pump-1.page".into(),
        command: Some("probe-rs download".to_owned()),
        key,
        meaning: told::ADDED,
        shuts_out: None,
    };
    let hidden = made(None);
    assert_eq!(
        hidden.told(),
        "pump-1 has key 1, fingerprint b3cb683384671927418aec50a3471a19\n  \
         its frames are taken under this key once the page is in it, and no other way\n  \
         its settings page, with the key in it, is pump-1.page: broker 192.168.1.10:1883\n  \
         bring it into the device: probe-rs download\n  \
         then remove the file: whoever has it can speak for the device\n"
    );
    let digits = "07".repeat(32);
    assert!(!hidden.as_json().to_string().contains(&digits));
    let open = made(Some(key.hex()));
    assert!(open.told().contains(&digits));
    assert_eq!(open.as_json()["key"], Value::from(digits));
}

#[test]
fn no_second_data_directory_is_made_from_another_folder() {
    let place = Place::new(KEY);
    let data = format!("\"{}\"", place.path("data").display());
    // Unlike any folder that other tests make where they run.
    let elsewhere = format!("nosuch-{}", std::process::id());
    place.reword(&data, &format!("\"{elsewhere}\""));
    let whole = std::env::current_dir().unwrap().join(&elsewhere);
    fs::write(place.path("some.sealed"), b"sealed").unwrap();
    for line in [
        "add pump-1 --broker 10.0.0.1:1883 --out /pump-1.page",
        "claim open --prefix pump --broker 10.0.0.1:1883 --out /claim.page",
        "import /some.sealed",
        "list",
    ] {
        let told = place.run(line).unwrap_err();
        assert!(
            told.contains(&whole.display().to_string()),
            "{line}: {told}"
        );
        assert!(told.contains("start the gateway once"), "{line}: {told}");
        assert!(!whole.exists(), "{line}");
    }
    assert!(!place.path("pump-1.page").exists());
}

#[test]
fn the_first_device_is_told_to_shut_others_out() {
    let shut_out = |place: &Place, name: &str| {
        let line = format!("add {name} --broker 10.0.0.1:1883 --out /{name}.page");
        place.run(&line).unwrap();
        let desk = Desk::open(&place.path("tidegate.toml")).unwrap();
        shuts_out(&desk, &Order::Add(DeviceName::try_from(name).unwrap()))
    };
    let inside = Place::new(KEY);
    assert_eq!(shut_out(&inside, "pump-1"), Some(told::FIRST));
    assert_eq!(shut_out(&inside, "pump-2"), None);
    let outside = Place::new(KEY);
    let embedded = "embedded = { listen = \"127.0.0.1:1883\" }";
    outside.reword(embedded, "url = \"mqtt://broker\"");
    assert_eq!(shut_out(&outside, "pump-1"), Some(told::FIRST));
    for broker in [embedded, "url = \"mqtt://broker\""] {
        let open = Place::new(KEY);
        open.reword(embedded, broker);
        open.reword("[security]\n", "[security]\nframes = \"allow-plain\"\n");
        assert_eq!(shut_out(&open, "pump-1"), None);
    }
}

#[test]
fn a_gateway_that_was_started_without_a_key_has_to_be_restarted() {
    let place = Place::new(KEY);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let settings = Desk::open(&place.path("tidegate.toml")).unwrap().settings;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&settings.data_dir).unwrap());
    let keyless = Registrar::open(disk, None).unwrap();
    let running = Arc::new(Running(Mutex::new(keyless)));
    let served = {
        let _within = runtime.enter();
        let control = Control::open(&place.path("data")).unwrap();
        runtime.spawn(async move { control.serve(running, std::future::pending()).await })
    };
    let add = "add pump-1 --broker 10.0.0.1:1883 --out /pump-1.page";
    let told = place.run(add).unwrap_err();
    assert!(told.contains("restart it"), "{told}");
    assert!(!told.contains("openssl"), "{told}");
    let key = format!("key = {{ file = \"{}\" }}\n", place.path("key").display());
    place.reword(&key, "");
    let told = place.run(add).unwrap_err();
    assert!(told.contains("openssl"), "{told}");
    served.abort();
}
