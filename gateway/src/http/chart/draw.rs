//! Drawing: bands, bars, samples and alerts, in this order over one another.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Times, number, values};
use super::look::Look;
use super::{LEGEND_RULES_MAX, POINTS_MAX, rules};
use crate::plant::{Bar, Chart};
use crate::record::AlertState;

/// Pixels of the legend above the plot.
const LEGEND_PX: i32 = 26;
/// About so many pixels of a letter: the reader's font decides.
const LETTER_PX: i32 = 8;
/// So many usual steps without a sample, and the line breaks.
const GAP_STEPS: i64 = 5;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Times, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A chart's picture.
pub(super) fn draw(
    chart: &Chart,
    look: Look,
) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
    let mut text = String::new();
    {
        let backend = SVGBackend::with_string(&mut text, (look.width, look.height));
        let area = backend.into_drawing_area();
        area.fill(&look.theme.ground)?;
        let bars = chart.bars.iter().flat_map(|bar| [bar.start_us, bar.end_us]);
        let samples = chart.samples.iter().map(|(at_us, _)| *at_us);
        match (Times::of(samples.chain(bars)), range(chart)) {
            (Some(times), Some(values)) => plot(&area, chart, look, (times, values))?,
            _ => nothing(&area, look)?,
        }
        area.present()?;
    }
    Ok(text)
}

fn range(chart: &Chart) -> Option<std::ops::Range<f64>> {
    let samples = chart.samples.iter().map(|(_, value)| *value);
    let ends = |bar: &Bar| [Some(bar.middle), bar.low, bar.high];
    values(samples.chain(chart.bars.iter().flat_map(ends_of(ends)).flatten()))
}

/// Names the type of a closure that borrows.
fn ends_of<F: Fn(&Bar) -> [Option<f64>; 3]>(ends: F) -> F {
    ends
}

fn font(look: Look, size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&look.theme.text)
}

fn nothing(area: &Area<'_>, look: Look) -> Drawn {
    let middle = (look.width as i32 / 2, look.height as i32 / 2);
    let style = font(look, 18).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw_text("no samples yet", &style, middle)
}

fn plot(
    area: &Area<'_>,
    chart: &Chart,
    look: Look,
    (times, values): (Times, std::ops::Range<f64>),
) -> Drawn {
    legend(area, chart, look)?;
    let day = format!("UTC, from {}", times.date());
    let mut context = ChartBuilder::on(area)
        .margin(8)
        .margin_top(LEGEND_PX + 8)
        .margin_right(44)
        .x_label_area_size(44)
        .y_label_area_size(74)
        .build_cartesian_2d(times, values)?;
    context
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .light_line_style(look.theme.grid)
        .bold_line_style(look.theme.grid)
        .axis_style(look.theme.text)
        .label_style(font(look, 15))
        .axis_desc_style(font(look, 15))
        .x_labels((look.width / 110) as usize)
        .y_labels((look.height / 50) as usize)
        .y_label_formatter(&|value| number(*value))
        .x_desc(day)
        .y_desc(chart.unit.as_str())
        .draw()?;
    bars(&mut context, chart, look)?;
    samples(&mut context, chart, look)?;
    alerts(&mut context, chart, look)
}

fn colour(chart: &Chart, rule: &str, look: Look) -> RGBColor {
    let place = rules(chart)
        .iter()
        .position(|one| *one == rule)
        .unwrap_or(0);
    let colours = look.theme.rules;
    *colours
        .get(place % colours.len())
        .unwrap_or(&look.theme.samples)
}

fn bars(context: &mut Context<'_, '_>, chart: &Chart, look: Look) -> Drawn {
    let drawn = || chart.bars.iter().filter(|bar| bar.alert.is_none());
    let bands = drawn().filter_map(|bar| {
        let (low, high) = bar.low.zip(bar.high)?;
        let fill = colour(chart, &bar.rule, look).mix(0.18).filled();
        Some(Rectangle::new(
            [(bar.start_us, low), (bar.end_us, high)],
            fill,
        ))
    });
    context.draw_series(bands)?;
    let lines = drawn().map(|bar| {
        let stroke = colour(chart, &bar.rule, look).stroke_width(3);
        let ends = vec![(bar.start_us, bar.middle), (bar.end_us, bar.middle)];
        PathElement::new(ends, stroke)
    });
    context.draw_series(lines).map(drop)
}

fn samples(context: &mut Context<'_, '_>, chart: &Chart, look: Look) -> Drawn {
    let stroke = look.theme.samples.stroke_width(1);
    let lines = runs(&chart.samples).into_iter();
    context.draw_series(lines.map(|run| PathElement::new(run.to_vec(), stroke)))?;
    if chart.samples.len() <= POINTS_MAX {
        let fill = look.theme.samples.filled();
        let points = chart.samples.iter();
        context.draw_series(points.map(|at| Circle::new(*at, 2, fill)))?;
    }
    Ok(())
}

/// The stretches of samples without a gap between: a line over one would be made up.
fn runs(samples: &[(i64, f64)]) -> Vec<&[(i64, f64)]> {
    let steps = samples.iter().zip(samples.iter().skip(1));
    let mut steps: Vec<i64> = steps.map(|((a, _), (b, _))| b.saturating_sub(*a)).collect();
    steps.sort_unstable();
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0);
    let most = usual.saturating_mul(GAP_STEPS);
    samples
        .chunk_by(|(a, _), (b, _)| b.saturating_sub(*a) <= most)
        .collect()
}

fn alerts(context: &mut Context<'_, '_>, chart: &Chart, look: Look) -> Drawn {
    let colour = look.theme.alert;
    for bar in &chart.bars {
        let Some(state) = bar.alert else { continue };
        let at = (bar.start_us, bar.middle);
        let (style, tip) = match state {
            AlertState::Opened => (colour.filled(), -1),
            AlertState::Still => (colour.mix(0.6).filled(), -1),
            AlertState::Cleared => (colour.stroke_width(2), 1),
        };
        // A triangle: up where it opened, down where it is over.
        let corners = [(-6, -5 * tip), (6, -5 * tip), (0, 6 * tip), (-6, -5 * tip)];
        let element = EmptyElement::at(at) + PathElement::new(corners, colour.stroke_width(2));
        if style.filled {
            let filled = EmptyElement::at(at) + Polygon::new(corners.to_vec(), style);
            context.draw_series(std::iter::once(filled))?;
        }
        context.draw_series(std::iter::once(element))?;
    }
    Ok(())
}

/// What is drawn in which colour, in a line above the plot.
fn legend(area: &Area<'_>, chart: &Chart, look: Look) -> Drawn {
    let rules = rules(chart);
    let shown = rules.iter().take(LEGEND_RULES_MAX);
    let mut entries = vec![("samples".to_owned(), look.theme.samples)];
    entries.extend(shown.map(|rule| ((*rule).to_owned(), colour(chart, rule, look))));
    if let Some(more) = rules
        .len()
        .checked_sub(LEGEND_RULES_MAX)
        .filter(|more| *more > 0)
    {
        entries.push((format!("and {more} more rules"), look.theme.grid));
    }
    if chart.bars.iter().any(|bar| bar.alert.is_some()) {
        entries.push(("alerts".to_owned(), look.theme.alert));
    }
    let style = font(look, 15).pos(Pos::new(HPos::Left, VPos::Center));
    let (mut x, y) = (82, LEGEND_PX / 2 + 4);
    for (name, colour) in entries {
        let width = 20 + name.chars().count() as i32 * LETTER_PX + 16;
        if x > 82 && x + width > look.width as i32 {
            return Ok(());
        }
        area.draw(&Rectangle::new(
            [(x, y - 5), (x + 12, y + 5)],
            colour.filled(),
        ))?;
        area.draw_text(&name, &style, (x + 18, y))?;
        x += width;
    }
    Ok(())
}
