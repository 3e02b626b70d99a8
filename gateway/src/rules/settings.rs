//! Settings: a whole configuration as it runs, every default filled in and every check passed.

mod budget;
mod http;
mod security;
mod sink;
mod tls;
mod witness;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use tidegate_shared::ids::SiteName;

pub use budget::BudgetSettings;
pub use http::ServeSettings;
pub use security::{Frames, Publishers, QuarantineSettings, SecuritySettings};
pub use sink::*;
pub use tls::{ServeTls, TlsKeys, TlsSettings};
pub use witness::WitnessSettings;

use super::RuleSet;
use crate::entry::Limits;
use crate::session::{PENDING_BYTES_MAX, Policy, WINDOW_DEFAULT};

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
    /// `[budget]`, where there is one.
    pub budget: Option<BudgetSettings>,
    /// `[http]`, where there is one.
    pub http: Option<ServeSettings>,
    /// `[security]`.
    pub security: SecuritySettings,
    /// `[witness.NAME]`, by name.
    pub witnesses: Vec<WitnessSettings>,
    /// `[sink.NAME]`, by name.
    pub sinks: Vec<SinkSettings>,
    /// `[[rule]]`.
    pub rules: RuleSet,
}

impl Settings {
    /// What is done about devices that offend.
    pub fn policy(&self) -> Policy {
        self.security.policy(self.mqtt.vouches())
    }
}

/// Which broker. Its `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub enum MqttSettings {
    /// `mqtt.embedded = { listen = "127.0.0.1:1883" }`: a broker inside the gateway.
    Embedded {
        /// Where it listens.
        listen: SocketAddr,
        /// `tls`: what it speaks TLS with; none: it does not.
        tls: Option<ServeTls>,
    },
    /// `mqtt.url = "mqtt://[user:password@]host[:port]"`, or `mqtts://`.
    External {
        /// Host name or address.
        host: String,
        /// Port, default 1883.
        port: u16,
        /// User and password from the URL.
        credentials: Option<(String, String)>,
        /// `mqtts://`, and `mqtt.tls`.
        tls: Option<TlsSettings>,
    },
}

impl MqttSettings {
    /// Whether the broker by itself lets nobody speak in another's name. The one inside does once a
    /// device is registered, if nobody reads passwords on their way to it; of another nothing is
    /// known.
    fn vouches(&self) -> bool {
        match self {
            Self::Embedded { listen, tls } => {
                tls.is_some() || listen.ip().to_canonical().is_loopback()
            }
            Self::External { .. } => false,
        }
    }
}

impl fmt::Debug for MqttSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { listen, tls } => f
                .debug_struct("Embedded")
                .field("listen", listen)
                .field("tls", tls)
                .finish(),
            Self::External {
                host,
                port,
                credentials,
                tls,
            } => f
                .debug_struct("External")
                .field("host", host)
                .field("port", port)
                .field("credentials", &credentials.as_ref().map(|_| "hidden"))
                .field("tls", tls)
                .finish(),
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
