//! Metrics: the overview as Prometheus reads it.
//!
//! Every metric is a line of [`gateway`] or [`parts`], and of `docs/metrics.md`: a test holds both
//! against what is really said. What is not known now has no sample, which is not a sample of 0.
//! Sensors have no series of their own: a plant of 10,000 devices would make hundreds of thousands
//! of them. Devices are counted by health; rules, sinks and states are few and named.

mod gateway;
mod many;
mod parts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Source;
use super::answer::{Answer, busy, error, typed};
use super::query::Query;
use super::routes::House;
use crate::plant::{Overview, Rule};
use crate::status::Sink;

/// What a format is called that `OpenMetrics` 1.0 describes.
const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics<S: Source>(State(house): State<House<S>>, uri: Uri) -> Answer {
    if let Err(refused) = Query::read(&uri, &[]) {
        return refused.into();
    }
    let Some(overview) = house.newest.overview().await else {
        return busy();
    };
    match text(overview) {
        Ok(text) => typed(KIND, text),
        Err(why) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the metrics cannot be written: {why}; nothing is lost by it"),
        ),
    }
}

/// All metrics of an overview.
fn text(overview: impl Into<Arc<Overview>>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(Snapshot(overview.into())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Labels alone; its name ends in `_info`.
    Info,
}

/// What its values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// A number of something that the name says.
    Plain,
    Bytes,
    Ratio,
}

impl Measure {
    fn unit(self) -> Option<Unit> {
        match self {
            Self::Plain => None,
            Self::Bytes => Some(Unit::Bytes),
            Self::Ratio => Some(Unit::Other("ratio".to_owned())),
        }
    }
}

/// A metric: its name without prefix, unit and ending.
struct Family {
    name: &'static str,
    kind: Kind,
    measure: Measure,
    help: &'static str,
    of: Of,
}

/// Where the samples of a metric come from; what is not known has none.
enum Of {
    /// The whole gateway has one.
    Plant(fn(&Overview) -> Option<Value>),
    /// Each sink has one.
    Sink(fn(&Sink) -> Option<Value>),
    /// Each rule has one.
    Rule(fn(&Rule) -> Option<Value>),
    /// As many as there are values of these labels.
    Many(&'static [&'static str], fn(&Overview, &mut Series)),
}

const fn counter(name: &'static str, measure: Measure, help: &'static str, of: Of) -> Family {
    family(Kind::Counter, name, measure, help, of)
}

const fn gauge(name: &'static str, measure: Measure, help: &'static str, of: Of) -> Family {
    family(Kind::Gauge, name, measure, help, of)
}

const fn info(name: &'static str, measure: Measure, help: &'static str, of: Of) -> Family {
    family(Kind::Info, name, measure, help, of)
}

const fn family(
    kind: Kind,
    name: &'static str,
    measure: Measure,
    help: &'static str,
    of: Of,
) -> Family {
    Family {
        name,
        kind,
        measure,
        help,
        of,
    }
}

/// A value.
#[derive(Debug, Clone, Copy)]
enum Value {
    Whole(u64),
    Real(f64),
}

/// The samples of a metric: values of its labels, in their order, and the value.
#[derive(Debug, Default)]
struct Series(Vec<(Vec<String>, Value)>);

impl Series {
    /// A whole number.
    fn whole(&mut self, labels: &[&str], value: u64) {
        self.add(labels, Value::Whole(value));
    }

    /// 1 for yes, 0 for no.
    fn flag(&mut self, labels: &[&str], is: bool) {
        self.whole(labels, u64::from(is));
    }

    /// A number, if it is known.
    fn one(&mut self, labels: &[&str], value: Option<Value>) {
        if let Some(value) = value {
            self.add(labels, value);
        }
    }

    fn add(&mut self, labels: &[&str], value: Value) {
        let labels = labels.iter().map(|label| (*label).to_owned());
        self.0.push((labels.collect(), value));
    }
}

/// An overview, said as metrics.
#[derive(Debug)]
struct Snapshot(Arc<Overview>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        families().try_for_each(|family| family.encode(&self.0, &mut encoder))
    }
}

/// Every metric.
fn families() -> impl Iterator<Item = &'static Family> {
    gateway::FAMILIES.iter().chain(parts::FAMILIES)
}

impl Family {
    fn labels(&self) -> &'static [&'static str] {
        match self.of {
            Of::Plant(_) => &[],
            Of::Sink(_) => &["sink"],
            Of::Rule(_) => &["rule"],
            Of::Many(labels, _) => labels,
        }
    }

    fn series(&self, overview: &Overview) -> Series {
        let mut series = Series::default();
        match self.of {
            Of::Plant(of) => series.one(&[], of(overview)),
            Of::Sink(of) => {
                for (name, sink) in &overview.status.sinks {
                    series.one(&[name], of(sink));
                }
            }
            Of::Rule(of) => {
                for rule in &overview.rules {
                    series.one(&[&rule.name], of(rule));
                }
            }
            Of::Many(_, of) => of(overview, &mut series),
        }
        series
    }

    fn encode(&self, overview: &Overview, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let series = self.series(overview);
        if series.0.is_empty() {
            return Ok(());
        }
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Info => MetricType::Info,
        };
        let unit = self.measure.unit();
        let mut metric = encoder.encode_descriptor(self.name, self.help, unit.as_ref(), kind)?;
        for (values, value) in &series.0 {
            let values = values.iter().map(String::as_str);
            let labels: Vec<(&str, &str)> = self.labels().iter().copied().zip(values).collect();
            if self.kind == Kind::Info {
                metric.encode_info(&labels)?;
                continue;
            }
            if labels.is_empty() {
                self.encode_one(&mut metric, *value)?;
            } else {
                self.encode_one(&mut metric.encode_family(&labels)?, *value)?;
            }
        }
        Ok(())
    }

    fn encode_one(&self, one: &mut MetricEncoder<'_>, value: Value) -> fmt::Result {
        match (self.kind, value) {
            (Kind::Counter, Value::Whole(value)) => {
                one.encode_counter::<NoLabelSet, _, u64>(&value, None)
            }
            (Kind::Counter, Value::Real(value)) => {
                one.encode_counter::<NoLabelSet, _, u64>(&value, None)
            }
            (_, Value::Whole(value)) => one.encode_gauge(&value),
            (_, Value::Real(value)) => one.encode_gauge(&value),
        }
    }
}
