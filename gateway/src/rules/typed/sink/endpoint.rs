//! Endpoint: where to post, with which headers and by whose name.

use std::collections::BTreeSet;

use url::Url;

use super::auth::{self, Form, TypedAuth, secret};
use super::tls;
use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::settings::{Endpoint, HeaderValue, HttpAuth, SinkUrl};
use crate::rules::tree::{Section, Value, malformed, short, text};

/// Most headers that a sink adds to its requests.
pub(in crate::rules) const HEADERS_MAX: usize = 32;
/// Longest value of one.
const HEADER_BYTES_MAX: usize = 4_096;
/// What a URL looks like.
const EXPECTED_URL: &str = "expected http:// or https://, a host and a path";
/// Headers that are the gateway's to set.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-prometheus-remote-write-version",
];
/// Parts of the names of headers whose value is a secret.
const SECRET_NAMES: [&str; 7] = [
    "auth",
    "cookie",
    "credential",
    "key",
    "passw",
    "secret",
    "token",
];

/// What a type wants of its URL.
pub(in crate::rules::typed) struct Wanted {
    /// An example of the key.
    pub(in crate::rules::typed) example: &'static str,
    /// Whether `user:password@` may stand in it.
    pub(in crate::rules::typed) takes_userinfo: bool,
}

/// Reads `url`, `auth`, `headers` and `tls`.
pub(in crate::rules::typed) fn read(
    section: &mut Section<'_, '_>,
    wanted: &Wanted,
    findings: &mut Findings,
) -> Option<Endpoint> {
    let url = section
        .need("url", wanted.example)
        .and_then(|value| read_url(value, wanted, findings));
    let forms = [Form::Password, Form::Bearer, Form::Token];
    let auth = auth::read(section, &forms, findings).and_then(|auth| match auth {
        TypedAuth::None => Some(HttpAuth::None),
        TypedAuth::Password { user, password } => Some(HttpAuth::Basic { user, password }),
        TypedAuth::Bearer(secret) => Some(HttpAuth::Bearer(secret)),
        TypedAuth::Token(secret) => Some(HttpAuth::Token(secret)),
        TypedAuth::Credentials(_) => None,
    });
    let headers = section
        .get("headers")
        .map_or(Some(Vec::new()), |value| read_headers(value, findings));
    let tls = tls::client(section, findings).ok();
    let parsed = url.as_deref().and_then(|url| Url::parse(url).ok());
    if let Some(url) = parsed.filter(|url| url.scheme() == "http") {
        if section.holds("tls") {
            tls::refuse_plain(section, "https", findings);
            return None;
        }
        let shows = !matches!(auth, None | Some(HttpAuth::None)) || holds_secret(headers.as_ref());
        if shows && !is_this_machine(&url) {
            warn_in_the_clear(section, "https", findings);
        }
    }
    let (auth, headers) = (auth?, headers?);
    let twice = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if twice && auth != HttpAuth::None {
        findings.mistake(
            Kind::Conflict,
            section.value_place("headers"),
            "`auth` and a header say who sends",
            "`auth` makes the header authorization",
        );
        return None;
    }
    Some(Endpoint {
        url: SinkUrl(url?),
        auth,
        headers,
        tls: tls?.unwrap_or_default(),
    })
}

fn holds_secret(headers: Option<&Vec<(String, HeaderValue)>>) -> bool {
    let mut values = headers.into_iter().flatten();
    values.any(|(_, value)| matches!(value, HeaderValue::Secret(_)))
}

/// Whether what is sent there stays on this machine.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Warns of a secret on a connection that everybody on its way can read.
pub(super) fn warn_in_the_clear(section: &Section<'_, '_>, scheme: &str, findings: &mut Findings) {
    let key = if section.holds("auth") {
        "auth"
    } else {
        "headers"
    };
    findings
        .warning(
            Kind::Exposed,
            section.value_place(key),
            "a secret goes over the network unencrypted",
            "`url` speaks without TLS, so whoever is between can read it",
        )
        .help(format!(
            "write {scheme}:// in `url` if the receiver speaks it"
        ));
}

/// Reads `headers`: names and values, which may be secrets.
fn read_headers(value: &Value<'_>, findings: &mut Findings) -> Option<Vec<(String, HeaderValue)>> {
    let expected = "a table such as { x-tenant = \"plant-7\" }";
    // Its keys are names: any is asked for, so the section is not closed.
    let section = Section::of_value("`headers`", value, &[], expected, findings)?;
    let count = section.entries().count();
    if count > HEADERS_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("there are {count} headers"),
            format!("at most {HEADERS_MAX} are allowed"),
        );
        return None;
    }
    let mut taken = BTreeSet::new();
    let headers: Vec<Option<(String, HeaderValue)>> = section
        .entries()
        .map(|(name, span, value)| {
            let lower = name.to_ascii_lowercase();
            let is_name = check_header_name(&lower, &span, findings);
            if is_name && !taken.insert(lower.clone()) {
                findings.mistake(
                    Kind::Duplicate,
                    span,
                    format!("the header {} is given twice", short(&lower)),
                    "names of headers are the same in small and large letters",
                );
                return None;
            }
            let value = read_header_value(&lower, value, findings)?;
            is_name.then_some((lower, value))
        })
        .collect();
    headers.into_iter().collect()
}

fn check_header_name(name: &str, span: &std::ops::Range<usize>, findings: &mut Findings) -> bool {
    let is_token = |sign: u8| sign.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&sign);
    if name.is_empty() || name.len() > super::WORD_BYTES_MAX || !name.bytes().all(is_token) {
        malformed(
            span.clone(),
            "this cannot be the name of a header",
            "expected letters, digits and -, such as x-tenant",
            findings,
        );
        return false;
    }
    if RESERVED.contains(&name) {
        findings.mistake(
            Kind::Conflict,
            span.clone(),
            format!("the header {name} is set by the gateway"),
            "what it says follows from the other keys",
        );
        return false;
    }
    true
}

fn read_header_value(
    name: &str,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<HeaderValue> {
    let Some(typed) = value.get_ref().as_str() else {
        return secret("a header", value, findings).map(HeaderValue::Secret);
    };
    if SECRET_NAMES.iter().any(|part| name.contains(part)) {
        return secret(&format!("the header {}", short(name)), value, findings)
            .map(HeaderValue::Secret);
    }
    let is_plain = |sign: u8| sign == b' ' || sign.is_ascii_graphic();
    let fits = typed.len() <= HEADER_BYTES_MAX && typed.trim() == typed;
    if !fits || !typed.bytes().all(is_plain) {
        malformed(
            value.span(),
            "this cannot be the value of a header",
            &format!("expected at most {HEADER_BYTES_MAX} printable ASCII signs"),
            findings,
        );
        return None;
    }
    Some(HeaderValue::Text(typed.to_owned()))
}

/// Checks a URL and gives it as typed; no message quotes it, since it may hold a secret.
fn read_url(value: &Value<'_>, wanted: &Wanted, findings: &mut Findings) -> Option<String> {
    let typed = text(
        "`url`",
        value,
        "a text such as \"https://host/path\"",
        findings,
    )?;
    let mut refuse = |why: &str, help: Option<String>| {
        findings
            .mistake(
                Kind::Malformed,
                value.span(),
                format!("`url` is not a URL to post to: {why}"),
                EXPECTED_URL,
            )
            .help_maybe(help);
    };
    let Some((scheme, _)) = typed.split_once("://") else {
        refuse(
            "it has no scheme",
            Some("put https:// before the host".into()),
        );
        return None;
    };
    if scheme != "http" && scheme != "https" {
        let near = nearest(scheme, ["http", "https"]);
        refuse(
            "its scheme is neither http nor https",
            near.map(|name| format!("did you mean {name}://?")),
        );
        return None;
    }
    let url = match Url::parse(typed) {
        Ok(url) => url,
        Err(why) => {
            refuse(&why.to_string(), None);
            return None;
        }
    };
    if url.fragment().is_some() {
        refuse("a server never sees what follows the #", None);
        return None;
    }
    if url.port() == Some(0) {
        refuse("port 0 is nobody's", None);
        return None;
    }
    let has_userinfo = !url.username().is_empty() || url.password().is_some();
    if has_userinfo && !wanted.takes_userinfo {
        refuse_userinfo(value, findings);
        return None;
    }
    Some(typed.to_owned())
}

/// Refuses a user and password in a URL.
pub(super) fn refuse_userinfo(value: &Value<'_>, findings: &mut Findings) {
    findings
        .mistake(
            Kind::Exposed,
            value.span(),
            "`url` holds a user or a password",
            "a secret must not stand in the configuration",
        )
        .help(
            "take it out of `url` and write auth = { user = \"…\", password = { file = \"…\" } }",
        );
}
