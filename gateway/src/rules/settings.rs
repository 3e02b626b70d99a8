//! Settings: a whole configuration as it runs, every default filled in and every check passed.

use std::net::SocketAddr;
use std::path::PathBuf;

use tidegate_shared::ids::SiteName;

use super::RuleSet;
use crate::entry::Limits;

/// A validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `gateway.site`.
    pub site: SiteName,
    /// `gateway.data_dir`, default `./tidegate-data`.
    pub data_dir: PathBuf,
    /// `gateway.devices_max` and the limits of `[limits]`.
    pub limits: Limits,
    /// `[mqtt]`.
    pub mqtt: MqttSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[sink.NAME]`, by name.
    pub sinks: Vec<SinkSettings>,
    /// `[[rule]]`.
    pub rules: RuleSet,
}

/// Which broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MqttSettings {
    /// `mqtt.embedded = { listen = "127.0.0.1:1883" }`: a broker inside the gateway.
    Embedded {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// `mqtt.url = "mqtt://[user:password@]host[:port]"`.
    External {
        /// Host name or address.
        host: String,
        /// Port, default 1883.
        port: u16,
        /// User and password from the URL.
        credentials: Option<(String, String)>,
    },
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// `log.commit_ms`: longest time an entry waits for its commit batch; default 1,000.
    pub commit_ms: u64,
    /// `log.segment_bytes`: a segment ends when it has grown by this or four times its base,
    /// whichever is more; default 16 MiB, at least 64 KiB.
    pub segment_bytes: u64,
    /// `log.bytes_max`: segments kept for replay are recycled beyond this; default 1 GiB.
    pub bytes_max: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            commit_ms: 1_000,
            segment_bytes: 16 << 20,
            bytes_max: 1 << 30,
        }
    }
}

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
    /// `timeout_ms`: longest time one request may take; default 30,000.
    pub timeout_ms: u64,
}

/// What a sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// `type = "http"`: POST of NDJSON.
    Http {
        /// `url`.
        url: String,
        /// `compress`: gzip (the default) or none.
        gzip: bool,
    },
    /// `type = "file"`: NDJSON appended to a file.
    File {
        /// `path`.
        path: PathBuf,
    },
}
