//! InfluxDB 1.x: line protocol in, InfluxQL out.
//!
//! A point is its measurement, tags and time: written again, it replaces itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::daemon::Daemon;
use super::{Door, PASSWORD, USER, folder, quoted};
use crate::ports;
use crate::request::{Answer, Client, form};

/// A server; gone with its guard.
#[derive(Debug)]
pub struct InfluxDb {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    client: Client,
    daemon: Daemon,
}

/// A part of what a query gives: a measurement, for one set of tags if it groups by them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Series {
    /// The measurement.
    #[serde(default)]
    pub name: String,
    /// The tags grouped by.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// A value for each column; times in ns.
    #[serde(default, rename = "values")]
    pub rows: Vec<Vec<Value>>,
}

impl InfluxDb {
    /// Starts one that keeps its data in `DIR/influxdb`. It knows no client certificates.
    pub fn start(dir: &Path, port: u16, door: &Door) -> Self {
        assert!(
            door.clients.is_none(),
            "InfluxDB 1.x asks for no client certificates"
        );
        let dir = folder(dir, "influxdb");
        let config = dir.join("influxdb.conf");
        fs::write(&config, configuration(&dir, port, door)).expect("the folder takes a file");
        let arguments = vec!["-config".to_owned(), text(&config)];
        let mut server = Self {
            port,
            client: Client {
                authorization: None,
                ..door.client(port)
            },
            daemon: Daemon::new("influxd", port, &dir, arguments),
        };
        server.restart();
        if door.login {
            // Allowed to everybody as long as there is no administrator.
            let create =
                format!("CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES");
            server.query("", &create);
            server.client = door.client(port);
        }
        server
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Stops it cleanly (SIGTERM).
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts it again, unless it runs, with its data.
    pub fn restart(&mut self) {
        let client = self.client.clone();
        self.daemon.start(|| client.get("/ping", &[]).is_ok());
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Makes a database; nothing if there is one of that name.
    pub fn create_database(&self, name: &str) {
        self.query("", &format!("CREATE DATABASE \"{name}\""));
    }

    /// Writes line protocol, times in ns.
    pub fn write(&self, database: &str, lines: &str) -> Answer {
        let path = format!("/write?{}", form(&[("db", database), ("precision", "ns")]));
        let answer = self.client.post(&path, &[], lines.as_bytes());
        answer.unwrap_or_else(|error| panic!("InfluxDB: {error}"))
    }

    /// What statements in InfluxQL give, all their series in order; times are ns since 1970.
    pub fn query(&self, database: &str, statements: &str) -> Vec<Series> {
        let fields = [("db", database), ("epoch", "ns"), ("q", statements)];
        let answer = self.client.post_form("/query", &fields);
        let answer = answer.unwrap_or_else(|error| panic!("InfluxDB: {error}"));
        let reply: Reply = serde_json::from_value(answer.json(statements))
            .unwrap_or_else(|error| panic!("{statements}: {error}: {}", answer.text()));
        let mut series = Vec::new();
        for result in reply.results {
            assert_eq!(result.error, None, "{statements}");
            series.extend(result.series);
        }
        series
    }
}

#[derive(Deserialize)]
struct Reply {
    results: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<String>,
}

/// The server's configuration file.
fn configuration(dir: &Path, port: u16, door: &Door) -> String {
    let tls = door.tls.as_ref().map_or(String::new(), |tls| {
        format!(
            "https-enabled = true\nhttps-certificate = {}\nhttps-private-key = {}\n",
            quoted(&tls.certificate),
            quoted(&tls.key)
        )
    });
    format!(
        "reporting-disabled = true\n\
         bind-address = \"127.0.0.1:{}\"\n\
         [meta]\ndir = {}\n\
         [data]\ndir = {}\nwal-dir = {}\nindex-version = \"tsi1\"\nquery-log-enabled = false\n\
         [monitor]\nstore-enabled = false\n\
         [http]\nbind-address = \"127.0.0.1:{port}\"\nauth-enabled = {}\nlog-enabled = false\n{tls}",
        ports::free(),
        quoted(&dir.join("meta")),
        quoted(&dir.join("data")),
        quoted(&dir.join("wal")),
        door.login,
    )
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::certificates::{Certificates, Flaw};

    const LINES: &str = "flow,device=pump-1 mean=1.5,count=3i 1581168600000000000\n\
                         flow,device=pump-2 mean=-0.25,count=4i 1581168660000000000\n";

    #[test]
    fn what_was_written_is_there_after_a_kill_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = InfluxDb::start(dir.path(), ports::free(), &Door::default());
        server.create_database("tides");
        assert_eq!(server.write("tides", LINES).status, 204);
        server.kill();
        assert!(!ports::answers(server.port));
        server.restart();
        assert_eq!(server.write("tides", LINES).status, 204);
        let series = server.query("tides", "SELECT mean, \"count\" FROM flow GROUP BY device");
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].tags["device"], "pump-1");
        assert_eq!(series[0].columns, ["time", "mean", "count"]);
        assert_eq!(
            series[0].rows,
            [vec![
                json!(1_581_168_600_000_000_000_i64),
                json!(1.5),
                json!(3)
            ]]
        );
        assert_eq!(series[1].rows[0][1], json!(-0.25));
        assert_eq!(server.write("elsewhere", LINES).status, 404);
    }

    #[test]
    fn its_door_has_tls_and_a_login() {
        let dir = tempfile::tempdir().unwrap();
        let certificates = Certificates::new();
        let door = Door {
            tls: Some(certificates.known.server(Flaw::None)),
            login: true,
            ..Door::default()
        };
        let server = InfluxDb::start(dir.path(), ports::free(), &door);
        server.create_database("tides");
        assert_eq!(server.write("tides", LINES).status, 204);
        let stranger = Client {
            authorization: None,
            ..door.client(server.port)
        };
        let answer = stranger.post("/write?db=tides", &[], LINES.as_bytes());
        assert_eq!(answer.unwrap().status, 401);
    }
}
