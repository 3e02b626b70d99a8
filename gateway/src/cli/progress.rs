//! Progress: a bar on stderr while files are read, for people who look.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over bytes; nothing where stderr is no terminal.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar that says what is done.
    pub fn new(what: &'static str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = "{msg}  {wide_bar} {bytes}/{total_bytes}";
            let style = ProgressStyle::with_template(style);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(what)
        });
        Self(bar)
    }

    /// Shows how far it is.
    pub fn show(&self, done: u64, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
