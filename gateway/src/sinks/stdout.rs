//! The sink on standard output: lines, whole and flushed before a batch counts as confirmed.
//!
//! What reads them is a pipe, a terminal or a journal; whether it keeps them is beyond what the
//! gateway can know. A batch that fails is written again whole, so lines may come twice there,
//! with the same ids.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use super::batch::Batch;
use super::delivery::{Answer, Outcome};
use super::transport::{Attempt, Transport};

/// Carries batches to standard output, on a thread that may block.
#[derive(Debug, Default)]
pub struct StdoutTransport;

impl Transport for StdoutTransport {
    fn deliver<'a>(&'a mut self, batch: &'a Arc<Batch>) -> Attempt<'a> {
        let batch = Arc::clone(batch);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || write(&mut io::stdout().lock(), &batch.body))
                .await
                .unwrap_or_else(|broken| Answer::unsent(format!("the writer broke off: {broken}")))
        })
    }

    fn may_be_given_up(&self) -> bool {
        false
    }
}

/// Writes and flushes.
fn write(to: &mut impl Write, body: &[u8]) -> Answer {
    let (outcome, sent_bytes) = match to.write_all(body).and_then(|()| to.flush()) {
        Ok(()) => (Outcome::Confirmed, body.len() as u64),
        Err(error) => (failed(&error), 0),
    };
    Answer {
        outcome,
        sent_bytes,
        ..Answer::unsent(String::new())
    }
}

fn failed(error: &io::Error) -> Outcome {
    if error.kind() == ErrorKind::BrokenPipe {
        return Outcome::Broken {
            why: "standard output is closed: whatever read it has ended; start the gateway again \
                  with a reader, or forward to a file"
                .to_owned(),
        };
    }
    Outcome::Retry {
        why: format!("standard output: {error}"),
        after_us: None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::pipe;

    use super::*;

    /// Takes some bytes and fails.
    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Keeps what was flushed.
    #[derive(Default)]
    struct Buffered {
        waiting: Vec<u8>,
        flushed: Vec<u8>,
    }

    impl Write for Buffered {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.waiting.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushed.append(&mut self.waiting);
            Ok(())
        }
    }

    #[test]
    fn what_is_confirmed_was_flushed() {
        let mut to = Buffered::default();
        let answer = write(&mut to, b"{}\n{}\n");
        assert_eq!((answer.outcome, answer.sent_bytes), (Outcome::Confirmed, 6));
        assert_eq!(to.flushed, b"{}\n{}\n");
    }

    #[test]
    fn a_closed_pipe_needs_a_person() {
        let (reader, mut writer) = pipe().unwrap();
        drop(reader);
        let Outcome::Broken { why } = write(&mut writer, b"{}\n").outcome else {
            panic!("nobody reads");
        };
        assert!(why.contains("standard output is closed"), "{why}");
    }

    #[test]
    fn another_failure_passes() {
        let answer = write(&mut Failing(ErrorKind::StorageFull), b"{}\n");
        assert!(matches!(answer.outcome, Outcome::Retry { .. }));
        assert_eq!(answer.sent_bytes, 0);
    }
}
