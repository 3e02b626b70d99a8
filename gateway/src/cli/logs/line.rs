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
use crate::time::Clock;

/// Fields that tell apart what one place in the code says: of whom it speaks.
const APART: [&str; 7] = ["sink", "device", "rule", "broker", "path", "file", "from"];

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
            let _ = out.write_all(self.counted(&line.text, line.repeated).as_bytes());
        }
    }

    fn ration(&self) -> MutexGuard<'_, Ration> {
        self.ration.lock().unwrap_or_else(PoisonError::into_inner)
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
    let mut apart = Apart(DefaultHasher::new());
    let metadata = event.metadata();
    metadata.callsite().hash(&mut apart.0);
    event.record(&mut apart);
    apart.0.finish()
}

/// Takes in the fields of [`APART`].
struct Apart(DefaultHasher);

impl Visit for Apart {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if APART.contains(&field.name()) {
            field.name().hash(&mut self.0);
            format!("{value:?}").hash(&mut self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::time::{SECOND_US, Timestamp};

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
