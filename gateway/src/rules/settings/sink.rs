//! `[sink.NAME]` as it runs: where records go, how they are spelled, and what the receiver takes.

use std::fmt;
use std::path::{Path, PathBuf};

use super::TlsSettings;
use crate::rules::shown_url;

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// Its name: the part behind `sink.`.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// `spool_bytes_max`: budget of each of its queues; default 256 MiB.
    pub spool_bytes_max: u64,
    /// `batch_records_max`: most records of one request; default 1,000.
    pub batch_records_max: usize,
    /// `batch_bytes_max`: most body bytes of one request before compression; default 1 MiB.
    pub batch_bytes_max: usize,
    /// `batch_age` in ms: longest time that records wait for more to fill a batch; default 0.
    pub batch_age_ms: u64,
    /// `timeout` in ms: longest time one request may take; default 30 s.
    pub timeout_ms: u64,
    /// `drain_bytes_per_s`: most body bytes before compression that a backlog sends a second;
    /// default 1 MiB for `http`, none for `file`.
    pub drain_bytes_per_s: Option<u64>,
    /// `drain_records_per_s`: most records that a backlog sends a second; default 5,000 for
    /// `http`, none for `file`.
    pub drain_records_per_s: Option<u64>,
    /// `dead_letters_max`: records that the sink refused for good and that are kept; when so many
    /// are, delivery stops until a person resends or drops some. Default 10,000.
    pub dead_letters_max: u64,
    /// `drain_spread` in ms: longest wait, drawn by lot, before a backlog begins to go out after
    /// an outage; default 30 s for `http`, 0 for `file`.
    pub drain_spread_ms: u64,
}

impl SinkSettings {
    /// Default of `spool_bytes_max`: days of summaries on a flash card of a few GB.
    pub const SPOOL_BYTES_MAX: u64 = 256 << 20;
    /// Default of `batch_records_max`.
    pub const BATCH_RECORDS_MAX: u64 = 1_000;
    /// Default of `batch_bytes_max`: what most receivers take as a body without being set up.
    pub const BATCH_BYTES_MAX: u64 = 1 << 20;
    /// Default of `timeout`, in ms.
    pub const TIMEOUT_MS: u64 = 30_000;
    /// Default of `dead_letters_max`: some 5 MB, 40 MB in blocks of 4 KiB.
    pub const DEAD_LETTERS_MAX: u64 = 10_000;
    /// Default of `drain_bytes_per_s` over HTTP: a batch of the default size a second, about
    /// 1 Mbit/s when compressed; thirty times the live bytes of 1,000 devices with 8 sensors and
    /// minute windows, so that a day away is caught up within the hour.
    pub const DRAIN_BYTES_PER_S: u64 = 1 << 20;
    /// Default of `drain_records_per_s` over HTTP: about as many records as the bytes above hold.
    pub const DRAIN_RECORDS_PER_S: u64 = 5_000;
    /// Default of `drain_spread` over HTTP, in ms: a thousand gateways begin 30 ms apart.
    pub const DRAIN_SPREAD_MS: u64 = 30_000;
}

/// What a sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// `type = "http"`: POST of records.
    Http(HttpSettings),
    /// `type = "influxdb"`: line protocol.
    Influxdb(InfluxdbSettings),
    /// `type = "prometheus"`: remote write 1.0.
    Prometheus(PrometheusSettings),
    /// `type = "otlp"`: OpenTelemetry metrics over HTTP/protobuf.
    Otlp(OtlpSettings),
    /// `type = "mqtt"`: a message per record.
    Mqtt(MqttSinkSettings),
    /// `type = "nats"`: a `JetStream` message per record.
    Nats(NatsSettings),
    /// `type = "file"`: appended to a file.
    File(FileSettings),
    /// `type = "stdout"`: NDJSON on the standard output.
    Stdout,
}

/// What becomes of a record that corrects one sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revisions {
    /// The receiver keeps the newest under the same key, or every one with its number.
    Taken,
    /// The receiver refuses a second value at one time: rules that revise may not forward there.
    Refused,
}

/// In which order a receiver takes the records of one sensor and rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In any.
    Any,
    /// Only forward in time.
    OldestFirst,
}

impl SinkSettings {
    /// A sink with every default of its kind.
    pub fn new(name: &str, kind: SinkKind) -> Self {
        let is_remote = kind.is_remote();
        Self {
            name: name.to_owned(),
            kind,
            spool_bytes_max: Self::SPOOL_BYTES_MAX,
            batch_records_max: Self::BATCH_RECORDS_MAX as usize,
            batch_bytes_max: Self::BATCH_BYTES_MAX as usize,
            batch_age_ms: 0,
            timeout_ms: Self::TIMEOUT_MS,
            dead_letters_max: Self::DEAD_LETTERS_MAX,
            drain_bytes_per_s: is_remote.then_some(Self::DRAIN_BYTES_PER_S),
            drain_records_per_s: is_remote.then_some(Self::DRAIN_RECORDS_PER_S),
            drain_spread_ms: if is_remote { Self::DRAIN_SPREAD_MS } else { 0 },
        }
    }
}

impl SinkKind {
    /// An HTTP sink with every default.
    pub fn http(url: &str) -> Self {
        Self::Http(HttpSettings {
            endpoint: Endpoint::plain(url),
            format: HttpFormat::Ndjson,
            compression: Compression::Gzip,
        })
    }

    /// A file sink with every default.
    pub fn file(path: &Path) -> Self {
        Self::File(FileSettings {
            path: path.to_owned(),
            format: FileFormat::Ndjson,
            rotation: Rotation::default(),
        })
    }

    /// Its name in the configuration.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Influxdb(_) => "influxdb",
            Self::Prometheus(_) => "prometheus",
            Self::Otlp(_) => "otlp",
            Self::Mqtt(_) => "mqtt",
            Self::Nats(_) => "nats",
            Self::File(_) => "file",
            Self::Stdout => "stdout",
        }
    }

    /// Whether it takes revisions.
    pub fn revisions(&self) -> Revisions {
        match self {
            Self::Prometheus(settings) if !settings.label_revisions => Revisions::Refused,
            _ => Revisions::Taken,
        }
    }

    /// In which order it takes the records of one sensor and rule.
    pub fn order(&self) -> Order {
        match self {
            Self::Prometheus(_) => Order::OldestFirst,
            Self::Mqtt(settings) if settings.retain => Order::OldestFirst,
            _ => Order::Any,
        }
    }

    /// Whether what it sends leaves this machine.
    pub fn is_remote(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Stdout)
    }
}

/// A URL as typed; its `Debug` hides what is secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct SinkUrl(pub String);

impl fmt::Debug for SinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", shown_url(&self.0))
    }
}

/// Where a secret is read from when the sink starts, and again after the receiver refused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// `{ file = "/etc/tidegate/token" }`: the file's text without the line's end.
    File(PathBuf),
    /// `{ env = "TIDEGATE_TOKEN" }`: an environment variable.
    Env(String),
    /// `{ credential = "token" }`: a file of this name in systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// `auth`: how a request says who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAuth {
    /// Not at all.
    None,
    /// `{ user = "…", password = SECRET }`.
    Basic {
        /// User's name.
        user: String,
        /// Password.
        password: Secret,
    },
    /// `{ bearer = SECRET }`: `Authorization: Bearer …`.
    Bearer(Secret),
    /// `{ token = SECRET }`: `Authorization: Token …`, as `InfluxDB` wants it.
    Token(Secret),
}

/// What every sink over HTTP has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `url`.
    pub url: SinkUrl,
    /// `auth`.
    pub auth: HttpAuth,
    /// `headers`: name and value; values may be secrets.
    pub headers: Vec<(String, HeaderValue)>,
    /// `tls`.
    pub tls: TlsSettings,
}

impl Endpoint {
    /// A URL without anything else.
    pub fn plain(url: &str) -> Self {
        Self {
            url: SinkUrl(url.to_owned()),
            auth: HttpAuth::None,
            headers: Vec::new(),
            tls: TlsSettings::default(),
        }
    }
}

/// A header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// Said openly.
    Text(String),
    /// Read like a password.
    Secret(Secret),
}

/// `compress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// `type = "http"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where.
    pub endpoint: Endpoint,
    /// `format`: default `ndjson`.
    pub format: HttpFormat,
    /// `compress`: default gzip.
    pub compression: Compression,
}

/// Body of a request of an `http` sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpFormat {
    /// A JSON object a line: `application/x-ndjson`.
    Ndjson,
    /// A JSON array of objects: `application/json`.
    Json,
    /// Length-prefixed postcard: `application/x-tidegate-postcard`.
    Postcard,
}

/// `type = "influxdb"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfluxdbSettings {
    /// The server, without the path to write to.
    pub endpoint: Endpoint,
    /// `api`.
    pub api: InfluxdbApi,
    /// `measurement`: default `{rule}`.
    pub measurement: Template,
    /// `compress`: default gzip; zstd is not taken.
    pub compression: Compression,
}

/// Which generation of write endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InfluxdbApi {
    /// `v1`: `/write?db=…&rp=…`.
    V1 {
        /// `database`.
        database: String,
        /// `retention_policy`: the database's default where it is not given.
        retention_policy: Option<String>,
    },
    /// `v2`: `/api/v2/write?org=…&bucket=…`.
    V2 {
        /// `org`.
        org: String,
        /// `bucket`.
        bucket: String,
    },
    /// `v3`: `/api/v3/write_lp?db=…`.
    V3 {
        /// `database`.
        database: String,
    },
}

/// `type = "prometheus"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// The whole address, such as `http://host:9090/api/v1/write`.
    pub endpoint: Endpoint,
    /// `prefix` of metric names: default `tidegate`.
    pub prefix: String,
    /// `revisions = "label"`: a revision is a series of its own with the label `revision`; without
    /// it rules that revise may not forward here.
    pub label_revisions: bool,
}

/// `type = "otlp"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The whole address, such as `http://host:4318/v1/metrics`.
    pub endpoint: Endpoint,
    /// `compress`: default gzip; zstd where the collector takes it.
    pub compression: Compression,
}

/// `type = "mqtt"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSinkSettings {
    /// Host name or address.
    pub host: String,
    /// Port: default 1883, with TLS 8883.
    pub port: u16,
    /// `mqtts://`.
    pub tls: Option<TlsSettings>,
    /// `version`: `5` (default) or `3.1.1`.
    pub version: MqttVersion,
    /// `client_id`: default `tidegate-<site>-<sink>`.
    pub client_id: Option<String>,
    /// `auth`: user and password.
    pub credentials: Option<(String, Secret)>,
    /// `payload`.
    pub payload: MqttPayload,
    /// `retain`: whether the newest record of a topic stays there; default false.
    pub retain: bool,
}

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// What a message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MqttPayload {
    /// A record as JSON, on a topic of its own.
    Json {
        /// `topic`: default `tidegate/v1/{site}/records/{device}/{sensor}/{rule}`.
        topic: Template,
    },
    /// Sparkplug B 3.0: an edge node with the site's devices.
    SparkplugB {
        /// `group`: default the site.
        group: String,
        /// `edge_node`: default `tidegate`.
        edge_node: String,
    },
}

/// `type = "nats"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// `url`: `nats://host:4222` or `tls://host:4222`.
    pub url: SinkUrl,
    /// `subject`: default `tidegate.{site}.{device}.{sensor}.{rule}`; dots in names become `_`.
    pub subject: Template,
    /// `auth`.
    pub auth: NatsAuth,
    /// `tls`: given, TLS is required.
    pub tls: Option<TlsSettings>,
}

/// How a NATS connection says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsAuth {
    /// Not at all.
    None,
    /// `{ user = "…", password = SECRET }`.
    Password {
        /// User's name.
        user: String,
        /// Password.
        password: Secret,
    },
    /// `{ token = SECRET }`.
    Token(Secret),
    /// `{ credentials = "FILE" }`: user JWT and nkey seed, as `nsc` writes them.
    Credentials(PathBuf),
}

/// `type = "file"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// `path`.
    pub path: PathBuf,
    /// `format`: default `ndjson`.
    pub format: FileFormat,
    /// `rotate`.
    pub rotation: Rotation,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// A JSON object a line.
    Ndjson,
    /// A line a value, under a line of names.
    Csv,
    /// Columns; a file is readable once it is rotated.
    Parquet,
}

/// When a file is closed under a name with its time and a new one begun.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// `rotate.size`: after so many bytes; none: never for its size.
    pub bytes_max: Option<u64>,
    /// `rotate.age` in ms: so long after its first record; none: never for its age.
    pub age_max_ms: Option<u64>,
    /// `rotate.keep`: closed files kept, older ones are removed; none: all.
    pub files_max: Option<u64>,
}

/// A text with `{site}`, `{device}`, `{sensor}` and `{rule}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its pieces, in order.
    pub parts: Vec<TemplatePart>,
}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it stands.
    Text(String),
    /// The record's site.
    Site,
    /// The record's device.
    Device,
    /// The record's sensor.
    Sensor,
    /// The record's rule.
    Rule,
}
