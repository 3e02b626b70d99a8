//! `type = "nats"`: a `JetStream` message per record.

use url::Url;

use super::auth::{self, Form, TypedAuth};
use super::endpoint::{refuse_userinfo, warn_in_the_clear};
use super::{or_default, template, tls};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{NatsAuth, NatsSettings, SinkKind, SinkUrl, Template};
use crate::rules::tree::{Section, Value, malformed, text};

/// Default of `subject`.
const SUBJECT: &str = "tidegate.{site}.{device}.{sensor}.{rule}";
/// What a server's URL looks like.
const EXPECTED_URL: &str = "expected nats://host[:port] or tls://host[:port]";

pub(super) fn read(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    let url = section
        .need("url", "url = \"tls://host:4222\"")
        .and_then(|value| read_url(value, findings));
    let forms = [Form::Password, Form::Token, Form::Credentials];
    let auth = auth::read(section, &forms, findings);
    let tls = tls::client(section, findings).ok();
    let subject = or_default(section, "subject", template::default(SUBJECT), |value| {
        read_subject(value, findings)
    });
    let (url, auth, tls) = (url?, auth?, tls?);
    let tls = tls.or_else(|| (url.scheme() == "tls").then(Default::default));
    let auth = match auth {
        TypedAuth::None => NatsAuth::None,
        TypedAuth::Password { user, password } => NatsAuth::Password { user, password },
        TypedAuth::Token(token) | TypedAuth::Bearer(token) => NatsAuth::Token(token),
        TypedAuth::Credentials(file) => NatsAuth::Credentials(file),
    };
    // Credentials are proven by a signature: the seed never travels.
    let shows = matches!(auth, NatsAuth::Password { .. } | NatsAuth::Token(_));
    if shows && tls.is_none() && !is_this_machine(&url) {
        warn_in_the_clear(section, "tls", findings);
    }
    Some(SinkKind::Nats(NatsSettings {
        url: SinkUrl(url.as_str().trim_end_matches('/').to_owned()),
        subject: subject?,
        auth,
        tls,
    }))
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
    let address: Option<std::net::IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|ip| ip.is_loopback())
}

fn read_url(value: &Value<'_>, findings: &mut Findings) -> Option<Url> {
    let typed = text(
        "`url`",
        value,
        "a text such as \"tls://host:4222\"",
        findings,
    )?;
    let mut refuse = |why: &str, help: Option<&str>| {
        findings
            .mistake(
                Kind::Malformed,
                value.span(),
                format!("`url` is not a NATS server's: {why}"),
                EXPECTED_URL,
            )
            .help_maybe(help.map(str::to_owned));
    };
    match typed.split_once("://") {
        Some(("nats" | "tls", _)) => {}
        Some(_) => {
            refuse("its scheme is neither nats nor tls", None);
            return None;
        }
        None => {
            refuse("it has no scheme", Some("put tls:// before the host"));
            return None;
        }
    }
    let url = match Url::parse(typed) {
        Ok(url) => url,
        Err(why) => {
            refuse(&why.to_string(), None);
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        refuse_userinfo(value, findings);
        return None;
    }
    if url.host_str().is_none_or(str::is_empty) {
        refuse("it names no host", None);
        return None;
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        refuse(
            "it goes on behind the port",
            Some("`subject` says where messages go"),
        );
        return None;
    }
    if url.port() == Some(0) {
        refuse("port 0 is nobody's", None);
        return None;
    }
    Some(url)
}

fn read_subject(value: &Value<'_>, findings: &mut Findings) -> Option<Template> {
    let subject = template::read("`subject`", value, SUBJECT, findings)?;
    let why = if template::holds(&subject, |sign| matches!(sign, '*' | '>')) {
        "`subject` holds * or >, which only subscribers may use"
    } else if template::holds(&subject, char::is_whitespace) {
        "`subject` holds a blank"
    } else if template::has_empty_level(&subject, '.') {
        "`subject` has a token with nothing in it"
    } else {
        return Some(subject);
    };
    let expected = format!("expected a text such as \"{SUBJECT}\"");
    malformed(value.span(), why, &expected, findings);
    None
}
