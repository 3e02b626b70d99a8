//! Zone: time zones by their names in the IANA database that the program brings along, so that
//! what a name means does not depend on the machine.

use jiff::tz::TimeZoneDatabase;

use super::mistake::{Findings, Kind, nearest};
use super::tree::{Value, short, text};

/// Reads the name of a time zone.
pub(super) fn read(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let expected = "a time zone such as \"Europe/Berlin\"";
    let typed = text("`zone`", value, expected, findings)?;
    let zones = TimeZoneDatabase::bundled();
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    if names.iter().any(|name| name == typed) {
        return Some(typed.to_owned());
    }
    findings
        .mistake(
            Kind::UnknownName,
            value.span(),
            format!("there is no time zone \"{}\"", short(typed)),
            "expected a name of the IANA database, such as \"Europe/Berlin\"",
        )
        .help_maybe(meant(typed, &names).map(|name| format!("did you mean \"{name}\"?")));
    None
}

/// What was meant by a name that is no zone's: a city alone, or a slip.
fn meant<'n>(typed: &str, names: &'n [String]) -> Option<&'n str> {
    let lower = typed.trim().to_lowercase().replace(' ', "_");
    let ending = format!("/{lower}");
    names
        .iter()
        .find(|name| name.to_lowercase().ends_with(&ending))
        .map(String::as_str)
        .or_else(|| nearest(&lower, names.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_or_a_slip_names_its_zone() {
        let names = ["Europe/Berlin", "America/New_York", "UTC"].map(str::to_owned);
        assert_eq!(meant("berlin", &names), Some("Europe/Berlin"));
        assert_eq!(meant("New York", &names), Some("America/New_York"));
        assert_eq!(meant("Europe/Berln", &names), Some("Europe/Berlin"));
        assert_eq!(meant("utc", &names), Some("UTC"));
        assert_eq!(meant("zzz", &names), None);
    }
}
