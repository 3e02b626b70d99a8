//! Framing: what travels around the bodies of requests, estimated by a model of constants.
//!
//! A body is what a sink means to send; on a metered link its heads, TLS, TCP and IP are paid for,
//! too. They are not measured but computed, per request, from what is known: the bytes of both
//! heads, whether there is TLS, and whether the connection had to be opened. Both directions count.
//!
//! ```text
//! up      head + body, in TLS records of at most 16 KiB      ┐ in segments of at most 1,448 bytes,
//! down    the response, in one TLS record                    ┘ an ack for every second one
//! after   an ack of that response, unless the next request comes soon enough to carry it
//! once    SYN, SYN-ACK, ACK, and 4 packets to close; with TLS 1.3 two flights of handshake
//! ```
//! # What it covers, and how far it may be off
//! IPv4 without options, TCP with timestamps, an MTU of 1,500, TLS 1.3 with AES-GCM or `ChaCha20`
//! and a server's chain of two certificates. Left out: DNS, retransmissions, the link's own frames
//! (Ethernet, PPP), keep-alives of an idle connection, and responses' bodies. The bodies are exact
//! in any case.
//!
//! Measured with tcpdump (`tests/tests/end_to_end/bill.rs`), counted in packets of 1,500 bytes:
//!
//! | over a connection that stays open | framing computed is off by |
//! |---|---|
//! | HTTP | 7 to 9 %: some acks of the server travel with its response |
//! | remote write | 3 % |
//! | MQTT | -8 to -9 %: some PUBACKs travel alone |
//! | NATS | below 1 % |
//! | HTTP in TLS | 5 to 8 %, the handshake among it |
//!
//! What opens one in TLS is off by 6 % (a server in Go) and by -10 % (OpenSSL, which sends two
//! tickets), certificates apart. These are from 1,700 to 3,100 bytes for a chain of two, 15 % of
//! such a request either way: together [`BAND_PERCENT`]. A chain beyond that is off by its bytes.

use crate::rules::settings::SinkKind;

/// How far the estimate of framing may be off, in percent of it: the widest of the cases.
pub const BAND_PERCENT: u64 = 25;

/// IPv4 (20) and TCP with timestamps (32).
const PACKET_BYTES: u64 = 52;
/// What a packet of 1,500 bytes holds besides.
const SEGMENT_BYTES_MAX: u64 = 1_448;
/// Packets that open (SYN and SYN-ACK with their options, ACK) and close (FIN and ACK, both ways).
const CONNECTION_BYTES: u64 = 60 + 60 + PACKET_BYTES + 4 * PACKET_BYTES;
/// A record's head (5), its inner type (1) and tag (16).
const TLS_RECORD_BYTES: u64 = 22;
/// Most bytes of a TLS record.
const TLS_RECORD_BYTES_MAX: u64 = 16_384;
/// A handshake without the server's certificates: hellos, extensions, signature, both finished,
/// tickets, closing alerts. Measured: about 810 bytes with Go's TLS, 1,230 with OpenSSL's.
const TLS_HANDSHAKE_BYTES: u64 = 1_000;
/// The server's certificate and the one that signed it.
pub const CHAIN_BYTES: u64 = 2_400;
/// Longest time that a connection is kept without a request, in µs: what the HTTP client keeps.
pub const IDLE_US_MAX: u64 = 90_000_000;
/// What is sent within this time of a response carries its ack, in µs: Linux's shortest delay of
/// one (`TCP_DELACK_MIN`).
const ACK_DELAY_US: u64 = 40_000;

/// How a sink's requests travel; by default not over a network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Over a network at all.
    is_remote: bool,
    /// In TLS.
    is_tls: bool,
    /// A connection that is kept open whether or not something is sent.
    is_kept: bool,
}

/// A request as far as its framing depends on it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Bytes of its body as sent.
    pub body_bytes: u64,
    /// Bytes of its own head and of the response's, or of what a protocol has instead.
    pub head_bytes: u64,
    /// How long before it the connection's last request was answered, in µs; `None`: there was none.
    pub idle_us: Option<u64>,
}

impl Framing {
    /// How a kind of sink sends.
    pub fn of(kind: &SinkKind) -> Self {
        let is_secure = |url: &str| url.starts_with("https://") || url.starts_with("tls://");
        let (is_tls, is_kept) = match kind {
            SinkKind::Http(http) => (is_secure(&http.endpoint.url.0), false),
            SinkKind::Influxdb(influxdb) => (is_secure(&influxdb.endpoint.url.0), false),
            SinkKind::Prometheus(prometheus) => (is_secure(&prometheus.endpoint.url.0), false),
            SinkKind::Otlp(otlp) => (is_secure(&otlp.endpoint.url.0), false),
            SinkKind::Mqtt(mqtt) => (mqtt.tls.is_some(), true),
            SinkKind::Nats(nats) => (nats.tls.is_some() || is_secure(&nats.url.0), true),
            SinkKind::File(_) | SinkKind::Stdout => (false, true),
        };
        Self {
            is_remote: kind.is_remote(),
            is_tls,
            is_kept,
        }
    }

    /// Everything around the body of a request, its heads among it, in bytes.
    pub fn estimate(&self, request: &Request) -> u64 {
        if !self.is_remote {
            return request.head_bytes;
        }
        let up = request.body_bytes + request.head_bytes;
        let records = up.div_ceil(TLS_RECORD_BYTES_MAX).max(1) + 1;
        let tls = if self.is_tls {
            records * TLS_RECORD_BYTES
        } else {
            0
        };
        let segments = (up + tls).div_ceil(SEGMENT_BYTES_MAX).max(1);
        // The response acks what is left; the ack of the one before went alone if nothing carried it.
        let is_late = request.idle_us.is_some_and(|us| us > ACK_DELAY_US);
        let packets = segments + segments / 2 + 1 + u64::from(is_late);
        let opening = match (self.opens(request.idle_us), self.is_tls) {
            (false, _) => 0,
            (true, false) => CONNECTION_BYTES,
            (true, true) => {
                let handshake = TLS_HANDSHAKE_BYTES + CHAIN_BYTES;
                let packets = handshake.div_ceil(SEGMENT_BYTES_MAX) * 2;
                CONNECTION_BYTES + handshake + packets * PACKET_BYTES
            }
        };
        request.head_bytes + tls + packets * PACKET_BYTES + opening
    }

    /// Whether a request so long after the one before opens a connection.
    fn opens(self, idle_us: Option<u64>) -> bool {
        match idle_us {
            None => true,
            Some(idle_us) => !self.is_kept && idle_us > IDLE_US_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::settings::{
        Compression, Endpoint, HttpAuth, HttpFormat, HttpSettings, SinkUrl, TlsSettings,
    };

    fn http(url: &str) -> SinkKind {
        SinkKind::Http(HttpSettings {
            endpoint: Endpoint {
                url: SinkUrl(url.to_owned()),
                auth: HttpAuth::None,
                headers: Vec::new(),
                tls: TlsSettings::default(),
            },
            format: HttpFormat::Ndjson,
            compression: Compression::Gzip,
        })
    }

    /// A connection that stays.
    fn kept() -> Framing {
        Framing {
            is_remote: true,
            is_tls: false,
            is_kept: true,
        }
    }

    /// So long after the one before, in µs.
    fn request(body_bytes: u64, idle_us: impl Into<Option<u64>>) -> Request {
        Request {
            body_bytes,
            head_bytes: 400,
            idle_us: idle_us.into(),
        }
    }

    #[test]
    fn a_request_over_an_open_connection() {
        let plain = Framing::of(&http("http://127.0.0.1/"));
        // One segment up, and the response.
        assert_eq!(plain.estimate(&request(1_000, 0)), 400 + 2 * 52);
        // 10,400 bytes are 8 segments with 4 acks.
        assert_eq!(plain.estimate(&request(10_000, 0)), 400 + 13 * 52);
    }

    #[test]
    fn an_ack_goes_alone_when_nothing_carries_it() {
        for framing in [Framing::of(&http("http://127.0.0.1/")), kept()] {
            let soon = framing.estimate(&request(1_000, ACK_DELAY_US));
            let late = framing.estimate(&request(1_000, ACK_DELAY_US + 1));
            assert_eq!(late - soon, 52);
        }
    }

    #[test]
    fn tls_and_a_new_connection_cost_more() {
        let tls = Framing::of(&http("https://127.0.0.1/"));
        let open = tls.estimate(&request(1_000, 0));
        assert_eq!(open, 400 + 2 * 22 + 2 * 52);
        assert_eq!(
            tls.estimate(&request(1_000, None)) - open,
            380 + 3_400 + 6 * 52
        );
        let plain = Framing::of(&http("http://127.0.0.1/"));
        let opened = plain.estimate(&request(0, None)) - plain.estimate(&request(0, 0));
        assert_eq!(opened, 380);
    }

    #[test]
    fn what_does_not_leave_the_machine_has_no_packets() {
        let stdout = Framing::of(&SinkKind::Stdout);
        let nothing = Request {
            body_bytes: 9_000,
            ..Request::default()
        };
        assert_eq!(stdout.estimate(&nothing), 0);
    }

    #[test]
    fn only_a_connection_of_requests_is_given_up_when_idle() {
        let requests = Framing::of(&http("http://127.0.0.1/"));
        assert!(requests.opens(None));
        assert!(!requests.opens(Some(IDLE_US_MAX)));
        assert!(requests.opens(Some(IDLE_US_MAX + 1)));
        assert!(!kept().opens(Some(u64::MAX)));
    }
}
