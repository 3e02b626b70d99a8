//! `[witness.NAME]`.

use serde_json::{Value, json};

use super::sink::{auth, headers};
use super::{about, table, text, tls};

pub(super) fn witness() -> Value {
    table(
        "[witness.NAME]",
        "Another gateway, or any witness by tlog-witness, that is asked to cosign the audit log",
        &["url", "key"],
        vec![
            (
                "url",
                about(
                    "Where it is served, without /add-checkpoint",
                    json!({ "type": "string", "pattern": "^https?://" }),
                ),
            ),
            (
                "key",
                about(
                    "Its key, as `tidegate audit witness --show-key` prints it there",
                    text(),
                ),
            ),
            (
                "auth",
                auth(
                    "Who asks: a gateway's token or password of [http]",
                    Vec::new(),
                ),
            ),
            ("headers", headers("Headers of every request")),
            (
                "tls",
                tls::client("Whom to trust and who to be; the system's certificates without ca"),
            ),
        ],
    )
}
