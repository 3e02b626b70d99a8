//! The sink against a server of a few lines, which does what a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;
use crate::rules::settings::{SinkKind, SinkUrl, Template, TemplatePart};
use crate::sinks::mqtt::tests::{batch, sink};

const INFO: &str =
    r#"INFO {"server_id":"x","version":"2.9","max_payload":1048576,"headers":true,"nonce":"abc"}"#;

fn settings(port: u16, auth: NatsAuth) -> NatsSettings {
    NatsSettings {
        url: SinkUrl(format!("nats://127.0.0.1:{port}")),
        subject: Template {
            parts: vec![TemplatePart::Text("t.".into()), TemplatePart::Sensor],
        },
        auth,
        tls: None,
    }
}

fn transport(settings: &NatsSettings) -> NatsTransport {
    NatsTransport::new(&sink(SinkKind::Nats(settings.clone())), settings)
}

struct Peer {
    reader: BufReader<TcpStream>,
}

/// A message as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    subject: String,
    reply: String,
    headers: String,
    payload: String,
}

impl Peer {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn say(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.reader.read_line(&mut line);
        line.trim_end().to_owned()
    }

    /// Says INFO, hears CONNECT, SUB and PING, and returns the first.
    fn welcome(&mut self) -> String {
        self.say(&format!("{INFO}\r\n"));
        let connect = self.line();
        assert!(self.line().starts_with("SUB _INBOX."));
        assert_eq!(self.line(), "PING");
        self.say("PONG\r\n");
        connect
    }

    fn message(&mut self) -> Heard {
        let line = self.line();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "HPUB", "{line}");
        let (header, total): (usize, usize) =
            (words[3].parse().unwrap(), words[4].parse().unwrap());
        let mut body = vec![0; total + 2];
        self.reader.read_exact(&mut body).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Heard {
            subject: words[1].into(),
            reply: words[2].into(),
            headers: text(&body[..header]),
            payload: text(&body[header..total]),
        }
    }

    fn acknowledge(&mut self, message: &Heard) {
        self.say(&format!(
            "MSG {} 1 22\r\n{{\"stream\":\"S\",\"seq\":7}}\r\n",
            message.reply
        ));
    }
}

fn server<T: Send + 'static>(
    script: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, std::thread::spawn(move || script(listener)))
}

#[tokio::test]
async fn a_batch_is_confirmed_when_every_message_is_stored() {
    let (port, heard) = server(|listener| {
        let mut peer = Peer::accept(&listener);
        let connect = peer.welcome();
        let messages: Vec<_> = (0..3).map(|_| peer.message()).collect();
        for at in [1, 2, 0] {
            peer.acknowledge(&messages[at]);
        }
        (connect, messages)
    });
    let mut sink = transport(&settings(port, NatsAuth::None));
    let sent = batch(&[1, 2, 3]);
    let answer = sink.deliver(&sent).await;
    assert_eq!(answer.outcome, Outcome::Confirmed);
    assert_eq!(answer.sent_bytes, sent.body.len() as u64 - 3);
    assert!(answer.header_bytes > 500, "{}", answer.header_bytes);
    let (connect, messages) = heard.join().unwrap();
    assert!(connect.contains("\"name\":\"tidegate-pump-house-cloud\""));
    for (message, (record, piece)) in messages.iter().zip(sent.pieces()) {
        assert_eq!(message.subject, "t.Pressure");
        assert_eq!(
            message.headers,
            format!("NATS/1.0\r\nNats-Msg-Id: {}\r\n\r\n", record.id)
        );
        assert_eq!(message.payload.as_bytes(), &piece[..piece.len() - 1]);
    }
}

#[tokio::test]
async fn a_lost_connection_tells_what_was_taken() {
    let (port, heard) = server(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.welcome();
        let messages: Vec<_> = (0..3).map(|_| peer.message()).collect();
        peer.acknowledge(&messages[0]);
        peer.acknowledge(&messages[2]);
        drop(peer);
        let mut peer = Peer::accept(&listener);
        peer.welcome();
        let again = peer.message();
        peer.acknowledge(&again);
        (messages, again)
    });
    let mut sink = transport(&settings(port, NatsAuth::None));
    let answer = sink.deliver(&batch(&[1, 2, 3])).await;
    assert!(matches!(answer.outcome, Outcome::Retry { .. }));
    assert_eq!(answer.taken, 1);
    assert_eq!(
        sink.deliver(&batch(&[2, 3])).await.outcome,
        Outcome::Confirmed
    );
    let (messages, again) = heard.join().unwrap();
    assert_eq!(again.headers, messages[1].headers);
}

#[tokio::test]
async fn no_stream_needs_a_person() {
    let (port, heard) = server(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.welcome();
        let message = peer.message();
        peer.say(&format!(
            "HMSG {} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
            message.reply
        ));
    });
    let mut sink = transport(&settings(port, NatsAuth::None));
    let answer = sink.deliver(&batch(&[1])).await;
    assert!(
        matches!(&answer.outcome, Outcome::Broken { why } if why.contains("no stream takes the subject t.Pressure")),
        "{answer:?}"
    );
    heard.join().unwrap();
}

#[tokio::test]
async fn who_the_client_is_is_said_and_a_refusal_told() {
    let (port, heard) = server(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.say(&format!("{INFO}\r\n"));
        let connect = peer.line();
        peer.say("-ERR 'Authorization Violation'\r\n");
        connect
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "sesame\n").unwrap();
    let auth = NatsAuth::Password {
        user: "me".into(),
        password: Secret::File(path.clone()),
    };
    let mut sink = transport(&settings(port, auth.clone()));
    let answer = sink.deliver(&batch(&[1])).await;
    let why = "the server says: Authorization Violation".to_owned();
    assert_eq!(answer.outcome, Outcome::Broken { why });
    assert!(
        heard
            .join()
            .unwrap()
            .contains(r#""user":"me","pass":"sesame""#)
    );

    std::fs::remove_file(&path).unwrap();
    let (port, heard) = server(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.say(&format!("{INFO}\r\n"));
        peer.line()
    });
    let mut sink = transport(&settings(port, auth));
    let answer = sink.deliver(&batch(&[1])).await;
    assert!(
        matches!(answer.outcome, Outcome::Broken { .. }),
        "{answer:?}"
    );
    assert_eq!(
        heard.join().unwrap(),
        "",
        "nothing was said without the password"
    );
}

#[tokio::test]
async fn what_is_no_nats_server_is_told() {
    let (port, heard) = server(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let mut sink = transport(&settings(port, NatsAuth::None));
    let answer = sink.deliver(&batch(&[1])).await;
    assert!(
        matches!(&answer.outcome, Outcome::Retry { why, .. } if why.contains("no NATS server")),
        "{answer:?}"
    );
    heard.join().unwrap();
}
