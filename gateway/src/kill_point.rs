//! Kill points: places at which a test may ask the process to kill itself.
//!
//! `TIDEGATE_KILL_POINT=NAME:N` makes the process send itself SIGKILL when it passes the point
//! NAME for the N-th time, so that a test can hit moments that a timer would miss. Without the
//! variable a pass costs one comparison.

use rustix::process::{Signal, getpid, kill_process};

/// The armed point, if any.
#[derive(Debug, Clone, Default)]
pub struct KillPoint {
    armed: Option<(String, u64)>,
}

impl KillPoint {
    /// Reads `TIDEGATE_KILL_POINT`.
    pub fn from_env() -> Self {
        let armed = std::env::var("TIDEGATE_KILL_POINT").ok().map(|text| {
            let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
            (name.to_owned(), count.parse().unwrap_or(1))
        });
        Self { armed }
    }

    /// Says that the process is at the point `name`.
    pub fn pass(&mut self, name: &str) {
        let Some((armed, left)) = &mut self.armed else {
            return;
        };
        if armed == name {
            *left = left.saturating_sub(1);
            if *left == 0 {
                tracing::warn!(point = name, "kill point reached: killing this process");
                let _ = kill_process(getpid(), Signal::KILL);
            }
        }
    }
}
