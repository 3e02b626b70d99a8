//! `[budget]` with the sinks and rules that it is about.

use crate::budget::{Action, coarsened};
use crate::rules::Priority;
use crate::rules::RuleSet;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::SinkSettings;
use crate::rules::typed::TypedBudget;

/// Notes what makes a budget idle: nothing that it counts, or nothing that its action changes.
pub(super) fn doubt(
    budget: &TypedBudget,
    sinks: &[SinkSettings],
    rules: &RuleSet,
    findings: &mut Findings,
) {
    let Some(settings) = budget.settings else {
        return;
    };
    let is_remote = |name: &String| {
        let mut remote = sinks.iter().filter(|sink| sink.kind.is_remote());
        remote.any(|sink| sink.name == *name)
    };
    if !sinks.iter().any(|sink| sink.kind.is_remote()) {
        findings
            .warning(
                Kind::Unused,
                budget.cap_span.clone(),
                "no sink sends anything off this machine",
                "nothing counts towards this budget",
            )
            .help("take [budget] out, or add a sink that sends over a network");
        return;
    }
    let idle = match settings.at_cap {
        Action::Nothing => false,
        Action::DropLow => !rules
            .rules
            .iter()
            .any(|rule| rule.priority == Priority::Low && rule.forward.iter().any(is_remote)),
        Action::Coarsen { to_us } => coarsened(rules, to_us) == *rules,
    };
    if idle {
        let help = match settings.at_cap {
            Action::DropLow => "give priority = \"low\" to the rules that may be left out",
            _ => "raise `coarsen`, or choose another `at_cap`",
        };
        findings
            .warning(
                Kind::Unused,
                budget.at_cap_span.clone(),
                "what is to happen at the cap changes nothing",
                "no rule that sends off this machine is one that it is about",
            )
            .help(help);
    }
}
