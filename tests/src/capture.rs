//! Bytes on the loopback interface, to and from ports of 127.0.0.1, as tcpdump saw them.
//!
//! Payload is counted once, by TCP's sequence numbers: what was sent again counts as repeated.
//! Packets are those of loopback, which has no MTU of 1,500 bytes: one may hold 64 KiB. A capture
//! that lost a packet fails its test instead of counting less.

mod pcap;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ports;
use crate::process::Process;
use crate::servers::program;
use crate::wall::{wait_for, wait_until};

/// Longest wait for tcpdump to begin, to write what it saw, or to end.
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of a packet that are kept: its headers.
const SNAP_BYTES: usize = 128;
/// tcpdump's buffer in KiB: a pause of tcpdump is not to lose packets.
const BUFFER_KIB: usize = 64 * 1024;

/// What went over a port since a capture began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that were opened to it.
    pub connections: u64,
    /// Towards it.
    pub to: Way,
    /// From it.
    pub from: Way,
}

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way {
    /// TCP payload in bytes, each counted once: TLS included, if there is any.
    pub payload_bytes: u64,
    /// TCP payload in bytes that had been sent before.
    pub repeated_bytes: u64,
    /// Packets, those without payload too.
    pub packets: u64,
    /// Bytes of all packets with their IP and TCP headers, without link-layer ones.
    pub ip_bytes: u64,
    /// Packets that these would be where one holds at most 1,500 bytes.
    pub link_packets: u64,
    /// Acknowledgements that would come back for these, beyond one each: one for two packets.
    pub acks_left_out: u64,
    /// Options of TCP that only the opening of a connection has, in bytes.
    pub opening_bytes: u64,
}

impl Traffic {
    /// Bytes that this would be on a link with packets of at most 1,500 bytes, both ways, with their
    /// IPv4 and TCP headers. What was sent again on loopback counts once.
    pub fn as_on_a_link(&self) -> u64 {
        let ways = [self.to, self.from];
        let bytes = ways.map(|way| {
            let packets = way.link_packets + way.acks_left_out;
            way.payload_bytes + way.opening_bytes + packets * pcap::LINK_HEADERS
        });
        bytes.iter().sum()
    }
}

/// A running capture; gone with its guard.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    ports: Vec<u16>,
    /// A packet to this UDP port marks a moment in the capture.
    marker: u16,
    process: Process,
}

impl Capture {
    /// Begins to count for some ports, with a file in `dir`. Where capturing is not permitted (it
    /// takes root or the capability `CAP_NET_RAW`) the error is tcpdump's sentence about it: the
    /// caller says what it leaves out.
    pub fn start(dir: &Path, ports: &[u16]) -> Result<Self, String> {
        let file = dir.join(format!("capture-{}.pcap", ports::free()));
        let marker = ports::free();
        let mut filter = format!("(udp and dst port {marker})");
        for port in ports {
            let _ = write!(filter, " or (tcp and port {port})");
        }
        let mut command = Command::new(program("tcpdump"));
        command.args(["-i", "lo", "-n", "-U", "--immediate-mode"]);
        command.args(["-s", &SNAP_BYTES.to_string(), "-B", &BUFFER_KIB.to_string()]);
        if rustix::process::geteuid().is_root() {
            // Otherwise it becomes a user who may not write here.
            command.args(["-Z", "root"]);
        }
        command.arg("-w").arg(&file).arg(filter);
        let own = tempfile::tempdir_in(dir).expect("the test's folder takes another one");
        let mut process = Process::start("tcpdump", &mut command, &own.keep());
        let begun = wait_for("tcpdump to listen", LIMIT, || {
            // The end is looked at first: what it wrote before is read then.
            let ended = process.ended().is_some();
            let said = process.err_text();
            if said.contains("listening on") {
                return Some(Ok(()));
            }
            ended.then_some(Err(said))
        });
        if let Err(said) = begun {
            let said = said.trim().to_owned();
            let refused = ["ermission", "not permitted"];
            assert!(
                refused.iter().any(|word| said.contains(word)),
                "tcpdump: {said}"
            );
            return Err(said);
        }
        Ok(Self {
            file,
            ports: ports.to_vec(),
            marker,
            process,
        })
    }

    /// Ends it and says what was counted until now, for each port.
    pub fn finish(mut self) -> BTreeMap<u16, Traffic> {
        // What tcpdump had not yet read when told to stop would be lost, so a packet is sent behind
        // everything, and waited for.
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(b"end", (Ipv4Addr::LOCALHOST, self.marker)))
            .expect("a datagram to 127.0.0.1 can be sent");
        let mut bytes = Vec::new();
        wait_until("tcpdump to write what it saw", LIMIT, || {
            bytes = fs::read(&self.file).unwrap_or_default();
            pcap::marked(&bytes, self.marker)
        });
        self.process.stop(LIMIT);
        let said = self.process.err_text();
        assert!(
            said.contains("\n0 packets dropped by kernel"),
            "tcpdump lost packets, so what it counted is too little: {said}"
        );
        pcap::count(&bytes, &self.ports)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;
    use crate::report::say;

    /// Opens a connection to `port` for each transfer, sends so many bytes and gets so many.
    fn transfer(port: u16, transfers: &'static [(usize, usize)]) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let server = thread::spawn(move || {
            for (there, back) in transfers {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut vec![0; *there]).unwrap();
                stream.write_all(&vec![2; *back]).unwrap();
            }
        });
        for (there, back) in transfers {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            client.write_all(&vec![1; *there]).unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            assert_eq!(received.len(), *back);
        }
        server.join().unwrap();
    }

    #[test]
    fn a_known_transfer_is_counted_to_the_byte() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, other] = [ports::free(), ports::free(), ports::free()];
        let capture = match Capture::start(dir.path(), &[one, two]) {
            Ok(capture) => capture,
            Err(why) => return say(&format!("capture: self-test left out: {why}")),
        };
        transfer(one, &[(3_000_000, 10), (17, 0)]);
        transfer(other, &[(1_000, 1_000)]);
        transfer(two, &[(1, 200_000)]);
        let counted = capture.finish();
        assert_eq!(counted.len(), 2);
        let (one, two) = (counted[&one], counted[&two]);
        assert_eq!((one.connections, two.connections), (2, 1));
        assert_eq!(
            (one.to.payload_bytes, one.from.payload_bytes),
            (3_000_017, 10)
        );
        assert_eq!((two.to.payload_bytes, two.from.payload_bytes), (1, 200_000));
        for way in [one.to, one.from, two.to, two.from] {
            assert!(way.packets >= 4);
            let headers = way.ip_bytes - way.payload_bytes - way.repeated_bytes;
            let each = headers / way.packets;
            assert!(
                (40..=60).contains(&each),
                "{each} bytes of headers a packet"
            );
        }
    }
}
