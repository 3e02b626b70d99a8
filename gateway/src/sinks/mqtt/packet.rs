//! MQTT packets of a client that publishes, in both versions: 3.1.1 and 5.
//!
//! The two differ in a block of properties behind the variable header, and in what an
//! acknowledgement says, so one writer does for both. Packets are written whole and read whole;
//! reason codes that no specification names are numbers all the same, never a broken connection.
//! The tests hold every packet against the codec of `rumqttc`.
//!
//! ```text
//! packet = type and flags u8 | remaining length varint | variable header | payload
//! v5 properties = length varint | (identifier u8 | value)*
//! text = length u16 | bytes; integers are big-endian
//! ```

use crate::rules::settings::MqttVersion;

/// Largest remaining length that the format can say.
pub const REMAINING_BYTES_MAX: usize = 268_435_455;
/// Keeps a silent connection alive.
pub const PINGREQ: [u8; 2] = [0xc0, 0];
/// Says goodbye: no will is sent.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// What a connection begins with.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// Client's name.
    pub client_id: &'a str,
    /// Longest silence, in seconds.
    pub keep_alive_s: u16,
    /// User and password.
    pub credentials: Option<(&'a str, &'a str)>,
    /// What the broker sends when the connection is lost, at `QoS` 1, not retained.
    pub will: Option<(&'a str, &'a [u8])>,
    /// Largest packet that is read, in bytes; told in version 5.
    pub packet_bytes_max: u32,
}

/// A message to send.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// Packet id: `QoS` 1; none: `QoS` 0.
    pub id: Option<u16>,
    /// Whether the broker keeps it for later subscribers.
    pub is_retained: bool,
}

/// A packet from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// Answer to CONNECT.
    ConnAck {
        /// 0: accepted.
        code: u8,
        /// What it says further.
        properties: Properties,
    },
    /// A message.
    Message {
        /// Topic.
        topic: String,
        /// Payload.
        payload: Vec<u8>,
        /// Whether it was kept from before the subscription.
        is_retained: bool,
        /// Packet id, where it wants an acknowledgement.
        id: Option<u16>,
    },
    /// A message was taken, or refused.
    PubAck {
        /// Packet id.
        id: u16,
        /// 0 and 16: taken. Always 0 in 3.1.1.
        code: u8,
        /// What the broker says further.
        words: Option<String>,
    },
    /// A subscription was granted, or refused.
    SubAck {
        /// Packet id.
        id: u16,
        /// Below 128: granted.
        code: u8,
        /// What the broker says further.
        words: Option<String>,
    },
    /// A subscription ended.
    UnsubAck {
        /// Packet id.
        id: u16,
    },
    /// Answer to PINGREQ.
    PingResp,
    /// The broker closes the connection; version 5 only.
    Disconnect {
        /// Why.
        code: u8,
        /// What the broker says further.
        words: Option<String>,
    },
}

/// Those properties of version 5 that a publisher heeds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Properties {
    /// Messages that may be unacknowledged.
    pub receive_max: Option<u16>,
    /// Largest packet that the broker takes, in bytes.
    pub packet_bytes_max: Option<u32>,
    /// Highest quality of service.
    pub qos_max: Option<u8>,
    /// Whether it keeps messages.
    pub retain_available: Option<bool>,
    /// Keep-alive to use instead of the one asked for, in seconds.
    pub keep_alive_s: Option<u16>,
    /// Another server to use.
    pub server_reference: Option<String>,
    /// Reason in words.
    pub words: Option<String>,
}

/// Why what arrived is not MQTT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Longer than what is read.
    #[error("a packet of {bytes} bytes arrived; at most {bytes_max} are read")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The most that is read.
        bytes_max: usize,
    },
    /// Not a packet that a broker sends, or one with a torn inside.
    #[error("a packet of type {kind} cannot be read: this is no MQTT broker of that version")]
    Malformed {
        /// Upper four bits of its first byte.
        kind: u8,
    },
}

/// Writes CONNECT: clean session, no session kept.
pub fn connect(version: MqttVersion, connect: &Connect<'_>, into: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(64);
    text("MQTT", &mut body);
    body.push(match version {
        MqttVersion::V311 => 4,
        MqttVersion::V5 => 5,
    });
    let mut flags = 0b0000_0010;
    if connect.will.is_some() {
        flags |= 0b0000_1100;
    }
    if connect.credentials.is_some() {
        flags |= 0b1100_0000;
    }
    body.push(flags);
    body.extend(connect.keep_alive_s.to_be_bytes());
    if version == MqttVersion::V5 {
        varint(5, &mut body);
        body.push(0x27);
        body.extend(connect.packet_bytes_max.to_be_bytes());
    }
    text(connect.client_id, &mut body);
    if let Some((topic, payload)) = connect.will {
        no_properties(version, &mut body);
        text(topic, &mut body);
        bytes(payload, &mut body);
    }
    if let Some((user, password)) = connect.credentials {
        text(user, &mut body);
        text(password, &mut body);
    }
    packet(0x10, &body, into);
}

/// Bytes of a PUBLISH as written.
pub fn publish_bytes(version: MqttVersion, publish: &Publish<'_>) -> usize {
    let remaining = publish_remaining(version, publish);
    1 + varint_bytes(remaining) + remaining
}

/// Writes PUBLISH.
pub fn publish(version: MqttVersion, publish: &Publish<'_>, into: &mut Vec<u8>) {
    let qos = u8::from(publish.id.is_some()) << 1;
    into.push(0x30 | qos | u8::from(publish.is_retained));
    varint(publish_remaining(version, publish), into);
    text(publish.topic, into);
    if let Some(id) = publish.id {
        into.extend(id.to_be_bytes());
    }
    no_properties(version, into);
    into.extend_from_slice(publish.payload);
}

fn publish_remaining(version: MqttVersion, publish: &Publish<'_>) -> usize {
    let id = if publish.id.is_some() { 2 } else { 0 };
    let properties = usize::from(version == MqttVersion::V5);
    2 + publish.topic.len() + id + properties + publish.payload.len()
}

/// Writes SUBSCRIBE for one filter.
pub fn subscribe(version: MqttVersion, id: u16, filter: &str, qos: u8, into: &mut Vec<u8>) {
    let mut body = id.to_be_bytes().to_vec();
    no_properties(version, &mut body);
    text(filter, &mut body);
    body.push(qos);
    packet(0x82, &body, into);
}

/// Writes UNSUBSCRIBE for one filter.
pub fn unsubscribe(version: MqttVersion, id: u16, filter: &str, into: &mut Vec<u8>) {
    let mut body = id.to_be_bytes().to_vec();
    no_properties(version, &mut body);
    text(filter, &mut body);
    packet(0xa2, &body, into);
}

/// Writes PUBACK.
pub fn puback(id: u16, into: &mut Vec<u8>) {
    packet(0x40, &id.to_be_bytes(), into);
}

fn packet(head: u8, body: &[u8], into: &mut Vec<u8>) {
    into.push(head);
    varint(body.len(), into);
    into.extend_from_slice(body);
}

fn no_properties(version: MqttVersion, into: &mut Vec<u8>) {
    if version == MqttVersion::V5 {
        into.push(0);
    }
}

fn text(text: &str, into: &mut Vec<u8>) {
    bytes(text.as_bytes(), into);
}

/// Writes bytes behind their length; what a length cannot say is cut off.
fn bytes(bytes: &[u8], into: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    into.extend(length.to_be_bytes());
    into.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
}

fn varint(mut number: usize, into: &mut Vec<u8>) {
    while number > 0x7f {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn varint_bytes(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Takes the first packet off the front of what arrived; none while it is not whole. What this
/// client has no use for is [`PacketError::Malformed`]: a broker does not send it.
pub fn take(
    version: MqttVersion,
    input: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<Option<Arrived>, PacketError> {
    let Some(&head) = input.first() else {
        return Ok(None);
    };
    let malformed = PacketError::Malformed { kind: head >> 4 };
    let mut reader = Reader(input.get(1..).unwrap_or(&[]));
    let Some(remaining) = reader.varint() else {
        // Four bytes without an end are no length.
        return if input.len() > 4 {
            Err(malformed)
        } else {
            Ok(None)
        };
    };
    let begin = input.len() - reader.0.len();
    let bytes = begin + remaining;
    if bytes > bytes_max {
        return Err(PacketError::TooLong { bytes, bytes_max });
    }
    let Some(body) = input.get(begin..bytes) else {
        return Ok(None);
    };
    let arrived = arrived(version, head, body).ok_or(malformed)?;
    input.drain(..bytes);
    Ok(Some(arrived))
}

fn arrived(version: MqttVersion, head: u8, body: &[u8]) -> Option<Arrived> {
    let mut reader = Reader(body);
    Some(match head >> 4 {
        2 => {
            let _session_present = reader.u8()?;
            let code = reader.u8()?;
            Arrived::ConnAck {
                code,
                properties: reader.properties(version)?,
            }
        }
        3 => {
            let topic = reader.text()?;
            let id = if head & 0b110 == 0 {
                None
            } else {
                Some(reader.u16()?)
            };
            reader.properties(version)?;
            Arrived::Message {
                topic,
                payload: reader.0.to_vec(),
                is_retained: head & 1 == 1,
                id,
            }
        }
        4 => {
            let id = reader.u16()?;
            let (code, words) = reader.reason(version)?;
            Arrived::PubAck { id, code, words }
        }
        9 => {
            let id = reader.u16()?;
            let words = reader.properties(version)?.words;
            let code = reader.u8()?;
            Arrived::SubAck { id, code, words }
        }
        11 => Arrived::UnsubAck { id: reader.u16()? },
        13 => Arrived::PingResp,
        14 => {
            let (code, words) = reader.reason(version)?;
            Arrived::Disconnect { code, words }
        }
        _ => return None,
    })
}

/// Reads from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    fn text(&mut self) -> Option<String> {
        let bytes = self.binary()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A reason code and its words; 0 where they are left out.
    fn reason(&mut self, version: MqttVersion) -> Option<(u8, Option<String>)> {
        if self.0.is_empty() {
            return Some((0, None));
        }
        let code = self.u8()?;
        Some((code, self.properties(version)?.words))
    }

    /// The properties; none in 3.1.1, and where a broker of 3.1.1 answers a client of 5.
    fn properties(&mut self, version: MqttVersion) -> Option<Properties> {
        let mut found = Properties::default();
        if version == MqttVersion::V311 || self.0.is_empty() {
            return Some(found);
        }
        let length = self.varint()?;
        let mut inside = Reader(self.bytes(length)?);
        while !inside.0.is_empty() {
            inside.property(&mut found)?;
        }
        Some(found)
    }

    fn property(&mut self, found: &mut Properties) -> Option<()> {
        match self.u8()? {
            0x13 => found.keep_alive_s = Some(self.u16()?),
            0x1c => found.server_reference = Some(self.text()?),
            0x1f => found.words = Some(self.text()?),
            0x21 => found.receive_max = Some(self.u16()?),
            0x24 => found.qos_max = Some(self.u8()?),
            0x25 => found.retain_available = Some(self.u8()? != 0),
            0x27 => found.packet_bytes_max = Some(self.u32()?),
            0x01 | 0x17 | 0x19 | 0x28..=0x2a => _ = self.u8()?,
            0x22 | 0x23 => _ = self.u16()?,
            0x02 | 0x11 | 0x18 => _ = self.u32()?,
            0x0b => _ = self.varint()?,
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a => _ = self.binary()?,
            0x26 => {
                self.binary()?;
                self.binary()?;
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
