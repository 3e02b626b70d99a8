//! Rules: what to do with which samples, resolved from the configuration.
//!
//! A configuration goes through two shapes: *typed* (what somebody wrote, each part with its
//! place in the file) and [`settings::Settings`] (what runs: every default filled in, every
//! check passed). [`parse()`] leads from the text to the latter or to every [`Mistake`] at once.

mod draw;
pub mod expression;
mod file;
pub mod glob;
mod mistake;
mod parse;
mod quantity;
mod rehearsal;
mod resolve;
mod secret;
pub mod settings;
mod tree;
mod typed;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::draw::{Look, draw};
pub use self::file::read;
pub use self::mistake::{Kind, MISTAKES_MAX, Mistake, Severity};
pub use self::parse::{CONFIG_BYTES_MAX, parse};
pub use self::quantity::{QuantityError, duration_us, show_duration, show_size, size_bytes};
pub use self::rehearsal::{Ruled, parse_test};
pub use self::secret::shown_url;
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

/// One rule as it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Name, unique; its identity.
    pub name: String,
    /// Which sensors.
    pub matching: Match,
    /// Values outside are filtered.
    pub keep: Option<Keep>,
    /// Samples closer than this to the last kept one are filtered, in the sensor's unit.
    pub deadband: Option<f64>,
    /// How samples are grouped; without one every sample becomes a record.
    pub window: Option<Window>,
    /// What is computed of a window, in this order.
    pub aggregates: Vec<Aggregate>,
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

/// Which sensors a rule takes: globs with `*` and `?`, all of them to match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Glob over device names.
    pub device: String,
    /// Glob over sensor names.
    pub sensor: String,
}

/// Bounds of plausible values, inclusive, in the sensor's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// Lowest value kept.
    pub min: Option<f64>,
    /// Highest value kept.
    pub max: Option<f64>,
}

/// How samples are grouped by event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// Windows of one length, aligned to 1970-01-01, without overlap.
    Tumbling {
        /// Length in µs.
        length_us: i64,
        /// How far beyond its end the watermark must be before a window closes, in µs.
        lateness_us: i64,
        /// What happens to samples of a window that was closed before its watermark.
        late: Late,
    },
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    pub fn name(self) -> String {
        match self {
            Self::Count => "count".into(),
            Self::Sum => "sum".into(),
            Self::Min => "min".into(),
            Self::Max => "max".into(),
            Self::Mean => "mean".into(),
            Self::Stddev => "stddev".into(),
            Self::First => "first".into(),
            Self::Last => "last".into(),
            Self::Percentile(tenths) if tenths % 10 == 0 => format!("p{}", tenths / 10),
            Self::Percentile(tenths) => format!("p{}.{}", tenths / 10, tenths % 10),
        }
    }
}
