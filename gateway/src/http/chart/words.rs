//! Words: what a picture shows, for those who do not see it.

use super::axis::{number, shown};
use super::rules;
use crate::plant::Chart;
use crate::record::AlertState;

/// Puts the words where readers of screens look for them.
pub(super) fn describe(drawn: &str, chart: &Chart) -> String {
    let title = escaped(&format!("{} of {}", chart.sensor, chart.device));
    let about = escaped(&about(chart));
    let Some((head, rest)) = drawn.split_once('>') else {
        return drawn.to_owned();
    };
    format!(
        "{head} role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<desc>{about}</desc>{rest}"
    )
}

fn about(chart: &Chart) -> String {
    let (first, last) = (chart.samples.first(), chart.samples.last());
    let Some(((first_us, _), (last_us, newest))) = first.zip(last) else {
        return format!("There are no samples yet.{}", records(chart));
    };
    let values = chart.samples.iter().map(|(_, value)| *value);
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    let form = "%Y-%m-%d %H:%M:%S";
    let many = if chart.samples.len() == 1 { "" } else { "s" };
    let numbers = [low, high, *newest].map(number);
    let [low, high, newest] = numbers.map(|number| in_unit(&number, &chart.unit));
    format!(
        "{} sample{many} from {} to {} UTC: lowest {low}, highest {high}, newest {newest}.{}{}",
        chart.samples.len(),
        shown(*first_us, form),
        shown(*last_us, form),
        records(chart),
        alerts(chart),
    )
}

fn in_unit(number: &str, unit: &str) -> String {
    if unit.is_empty() {
        number.to_owned()
    } else {
        format!("{number} {unit}")
    }
}

fn records(chart: &Chart) -> String {
    let told = rules(chart).into_iter().filter_map(|rule| {
        let bars = chart.bars.iter();
        let bars = bars.filter(|bar| bar.rule == rule && bar.alert.is_none());
        let count = bars.count();
        let many = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!(" {count} record{many} of the rule {rule}."))
    });
    told.collect()
}

fn alerts(chart: &Chart) -> String {
    let told = chart.bars.iter().filter_map(|bar| {
        let state = match bar.alert? {
            AlertState::Opened => "opened",
            AlertState::Still => "lasted",
            AlertState::Cleared => "was over",
        };
        let at = shown(bar.start_us, "%H:%M:%S");
        Some(format!(" The alert {} {state} at {at}.", bar.rule))
    });
    told.collect()
}

/// A text as XML takes it; signs that it takes in no form are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => {}
            other => out.push(other),
        }
    }
    out
}
