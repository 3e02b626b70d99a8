//! Globs over names: `*` stands for any run of characters, `?` for exactly one.
//!
//! There is no escape and no character class: names are `[A-Za-z0-9._-]`, so neither sign can
//! occur in one. Matching remembers the newest `*` only. That is enough, because a text that an
//! earlier star could still save is saved by the newest one as well, and it bounds the work by
//! `pattern × text` bytes with no recursion: at the limits of 64 and 32 bytes, 2,048 steps.

/// Whether `text` as a whole fits `pattern`.
///
/// ```
/// use tidegate_gateway::rules::glob::matches;
/// assert!(matches("pump-*", "pump-12"));
/// assert!(!matches("pump-?", "pump-12"));
/// ```
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut pattern_left = pattern.chars();
    let mut text_left = text.chars();
    // Where to go on when a character does not fit: behind the newest star, one text character
    // later than last time.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut pattern_next = pattern_left.clone();
        let sign = pattern_next.next();
        if sign == Some('*') {
            if pattern_next.as_str().is_empty() {
                return true;
            }
            pattern_left = pattern_next.clone();
            retry = Some((pattern_next, text_left.clone()));
            continue;
        }
        let mut text_next = text_left.clone();
        match (sign, text_next.next()) {
            (None, None) => return true,
            (Some(sign), Some(found)) if sign == '?' || sign == found => {
                pattern_left = pattern_next;
                text_left = text_next;
                continue;
            }
            _ => {}
        }
        let Some((behind_star, from)) = &mut retry else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        pattern_left = behind_star.clone();
        text_left = from.clone();
    }
}

/// Whether `text` fits one of some patterns; none fit everything.
pub fn any_matches(patterns: &[String], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    /// The definition, written to be obviously right and slow.
    fn defined(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, found) => found.is_none(),
            (Some((&'*', rest)), found) => {
                defined(rest, text) || found.is_some_and(|(_, later)| defined(pattern, later))
            }
            (Some((sign, rest)), Some((found, later))) => {
                (*sign == '?' || sign == found) && defined(rest, later)
            }
            (Some(_), None) => false,
        }
    }

    #[test]
    fn plain_text_fits_itself_only() {
        assert!(matches("pump-1", "pump-1"));
        assert!(!matches("pump-1", "pump-10"));
        assert!(!matches("pump-10", "pump-1"));
        assert!(matches("", ""));
        assert!(!matches("", "a"));
    }

    #[test]
    fn stars_and_marks() {
        assert!(matches("*", ""));
        assert!(matches("*", "anything.at-all"));
        assert!(matches("**", ""));
        assert!(matches("vibration.*", "vibration."));
        assert!(matches("*.rms", "vibration.x.rms"));
        assert!(!matches("*.rms", "vibration.rms2"));
        assert!(matches("a*b?c*", "axxbyc"));
        assert!(!matches("?", ""));
        assert!(matches("?", "ü"));
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let pattern = "*a".repeat(2_000) + "b";
        let text = "a".repeat(20_000);
        assert!(!matches(&pattern, &text));
    }

    proptest! {
        #[test]
        fn matches_what_the_definition_says(pattern in "[ab*?]{0,8}", text in "[abc]{0,8}") {
            let signs: Vec<char> = pattern.chars().collect();
            let found: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&pattern, &text), defined(&signs, &found));
        }
    }
}
