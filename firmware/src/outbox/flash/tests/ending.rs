//! A planned stop with a full outbox before a flash that does not work: its Totals count what they themselves evict.

use std::boxed::Box;
use std::format;

use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::ids::SensorName;
use tidegate_shared::message::{ResetReason, Up};

use super::*;
use crate::device::{Device, DeviceConfig, Identity};
use crate::sensor::Reading;

const SENSORS: usize = 120;

type Flash = MockNor<{ 32 * 1_024 }, 1_024, 4>;
/// An item is the largest frame, its receipt and 24 bytes, as small as may be.
type Full = FlashOutbox<Flash, RamOutbox<8_192, 64>, 192, { 256 + 2 * SENSORS + 24 }>;
type Node = Device<'static, Full, SENSORS, 8, 256>;

fn node() -> Node {
    let mut flash = Flash::new();
    flash.cut_after(0, 0);
    assert_eq!(flash.erase(0, 1_024), Err(NorError::PowerOff));
    let names: Vec<_> = (0..SENSORS).map(|one| format!("s{one}")).collect();
    let sensors = names.iter().map(|name| SensorInfo {
        id: SensorName::try_from(name.as_str()).unwrap(),
        unit: "bar",
        kind: Kind::Gauge,
        scale: Scale::decimal(-2),
        urgent: false,
        tags: heapless::Vec::new(),
    });
    let sensors: Vec<_> = sensors.collect();
    let mut out = [0; 4_096];
    let bytes = catalog::write(&sensors, &mut out).unwrap();
    let catalog = Box::leak(bytes.to_vec().into_boxed_slice());
    let config = FlashConfig {
        range: 0..32 * 1_024,
        ..config()
    };
    let identity = Identity {
        incarnation: Incarnation(1),
        boot: 1,
        firmware: "full",
        reset: ResetReason::PowerOn,
        seed: 1,
    };
    let outbox = Full::open(flash, config, RamOutbox::new()).unwrap();
    Device::new(identity, DeviceConfig::default(), catalog, outbox).unwrap()
}

/// The counts that the newest Totals tell, per sensor.
fn told(node: &Node) -> Vec<Counts> {
    let mut told = vec![Counts::default(); SENSORS];
    let mut after = Mark::default();
    while let Some(entry) = node.outbox().next_after(after) {
        after = entry.mark;
        let mut out = [0; 256];
        let bytes = node.outbox().read(after, &mut out).unwrap();
        let body = frame::read(&out[..bytes]).unwrap().body;
        if let Ok(Up::Totals(totals)) = Up::read(body) {
            let first = usize::from(totals.head.first);
            for (there, counts) in told[first..].iter_mut().zip(totals.counts()) {
                *there = counts.unwrap();
            }
        }
    }
    told
}

#[test]
fn the_totals_of_a_planned_stop_count_what_they_evict() {
    // Whatever is left free when it comes.
    let mut late = 0;
    for rows in 10..40 {
        let mut node = node();
        for row in 1..=rows {
            for sensor in 0..SENSORS as u16 {
                let raw = (row * 7_919 + u64::from(sensor) * 104_729) % 50_000;
                let reading = Reading::Good(raw as i64);
                node.sample(sensor, row * 1_000_000, reading).unwrap();
            }
        }
        let before = node.counts_sum().evicted;
        node.stop();
        late += u32::from(node.counts_sum().evicted > before);
        let counts: Vec<_> = (0..SENSORS as u16).map(|one| node.counts(one)).collect();
        assert_eq!(told(&node), counts, "{rows} rows");
    }
    assert!(late > 9, "{late} stops had to evict");
}
