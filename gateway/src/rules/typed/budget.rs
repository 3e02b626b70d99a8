//! `[budget]`: what may leave in a month.

use std::ops::Range;

use super::Mistaken;
use super::rule::{TIME_US_MAX, TIME_US_MIN};
use crate::budget::Action;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::BudgetSettings;
use crate::rules::tree::{Section, Value, choice, duration, number, size};

/// Least budget: a few requests and the records that warn.
pub(in crate::rules) const BUDGET_BYTES_MIN: u64 = 100_000;
/// Most: what a year of a full gigabit link is about.
const BUDGET_BYTES_MAX: u64 = 1 << 52;
/// Least `warn_at`; the most is 1.
const WARN_PERMILLE_MIN: f64 = 10.0;
const TITLE: &str = "[budget]";

/// `at_cap` by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rules) enum AtCap {
    Nothing,
    DropLow,
    Coarsen,
}

/// The names of `at_cap`.
pub(in crate::rules) const AT_CAP: [(&str, AtCap); 3] = [
    ("nothing", AtCap::Nothing),
    ("drop-low", AtCap::DropLow),
    ("coarsen", AtCap::Coarsen),
];

/// `[budget]` as typed.
#[derive(Debug)]
pub(in crate::rules) struct TypedBudget {
    /// What it says, unless something of it was mistaken.
    pub(in crate::rules) settings: Option<BudgetSettings>,
    /// Where `bytes_per_month` stands.
    pub(in crate::rules) cap_span: Range<usize>,
    /// Where `at_cap` stands.
    pub(in crate::rules) at_cap_span: Range<usize>,
}

impl TypedBudget {
    pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> Self {
        let cap_span = section.value_place("bytes_per_month");
        let at_cap_span = section.value_place("at_cap");
        let cap_bytes = section
            .need("bytes_per_month", "bytes_per_month = \"500MB\"")
            .and_then(|value| {
                let bounds = BUDGET_BYTES_MIN..=BUDGET_BYTES_MAX;
                size("`bytes_per_month`", value, bounds, findings)
            });
        let warn_permille = section
            .get("warn_at")
            .map_or(Some(BudgetSettings::WARN_PERMILLE), |value| {
                permille("`warn_at`", value, findings)
            });
        let at_cap = section.get("at_cap").map_or(Some(AtCap::Nothing), |value| {
            choice("`at_cap`", value, &AT_CAP, findings)
        });
        let coarsen = section.get("coarsen").map(|value| {
            let bounds = TIME_US_MIN..=TIME_US_MAX;
            duration("`coarsen`", value, bounds, findings).ok_or(Mistaken)
        });
        let at_cap = at_cap.and_then(|at_cap| action(&section, at_cap, coarsen, findings));
        section.close(findings);
        let settings = cap_bytes.zip(warn_permille).zip(at_cap);
        Self {
            settings: settings.map(|((cap_bytes, warn_permille), at_cap)| BudgetSettings {
                cap_bytes,
                warn_permille,
                at_cap,
            }),
            cap_span,
            at_cap_span,
        }
    }
}

/// What `at_cap` and `coarsen` say together.
fn action(
    section: &Section<'_, '_>,
    at_cap: AtCap,
    coarsen: Option<Result<i64, Mistaken>>,
    findings: &mut Findings,
) -> Option<Action> {
    match (at_cap, coarsen) {
        (AtCap::Coarsen, Some(to_us)) => to_us.ok().map(|to_us| Action::Coarsen { to_us }),
        (AtCap::Coarsen, None) => {
            findings
                .mistake(
                    Kind::Missing,
                    section.value_place("at_cap"),
                    format!("`coarsen` is missing in {TITLE}"),
                    "at_cap = \"coarsen\" needs the length that windows get",
                )
                .help("write coarsen = \"1h\"");
            None
        }
        (AtCap::Nothing | AtCap::DropLow, Some(_)) => {
            findings
                .mistake(
                    Kind::Conflict,
                    section.place("coarsen"),
                    "`coarsen` stands beside another `at_cap`",
                    "it is the length that windows get with at_cap = \"coarsen\"",
                )
                .help("write at_cap = \"coarsen\", or take `coarsen` out");
            None
        }
        (AtCap::Nothing, None) => Some(Action::Nothing),
        (AtCap::DropLow, None) => Some(Action::DropLow),
    }
}

/// Reads a share of 1 in thousandths.
fn permille(name: &str, value: &Value<'_>, findings: &mut Findings) -> Option<u16> {
    let typed = number(name, value, findings)?;
    let permille = (typed * 1_000.0).round();
    if !(WARN_PERMILLE_MIN..=1_000.0).contains(&permille) {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("{name} is no share of the budget"),
            "expected 0.01 to 1",
        );
        return None;
    }
    Some(permille as u16)
}
