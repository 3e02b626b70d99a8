//! `[sink.NAME]`: where records go.

use std::ops::Range;

use url::Url;

use super::gateway::path;
use super::{Named, check_name};
use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::settings::{
    Compression, Endpoint, FileFormat, FileSettings, HttpAuth, HttpFormat, HttpSettings, Rotation,
    SinkKind, SinkSettings, SinkUrl, TlsSettings,
};
use crate::rules::tree::{Section, Value, choice, duration, short, size, text, whole};

/// Types of later versions.
const LATER_TYPES: &[&str] = &[
    "influxdb",
    "kafka",
    "mqtt",
    "nats",
    "otlp",
    "prometheus",
    "tidegate",
];
/// Keys of later versions.
const LATER: &[&str] = &["auth", "budget", "headers", "order", "rate_max", "tls"];
/// What a URL looks like.
const EXPECTED_URL: &str = "expected http:// or https://, a host and a path";

/// A sink as typed: its name is known even when its settings are mistaken.
#[derive(Debug)]
pub(in crate::rules) struct TypedSink {
    /// The part behind `sink.`.
    pub(in crate::rules) name: Named,
    /// Its settings with defaults filled in.
    pub(in crate::rules) settings: Option<SinkSettings>,
}

/// The two types.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Type {
    Http,
    File,
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
        Self {
            name: Named {
                text: name.to_owned(),
                span,
            },
            settings: section.and_then(|section| read_settings(name, section, findings)),
        }
    }
}

fn read_settings(
    name: &str,
    mut section: Section<'_, '_>,
    findings: &mut Findings,
) -> Option<SinkSettings> {
    let sink_type = section
        .need("type", "type = \"http\" or type = \"file\"")
        .and_then(|value| read_type(value, findings));
    let kind = match sink_type {
        Some(Type::Http) => read_http(&mut section, findings),
        Some(Type::File) => read_file(&mut section, findings),
        None => {
            // Of no known type it may have the keys of either.
            for key in ["url", "compress", "path"] {
                section.get(key);
            }
            None
        }
    };
    let spool = section
        .get("spool_bytes_max")
        .map(|value| size("`spool_bytes_max`", value, 64 << 10..=1 << 40, findings));
    let records = section
        .get("batch_records_max")
        .map(|value| whole("`batch_records_max`", value, 1..=100_000, findings));
    let bytes = section
        .get("batch_bytes_max")
        .map(|value| size("`batch_bytes_max`", value, 1 << 10..=64 << 20, findings));
    let age = section
        .get("batch_age")
        .map(|value| duration("`batch_age`", value, 0..=3_600_000_000, findings));
    let timeout = section
        .get("timeout")
        .map(|value| duration("`timeout`", value, 100_000..=3_600_000_000, findings));
    let dead_letters = section
        .get("dead_letters_max")
        .map(|value| whole("`dead_letters_max`", value, 0..=1_000_000, findings));
    let drain = TypedDrain::read(&mut section, findings);
    section.close(findings);
    let is_remote = kind.as_ref().is_some_and(SinkKind::is_remote);
    Some(SinkSettings {
        name: name.to_owned(),
        kind: kind?,
        spool_bytes_max: spool.unwrap_or(Some(SinkSettings::SPOOL_BYTES_MAX))?,
        batch_records_max: records.unwrap_or(Some(SinkSettings::BATCH_RECORDS_MAX))? as usize,
        batch_bytes_max: bytes.unwrap_or(Some(SinkSettings::BATCH_BYTES_MAX))? as usize,
        batch_age_ms: age.map_or(Some(0), |us| us.map(|us| (us / 1_000).unsigned_abs()))?,
        timeout_ms: timeout.map_or(Some(SinkSettings::TIMEOUT_MS), |us| {
            us.map(|us| (us / 1_000).unsigned_abs())
        })?,
        dead_letters_max: dead_letters.unwrap_or(Some(SinkSettings::DEAD_LETTERS_MAX))?,
        drain_bytes_per_s: drain
            .bytes
            .or(is_remote.then_some(SinkSettings::DRAIN_BYTES_PER_S)),
        drain_records_per_s: drain
            .records
            .or(is_remote.then_some(SinkSettings::DRAIN_RECORDS_PER_S)),
        drain_spread_ms: match drain.spread_us {
            Some(us) => (us / 1_000).unsigned_abs(),
            None if is_remote => SinkSettings::DRAIN_SPREAD_MS,
            None => 0,
        },
    })
}

/// How a backlog goes out, as typed.
struct TypedDrain {
    bytes: Option<u64>,
    records: Option<u64>,
    spread_us: Option<i64>,
}

impl TypedDrain {
    fn read(section: &mut Section<'_, '_>, findings: &mut Findings) -> Self {
        let bytes = section
            .get("drain_bytes_per_s")
            .and_then(|value| size("`drain_bytes_per_s`", value, 1 << 10..=1 << 40, findings));
        let records = section
            .get("drain_records_per_s")
            .and_then(|value| whole("`drain_records_per_s`", value, 1..=1_000_000_000, findings));
        let spread_us = section
            .get("drain_spread")
            .and_then(|value| duration("`drain_spread`", value, 0..=3_600_000_000, findings));
        Self {
            bytes,
            records,
            spread_us,
        }
    }
}

fn read_type(value: &Value<'_>, findings: &mut Findings) -> Option<Type> {
    let typed = value.get_ref().as_str();
    if let Some(later) = typed.filter(|typed| LATER_TYPES.contains(typed)) {
        findings
            .mistake(
                Kind::NotInThisVersion,
                value.span(),
                format!("sinks of type \"{later}\" are not in this version"),
                "planned, not built yet",
            )
            .help("this version has \"http\" and \"file\"");
        return None;
    }
    let choices = [("http", Type::Http), ("file", Type::File)];
    choice("`type`", value, &choices, findings)
}

fn read_http(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    let url = section
        .need("url", "url = \"https://host/path\"")
        .and_then(|value| read_url(value, findings));
    let gzip = section
        .get("compress")
        .map_or(Some(Compression::Gzip), |value| {
            read_compress(value, findings)
        });
    misplaced(section, "path", "file", findings);
    Some(SinkKind::Http(HttpSettings {
        endpoint: Endpoint {
            url: SinkUrl(url?),
            auth: HttpAuth::None,
            headers: Vec::new(),
            tls: TlsSettings::default(),
        },
        format: HttpFormat::Ndjson,
        compression: gzip?,
    }))
}

fn read_compress(value: &Value<'_>, findings: &mut Findings) -> Option<Compression> {
    if value.get_ref().as_str() == Some("zstd") {
        findings.mistake(
            Kind::NotInThisVersion,
            value.span(),
            "compression by zstd is not in this version",
            "expected \"gzip\" or \"none\"",
        );
        return None;
    }
    choice(
        "`compress`",
        value,
        &[("gzip", Compression::Gzip), ("none", Compression::None)],
        findings,
    )
}

fn read_file(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    let path = section
        .need("path", "path = \"records.ndjson\"")
        .and_then(|value| path("`path`", value, findings));
    for key in ["url", "compress"] {
        misplaced(section, key, "http", findings);
    }
    Some(SinkKind::File(FileSettings {
        path: path?,
        format: FileFormat::Ndjson,
        rotation: Rotation::default(),
    }))
}

/// Refuses a key of the other type.
fn misplaced(
    section: &mut Section<'_, '_>,
    key: &'static str,
    owner: &str,
    findings: &mut Findings,
) {
    if let Some(value) = section.get(key) {
        findings.mistake(
            Kind::Conflict,
            value.span(),
            format!(
                "`{key}` in {} belongs to another type of sink",
                section.title
            ),
            format!("only sinks of type \"{owner}\" have it"),
        );
    }
}

/// Checks a URL and gives it as typed; no message quotes it, since it may hold a secret.
fn read_url(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let typed = text(
        "`url`",
        value,
        "a text such as \"https://host/path\"",
        findings,
    )?;
    let mut refuse = |why: &str, help: Option<String>| {
        findings
            .mistake(
                Kind::Malformed,
                value.span(),
                format!("`url` is not a URL to post to: {why}"),
                EXPECTED_URL,
            )
            .help_maybe(help);
    };
    let Some((scheme, _)) = typed.split_once("://") else {
        refuse(
            "it has no scheme",
            Some("put https:// before the host".into()),
        );
        return None;
    };
    if scheme != "http" && scheme != "https" {
        let near = nearest(scheme, ["http", "https"]);
        refuse(
            "its scheme is neither http nor https",
            near.map(|name| format!("did you mean {name}://?")),
        );
        return None;
    }
    match Url::parse(typed) {
        Ok(url) if url.fragment().is_some() => {
            refuse("a server never sees what follows the #", None);
            None
        }
        Ok(url) if url.port() == Some(0) => {
            refuse("port 0 is nobody's", None);
            None
        }
        Ok(_) => Some(typed.to_owned()),
        Err(why) => {
            refuse(&why.to_string(), None);
            None
        }
    }
}
