//! A receiver that answers, fails and hangs on command.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A request as it came over the wire.
pub(crate) struct Request {
    pub(crate) connection: u64,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A receiver that answers each request with the next reply; `None` hangs, an empty one hangs up.
pub(crate) async fn receiver(
    replies: Vec<Option<&'static str>>,
) -> (SocketAddr, mpsc::Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, seen) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut replies = replies.into_iter();
        for connection in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some((head, body)) = read_request(&mut stream).await {
                let request = Request {
                    connection,
                    head,
                    body,
                };
                requests.send(request).await.unwrap();
                match replies.next().unwrap() {
                    None => std::future::pending().await,
                    Some("") => break,
                    Some(reply) => stream.write_all(reply.as_bytes()).await.unwrap(),
                }
            }
        }
    });
    (address, seen)
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = bytes.split_off(head_end);
    while body.len() < length {
        if stream.read_buf(&mut body).await.unwrap() == 0 {
            return None;
        }
    }
    Some((head, body))
}

/// A receiver that answers one request so and ends the connection.
pub(crate) async fn receiver_that_hangs_up(
    reply: &'static str,
) -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (done, seen) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(reply.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = done.send(()).await;
    });
    (address, seen)
}
