//! `tls`: of what connects, and of what listens.

use serde_json::Value;

use super::{about, path, table};

pub(super) fn client(of: &str) -> Value {
    table(
        "`tls`",
        of,
        &[],
        vec![
            (
                "ca",
                about("PEM file of the only authorities trusted", path()),
            ),
            (
                "cert",
                about("PEM file of the client's certificate", path()),
            ),
            ("key", about("PEM file of its key", path())),
        ],
    )
}

/// With the keys that only one of them has.
pub(super) fn server(title: &str, of: &str, more: Vec<(&str, Value)>) -> Value {
    let mut keys = vec![
        (
            "cert",
            about("PEM file of its certificate, the chain behind it", path()),
        ),
        (
            "key",
            about("PEM file of that certificate's key, unencrypted", path()),
        ),
    ];
    keys.extend(more);
    table(title, of, &["cert", "key"], keys)
}
