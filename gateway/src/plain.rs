//! Plain: texts of devices and receivers, made fit for a terminal, which obeys control characters.

use std::borrow::Cow;

/// What stands for a control character.
const REPLACED: &str = "\u{fffd}";

/// A text within a line: no control character is left, no end of a line neither.
pub fn in_line(text: &str) -> Cow<'_, str> {
    without(text, char::is_control)
}

/// Whole lines: only their ends are left of control characters.
pub fn lines(text: &str) -> Cow<'_, str> {
    without(text, |sign| sign.is_control() && sign != '\n')
}

fn without(text: &str, is_replaced: fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(is_replaced) {
        Cow::Owned(text.replace(is_replaced, REPLACED))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left() {
        let odd = "\u{1b}[2J\u{9b}31mm/s\u{7f}\r\n\tµ°";
        assert_eq!(in_line(odd), "�[2J�31mm/s����µ°");
        assert_eq!(lines(odd), "�[2J�31mm/s��\n�µ°");
    }

    #[test]
    fn other_texts_are_not_copied() {
        assert!(matches!(in_line("mm/s²"), Cow::Borrowed("mm/s²")));
        assert!(matches!(lines("a\nb\n"), Cow::Borrowed("a\nb\n")));
    }
}
