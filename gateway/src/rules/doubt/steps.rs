//! Thinning, windows and aggregates without effect, and silence that is none.

use super::super::quantity::show_duration;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::typed::TypedRule;
use crate::rules::{Aggregate, Derivation, Group, Late, Shape, Thinning};

/// How long a device holds samples back when its configuration says nothing: silence for less is
/// none.
const HOLD_US: i64 = 60_000_000;

/// Aggregates that give the same number.
const SAME: [(Aggregate, Aggregate); 3] = [
    (Aggregate::Percentile(500), Aggregate::Median),
    (Aggregate::Percentile(0), Aggregate::Min),
    (Aggregate::Percentile(1_000), Aggregate::Max),
];

/// Notes what is doubtful about the steps of a rule.
pub(super) fn note(rule: &TypedRule, findings: &mut Findings) {
    note_deadband(rule, findings);
    note_heartbeat(rule, findings);
    note_window(rule, findings);
    note_aggregates(rule, findings);
    note_site(rule, findings);
    let Some(alert) = &rule.alert else { return };
    let silent_for_us = alert.settings.silent_for_us;
    if let Some(silent_for_us) = silent_for_us.filter(|us| *us < HOLD_US) {
        findings
            .warning(
                Kind::Doubtful,
                alert.silent_for.clone(),
                format!("the alert of {} opens while nothing is wrong", rule.title),
                format!(
                    "devices may hold samples for {}, longer than {}",
                    show_duration(HOLD_US),
                    show_duration(silent_for_us)
                ),
            )
            .help("lengthen `silent_for`, unless every device sends more often");
    }
}

/// Over the site records of several devices stand at one time: what follows one sample after the
/// other would go from device to device.
fn note_site(rule: &TypedRule, findings: &mut Findings) {
    let group = rule.group.as_ref().map(|group| *group.get_ref());
    if group != Some(Group::Site) {
        return;
    }
    let mut doubt = |span: std::ops::Range<usize>, what: &str| {
        findings
            .warning(
                Kind::Doubtful,
                span,
                format!("{what} of {} goes from device to device", rule.title),
                "over the site records of several devices stand at one time",
            )
            .help("put it into the rule over the sensors that this one takes from");
    };
    for aggregate in &rule.aggregates {
        if needs_order(aggregate.get_ref()) {
            let name = aggregate.get_ref().name();
            doubt(aggregate.span(), &format!("`{name}`"));
        }
    }
    if let Some(thin) = &rule.thin {
        doubt(thin.span(), "the thinning");
    }
    if let Some(keep) = rule.keep.as_ref()
        && keep.get_ref().rate_max.is_some()
    {
        doubt(keep.span(), "`rate_max`");
    }
    if let Some(derive) = &rule.derive
        && !matches!(derive.get_ref().what, Derivation::Value(_))
    {
        doubt(derive.span(), "`derive`");
    }
}

fn needs_order(aggregate: &Aggregate) -> bool {
    matches!(
        aggregate,
        Aggregate::Delta
            | Aggregate::Rate
            | Aggregate::TimeWeightedMean
            | Aggregate::ShareOfTime { .. }
    )
}

fn note_deadband(rule: &TypedRule, findings: &mut Findings) {
    let (Some(thin), Some(keep), None) = (&rule.thin, &rule.keep, &rule.derive) else {
        return;
    };
    let Thinning::Deadband {
        absolute: Some(band),
        ..
    } = *thin.get_ref()
    else {
        return;
    };
    if rule.heartbeat_us.is_some() {
        return;
    }
    let keep = keep.get_ref();
    let (Some(min), Some(max)) = (keep.min, keep.max) else {
        return;
    };
    if band > max - min {
        findings
            .warning(
                Kind::Never,
                thin.span(),
                format!("{} passes its first sample and no other", rule.title),
                format!(
                    "values that `keep` lets through differ by at most {}",
                    max - min
                ),
            )
            .help("narrow `deadband`, or add a `heartbeat`");
    }
}

fn note_heartbeat(rule: &TypedRule, findings: &mut Findings) {
    let (Some(thin), Some(heartbeat_us)) = (&rule.thin, rule.heartbeat_us) else {
        return;
    };
    let Thinning::DecimateTime { every_us } = *thin.get_ref() else {
        return;
    };
    let (message, help) = if heartbeat_us < every_us {
        (
            format!("`decimate` of {} has no effect", rule.title),
            "leave `decimate` out or make it shorter than `heartbeat`",
        )
    } else {
        (
            format!("`heartbeat` of {} has no effect", rule.title),
            "take `heartbeat` out",
        )
    };
    let why = format!(
        "a sample passes every {} anyway",
        show_duration(heartbeat_us.min(every_us))
    );
    findings
        .warning(Kind::Unused, thin.span(), message, why)
        .help(help);
}

fn note_window(rule: &TypedRule, findings: &mut Findings) {
    let Some(window) = &rule.window else { return };
    let (place, window) = (window.span(), window.get_ref());
    match window.shape {
        Shape::Hopping {
            length_us,
            every_us,
        } if length_us == every_us => findings
            .warning(
                Kind::Unused,
                place,
                "these windows do not overlap",
                "`every` is as long as `hopping`",
            )
            .help(format!(
                "write window = {{ tumbling = \"{}\" }}",
                show_duration(length_us)
            )),
        Shape::Count { .. } if window.late == Late::Drop => findings
            .warning(
                Kind::Unused,
                place,
                "`late` has no effect",
                "a window of a number of samples is closed by its last one",
            )
            .help("take it out"),
        _ => {}
    }
}

fn note_aggregates(rule: &TypedRule, findings: &mut Findings) {
    for (percentile, other) in &SAME {
        let find = |wanted: &Aggregate| rule.aggregates.iter().find(|one| one.get_ref() == wanted);
        let (Some(percentile), Some(other)) = (find(percentile), find(other)) else {
            continue;
        };
        findings
            .warning(
                Kind::Unused,
                percentile.span(),
                format!(
                    "{} is the same as {}",
                    percentile.get_ref().name(),
                    other.get_ref().name()
                ),
                "a record would have the number twice",
            )
            .help("take one of them out");
    }
}
