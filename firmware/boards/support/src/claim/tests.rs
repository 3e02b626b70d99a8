//! Starts of boards with one page, each with a store of its own in memory.

use tidegate_firmware::settings::KEY_BYTES;

use super::*;
use crate::boot::RECORD_BYTES;

#[derive(Clone)]
struct Memory([[u8; RECORD_BYTES]; 2]);

impl Slots for Memory {
    type Error = ();

    fn read(&mut self, slot: usize) -> Result<[u8; RECORD_BYTES], ()> {
        Ok(self.0[slot])
    }

    fn write(&mut self, slot: usize, record: &[u8; RECORD_BYTES]) -> Result<(), ()> {
        self.0[slot] = *record;
        Ok(())
    }
}

struct Dice(u32);

impl Entropy for Dice {
    fn draw(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

fn page(claim: u32) -> Settings {
    Settings {
        claim: Some(PageClaim {
            id: claim,
            code: [claim as u8; KEY_BYTES],
        }),
        ..Settings::new("site", "pump", "127.0.0.1", 1883).expect("names")
    }
}

fn key() -> DeviceKey {
    DeviceKey {
        id: 1,
        bytes: [0x4b; KEY_BYTES],
    }
}

/// One start: what it is called, and its key.
fn start(
    store: &mut Memory,
    mut page: Settings,
    number: Option<u32>,
    entropy: u32,
) -> (Boot, Settings) {
    let mut entropy = Dice(entropy);
    let mut started = boot::begin(store, &mut entropy).expect("a store");
    settle(&mut page, (store, &mut started), number, &mut entropy);
    (started, page)
}

fn blank() -> Memory {
    Memory([[0xff; RECORD_BYTES]; 2])
}

#[test]
fn a_board_is_named_by_its_number_or_by_one_that_it_draws_once() {
    let mut store = blank();
    let (_, settings) = start(&mut store, page(7), Some(0x00c0_ffee), 0);
    assert_eq!(settings.device.as_str(), "pump-00c0ffee");
    assert_eq!(settings.key, None);
    let (_, drawn) = start(&mut store, page(7), None, 0x0a00_0000);
    let (_, again) = start(&mut store, page(7), None, 0x0b00_0000);
    assert_eq!(drawn.device.as_str(), "pump-0a000001");
    assert_eq!(again.device, drawn.device, "another start, the same board");
    let (_, other) = start(&mut blank(), page(7), None, 0x0c00_0000);
    assert_ne!(other.device, drawn.device);
}

#[test]
fn a_granted_key_is_used_by_the_page_that_it_was_granted_to() {
    let mut store = blank();
    let (started, settings) = start(&mut store, page(7), Some(1), 0);
    let own = started.own.with_key(7, &key());
    boot::keep(&mut store, &started, own).expect("a store");
    let (_, granted) = start(&mut store, page(7), Some(1), 0);
    assert_eq!(granted.key, Some(key()));
    assert_eq!(granted.device, settings.device, "the name stays");
    assert_eq!(granted.enrols(), None);
    let (_, other) = start(&mut store, page(8), Some(1), 0);
    assert_eq!(other.key, None, "another claim's page");
    assert!(other.enrols().is_some());
    let keyed = Settings {
        key: Some(DeviceKey { id: 9, ..key() }),
        ..page(7)
    };
    let (_, settings) = start(&mut store, keyed.clone(), Some(1), 0);
    assert_eq!(settings, keyed, "a page with a key is as it is");
}
