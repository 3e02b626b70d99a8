//! Pictures against golden ones, and what a picture must have whatever it shows.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::http::tests::{chart, serve_plain};
use crate::plant::Bar;

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/chart/golden");
    folder.join(name)
}

#[test]
fn pictures_are_as_in_the_golden_files() {
    let dark = Look {
        theme: look::DARK,
        width: 480,
        height: 240,
    };
    let empty = Chart {
        samples: Vec::new(),
        bars: Vec::new(),
        ..chart()
    };
    let mut differing = Vec::new();
    for (name, chart, look) in [
        ("light.svg", chart(), Look::default()),
        ("dark.svg", chart(), dark),
        ("empty.svg", empty, Look::default()),
    ] {
        let found = picture(&chart, look).unwrap();
        let path = golden(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &found).unwrap();
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(&found) {
            differing.push(name);
        }
    }
    assert!(
        differing.is_empty(),
        "{differing:?} differ (UPDATE_GOLDEN=1 rewrites them)"
    );
}

#[test]
fn words_say_what_the_picture_shows() {
    let drawn = picture(&chart(), Look::default()).unwrap();
    assert!(drawn.contains("<title>vibration.rms of pump-1</title>"));
    let about = "8 samples from 2026-03-01 12:29:00 to 2026-03-01 12:30:30 UTC: lowest 3 mm/s, \
                 highest 4.75 mm/s, newest 3.125 mm/s. 2 records of the rule minute. \
                 The alert vibration-high opened at 12:29:25. The alert vibration-high was over at 12:30:00.";
    assert!(drawn.contains(about), "{drawn}");
    let empty = Chart {
        samples: Vec::new(),
        bars: Vec::new(),
        ..chart()
    };
    let drawn = picture(&empty, Look::default()).unwrap();
    assert!(drawn.contains("no samples yet") && drawn.contains("There are no samples yet."));
}

#[test]
fn marks_stand_at_round_times_and_numbers_are_short() {
    use plotters::coord::ranged1d::Ranged;
    let minute = axis::Times::of([1_772_368_141_000_000, 1_772_368_199_000_000].into_iter());
    let marks = minute.unwrap().key_points(6usize);
    let seconds: Vec<i64> = marks.iter().map(|at| at / 1_000_000 % 60).collect();
    assert_eq!(seconds, [10, 20, 30, 40, 50], "of 12:29:01 to 12:29:59");
    for (value, shown) in [
        (0.0, "0"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (-1.0, "-1"),
        (0.1 + 0.2, "0.3"),
        (1_234_567.0, "1234567"),
        (12_345_678.0, "1.235e7"),
        (0.000_01, "1.000e-5"),
    ] {
        assert_eq!(axis::number(value), shown);
    }
}

/// The text of an SVG, held against the little of XML that it uses: tags nest, quotes close, no
/// sign stands bare.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg.trim();
    while let Some(begin) = rest.find('<') {
        assert!(
            !rest[..begin].contains('>'),
            "a bare > in {}",
            &rest[..begin]
        );
        let end = begin + rest[begin..].find('>').expect("a tag ends");
        let tag = &rest[begin + 1..end];
        assert!(!tag.contains('<'), "a bare < in {tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.trim()), "in {svg}");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.is_empty(), "{open:?} stay open");
    for after in svg.split('&').skip(1) {
        let name = after.split(';').next().unwrap();
        assert!(
            ["lt", "gt", "amp", "quot", "apos"].contains(&name),
            "&{name}"
        );
    }
    let is_bare = |sign: char| sign.is_control() && sign != '\n';
    assert!(!svg.contains(is_bare), "a control sign in {svg:?}");
}

fn charts() -> impl Strategy<Value = Chart> {
    let value = prop_oneof![
        4 => -100.0..100.0f64,
        1 => prop::num::f64::ANY,
        1 => Just(1e17),
        1 => Just(1e17 + 16.0),
    ];
    let moment = prop_oneof![8 => 0i64..100_000_000, 1 => any::<i64>()];
    let bars = (
        "[a-z<&\"']{1,6}",
        moment.clone(),
        0i64..100_000_000,
        value.clone(),
        prop::option::of((value.clone(), value.clone())),
        any::<bool>(),
    );
    let bars = bars.prop_map(|(rule, start_us, long_us, middle, band, alert)| Bar {
        rule,
        start_us,
        end_us: start_us.saturating_add(long_us),
        middle,
        low: band.map(|(low, _)| low),
        high: band.map(|(_, high)| high),
        alert: alert.then_some(crate::record::AlertState::Opened),
    });
    let unit = "\\PC{0,4}|[\\x00-\\x1f<>&\"]{0,4}";
    (
        prop::collection::vec((moment, value), 0..400),
        prop::collection::vec(bars, 0..8),
        unit,
    )
        .prop_map(|(mut samples, bars, unit)| {
            samples.sort_by_key(|(at_us, _)| *at_us);
            Chart {
                unit,
                samples,
                bars,
                ..chart()
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_chart_is_drawn_and_well_formed(chart in charts(), width in 240u32..2_000, height in 120u32..1_200) {
        let look = Look { width, height, ..Look::default() };
        let drawn = picture(&chart, look).unwrap();
        assert_well_formed(&drawn);
        prop_assert!(drawn.len() < 1 << 20, "{} bytes", drawn.len());
        prop_assert_eq!(&drawn, &picture(&chart, look).unwrap());
    }
}

#[tokio::test]
async fn a_chart_is_served_as_svg_and_odd_looks_are_refused() {
    let served = serve_plain().await;
    let path = "/api/v1/devices/pump-1/sensors/vibration.rms/chart.svg";
    let heard = served.get(path, "").await;
    assert_eq!(
        (heard.status, heard.header("content-type")),
        (200, Some("image/svg+xml"))
    );
    assert_eq!(heard.text(), picture(&chart(), Look::default()).unwrap());
    let small = served
        .get(&format!("{path}?theme=dark&width=240&height=120"), "")
        .await;
    assert!(small.text().contains("width=\"240\" height=\"120\""));
    for (query, said) in [
        ("theme=neon", "light or dark"),
        ("width=2001", "240 to 2000"),
        ("height=0", "120 to 1200"),
        ("colour=red", "unknown parameter `colour`"),
    ] {
        let heard = served.get(&format!("{path}?{query}"), "").await;
        assert_eq!(heard.status, 400);
        assert!(heard.error().contains(said), "{}", heard.error());
    }
    let heard = served
        .get("/api/v1/devices/pump-1/sensors/none/chart.svg", "")
        .await;
    assert_eq!(heard.status, 404);
}
