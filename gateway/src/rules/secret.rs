//! Secrets: what stands in a URL before its `@` or behind its `?` is never shown, nor are texts
//! behind keys such as `password` and `headers`.
//!
//! Masking prefers hiding too much: a password may itself hold `/`, `'`, `@` or blanks, written
//! raw by mistake, and just such a line is the one that a diagnostic quotes.

/// The URL without user, password, query and fragment, for people and logs.
pub fn shown_url(url: &str) -> String {
    let (scheme, rest) = url
        .split_once("://")
        .map_or(("", url), |(scheme, rest)| (scheme, rest));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let rest = rest.get(..end).unwrap_or(rest);
    if scheme.is_empty() {
        rest.to_owned()
    } else {
        format!("{scheme}://{rest}")
    }
}

/// The configuration's text with every secret replaced by as many `*` bytes, so that offsets
/// into the text stay what they were.
pub fn masked(text: &str) -> String {
    let mut inside = Inside::default();
    text.split_inclusive('\n')
        .map(|line| masked_line(&inside.masked(line)))
        .collect()
}

/// Keys whose values are nobody's business, as parts of names.
const SECRET_KEYS: [&str; 8] = [
    "passw",
    "token",
    "secret",
    "auth",
    "header",
    "credential",
    "bearer",
    "cookie",
];

/// In `[security]` this is one, too; `tls` has one that names a file.
const SECURITY_KEY: &str = "key";

/// Where the text is: under a header such as `[sink.cloud.auth]`, or in a table of a secret key
/// that goes on over lines, every quoted text is masked.
#[derive(Debug, Default)]
struct Inside {
    section: bool,
    /// Under `[security]`.
    security: bool,
    /// Brackets of the table that are open.
    depth: usize,
}

impl Inside {
    /// The line with every quoted text behind a secret key replaced.
    fn masked(&mut self, line: &str) -> String {
        let lower = line.to_ascii_lowercase();
        if line.trim_start().starts_with('[') && self.depth == 0 {
            // A sink's or rule's own name says nothing: [sink.NAME.auth] does.
            let inner = lower.splitn(3, '.').nth(2).unwrap_or("");
            self.section = SECRET_KEYS.iter().any(|key| inner.contains(key));
            self.security = lower.contains("security");
            return line.to_owned();
        }
        let begin = if self.section || self.depth > 0 {
            Some(0)
        } else {
            let of_security = self.security || lower.contains("security");
            let more = of_security.then_some(&SECURITY_KEY);
            let begins = SECRET_KEYS.iter().chain(more).filter_map(|key| {
                let at = lower.find(key)?;
                Some(at + lower.get(at..)?.find('=')?)
            });
            begins.min()
        };
        let Some(begin) = begin else {
            return line.to_owned();
        };
        let mut quote = None;
        let mut shown = String::with_capacity(line.len());
        for (offset, sign) in line.char_indices() {
            let is_quote = offset >= begin && matches!(sign, '"' | '\'');
            match quote {
                None if is_quote => quote = Some(sign),
                Some(open) if open == sign => quote = None,
                Some(_) if !matches!(sign, '\r' | '\n') => {
                    shown.extend(std::iter::repeat_n('*', sign.len_utf8()));
                    continue;
                }
                None if offset >= begin && matches!(sign, '{' | '[') => self.depth += 1,
                None if matches!(sign, '}' | ']') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            shown.push(sign);
        }
        shown
    }
}

fn masked_line(line: &str) -> String {
    let Some(begin) = url_begin(line) else {
        return line.to_owned();
    };
    let tail = line.get(begin..).unwrap_or("");
    let content = tail.trim_end_matches(['\r', '\n']).len();
    let at = tail.rfind('@').unwrap_or(0);
    let query = tail.find('?').filter(|query| *query >= at);
    let mut shown = String::with_capacity(line.len());
    shown.push_str(line.get(..begin).unwrap_or(""));
    for (offset, sign) in tail.char_indices() {
        let in_query = query.is_some_and(|query| offset > query) && sign != '"' && sign != '\'';
        if offset < content && (offset < at || in_query) {
            shown.extend(std::iter::repeat_n('*', sign.len_utf8()));
        } else {
            shown.push(sign);
        }
    }
    shown
}

/// Where a line's URL begins behind its scheme; a `url =` without a scheme is taken as one.
fn url_begin(line: &str) -> Option<usize> {
    if let Some(scheme) = line.find("://") {
        return Some(scheme + "://".len());
    }
    let key = line.find("url")?;
    let value = key + line.get(key..)?.find('=')? + 1;
    let tail = line.get(value..)?;
    let quote = tail.find(|sign: char| !sign.is_whitespace() && sign != '"' && sign != '\'')?;
    Some(value + quote)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_behind_secret_keys_are_masked() {
        for (line, shown) in [
            ("password = \"sesame\"\n", "password = \"******\"\n"),
            (
                "headers = { Authorization = \"Bearer sesame\", x = 'y' }",
                "headers = { Authorization = \"*************\", x = '*' }",
            ),
            ("api_token='sésame", "api_token='*******"),
            (
                "match = { sensor = \"token\" }",
                "match = { sensor = \"token\" }",
            ),
        ] {
            assert_eq!(masked(line), shown);
        }
    }

    #[test]
    fn texts_of_secret_sections_and_of_tables_over_lines_are_masked() {
        for (text, shown) in [
            (
                "[sink.a.headers]\nx-api-key = \"sesame\"\n[gateway]\nsite = \"hall\"\n",
                "[sink.a.headers]\nx-api-key = \"******\"\n[gateway]\nsite = \"hall\"\n",
            ),
            (
                "headers = {\n  x-key = \"sesame\",\n}\nsite = \"hall\"\n",
                "headers = {\n  x-key = \"******\",\n}\nsite = \"hall\"\n",
            ),
            ("bearer = \"sesame\"", "bearer = \"******\""),
            (
                "[security]\nframes = \"require\"\nkey = \"sesame\"\n[http.tls]\nkey = \"key.pem\"\n",
                "[security]\nframes = \"require\"\nkey = \"******\"\n[http.tls]\nkey = \"key.pem\"\n",
            ),
            (
                "security = { key = \"sesame\" }\ntls = { key = \"key.pem\" }",
                "security = { key = \"******\" }\ntls = { key = \"key.pem\" }",
            ),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn a_shown_url_tells_where_but_not_who() {
        assert_eq!(
            shown_url("https://me:pw@host:8443/v1?token=x#y"),
            "https://host:8443/v1"
        );
        assert_eq!(shown_url("me:p/w@host"), "host");
        assert_eq!(
            shown_url("http://127.0.0.1:28080/records"),
            "http://127.0.0.1:28080/records"
        );
    }

    #[test]
    fn quoted_lines_hide_passwords_and_queries() {
        assert_eq!(
            masked("url = \"mqtt://me:p'w@host\" # broker\nsite = \"a\"\n"),
            "url = \"mqtt://******@host\" # broker\nsite = \"a\"\n"
        );
        assert_eq!(
            masked("url = \"https://host/x?token=abc\"\r\n"),
            "url = \"https://host/x?*********\"\r\n"
        );
        assert_eq!(masked("url = \"me:pw@host\""), "url = \"*****@host\"");
    }

    #[test]
    fn other_lines_stay() {
        let text = "match = { device = \"a?\" }\nname = \"x@y\"\n";
        assert_eq!(masked(text), text);
    }

    proptest! {
        #[test]
        fn masking_keeps_offsets_and_hides_the_password(
            before: String,
            password in "[a-zé/:'@ #?&]{9,20}",
        ) {
            let text = format!("{before}\nurl = \"mqtt://user:{password}@host\"\n{before}");
            let shown = masked(&text);
            prop_assert_eq!(shown.len(), text.len());
            let line = shown.lines().find(|line| line.starts_with("url = \"mqtt://")).unwrap();
            prop_assert!(!line.contains(&password));
            prop_assert!(line.ends_with("@host\""));
        }
    }
}
