//! Taking: a stream whose other end has to take what is written to it, in time.
//!
//! What is written waits in the system's buffer until the other end takes it. While nothing more
//! fits, a timer runs; each byte that fits again stops it. A longer one runs from the first byte
//! until nothing is left to be taken: a few bytes now and then do not hold an answer for ever. So
//! an answer has that long, and so has each event of a stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::counts::{Counters, count};

/// A stream that ends when its other end takes nothing for too long.
#[derive(Debug)]
pub(super) struct Taking<T> {
    inner: T,
    most: Duration,
    whole: Duration,
    /// Runs while something waits to be taken.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Runs until all that was written is taken.
    writing: Option<Pin<Box<Sleep>>>,
    counters: Arc<Counters>,
}

impl<T> Taking<T> {
    /// At `most` without a byte taken, and no more than `whole` with something left to be taken.
    pub(super) fn new(inner: T, most: Duration, whole: Duration, counters: Arc<Counters>) -> Self {
        Self {
            inner,
            most,
            whole,
            waiting: None,
            writing: None,
            counters,
        }
    }

    /// Something is written.
    fn begin(&mut self) {
        let whole = self.whole;
        self.writing.get_or_insert_with(|| Box::pin(sleep(whole)));
    }

    /// Passes on what the stream said, unless it has been waiting for too long.
    fn watched<R>(
        &mut self,
        context: &mut Context<'_>,
        said: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if said.is_ready() {
            self.waiting = None;
            return said;
        }
        let most = self.most;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(most)));
        let writing = self.writing.as_mut();
        let is_over = writing.is_some_and(|writing| writing.as_mut().poll(context).is_ready());
        if !is_over {
            ready!(waiting.as_mut().poll(context));
        }
        self.waiting = None;
        count(&self.counters.slow);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Taking<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Taking<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let said = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watched(context, said)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let said = Pin::new(&mut self.inner).poll_write_vectored(context, parts);
        self.watched(context, said)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for when all that there is was written.
        let said = Pin::new(&mut self.inner).poll_flush(context);
        if said.is_ready() {
            self.writing = None;
        }
        self.watched(context, said)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watched(context, said)
    }
}
