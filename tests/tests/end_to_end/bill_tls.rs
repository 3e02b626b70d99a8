//! What opening a connection over TLS costs, as the bill estimates it and as tcpdump saw it.

use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tidegate_gateway::rules;
use tidegate_gateway::sinks::delivery::Outcome;
use tidegate_gateway::sinks::framing::{CHAIN_BYTES, Framing, Request};
use tidegate_tests::broker::Broker;
use tidegate_tests::capture::Capture;
use tidegate_tests::certificates::{Authority, Certificates, Flaw, Identity};
use tidegate_tests::ports;
use tidegate_tests::report::say;
use tidegate_tests::servers::Door;
use tidegate_tests::servers::influxdb::InfluxDb;

use crate::beside;

/// How far the framing of such a request may be off in percent, certificates apart.
const BAND_PERCENT: f64 = 15.0;

/// Handshakes differ by the server's certificates, of which the model takes two usual ones: but for
/// these, a request that opens a connection costs what the model says, whoever made the server's TLS.
#[test]
fn a_connection_over_tls_costs_what_the_model_says_but_for_its_certificates() {
    let certificates = Certificates::new();
    let known = &certificates.known;
    for (kind, depth) in [("influxdb", 1), ("influxdb", 2), ("mqtt", 1), ("mqtt", 2)] {
        let dir = tempfile::tempdir().expect("the system has a folder for temporary files");
        let (identity, chain_bytes) = chain(known, depth);
        let door = Door {
            tls: Some(identity),
            ..Door::default()
        };
        let port = ports::free();
        let (server, place) = Server::start(kind, dir.path(), port, &door);
        let capture = match Capture::start(dir.path(), &[port]) {
            Ok(capture) => capture,
            Err(why) => return say(&format!("bill: TLS is left out: {why}")),
        };
        let ca = known.certificate.display();
        let sink = format!("type = \"{kind}\"\nurl = \"{place}\"\ntls = {{ ca = \"{ca}\" }}");
        let answer = beside::attempt(&sink);
        assert_eq!(answer.outcome, Outcome::Confirmed);
        let traffic = capture.finish()[&port];
        drop(server);
        assert_eq!(traffic.connections, 1);

        let link = traffic.as_on_a_link();
        let estimated = framing(&sink).estimate(&Request {
            body_bytes: answer.sent_bytes,
            head_bytes: answer.header_bytes,
            idle_us: None,
        });
        let found = link - answer.sent_bytes - chain_bytes + CHAIN_BYTES;
        let off = 100.0 * (estimated as f64 / found as f64 - 1.0);
        let payload = traffic.to.payload_bytes + traffic.from.payload_bytes;
        let rest = payload - chain_bytes - answer.sent_bytes - answer.header_bytes;
        say(&format!(
            "bill: TLS to {kind}: {chain_bytes} bytes of {depth} certificates, {rest} of TLS beside \
             them, {link} on a link; framing {off:+.1} %"
        ));
        assert!(off.abs() <= BAND_PERCENT, "{kind}: {off:.1} %");
    }
}

/// How a sink of these lines sends.
fn framing(sink: &str) -> Framing {
    let text = format!(
        "[gateway]\nsite = \"a\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n[sink.one]\n{sink}\n"
    );
    let text = format!(
        "{text}[[rule]]\nname = \"every\"\nmatch = {{ sensor = \"*\" }}\nforward = [\"one\"]\n"
    );
    let (settings, _) = rules::parse(&text, "tidegate.toml")
        .unwrap_or_else(|mistakes| panic!("{sink}: {mistakes:?}"));
    Framing::of(&settings.sinks[0].kind)
}

/// A server's certificate with a chain of so many, and how many bytes these are in a handshake.
pub fn chain(authority: &Authority, depth: usize) -> (Identity, u64) {
    let server = authority.server(Flaw::None);
    let mut text = fs::read_to_string(&server.certificate).expect("it was written");
    for _ in 1..depth {
        text += &fs::read_to_string(&authority.certificate).expect("it was written");
    }
    fs::write(&server.certificate, &text).expect("the folder takes a file");
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes());
    let bytes = certificates.map(|one| one.expect("it is a certificate").len() as u64);
    (server, bytes.sum())
}

/// A server behind TLS; gone with its guard.
enum Server {
    Influx(#[expect(dead_code, reason = "held until it is to end")] InfluxDb),
    Broker(#[expect(dead_code, reason = "held until it is to end")] Broker),
}

impl Server {
    /// Starts one of a sink's type; with it what the sink says behind `url = "`.
    fn start(kind: &str, dir: &Path, port: u16, door: &Door) -> (Self, String) {
        if kind == "influxdb" {
            let influx = InfluxDb::start(dir, port, door);
            influx.create_database("plant");
            let place = format!("https://127.0.0.1:{port}\"\napi = \"v1\"\ndatabase = \"plant");
            return (Self::Influx(influx), place);
        }
        let broker = Broker::start_behind(dir, port, door);
        (Self::Broker(broker), format!("mqtts://127.0.0.1:{port}"))
    }
}
