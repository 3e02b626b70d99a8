//! Words: numbers, healths and times as the terminal shows them.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cli::status::number;
use crate::plant::{Health, Trend};

/// The steps of a spark line, the lowest first.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Signs that a value is written with at most.
const VALUE_CHARS: usize = 12;

/// A health's name.
pub(super) fn health(health: Health) -> &'static str {
    match health {
        Health::Live => "live",
        Health::Late => "late",
        Health::Silent => "silent",
        Health::Suppressed => "suppressed",
        Health::Ended => "ended",
        Health::Unknown => "unknown",
    }
}

/// Devices by health, those that need a look last.
pub(super) fn healths(devices: &BTreeMap<Health, u64>) -> String {
    let total: u64 = devices.values().sum();
    let mut told = format!(
        "{} device{}",
        number(total),
        if total == 1 { "" } else { "s" }
    );
    for (place, (one, count)) in devices.iter().enumerate() {
        told.push_str(if place == 0 { ": " } else { ", " });
        let _ = write!(told, "{} {}", number(*count), health(*one));
    }
    told
}

/// A trend as an arrow.
pub(super) fn arrow(trend: Option<Trend>) -> char {
    match trend {
        Some(Trend::Rising) => '↑',
        Some(Trend::Steady) => '→',
        Some(Trend::Falling) => '↓',
        None => ' ',
    }
}

/// A value as short as it can be said; what is not known is a dash.
pub(super) fn value(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let whole = value.to_string();
    if whole.chars().count() <= VALUE_CHARS {
        return whole;
    }
    format!("{value:.5e}")
}

/// Values as a line of steps between their least and their largest.
pub(super) fn spark(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = most - least;
    let step = |value: &f64| {
        if span <= 0.0 || !span.is_finite() {
            return STEPS[3];
        }
        let place = (value - least) / span * (STEPS.len() - 1) as f64;
        STEPS[(place.round() as usize).min(STEPS.len() - 1)]
    };
    values.iter().map(step).collect()
}

/// A text of at most so many signs.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{kept}…")
}
