//! `[http]`: where page, API and metrics are served, and to whom.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Secret, ServeTls};

/// `[http]`. Without the section nothing is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// `http.listen`: address and port, default 127.0.0.1:8380.
    pub listen: SocketAddr,
    /// `http.token`: what a program shows as `Authorization: Bearer …`.
    pub token: Option<Secret>,
    /// `http.password`: what a browser asks a person for.
    pub password: Option<Secret>,
    /// `http.tls`: PEM files of the certificate (its chain behind it) and of its key.
    pub tls: Option<ServeTls>,
    /// `http.hosts`: further names that requests may call this server by.
    pub hosts: Vec<String>,
    /// `http.witness`: whether audit logs of other gateways are cosigned here.
    pub witness: bool,
}

impl ServeSettings {
    /// Where it is served unless the configuration says otherwise: to this machine alone.
    pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8380);

    /// Whether whoever asks has to show a token or a password.
    pub fn asks_who(&self) -> bool {
        self.token.is_some() || self.password.is_some()
    }
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: Self::LISTEN,
            token: None,
            password: None,
            tls: None,
            hosts: Vec::new(),
            witness: false,
        }
    }
}
