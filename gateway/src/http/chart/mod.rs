//! Chart: a sensor's recent samples and the records made of them, drawn as SVG.
//!
//! ```text
//!  bar │   ┌──────────┐          band: from a record's min to its max
//!      │ ━━━━━━━━━━━━━━━━        bar: its mean (or p50, last and the like), over its window
//!      │  ●──●──●──●             samples, joined where none is missing between
//!      │      ▲                  an alert that opened, ▽ that is over
//!      └────────────────── UTC
//! ```
//! Drawing is pure: the same chart and look give the same text. It names no font but the
//! reader's own sans-serif, and colours of two themes that can be told apart without red and
//! green. What a picture shows is also said in words (`<title>`, `<desc>`).

mod axis;
mod draw;
mod look;
#[cfg(test)]
mod tests;
mod words;

use axum::extract::State;
use axum::http::{StatusCode, Uri};

use self::look::Look;
use super::Source;
use super::answer::{Answer, error, typed};
use super::api::{SensorPath, find_chart};
use super::query::Query;
use super::routes::House;
use crate::plant::Chart;

/// Parameters of a chart's path, for the test of its description.
#[cfg(test)]
pub(super) const LOOK: [&str; 3] = look::PARAMETERS;

/// Most samples that are drawn as points; beyond, the line says it all.
const POINTS_MAX: usize = 240;
/// Most rules that the legend names; how many there are beside is said.
const LEGEND_RULES_MAX: usize = 4;

pub(super) async fn svg<S: Source>(
    State(house): State<House<S>>,
    names: SensorPath,
    uri: Uri,
) -> Answer {
    let look = match Query::read(&uri, &look::PARAMETERS).and_then(|query| Look::read(&query)) {
        Ok(look) => look,
        Err(refused) => return refused.into(),
    };
    let chart = match find_chart(&house, names).await {
        Ok(chart) => chart,
        Err(why) => return *why,
    };
    // A drawing takes some milliseconds; others are answered meanwhile.
    let drawn = tokio::task::spawn_blocking(move || picture(&chart, look)).await;
    match drawn.map_err(|why| why.to_string()).and_then(|drawn| drawn) {
        Ok(drawn) => typed("image/svg+xml", drawn),
        Err(why) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!(
                "the chart cannot be drawn: {why}; its values are at the same path without /chart.svg"
            ),
        ),
    }
}

/// A chart as SVG.
fn picture(chart: &Chart, look: Look) -> Result<String, String> {
    let chart = known(chart);
    let drawn = draw::draw(&chart, look).map_err(|why| why.to_string())?;
    Ok(words::describe(&drawn, &chart))
}

/// The chart without numbers that no axis can show.
fn known(chart: &Chart) -> Chart {
    let mut chart = chart.clone();
    // XML has no way to write them.
    chart.unit.retain(|sign| !sign.is_control());
    chart.samples.retain(|(_, value)| value.is_finite());
    chart
        .bars
        .retain(|bar| bar.middle.is_finite() && bar.start_us <= bar.end_us);
    for bar in &mut chart.bars {
        bar.low = bar.low.filter(|low| low.is_finite());
        bar.high = bar.high.filter(|high| high.is_finite());
    }
    chart
}

/// The rules of a chart's bars, in the order of their first; alerts are not drawn as bars.
fn rules(chart: &Chart) -> Vec<&str> {
    let mut rules: Vec<&str> = Vec::new();
    for bar in chart.bars.iter().filter(|bar| bar.alert.is_none()) {
        if !rules.contains(&bar.rule.as_str()) {
            rules.push(&bar.rule);
        }
    }
    rules
}
