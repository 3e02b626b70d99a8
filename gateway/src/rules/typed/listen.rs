//! Listen: the address of something that others connect to.

use std::net::SocketAddr;

use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{Value, text};

/// What listens.
pub(super) struct Listener {
    /// The port that it usually has.
    pub port: u16,
    /// Who has to know the port.
    pub by: &'static str,
}

impl Listener {
    /// Reads its address; none where it is mistaken.
    pub fn read(&self, value: &Value<'_>, findings: &mut Findings) -> Option<SocketAddr> {
        let example = format!("\"127.0.0.1:{}\"", self.port);
        let expected = format!("a text such as {example}");
        let typed = text("`listen`", value, &expected, findings)?;
        match typed.parse::<SocketAddr>() {
            Ok(listen) if listen.port() != 0 => return Some(listen),
            Ok(_) => {
                findings.mistake(
                    Kind::OutOfRange,
                    value.span(),
                    "`listen` has port 0",
                    format!("{} must know the port: expected 1 to 65535", self.by),
                );
            }
            Err(_) => {
                findings
                    .mistake(
                        Kind::Malformed,
                        value.span(),
                        "`listen` is not an address and a port",
                        format!("expected an address and a port such as {example}"),
                    )
                    .help_maybe(self.meant(typed));
            }
        }
        None
    }

    /// The address that was meant by `localhost:1883`, `:1883`, `1883` or `127.0.0.1`.
    fn meant(&self, typed: &str) -> Option<String> {
        let usual = self.port.to_string();
        let (host, port) = typed.rsplit_once(':').unwrap_or_else(|| {
            if typed.parse::<u16>().is_ok() {
                ("", typed)
            } else {
                (typed, &usual)
            }
        });
        let port: u16 = port.parse().ok()?;
        let host = match host {
            "localhost" | "127.0.0.1" => "127.0.0.1",
            "" | "*" | "0.0.0.0" => "0.0.0.0",
            _ => return None,
        };
        Some(format!("did you mean \"{host}:{port}\"?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_addresses_are_guessed() {
        let broker = Listener {
            port: 1883,
            by: "devices",
        };
        let meant = |typed| broker.meant(typed);
        assert_eq!(
            meant("localhost:1883").as_deref(),
            Some("did you mean \"127.0.0.1:1883\"?")
        );
        assert_eq!(
            meant(":1883").as_deref(),
            Some("did you mean \"0.0.0.0:1883\"?")
        );
        assert_eq!(
            meant("1884").as_deref(),
            Some("did you mean \"0.0.0.0:1884\"?")
        );
        assert_eq!(meant("gateway.local:x"), None);
    }
}
