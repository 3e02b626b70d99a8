//! `[mqtt]`: a broker by its URL, or the one inside.

use url::Url;

use super::listen::Listener;
use super::{Mistaken, tls};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{MqttSettings, TlsKeys, TlsSettings};
use crate::rules::tree::{Section, Value, text};

/// Keys of `[mqtt]` that later versions know.
pub(super) const LATER: &[&str] = &["keepalive"];

/// Port of MQTT without TLS.
const MQTT_PORT: u16 = 1883;
/// Port of MQTT over TLS.
const MQTTS_PORT: u16 = 8883;
/// What a broker's URL looks like.
const EXPECTED_URL: &str = "expected mqtt:// or mqtts://[user:password@]host[:port]";
/// What the files of a broker by its URL are called in messages.
const KEYS: TlsKeys = TlsKeys {
    ca: "mqtt.tls.ca",
    cert: "mqtt.tls.cert",
    key: "mqtt.tls.key",
};
/// Where certificate and key stand.
const PAIR: &str = "write tls = { cert = \"CERT.pem\", key = \"KEY.pem\" }, for the broker inside within `embedded`";
/// Where they stand for the broker inside.
const INSIDE: &str = "for the broker inside write embedded = { listen = \"…\", tls = { cert = \"…\", key = \"…\", client_ca = \"…\" } }";
/// What people write for `tls`.
const ELSEWHERE: &[(&str, &str)] = &[
    ("ca_file", "write tls = { ca = \"CA.pem\" }"),
    ("cert_file", PAIR),
    ("key_file", PAIR),
    ("client_ca_file", INSIDE),
];
/// What people look for in `embedded`.
const ELSEWHERE_INSIDE: &[(&str, &str)] = &[(
    "auth",
    "devices are let in by their registered keys: there is nothing to set here",
)];

/// Reads the section: exactly one of `url` and `embedded`.
pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> Option<MqttSettings> {
    section.elsewhere = ELSEWHERE;
    let url = section.get("url");
    let embedded = section.get("embedded");
    let tls = tls::client(&mut section, findings);
    let span = section.span.clone();
    let misspelt = section.misspelt("url") || section.misspelt("embedded");
    if url.is_none() && embedded.is_some() && section.holds("tls") {
        tls::refuse_idle(&section, "it is for a broker by `url`", INSIDE, findings);
    }
    let settings = match (url, embedded) {
        (Some(url), None) => external(url, tls, &section, findings),
        (None, Some(value)) => inside(value, findings),
        (Some(url), Some(value)) => {
            findings
                .mistake(
                    Kind::Conflict,
                    value.span(),
                    "[mqtt] has both `url` and `embedded`",
                    "one gateway uses one broker",
                )
                .help("keep `url` for a broker of your own, `embedded` for the one inside");
            let _ = external(url, tls, &section, findings);
            inside(value, findings)
        }
        (None, None) if misspelt => None,
        (None, None) => {
            findings
                .mistake(
                    Kind::Missing,
                    span,
                    "[mqtt] names no broker",
                    "`url` or `embedded` must be given",
                )
                .help(
                    "add url = \"mqtt://127.0.0.1:1883\", or embedded = { listen = \"127.0.0.1:1883\" }",
                );
            None
        }
    };
    section.close(findings);
    settings
}

fn inside(value: &Value<'_>, findings: &mut Findings) -> Option<MqttSettings> {
    const EXPECTED: &str = "a table such as { listen = \"127.0.0.1:1883\" }";
    if cfg!(not(feature = "embedded-broker")) {
        findings
            .mistake(
                Kind::NotInThisVersion,
                value.span(),
                "this program was built without the embedded broker",
                "not in this build",
            )
            .help("use `url`, or build with the feature embedded-broker");
    }
    let mut section = Section::of_value("`embedded`", value, &[], EXPECTED, findings)?;
    section.elsewhere = ELSEWHERE_INSIDE;
    let listen = section.need("listen", "listen = \"127.0.0.1:1883\"");
    let tls = section.get("tls");
    let speaks_tls = tls.is_some() || section.misspelt("tls");
    section.close(findings);
    let tls = tls.map_or(Ok(None), |value| {
        tls::server("`tls` in `embedded`", value, true, findings).map(Some)
    });
    let value = listen?;
    let broker = Listener {
        port: if speaks_tls { MQTTS_PORT } else { MQTT_PORT },
        by: "devices",
    };
    let address = broker.read(value, findings)?;
    if !speaks_tls && !address.ip().is_loopback() {
        findings
            .warning(
                Kind::Exposed,
                value.span(),
                "the embedded broker listens beyond this machine without TLS",
                "who is in between reads what devices send and their passwords",
            )
            .help("add tls = { cert = \"CERT.pem\", key = \"KEY.pem\" }, or keep the network closed; until a device is registered, whoever reaches this address can send samples");
    }
    Some(MqttSettings::Embedded {
        listen: address,
        tls: tls.ok()?,
    })
}

fn external(
    value: &Value<'_>,
    tls: Result<Option<TlsSettings>, Mistaken>,
    section: &Section<'_, '_>,
    findings: &mut Findings,
) -> Option<MqttSettings> {
    let typed = text(
        "`url`",
        value,
        "a text such as \"mqtt://127.0.0.1:1883\"",
        findings,
    )?;
    let mut refuse = |kind: Kind, message: String, expected: &str, help: Option<&str>| {
        findings
            .mistake(kind, value.span(), message, expected)
            .help_maybe(help.map(str::to_owned));
    };
    let Some((scheme, _)) = typed.split_once("://") else {
        let message = "`url` has no scheme".to_owned();
        refuse(
            Kind::Malformed,
            message,
            EXPECTED_URL,
            Some("put mqtt:// before the host"),
        );
        return None;
    };
    let instead = match scheme {
        "mqtt" | "mqtts" => None,
        "ssl" | "tls" => Some("write mqtts:// instead"),
        "tcp" => Some("write mqtt:// instead"),
        "ws" | "wss" => {
            refuse(
                Kind::NotInThisVersion,
                format!("{scheme}:// is not in this version"),
                EXPECTED_URL,
                Some("use the broker's listener without WebSocket: mqtt:// or mqtts://"),
            );
            return None;
        }
        _ => {
            let message = "`url` has a scheme that is not MQTT's".to_owned();
            refuse(Kind::Malformed, message, EXPECTED_URL, None);
            return None;
        }
    };
    if instead.is_some() {
        let message = format!("`url` has the scheme {scheme}");
        refuse(Kind::Malformed, message, EXPECTED_URL, instead);
        return None;
    }
    let url = match read_url(typed) {
        Ok(url) => url,
        Err(why) => {
            let help = typed
                .contains('@')
                .then_some("in a user or password / ? # @ are written %2F %3F %23 %40");
            let message = format!("`url` is not a broker's: {why}");
            refuse(Kind::Malformed, message, EXPECTED_URL, help);
            return None;
        }
    };
    let tls = if url.is_secure {
        Some(TlsSettings {
            keys: KEYS,
            ..tls.ok()?.unwrap_or_default()
        })
    } else {
        if section.holds("tls") {
            tls::refuse_plain(section, "mqtts", findings);
        }
        url.warn_in_the_clear(value, findings);
        None
    };
    Some(MqttSettings::External {
        host: url.host,
        port: url.port,
        credentials: url.credentials,
        tls,
    })
}

/// What stands in a broker's URL.
#[derive(Debug, PartialEq)]
struct Read {
    is_secure: bool,
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
}

impl Read {
    fn warn_in_the_clear(&self, value: &Value<'_>, findings: &mut Findings) {
        let address = self.host.parse::<std::net::IpAddr>();
        let is_here =
            self.host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        if self.credentials.is_some() && !is_here {
            findings
                .warning(
                    Kind::Exposed,
                    value.span(),
                    "a password goes over the network unencrypted",
                    "`url` speaks without TLS, so whoever is between can read it",
                )
                .help("write mqtts:// if the broker speaks it");
        }
    }
}

/// Takes a broker's URL apart; the reason never quotes it, since it may hold a password.
fn read_url(typed: &str) -> Result<Read, String> {
    let url = Url::parse(typed).map_err(|why| why.to_string())?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("it names no host")?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "a broker's URL ends with the port; in a password / ? # are written %2F %3F %23".into(),
        );
    }
    let is_secure = url.scheme() == "mqtts";
    let usual = if is_secure { MQTTS_PORT } else { MQTT_PORT };
    let port = url.port().unwrap_or(usual);
    if port == 0 {
        return Err("port 0 is nobody's".into());
    }
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => Some((decoded(user)?, decoded(password.unwrap_or(""))?)),
    };
    Ok(Read {
        is_secure,
        host: decoded(host.trim_matches(['[', ']']))?,
        port,
        credentials,
    })
}

/// Resolves `%2F` and the like.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let (high, low) = digit(high)
                    .zip(digit(low))
                    .ok_or("a % is not followed by two hexadecimal digits")?;
                bytes.push((high * 16 + low) as u8);
                rest = after;
            }
            (b'%', _) => return Err("a % is not followed by two hexadecimal digits".into()),
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "a part is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::settings::ServeTls;

    fn settings(typed: &str) -> MqttSettings {
        let text = format!("[gateway]\nsite = \"s\"\n[mqtt]\n{typed}\n");
        crate::rules::parse(&text, "tidegate.toml").unwrap().0.mqtt
    }

    #[test]
    fn each_broker_has_its_own_files_of_tls() {
        let trust = |typed: &str| match settings(&format!("url = \"mqtts://host\"\n{typed}")) {
            MqttSettings::External { tls, .. } => tls,
            other @ MqttSettings::Embedded { .. } => panic!("not by its URL: {other:?}"),
        };
        let by_system = TlsSettings {
            keys: KEYS,
            ..TlsSettings::default()
        };
        assert_eq!(trust(""), Some(by_system.clone()));
        let all = "tls = { ca = \"/ca.pem\", cert = \"/c.pem\", key = \"/k.pem\" }";
        let by_file = TlsSettings {
            ca: Some("/ca.pem".into()),
            client: Some(("/c.pem".into(), "/k.pem".into())),
            ..by_system
        };
        assert_eq!(trust(all), Some(by_file));
        let inside = settings(
            "embedded = { listen = \"127.0.0.1:8883\", tls = { cert = \"/c.pem\", key = \"/k.pem\", client_ca = \"/ca.pem\" } }",
        );
        let shown = ServeTls {
            cert: "/c.pem".into(),
            key: "/k.pem".into(),
            client_ca: Some("/ca.pem".into()),
        };
        let expected = MqttSettings::Embedded {
            listen: "127.0.0.1:8883".parse().unwrap(),
            tls: Some(shown),
        };
        assert_eq!(inside, expected);
    }

    fn external(host: &str, port: u16, credentials: Option<(&str, &str)>) -> Read {
        Read {
            is_secure: false,
            host: host.into(),
            port,
            credentials: credentials.map(|(user, password)| (user.into(), password.into())),
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(
            read_url("mqtt://127.0.0.1:21883"),
            Ok(external("127.0.0.1", 21883, None))
        );
        assert_eq!(
            read_url("mqtt://broker.example/"),
            Ok(external("broker.example", 1883, None))
        );
        assert_eq!(
            read_url("mqtt://[::1]:1884"),
            Ok(external("::1", 1884, None))
        );
        assert_eq!(
            read_url("mqtt://me:a%2Fb%40c@host"),
            Ok(external("host", 1883, Some(("me", "a/b@c"))))
        );
        assert_eq!(
            read_url("mqtt://me@host"),
            Ok(external("host", 1883, Some(("me", ""))))
        );
        let secure = read_url("mqtts://host").unwrap();
        assert!(secure.is_secure && secure.port == 8883);
    }

    #[test]
    fn what_is_no_broker_is_refused() {
        for url in [
            "mqtt://",
            "mqtt://:1883",
            "mqtt://host:0",
            "mqtt://host:99999",
            "mqtt://host/topic",
            "mqtt://me:p/w@host",
            "mqtt://host?x=1",
            "mqtt://me:%zz@host",
            "mqtt://me:%2",
        ] {
            let answer = read_url(url);
            assert!(answer.is_err(), "{url} gave {answer:?}");
        }
    }
}
