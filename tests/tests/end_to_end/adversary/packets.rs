//! MQTT 5 by hand: packets that no library would send, and a client that reads what comes of them.

use std::io::{self, Read, Write};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tidegate_tests::connection::Connection;

/// Messages on their way at once: the broker grants more.
const IN_FLIGHT: usize = 500;

const CONNACK: u8 = 0x20;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;

/// What a client says of itself.
#[derive(Debug, Clone, Default)]
pub struct Connect {
    /// Client id.
    pub id: String,
    /// User and password.
    pub login: Option<(String, String)>,
    /// Topic and payload of the will.
    pub will: Option<(String, Vec<u8>)>,
}

impl Connect {
    /// Its packet.
    pub fn packet(&self) -> Vec<u8> {
        let mut flags = 0x02;
        let mut rest = text(&self.id);
        if let Some((topic, payload)) = &self.will {
            // QoS 1.
            flags |= 0x04 | 0x08;
            rest.push(0);
            rest.extend(text(topic));
            rest.extend(binary(payload));
        }
        if let Some((user, password)) = &self.login {
            flags |= 0x80 | 0x40;
            rest.extend(text(user));
            rest.extend(text(password));
        }
        let mut body = b"\x00\x04MQTT\x05".to_vec();
        body.extend([flags, 0, 60, 0]);
        body.extend(rest);
        packet(0x10, &body)
    }
}

/// PUBLISH; without a number as QoS 0.
pub fn publish(topic: &str, number: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(number.into_iter().flat_map(u16::to_be_bytes));
    body.push(0);
    body.extend(payload);
    packet(if number.is_some() { 0x32 } else { 0x30 }, &body)
}

/// SUBSCRIBE to one filter with these options: the highest QoS, as a rule.
pub fn subscribe(filter: &str, options: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    body.extend(text(filter));
    body.push(options);
    packet(0x82, &body)
}

/// A packet with the right length.
pub fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![head];
    let mut left = body.len();
    loop {
        let more = if left > 0x7f { 0x80 } else { 0 };
        packet.push((left & 0x7f) as u8 | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("MQTT's strings have at most 65,535 bytes");
    [&length.to_be_bytes(), bytes].concat()
}

/// A client's connection.
pub struct Client {
    stream: Connection,
    /// Payloads that came by PUBLISH and were not looked at yet.
    heard: Vec<Vec<u8>>,
}

impl Client {
    /// TCP alone.
    pub fn open(port: u16) -> io::Result<Self> {
        Connection::open(port).map(Self::over)
    }

    /// Over what stands.
    pub fn over(stream: Connection) -> Self {
        let heard = Vec::new();
        Self { stream, heard }
    }

    /// Connects; the reason code with which it is refused, or none where the connection is closed.
    pub fn connect(port: u16, connect: &Connect) -> Result<Self, Option<u8>> {
        Self::open(port).map_err(|_| None)?.greet(connect)
    }

    /// As [`Self::connect`], where TCP or TLS stands already.
    pub fn greet(mut self, connect: &Connect) -> Result<Self, Option<u8>> {
        self.send(&connect.packet()).map_err(|_| None)?;
        match self.answer(CONNACK).map_err(|_| None)?.get(1) {
            Some(0) => Ok(self),
            code => Err(code.copied()),
        }
    }

    /// The least that the kernel keeps for a reader who does not read.
    pub fn narrow(&self) {
        if let Connection::Plain(stream) = &self.stream {
            set_socket_recv_buffer_size(stream, 4_096).expect("a socket has a buffer");
        }
    }

    /// Writes bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Publishes by QoS 1; the reason code of each.
    pub fn publish(&mut self, topic: &str, payloads: &[Vec<u8>]) -> io::Result<Vec<u8>> {
        let mut codes = Vec::new();
        for some in payloads.chunks(IN_FLIGHT) {
            for (number, payload) in (1..).zip(some) {
                self.send(&publish(topic, Some(number), payload))?;
            }
            for _ in some {
                let ack = self.answer(PUBACK)?;
                codes.push(ack.get(2).copied().unwrap_or(0));
            }
        }
        Ok(codes)
    }

    /// Subscribes; the reason code.
    pub fn subscribe(&mut self, filter: &str) -> io::Result<u8> {
        self.send(&subscribe(filter, 1))?;
        let ack = self.answer(SUBACK)?;
        ack.last().copied().ok_or(io::ErrorKind::InvalidData.into())
    }

    /// The next payload that a subscription brought.
    pub fn hear(&mut self) -> io::Result<Vec<u8>> {
        while self.heard.is_empty() {
            let (head, body) = self.read()?;
            self.keep(head, &body)?;
        }
        Ok(self.heard.remove(0))
    }

    /// Reads until the broker closes the connection; fails when it does not.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = [0; 4_096];
        loop {
            match self.stream.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    );
                }
            }
        }
    }

    /// The body of the next packet of a kind.
    fn answer(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        loop {
            let (head, body) = self.read()?;
            if head & 0xf0 == kind {
                return Ok(body);
            }
            self.keep(head, &body)?;
        }
    }

    fn keep(&mut self, head: u8, body: &[u8]) -> io::Result<()> {
        if head & 0xf0 != 0x30 {
            return Ok(());
        }
        let payload = payload(head, body).ok_or(io::ErrorKind::InvalidData)?;
        self.heard.push(payload.to_vec());
        if let (0x02, Some(number)) = (head & 0x06, number(body)) {
            self.send(&packet(PUBACK, number))?;
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let head = self.byte()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((head, body))
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

/// Where a PUBLISH's topic ends.
fn behind_topic(body: &[u8]) -> Option<&[u8]> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}

fn number(body: &[u8]) -> Option<&[u8]> {
    behind_topic(body)?.get(..2)
}

fn payload(head: u8, body: &[u8]) -> Option<&[u8]> {
    let numbered = if head & 0x06 == 0 { 0 } else { 2 };
    let (properties, rest) = behind_topic(body)?.get(numbered..)?.split_first()?;
    rest.get(usize::from(*properties)..)
}
