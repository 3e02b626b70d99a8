//! Devices that get their keys by a claim.

use tidegate_firmware::settings::{PageClaim, Settings};
use tidegate_shared::claim::{ClaimId, Claimant, Secret};

use super::*;

impl Gateway {
    /// Answers a claim, which is all that the device may have said.
    pub(super) fn grant(&mut self, device: &DeviceName, code: &Code, key: DeviceKey, said: &[u8]) {
        let site = self.site.clone();
        let claimant = Claimant {
            code,
            site: &site,
            device,
        };
        let asked = claimant.asked(said).expect("a claim by the code");
        let (secret, granted) = (Secret::new([7; 32]), Key::new(key.bytes));
        let grant = claimant.grant(&asked, &secret, key.id, &granted).unwrap();
        let topic = Topic::Down(device.clone()).text(&site).to_string();
        self.link.publish(&topic, grant.to_vec(), false, Some(30));
        self.sealing = Some(Sealing {
            key,
            hello: (Incarnation(0), 0, 0),
            counter: 1,
        });
    }
}

/// A claim, and a file of the page that says it.
fn page() -> (PageClaim, tempfile::NamedTempFile) {
    let claim = PageClaim {
        id: 0x00c1_a1f0,
        code: [0xc0; 32],
    };
    let page = Settings {
        claim: Some(claim.clone()),
        ..Settings::new("house", "pump", "127.0.0.1", 1_883).unwrap()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), page.page()).unwrap();
    (claim, file)
}

/// The first run gets a key and keeps it; the second one says no claim, and needs no grant.
#[tokio::test]
async fn a_device_with_a_claim_is_granted_a_key_once_and_keeps_it() {
    let (broker, dir) = (broker().await, tempfile::tempdir().unwrap());
    let (claim, page) = page();
    let key = DeviceKey {
        id: 1,
        bytes: [0x4b; 32],
    };
    let args = SimulateArgs {
        device: "pump-7".to_owned(),
        key_file: Some(page.path().to_owned()),
        state: Some(dir.path().join("state.json")),
        duration: 600,
        ..args(&broker)
    };
    for is_first in [true, false] {
        let log = Log::default();
        let mut gateway = Gateway::start(&broker, 1 + u32::from(is_first), &log);
        if is_first {
            let code = Code {
                id: ClaimId(claim.id),
                key: Key::new(claim.code),
            };
            gateway.granting = Some((code, key.clone()));
        } else {
            gateway.sealing = Some(Sealing {
                key: key.clone(),
                hello: (Incarnation(0), 0, 0),
                counter: 0x7fff,
            });
        }
        let gateway = tokio::spawn(gateway.serve());
        let summary = simulated(&args).await.unwrap();
        assert_eq!(summary.figures.depth, 0);
        let frames: Vec<_> = log.lock().unwrap().values().flatten().cloned().collect();
        let samples = samples(&frames);
        assert!(!samples.is_empty() && samples.values().all(|sensor| sensor.len() == 600));
        let least = 1 + u64::from(is_first);
        assert!(summary.figures.connections >= least, "{summary:?}");
        gateway.abort();
        // Stopped for good before the next one takes the site.
        assert!(gateway.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test]
async fn a_device_of_another_prefix_sends_nothing() {
    let (broker, (_, page)) = (broker().await, page());
    let args = SimulateArgs {
        device: "valve-7".to_owned(),
        key_file: Some(page.path().to_owned()),
        ..args(&broker)
    };
    let refused = simulated(&args).await.unwrap_err();
    let SimulateError::Key { source, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert!(matches!(source, KeyFault::Prefix { prefix, .. } if prefix.as_str() == "pump"));
}
