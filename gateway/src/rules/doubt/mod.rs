//! Doubt: what can run but will hardly do what was wanted, as warnings.
//!
//! ```text
//! globs       that match nothing, or only what another of their list matches
//! conditions  that hold never or always, alerts that flap, inputs that nothing looks at
//! steps       thinning, windows and aggregates without effect
//! twins       rules that compute and forward the same
//! ```
//! Only rules without a mistake are looked at: of others it is not known what they would do.
//! Where something is not certain (another sensor's value decides, say) nothing is said.

mod conditions;
mod globs;
mod steps;
mod twins;
mod values;

use super::mistake::Findings;
use super::typed::TypedRule;

/// Notes what is doubtful about rules; `site` is the gateway's own, where it is known.
pub(super) fn note(rules: &[TypedRule], site: Option<&str>, findings: &mut Findings) {
    let sound = || rules.iter().filter(|rule| rule.sound);
    for rule in sound() {
        if let Some(matching) = &rule.matching {
            globs::note(matching, &rule.title, site, findings);
        }
        let source = rule.from.as_ref().and_then(|from| {
            sound().find(|rule| {
                let name = rule.name.as_ref();
                name.is_some_and(|name| name.text == from.rule.text)
            })
        });
        if let Some(source) = source {
            globs::note_apart(rule, source, findings);
        }
        conditions::note(rule, findings);
        steps::note(rule, findings);
    }
    twins::note(rules, findings);
}
