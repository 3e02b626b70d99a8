//! Random rules.

use proptest::prelude::*;

use super::calendar::ZONE;
use crate::rules::expression::{Constant, Scope, Type, parse};
use crate::rules::{
    Aggregate, Calendar, Derivation, Derive, Expression, Group, Input, Keep, Late, Match, Rule,
    Shape, Thinning, Window,
};
use crate::time::SECOND_US;

/// How fast a case goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Frames are 40 s apart.
    Minutes,
    /// Frames are five hours apart.
    Days,
}

impl Pace {
    pub fn stride_s(self) -> u64 {
        match self {
            Self::Minutes => 40,
            Self::Days => 5 * 3_600,
        }
    }

    /// What a frame's distances count in.
    pub fn unit_s(self) -> u64 {
        match self {
            Self::Minutes => 1,
            Self::Days => 10,
        }
    }
}

/// A rule without its name.
#[derive(Debug, Clone)]
pub struct Drawn {
    steps: Steps,
    outlet: Option<Outlet>,
    only_a: bool,
}

#[derive(Debug, Clone)]
struct Steps {
    keep: Option<Keep>,
    derive: Option<Derive>,
    when: Option<&'static str>,
    thin: Option<Thinning>,
    heartbeat_us: Option<i64>,
}

#[derive(Debug, Clone)]
struct Outlet {
    window: Window,
    aggregates: Vec<Aggregate>,
    by_device: bool,
}

pub fn expression(text: &str, gives: Type, numbers: &[&str]) -> Expression {
    let scope = Scope {
        numbers,
        texts: Constant::ALL,
        tags: true,
    };
    parse(text, gives, &scope).unwrap()
}

impl Drawn {
    pub fn rule(&self, name: &str) -> Rule {
        let steps = &self.steps;
        let condition = |text: &str| expression(text, Type::Bool, &["value", "q"]);
        let asks = steps.when.is_some_and(|text| text.contains('q'));
        let input = Input {
            alias: "q".into(),
            device: None,
            sensor: "b".into(),
        };
        let shape = self.outlet.as_ref().map(|outlet| &outlet.window.shape);
        let may_share = !matches!(
            shape,
            Some(Shape::Sliding { .. } | Shape::Session { .. } | Shape::Count { .. })
        );
        let by_device = self.outlet.as_ref().is_some_and(|outlet| outlet.by_device);
        Rule {
            name: name.into(),
            matching: Match::names("*", if self.only_a { "a" } else { "*" }),
            keep: steps.keep,
            inputs: if asks { vec![input] } else { Vec::new() },
            max_age_us: if asks { 20 * SECOND_US } else { 0 },
            derive: steps.derive.clone(),
            when: steps.when.map(condition),
            thin: steps.thin,
            heartbeat_us: steps.heartbeat_us.filter(|_| steps.thin.is_some()),
            window: self.outlet.as_ref().map(|outlet| outlet.window.clone()),
            aggregates: self
                .outlet
                .as_ref()
                .map(|outlet| outlet.aggregates.clone())
                .unwrap_or_default(),
            group: if by_device && may_share {
                Group::Device
            } else {
                Group::Sensor
            },
            ..Rule::default()
        }
    }
}

pub fn drawn(pace: Pace) -> impl Strategy<Value = Drawn> {
    let outlet = prop_oneof![1 => Just(None), 9 => outlet(pace).prop_map(Some)];
    (steps(), outlet, prop::bool::weighted(0.2)).prop_map(|(steps, outlet, only_a)| Drawn {
        steps,
        outlet,
        only_a,
    })
}

fn steps() -> impl Strategy<Value = Steps> {
    let bound = |low: f64, high: f64| prop::option::weighted(0.4, low..high);
    let keep = (bound(-3.0, -0.2), bound(0.2, 3.0), bound(0.01, 0.5));
    let keep = keep.prop_map(|(min, max, rate_max)| Keep { min, max, rate_max });
    let when = prop::sample::select(vec![
        "value > 0.1",
        "value >= -0.2 && value < 0.3",
        "value * 2 > 0.3 || sensor == \"b\"",
        "value < q || value > 5",
    ]);
    let beat = (1_i64..60).prop_map(|seconds| seconds * SECOND_US);
    (
        prop::option::weighted(0.4, keep),
        prop::option::weighted(0.25, derive()),
        prop::option::weighted(0.3, when),
        prop::option::weighted(0.4, thin()),
        prop::option::weighted(0.4, beat),
    )
        .prop_map(|(keep, derive, when, thin, heartbeat_us)| Steps {
            keep,
            derive,
            when,
            thin,
            heartbeat_us,
        })
}

fn derive() -> impl Strategy<Value = Derive> {
    let value = || Derivation::Value(expression("value * 2 + 1", Type::Number, &["value"]));
    let line = prop::sample::select(vec![8_i64, 3_600]);
    let what = (0..3, line).prop_map(move |(which, gap_s)| {
        let gap_max_us = gap_s * SECOND_US;
        match which {
            0 => value(),
            1 => Derivation::Rate {
                per_us: SECOND_US,
                gap_max_us,
            },
            _ => Derivation::Integral {
                per_us: 60 * SECOND_US,
                gap_max_us,
            },
        }
    });
    (what, 1_u8..7).prop_map(|(what, decimals)| Derive {
        what,
        unit: None,
        decimals,
    })
}

fn thin() -> impl Strategy<Value = Thinning> {
    let distance = prop::sample::select(vec![0.0, 0.05, 0.3, 2.0]);
    let share = prop::sample::select(vec![0.05, 0.5]);
    prop_oneof![
        distance.clone().prop_map(Thinning::deadband),
        share.clone().prop_map(|share| Thinning::Deadband {
            absolute: None,
            relative: Some(share),
        }),
        (distance, share).prop_map(|(absolute, share)| Thinning::Deadband {
            absolute: Some(absolute),
            relative: Some(share),
        }),
        Just(Thinning::OnChange),
        (1_i64..30).prop_map(|every| Thinning::DecimateTime {
            every_us: every * SECOND_US,
        }),
        (2_u32..6).prop_map(|every| Thinning::DecimateCount { every }),
    ]
}

fn outlet(pace: Pace) -> impl Strategy<Value = Outlet> {
    let late = prop::sample::select(vec![Late::Revise, Late::Drop]);
    let hold_s = prop::sample::select(vec![3_i64, 60, 7_200]);
    let aggregates = prop::bool::weighted(0.7).prop_map(aggregates);
    (
        shape(pace),
        0_i64..90,
        late,
        hold_s,
        aggregates,
        any::<bool>(),
    )
        .prop_map(
            move |(shape, lateness, late, hold_s, aggregates, by_device)| {
                let lateness_s = lateness * if pace == Pace::Days { 120 } else { 1 };
                Outlet {
                    window: Window {
                        shape,
                        lateness_us: lateness_s * SECOND_US,
                        late,
                        hold_us: hold_s * SECOND_US,
                    },
                    aggregates,
                    by_device,
                }
            },
        )
}

fn shape(pace: Pace) -> BoxedStrategy<Shape> {
    let unit_us = match pace {
        Pace::Minutes => SECOND_US,
        Pace::Days => 60 * SECOND_US,
    };
    let times = |all: &'static [i64]| prop::sample::select(all).prop_map(move |one| one * unit_us);
    let calendar = prop::sample::select(vec![Calendar::Day, Calendar::Week, Calendar::Month]);
    let calendar = calendar.prop_map(|every| Shape::Calendar {
        every,
        zone: ZONE.into(),
    });
    let others = prop_oneof![
        2 => times(&[1, 7, 60, 3_600]).prop_map(|length_us| Shape::Tumbling { length_us }),
        2 => (times(&[1, 7, 20]), 1_i64..6).prop_map(|(every_us, hops)| Shape::Hopping {
            length_us: every_us * hops,
            every_us,
        }),
        2 => times(&[1, 10, 60]).prop_map(|length_us| Shape::Sliding { length_us }),
        2 => (times(&[2, 8, 30]), times(&[15, 60, 3_600])).prop_map(|(gap_us, length_max_us)| {
            Shape::Session { gap_us, length_max_us }
        }),
        1 => (1_u64..12).prop_map(|samples| Shape::Count { samples }),
    ];
    match pace {
        Pace::Minutes => others.boxed(),
        Pace::Days => prop_oneof![3 => calendar, 1 => others].boxed(),
    }
}

fn aggregates(all: bool) -> Vec<Aggregate> {
    let mut aggregates = vec![
        Aggregate::Count,
        Aggregate::Sum,
        Aggregate::Min,
        Aggregate::Max,
        Aggregate::Mean,
        Aggregate::Stddev,
        Aggregate::First,
        Aggregate::Last,
        Aggregate::Percentile(500),
        Aggregate::Percentile(950),
        Aggregate::Median,
        Aggregate::Range,
        Aggregate::Histogram {
            name: "spread".into(),
            bounds: vec![-0.2, 0.0, 0.1, 3.0],
        },
    ];
    if all {
        aggregates.extend([
            Aggregate::TimeWeightedMean,
            Aggregate::Delta,
            Aggregate::Rate,
            Aggregate::ShareOfTime {
                name: "hot".into(),
                condition: expression("value > 0.1", Type::Bool, &["value"]),
            },
        ]);
    }
    aggregates
}
