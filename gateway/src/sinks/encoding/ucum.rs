//! UCUM: units as OpenTelemetry wants them, from how people write them.
//!
//! Known spellings are translated whole; else signs that UCUM has not (`²`, `µ`, `Ω`, `·`) are
//! written as it does, and the rest stays. A text that is no unit stays what it is: a wrong unit
//! is worse than an odd one.

use std::borrow::Cow;

/// How people write a unit, and how UCUM does, where that is no matter of single signs.
const SPELLINGS: [(&str, &str); 20] = [
    ("", "1"),
    ("°C", "Cel"),
    ("℃", "Cel"),
    ("degC", "Cel"),
    ("°F", "[degF]"),
    ("℉", "[degF]"),
    ("°", "deg"),
    ("rpm", "{rev}/min"),
    ("ppm", "[ppm]"),
    ("ppb", "[ppb]"),
    ("psi", "[psi]"),
    ("in", "[in_i]"),
    ("ft", "[ft_i]"),
    ("ohm", "Ohm"),
    ("l/min", "L/min"),
    ("kWh", "kW.h"),
    ("Wh", "W.h"),
    ("Ah", "A.h"),
    ("mAh", "mA.h"),
    ("VAr", "VA{reactive}"),
];

/// A unit in UCUM, as far as it is known.
pub fn ucum(unit: &str) -> Cow<'_, str> {
    if let Some((_, known)) = SPELLINGS.iter().find(|(typed, _)| *typed == unit) {
        return Cow::Borrowed(known);
    }
    if unit.is_ascii() {
        return Cow::Borrowed(unit);
    }
    let mut text = String::with_capacity(unit.len());
    for sign in unit.chars() {
        match sign {
            '²' => text.push('2'),
            '³' => text.push('3'),
            '⁻' => text.push('-'),
            '¹' => text.push('1'),
            '\u{b5}' | '\u{3bc}' => text.push('u'),
            '\u{2126}' | '\u{3a9}' => text.push_str("Ohm"),
            '\u{b7}' | '\u{22c5}' => text.push('.'),
            '°' => text.push_str("deg"),
            other => text.push(other),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_are_known_and_others_stay() {
        for (typed, known) in [
            ("", "1"),
            ("°C", "Cel"),
            ("bar", "bar"),
            ("mm/s", "mm/s"),
            ("m³/h", "m3/h"),
            ("µm", "um"),
            ("kΩ", "kOhm"),
            ("kW·h", "kW.h"),
            ("%", "%"),
            ("boats, red", "boats, red"),
        ] {
            assert_eq!(ucum(typed), known);
        }
    }
}
