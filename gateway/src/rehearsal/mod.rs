//! Rehearsal: a test of rules, run on virtual time through the real pipeline.
//!
//! Terms: a *test* is what a file of `tidegate test` says, every check passed
//! ([`crate::rules::parse_test`] reads it); a *timeline* is what one device goes through; an
//! *expectation* names some fields of a record that has to come.
//!
//! ```text
//! steps ─▶ happenings (`timeline`) ─▶ entries, as the log would hold them (`player`)
//!       ─▶ pipeline, with a tick whenever it asks for one (`run`)
//!       ─▶ records and counters ─▶ against what is expected (`expectation`, `pairing`, `counts`)
//! ```
//! [`rehearse()`] is a function of the test alone: no clock, no file, no draw. Times are µs since
//! the test's beginning unless their name says `utc`.

mod counts;
mod expectation;
mod gateway;
mod outcome;
mod pairing;
mod player;
mod run;
mod text;
mod timeline;

#[cfg(test)]
mod tests;

use tidegate_shared::catalog::Kind;
use tidegate_shared::ids::{DeviceName, SensorName, SiteName};

pub use self::counts::{Count, CountsWanted, FILTERS, REJECTIONS, filter, rejection};
pub use self::expectation::{Datum, Expected, Field};
pub use self::outcome::{Difference, FieldDifference, Outcome};
pub use self::run::rehearse;
pub use self::text::tell;
use crate::entry::Limits;
use crate::rules::RuleSet;

/// Most samples of a test: a device's day at ten a second, in 50 MB.
pub const SAMPLES_MAX: u64 = 1_000_000;
/// Most devices of a test.
pub const DEVICES_MAX: usize = 100;
/// Most sensors of a test's device, so that its catalog fits one frame.
pub const SENSORS_MAX: usize = 64;
/// Most expectations of a test, of records and of counts each.
pub const EXPECTED_MAX: usize = 1_000;
/// Longest duration of a step, in µs: a year.
pub const STEP_US_MAX: i64 = 366 * 86_400 * 1_000_000;
/// Longest `hold`, in µs: a batch's offsets are 32 bits of µs.
pub const HOLD_US_MAX: i64 = 3_600 * 1_000_000;

/// A test, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// What it shows, for people.
    pub about: Option<String>,
    /// Site in the records.
    pub site: SiteName,
    /// UTC in µs at which the timelines begin.
    pub begin_utc_us: i64,
    /// When virtual time ends; `None`: when nothing is open any more.
    pub until_us: Option<i64>,
    /// The rules under test.
    pub rules: RuleSet,
    /// Limits that change what the pipeline does.
    pub limits: Limits,
    /// What the gateway itself goes through, in order, none of it at one time with another.
    pub gateway: Vec<GatewayStep>,
    /// The devices.
    pub devices: Vec<Device>,
    /// Records that have to come; `None`: records are not compared.
    pub expected: Option<Vec<Expected>>,
    /// Whether records may come that nobody expects.
    pub others_ignored: bool,
    /// Counts that have to come out.
    pub counts: Vec<CountsWanted>,
}

/// A step of the gateway's own timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayStep {
    /// When it begins, in µs.
    pub at_us: i64,
    /// What happens.
    pub act: GatewayAct,
}

/// What happens to the gateway. Durations in µs.
#[derive(Debug, Clone, PartialEq)]
pub enum GatewayAct {
    /// It goes off, and starts again after so long.
    Restart(i64),
    /// Its broker is unreachable for so long.
    Outage(i64),
    /// Other rules are put in force, with the limits beside them.
    Rules(Box<(RuleSet, Limits)>),
}

impl GatewayStep {
    /// When it is over, in µs.
    pub fn end_us(&self) -> i64 {
        match self.act {
            GatewayAct::Restart(us) | GatewayAct::Outage(us) => self.at_us.saturating_add(us),
            GatewayAct::Rules(_) => self.at_us,
        }
    }
}

/// A device and what it goes through.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its name.
    pub name: DeviceName,
    /// Longest time a sample waits on the device, in µs.
    pub hold_us: i64,
    /// Whether it has a clock of its own; else its times are learnt by the gateway.
    pub has_clock: bool,
    /// Its sensors, in the order of its catalog.
    pub sensors: Vec<Sensor>,
    /// Its timeline.
    pub steps: Vec<Step>,
}

/// A sensor of a test's device.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// Its name.
    pub name: SensorName,
    /// Its unit, at most 16 bytes.
    pub unit: String,
    /// What its numbers mean.
    pub kind: Kind,
    /// Digits behind the point: raw values count units of `10^-decimals`.
    pub decimals: u8,
    /// Its tags.
    pub tags: Vec<String>,
}

/// A step of a timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When it begins, in µs; `None`: where the steps before it ended.
    pub at_us: Option<i64>,
    /// What happens.
    pub act: Act,
}

/// What happens in a step. Durations in µs.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// The device takes samples.
    Samples(Samples),
    /// It takes none for so long; its link is up.
    Silence(i64),
    /// Its link is down for so long, from the step's beginning; other steps go on meanwhile.
    Outage(i64),
    /// It restarts and is back as another boot after so long. What it held is kept.
    Reboot(i64),
    /// It stops as planned, and is back as another boot after so long if anything follows.
    Stop(i64),
    /// Its time is set by so much, forwards or backwards.
    Clock(i64),
}

/// Samples of some sensors on common times.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// By sensor, as an index: raw values; `None` for one that the device marks as bad.
    pub columns: Vec<(u16, Vec<Option<i64>>)>,
    /// When.
    pub times: Times,
    /// How often all of it is said.
    pub repeat: u64,
    /// How long after its time each sample arrives on its own, in µs, if not in its batch.
    pub late_us: Option<i64>,
}

/// When samples are taken, in µs from the step's beginning.
#[derive(Debug, Clone, PartialEq)]
pub enum Times {
    /// One each so often, the first at once.
    Every(i64),
    /// At these, ascending.
    At(Vec<i64>),
}
