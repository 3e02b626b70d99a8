//! The gate as the rules' documentation has it: keep, derive, when, thinning, in floats.

use super::{COUNTER, Reading, decimals_of, value_of};
use crate::ledger::counters::Filter;
use crate::rules::{Derivation, Rule, Thinning};

/// What a rule remembers of one sensor's samples.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    plausible: Option<Reading>,
    before: Option<Reading>,
    passed: Option<Reading>,
    left_out: u32,
}

/// Whether a condition holds of a value, or a formula's value; `None`: undefined. Conditions are
/// known by their text.
pub fn condition(text: &str, value: f64, sensor: usize, input: Option<f64>) -> Option<bool> {
    match text {
        "value > 0.1" => Some(value > 0.1),
        "value >= -0.2 && value < 0.3" => Some((-0.2..0.3).contains(&value)),
        "value * 2 > 0.3 || sensor == \"b\"" => Some(value * 2.0 > 0.3 || sensor == 1),
        "value < q || value > 5" => match input {
            Some(input) => Some(value < input || value > 5.0),
            None => (value > 5.0).then_some(true),
        },
        other => panic!("no such condition: {other}"),
    }
}

impl Gate {
    /// What of a sample leaves the gate: a mantissa of the rule's decimals.
    pub fn take(
        &mut self,
        rule: &Rule,
        sensor: usize,
        (time_us, raw): Reading,
        input: Option<f64>,
    ) -> Result<i64, Filter> {
        let value = value_of(raw, decimals_of(&Rule::default(), sensor));
        let keep = rule.keep.unwrap_or_default();
        if keep.min.is_some_and(|min| value < min) || keep.max.is_some_and(|max| value > max) {
            return Err(Filter::Keep);
        }
        if let (Some(rate), Some((before_us, before))) = (keep.rate_max, self.plausible) {
            let apart = (value - value_of(before, decimals_of(&Rule::default(), sensor))).abs();
            if apart > rate * (time_us - before_us).abs() as f64 / 1e6 {
                return Err(Filter::Rate);
            }
        }
        self.plausible = Some((time_us, raw));
        let mut out = raw;
        if rule.derive.is_some() {
            out = self
                .derive(rule, sensor, (time_us, raw))
                .ok_or(Filter::Undefined)?;
        }
        let decimals = decimals_of(rule, sensor);
        if let Some(when) = &rule.when {
            match condition(&when.text, value_of(out, decimals), sensor, input) {
                Some(true) => {}
                Some(false) => return Err(Filter::When),
                None => return Err(Filter::Undefined),
            }
        }
        if let (Some(thin), Some(last)) = (rule.thin, self.passed) {
            let beats = rule
                .heartbeat_us
                .is_some_and(|beat| time_us - last.0 >= beat);
            let filter = self.says_nothing(thin, last, (time_us, out), decimals);
            if let Some(filter) = filter.filter(|_| !beats) {
                return Err(filter);
            }
        }
        self.passed = Some((time_us, out));
        self.left_out = 0;
        Ok(out)
    }

    fn derive(&mut self, rule: &Rule, sensor: usize, (time_us, raw): Reading) -> Option<i64> {
        let derive = rule.derive.as_ref()?;
        let number = |raw| value_of(raw, decimals_of(&Rule::default(), sensor));
        let found = match &derive.what {
            Derivation::Value(expression) => {
                assert_eq!(expression.text, "value * 2 + 1");
                number(raw) * 2.0 + 1.0
            }
            Derivation::Rate { per_us, gap_max_us }
            | Derivation::Integral { per_us, gap_max_us } => {
                if self
                    .before
                    .is_some_and(|(before_us, _)| time_us <= before_us)
                {
                    return None;
                }
                let (before_us, before) = self.before.replace((time_us, raw))?;
                if time_us - before_us > *gap_max_us {
                    return None;
                }
                let times = (time_us - before_us) as f64 / *per_us as f64;
                match derive.what {
                    Derivation::Integral { .. } => {
                        f64::midpoint(number(before), number(raw)) * times
                    }
                    _ if sensor == COUNTER && raw < before => number(raw) / times,
                    _ => value_of(raw - before, decimals_of(&Rule::default(), sensor)) / times,
                }
            }
        };
        Some((found * 10_f64.powi(derive.decimals.into())).round() as i64)
    }

    fn says_nothing(
        &mut self,
        thin: Thinning,
        (last_us, last): Reading,
        (time_us, raw): Reading,
        decimals: u8,
    ) -> Option<Filter> {
        let (out, filter) = match thin {
            Thinning::Deadband { absolute, relative } => {
                let apart = value_of((raw - last).abs(), decimals);
                let share = relative.map_or(0.0, |share| share * value_of(last, decimals).abs());
                // A share of 0 is 0: what stays there says nothing new.
                let stays = relative.is_some() && raw == last;
                let close = apart < share.max(absolute.unwrap_or(0.0));
                (stays || close, Filter::Deadband)
            }
            Thinning::OnChange => (raw == last, Filter::OnChange),
            Thinning::DecimateTime { every_us } => (time_us - last_us < every_us, Filter::Decimate),
            Thinning::DecimateCount { every } => {
                self.left_out += 1;
                (self.left_out < every, Filter::Decimate)
            }
            Thinning::SwingingDoor { .. } => panic!("not judged here"),
        };
        out.then_some(filter)
    }
}
