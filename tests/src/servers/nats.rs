//! nats-server with JetStream.
//!
//! The rig speaks the protocol itself (`wire`): what a sink published is read by other code than
//! what published it.

mod wire;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use self::wire::Wire;
use super::daemon::Daemon;
use super::{Door, PASSWORD, USER, folder, quoted};

/// JetStream's error for a sequence whose message is gone or never was.
const NO_MESSAGE: u64 = 10_037;

/// A server; gone with its guard.
#[derive(Debug)]
pub struct Nats {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    door: Door,
    token: Option<String>,
    daemon: Daemon,
}

/// A message as a stream keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number in the stream, from 1.
    pub sequence: u64,
    /// Where it was published.
    pub subject: String,
    /// Its headers, such as `Nats-Msg-Id`.
    pub headers: Vec<(String, String)>,
    /// What was published.
    pub payload: Vec<u8>,
}

impl Message {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Nats {
    /// Starts one that keeps its streams in `DIR/nats-server`.
    pub fn start(dir: &Path, port: u16, door: &Door) -> Self {
        Self::open(dir, port, door, None)
    }

    /// As [`Self::start`], for clients that say a token (instead of the door's login).
    pub fn start_with_token(dir: &Path, port: u16, door: &Door, token: &str) -> Self {
        assert!(!door.login, "nats-server asks for a token or a login");
        Self::open(dir, port, door, Some(token.to_owned()))
    }

    fn open(dir: &Path, port: u16, door: &Door, token: Option<String>) -> Self {
        let dir = folder(dir, "nats-server");
        let config = dir.join("nats.conf");
        let text = configuration(&dir, port, door, token.as_deref());
        fs::write(&config, text).expect("the folder takes a file");
        let arguments = vec!["-c".to_owned(), config.to_string_lossy().into_owned()];
        let mut server = Self {
            port,
            door: door.clone(),
            token,
            daemon: Daemon::new("nats-server", port, &dir, arguments),
        };
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

    /// Starts it again, unless it runs, with its streams.
    pub fn restart(&mut self) {
        let (port, door, token) = (self.port, &self.door, self.token.as_deref());
        self.daemon.start(|| {
            let info = Wire::open(port, door, token)
                .and_then(|mut wire| wire.request("$JS.API.INFO", &[], b""));
            info.is_ok_and(|info| !info.is_empty())
        });
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Makes a stream, kept in files, that takes what is published on subjects (`*` stands for a
    /// token, `>` for the rest) and knows a message's id again for `duplicate_window_ms`.
    pub fn create_stream(&self, name: &str, subjects: &[&str], duplicate_window_ms: u64) {
        let config = json!({
            "name": name,
            "subjects": subjects,
            "storage": "file",
            "retention": "limits",
            "num_replicas": 1,
            "duplicate_window": duplicate_window_ms * 1_000_000,
        });
        let api = format!("$JS.API.STREAM.CREATE.{name}");
        good(&self.ask(&api, &[], config.to_string().as_bytes()), &api);
    }

    /// What is known of a stream: its `config` and its `state`.
    pub fn stream(&self, name: &str) -> Value {
        let api = format!("$JS.API.STREAM.INFO.{name}");
        let info = self.ask(&api, &[], b"");
        good(&info, &api);
        info
    }

    /// All messages of a stream, in its order.
    pub fn messages(&self, stream: &str) -> Vec<Message> {
        let state = &self.stream(stream)["state"];
        let of = |name: &str| state[name].as_u64().expect("a state has its sequences");
        let api = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let mut wire = self.wire();
        let mut messages = Vec::new();
        for sequence in of("first_seq").max(1)..=of("last_seq") {
            let body = json!({ "seq": sequence }).to_string();
            let reply = request(&mut wire, &api, &[], body.as_bytes());
            if reply["error"]["err_code"] == NO_MESSAGE {
                continue;
            }
            good(&reply, &api);
            messages.push(message(&reply["message"]));
        }
        messages
    }

    /// Publishes a message and gives JetStream's acknowledgement: `stream`, `seq`, and `duplicate`
    /// where its id was known already.
    pub fn publish(&self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Value {
        let ack = self.ask(subject, headers, payload);
        good(&ack, subject);
        ack
    }

    fn ask(&self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Value {
        request(&mut self.wire(), subject, headers, payload)
    }

    fn wire(&self) -> Wire {
        Wire::open(self.port, &self.door, self.token.as_deref())
            .unwrap_or_else(|error| panic!("nats-server: {error}"))
    }
}

fn request(wire: &mut Wire, subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Value {
    let reply = wire.request(subject, headers, payload);
    let reply = reply.unwrap_or_else(|error| panic!("{subject}: {error}"));
    serde_json::from_slice(&reply).unwrap_or_else(|error| {
        let text = String::from_utf8_lossy(&reply);
        panic!("{subject}: {error}: {text:?} (empty: nobody took the request)")
    })
}

fn good(reply: &Value, what: &str) {
    assert!(reply["error"].is_null(), "{what}: {}", reply["error"]);
}

fn message(kept: &Value) -> Message {
    let bytes = |name: &str| kept[name].as_str().map_or(Vec::new(), wire::from_base64);
    let head = bytes("hdrs");
    let headers = wire::headers(&String::from_utf8_lossy(&head));
    Message {
        sequence: kept["seq"].as_u64().expect("a message has a sequence"),
        subject: kept["subject"].as_str().unwrap_or_default().to_owned(),
        headers,
        payload: bytes("data"),
    }
}

fn configuration(dir: &Path, port: u16, door: &Door, token: Option<&str>) -> String {
    let store = quoted(&dir.join("streams"));
    let mut text = format!(
        "host: \"127.0.0.1\"\nport: {port}\njetstream {{\n  store_dir: {store}\n  \
         max_memory_store: 64MB\n  max_file_store: 4GB\n}}\n"
    );
    if let Some(tls) = &door.tls {
        let (certificate, key) = (quoted(&tls.certificate), quoted(&tls.key));
        let _ = write!(
            text,
            "tls {{\n  cert_file: {certificate}\n  key_file: {key}\n  timeout: 10\n"
        );
        if let Some(clients) = &door.clients {
            let authority = quoted(&clients.authority);
            let _ = write!(text, "  ca_file: {authority}\n  verify: true\n");
        }
        text.push_str("}\n");
    }
    if let Some(token) = token {
        let _ = writeln!(text, "authorization {{\n  token: {token:?}\n}}");
    } else if door.login {
        let _ = writeln!(
            text,
            "authorization {{\n  user: {USER:?}\n  password: {PASSWORD:?}\n}}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{Certificates, Flaw};
    use crate::ports;
    use crate::servers::Clients;

    fn publish(server: &Nats, id: &str, payload: &[u8]) -> Value {
        server.publish("records.pump-1", &[("Nats-Msg-Id", id)], payload)
    }

    #[test]
    fn what_was_published_is_there_after_a_kill_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Nats::start(dir.path(), ports::free(), &Door::default());
        server.create_stream("RECORDS", &["records.>"], 120_000);
        assert!(server.messages("RECORDS").is_empty());
        assert_eq!(publish(&server, "a", b"one\0\xff")["seq"], 1);
        server.kill();
        assert!(!ports::answers(server.port));
        server.restart();
        assert_eq!(publish(&server, "a", b"one\0\xff")["duplicate"], true);
        assert_eq!(publish(&server, "b", b"")["seq"], 2);
        let ack = server.publish("records.pump-2", &[], b"three");
        assert_eq!(ack["stream"], "RECORDS");

        let messages = server.messages("RECORDS");
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[0].subject, "records.pump-1");
        assert_eq!(messages[0].payload, b"one\0\xff");
        assert_eq!(messages[0].header("Nats-Msg-Id"), Some("a"));
        assert_eq!(messages[1].header("Nats-Msg-Id"), Some("b"));
        assert_eq!(messages[1].payload, b"");
        assert_eq!(messages[2].sequence, 3);
        assert_eq!(messages[2].headers, []);
    }

    #[test]
    fn without_a_stream_nobody_confirms() {
        let dir = tempfile::tempdir().unwrap();
        let server = Nats::start(dir.path(), ports::free(), &Door::default());
        let reply = server.wire().request("records.pump-1", &[], b"one");
        assert_eq!(reply.unwrap(), b"");
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
        let server = Nats::start(dir.path(), ports::free(), &door);
        server.create_stream("RECORDS", &["records.>"], 120_000);
        publish(&server, "a", b"one");
        assert_eq!(server.messages("RECORDS").len(), 1);

        let open = |door: &Door| Wire::open(server.port, door, None).map(drop);
        open(&door).unwrap();
        let nobody = Door {
            login: false,
            ..door.clone()
        };
        let error = open(&nobody).unwrap_err().to_string();
        assert!(error.contains("Authorization Violation"), "{error}");
        let mut stranger = door.clone();
        if let Some(clients) = &mut stranger.clients {
            clients.rig = unknown.client("rig", Flaw::None);
        }
        assert!(open(&stranger).is_err());
    }

    #[test]
    fn its_door_has_a_token() {
        let dir = tempfile::tempdir().unwrap();
        let door = Door::default();
        let server = Nats::start_with_token(dir.path(), ports::free(), &door, "open-sesame");
        server.create_stream("RECORDS", &["records.>"], 120_000);
        assert!(Wire::open(server.port, &door, Some("open")).is_err());
    }
}
