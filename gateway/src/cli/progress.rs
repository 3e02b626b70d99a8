//! Progress of long work: a bar on stderr, drawn only on a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// Work done so far between two redraws.
const STEP: u64 = 1_024;

/// A bar over positions of the log.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins work of a length; drawn only if asked and if stderr is a terminal.
    pub(super) fn begin(name: &'static str, whole: u64, wanted: bool) -> Self {
        let is_drawn = wanted && io::stderr().is_terminal();
        Self(is_drawn.then(|| {
            let style = "{msg} {wide_bar} {pos}/{len} entries  {eta}";
            let style = ProgressStyle::with_template(style);
            ProgressBar::new(whole)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(name)
        }))
    }

    /// So much is done.
    pub(super) fn at(&self, done: u64) {
        if let Some(bar) = self.0.as_ref().filter(|_| done.is_multiple_of(STEP)) {
            bar.set_position(done);
        }
    }

    /// All is done; the bar goes.
    pub(super) fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
