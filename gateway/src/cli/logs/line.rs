//! Lines: events as text or JSON, those that repeat held back.

use std::fmt::{self, Debug};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::journal;
use super::ration::{Line, Ration, Sort, Verdict};
use crate::plain;
use crate::time::{Clock, SECOND_US};

/// Fields that tell apart what one place in the code says: of whom it speaks, and of which of a
/// few faults or configurations.
const APART: [&str; 11] = [
    "sink", "device", "rule", "broker", "path", "file", "from", "class", "fault", "hash", "reload",
];
/// Fields whose words tell it apart as well, up to [`super::ration::WORDS_MAX`] of them.
const WORDS: [&str; 4] = ["message", "why", "error", "refused"];

/// How a line is written beside its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// One JSON object, not text.
    pub json: bool,
    /// With the priority that the journal reads.
    pub journal: bool,
}

/// What is held back, shared by those who write and the one who looks after it.
#[derive(Clone)]
pub(super) struct Held {
    ration: Arc<Mutex<Ration>>,
    clock: Arc<dyn Clock>,
    style: Style,
}

impl Held {
    pub(super) fn new(clock: Arc<dyn Clock>, style: Style) -> Self {
        Self {
            ration: Arc::default(),
            clock,
            style,
        }
    }

    /// Writes the held lines whose pause is over.
    pub(super) fn write_due(&self, out: &mut impl Write) {
        let now_us = self.clock.now().mono_us;
        let lines = self.ration().due(now_us);
        self.write(&lines, out);
    }

    /// Writes all held lines: the program ends.
    pub(super) fn write_all(&self, out: &mut impl Write) {
        let now_us = self.clock.now().mono_us;
        let lines = self.ration().end(now_us);
        self.write(&lines, out);
    }

    fn write(&self, lines: &[Line], out: &mut impl Write) {
        for line in lines {
            // Where stderr is closed there is nobody to tell.
            let _ = out.write_all(self.late(line).as_bytes());
        }
    }

    fn ration(&self) -> MutexGuard<'_, Ration> {
        self.ration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line that was held back, with how many before it; where the journal writes the time, with
    /// how long ago it happened.
    fn late(&self, line: &Line) -> String {
        let counted = self.counted(&line.text, line.repeated);
        if !self.style.journal || self.style.json {
            return counted;
        }
        let bare = counted.trim_end_matches('\n');
        format!("{bare} held_s={}\n", line.held_us / SECOND_US as u64)
    }

    /// A line with how many were held back before it.
    fn counted(&self, line: &str, repeated: u64) -> String {
        let bare = line.trim_end_matches('\n');
        match (repeated, bare.strip_suffix('}')) {
            (0, _) => line.to_owned(),
            (_, Some(open)) if self.style.json => format!("{open},\"repeated\":{repeated}}}\n"),
            _ => format!("{bare} repeated={repeated}\n"),
        }
    }
}

/// A format whose repeated lines are held back.
pub(super) struct Rationed<F> {
    inner: F,
    held: Held,
}

impl<F> Rationed<F> {
    pub(super) fn new(inner: F, held: Held) -> Self {
        Self { inner, held }
    }
}

impl<S, N, F> FormatEvent<S, N> for Rationed<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner
            .format_event(context, Writer::new(&mut line), event)?;
        let level = *event.metadata().level();
        if !self.held.style.json {
            line = one_line(&line);
        }
        if self.held.style.journal {
            line = journal::marked(level, &line);
        }
        // Whoever asked for DEBUG wants each line.
        if level > Level::INFO {
            return writer.write_str(&line);
        }
        let now_us = self.held.clock.now().mono_us;
        let verdict = self.held.ration().handle(now_us, sort(event), &line);
        match verdict {
            Verdict::Show { repeated } => writer.write_str(&self.held.counted(&line, repeated)),
            Verdict::Hold => Ok(()),
        }
    }
}

/// What an event is one more of.
fn sort(event: &Event<'_>) -> Sort {
    let mut apart = Apart::default();
    event.metadata().callsite().hash(&mut apart.of);
    event.record(&mut apart);
    Sort {
        of: apart.of.finish(),
        words: Some(apart.words.finish()),
    }
}

/// An event as one line that gives a terminal no orders but colours, which are our own.
fn one_line(line: &str) -> String {
    let bare = line.trim_end_matches('\n').replace('\n', " ");
    let mut parts = bare.split('\u{1b}');
    let mut shown = plain::in_line(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let sign = if is_colour(part) {
            '\u{1b}'
        } else {
            '\u{fffd}'
        };
        shown.push(sign);
        shown.push_str(&plain::in_line(part));
    }
    shown + "\n"
}

/// Whether what stands behind an escape makes a colour of it: `[1;31m`.
fn is_colour(part: &str) -> bool {
    let numbers = part
        .strip_prefix('[')
        .map(|rest| rest.trim_start_matches(|sign: char| sign.is_ascii_digit() || sign == ';'));
    numbers.is_some_and(|rest| rest.starts_with('m'))
}

/// Takes in the fields of [`APART`] and [`WORDS`].
#[derive(Default)]
struct Apart {
    of: DefaultHasher,
    words: DefaultHasher,
}

impl Visit for Apart {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        if APART.contains(&name) {
            name.hash(&mut self.of);
            format!("{value:?}").hash(&mut self.of);
        } else if WORDS.contains(&name) {
            name.hash(&mut self.words);
            let text = format!("{value:?}");
            let parts = text.split(|sign: char| !sign.is_alphanumeric());
            for word in parts.filter(|part| is_word(part)) {
                word.hash(&mut self.words);
            }
        }
    }
}

/// Whether a part of a text says what it is about. Counts, ids and times do not; a number of three
/// digits is a status.
fn is_word(part: &str) -> bool {
    let is_digit = |sign: char| sign.is_ascii_digit();
    !part.contains(is_digit) || (part.len() == 3 && part.chars().all(is_digit))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::reload::{Refusal, hash};
    use crate::time::Timestamp;

    /// A clock that is set by hand, in seconds.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp {
                mono_us: self.0.load(Ordering::Relaxed) * SECOND_US as u64,
                ..Timestamp::default()
            }
        }
    }

    /// Where lines go.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Paper {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// The lines of an hour in which two sinks fail each second, and one device is odd once.
    fn hour(style: Style) -> String {
        let (clock, paper) = (Arc::new(Hand::default()), Paper::default());
        let held = Held::new(clock.clone(), style);
        let builder = tracing_subscriber::fmt()
            .with_writer(paper.clone())
            .with_ansi(false);
        let within = || {
            for second in 0..3_600 {
                clock.0.store(second, Ordering::Relaxed);
                if second % 5 == 0 {
                    held.write_due(&mut paper.clone());
                }
                for sink in ["cloud", "plant"] {
                    tracing::warn!(sink, attempt = second, "delivery fails");
                }
                let from = ["192.0.2.1", "192.0.2.2"][usize::from(second % 4 == 0)];
                tracing::warn!(%from, second, "a wrong secret was shown");
                if second == 7 {
                    tracing::warn!(device = %"pump-1", "delivery fails");
                }
                tracing::debug!(second, "a second went by");
            }
            held.write_all(&mut paper.clone());
        };
        if style.json {
            let builder = builder.json().flatten_event(true);
            let one = builder
                .map_event_format(|format| Rationed::new(format, held.clone()))
                .finish();
            tracing::subscriber::with_default(one, within);
        } else {
            let one = builder
                .with_target(false)
                .without_time()
                .map_event_format(|format| Rationed::new(format, held.clone()))
                .finish();
            tracing::subscriber::with_default(one, within);
        }
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn two_sinks_that_fail_for_an_hour_are_told_apart_and_counted() {
        let text = hour(Style {
            json: false,
            journal: false,
        });
        for sink in ["cloud", "plant"] {
            let of = format!("sink=\"{sink}\"");
            let lines: Vec<&str> = text.lines().filter(|line| line.contains(&of)).collect();
            let repeated = lines.iter().filter_map(|line| {
                let (_, count) = line.split_once(" repeated=")?;
                count.parse::<u64>().ok()
            });
            assert_eq!(lines.len(), 17, "{text}");
            assert_eq!(lines.len() as u64 + repeated.sum::<u64>(), 3_600, "{text}");
        }
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some(" WARN delivery fails sink=\"cloud\" attempt=0")
        );
        assert!(
            text.contains("WARN delivery fails device=pump-1\n"),
            "{text}"
        );
        assert!(
            text.contains(" WARN delivery fails sink=\"cloud\" attempt=9 repeated=8\n"),
            "{text}"
        );
    }

    #[test]
    fn addresses_that_guess_are_told_apart_and_each_guess_is_counted() {
        let text = hour(Style {
            json: false,
            journal: false,
        });
        for (from, guesses) in [("192.0.2.1", 2_700), ("192.0.2.2", 900)] {
            let of = format!(" from={from} ");
            let lines: Vec<&str> = text.lines().filter(|line| line.contains(&of)).collect();
            let repeated = lines.iter().filter_map(|line| {
                let (_, count) = line.split_once(" repeated=")?;
                count.parse::<u64>().ok()
            });
            assert!(lines.len() < 20, "{text}");
            assert_eq!(lines.len() as u64 + repeated.sum::<u64>(), guesses);
        }
    }

    #[test]
    fn json_lines_are_objects_and_have_the_count_as_a_number() {
        let text = hour(Style {
            json: true,
            journal: false,
        });
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let cloud: Vec<Value> = lines.filter(|line| line["sink"] == "cloud").collect();
        let repeated = cloud.iter().filter_map(|line| line["repeated"].as_u64());
        assert_eq!(cloud.len() as u64 + repeated.sum::<u64>(), 3_600);
        assert_eq!(cloud.len(), 17);
    }

    const TEXT: Style = Style {
        json: false,
        journal: false,
    };

    /// What is written while `within` happens, and at its end.
    fn told(style: Style, within: impl FnOnce(&Hand)) -> String {
        let (clock, paper) = (Arc::new(Hand::default()), Paper::default());
        let held = Held::new(clock.clone(), style);
        let one = tracing_subscriber::fmt()
            .with_writer(paper.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .map_event_format(|format| Rationed::new(format, held.clone()))
            .finish();
        tracing::subscriber::with_default(one, || within(&clock));
        held.write_all(&mut paper.clone());
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    fn refusal(text: &str) -> Refusal {
        Refusal {
            hash: Some(hash(text)),
            why: "plant.toml has a mistake".into(),
            places: vec![text.into()],
        }
    }

    #[test]
    fn six_refusals_of_other_texts_are_six_lines_and_of_one_text_one_and_a_count() {
        let other = told(TEXT, |clock| {
            for save in 0..6 {
                clock.0.store(4 * save, Ordering::Relaxed);
                refusal(&format!("line {save}")).log("00ff");
            }
        });
        assert_eq!(other.lines().count(), 6, "{other}");
        for save in 0..6 {
            assert!(
                other.contains(&format!("places=\"line {save}\"")),
                "{other}"
            );
        }
        assert!(!other.contains("repeated="), "{other}");
        let same = told(TEXT, |_| {
            for _ in 0..6 {
                refusal("line 0").log("00ff");
            }
        });
        assert_eq!(same.lines().count(), 2, "{same}");
        assert!(same.ends_with(" repeated=4\n"), "{same}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_apart_by_why() {
        let text = told(TEXT, |_| {
            for why in ["permission denied", "is a directory", "permission denied"] {
                let error = std::io::Error::other(why);
                Refusal::unreadable(std::path::Path::new("plant.toml"), &error).log("00ff");
            }
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("is a directory"), "{text}");
    }

    #[test]
    fn what_differs_is_told_at_once_and_counts_and_ids_do_not_differ() {
        let text = told(TEXT, |_| {
            let whys = [
                "HTTP 503: busy, request 5f0c after 12 ms",
                "HTTP 503: busy, request 91aa after 1044 ms",
                "HTTP 401: busy",
                "connection refused",
            ];
            for why in whys {
                tracing::warn!(sink = "cloud", why, "delivery fails");
            }
            for fault in ["no-space", "read-only", "no-space"] {
                tracing::error!(fault, "the log could not be written");
            }
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 7, "{text}");
        let held = lines[5..].join("\n");
        assert!(held.contains("request 91aa"), "{text}");
        assert!(held.contains("no-space"), "{text}");
    }

    #[test]
    fn a_held_line_in_the_journal_says_how_long_ago_it_happened() {
        let journal = Style {
            json: false,
            journal: true,
        };
        let within = |clock: &Hand| {
            for second in [0, 3, 4] {
                clock.0.store(second, Ordering::Relaxed);
                tracing::warn!(second, "odd");
            }
            clock.0.store(9, Ordering::Relaxed);
        };
        assert_eq!(
            told(journal, within),
            "<4> WARN odd second=0\n<4> WARN odd second=4 repeated=1 held_s=5\n"
        );
        // Elsewhere the line has its time.
        assert!(!told(TEXT, within).contains("held_s"));
    }

    #[test]
    fn a_line_is_one_line_and_gives_a_terminal_no_orders() {
        for journal in [false, true] {
            let text = told(
                Style {
                    json: false,
                    journal,
                },
                |_| {
                    let odd = "a\u{1b}[2J\u{9b}1m\r\nb";
                    tracing::warn!(why = odd, said = %odd, "it said {odd}");
                },
            );
            let bare = text.strip_suffix('\n').unwrap();
            assert!(!bare.contains(char::is_control), "{bare:?}");
            assert!(bare.contains("[2J"), "{bare:?}");
        }
        assert_eq!(
            one_line("\u{1b}[1;31mWARN\u{1b}[0m a\u{1b}[2J\u{1b}]0;x\u{1b}\n"),
            "\u{1b}[1;31mWARN\u{1b}[0m a�[2J�]0;x�\n"
        );
    }

    #[test]
    fn the_journal_reads_the_priority_first() {
        let text = hour(Style {
            json: false,
            journal: true,
        });
        assert!(text.lines().all(|line| line.starts_with("<4>")), "{text}");
    }

    #[test]
    fn who_asks_for_debug_sees_each_line() {
        let paper = Paper::default();
        let style = Style {
            json: false,
            journal: false,
        };
        let held = Held::new(Arc::new(Hand::default()), style);
        let one = tracing_subscriber::fmt()
            .with_writer(paper.clone())
            .with_max_level(Level::DEBUG)
            .map_event_format(|format| Rationed::new(format, held))
            .finish();
        tracing::subscriber::with_default(one, || {
            for _ in 0..50 {
                tracing::debug!("seen");
            }
        });
        let text = paper.0.lock().unwrap().clone();
        assert_eq!(String::from_utf8(text).unwrap().lines().count(), 50);
    }
}
