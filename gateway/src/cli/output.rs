//! Output: writing to stdout and stderr, which may be closed pipes.

use std::io::{self, IsTerminal, Write};

use tracing::Level;

use super::failure::Failure;
use super::logs::journal;
use crate::plain;
use crate::rules::Look;

/// Writes a command's result for people to stdout: what devices and receivers say in it gives a
/// terminal no orders.
pub(super) fn print(lines: &str) -> Result<(), Failure> {
    print_as_is(&plain::lines(lines))
}

/// Writes a command's result for programs, or one with colours of our own, to stdout. A reader
/// that went away (`| head`) has seen enough.
pub(super) fn print_as_is(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::System { source })
        }
        _ => Ok(()),
    }
}

/// Writes to stderr, where there is nobody to tell of a failure.
pub(super) fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says why nothing was done, or what is odd: to the journal with its priority.
pub(super) fn say_at(level: Level, text: &str) {
    if journal::listens() {
        say(&journal::marked(level, text));
    } else {
        say(text);
    }
}

/// Whether stderr takes colours.
pub(super) fn look() -> Look {
    look_of(io::stderr().is_terminal())
}

/// Whether stdout does.
pub(super) fn look_out() -> Look {
    look_of(io::stdout().is_terminal())
}

/// A terminal takes colours unless its owner asked for none.
fn look_of(is_terminal: bool) -> Look {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if is_terminal && !set("NO_COLOR") && !dumb {
        Look::Fancy
    } else {
        Look::Plain
    }
}
