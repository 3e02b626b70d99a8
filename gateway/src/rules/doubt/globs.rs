//! Globs that say nothing: those that match no name there can be, and those that match only what
//! another of their list matches.

use tidegate_shared::limits::{
    DEVICE_BYTES_MAX, SENSOR_BYTES_MAX, SITE_BYTES_MAX, TAG_BYTES_MAX, UNIT_BYTES_MAX,
};

use crate::rules::glob::matches;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::short;
use crate::rules::typed::{Named, TypedMatch, TypedRule};

/// Longest texts that there are, by key.
const LONGEST: [(&str, usize); 5] = [
    ("site", SITE_BYTES_MAX),
    ("device", DEVICE_BYTES_MAX),
    ("sensor", SENSOR_BYTES_MAX),
    ("unit", UNIT_BYTES_MAX),
    ("tags", TAG_BYTES_MAX),
];

/// Notes globs of a rule that say nothing; `site` is the name of this one, where it is known.
pub(super) fn note(
    matching: &TypedMatch,
    title: &str,
    site: Option<&str>,
    findings: &mut Findings,
) {
    for (key, globs) in matching.lists() {
        note_subsumed(key, globs, findings);
        let longest = LONGEST.iter().find(|(name, _)| *name == key);
        let Some((_, longest)) = longest else {
            continue;
        };
        for glob in globs
            .iter()
            .filter(|glob| least_bytes(&glob.text) > *longest)
        {
            findings.warning(
                Kind::Never,
                glob.span.clone(),
                format!(
                    "`{key}` can match nothing: it asks for {} bytes",
                    least_bytes(&glob.text)
                ),
                format!("there are at most {longest}"),
            );
        }
    }
    let [first, ..] = matching.site.as_slice() else {
        return;
    };
    let Some(site) = site else { return };
    if !matching.site.iter().any(|glob| matches(&glob.text, site)) {
        findings
            .warning(
                Kind::Never,
                first.span.clone(),
                format!("{title} never matches: this site is \"{site}\""),
                "a gateway sees the samples of its own site alone",
            )
            .help("leave `site` out, or write a glob that matches it");
    }
}

/// Notes rules that take nothing of the rule that they take from.
pub(super) fn note_apart(rule: &TypedRule, source: &TypedRule, findings: &mut Findings) {
    let (Some(wanted), Some(made)) = (&rule.matching, &source.matching) else {
        return;
    };
    for ((key, wanted), (_, made)) in wanted.lists().into_iter().zip(made.lists()) {
        // What is derived may have another unit; a rule over a site's records another device.
        if !["device", "sensor"].contains(&key) || made.is_empty() {
            continue;
        }
        let [first, ..] = wanted else { continue };
        let meets = wanted
            .iter()
            .any(|one| made.iter().any(|other| meet(&one.text, &other.text)));
        if !meets {
            findings
                .warning(
                    Kind::Never,
                    first.span.clone(),
                    format!("{} never matches a record of {}", rule.title, source.title),
                    format!("that one matches another `{key}`"),
                )
                .help(format!("leave `{key}` out to take every record of it"));
        }
    }
}

fn note_subsumed(key: &str, globs: &[Named], findings: &mut Findings) {
    for (at, glob) in globs.iter().enumerate() {
        let other = globs.iter().enumerate().find(|(other_at, other)| {
            let same = other.text == glob.text;
            (same && *other_at < at) || (!same && subsumes(&other.text, &glob.text))
        });
        let Some((_, other)) = other else { continue };
        let (message, why) = if other.text == glob.text {
            (
                format!("\"{}\" is in `{key}` twice", short(&glob.text)),
                "once is enough".to_owned(),
            )
        } else {
            (
                format!("\"{}\" adds nothing to `{key}`", short(&glob.text)),
                format!("\"{}\" matches all of it", short(&other.text)),
            )
        };
        findings
            .warning(Kind::Unused, glob.span.clone(), message, why)
            .help("take it out");
    }
}

/// Fewest bytes of a text that a glob matches.
fn least_bytes(glob: &str) -> usize {
    glob.bytes().filter(|byte| *byte != b'*').count()
}

/// Whether one glob surely matches every text that the other one matches: read as a text, in
/// which its stars can be anything, the other fits it.
fn subsumes(glob: &str, other: &str) -> bool {
    let (glob, other): (Vec<char>, Vec<char>) = (glob.chars().collect(), other.chars().collect());
    // Row by row over the glob: which beginnings of `other` what was read so far fits.
    let mut fits = vec![false; other.len() + 1];
    if let Some(first) = fits.first_mut() {
        *first = true;
    }
    for sign in glob {
        let mut next = vec![false; other.len() + 1];
        let mut any = false;
        for (at, into) in next.iter_mut().enumerate() {
            let here = fits.get(at).copied().unwrap_or_default();
            let before = at.checked_sub(1);
            let last = before.and_then(|at| other.get(at)).copied();
            let step = before
                .and_then(|at| fits.get(at))
                .copied()
                .unwrap_or_default();
            any |= here;
            *into = match sign {
                '*' => any,
                '?' => step && last != Some('*'),
                sign => step && last == Some(sign),
            };
        }
        fits = next;
    }
    fits.last().copied().unwrap_or_default()
}

/// Whether there is a text that both globs match.
fn meet(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let is_star = |globs: &[char], at: usize| globs.get(at) == Some(&'*');
    // Which beginnings of both have a text in common, row by row over the first.
    let mut row = vec![false; other.len() + 1];
    for at in 0..=one.len() {
        let mut next = vec![false; other.len() + 1];
        for to in 0..=other.len() {
            let above = at > 0 && row.get(to).copied().unwrap_or_default();
            let left = to > 0 && next.get(to - 1).copied().unwrap_or_default();
            let across = at > 0 && to > 0 && row.get(to - 1).copied().unwrap_or_default();
            let star_one = at > 0 && is_star(&one, at - 1);
            let star_other = to > 0 && is_star(&other, to - 1);
            let same = match (at.checked_sub(1), to.checked_sub(1)) {
                (Some(at), Some(to)) => match (one.get(at), other.get(to)) {
                    (Some(one), Some(other)) => one == other || *one == '?' || *other == '?',
                    _ => false,
                },
                _ => false,
            };
            let fits = (at == 0 && to == 0)
                || (star_one && (above || left))
                || (star_other && (left || above))
                || (across && (same || star_one || star_other));
            if let Some(into) = next.get_mut(to) {
                *into = fits;
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_glob_takes_what_another_does() {
        assert!(subsumes("pump-*", "pump-1"));
        assert!(subsumes("pump-*", "pump-?"));
        assert!(subsumes("*", "pump-*"));
        assert!(subsumes("*-*", "pump-*"));
        assert!(!subsumes("pump-?", "pump-*"));
        assert!(!subsumes("pump-1", "pump-*"));
        assert!(!subsumes("pump-1*", "pump-*"));
    }

    #[test]
    fn two_globs_meet_or_do_not() {
        assert!(meet("pump-*", "*-1"));
        assert!(meet("*", "*"));
        assert!(meet("", "*"));
        assert!(meet("a?c", "*b*"));
        assert!(!meet("pump-*", "tank-*"));
        assert!(!meet("a", ""));
        assert!(!meet("a?", "a"));
    }

    proptest! {
        #[test]
        fn what_is_subsumed_matches_nothing_else(
            glob in "[ab*?]{0,5}",
            other in "[ab*?]{0,5}",
            text in "[abc]{0,5}",
        ) {
            if subsumes(&glob, &other) && matches(&other, &text) {
                prop_assert!(matches(&glob, &text));
            }
            if matches(&glob, &text) && matches(&other, &text) {
                prop_assert!(meet(&glob, &other));
            }
        }

        #[test]
        fn a_text_is_subsumed_by_what_matches_it(glob in "[ab*?]{0,6}", text in "[ab]{0,6}") {
            prop_assert_eq!(subsumes(&glob, &text), matches(&glob, &text));
            prop_assert_eq!(meet(&glob, &text), matches(&glob, &text));
        }
    }
}
