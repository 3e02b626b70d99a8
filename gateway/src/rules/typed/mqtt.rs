//! `[mqtt]`: a broker by its URL, or the one inside.

use url::Url;

use super::listen::Listener;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::MqttSettings;
use crate::rules::tree::{Section, Value, text};

/// Keys of `[mqtt]` that later versions know.
pub(super) const LATER: &[&str] = &["tls", "ca_file", "cert_file", "key_file", "keepalive"];

/// Port of MQTT without TLS.
const MQTT_PORT: u16 = 1883;
/// What a broker's URL looks like.
const EXPECTED_URL: &str = "expected mqtt://[user:password@]host[:port]";

/// Reads the section: exactly one of `url` and `embedded`.
pub(super) fn read(mut section: Section<'_, '_>, findings: &mut Findings) -> Option<MqttSettings> {
    let url = section.get("url");
    let embedded = section.get("embedded");
    let span = section.span.clone();
    let misspelt = section.misspelt("url") || section.misspelt("embedded");
    section.close(findings);
    match (url, embedded) {
        (Some(url), None) => external(url, findings),
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
            let _ = external(url, findings);
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
    }
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
    let mut section = Section::of_value("`embedded`", value, &["tls", "auth"], EXPECTED, findings)?;
    let listen = section.need("listen", "listen = \"127.0.0.1:1883\"");
    section.close(findings);
    let value = listen?;
    let broker = Listener {
        port: MQTT_PORT,
        by: "devices",
    };
    let address = broker.read(value, findings)?;
    if !address.ip().is_loopback() {
        findings
            .warning(
                Kind::Exposed,
                value.span(),
                "the embedded broker listens beyond this machine",
                "whoever reaches this address can send samples",
            )
            .help("it asks nobody for a password: keep the network closed, or use a broker of your own by `url`");
    }
    Some(MqttSettings::Embedded { listen: address })
}

fn external(value: &Value<'_>, findings: &mut Findings) -> Option<MqttSettings> {
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
    match scheme {
        "mqtt" => {}
        "mqtts" | "ssl" | "tls" | "ws" | "wss" => {
            refuse(
                Kind::NotInThisVersion,
                format!("{scheme}:// is not in this version"),
                "only mqtt:// is built so far",
                Some("use mqtt:// to a broker on this machine or inside a tunnel"),
            );
            return None;
        }
        "tcp" => {
            let message = "`url` has the scheme tcp".to_owned();
            refuse(
                Kind::Malformed,
                message,
                EXPECTED_URL,
                Some("write mqtt:// instead"),
            );
            return None;
        }
        _ => {
            let message = "`url` has a scheme that is not MQTT's".to_owned();
            refuse(Kind::Malformed, message, EXPECTED_URL, None);
            return None;
        }
    }
    match read_url(typed) {
        Ok(settings) => Some(settings),
        Err(why) => {
            let help = typed
                .contains('@')
                .then_some("in a user or password / ? # @ are written %2F %3F %23 %40");
            let message = format!("`url` is not a broker's: {why}");
            refuse(Kind::Malformed, message, EXPECTED_URL, help);
            None
        }
    }
}

/// Takes a broker's URL apart; the reason never quotes it, since it may hold a password.
fn read_url(typed: &str) -> Result<MqttSettings, String> {
    let url = Url::parse(typed).map_err(|why| why.to_string())?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("it names no host")?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "a broker's URL ends with the port; in a password / ? # are written %2F %3F %23".into(),
        );
    }
    let port = url.port().unwrap_or(MQTT_PORT);
    if port == 0 {
        return Err("port 0 is nobody's".into());
    }
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => Some((decoded(user)?, decoded(password.unwrap_or(""))?)),
    };
    Ok(MqttSettings::External {
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

    fn external(host: &str, port: u16, credentials: Option<(&str, &str)>) -> MqttSettings {
        MqttSettings::External {
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
