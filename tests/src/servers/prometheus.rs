//! Prometheus, which takes remote write.
//!
//! It refuses samples older than the newest of their series (unless it has an out-of-order window;
//! what is older than that, Debian's 2.42 answers with 500), another value at the same time, and what is more than an hour behind the newest sample of *any*
//! series: with old data, scraping itself would shut the data out, so it does that only when asked.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::daemon::Daemon;
use super::promql::{self, Series};
use super::{Door, PASSWORD_BCRYPT, USER, folder, quoted};
use crate::request::{Answer, Client};

/// What a server does beside taking remote writes.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `out_of_order_time_window`, such as `30m`.
    pub out_of_order: Option<&'static str>,
    /// Whether it scrapes itself, every second.
    pub scrape_itself: bool,
    /// Files of rules, evaluated every second.
    pub rules: Vec<PathBuf>,
}

/// A server; gone with its guard.
#[derive(Debug)]
pub struct Prometheus {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    dir: PathBuf,
    options: Options,
    client: Client,
    daemon: Daemon,
}

impl Prometheus {
    /// Starts one that keeps its data in `DIR/prometheus`, for a hundred years.
    pub fn start(dir: &Path, port: u16, door: &Door, options: Options) -> Self {
        let dir = folder(dir, "prometheus");
        let web = dir.join("web.yml");
        fs::write(&web, web_configuration(door)).expect("the folder takes a file");
        let mut server = Self {
            port,
            options,
            client: door.client(port),
            daemon: Daemon::new("prometheus", port, &dir, arguments(&dir, port, &web)),
            dir,
        };
        server.write_configuration();
        server.restart();
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
        self.daemon.start(|| {
            let answer = client.get("/-/ready", &[]);
            answer.is_ok_and(|answer| answer.status == 200)
        });
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// What an expression gives at a moment in ms since 1970; `None` means now.
    pub fn query(&self, expression: &str, at_ms: Option<i64>) -> Vec<Series> {
        promql::instant(&self.client, expression, at_ms)
    }

    /// What an expression gives from a moment to another, every `step_ms`. For the samples as they
    /// were written, ask [`Self::query`] for a range: `name[1h]` at its end.
    pub fn query_range(&self, expression: &str, ms: (i64, i64), step_ms: i64) -> Vec<Series> {
        promql::range(&self.client, expression, ms, step_ms)
    }

    /// Loads these files of rules instead of those before. If it cannot, it says why, and goes on
    /// with those before.
    pub fn load_rules(&mut self, rules: &[PathBuf]) -> Result<(), String> {
        let before = std::mem::replace(&mut self.options.rules, rules.to_vec());
        self.write_configuration();
        let said_before = self.log().len();
        let answer = self.client.post("/-/reload", &[], &[]);
        let answer = answer.unwrap_or_else(|error| panic!("Prometheus: {error}"));
        if answer.status == 200 {
            return Ok(());
        }
        self.options.rules = before;
        self.write_configuration();
        // Its answer only says that something is wrong.
        Err(answer.text() + &self.log()[said_before..])
    }

    /// The groups of rules, each with its rules and how they are: `/api/v1/rules`.
    pub fn rule_groups(&self) -> Value {
        self.data("/api/v1/rules")["groups"].take()
    }

    /// The alerts that are pending or firing: `/api/v1/alerts`.
    pub fn alerts(&self) -> Value {
        self.data("/api/v1/alerts")["alerts"].take()
    }

    /// Posts a body as it is to `/api/v1/write`.
    pub fn remote_write(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.client.post("/api/v1/write", headers, body);
        answer.unwrap_or_else(|error| panic!("Prometheus: {error}"))
    }

    fn data(&self, path: &str) -> Value {
        let answer = self.client.get(path, &[]);
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        answer.json(path)["data"].take()
    }

    fn write_configuration(&self) {
        let text = configuration(&self.options, self.port);
        fs::write(self.dir.join("prometheus.yml"), text).expect("the folder takes a file");
    }
}

fn arguments(dir: &Path, port: u16, web: &Path) -> Vec<String> {
    vec![
        format!("--config.file={}", dir.join("prometheus.yml").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        format!("--web.config.file={}", web.display()),
        format!("--storage.tsdb.path={}", dir.join("data").display()),
        "--storage.tsdb.retention.time=100y".to_owned(),
        "--web.enable-remote-write-receiver".to_owned(),
        "--web.enable-lifecycle".to_owned(),
        "--log.level=info".to_owned(),
    ]
}

fn configuration(options: &Options, port: u16) -> String {
    let mut text = "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  \
                    evaluation_interval: 1s\n"
        .to_owned();
    if let Some(window) = options.out_of_order {
        let _ = write!(
            text,
            "storage:\n  tsdb:\n    out_of_order_time_window: {window}\n"
        );
    }
    if !options.rules.is_empty() {
        text += "rule_files:\n";
        for path in &options.rules {
            let _ = writeln!(text, "  - {}", quoted(path));
        }
    }
    if options.scrape_itself {
        let _ = write!(
            text,
            "scrape_configs:\n  - job_name: self\n    static_configs:\n      \
             - targets: [\"127.0.0.1:{port}\"]\n"
        );
    }
    text
}

fn web_configuration(door: &Door) -> String {
    let mut text = String::new();
    if let Some(tls) = &door.tls {
        let _ = write!(
            text,
            "tls_server_config:\n  cert_file: {}\n  key_file: {}\n",
            quoted(&tls.certificate),
            quoted(&tls.key)
        );
        if let Some(clients) = &door.clients {
            let _ = write!(
                text,
                "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {}\n",
                quoted(&clients.authority)
            );
        }
    }
    if door.login {
        let _ = write!(text, "basic_auth_users:\n  {USER}: {PASSWORD_BCRYPT}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::certificates::{Certificates, Flaw};
    use crate::ports;
    use crate::servers::Clients;
    use crate::wall::{wait_for, wait_until};

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn what_it_scraped_is_there_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            scrape_itself: true,
            ..Options::default()
        };
        let mut server = Prometheus::start(dir.path(), ports::free(), &Door::default(), options);
        let at_ms = wait_for("a scrape", LIMIT, || {
            let up = server.query("up{job='self'}", None);
            up.first().map(|series| {
                assert_eq!(series.label("__name__"), "up");
                assert_eq!(series.points[0].1.to_bits(), 1_f64.to_bits());
                series.points[0].0
            })
        });
        server.kill();
        assert!(!ports::answers(server.port));
        server.restart();
        assert_eq!(server.query("up", Some(at_ms)).len(), 1);
        let range = server.query_range("up", (at_ms, at_ms + 1), 1);
        assert_eq!(range[0].points, [(at_ms, 1.0), (at_ms + 1, 1.0)]);
        assert!(server.query("no_such_series", Some(at_ms)).is_empty());
    }

    #[test]
    fn rules_are_loaded_and_alerts_fire() {
        let dir = tempfile::tempdir().unwrap();
        let port = ports::free();
        let mut server = Prometheus::start(dir.path(), port, &Door::default(), Options::default());
        let rules = dir.path().join("rules.yml");
        let text = "groups:\n  - name: g\n    rules:\n      - record: seven\n        expr: vector(7)\n      \
                    - alert: High\n        expr: seven > 5\n";
        fs::write(&rules, text).unwrap();
        server.load_rules(&[rules]).unwrap();
        wait_until("the rule's value", LIMIT, || {
            let series = server.query("seven", None);
            series
                .first()
                .is_some_and(|series| series.points[0].1 > 6.5)
        });
        wait_until("the alert", LIMIT, || {
            server.alerts()[0]["labels"]["alertname"] == "High"
        });
        assert_eq!(server.rule_groups()[0]["rules"][1]["health"], "ok");
        let scalar = server.query("1 + 1", Some(5_250));
        assert_eq!(scalar[0].points, [(5_250, 2.0)]);
    }

    #[test]
    fn old_samples_are_taken_in_order_and_once_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let port = ports::free();
        let mut server = Prometheus::start(dir.path(), port, &Door::default(), Options::default());
        let write = |server: &Prometheus, value: f64, at_ms: i64| {
            let headers = [
                ("content-type", "application/x-protobuf"),
                ("content-encoding", "snappy"),
                ("x-prometheus-remote-write-version", "0.1.0"),
            ];
            server
                .remote_write(&headers, &one_sample(value, at_ms))
                .status
        };
        assert_eq!(write(&server, 1.5, OLD_MS), 204);
        server.kill();
        server.restart();
        assert_eq!(write(&server, 2.5, OLD_MS + 1_000), 204);
        // The same again is taken, and changes nothing.
        assert_eq!(write(&server, 2.5, OLD_MS + 1_000), 204);
        assert_eq!(write(&server, 3.5, OLD_MS + 1_000), 400);
        assert_eq!(write(&server, 0.5, OLD_MS - 60_000), 400);
        let kept = [(OLD_MS, 1.5), (OLD_MS + 1_000, 2.5)];
        assert_eq!(
            server.query("flow[1h]", Some(OLD_MS + 1_000))[0].points,
            kept
        );

        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            out_of_order: Some("30m"),
            ..Options::default()
        };
        let server = Prometheus::start(dir.path(), ports::free(), &Door::default(), options);
        assert_eq!(write(&server, 1.5, OLD_MS), 204);
        assert_eq!(write(&server, 0.5, OLD_MS - 60_000), 204);
        // Not 400: to this version what is older than its window is a fault of its own.
        assert_eq!(write(&server, 0.5, OLD_MS - 3_600_000), 500);
        let kept = [(OLD_MS - 60_000, 0.5), (OLD_MS, 1.5)];
        assert_eq!(server.query("flow[1h]", Some(OLD_MS))[0].points, kept);
    }

    /// In February 2020.
    const OLD_MS: i64 = 1_581_168_600_000;

    /// A remote write of one sample of the series `flow`, by hand: protobuf in snappy.
    fn one_sample(value: f64, at_ms: i64) -> Vec<u8> {
        let field = |number: u8, bytes: &[u8]| {
            let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
            field.extend(bytes);
            field
        };
        let label = [field(1, b"__name__"), field(2, b"flow")].concat();
        let mut sample = vec![1 << 3 | 1];
        sample.extend(value.to_le_bytes());
        sample.push(2 << 3);
        let mut rest = at_ms;
        while rest > 0x7F {
            sample.push(0x80 | (rest & 0x7F) as u8);
            rest >>= 7;
        }
        sample.push(rest as u8);
        let series = [field(1, &label), field(2, &sample)].concat();
        let request = field(1, &series);
        // Snappy: the length, then one literal of up to 60 bytes.
        let length = u8::try_from(request.len()).unwrap();
        assert!(length <= 60);
        let mut packed = vec![length, (length - 1) << 2];
        packed.extend(request);
        packed
    }

    #[test]
    fn wrong_rules_are_refused_in_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let port = ports::free();
        let mut server = Prometheus::start(dir.path(), port, &Door::default(), Options::default());
        let rules = dir.path().join("rules.yml");
        let text = "groups: [{name: g, rules: [{record: a, expr: '('}]}]";
        fs::write(&rules, text).unwrap();
        let error = server.load_rules(&[rules]).unwrap_err();
        assert!(error.contains("unclosed left parenthesis"), "{error}");
        server.load_rules(&[]).unwrap();
    }

    #[test]
    fn its_door_has_tls_client_certificates_and_a_login() {
        let dir = tempfile::tempdir().unwrap();
        let Certificates { known, unknown, .. } = &Certificates::new();
        let door = Door {
            tls: Some(known.server(Flaw::None)),
            clients: Some(Clients::of(known)),
            login: true,
        };
        let options = Options {
            out_of_order: Some("30m"),
            ..Options::default()
        };
        let server = Prometheus::start(dir.path(), ports::free(), &door, options);
        // Not snappy: refused behind the door.
        assert_eq!(server.remote_write(&[], b"x").status, 400);
        let asked = |client: Client| client.get("/-/ready", &[]);
        let nobody = Client {
            authorization: None,
            ..door.client(server.port)
        };
        assert_eq!(asked(nobody).unwrap().status, 401);
        let without = Client {
            identity: None,
            ..door.client(server.port)
        };
        assert!(asked(without).is_err());
        let stranger = Client {
            identity: Some(unknown.client("rig", Flaw::None)),
            ..door.client(server.port)
        };
        assert!(asked(stranger).is_err());
    }
}
