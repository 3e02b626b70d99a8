//! Rules: what to do with which samples, resolved from the configuration.
//!
//! A configuration goes through two shapes: *typed* (what somebody wrote, each part with its
//! place in the file) and [`settings::Settings`] (what runs: every default filled in, every
//! check passed). [`parse()`] leads from the text to the latter or to every [`Mistake`] at once.

mod doubt;
mod draw;
pub mod expression;
mod file;
pub mod glob;
mod mistake;
mod parse;
mod quantity;
mod rehearsal;
mod resolve;
mod schema;
mod secret;
pub mod settings;
mod tree;
mod typed;
mod zone;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::draw::{Look, draw};
pub use self::expression::Expression;
pub use self::file::read;
pub(crate) use self::mistake::nearest;
pub use self::mistake::{Kind, MISTAKES_MAX, Mistake, Severity};
pub use self::parse::{CONFIG_BYTES_MAX, mistake_at, parse};
pub use self::quantity::{QuantityError, duration_us, show_duration, show_size, size_bytes};
pub use self::rehearsal::{Ruled, parse_test};
pub use self::schema::schema;
pub use self::secret::{masked, shown_url};
pub use self::typed::{RULES_MAX, SINKS_MAX};

/// A rule set as it runs. Its JSON is what the log's `Rules` entry holds.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleSet {
    /// Rules in the order of the file.
    pub rules: Vec<Rule>,
}

/// The log's `Rules` entry does not hold a rule set.
#[derive(Debug, thiserror::Error)]
#[error(
    "a rule set in the log cannot be read: it was written by another version or is damaged; the \
     log itself is kept"
)]
pub struct RuleSetUnreadable {
    #[from]
    source: serde_json::Error,
}

impl RuleSet {
    /// The text of the log's `Rules` entry: equal rule sets give equal texts, and reading one
    /// back gives every number bit for bit.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .expect("a rule set holds texts, finite numbers and lists, which are all JSON")
    }

    /// Reads the text of a `Rules` entry.
    pub fn from_json(text: &str) -> Result<Self, RuleSetUnreadable> {
        Ok(serde_json::from_str(text)?)
    }
}

/// One rule as it runs. A sample goes through its steps in this order: match, `keep`, `derive`,
/// `when`, thinning, then a window, an alert or straight into a record.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Name, unique; its identity.
    pub name: String,
    /// The rule whose records are this one's samples; without one the samples of sensors are.
    pub from: Option<Source>,
    /// Which sensors.
    pub matching: Match,
    /// What is implausible is filtered.
    pub keep: Option<Keep>,
    /// Other sensors whose values `derive`, `when` and `alert` may use.
    pub inputs: Vec<Input>,
    /// How old an input may be when a sample is taken, in µs; one that is older is absent.
    pub max_age_us: i64,
    /// What is computed of a sample and takes its place.
    pub derive: Option<Derive>,
    /// Samples for which it does not hold are filtered.
    pub when: Option<Expression>,
    /// Samples that say nothing new are filtered.
    pub thin: Option<Thinning>,
    /// A sample passes the thinning when the last one that passed is as old as this, in µs.
    pub heartbeat_us: Option<i64>,
    /// How samples are grouped in time; without one every sample becomes a record.
    pub window: Option<Window>,
    /// What is computed of a window, in this order.
    pub aggregates: Vec<Aggregate>,
    /// What shares a record.
    pub group: Group,
    /// The condition that is watched; a rule with one makes no other records.
    pub alert: Option<Alert>,
    /// Class in the sinks' queues.
    pub priority: Priority,
    /// Sinks by name.
    pub forward: Vec<String>,
}

impl Rule {
    /// The rule without what only says where its records go and in which class: what its version
    /// counts changes of.
    #[must_use]
    pub fn computed(&self) -> Self {
        Self {
            priority: Priority::default(),
            forward: Vec::new(),
            ..self.clone()
        }
    }
}

/// Records of another rule as samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// That rule's name.
    pub rule: String,
    /// Which of its records' values.
    pub value: String,
    /// Decimals that are kept of it.
    pub decimals: u8,
}

/// Which sensors a rule takes. Each part is a list of globs with `*` and `?`, of which one has to
/// match; an empty list matches everything.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Globs over site names.
    pub site: Vec<String>,
    /// Globs over device names.
    pub device: Vec<String>,
    /// Globs over sensor names.
    pub sensor: Vec<String>,
    /// Globs over units.
    pub unit: Vec<String>,
    /// Globs over kinds: `gauge`, `counter`, `state`, `bool`.
    pub kind: Vec<String>,
    /// Globs over a sensor's tags: one of them has to match one of these.
    pub tags: Vec<String>,
}

impl Match {
    /// Sensors whose device and own name match a glob each.
    pub fn names(device: &str, sensor: &str) -> Self {
        Self {
            device: vec![device.to_owned()],
            sensor: vec![sensor.to_owned()],
            ..Self::default()
        }
    }
}

/// Bounds of plausible values, inclusive, in the sensor's unit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// Lowest value kept.
    pub min: Option<f64>,
    /// Highest value kept.
    pub max: Option<f64>,
    /// Fastest change from the last value kept, per second.
    pub rate_max: Option<f64>,
}

/// A sensor whose newest value a rule's expressions may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its name in expressions.
    pub alias: String,
    /// The device; `None` for the sample's own.
    pub device: Option<String>,
    /// The sensor.
    pub sensor: String,
}

/// What takes a sample's place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Derive {
    /// How it is computed.
    pub what: Derivation,
    /// Its unit; `None` for the sensor's own.
    pub unit: Option<String>,
    /// Decimals that are kept of it.
    pub decimals: u8,
}

/// How a value is derived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Derivation {
    /// An expression over the sample and the inputs.
    Value(Expression),
    /// Change since the sample before, per a time. A counter that fell began anew at 0.
    Rate {
        /// That time in µs.
        per_us: i64,
        /// Across a longer gap there is none, in µs.
        gap_max_us: i64,
    },
    /// Area under the line from the sample before to this one, in unit × a time.
    Integral {
        /// That time in µs.
        per_us: i64,
        /// Across a longer gap there is none, in µs.
        gap_max_us: i64,
    },
}

/// How samples that say nothing new are left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Thinning {
    /// Those closer to the last that passed than the larger of both.
    Deadband {
        /// Distance in the unit.
        absolute: Option<f64>,
        /// Share of the last value's magnitude.
        relative: Option<f64>,
    },
    /// Those equal to the last that passed.
    OnChange,
    /// All but one in a time: the first of each such stretch, counted from the last that passed.
    DecimateTime {
        /// That time in µs.
        every_us: i64,
    },
    /// All but one in a number.
    DecimateCount {
        /// That number.
        every: u32,
    },
    /// Those that a straight line between the ones that pass redraws to within an error
    /// (swinging door).
    SwingingDoor {
        /// Largest error in the unit.
        max_error: f64,
    },
}

impl Thinning {
    /// A deadband of a distance in the unit.
    pub fn deadband(absolute: f64) -> Self {
        Self::Deadband {
            absolute: Some(absolute),
            relative: None,
        }
    }
}

/// How samples are grouped in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which windows there are.
    pub shape: Shape,
    /// How far beyond its end the watermark must be before a window closes, in µs.
    pub lateness_us: i64,
    /// What happens to samples of a window that was closed before its watermark.
    pub late: Late,
    /// How long a value holds when nothing newer comes, in µs, for time-weighted aggregates.
    pub hold_us: i64,
}

impl Window {
    /// Tumbling windows that hold a value for their length.
    pub fn tumbling(length_us: i64, lateness_us: i64, late: Late) -> Self {
        Self {
            shape: Shape::Tumbling { length_us },
            lateness_us,
            late,
            hold_us: length_us,
        }
    }
}

/// Which windows there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// Windows of one length, aligned to 1970-01-01, without overlap.
    Tumbling {
        /// Length in µs.
        length_us: i64,
    },
    /// Windows of one length that begin at every multiple of a shorter time.
    Hopping {
        /// Length in µs, a multiple of `every_us`.
        length_us: i64,
        /// That time in µs.
        every_us: i64,
    },
    /// A window for every sample: the time up to and with it.
    Sliding {
        /// Length in µs.
        length_us: i64,
    },
    /// Samples that are less than a gap apart.
    Session {
        /// That gap in µs.
        gap_us: i64,
        /// A session's last sample is less than this behind its first, in µs; the next one begins
        /// another.
        length_max_us: i64,
    },
    /// A number of samples.
    Count {
        /// That number.
        samples: u64,
    },
    /// Days, weeks or months as a time zone has them.
    Calendar {
        /// Which.
        every: Calendar,
        /// Name in the IANA time zone database.
        zone: String,
    },
}

/// Stretches of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Calendar {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

/// What happens to samples of a window that was closed before its watermark passed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Late {
    /// They make a revision.
    #[default]
    Revise,
    /// They are counted as late.
    Drop,
}

/// What is computed of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Aggregate {
    /// Samples.
    Count,
    /// Exact sum.
    Sum,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Sum over count.
    Mean,
    /// Sample standard deviation (n−1); absent below two samples.
    Stddev,
    /// Earliest by event time, ties by log order.
    First,
    /// Latest by event time, ties by log order.
    Last,
    /// Percentile in tenths of a percent (p95 is 950), 0 to 1000, linear at (n−1)p.
    Percentile(u16),
    /// As p50.
    Median,
    /// Largest less smallest.
    Range,
    /// Mean of the values by the time that each held; absent where no time is covered.
    TimeWeightedMean,
    /// Change since the sample before the window, or since its first. Of a counter the growth:
    /// one that fell began anew at 0.
    Delta,
    /// That change per second; absent where no time passed.
    Rate,
    /// Share of the covered time during which a condition on `value` held, 0 to 1.
    ShareOfTime {
        /// Name in records.
        name: String,
        /// The condition.
        condition: Expression,
    },
    /// Samples below the first bound, from each bound to the next, and from the last on.
    Histogram {
        /// Name in records.
        name: String,
        /// Ascending, in the unit.
        bounds: Vec<f64>,
    },
}

/// What shares a record.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Group {
    /// One sensor of one device.
    #[default]
    Sensor,
    /// All sensors of a device.
    Device,
    /// All devices of the site, by sensor; for rules over records.
    Site,
}

/// A condition that is watched.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Opens the alert; `None` when only silence does.
    pub when: Option<Expression>,
    /// Clears it; `None`: as soon as `when` does not hold.
    pub clear: Option<Expression>,
    /// How long `when` must hold without a break, in µs of event time.
    pub for_us: i64,
    /// A record again each time it was open for this much longer, in µs of event time.
    pub repeat_us: Option<i64>,
    /// Opens when no sample came for this long, in µs of arrival time.
    pub silent_for_us: Option<i64>,
    /// An alert is historic when its sample is older than this as it arrives, in µs.
    pub historic_after_us: i64,
}

/// Class of a record in a sink's queues: higher classes are sent first and evicted last.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Evicted first.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Sent first.
    High,
}

impl Aggregate {
    /// The name in configuration and records: `count`, `p95`, `p99.9`.
    pub fn name(&self) -> String {
        match self {
            Self::Count => "count".into(),
            Self::Sum => "sum".into(),
            Self::Min => "min".into(),
            Self::Max => "max".into(),
            Self::Mean => "mean".into(),
            Self::Stddev => "stddev".into(),
            Self::First => "first".into(),
            Self::Last => "last".into(),
            Self::Median => "median".into(),
            Self::Range => "range".into(),
            Self::TimeWeightedMean => "time_weighted_mean".into(),
            Self::Delta => "delta".into(),
            Self::Rate => "rate".into(),
            Self::ShareOfTime { name, .. } | Self::Histogram { name, .. } => name.clone(),
            Self::Percentile(tenths) if tenths % 10 == 0 => format!("p{}", tenths / 10),
            Self::Percentile(tenths) => format!("p{}.{}", tenths / 10, tenths % 10),
        }
    }
}
