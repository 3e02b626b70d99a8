//! `[http]`.

use serde_json::{Value, json};

use super::sink::secret;
use super::{about, by_default, table, text, tls};
use crate::rules::settings::ServeSettings;
use crate::rules::typed::{HOST_BYTES_MAX, HOSTS_MAX};

pub(super) fn http() -> Value {
    table(
        "[http]",
        "Page, API and metrics: see docs/http.md. Without this section none is served",
        &[],
        vec![
            (
                "listen",
                about(
                    "Address and port; beyond this machine only with tls and a password or token",
                    by_default(ServeSettings::LISTEN.to_string(), text()),
                ),
            ),
            (
                "token",
                about("What programs show as a bearer", secret("`token`")),
            ),
            (
                "password",
                about("What browsers ask a person for", secret("`password`")),
            ),
            (
                "tls",
                tls::server(
                    "`tls` in [http]",
                    "The server's certificate and key, PEM files",
                    Vec::new(),
                ),
            ),
            (
                "hosts",
                json!({
                    "description": "Further names that requests may call this server by",
                    "type": "array",
                    "maxItems": HOSTS_MAX,
                    "items": {
                        "type": "string",
                        "pattern": "^[A-Za-z0-9._-]+$",
                        "maxLength": HOST_BYTES_MAX,
                    },
                }),
            ),
            (
                "witness",
                about(
                    "Whether audit logs of other gateways are cosigned here: see docs/audit.md",
                    by_default(false, json!({ "type": "boolean" })),
                ),
            ),
        ],
    )
}
