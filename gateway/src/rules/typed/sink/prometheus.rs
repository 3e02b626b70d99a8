//! `type = "prometheus"`: remote write.

use super::endpoint::{self, Wanted};
use super::or_default;
use crate::rules::mistake::Findings;
use crate::rules::settings::{PrometheusSettings, SinkKind};
use crate::rules::tree::{Section, Value, choice, malformed, text};

/// Default of `prefix`.
const PREFIX: &str = "tidegate";
/// Longest `prefix`.
const PREFIX_BYTES_MAX: usize = 64;

pub(super) fn read(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    const WANTED: Wanted = Wanted {
        example: "url = \"http://host:9090/api/v1/write\"",
        takes_userinfo: false,
    };
    let endpoint = endpoint::read(section, &WANTED, findings);
    let prefix = or_default(section, "prefix", PREFIX.to_owned(), |value| {
        read_prefix(value, findings)
    });
    let label_revisions = or_default(section, "revisions", false, |value| {
        choice(
            "`revisions`",
            value,
            &[("refuse", false), ("label", true)],
            findings,
        )
    });
    Some(SinkKind::Prometheus(PrometheusSettings {
        endpoint: endpoint?,
        prefix: prefix?,
        label_revisions: label_revisions?,
    }))
}

fn read_prefix(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let typed = text("`prefix`", value, "a text such as \"tidegate\"", findings)?;
    let begins = typed.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_');
    let signs = typed
        .bytes()
        .all(|sign| sign.is_ascii_alphanumeric() || sign == b'_');
    if !begins || !signs || typed.len() > PREFIX_BYTES_MAX {
        malformed(
            value.span(),
            "`prefix` cannot begin the name of a metric",
            &format!("expected 1 to {PREFIX_BYTES_MAX} of a-z A-Z 0-9 _, beginning with no digit"),
            findings,
        );
        return None;
    }
    Some(typed.to_owned())
}
