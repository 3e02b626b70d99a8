//! The table: how a receiver behaves until it is mended, and what is to become of the records.

use std::time::Duration;

use tidegate_tests::receiver::Conduct;

/// Most bytes of a body where the receiver is narrow: a few records.
const NARROW: usize = 1_500;
/// What `Retry-After` asks for.
const ASKED: Duration = Duration::from_secs(2);
/// A timeout that no receiver here comes near, and one that a silent one passes, but no prompt one.
const PATIENT: &str = "30s";
const HASTY: &str = "2s";

/// What is to become of the records of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// They are taken, in requests of full size, without anybody's help.
    Taken,
    /// They are taken in parts.
    Halved,
    /// They wait and go again by themselves, not earlier than this after the attempt before.
    Retried(Duration),
    /// They wait behind an open circuit.
    Broken,
    /// The first become dead letters, then the circuit opens.
    Refused,
    /// They wait, and the gateway is killed in the middle of attempts at them.
    Killed,
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// What the receiver does, in words.
    pub name: &'static str,
    /// What it does.
    pub conduct: Conduct,
    /// The sink's `timeout`.
    pub timeout: &'static str,
    /// What becomes of the records.
    pub end: End,
    /// What the last error has in it.
    pub said: &'static str,
}

fn says(status: u16, headers: &'static str, words: &'static str) -> Conduct {
    Conduct::Says {
        status,
        headers,
        words,
    }
}

/// The table.
pub fn rows() -> Vec<Row> {
    let again = End::Retried(Duration::ZERO);
    let narrow = Conduct::Narrow { bytes_max: NARROW };
    let wait = says(429, "retry-after: 2\r\n", "not so fast");
    let elsewhere = says(307, "location: /elsewhere\r\n", "");
    [
        ("200 after 2 s", Conduct::Slow(ASKED), End::Taken, ""),
        ("200, half a body", Conduct::HalfBody, End::Taken, ""),
        ("413 above 1500 bytes", narrow, End::Halved, ""),
        ("429, Retry-After 2", wait, End::Retried(ASKED), "429"),
        (
            "500",
            says(500, "", "a bug of mine"),
            again,
            "a bug of mine",
        ),
        ("half a status line", Conduct::HalfStatus, again, "closed"),
        ("no answer", Conduct::Silent, again, "timed out"),
        (
            "401",
            says(401, "", "who are you?"),
            End::Broken,
            "who are you?",
        ),
        ("307", elsewhere, End::Broken, "307"),
        (
            "400",
            says(400, "", "no such field"),
            End::Refused,
            "no such field",
        ),
        ("no answer, kill -9", Conduct::Silent, End::Killed, ""),
    ]
    .map(|(name, conduct, end, said)| Row {
        name,
        timeout: if name == "no answer" { HASTY } else { PATIENT },
        conduct,
        end,
        said,
    })
    .into()
}
