//! Axes: a stretch of time with marks at round times of UTC, and a range of values that is never
//! too narrow for its own numbers.

use std::ops::Range;

use jiff::Timestamp;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// Steps between marks, in seconds: what clocks and calendars show as round.
const STEPS_S: [i64; 22] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 604_800, 2_592_000, 31_536_000,
];
const SECOND_US: i64 = 1_000_000;
/// Least difference between the ends of a range of values, as a share of the larger: a float
/// tells some ten million times finer apart, so that marks between them are.
const SHARE_MIN: f64 = 1e-9;

/// A stretch of time in µs of UTC.
#[derive(Debug, Clone)]
pub(super) struct Times {
    begin_us: i64,
    end_us: i64,
}

impl Times {
    /// From the first to the last moment; at least a second.
    pub(super) fn of(moments: impl Iterator<Item = i64> + Clone) -> Option<Self> {
        let begin_us = moments.clone().min()?;
        let end_us = moments.max()?.max(begin_us.saturating_add(SECOND_US));
        Some(Self { begin_us, end_us })
    }

    fn step_us(&self, marks: usize) -> i64 {
        let span_us = self.end_us.saturating_sub(self.begin_us);
        let wide = |step_s: &&i64| span_us / (**step_s * SECOND_US) < marks.max(1) as i64;
        let step = STEPS_S.iter().find(wide).map(|step_s| step_s * SECOND_US);
        // Longer than any calendar's: as many years as it takes.
        step.unwrap_or_else(|| span_us / marks.max(1) as i64 + 1)
    }

    /// The date that it begins with.
    pub(super) fn date(&self) -> String {
        shown(self.begin_us, "%Y-%m-%d")
    }
}

impl Ranged for Times {
    type ValueType = i64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, value: &i64, (left, right): (i32, i32)) -> i32 {
        let span = self.end_us.saturating_sub(self.begin_us) as f64;
        let share = value.saturating_sub(self.begin_us) as f64 / span;
        left + (share * f64::from(right - left)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<i64> {
        let step_us = self.step_us(hint.bold_points());
        let first = self.begin_us.div_euclid(step_us) + 1;
        (first..)
            .map_while(|nth| nth.checked_mul(step_us).filter(|at| *at <= self.end_us))
            .take(hint.max_num_points())
            .collect()
    }

    fn range(&self) -> Range<i64> {
        self.begin_us..self.end_us
    }
}

impl ValueFormatter<i64> for Times {
    fn format_ext(&self, at_us: &i64) -> String {
        let span_us = self.end_us.saturating_sub(self.begin_us);
        let form = match span_us / SECOND_US {
            0..600 => "%H:%M:%S",
            600..172_800 => "%H:%M",
            172_800..31_536_000 => "%m-%d %H:%M",
            _ => "%Y-%m-%d",
        };
        shown(*at_us, form)
    }
}

/// A moment of UTC in some form.
pub(super) fn shown(at_us: i64, form: &str) -> String {
    let at = Timestamp::from_microsecond(at_us);
    at.map_or_else(|_| "?".to_owned(), |at| at.strftime(form).to_string())
}

/// A range that holds all values, with some room.
pub(super) fn values(values: impl Iterator<Item = f64> + Clone) -> Option<Range<f64>> {
    let low = values.clone().reduce(f64::min)?;
    let high = values.reduce(f64::max)?;
    // Halves: the difference of the largest floats is none.
    let half = high / 2.0 - low / 2.0;
    let least = low.abs().max(high.abs()).max(1e-12) * SHARE_MIN;
    let room = if half > least {
        half * 0.1
    } else {
        (low.abs() * 0.05).max(least).max(0.5e-6)
    };
    let bound = |end: f64| end.clamp(f64::MIN / 4.0, f64::MAX / 4.0);
    Some(bound(low - room)..bound(high + room))
}

/// A value in as few signs as tell it.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.6}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0" } else { short }.to_owned()
}
