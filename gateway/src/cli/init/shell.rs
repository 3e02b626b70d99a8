//! Shell: a text as one word of a command that a person copies.

use std::fmt::Write;

/// The text as a word: as it is where no shell sees more in it, else quoted.
pub(super) fn word(text: &str) -> String {
    let is_bare = |sign: char| sign.is_ascii_alphanumeric() || "_./:@%+,=-".contains(sign);
    if !text.is_empty() && text.chars().all(is_bare) {
        return text.to_owned();
    }
    if text.contains(char::is_control) {
        return escaped(text);
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The name of a file as a word that is no option.
pub(super) fn file(name: &str) -> String {
    if name.starts_with('-') {
        word(&format!("./{name}"))
    } else {
        word(name)
    }
}

/// With control characters as escapes: `$'a\012b'`.
fn escaped(text: &str) -> String {
    let mut quoted = "$'".to_owned();
    for sign in text.chars() {
        match sign {
            '\'' | '\\' => quoted.extend(['\\', sign]),
            sign if sign.is_control() => {
                for byte in sign.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(quoted, "\\{byte:03o}");
                }
            }
            sign => quoted.push(sign),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_what_needs_it_is_quoted() {
        assert_eq!(word("/etc/plant-1.toml"), "/etc/plant-1.toml");
        assert_eq!(word("my plant.toml"), "'my plant.toml'");
        assert_eq!(word("it's.toml"), "'it'\\''s.toml'");
        assert_eq!(word("$HOME.toml"), "'$HOME.toml'");
        assert_eq!(word(""), "''");
        assert_eq!(word("a\nb'.toml"), "$'a\\012b\\'.toml'");
        assert_eq!(file("-x.toml"), "./-x.toml");
        assert_eq!(file("- x.toml"), "'./- x.toml'");
    }

    /// A shell reads every word as the text that it was made of.
    #[test]
    fn a_shell_reads_the_text() {
        for text in [
            "my plant.toml",
            "it's \"mine\".toml",
            "a;b&c|d>e<f(g)h`i`$(j)$K*?[l]!{m,n}~#o",
            "~",
            "back\\slash",
            "µ.toml",
            "a\n\tb\u{1b}c\u{9b}'\\1",
        ] {
            let script = format!("printf %s {}", word(text));
            let printed = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(printed.stdout).unwrap(), text, "{script}");
        }
    }
}
