//! Settings: a whole configuration as it runs, every default filled in and every check passed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use tidegate_shared::ids::SiteName;

use super::{RuleSet, shown_url};
use crate::entry::Limits;
use crate::session::{PENDING_BYTES_MAX, WINDOW_DEFAULT};

/// A validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `gateway.site`.
    pub site: SiteName,
    /// `gateway.data_dir`, default `./tidegate-data`.
    pub data_dir: PathBuf,
    /// Those of `[limits]` and `[clock]` that change what the pipeline does: the log holds them.
    pub limits: Limits,
    /// Those of `[limits]` that say what intake takes at once.
    pub intake: IntakeSettings,
    /// `[mqtt]`.
    pub mqtt: MqttSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[sink.NAME]`, by name.
    pub sinks: Vec<SinkSettings>,
    /// `[[rule]]`.
    pub rules: RuleSet,
}

/// Which broker. Its `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for MqttSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { listen } => {
                f.debug_struct("Embedded").field("listen", listen).finish()
            }
            Self::External {
                host,
                port,
                credentials,
            } => f
                .debug_struct("External")
                .field("host", host)
                .field("port", port)
                .field("credentials", &credentials.as_ref().map(|_| "hidden"))
                .finish(),
        }
    }
}

impl fmt::Debug for SinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { url, gzip } => f
                .debug_struct("Http")
                .field("url", &shown_url(url))
                .field("gzip", gzip)
                .finish(),
            Self::File { path } => f.debug_struct("File").field("path", path).finish(),
        }
    }
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

/// What intake takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeSettings {
    /// `limits.pending_bytes_max`: bytes of frames that may wait for their fsync, all devices
    /// together; default 4 MiB.
    pub pending_bytes_max: usize,
    /// `limits.window_max`: frames one device may have in flight; default 7.
    pub window_max: u16,
}

impl Default for IntakeSettings {
    fn default() -> Self {
        Self {
            pending_bytes_max: PENDING_BYTES_MAX,
            window_max: WINDOW_DEFAULT,
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
    /// `timeout` in ms: longest time one request may take; default 30 s.
    pub timeout_ms: u64,
    /// `drain_bytes_per_s`: most body bytes before compression that a backlog sends a second;
    /// default 1 MiB for `http`, none for `file`.
    pub drain_bytes_per_s: Option<u64>,
    /// `drain_records_per_s`: most records that a backlog sends a second; default 5,000 for
    /// `http`, none for `file`.
    pub drain_records_per_s: Option<u64>,
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
    /// Default of `drain_bytes_per_s` over HTTP: a batch of the default size a second, about
    /// 1 Mbit/s when compressed; thirty times the live bytes of 1,000 devices with 8 sensors and
    /// minute windows, so that a day away is caught up within the hour.
    pub const DRAIN_BYTES_PER_S: u64 = 1 << 20;
    /// Default of `drain_records_per_s` over HTTP: about as many records as the bytes above hold.
    pub const DRAIN_RECORDS_PER_S: u64 = 5_000;
    /// Default of `drain_spread` over HTTP, in ms: a thousand gateways begin 30 ms apart.
    pub const DRAIN_SPREAD_MS: u64 = 30_000;
}

/// What a sink is. Its `Debug` hides what is secret in a URL.
#[derive(Clone, PartialEq, Eq)]
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
