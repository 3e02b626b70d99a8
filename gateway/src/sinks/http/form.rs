//! Form: what the requests of a type look like. Pure: the same records give the same bytes.
//!
//! | type | path | content type | over the body |
//! |---|---|---|---|
//! | `http` | as configured | by `format` | gzip, zstd or nothing |
//! | `influxdb` | by `api`, with nanoseconds | `text/plain; charset=utf-8` | gzip or nothing |
//! | `prometheus` | as configured | `application/x-protobuf` | snappy, as a raw block |
//! | `otlp` | as configured | `application/x-protobuf` | gzip, zstd or nothing |
//!
//! Only `http` sends `Idempotency-Key`, the same for every attempt at a batch: at the others a
//! point sent twice is the same point.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use reqwest::Url;
use url::form_urlencoded;

use crate::rules::settings::{
    Compression, Endpoint, HeaderValue, HttpAuth, HttpFormat, HttpSettings, InfluxdbApi,
    InfluxdbSettings, OtlpSettings, PrometheusSettings,
};

/// How the gateway calls itself.
pub(super) const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
/// Level of zstd: of 1 MiB of records it makes 6 % less than gzip at its best, in a tenth of a
/// second. Level 19 makes 12 % less again, in three seconds and tens of MB of memory.
const ZSTD_LEVEL: i32 = 6;
/// Bytes of a secret that was not read: what an estimate takes for one.
const SECRET_BYTES: usize = 40;
/// Signs of a batch's key.
const KEY_BYTES: usize = 32;

/// What is done to a body before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Gzip,
    Zstd,
    /// A raw block, as remote write wants it.
    Snappy,
}

/// What answers say beside their status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// Nothing: the status is all.
    Status,
    /// Remote write's: that a sample is too old for ever is a 500 of Prometheus.
    RemoteWrite,
    /// OTLP's: a success may reject part of what was sent.
    Partial,
}

/// What a type's requests look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    pub(super) endpoint: Endpoint,
    /// The whole address.
    pub(super) url: String,
    content_type: &'static str,
    coding: Coding,
    /// Headers that the type's protocol asks for.
    asked: &'static [(&'static str, &'static str)],
    /// Whether the pieces are objects behind commas that an array is to be made of.
    is_array: bool,
    is_keyed: bool,
    pub(super) says: Says,
}

impl Form {
    /// That of `type = "http"`.
    pub fn of_http(settings: &HttpSettings) -> Self {
        let content_type = match settings.format {
            HttpFormat::Ndjson => "application/x-ndjson",
            HttpFormat::Json => "application/json",
            HttpFormat::Postcard => "application/x-tidegate-postcard",
        };
        Self {
            is_array: settings.format == HttpFormat::Json,
            is_keyed: true,
            ..Self::plain(
                &settings.endpoint,
                content_type,
                coding(settings.compression),
            )
        }
    }

    /// That of `type = "influxdb"`.
    pub fn of_influxdb(settings: &InfluxdbSettings) -> Self {
        let coding = coding(settings.compression);
        Self {
            url: write_url(&settings.endpoint.url.0, &settings.api),
            ..Self::plain(&settings.endpoint, "text/plain; charset=utf-8", coding)
        }
    }

    /// That of `type = "prometheus"`: remote write 1.0.
    pub fn of_prometheus(settings: &PrometheusSettings) -> Self {
        Self {
            asked: &[("x-prometheus-remote-write-version", "0.1.0")],
            says: Says::RemoteWrite,
            ..Self::plain(&settings.endpoint, "application/x-protobuf", Coding::Snappy)
        }
    }

    /// That of `type = "otlp"`.
    pub fn of_otlp(settings: &OtlpSettings) -> Self {
        let coding = coding(settings.compression);
        Self {
            says: Says::Partial,
            ..Self::plain(&settings.endpoint, "application/x-protobuf", coding)
        }
    }

    fn plain(endpoint: &Endpoint, content_type: &'static str, coding: Coding) -> Self {
        Self {
            endpoint: endpoint.clone(),
            url: endpoint.url.0.clone(),
            content_type,
            coding,
            asked: &[],
            is_array: false,
            is_keyed: false,
            says: Says::Status,
        }
    }

    /// Whether a request carries its batch's key.
    pub fn is_keyed(&self) -> bool {
        self.is_keyed
    }

    /// The body as it is sent, of the records' pieces.
    pub fn body(&self, pieces: &[u8]) -> io::Result<Vec<u8>> {
        if !self.is_array {
            return self.coding.apply(pieces);
        }
        let objects = pieces.strip_suffix(b",").unwrap_or(pieces);
        let mut array = Vec::with_capacity(objects.len() + 2);
        array.push(b'[');
        array.extend_from_slice(objects);
        array.push(b']');
        self.coding.apply(&array)
    }

    /// Headers that every request has besides those of HTTP itself, who sends, and the
    /// configured ones.
    pub(super) fn fixed_headers(&self) -> Vec<(&'static str, &'static str)> {
        let mut headers = vec![("content-type", self.content_type)];
        if let Some(name) = self.coding.name() {
            headers.push(("content-encoding", name));
        }
        headers.extend_from_slice(self.asked);
        headers
    }

    /// Bytes of a request's head as HTTP/1.1, but for the digits of Content-Length. `own` are the
    /// name and value lengths of the headers that say who sends and of the configured ones.
    pub(super) fn head_bytes(&self, own: &[(usize, usize)]) -> u64 {
        let Ok(url) = Url::parse(&self.url) else {
            return 0;
        };
        let path = url.path().len() + url.query().map_or(0, |query| query.len() + 1);
        let host = url.host_str().map_or(0, str::len)
            + url.port().map_or(0, |port| port.to_string().len() + 1);
        let line = "POST ".len() + path + " HTTP/1.1\r\n".len();
        let field = |name: usize, value: usize| name + ": ".len() + value + "\r\n".len();
        let named = |name: &str, value: usize| field(name.len(), value);
        let fixed: usize = self
            .fixed_headers()
            .iter()
            .map(|(name, value)| named(name, value.len()))
            .sum();
        let own: usize = own.iter().map(|(name, value)| field(*name, *value)).sum();
        let key = if self.is_keyed {
            named("idempotency-key", KEY_BYTES)
        } else {
            0
        };
        let bytes = line
            + named("host", host)
            + named("user-agent", USER_AGENT.len())
            + named("accept", "*/*".len())
            + named("content-length", 0)
            + fixed
            + own
            + key
            + "\r\n".len();
        bytes as u64
    }

    /// The same without reading a secret: each is taken to have 40 bytes.
    pub fn head_bytes_about(&self) -> u64 {
        let basic = |user: usize, password: usize| {
            let pair = user + 1 + password;
            "Basic ".len() + pair.div_ceil(3) * 4
        };
        let authorization = match &self.endpoint.auth {
            HttpAuth::None => userinfo(&self.url).map(|(user, password)| {
                basic(user.len(), password.as_ref().map_or(0, String::len))
            }),
            HttpAuth::Basic { user, .. } => Some(basic(user.len(), SECRET_BYTES)),
            HttpAuth::Bearer(_) => Some("Bearer ".len() + SECRET_BYTES),
            HttpAuth::Token(_) => Some("Token ".len() + SECRET_BYTES),
        };
        let authorization = authorization.map(|value| ("authorization".len(), value));
        let configured = self.endpoint.headers.iter().map(|(name, value)| {
            let value = match value {
                HeaderValue::Text(text) => text.len(),
                HeaderValue::Secret(_) => SECRET_BYTES,
            };
            (name.len(), value)
        });
        let own: Vec<(usize, usize)> = authorization.into_iter().chain(configured).collect();
        self.head_bytes(&own)
    }
}

/// User and password of a URL, if it has any, as they are sent.
pub(super) fn userinfo(url: &str) -> Option<(String, Option<String>)> {
    let url = Url::parse(url).ok()?;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| {
        let escaped = text
            .replace('+', "%2B")
            .replace('&', "%26")
            .replace('=', "%3D");
        let mut pairs = form_urlencoded::parse(escaped.as_bytes());
        pairs
            .next()
            .map_or_else(String::new, |(text, _)| text.into_owned())
    };
    let password = url.password().map(decoded);
    Some((decoded(url.username()), password))
}

fn coding(compression: Compression) -> Coding {
    match compression {
        Compression::None => Coding::Plain,
        Compression::Gzip => Coding::Gzip,
        Compression::Zstd => Coding::Zstd,
    }
}

impl Coding {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::Snappy => Some("snappy"),
        }
    }

    /// The same bytes in give the same bytes out.
    fn apply(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(body.to_vec()),
            Self::Gzip => gzip(body),
            Self::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL),
            Self::Snappy => snap::raw::Encoder::new()
                .compress_vec(body)
                .map_err(io::Error::other),
        }
    }
}

/// Compresses at the best level: a byte on a metered link costs more than a millisecond.
fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let into = Vec::with_capacity(body.len() / 8);
    let mut encoder = GzEncoder::new(into, flate2::Compression::best());
    encoder.write_all(body)?;
    encoder.finish()
}

/// The address to write to, of the server's.
fn write_url(base: &str, api: &InfluxdbApi) -> String {
    let (path, mut query) = match api {
        InfluxdbApi::V1 {
            database,
            retention_policy,
        } => {
            let mut query = vec![("db", database.as_str())];
            query.extend(retention_policy.as_deref().map(|policy| ("rp", policy)));
            ("write", query)
        }
        InfluxdbApi::V2 { org, bucket } => (
            "api/v2/write",
            vec![("org", org.as_str()), ("bucket", bucket.as_str())],
        ),
        InfluxdbApi::V3 { database } => ("api/v3/write_lp", vec![("db", database.as_str())]),
    };
    let precision = match api {
        InfluxdbApi::V1 { .. } | InfluxdbApi::V2 { .. } => "ns",
        InfluxdbApi::V3 { .. } => "nanosecond",
    };
    query.push(("precision", precision));
    let base = base.trim_end_matches('/');
    // What is no URL was refused with the configuration.
    Url::parse_with_params(&format!("{base}/{path}"), query)
        .map_or_else(|_| base.to_owned(), String::from)
}

#[cfg(test)]
mod tests;
