//! TCP ports of 127.0.0.1: the two that the documentation names, and free ones.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wall::wait_until;

/// The broker's port in the documented configuration.
pub const BROKER_PORT: u16 = 21_883;
/// The receiver's port in the documented configuration.
pub const RECEIVER_PORT: u16 = 28_080;

static FIXED: Mutex<()> = Mutex::new(());
static NEXT: AtomicU32 = AtomicU32::new(0);
/// The first port that is given.
const FIRST: u16 = 10_000;
/// How many are given to a process.
const PORTS: u32 = 10_000;

/// Who holds the two documented ports; one test at a time.
#[derive(Debug)]
pub struct FixedPorts {
    _held: MutexGuard<'static, ()>,
}

impl FixedPorts {
    /// Waits for the tests of this process that hold them, then for the ports to be free.
    pub fn hold() -> Self {
        // A test that failed with the ports in hand has released its sockets all the same.
        let held = FIXED.lock().unwrap_or_else(PoisonError::into_inner);
        for port in [BROKER_PORT, RECEIVER_PORT] {
            wait_until(
                &format!("port {port} to be free"),
                Duration::from_mins(1),
                || is_free(port),
            );
        }
        Self { _held: held }
    }
}

/// A port that nothing listens on, different from call to call. Below the range from which the
/// kernel takes ports for outgoing connections, so that it stays free until it is used.
pub fn free() -> u16 {
    loop {
        let taken = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = nth(std::process::id(), taken).unwrap_or_else(|| {
            panic!("this process was given every port from {FIRST} on, {PORTS} of them")
        });
        if is_free(port) {
            return port;
        }
    }
}

/// The port that a process looks at after so many others, each once: to look again at one that it
/// was given would knock at the server that it runs there.
fn nth(process: u32, taken: u32) -> Option<u16> {
    if taken >= PORTS {
        return None;
    }
    let offset = (process % 90 * 100 + taken) % PORTS;
    Some(FIRST + u16::try_from(offset).ok()?)
}

/// Whether nothing listens on a port. Asked by connecting, not by listening for a moment: a child
/// that another thread forks in that moment would hold the listening socket until its exec.
pub fn is_free(port: u16) -> bool {
    !answers(port)
}

/// Whether something accepts connections on a port.
pub fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Failed when the ports began anew after the last, and another test's server was knocked at.
    #[test]
    fn a_port_is_given_once() {
        for process in [0, 89, u32::MAX] {
            let given: BTreeSet<_> = (0..PORTS).filter_map(|taken| nth(process, taken)).collect();
            assert_eq!(given.len(), 10_000);
            assert_eq!(given.first().zip(given.last()), Some((&10_000, &19_999)));
            assert_eq!(nth(process, PORTS), None);
            assert_eq!(nth(process, u32::MAX), None);
        }
    }

    /// Failed when `free` looked at a port by listening on it.
    #[test]
    fn a_free_port_is_not_taken_by_a_child_forked_meanwhile() {
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    if enough.load(Ordering::Relaxed) {
                        break;
                    }
                    Command::new("true").status().unwrap();
                }
            });
            for _ in 0..1_000 {
                TcpListener::bind((Ipv4Addr::LOCALHOST, free())).unwrap();
            }
            enough.store(true, Ordering::Relaxed);
        });
    }
}
