//! `[witness.NAME]`: other gateways that are asked to cosign the audit log's checkpoints.

use super::Endpoint;

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// Its name: the part behind `witness.`.
    pub name: String,
    /// Where it is served: `url`, `auth`, `headers` and `tls`.
    pub endpoint: Endpoint,
    /// `key`: what its cosignatures are verified with, as the witness prints it.
    pub key: String,
}
