//! VictoriaMetrics, which takes remote write, InfluxDB's line protocol and its own JSON lines.
//!
//! It confirms what lies in its memory and writes that to disk every 5 s: a kill forgets what it
//! confirmed in the last seconds, whoever sent it. [`VictoriaMetrics::save`] has it written at once.
//! A sample written again is kept twice, and exported twice, unless `-dedup.minScrapeInterval` is
//! set.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::daemon::Daemon;
use super::promql::{self, Series};
use super::{Door, PASSWORD, USER, folder};
use crate::request::{Answer, Client};

/// A server; gone with its guard.
#[derive(Debug)]
pub struct VictoriaMetrics {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    client: Client,
    daemon: Daemon,
}

#[derive(Deserialize)]
struct Exported {
    metric: BTreeMap<String, String>,
    /// `null` where it is not a number.
    values: Vec<Option<f64>>,
    timestamps: Vec<i64>,
}

impl VictoriaMetrics {
    /// Starts one that keeps its data in `DIR/victoria-metrics`, for a hundred years, with flags
    /// beside those that it needs. It knows no client certificates.
    pub fn start(dir: &Path, port: u16, door: &Door, flags: &[&str]) -> Self {
        assert!(
            door.clients.is_none(),
            "VictoriaMetrics asks for no client certificates"
        );
        let dir = folder(dir, "victoria-metrics");
        let mut arguments = arguments(&dir, port, door);
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        let mut server = Self {
            port,
            client: door.client(port),
            daemon: Daemon::new("victoria-metrics", port, &dir, arguments),
        };
        server.restart();
        server
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Stops it cleanly (SIGTERM): everything is on disk then.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts it again, unless it runs, with its data.
    pub fn restart(&mut self) {
        let client = self.client.clone();
        self.daemon.start(|| {
            let answer = client.get("/health", &[]);
            answer.is_ok_and(|answer| answer.status == 200)
        });
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Lets queries see what came so far. It may be in memory only.
    pub fn flush(&self) {
        self.get("/internal/force_flush", &[]).taken("to flush");
    }

    /// Has it write what came so far to disk, where it outlives a kill.
    pub fn save(&self) {
        // A snapshot begins with that; what it is for, copying the files, is not wanted here.
        let snapshot = self.get("/snapshot/create", &[]).json("to save");
        let name = snapshot["snapshot"].as_str();
        let name = name.unwrap_or_else(|| panic!("no snapshot was made: {snapshot}"));
        let gone = self.get("/snapshot/delete", &[("snapshot", name)]);
        gone.taken("to forget a snapshot");
    }

    /// What an expression gives at a moment in ms since 1970; `None` means now. Flushes first.
    pub fn query(&self, expression: &str, at_ms: Option<i64>) -> Vec<Series> {
        self.flush();
        promql::instant(&self.client, expression, at_ms)
    }

    /// What an expression gives from a moment to another, every `step_ms`. Flushes first.
    pub fn query_range(&self, expression: &str, ms: (i64, i64), step_ms: i64) -> Vec<Series> {
        self.flush();
        promql::range(&self.client, expression, ms, step_ms)
    }

    /// The samples of a selector as they are kept, oldest first; what is no number as NaN. Flushes
    /// first.
    pub fn export(&self, selector: &str) -> Vec<Series> {
        self.flush();
        let answer = self.get("/api/v1/export", &[("match[]", selector)]);
        let bytes = answer.taken(selector);
        let lines = serde_json::Deserializer::from_slice(bytes).into_iter::<Exported>();
        let mut parts: BTreeMap<BTreeMap<String, String>, Vec<(i64, f64)>> = BTreeMap::new();
        for line in lines {
            let line = line.unwrap_or_else(|error| panic!("{selector}: {error}"));
            let values = line.values.iter().map(|value| value.unwrap_or(f64::NAN));
            let points = line.timestamps.into_iter().zip(values);
            parts.entry(line.metric).or_default().extend(points);
        }
        let series = parts.into_iter().map(|(labels, mut points)| {
            points.sort_by_key(|(at, _)| *at);
            Series { labels, points }
        });
        series.collect()
    }

    /// Posts a body to a path, such as `/write` for line protocol, `/api/v1/write` for remote write.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.client.post(path, headers, body);
        answer.unwrap_or_else(|error| panic!("VictoriaMetrics: {error}"))
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        let answer = self.client.get(path, query);
        answer.unwrap_or_else(|error| panic!("VictoriaMetrics: {error}"))
    }
}

fn arguments(dir: &Path, port: u16, door: &Door) -> Vec<String> {
    let mut arguments = vec![
        format!("-httpListenAddr=127.0.0.1:{port}"),
        format!("-storageDataPath={}", dir.join("data").display()),
        "-retentionPeriod=100y".to_owned(),
        // Otherwise queries about the last 30 s answer with what was before.
        "-search.latencyOffset=0s".to_owned(),
    ];
    if let Some(tls) = &door.tls {
        arguments.extend([
            "-tls".to_owned(),
            format!("-tlsCertFile={}", tls.certificate.display()),
            format!("-tlsKeyFile={}", tls.key.display()),
        ]);
    }
    if door.login {
        arguments.push(format!("-httpAuth.username={USER}"));
        arguments.push(format!("-httpAuth.password={PASSWORD}"));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{Certificates, Flaw};
    use crate::ports;

    const AT_MS: i64 = 1_581_168_600_000;

    fn write(server: &VictoriaMetrics, value: f64, at_ms: i64) {
        let line = format!("flow,device=pump-1 mean={value} {at_ms}000000\n");
        assert_eq!(server.post("/write", &[], line.as_bytes()).status, 204);
    }

    #[test]
    fn what_was_saved_is_there_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let door = Door::default();
        let mut server = VictoriaMetrics::start(dir.path(), ports::free(), &door, &[]);
        write(&server, 1.5, AT_MS);
        server.save();
        server.kill();
        assert!(!ports::answers(server.port));
        server.restart();
        write(&server, -0.25, AT_MS + 60_000);
        let points = [(AT_MS, 1.5), (AT_MS + 60_000, -0.25)];
        let exported = server.export("flow_mean{device='pump-1'}");
        assert_eq!(exported.len(), 1);
        assert_eq!(exported[0].label("__name__"), "flow_mean");
        assert_eq!(exported[0].points, points);
        let instant = server.query("flow_mean", Some(AT_MS + 1));
        assert_eq!(instant[0].points, [(AT_MS + 1, 1.5)]);
        let range = server.query_range("flow_mean", (AT_MS, AT_MS + 60_000), 60_000);
        assert_eq!(range[0].points, points);
    }

    #[test]
    fn a_sample_written_twice_is_kept_twice_unless_told_otherwise() {
        for (flags, kept) in [(&[][..], 2), (&["-dedup.minScrapeInterval=1ms"][..], 1)] {
            let dir = tempfile::tempdir().unwrap();
            let door = Door::default();
            let server = VictoriaMetrics::start(dir.path(), ports::free(), &door, flags);
            for _ in 0..2 {
                write(&server, 1.5, AT_MS);
                server.flush();
            }
            assert_eq!(
                server.export("flow_mean")[0].points.len(),
                kept,
                "{flags:?}"
            );
        }
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
        let server = VictoriaMetrics::start(dir.path(), ports::free(), &door, &[]);
        write(&server, 1.5, AT_MS);
        assert_eq!(server.export("flow_mean")[0].points, [(AT_MS, 1.5)]);
        let stranger = Client {
            authorization: None,
            ..door.client(server.port)
        };
        assert_eq!(stranger.get("/api/v1/export", &[]).unwrap().status, 401);
    }
}
