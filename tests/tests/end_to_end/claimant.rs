//! A device that enrols by a claim, made of the wire's own parts.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tidegate_firmware::settings::{Broker, DeviceKey, Settings};
use tidegate_shared::claim::{ClaimId, Claimant as Asking, Code, Secret};
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::seal::{self, Key, SEALED_BYTES_MAX, Way};
use tidegate_tests::rig::Rig;

use crate::wire::SITE;

/// Opens a claim of names `PREFIX-…` and reads its code from the page, as a device does.
pub fn open(rig: &Rig, port: u16, prefix: &str, devices: u32, time: &str) -> Code {
    let (broker, devices) = (format!("127.0.0.1:{port}"), devices.to_string());
    let page = format!("{prefix}-{time}.page");
    let done = rig.command(&[
        "device",
        "claim",
        "open",
        "--prefix",
        prefix,
        "--devices",
        &devices,
        "--for",
        time,
        "--broker",
        &broker,
        "--out",
        &page,
        "--no-qr",
        "--json",
        "--config",
        "tidegate.toml",
    ]);
    assert!(done.status.success(), "{}{}", done.out, done.err);
    let page = read(&rig.path().join(&page));
    assert_eq!(page.device.as_str(), prefix, "the page has the prefix");
    assert!(page.key.is_none());
    let claim = page.claim.expect("the page has a claim");
    let told: Value = serde_json::from_str(&done.out).expect("JSON is told");
    let code = Code {
        id: ClaimId(claim.id),
        key: Key::new(claim.code),
    };
    assert_eq!(told["claim"]["claim"], code.id.to_string());
    code
}

/// How far a claim is, as `device claim list` says.
pub fn listed(rig: &Rig, code: &Code) -> Value {
    let done = rig.command(&[
        "device",
        "claim",
        "list",
        "--json",
        "--config",
        "tidegate.toml",
    ]);
    assert!(done.status.success(), "{}{}", done.out, done.err);
    let told: Value = serde_json::from_str(&done.out).expect("JSON is told");
    let claims = told["claims"].as_array().cloned().unwrap_or_default();
    let found = claims
        .into_iter()
        .find(|one| one["claim"] == code.id.to_string());
    found.unwrap_or_else(|| panic!("no claim {} in {told:#}", code.id))
}

fn read(page: &Path) -> Settings {
    let page = fs::read(page).expect("the page was written");
    Settings::read(&page).expect("a page").expect("of settings")
}

/// Seals a plain frame of a device; the counter is 0 for what is sequenced.
pub fn sealed(key: &DeviceKey, counter: u32, plain: &[u8]) -> Vec<u8> {
    let mut sealed = [0; SEALED_BYTES_MAX];
    let way = Way::Up { counter };
    let used = seal::seal(&Key::new(key.bytes), key.id, way, plain, &mut sealed);
    sealed[..used.expect("a frame that can be sealed")].to_vec()
}

/// One start of a device with a claim and no key.
pub struct Claimant {
    pub name: DeviceName,
    code: Code,
    secret: Secret,
}

impl Claimant {
    /// A start that drew this.
    pub fn new(code: &Code, name: &str, drawn: u8) -> Self {
        Self {
            name: name.parse().expect("a device's name"),
            code: code.clone(),
            secret: Secret::new([drawn; 32]),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&Asking<'_>, &Secret) -> T) -> T {
        let site: SiteName = SITE.parse().expect("the site's name");
        let asking = Asking {
            code: &self.code,
            site: &site,
            device: &self.name,
        };
        act(&asking, &self.secret)
    }

    /// What it says.
    pub fn said(&self) -> Vec<u8> {
        self.with(|asking, secret| asking.ask(secret).to_vec())
    }

    /// The key in what the gateway said; none in what is no grant for this start of it.
    pub fn granted(&self, payload: &[u8]) -> Option<DeviceKey> {
        let (id, key) = self
            .with(|asking, secret| asking.granted(secret, payload))
            .ok()?;
        let bytes = *key.bytes();
        Some(DeviceKey { id, bytes })
    }

    /// User and password at a broker that asks.
    pub fn login(&self) -> (String, String) {
        let password = u128::from_be_bytes(self.code.key.password());
        (self.name.to_string(), format!("{password:032x}"))
    }

    /// The page of the device that it is with this key.
    pub fn page(&self, key: DeviceKey, port: u16) -> Vec<u8> {
        let page = Settings {
            site: SITE.parse().expect("the site's name"),
            device: self.name.clone(),
            broker: Broker::new("127.0.0.1", port).expect("a broker"),
            key: Some(key),
            claim: None,
        };
        page.page().to_vec()
    }
}
