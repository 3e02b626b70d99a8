//! The journal: whether stderr is systemd's, and the priority that it reads at a line's start.

use std::io;

use rustix::fs::fstat;
use tracing::Level;

/// The variable by which systemd names the stream that it gave: `DEVICE:INODE`.
const VARIABLE: &str = "JOURNAL_STREAM";

/// Whether stderr goes to the journal: the variable also reaches processes that write elsewhere,
/// so the stream itself is asked.
pub(in crate::cli) fn listens() -> bool {
    let named = std::env::var(VARIABLE).ok();
    let ours = fstat(io::stderr()).ok();
    named.zip(ours).is_some_and(|(named, ours)| {
        let words = named.split_once(':');
        let numbers = words.and_then(|(device, inode)| {
            Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
        });
        numbers == Some((ours.st_dev, ours.st_ino))
    })
}

/// The lines of a text, each with its priority as syslog counts it: `<3>` is an error.
pub(in crate::cli) fn marked(level: Level, text: &str) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    let mut marked = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let line = format!("<{priority}>{line}\n");
        marked.push_str(&line);
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_priority() {
        assert_eq!(
            marked(Level::ERROR, "error: run failed\n\n  try: again\n"),
            "<3>error: run failed\n<3>  try: again\n"
        );
        assert_eq!(marked(Level::WARN, "odd"), "<4>odd\n");
        assert_eq!(marked(Level::INFO, "begun\n"), "<6>begun\n");
        assert_eq!(marked(Level::DEBUG, "seen\n"), "<7>seen\n");
    }
}
