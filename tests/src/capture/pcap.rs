//! Files of captured packets (pcap, Ethernet frames with IPv4), as far as counting needs them.
//!
//! ```text
//! file    24 bytes of header, then packets
//! packet  seconds u32, fraction u32, bytes kept u32, bytes on the wire u32, bytes kept
//! frame   14 bytes of Ethernet, IPv4 header, TCP or UDP header, payload
//! ```
//! Numbers of the file are in the machine's order, those of packets big-endian.

use std::collections::BTreeMap;

use super::{Traffic, Way};

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
const ETHERNET_HEADER: usize = 14;
/// Seconds with microseconds, in the machine's own order.
const MAGIC: u32 = 0xA1B2_C3D4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// TCP payload of a packet of 1,500 bytes, with timestamps.
const SEGMENT_BYTES_MAX: usize = 1_448;
/// IPv4 and TCP with timestamps.
pub(super) const LINK_HEADERS: u64 = 52;

/// A TCP or UDP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packet {
    protocol: u8,
    from: u16,
    to: u16,
    ip_bytes: usize,
    payload_bytes: usize,
    sequence: u32,
    flags: u8,
}

/// Whether a file holds a UDP packet to a port.
pub(super) fn marked(file: &[u8], port: u16) -> bool {
    packets(file).any(|packet| packet.protocol == UDP && packet.to == port)
}

/// What went over each of some ports.
pub(super) fn count(file: &[u8], ports: &[u16]) -> BTreeMap<u16, Traffic> {
    let mut counted: BTreeMap<u16, Traffic> = ports
        .iter()
        .map(|port| (*port, Traffic::default()))
        .collect();
    // The sequence number that comes next, from port to port.
    let mut next: BTreeMap<(u16, u16), u32> = BTreeMap::new();
    for packet in packets(file).filter(|packet| packet.protocol == TCP) {
        let fresh = fresh(&packet, &mut next);
        if let Some(traffic) = counted.get_mut(&packet.to) {
            add(&mut traffic.to, &packet, fresh);
            traffic.connections += u64::from(packet.flags & (SYN | ACK) == SYN);
        }
        if let Some(traffic) = counted.get_mut(&packet.from) {
            add(&mut traffic.from, &packet, fresh);
        }
    }
    counted
}

fn add(way: &mut Way, packet: &Packet, fresh: usize) {
    let segments = packet.payload_bytes.div_ceil(SEGMENT_BYTES_MAX) as u64;
    way.packets += 1;
    // Loopback acknowledges a large packet once, a link every second segment.
    way.link_packets += segments.max(1);
    way.acks_left_out += segments.div_ceil(2).saturating_sub(1);
    way.opening_bytes += if packet.flags & SYN == 0 {
        0
    } else {
        ((packet.ip_bytes - packet.payload_bytes) as u64).saturating_sub(LINK_HEADERS)
    };
    way.ip_bytes += packet.ip_bytes as u64;
    way.payload_bytes += fresh as u64;
    way.repeated_bytes += (packet.payload_bytes - fresh) as u64;
}

/// How much of a packet's payload is new, as loopback keeps the order.
fn fresh(packet: &Packet, next: &mut BTreeMap<(u16, u16), u32>) -> usize {
    if packet.flags & SYN != 0 {
        // A new connection; the SYN itself has a sequence number. Payload with it is not sent here.
        next.insert((packet.from, packet.to), packet.sequence.wrapping_add(1));
        return 0;
    }
    let next = next
        .entry((packet.from, packet.to))
        .or_insert(packet.sequence);
    let end = packet.sequence.wrapping_add(packet.payload_bytes as u32);
    // Sequence numbers wrap: an end behind `next` by less than 2 GiB is not ahead of it.
    let ahead = end.wrapping_sub(*next) as i32;
    if ahead <= 0 {
        return 0;
    }
    *next = end;
    packet.payload_bytes.min(ahead as usize)
}

/// The packets of a file, up to one that is not yet wholly written.
fn packets(file: &[u8]) -> impl Iterator<Item = Packet> {
    let known = file
        .get(..4)
        .is_none_or(|magic| magic == MAGIC.to_ne_bytes());
    assert!(known, "not a pcap file of this machine");
    let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
    let frames = std::iter::from_fn(move || {
        let kept = u32::from_ne_bytes(rest.get(8..12)?.try_into().ok()?) as usize;
        let whole = u32::from_ne_bytes(rest.get(12..16)?.try_into().ok()?) as usize;
        let frame = rest.get(PACKET_HEADER..PACKET_HEADER + kept)?;
        rest = &rest[PACKET_HEADER + kept..];
        Some((frame, whole))
    });
    frames.filter_map(|(frame, whole)| packet(frame.get(ETHERNET_HEADER..)?, whole))
}

/// Reads IPv4 with TCP or UDP; `whole` is the frame's length on the wire.
fn packet(ip: &[u8], whole: usize) -> Option<Packet> {
    let short =
        |bytes: &[u8], at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    if ip.first()? >> 4 != 4 {
        return None;
    }
    let ip_header = usize::from(ip.first()? & 0x0F) * 4;
    let ip_bytes = match short(ip, 2)? {
        // A packet that the kernel would still cut says no length.
        0 => whole.checked_sub(ETHERNET_HEADER)?,
        length => usize::from(length),
    };
    let protocol = *ip.get(9)?;
    let inner = ip.get(ip_header..)?;
    let (header, sequence, flags) = match protocol {
        TCP => {
            let sequence = u32::from_be_bytes(inner.get(4..8)?.try_into().ok()?);
            (
                usize::from(inner.get(12)? >> 4) * 4,
                sequence,
                *inner.get(13)?,
            )
        }
        UDP => (8, 0, 0),
        _ => return None,
    };
    Some(Packet {
        protocol,
        from: short(inner, 0)?,
        to: short(inner, 2)?,
        ip_bytes,
        payload_bytes: ip_bytes.checked_sub(ip_header + header)?,
        sequence,
        flags,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of TCP packets: from, to, sequence, flags, bytes of payload.
    fn file(packets: &[(u16, u16, u32, u8, u16)]) -> Vec<u8> {
        let mut file = MAGIC.to_ne_bytes().to_vec();
        file.resize(FILE_HEADER, 0);
        for &(from, to, sequence, flags, payload) in packets {
            let mut frame = vec![0; ETHERNET_HEADER];
            frame.extend([0x45, 0]);
            frame.extend((40 + payload).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, TCP, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
            frame.extend(from.to_be_bytes());
            frame.extend(to.to_be_bytes());
            frame.extend(sequence.to_be_bytes());
            frame.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
            file.extend([0; 8]);
            file.extend((frame.len() as u32).to_ne_bytes());
            file.extend((frame.len() as u32 + u32::from(payload)).to_ne_bytes());
            file.extend(frame);
        }
        file
    }

    #[test]
    fn what_is_sent_again_is_counted_once() {
        let file = file(&[
            (5, 80, 0xFFFF_FFFE, SYN, 0),
            (80, 5, 100, SYN | ACK, 0),
            (5, 80, 0xFFFF_FFFF, ACK, 100),
            (5, 80, 0xFFFF_FFFF, ACK, 100),
            // Half of it is new.
            (5, 80, 49, ACK, 100),
            // A question whether the other end lives repeats the last byte.
            (5, 80, 148, ACK, 1),
            (80, 5, 101, ACK, 7),
            // The same ports again, another connection.
            (5, 80, 7_000, SYN, 0),
            (5, 80, 7_001, ACK, 3),
            (6, 81, 1, ACK, 1_000),
        ]);
        let counted = count(&file, &[80]);
        let traffic = counted[&80];
        assert_eq!(traffic.connections, 2);
        assert_eq!(traffic.to.payload_bytes, 100 + 50 + 3);
        assert_eq!(traffic.to.repeated_bytes, 100 + 50 + 1);
        assert_eq!(traffic.to.packets, 7);
        assert_eq!(traffic.to.ip_bytes, 7 * 40 + 304);
        assert_eq!((traffic.from.payload_bytes, traffic.from.packets), (7, 2));
    }

    #[test]
    fn large_packets_are_counted_as_those_of_a_link() {
        let file = file(&[(5, 80, 1, ACK, 10_000), (80, 5, 1, ACK, 0)]);
        let traffic = count(&file, &[80])[&80];
        // 7 packets there; 4 acknowledgements back, of which the file has one.
        assert_eq!(traffic.as_on_a_link(), 10_000 + (7 + 4) * 52);
    }

    #[test]
    fn a_packet_half_written_is_not_yet_there() {
        let file = file(&[(5, 80, 1, ACK, 1), (5, 80, 2, ACK, 1)]);
        for end in 0..file.len() {
            let expected = usize::from(end >= file.len() / 2 + FILE_HEADER / 2);
            assert_eq!(packets(&file[..end]).count(), expected, "{end}");
        }
        assert_eq!(packets(&file).count(), 2);
    }
}
