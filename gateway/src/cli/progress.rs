//! Progress of long work: a bar on stderr, drawn only on a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Bytes of files.
    Bytes,
    /// Entries of the log.
    Entries,
}

/// A bar; nothing where stderr is no terminal.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    of: Of,
}

impl Progress {
    /// Begins work; drawn only if it is wanted, and if stderr is a terminal.
    pub(super) fn begin(name: &'static str, of: Of, wanted: bool) -> Self {
        let is_drawn = wanted && io::stderr().is_terminal();
        let bar = is_drawn.then(|| {
            let style = match of {
                Of::Bytes => "{msg} {wide_bar} {bytes}/{total_bytes}  {eta}",
                Of::Entries => "{msg} {wide_bar} {pos}/{len} entries  {eta}",
            };
            let style = ProgressStyle::with_template(style);
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(name)
        });
        Self { bar, of }
    }

    /// So much of the whole is done.
    pub(super) fn show(&self, done: u64, whole: u64) {
        // Drawing costs more than an entry.
        let is_worth = self.of == Of::Bytes || done.is_multiple_of(1_024);
        if let Some(bar) = self.bar.as_ref().filter(|_| is_worth) {
            bar.set_length(whole);
            bar.set_position(done);
        }
    }

    /// All is done; the bar goes.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
