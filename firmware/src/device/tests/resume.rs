//! Starts after a soft reset, with what the last boot left in RAM.

use super::*;
use crate::outbox::{Content, Remains};

type Kept = Remains<1, 700, 6>;
type Resumed<'r> = Device<'static, &'r mut Kept, 1, 60, 256>;

fn start<'r>(kept: &'r mut Kept, boot: u32, name: &str) -> Resumed<'r> {
    let past = kept.recover(identity().incarnation, &mut [0; 256]);
    let identity = Identity { boot, ..identity() };
    let catalog = catalog_of(&[sensor(name, false)]);
    let config = DeviceConfig::default();
    Device::resume(identity, config, catalog, kept, past.as_ref()).unwrap()
}

/// Takes a sample a minute.
fn take(device: &mut Resumed<'_>, minutes: core::ops::Range<u64>) {
    for minute in minutes {
        let time_us = minute * 60 * SECOND;
        device.sample(0, time_us, Reading::Good(1)).unwrap();
        device.advance(time_us + 60 * SECOND);
    }
}

#[test]
fn other_firmware_announces_its_own_catalog_though_ending_the_last_boot_moved_the_old_one() {
    let mut kept = Kept::new();
    take(&mut start(&mut kept, 1, "old"), 0..5);
    let mut device = start(&mut kept, 2, "new");
    take(&mut device, 0..1);
    let (mut after, mut found) = (Mark::default(), vec![]);
    while let Some(entry) = device.outbox().next_after(after) {
        after = entry.mark;
        found.push(entry.content);
    }
    let hash = device.hello().catalog;
    let ours = [Content::Catalog(hash), Content::Batch(hash)];
    assert_eq!(found[found.len() - 2..], ours, "{found:?}");
}

#[test]
fn a_boot_that_is_counted_twice_sends_what_it_freezes() {
    let mut kept = Kept::new();
    let mut device = start(&mut kept, 4, "a");
    take(&mut device, 0..3);
    let all = Mark {
        boot: 4,
        sequence: 3,
    };
    device.release(all);
    // The boot store lost its newest record: the same boot again.
    let mut device = start(&mut kept, 4, "a");
    assert_eq!(device.link().acked(), Mark::default());
    take(&mut device, 0..2);
    let (mut after, mut found) = (Mark::default(), vec![]);
    while let Some(entry) = device.outbox().next_after(after) {
        after = entry.mark;
        found.push(entry.mark.sequence);
    }
    assert_eq!(found, [1, 2, 3]);
}
