//! The real servers that sinks write to, started by tests: each with a folder and a port of its own,
//! gone with its guard, and killed and started again with its data as often as a test likes.
//!
//! A [`Door`] says whom a server lets in. What a rig asks itself goes through that door with the
//! right key, whatever the program under test was given.

pub mod daemon;
pub mod https;
pub mod influxdb;
pub mod nats;
pub mod prometheus;
pub mod promql;
pub mod victoria;

use std::path::{Path, PathBuf};

use crate::certificates::{Authority, Flaw, Identity};
use crate::request::Client;

/// The user of a server with a login.
pub const USER: &str = "tide";
/// The password of that user.
pub const PASSWORD: &str = "over-the-bar";
/// `USER:PASSWORD` as HTTP's basic authentication has it.
pub const BASIC: &str = "Basic dGlkZTpvdmVyLXRoZS1iYXI=";
/// [`PASSWORD`] as bcrypt hashes it.
pub const PASSWORD_BCRYPT: &str = "$2b$04$tidegatetidegatetideOuYdvbX/jC9lgN7mF9K6yIXkOSxAAPDB6";

/// Debian's package of each program.
const PACKAGES: [(&str, &str); 7] = [
    ("influxd", "influxdb"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_passwd", "mosquitto"),
    ("nats-server", "nats-server"),
    ("prometheus", "prometheus"),
    ("tcpdump", "tcpdump"),
    ("victoria-metrics", "victoria-metrics"),
];

/// Whom a server lets in; everybody by default.
#[derive(Debug, Clone, Default)]
pub struct Door {
    /// TLS, with this certificate of the server.
    pub tls: Option<Identity>,
    /// TLS clients have to show a certificate of their own.
    pub clients: Option<Clients>,
    /// Clients have to say [`USER`] and [`PASSWORD`].
    pub login: bool,
}

/// The TLS clients that a server lets in.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The certificate of the authority that signed theirs.
    pub authority: PathBuf,
    /// What the rig itself shows.
    pub rig: Identity,
}

impl Clients {
    /// Those that an authority signed for.
    pub fn of(authority: &Authority) -> Self {
        Self {
            authority: authority.certificate.clone(),
            rig: authority.client("rig", Flaw::None),
        }
    }
}

impl Door {
    /// The rig's own way through it, by HTTP.
    pub fn client(&self, port: u16) -> Client {
        Client {
            port,
            tls: self.tls.is_some(),
            identity: self.clients.as_ref().map(|clients| clients.rig.clone()),
            authorization: self.login.then(|| BASIC.to_owned()),
        }
    }
}

/// Where a program lies; where Debian puts servers is not on every user's path.
pub fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| {
        let known = PACKAGES.iter().find(|(program, _)| *program == name);
        let package = known.map_or(name, |(_, package)| package);
        panic!("{name} is not installed: tests/run installs it, or: apt-get install {package}")
    })
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A new folder in another, for a server.
fn folder(dir: &Path, name: &str) -> PathBuf {
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).expect("the test's folder takes another one");
    folder
}

/// A path as configuration files of servers write it.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "no-such-server is not installed")]
    fn a_missing_program_is_a_clear_failure() {
        program("no-such-server");
    }
}
