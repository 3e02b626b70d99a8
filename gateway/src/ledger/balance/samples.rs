//! Balance (i): what a sensor took, against what became of it.

use serde::{Deserialize, Serialize};

use super::unknown::{Bound, Reason, SAMPLES_PER_FRAME, Unknown};
use super::{signed, terms};
use crate::entry::Uncounted;
use crate::ledger::counters::{Counters, DeviceCounters, Rejection, SensorCounters};
use crate::record::GROUP;

/// Where one sensor's samples are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRow {
    /// Device name.
    pub device: String,
    /// Sensor name; `None` for what belongs to no known sensor of the device.
    pub sensor: Option<String>,
    /// Taken, as far as the device told; `None` before its first Totals.
    pub taken: Option<i64>,
    /// The terms.
    #[serde(flatten)]
    pub terms: SampleTerms,
    /// What is not known, and why.
    pub unknowns: Vec<Unknown>,
}

/// The terms of balance (i): `taken_min` is the sum of those below it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleTerms {
    /// Taken at least: what the device told, and what came behind that. The whole where
    /// [`SampleRow::taken`] is known.
    pub taken_min: i64,
    /// Held back on purpose.
    pub suppressed: i64,
    /// Readings without a value.
    pub failed: i64,
    /// Evicted or never held on the device.
    pub lost_on_device: i64,
    /// Logged, but not usable.
    pub rejected: i64,
    /// Logged and usable.
    pub logged: i64,
    /// Lost by the gateway's disk: what is missing where the disk is known to have lost frames.
    pub lost_here: i64,
    /// What cannot be known, within the bounds of the reasons.
    pub unknown: i64,
    /// What nothing explains.
    pub difference: i64,
    /// Frames waiting on the device, as it said last.
    pub waiting_frames: i64,
    /// Samples of logged frames that wait for their catalog.
    pub waiting_for_catalog: i64,
}

terms!(
    SampleTerms: taken_min,
    suppressed,
    failed,
    lost_on_device,
    rejected,
    logged,
    lost_here,
    unknown,
    difference,
    waiting_frames,
    waiting_for_catalog
);

/// The rows of every device: its sensors, then what belongs to none of them.
pub(super) fn rows(counters: &Counters) -> Vec<SampleRow> {
    let mut rows = Vec::new();
    // Records of rules over records are no samples of a device.
    for (name, device) in counters.devices.iter().filter(|(name, _)| *name != GROUP) {
        let first = rows.len();
        for (sensor, counts) in &device.sensors {
            rows.push(sensor_row(counters, device, (name, sensor), counts));
        }
        rows.extend(device_row(name, device, &rows[first..]));
    }
    rows
}

fn sensor_row(
    counters: &Counters,
    device: &DeviceCounters,
    (name, sensor): (&str, &str),
    counts: &SensorCounters,
) -> SampleRow {
    let taken = counts
        .taken
        .map(|told| signed(told) + signed(counts.beyond));
    let known = |count: Option<u64>| count.map_or(0, signed);
    let rejected: u64 = counts.rejected.values().sum();
    let mut terms = SampleTerms {
        taken_min: taken.unwrap_or(signed(counts.beyond)),
        suppressed: known(counts.suppressed),
        failed: known(counts.failed),
        lost_on_device: known(counts.evicted),
        rejected: signed(rejected),
        logged: signed(counts.logged),
        ..SampleTerms::default()
    };
    let accounted =
        terms.suppressed + terms.failed + terms.lost_on_device + terms.rejected + terms.logged;
    let left = terms.taken_min - accounted;
    let mut unknowns = explain(&mut terms, left, counters, device);
    if taken.is_none() {
        unknowns.push(Unknown {
            reason: Reason::NoTotals,
            bound: Bound::None,
        });
    }
    SampleRow {
        device: name.to_owned(),
        sensor: Some(sensor.to_owned()),
        taken,
        terms,
        unknowns,
    }
}

/// Divides what the known terms leave into what the disk lost, what is unknown, and what nothing
/// explains; says the reasons of the second.
fn explain(
    terms: &mut SampleTerms,
    left: i64,
    counters: &Counters,
    device: &DeviceCounters,
) -> Vec<Unknown> {
    let mut reasons = match left {
        0 => return Vec::new(),
        1.. => missing(device),
        _ => vec![Unknown {
            reason: Reason::EvictedNotTaken,
            bound: Bound::Samples(terms.lost_on_device.unsigned_abs()),
        }],
    };
    reasons.extend(boundless(counters, device));
    reasons.retain(|one| one.bound.samples() != Some(0));
    let mut bounds = reasons.iter().map(|one| one.bound.samples());
    let bound = bounds.try_fold(0_u64, |sum, one| Some(sum.saturating_add(one?)));
    let bound = bound.map_or(i64::MAX, signed);
    terms.unknown = left.clamp(-bound, bound);
    let rest = left - terms.unknown;
    if rest > 0 {
        let here = if counters.entries_lost > 0 {
            i64::MAX
        } else {
            signed(device.frames_lost_here.saturating_mul(SAMPLES_PER_FRAME))
        };
        terms.lost_here = rest.min(here);
    }
    terms.difference = rest - terms.lost_here;
    reasons
}

/// Why samples that a device told as taken may be nowhere.
fn missing(device: &DeviceCounters) -> Vec<Unknown> {
    let doubts = &device.doubts;
    let undecodable = device.frames_rejected.get(&Rejection::Undecodable);
    let nameless: u64 = device.samples_rejected.values().sum();
    let of = |reason, bound| Unknown { reason, bound };
    let gone = if device.gaps_open > 0 {
        Bound::None
    } else {
        Bound::Frames(doubts.gone_frames)
    };
    vec![
        of(Reason::UntoldEvictions, Bound::Frames(doubts.untold_frames)),
        of(
            Reason::UntoldEvictions,
            Bound::Samples(doubts.untold_samples),
        ),
        of(Reason::EarlierBoot, gone),
        of(Reason::EarlierBoot, Bound::Samples(doubts.gone_samples)),
        of(
            Reason::Undecodable,
            Bound::Frames(undecodable.copied().unwrap_or(0)),
        ),
        of(Reason::SensorUnknown, Bound::Samples(nameless)),
    ]
}

/// Why a device's counts may be anything.
fn boundless(counters: &Counters, device: &DeviceCounters) -> Vec<Unknown> {
    // The session refuses both as another device's.
    let foreign = [Uncounted::Conflict, Uncounted::AfterGap];
    let mut foreign = foreign.iter().filter_map(|one| device.not_logged.get(one));
    let mut reasons = Vec::new();
    if foreign.any(|frames| *frames > 0) {
        reasons.push(Reason::SharedIdentity);
    }
    if device.parts_lost > 0 || counters.parts_lost > 0 {
        reasons.push(Reason::CountersLost);
    }
    let unknown = |reason| Unknown {
        reason,
        bound: Bound::None,
    };
    reasons.into_iter().map(unknown).collect()
}

/// What belongs to no known sensor of a device; none when there is nothing.
fn device_row(name: &str, device: &DeviceCounters, sensors: &[SampleRow]) -> Option<SampleRow> {
    let doubts = &device.doubts;
    let nameless: u64 = device.samples_rejected.values().sum();
    // Totals may have told of them under the sensor's name: then they are unknown there.
    let there: i64 = sensors.iter().map(|row| row.terms.unknown.max(0)).sum();
    let told = there.min(signed(nameless));
    let terms = SampleTerms {
        taken_min: signed(nameless) - told,
        rejected: signed(nameless),
        unknown: -told,
        waiting_frames: signed(doubts.frames_awaited),
        waiting_for_catalog: signed(device.samples_waiting),
        ..SampleTerms::default()
    };
    let unknowns: Vec<Unknown> = [
        (
            Reason::WaitingOnDevice,
            doubts.frames_awaited,
            Bound::Frames(doubts.frames_awaited),
        ),
        (
            Reason::WaitingForCatalog,
            device.frames_waiting,
            Bound::Samples(device.samples_waiting),
        ),
        (
            Reason::UnfinishedBoot,
            doubts.boots_unfinished,
            Bound::Us(doubts.unfinished_us),
        ),
    ]
    .into_iter()
    .filter(|(_, count, _)| *count > 0)
    .map(|(reason, _, bound)| Unknown { reason, bound })
    .collect();
    (nameless > 0 || !unknowns.is_empty()).then(|| SampleRow {
        device: name.to_owned(),
        sensor: None,
        taken: Some(terms.taken_min),
        terms,
        unknowns,
    })
}
