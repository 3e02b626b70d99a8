//! `[sink.NAME]`: where records go.
//!
//! ```text
//! keys                      which key belongs to which type
//! http, influxdb,           one type each: what it needs, what it takes, its defaults
//! prometheus, otlp, mqtt,
//! nats, file
//! endpoint                  url and headers of those that post
//! auth                      who sends, by secrets that stand elsewhere
//! tls                       whom to trust and who to be
//! template                  texts with {site}, {device}, {sensor} and {rule}
//! common                    queue, batches, pace: of every type
//! ```

mod auth;
mod common;
pub(in crate::rules::typed) mod endpoint;
mod file;
mod http;
mod influxdb;
mod keys;
mod mqtt;
mod nats;
mod otlp;
mod prometheus;
mod template;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::keys::Type;
use super::{Mistaken, Named, check_name, tls};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{SinkKind, SinkSettings};
use crate::rules::tree::{Section, Value, choice, malformed, short, text};

pub(in crate::rules::typed) use self::auth::secret;
pub(in crate::rules) use self::endpoint::HEADERS_MAX;
pub(in crate::rules) use self::keys::type_names;

/// Keys of later versions.
const LATER: &[&str] = &["budget", "order", "rate_max"];
/// Longest name of a database, user, client and the like.
const WORD_BYTES_MAX: usize = 256;

/// A sink as typed: its name is known even when its settings are mistaken.
#[derive(Debug)]
pub(in crate::rules) struct TypedSink {
    /// The part behind `sink.`.
    pub(in crate::rules) name: Named,
    /// Its settings with defaults filled in.
    pub(in crate::rules) settings: Option<SinkSettings>,
    /// Where what it shares with others stands: `path`, `client_id`, `topic`; else its name.
    pub(in crate::rules) place: Range<usize>,
}

impl TypedSink {
    pub(super) fn read(
        name: &str,
        span: Range<usize>,
        value: &Value<'_>,
        findings: &mut Findings,
    ) -> Self {
        check_name("sink", name, span.clone(), findings);
        let title = format!("[sink.{}]", short(name));
        let expected = "a section that begins with [sink.NAME]";
        let section = Section::of_value(title, value, LATER, expected, findings);
        let place = section.as_ref().and_then(|section| {
            let keys = ["path", "client_id", "topic"];
            let key = keys.into_iter().find(|key| section.holds(key))?;
            Some(section.value_place(key))
        });
        Self {
            name: Named {
                text: name.to_owned(),
                span: span.clone(),
            },
            settings: section.and_then(|section| read_settings(name, section, findings)),
            place: place.unwrap_or(span),
        }
    }
}

fn read_settings(
    name: &str,
    mut section: Section<'_, '_>,
    findings: &mut Findings,
) -> Option<SinkSettings> {
    let of_type = section
        .need("type", "type = \"http\" or type = \"file\"")
        .and_then(|value| read_type(value, findings));
    keys::refuse_others(&mut section, of_type, findings);
    let kind = of_type.and_then(|of_type| read_kind(of_type, &mut section, findings));
    let is_remote = of_type.is_some_and(Type::is_remote);
    let common = common::Common::read(&mut section, is_remote, findings);
    section.close(findings);
    common.settings(name, kind?)
}

fn read_type(value: &Value<'_>, findings: &mut Findings) -> Option<Type> {
    let typed = value.get_ref().as_str();
    if let Some(later) = typed.filter(|typed| keys::LATER_TYPES.contains(typed)) {
        findings
            .mistake(
                Kind::NotInThisVersion,
                value.span(),
                format!("sinks of type \"{later}\" are not in this version"),
                "planned, not built yet",
            )
            .help(format!("this version has {}", type_names().join(", ")));
        return None;
    }
    choice("`type`", value, keys::TYPES, findings)
}

fn read_kind(
    of_type: Type,
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<SinkKind> {
    match of_type {
        Type::Http => http::read(section, findings),
        Type::Influxdb => influxdb::read(section, findings),
        Type::Prometheus => prometheus::read(section, findings),
        Type::Otlp => otlp::read(section, findings),
        Type::Mqtt => mqtt::read(section, findings),
        Type::Nats => nats::read(section, findings),
        Type::File => file::read(section, findings),
        Type::Stdout => Some(SinkKind::Stdout),
    }
}

/// The value of a key with a default, read; `None` when what was typed is mistaken.
fn or_default<T>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    default: T,
    read: impl FnOnce(&Value<'_>) -> Option<T>,
) -> Option<T> {
    section.get(key).map_or(Some(default), read)
}

/// Reads the name of something at the receiver: 1 to 256 bytes without control characters.
fn plain_text(name: &str, value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let typed = text(name, value, "a text", findings)?;
    let fits = !typed.is_empty() && typed.len() <= WORD_BYTES_MAX;
    if !fits || typed.chars().any(char::is_control) {
        malformed(
            value.span(),
            format!("{name} cannot be this text"),
            &format!("expected 1 to {WORD_BYTES_MAX} bytes without control characters"),
            findings,
        );
        return None;
    }
    Some(typed.to_owned())
}
