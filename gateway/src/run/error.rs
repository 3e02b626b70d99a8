//! Why a gateway does not start.

use std::path::PathBuf;

use crate::conductor::StartError;
use crate::disk::data_dir::DataDirError;
use crate::http::HttpError;
use crate::mqtt::embedded::EmbeddedError;
use crate::sinks::SinkError;
use crate::trust::TrustError;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory is in use, newer, or cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The data directory cannot be opened.
    #[error("the data directory {dir} cannot be opened; nothing was received yet")]
    Disk {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Registry or audit log cannot be opened.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The start could not be counted, or the store not opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The embedded broker did not start.
    #[error(transparent)]
    Broker(#[from] EmbeddedError),
    /// Page, API and metrics cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A sink could not be set up.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The gateway's core ended by itself.
    #[error("the gateway ended by itself; what was acked is on disk, the log above says why")]
    CoreEnded,
    /// The system has no entropy or no thread left.
    #[error("the system refused what a start needs; nothing was received yet")]
    System(#[source] std::io::Error),
}
