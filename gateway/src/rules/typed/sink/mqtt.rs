//! `type = "mqtt"`: a message per record, to a broker of one's own.

use url::Url;

use super::auth::{self, Form, TypedAuth};
use super::endpoint::{refuse_userinfo, warn_in_the_clear};
use super::{or_default, plain_text, template, tls};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{MqttPayload, MqttSinkSettings, MqttVersion, SinkKind, Template};
use crate::rules::tree::{Section, Value, boolean, choice, malformed, text};

/// Ports by default: without and with TLS.
const PORTS: (u16, u16) = (1883, 8883);
/// Default of `topic`.
const TOPIC: &str = "tidegate/v1/{site}/records/{device}/{sensor}/{rule}";
/// Default of `edge_node`.
const EDGE_NODE: &str = "tidegate";
/// What a broker's URL looks like.
const EXPECTED_URL: &str = "expected mqtt://host[:port] or mqtts://host[:port]";

/// A broker's address.
struct Address {
    host: String,
    port: u16,
    is_tls: bool,
    is_this_machine: bool,
}

/// What a message holds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Payload {
    Json,
    SparkplugB,
}

pub(super) fn read(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    let address = section
        .need("url", "url = \"mqtts://host\"")
        .and_then(|value| read_url(value, findings));
    let auth = auth::read(section, &[Form::Password], findings);
    let tls = tls::client(section, findings).ok();
    let version = or_default(section, "version", MqttVersion::V5, |value| {
        let versions = [("5", MqttVersion::V5), ("3.1.1", MqttVersion::V311)];
        choice("`version`", value, &versions, findings)
    });
    let client_id = or_default(section, "client_id", None, |value| {
        plain_text("`client_id`", value, findings).map(Some)
    });
    let retain = or_default(section, "retain", false, |value| {
        boolean("`retain`", value, findings)
    });
    let payload = read_payload(section, retain, findings);
    let (address, auth, tls) = (address?, auth?, tls?);
    if tls.is_some() && !address.is_tls {
        tls::refuse_plain(section, "mqtts", findings);
        return None;
    }
    let credentials = match auth {
        TypedAuth::Password { user, password } => Some((user, password)),
        _ => None,
    };
    if credentials.is_some() && !address.is_tls && !address.is_this_machine {
        warn_in_the_clear(section, "mqtts", findings);
    }
    Some(SinkKind::Mqtt(MqttSinkSettings {
        host: address.host,
        port: address.port,
        tls: address.is_tls.then(|| tls.unwrap_or_default()),
        version: version?,
        client_id: client_id?,
        credentials,
        payload: payload?,
        retain: retain?,
    }))
}

fn read_url(value: &Value<'_>, findings: &mut Findings) -> Option<Address> {
    let typed = text("`url`", value, "a text such as \"mqtts://host\"", findings)?;
    let mut refuse = |why: &str, help: Option<&str>| {
        findings
            .mistake(
                Kind::Malformed,
                value.span(),
                format!("`url` is not a broker's: {why}"),
                EXPECTED_URL,
            )
            .help_maybe(help.map(str::to_owned));
    };
    let is_tls = match typed.split_once("://") {
        Some(("mqtt", _)) => false,
        Some(("mqtts", _)) => true,
        Some(("tcp", _)) => {
            refuse("its scheme is not MQTT's", Some("write mqtt:// instead"));
            return None;
        }
        Some(("ssl" | "tls", _)) => {
            refuse("its scheme is not MQTT's", Some("write mqtts:// instead"));
            return None;
        }
        Some(_) => {
            refuse("its scheme is neither mqtt nor mqtts", None);
            return None;
        }
        None => {
            refuse("it has no scheme", Some("put mqtts:// before the host"));
            return None;
        }
    };
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
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        refuse("it names no host", None);
        return None;
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        refuse(
            "it goes on behind the port",
            Some("`topic` says where messages go"),
        );
        return None;
    }
    let by_default = if is_tls { PORTS.1 } else { PORTS.0 };
    let port = url.port().unwrap_or(by_default);
    if port == 0 {
        refuse("port 0 is nobody's", None);
        return None;
    }
    let host = host.trim_matches(['[', ']']);
    let address: Option<std::net::IpAddr> = host.parse().ok();
    Some(Address {
        host: host.to_owned(),
        port,
        is_tls,
        is_this_machine: host == "localhost" || address.is_some_and(|ip| ip.is_loopback()),
    })
}

fn read_payload(
    section: &mut Section<'_, '_>,
    retain: Option<bool>,
    findings: &mut Findings,
) -> Option<MqttPayload> {
    let payload = or_default(section, "payload", Payload::Json, |value| {
        let payloads = [
            ("json", Payload::Json),
            ("sparkplug-b", Payload::SparkplugB),
        ];
        choice("`payload`", value, &payloads, findings)
    });
    for (key, owner, name) in [
        ("topic", Payload::Json, "json"),
        ("group", Payload::SparkplugB, "sparkplug-b"),
        ("edge_node", Payload::SparkplugB, "sparkplug-b"),
    ] {
        let value = section.get(key);
        if let Some(value) = value.filter(|_| payload.is_some_and(|payload| payload != owner)) {
            findings.mistake(
                Kind::Conflict,
                value.span(),
                format!("`{key}` in {} belongs to another `payload`", section.title),
                format!("only payload = \"{name}\" has it"),
            );
        }
    }
    match payload? {
        Payload::Json => {
            let topic = or_default(section, "topic", template::default(TOPIC), |value| {
                read_topic(value, findings)
            });
            Some(MqttPayload::Json { topic: topic? })
        }
        Payload::SparkplugB => {
            if retain == Some(true) {
                findings.mistake(
                    Kind::Conflict,
                    section.value_place("retain"),
                    "Sparkplug forbids retained messages",
                    "only birth and death certificates say what is current there",
                );
                return None;
            }
            let mut id = |key: &'static str, default: &str| {
                or_default(section, key, default.to_owned(), |value| {
                    read_id(key, value, findings)
                })
            };
            let (group, edge_node) = (id("group", ""), id("edge_node", EDGE_NODE));
            Some(MqttPayload::SparkplugB {
                // Empty where it is not given: the site, which is known in the end.
                group: group?,
                edge_node: edge_node?,
            })
        }
    }
}

/// A Sparkplug id is one level of a topic.
fn read_id(key: &str, value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let typed = plain_text(&format!("`{key}`"), value, findings)?;
    if typed.contains(['/', '+', '#']) {
        malformed(
            value.span(),
            format!("`{key}` holds / + or #"),
            "it is one level of a topic",
            findings,
        );
        return None;
    }
    Some(typed)
}

fn read_topic(value: &Value<'_>, findings: &mut Findings) -> Option<Template> {
    let topic = template::read("`topic`", value, TOPIC, findings)?;
    let why = if template::holds(&topic, |sign| matches!(sign, '+' | '#')) {
        "`topic` holds + or #, which only subscribers may use"
    } else if template::has_empty_level(&topic, '/') {
        "`topic` has a level with nothing in it"
    } else if template::holds(&topic, |sign| sign == '$') && begins_with_dollar(&topic) {
        "`topic` begins with $, which is the broker's own"
    } else {
        return Some(topic);
    };
    let expected = format!("expected a text such as \"{TOPIC}\"");
    malformed(value.span(), why, &expected, findings);
    None
}

fn begins_with_dollar(topic: &Template) -> bool {
    use crate::rules::settings::TemplatePart::Text;
    matches!(topic.parts.first(), Some(Text(text)) if text.starts_with('$'))
}
