//! Gates: the steps of a rule before its outlet: keep, derive, when, thinning.
//!
//! Plain bounds and a deadband are comparisons of raw integers, resolved so that they decide
//! exactly as comparing the values' floats would. Whatever needs more lives in [`Steps`], which
//! only rules that ask for it have.
//!
//! What is derived becomes an integer again, of as many decimals as the rule keeps: behind the
//! gate every number is a raw integer with a scale.

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::{Kind, Scale};

use super::decimal;
use super::plan::Plan;
use super::program::{Constants, Program};
use super::sensor::Meta;
use super::timeline;
use crate::ledger::counters::Filter;
use crate::rules::{Derivation, Keep, Rule, Thinning};

/// Most inputs of a rule.
pub(super) const INPUTS_MAX: usize = 8;

/// Gives the value of an input (counted from 0) as of an event time; NaN when it is absent.
pub(super) type AsOf<'a> = &'a dyn Fn(usize, i64) -> f64;

/// What a gate lets through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Let {
    /// In the output's scale.
    pub raw: i64,
    /// The value and the inputs, where expressions behind the gate may ask for them.
    pub inputs: [f64; INPUTS_MAX + 1],
}

/// A rule's filter on one sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Gate {
    /// Lowest raw kept.
    low: i64,
    /// Highest raw kept; below `low` when nothing is.
    high: i64,
    /// Output raws closer than this to the last that passed are filtered; 0 filters none.
    band: u64,
    /// The last output raw that passed, where something asks for it.
    last: Option<i64>,
    steps: Option<Box<Steps>>,
}

/// What more there is to a filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Steps {
    /// Event time and raw of the last plausible sample.
    plausible: Option<(i64, i64)>,
    /// Event time and raw of the last sample that came to be derived from.
    before: Option<(i64, i64)>,
    /// Event time of the last sample that passed.
    passed_us: Option<i64>,
    /// Samples left out since.
    skipped: u32,
    #[serde(skip)]
    bound: Bound,
}

/// What a rule's expressions are on one sensor; made again when the state is read.
#[derive(Debug, Default, Clone, PartialEq)]
struct Bound {
    derive: Option<Program>,
    when: When,
}

#[derive(Debug, Default, Clone, PartialEq)]
enum When {
    #[default]
    Always,
    /// The output raw lies within.
    Range(i64, i64),
    Program(Program),
}

impl Gate {
    /// The gate of a rule on a sensor.
    pub fn new(plan: &Plan, meta: &Meta, constants: &Constants<'_>) -> Self {
        let rule = &plan.rule;
        let (low, high) = keep(rule, &meta.scale);
        let output = plan.output(meta).scale;
        let mut gate = Self {
            low,
            high,
            band: absolute(rule).map_or(0, |deadband| band(deadband, &output)),
            last: None,
            steps: needs_steps(rule).then(|| {
                Box::new(Steps {
                    plausible: None,
                    before: None,
                    passed_us: None,
                    skipped: 0,
                    bound: Bound::default(),
                })
            }),
        };
        gate.bind(plan, meta, constants);
        gate
    }

    /// Binds the rule's expressions: after the state was read, and for a sensor described anew.
    pub fn bind(&mut self, plan: &Plan, meta: &Meta, constants: &Constants<'_>) {
        let Some(steps) = &mut self.steps else {
            return;
        };
        let rule = &plan.rule;
        let output = plan.output(meta).scale;
        steps.bound = Bound {
            derive: rule.derive.as_ref().and_then(|derive| match &derive.what {
                Derivation::Value(expression) => Some(Program::bind(expression, constants)),
                Derivation::Rate { .. } | Derivation::Integral { .. } => None,
            }),
            when: rule.when.as_ref().map_or(When::Always, |expression| {
                let program = Program::bind(expression, constants);
                match program.interval() {
                    Some(interval) => {
                        let (low, high) = raws(interval, &output);
                        When::Range(low, high)
                    }
                    None => When::Program(program),
                }
            }),
        };
    }

    /// Begins an epoch: nothing came before.
    pub fn begin_epoch(&mut self) {
        self.last = None;
        if let Some(steps) = &mut self.steps {
            steps.plausible = None;
            steps.before = None;
            steps.passed_us = None;
            steps.skipped = 0;
        }
    }

    /// The output raw that passed last, where a deadband asks for it.
    pub fn last(&self) -> Option<i64> {
        self.last
    }

    /// Whether bounds and an absolute deadband are all there is to it.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.steps.is_none()
    }

    /// Whether a sample passes, when [`Self::is_plain`]; raw in, raw out.
    #[inline]
    pub fn passes(&mut self, raw: i64) -> Result<(), Filter> {
        if raw < self.low || raw > self.high {
            return Err(Filter::Keep);
        }
        if self.band > 0 {
            let close = |last: i64| last.abs_diff(raw) < self.band;
            if self.last.is_some_and(close) {
                return Err(Filter::Deadband);
            }
            self.last = Some(raw);
        }
        Ok(())
    }

    /// Takes a sample through all steps.
    pub fn take(
        &mut self,
        plan: &Plan,
        meta: &Meta,
        (time_us, raw): (i64, i64),
        as_of: AsOf<'_>,
    ) -> Result<Let, Filter> {
        let Some(steps) = &mut self.steps else {
            self.passes(raw)?;
            let mut inputs = [f64::NAN; INPUTS_MAX + 1];
            inputs[0] = number(raw, &meta.scale);
            return Ok(Let { raw, inputs });
        };
        if raw < self.low || raw > self.high {
            return Err(Filter::Keep);
        }
        let rule = &plan.rule;
        let mut inputs = [f64::NAN; INPUTS_MAX + 1];
        inputs[0] = number(raw, &meta.scale);
        if let Some(rate_max) = rule.keep.and_then(|keep| keep.rate_max) {
            if steps.is_too_fast(rate_max, (time_us, inputs[0]), &meta.scale) {
                return Err(Filter::Rate);
            }
            steps.plausible = Some((time_us, raw));
        }
        for at in 0..rule.inputs.len().min(INPUTS_MAX) {
            inputs[at + 1] = as_of(at, time_us);
        }
        let mut out = raw;
        let output = plan.output(meta);
        if rule.derive.is_some() {
            let derived = steps.derive(rule, meta, (time_us, raw), &inputs);
            let derived = derived.and_then(|value| decimal::round(value, output.scale.exponent));
            out = derived.ok_or(Filter::Undefined)?;
            inputs[0] = number(out, &output.scale);
        }
        match &steps.bound.when {
            When::Always => {}
            When::Range(low, high) => {
                if out < *low || out > *high {
                    return Err(Filter::When);
                }
            }
            When::Program(program) => match program.holds(&inputs) {
                Some(true) => {}
                Some(false) => return Err(Filter::When),
                None => return Err(Filter::Undefined),
            },
        }
        if let Some(thin) = &rule.thin {
            let beats = rule.heartbeat_us.zip(steps.passed_us);
            let is_due = beats
                .is_some_and(|(beat_us, passed_us)| time_us.saturating_sub(passed_us) >= beat_us);
            if !is_due
                && let Some(filter) = self.is_nothing_new(thin, (time_us, out), &output.scale)
            {
                return Err(filter);
            }
        }
        self.last = Some(out);
        if let Some(steps) = &mut self.steps {
            steps.passed_us = Some(time_us);
            steps.skipped = 0;
        }
        Ok(Let { raw: out, inputs })
    }

    /// Which thinning leaves a sample out, if one does.
    fn is_nothing_new(
        &mut self,
        thin: &Thinning,
        (time_us, raw): (i64, i64),
        scale: &Scale,
    ) -> Option<Filter> {
        let steps = self.steps.as_mut()?;
        let last = self.last?;
        let is_out = match thin {
            Thinning::Deadband { relative, .. } => {
                let apart = last.abs_diff(raw);
                let wide = relative.is_some_and(|share| {
                    let apart = i128::from(apart) * i128::from(scale.step);
                    let apart = decimal::number(apart, scale.exponent);
                    apart < share * number(last, scale).abs()
                });
                // A value that stays at 0 says nothing new either.
                wide || relative.is_some() && apart == 0 || apart < self.band
            }
            Thinning::OnChange => last == raw,
            Thinning::DecimateTime { every_us } => steps
                .passed_us
                .is_some_and(|passed_us| time_us.saturating_sub(passed_us) < *every_us),
            Thinning::DecimateCount { every } => {
                steps.skipped = steps.skipped.saturating_add(1);
                steps.skipped < *every
            }
            Thinning::SwingingDoor { .. } => false,
        };
        is_out.then(|| filter_of(thin))
    }
}

/// What a thinning's filtered samples are counted as.
pub(super) fn filter_of(thin: &Thinning) -> Filter {
    match thin {
        Thinning::Deadband { .. } => Filter::Deadband,
        Thinning::OnChange => Filter::OnChange,
        Thinning::DecimateTime { .. } | Thinning::DecimateCount { .. } => Filter::Decimate,
        Thinning::SwingingDoor { .. } => Filter::MaxError,
    }
}

impl Steps {
    fn is_too_fast(&self, rate_max: f64, (time_us, value): (i64, f64), scale: &Scale) -> bool {
        let Some((before_us, before)) = self.plausible else {
            return false;
        };
        let apart = (value - number(before, scale)).abs();
        let seconds = time_us.abs_diff(before_us) as f64 / 1e6;
        apart > rate_max * seconds
    }

    fn derive(
        &mut self,
        rule: &Rule,
        meta: &Meta,
        (time_us, raw): (i64, i64),
        inputs: &[f64],
    ) -> Option<f64> {
        let what = &rule.derive.as_ref()?.what;
        let (per_us, gap_max_us) = match what {
            Derivation::Value(_) => return self.bound.derive.as_ref()?.number(inputs),
            Derivation::Rate { per_us, gap_max_us }
            | Derivation::Integral { per_us, gap_max_us } => (*per_us, *gap_max_us),
        };
        let before = self.before;
        if before.is_some_and(|(before_us, _)| time_us <= before_us) {
            // Out of order: it has no part in a line that is drawn forward.
            return None;
        }
        self.before = Some((time_us, raw));
        let (before_us, before) = before?;
        let apart_us = time_us.saturating_sub(before_us);
        if apart_us > gap_max_us {
            return None;
        }
        let times = apart_us as f64 / per_us.max(1) as f64;
        let value = inputs[0];
        Some(match what {
            Derivation::Integral { .. } => {
                f64::midpoint(number(before, &meta.scale), value) * times
            }
            _ => growth(meta.kind, &meta.scale, before, raw) / times,
        })
    }
}

/// Change from one raw to a later one, in the unit; a counter that fell began anew at 0.
pub(super) fn growth(kind: Kind, scale: &Scale, before: i64, after: i64) -> f64 {
    let apart = timeline::growth(kind, before, after) * i128::from(scale.step);
    decimal::number(apart, scale.exponent)
}

/// The value of a raw integer.
#[inline]
pub(super) fn number(raw: i64, scale: &Scale) -> f64 {
    decimal::number(scale.mantissa(raw), scale.exponent)
}

fn needs_steps(rule: &Rule) -> bool {
    let relative = matches!(
        rule.thin,
        Some(Thinning::Deadband {
            relative: Some(_),
            ..
        })
    );
    let other = !matches!(
        rule.thin,
        None | Some(Thinning::Deadband { .. } | Thinning::SwingingDoor { .. })
    );
    relative
        || other
        || rule.heartbeat_us.is_some()
        || rule.derive.is_some()
        || rule.when.is_some()
        || !rule.inputs.is_empty()
        || rule.keep.is_some_and(|keep| keep.rate_max.is_some())
}

/// The absolute deadband of a rule.
pub(super) fn absolute(rule: &Rule) -> Option<f64> {
    match rule.thin? {
        Thinning::Deadband { absolute, .. } => absolute,
        _ => None,
    }
}

/// Lowest and highest raw that a rule keeps.
fn keep(rule: &Rule, scale: &Scale) -> (i64, i64) {
    let Keep { min, max, .. } = rule.keep.unwrap_or_default();
    let low = min.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
    let high = max.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
    raws((low, high), scale)
}

/// The raws whose values lie within an interval: lowest and highest, in this order unless there
/// are none.
fn raws((low, high): (std::ops::Bound<f64>, std::ops::Bound<f64>), scale: &Scale) -> (i64, i64) {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let value = |raw| number(raw, scale);
    let low = match low {
        Unbounded => Some(i64::MIN),
        Included(low) => first(i64::MIN, i64::MAX, |raw| value(raw) >= low),
        Excluded(low) => first(i64::MIN, i64::MAX, |raw| value(raw) > low),
    };
    let above = match high {
        Unbounded => None,
        Included(high) => first(i64::MIN, i64::MAX, |raw| value(raw) > high),
        Excluded(high) => first(i64::MIN, i64::MAX, |raw| value(raw) >= high),
    };
    let high = above.map_or(Some(i64::MAX), |above| above.checked_sub(1));
    low.zip(high).unwrap_or((i64::MAX, i64::MIN))
}

/// The least distance of raws that is a distance in the unit or more.
pub(super) fn band(distance: f64, scale: &Scale) -> u64 {
    let step = i128::from(scale.step);
    // Half of the range of differences is searched: a wider deadband filters everything.
    first(0, i64::MAX, |apart| {
        decimal::number(i128::from(apart) * step, scale.exponent) >= distance
    })
    .map_or(u64::MAX, i64::unsigned_abs)
}

/// The first integer of `low..=high` for which a monotone condition holds.
fn first(low: i64, high: i64, holds: impl Fn(i64) -> bool) -> Option<i64> {
    let (mut low, mut high) = (i128::from(low), i128::from(high) + 1);
    let end = high;
    while low < high {
        let middle = (low + high).div_euclid(2);
        if holds(middle as i64) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (low < end).then_some(low as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_that_keep_nothing_keep_nothing() {
        let keep = |min, max| Rule {
            keep: Some(Keep {
                min,
                max,
                rate_max: None,
            }),
            ..Rule::default()
        };
        let scale = Scale::decimal(-2);
        let (low, high) = super::keep(&keep(Some(1.0), Some(0.5)), &scale);
        assert!(low > high);
        assert_eq!(super::keep(&Rule::default(), &scale), (i64::MIN, i64::MAX));
        let (low, high) = super::keep(&keep(Some(f64::MAX), None), &scale);
        assert!(low > high);
        let (low, high) = super::keep(&keep(None, Some(f64::MIN)), &scale);
        assert!(low > high);
    }

    proptest! {
        #[test]
        fn integer_bounds_decide_as_floats_do(
            raws in prop::collection::vec(-2_000_i64..2_000, 1..50),
            min in -10.0_f64..10.0,
            max in -10.0_f64..10.0,
            deadband in 0.0_f64..3.0,
            exponent in -3_i8..=0,
            step in 1_u32..4,
            offset in -100_i64..100,
        ) {
            let scale = Scale { step, offset, exponent };
            let rule = Rule {
                keep: Some(Keep { min: Some(min), max: Some(max) , rate_max: None }),
                ..Rule::default()
            };
            let (low, high) = keep(&rule, &scale);
            let band = band(deadband, &scale);
            for raw in raws {
                let value = decimal::number(scale.mantissa(raw), exponent);
                prop_assert_eq!(low <= raw && raw <= high, min <= value && value <= max);
                let apart = decimal::number(i128::from(raw.unsigned_abs()) * i128::from(step), exponent);
                prop_assert_eq!(raw.unsigned_abs() < band, apart < deadband);
            }
        }
    }
}
