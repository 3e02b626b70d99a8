//! `type = "influxdb"`: line protocol, to the write endpoint of version 1, 2 or 3.

use url::Url;

use super::endpoint::{self, Wanted};
use super::{or_default, plain_text, template};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{Compression, Endpoint, InfluxdbApi, InfluxdbSettings, SinkKind};
use crate::rules::tree::{Section, Value, choice};

/// Which keys an endpoint has.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Api {
    V1,
    V2,
    V3,
}

/// Keys that not every endpoint has, and whose they are.
const OWNED: [(&str, &[Api], &str); 4] = [
    ("database", &[Api::V1, Api::V3], "\"v1\", \"v3\""),
    ("retention_policy", &[Api::V1], "\"v1\""),
    ("org", &[Api::V2], "\"v2\""),
    ("bucket", &[Api::V2], "\"v2\""),
];

pub(super) fn read(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    const WANTED: Wanted = Wanted {
        example: "url = \"http://host:8086\"",
        takes_userinfo: false,
    };
    let endpoint = endpoint::read(section, &WANTED, findings)
        .filter(|endpoint| check_base(endpoint, section, findings));
    let api = read_api(section, findings);
    let measurement = or_default(
        section,
        "measurement",
        template::default("{rule}"),
        |value| template::read("`measurement`", value, "{rule}", findings),
    );
    let compression = or_default(section, "compress", Compression::Gzip, |value| {
        read_compress(value, findings)
    });
    Some(SinkKind::Influxdb(InfluxdbSettings {
        endpoint: endpoint?,
        api: api?,
        measurement: measurement?,
        compression: compression?,
    }))
}

/// The path to write to and its query follow from `api`: a URL has neither.
fn check_base(endpoint: &Endpoint, section: &Section<'_, '_>, findings: &mut Findings) -> bool {
    let Ok(url) = Url::parse(&endpoint.url.0) else {
        return false;
    };
    let path = url.path().trim_end_matches('/');
    let writes = ["/write", "/api/v2/write", "/api/v3/write_lp"];
    if url.query().is_none() && !writes.iter().any(|end| path.ends_with(end)) {
        return true;
    }
    findings
        .mistake(
            Kind::Malformed,
            section.value_place("url"),
            "`url` says more than where the server is",
            "expected such as \"http://host:8086\": `api` says where to write",
        )
        .help("take the path to write to and what follows the ? out of it");
    false
}

fn read_api(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<InfluxdbApi> {
    let api = section
        .need("api", "api = \"v1\", \"v2\" or \"v3\"")
        .and_then(|value| {
            let choices = [("v1", Api::V1), ("v2", Api::V2), ("v3", Api::V3)];
            choice("`api`", value, &choices, findings)
        });
    for (key, owners, names) in OWNED {
        if api.is_none_or(|api| owners.contains(&api)) {
            section.get(key);
        } else if let Some(value) = section.get(key) {
            findings.mistake(
                Kind::Conflict,
                value.span(),
                format!("`{key}` in {} belongs to another `api`", section.title),
                format!("only api = {names} has it"),
            );
        }
    }
    let mut named = |key: &'static str, example: &'static str| {
        let value = section.need(key, example)?;
        plain_text(&format!("`{key}`"), value, findings)
    };
    match api? {
        Api::V1 => {
            let database = named("database", "database = \"…\"");
            let policy = section.get("retention_policy").map_or(Some(None), |value| {
                plain_text("`retention_policy`", value, findings).map(Some)
            });
            Some(InfluxdbApi::V1 {
                database: database?,
                retention_policy: policy?,
            })
        }
        Api::V2 => {
            let org = named("org", "org = \"…\"");
            let bucket = named("bucket", "bucket = \"…\"");
            Some(InfluxdbApi::V2 {
                org: org?,
                bucket: bucket?,
            })
        }
        Api::V3 => Some(InfluxdbApi::V3 {
            database: named("database", "database = \"…\"")?,
        }),
    }
}

fn read_compress(value: &Value<'_>, findings: &mut Findings) -> Option<Compression> {
    if value.get_ref().as_str() == Some("zstd") {
        findings.mistake(
            Kind::Conflict,
            value.span(),
            "InfluxDB does not take zstd",
            "expected \"gzip\" or \"none\"",
        );
        return None;
    }
    let choices = [("gzip", Compression::Gzip), ("none", Compression::None)];
    choice("`compress`", value, &choices, findings)
}
