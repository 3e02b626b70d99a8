//! TLS of every type of sink that has it, by `tidegate sink test` against real servers: a good
//! private authority is enough, and each flaw is told as that flaw, of whose certificate it is.

use std::any::Any;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::broker::Broker;
use tidegate_tests::certificates::{Authority, Certificates, Flaw, Identity};
use tidegate_tests::ports;
use tidegate_tests::report::say;
use tidegate_tests::rig;
use tidegate_tests::servers::https::Https;
use tidegate_tests::servers::influxdb::InfluxDb;
use tidegate_tests::servers::nats::Nats;
use tidegate_tests::servers::prometheus::{Options, Prometheus};
use tidegate_tests::servers::{Clients, Door, PASSWORD, USER};
use tidegate_tests::wall::wait_for;

const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:1883"
[sink.probed]
SINK
tls = { TLS }
auth = { user = "USER", password = { file = "password" } }
timeout = "10s"
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", late = "drop" }
aggregate = ["mean"]
forward = ["probed"]
"#;

/// Longest until a flaw is told.
const TOLD: Duration = Duration::from_secs(20);

/// Types of sinks, as they are configured, by what answers them.
const KINDS: [Kind; 6] = [
    Kind {
        server: "influxd",
        sink: "type = \"influxdb\"\nurl = \"https://127.0.0.1:PORT\"\napi = \"v1\"\ndatabase = \"plant\"",
        asks_clients: false,
        names_flaw: false,
    },
    Kind {
        server: "prometheus",
        sink: "type = \"prometheus\"\nurl = \"https://127.0.0.1:PORT/api/v1/write\"",
        asks_clients: true,
        names_flaw: false,
    },
    Kind {
        server: "mosquitto",
        sink: "type = \"mqtt\"\nurl = \"mqtts://127.0.0.1:PORT\"",
        asks_clients: true,
        names_flaw: true,
    },
    Kind {
        server: "nats-server",
        sink: "type = \"nats\"\nurl = \"tls://127.0.0.1:PORT\"",
        asks_clients: true,
        names_flaw: false,
    },
    Kind {
        server: "collector",
        sink: "type = \"otlp\"\nurl = \"https://127.0.0.1:PORT/v1/metrics\"",
        asks_clients: true,
        names_flaw: true,
    },
    Kind {
        server: "receiver",
        sink: "type = \"http\"\nurl = \"https://127.0.0.1:PORT/records\"",
        asks_clients: true,
        names_flaw: true,
    },
];

#[derive(Debug, Clone, Copy)]
struct Kind {
    server: &'static str,
    sink: &'static str,
    /// Whether it can ask clients for certificates.
    asks_clients: bool,
    /// Whether it says what is wrong with them; servers in Go call all of them bad.
    names_flaw: bool,
}

/// What a row found.
#[derive(Debug)]
struct Found {
    row: &'static str,
    outcome: String,
    why: String,
    expected: &'static str,
}

impl Found {
    fn is_right(&self) -> bool {
        match self.expected {
            "" => self.outcome == "confirmed",
            words => self.outcome == "broken" && self.why.contains(words),
        }
    }
}

#[test]
fn a_private_authority_is_enough_and_every_flaw_is_told() {
    let certificates = Certificates::new();
    let found: Vec<Result<Vec<Found>, ()>> = thread::scope(|scope| {
        let kinds = KINDS.map(|kind| {
            let certificates = &certificates;
            scope.spawn(move || table(kind, certificates))
        });
        kinds
            .into_iter()
            .map(|kind| kind.join().map_err(drop))
            .collect()
    });
    let mut wrong = Vec::new();
    for (kind, rows) in KINDS.iter().zip(&found) {
        let Ok(rows) = rows else {
            wrong.push(format!("{}: its rows ended early", kind.server));
            continue;
        };
        for found in rows {
            let Found {
                row, outcome, why, ..
            } = found;
            say(&format!(
                "{:<12} {row:<28} {outcome:<10} {why}",
                kind.server
            ));
            if !found.is_right() {
                wrong.push(format!("{}, {row}: {found:?}", kind.server));
            }
        }
        let count = if kind.asks_clients { 7 } else { 4 };
        assert_eq!(rows.len(), count, "{}", kind.server);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// All rows of a type of sink.
fn table(kind: Kind, Certificates { known, unknown, .. }: &Certificates) -> Vec<Found> {
    let dir = tempfile::tempdir().expect("the system has a folder for temporary files");
    fs::write(dir.path().join("password"), PASSWORD).expect("the folder takes a file");
    let mine = kind
        .asks_clients
        .then(|| known.client("gateway", Flaw::None));
    let mine = mine.as_ref();
    let ask = |row, port, authority: &Authority, client: Option<&Identity>, expected| {
        // In TLS 1.3 a server judges the client after the client's handshake is over. When the
        // connection closes before the request is on it, HTTP tells that and no cause: a retry,
        // of which the next attempt tells more.
        let (outcome, why) = wait_for("more than a retry", TOLD, || {
            let told = probe(kind, &dir, port, authority, client);
            let is_retry = told.0 == "retry";
            if is_retry {
                say(&format!(
                    "{:<12} {row:<28} retry      {}",
                    kind.server, told.1
                ));
            }
            (!is_retry).then_some(told)
        });
        Found {
            row,
            outcome,
            why,
            expected,
        }
    };
    let good = Server::start(kind, dir.path(), known, Flaw::None);
    let port = good.port;
    let mut rows = vec![
        ask("good", port, known, mine, ""),
        ask(
            "authority not trusted",
            port,
            unknown,
            mine,
            "unknown authority",
        ),
    ];
    for (row, flaw, expected) in [
        ("server's wrong name", Flaw::WrongName, "wrong name"),
        ("server's expired", Flaw::Expired, "expired: the server's"),
    ] {
        let flawed = Server::start(kind, dir.path(), known, flaw);
        rows.push(ask(row, flawed.port, known, mine, expected));
        flawed.took(0);
    }
    if kind.asks_clients {
        let strange = unknown.client("stranger", Flaw::None);
        let old = known.client("old", Flaw::Expired);
        let [unknown_to_it, expired] = if kind.names_flaw {
            [
                "does not know the authority that signed it",
                "it has expired",
            ]
        } else {
            ["refuses the client's certificate tls.cert"; 2]
        };
        rows.extend([
            ask(
                "client's missing",
                port,
                known,
                None,
                "demands a client's certificate",
            ),
            ask(
                "client's authority unknown",
                port,
                known,
                Some(&strange),
                unknown_to_it,
            ),
            ask("client's expired", port, known, Some(&old), expired),
        ]);
    }
    good.took(1);
    rows
}

/// `tidegate sink test`: its outcome, and why.
fn probe(
    kind: Kind,
    dir: &TempDir,
    port: u16,
    authority: &Authority,
    client: Option<&Identity>,
) -> (String, String) {
    let client = client.map_or(String::new(), |client| {
        let (cert, key) = (client.certificate.display(), client.key.display());
        format!(", cert = \"{cert}\", key = \"{key}\"")
    });
    let tls = format!("ca = \"{}\"{client}", authority.certificate.display());
    let text = CONFIGURATION
        .replace("SINK", kind.sink)
        .replace("PORT", &port.to_string())
        .replace("TLS", &tls)
        .replace("USER", USER);
    fs::write(dir.path().join("tidegate.toml"), text).expect("the folder takes a file");
    let test = [
        "sink",
        "test",
        "probed",
        "--config",
        "tidegate.toml",
        "--json",
    ];
    let finished = rig::command(dir.path(), &test);
    let told: Value = serde_json::from_str(&finished.out)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.out, finished.err));
    let outcome = told["outcome"].as_str().expect("it has an outcome");
    let taken = finished.status.success();
    assert_eq!(taken, outcome == "confirmed", "{told}");
    assert!(!finished.out.contains(PASSWORD), "{told}");
    let why = told["why"].as_str().unwrap_or_default();
    (outcome.to_owned(), why.to_owned())
}

/// A server behind a door with TLS, a login, and client certificates where it knows them.
struct Server {
    port: u16,
    guard: Box<dyn Any>,
    _dir: TempDir,
}

impl Server {
    fn start(kind: Kind, dir: &Path, known: &Authority, flaw: Flaw) -> Self {
        let door = Door {
            tls: Some(known.server(flaw)),
            clients: kind.asks_clients.then(|| Clients::of(known)),
            login: true,
        };
        let own = tempfile::tempdir_in(dir).expect("the folder takes another one");
        let (dir, port) = (own.path(), ports::free());
        let guard: Box<dyn Any> = match kind.server {
            "influxd" => {
                let server = InfluxDb::start(dir, port, &door);
                server.create_database("plant");
                Box::new(server)
            }
            "prometheus" => Box::new(Prometheus::start(dir, port, &door, Options::default())),
            "mosquitto" => Box::new(Broker::start_behind(dir, port, &door)),
            "nats-server" => {
                let server = Nats::start(dir, port, &door);
                server.create_stream("RECORDS", &["tidegate.>"], 120_000);
                Box::new(server)
            }
            _ => Box::new(Https::start(port, &door)),
        };
        Self {
            port,
            guard,
            _dir: own,
        }
    }

    /// Where the receiver counts: that it took so many requests.
    fn took(&self, count: usize) {
        if let Some(server) = self.guard.downcast_ref::<Https>() {
            assert_eq!(server.taken(), count, "{:?}", server.refused());
        }
    }
}
