//! TCP ports of 127.0.0.1: the two that the documentation names, and free ones.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wall::wait_until;

/// The broker's port in the documented configuration.
pub const BROKER_PORT: u16 = 21_883;
/// The receiver's port in the documented configuration.
pub const RECEIVER_PORT: u16 = 28_080;

static FIXED: Mutex<()> = Mutex::new(());
static NEXT: AtomicU16 = AtomicU16::new(0);

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
    let offset = u16::try_from(std::process::id() % 90).unwrap_or(0) * 100;
    for _ in 0..10_000 {
        let port = 10_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port between 10000 and 20000 on 127.0.0.1");
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
    use std::net::TcpListener;
    use std::process::Command;

    use super::*;

    /// Failed when `free` looked at a port by listening on it.
    #[test]
    fn a_free_port_is_not_taken_by_a_child_forked_meanwhile() {
        let forking = std::thread::spawn(|| {
            for _ in 0..100 {
                Command::new("true").status().unwrap();
            }
        });
        while !forking.is_finished() {
            let port = free();
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
        forking.join().unwrap();
    }
}
