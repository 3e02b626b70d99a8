//! A TCP proxy that stands for a link, and can be cut as a link is: what is sent vanishes, nobody
//! is told, and only when the link is back do both ends learn that their connection is dead.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// A link from `port` to another port of 127.0.0.1.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    link: Arc<Link>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Link {
    target: u16,
    cut: AtomicBool,
    stopped: AtomicBool,
    /// Connections made so far.
    made: AtomicU64,
    /// Bytes that vanished.
    swallowed: AtomicU64,
    ends: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Opens a link from `port` to `target`.
    pub fn start(port: u16, target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("the proxy cannot listen on {port}: {error}"));
        let link = Arc::new(Link {
            target,
            ..Link::default()
        });
        let accepting = Arc::clone(&link);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    Link::connect(&accepting, stream);
                }
            }
        });
        Self {
            port,
            link,
            acceptor: Some(acceptor),
        }
    }

    /// Cuts the link: bytes vanish in both directions, new connections are closed at once.
    pub fn cut(&self) {
        self.link.cut.store(true, Ordering::SeqCst);
    }

    /// Mends the link: connections from before the cut break, new ones work.
    pub fn mend(&self) {
        self.link.close_all();
        self.link.cut.store(false, Ordering::SeqCst);
    }

    /// Connections made so far.
    pub fn connections(&self) -> u64 {
        self.link.made.load(Ordering::SeqCst)
    }

    /// Bytes that vanished so far.
    pub fn swallowed(&self) -> u64 {
        self.link.swallowed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.stopped.store(true, Ordering::SeqCst);
        self.link.close_all();
        // Wakes the acceptor, which then sees that it is to stop.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Link {
    fn connect(link: &Arc<Self>, near: TcpStream) {
        if link.cut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, link.target)) else {
            return;
        };
        // Two directions, each with a clone to read from and one to write to.
        let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else {
            return;
        };
        let _ = near.set_nodelay(true);
        let _ = far.set_nodelay(true);
        link.made.fetch_add(1, Ordering::SeqCst);
        link.lock_ends().extend(
            [&near, &far]
                .into_iter()
                .filter_map(|end| end.try_clone().ok()),
        );
        for (from, to) in [(near, far), (far_again, near_again)] {
            let link = Arc::clone(link);
            thread::spawn(move || link.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if self.cut.load(Ordering::SeqCst) {
                self.swallowed.fetch_add(count as u64, Ordering::SeqCst);
            } else if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // A cut link carries no goodbye either: the other end stays open until it is mended.
        if !self.cut.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        }
    }

    fn close_all(&self) {
        for end in self.lock_ends().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn lock_ends(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports;
    use crate::wall::wait_until;
    use std::time::Duration;

    fn echo_server() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..count]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        port
    }

    #[test]
    fn a_cut_swallows_and_a_mend_breaks_what_was_open() {
        let proxy = Proxy::start(ports::free(), echo_server());
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        let mut buffer = [0; 4];

        let mut open = connect();
        open.write_all(b"here").unwrap();
        open.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"here");

        proxy.cut();
        open.write_all(b"lost").unwrap();
        wait_until("the bytes to vanish", Duration::from_secs(5), || {
            proxy.swallowed() == 4
        });
        assert_eq!(connect().read(&mut buffer).unwrap_or(0), 0);

        proxy.mend();
        assert_eq!(open.read(&mut buffer).unwrap_or(0), 0);
        let mut again = connect();
        again.write_all(b"back").unwrap();
        again.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"back");
        assert_eq!(proxy.connections(), 2);
    }
}
