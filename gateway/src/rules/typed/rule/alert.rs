//! `alert`: the condition that is watched.

use std::ops::Range;

use toml::Spanned;

use super::formula::Names;
use super::{TIME_US_MAX, time};
use crate::rules::Alert;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{Section, Value, duration, short};

/// An alert of a sample that is older than this as it arrives is historic.
pub(in crate::rules) const HISTORIC_US: i64 = 5 * 60 * 1_000_000;

/// `alert` as typed.
#[derive(Debug)]
pub(in crate::rules) struct TypedAlert {
    /// What runs.
    pub(in crate::rules) settings: Alert,
    /// Where `when` stands, or the alert.
    pub(in crate::rules) when: Range<usize>,
    /// Where `clear` stands, or the alert.
    pub(in crate::rules) clear: Range<usize>,
    /// Where `silent_for` stands, or the alert.
    pub(in crate::rules) silent_for: Range<usize>,
}

/// Reads `alert`.
pub(super) fn read_alert(
    value: &Value<'_>,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<TypedAlert> {
    if let Some(typed) = value.get_ref().as_str() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "`alert` is a text",
                "expected a table",
            )
            .help(format!("write alert = {{ when = \"{}\" }}", short(typed)));
        return None;
    }
    let expected = "a table such as { when = \"value > 4.5\", for = \"5s\" }";
    let mut section = Section::of_value("`alert`", value, &[], expected, findings)?;
    let when = section.get("when");
    let clear = section.get("clear");
    let opens = when.map(|value| names.condition("`when`", value, findings));
    let clears = clear.map(|value| names.condition("`clear`", value, findings));
    let zero_or_more = |key: &'static str, section: &mut Section<'_, '_>, findings: &mut _| {
        let value = section.get(key)?;
        Some(duration(
            &format!("`{key}`"),
            value,
            0..=TIME_US_MAX,
            findings,
        ))
    };
    let for_us = zero_or_more("for", &mut section, findings);
    let historic_after_us = zero_or_more("historic_after", &mut section, findings);
    let repeat_us = section
        .get("repeat")
        .map(|value| time("`repeat`", value, findings));
    let silent = section.get("silent_for");
    let silent_for_us = silent.map(|value| time("`silent_for`", value, findings));
    check_opening(&section, findings);
    let place = |key: &str| section.value_place(key);
    let places = (place("when"), place("clear"), place("silent_for"));
    section.close(findings);
    let settings = Alert {
        when: kept(opens)?.map(Spanned::into_inner),
        clear: kept(clears)?.map(Spanned::into_inner),
        for_us: for_us.unwrap_or(Some(0))?,
        repeat_us: kept(repeat_us)?,
        silent_for_us: kept(silent_for_us)?,
        historic_after_us: historic_after_us.unwrap_or(Some(HISTORIC_US))?,
    };
    let (when, clear, silent_for) = places;
    Some(TypedAlert {
        settings,
        when,
        clear,
        silent_for,
    })
}

/// What was given and read, or not given; `None` where it is mistaken.
#[expect(
    clippy::option_option,
    reason = "not given and mistaken are two things, and only the latter ends the reading"
)]
fn kept<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(None) => None,
        Some(Some(read)) => Some(Some(read)),
        None => Some(None),
    }
}

/// Something has to open an alert, and some keys need a condition that does.
fn check_opening(section: &Section<'_, '_>, findings: &mut Findings) {
    if section.holds("when") || section.misspelt("when") {
        return;
    }
    if !section.holds("silent_for") {
        if !section.misspelt("silent_for") {
            findings
                .mistake(
                    Kind::Missing,
                    section.span.clone(),
                    "nothing opens this alert",
                    "`when`, `silent_for` or both must be given",
                )
                .help("add when = \"value > 4.5\"");
        }
        return;
    }
    for key in ["clear", "for", "repeat"] {
        if section.holds(key) {
            findings.mistake(
                Kind::Conflict,
                section.place(key),
                format!("`{key}` in `alert` without `when`"),
                "silence ends with the next sample",
            );
        }
    }
}
