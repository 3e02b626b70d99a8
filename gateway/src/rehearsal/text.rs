//! Text: a test's outcome for people.
//!
//! ```text
//! FAILED  pump.test.toml: 2 differences
//!   record 2 (line 31) differs: minute pump-1 temperature, start 1m, revision 0
//!     field        expected    got
//!     samples      6           5
//!     values.mean  21.5 ±0.01  21.7
//!   record 3 (line 38) did not come: rule minute, start 2m
//! ```

use std::fmt::Write;

use super::Test;
use super::expectation::{Datum, Field, found};
use super::outcome::{Difference, FieldDifference, Outcome};
use crate::record::Emitted;
use crate::rules::{Look, show_duration};

/// Most differences that are shown of a test: more have the same cause as the first.
const SHOWN_MAX: usize = 50;

/// Tells an outcome; `file` is the test's name for people.
pub fn tell(test: &Test, outcome: &Outcome, file: &str, look: Look) -> String {
    let teller = Teller { test, look };
    let differences = &outcome.differences;
    let mut told = match differences.len() {
        0 => format!(
            "{}      {file}: {}\n",
            teller.good("ok"),
            teller.held(outcome)
        ),
        1 => format!("{}  {file}: 1 difference\n", teller.bad("FAILED")),
        more => format!("{}  {file}: {more} differences\n", teller.bad("FAILED")),
    };
    if let Some(about) = test.about.as_ref().filter(|_| !differences.is_empty()) {
        let _ = writeln!(told, "  {about}");
    }
    for difference in differences.iter().take(SHOWN_MAX) {
        teller.difference(difference, &mut told);
    }
    let more = differences.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        let _ = writeln!(told, "  and {more} more, which --json has");
    }
    told
}

struct Teller<'t> {
    test: &'t Test,
    look: Look,
}

impl Teller<'_> {
    fn good(&self, text: &str) -> String {
        self.painted(text, "32")
    }

    fn bad(&self, text: &str) -> String {
        self.painted(text, "31")
    }

    fn painted(&self, text: &str, colour: &str) -> String {
        match self.look {
            Look::Fancy => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
            Look::Plain => text.to_owned(),
        }
    }

    /// What held: `4 records, 2 counts`.
    fn held(&self, outcome: &Outcome) -> String {
        let counts: usize = self.test.counts.iter().map(|one| one.counts.len()).sum();
        let records = match &self.test.expected {
            Some(expected) => expected.len(),
            None => outcome.records.len(),
        };
        let compared = if self.test.expected.is_some() {
            ""
        } else {
            " (not compared)"
        };
        format!("records: {records}{compared}, counts: {counts}")
    }

    fn difference(&self, difference: &Difference, told: &mut String) {
        let _ = match difference {
            Difference::Differs {
                number,
                line,
                record,
                fields,
            } => {
                let of = self.identity(record);
                let _ = writeln!(told, "  record {number} (line {line}) differs: {of}");
                self.fields(fields, told);
                Ok(())
            }
            Difference::Missing {
                number,
                line,
                fields,
            } => {
                let wanted = self.listed(fields.iter().map(|(field, datum)| (field, datum)));
                let what = self.bad("did not come");
                writeln!(told, "  record {number} (line {line}) {what}: {wanted}")
            }
            Difference::Unexpected { record } => {
                let values = self.values(record);
                let what = self.bad("not expected");
                let of = self.identity(record);
                writeln!(told, "  {what}: {of}: {values}")
            }
            Difference::Count {
                number,
                line,
                of,
                name,
                wanted,
                found,
            } => {
                let (wanted, found) =
                    (self.good(&wanted.to_string()), self.bad(&found.to_string()));
                writeln!(
                    told,
                    "  counts {number} (line {line}) of {of}: {name}: expected {wanted}, got {found}"
                )
            }
            Difference::NotTaken { device, samples } => writeln!(
                told,
                "  {samples} samples of {device} fall where it is off: move them, or the reboot or stop"
            ),
        };
    }

    /// The fields that differ, below each other.
    fn fields(&self, fields: &[FieldDifference], told: &mut String) {
        let rows: Vec<[String; 3]> = fields
            .iter()
            .map(|one| {
                let tolerance = match &one.wanted {
                    Datum::Number(_) if one.within > 0.0 => format!(" ±{}", one.within),
                    _ => String::new(),
                };
                [
                    one.field.to_string(),
                    self.datum(&one.wanted) + &tolerance,
                    self.datum(&one.found),
                ]
            })
            .collect();
        let width = |column: usize, least: &str| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(least.len())
        };
        let (names, wanted) = (width(0, "field"), width(1, "expected"));
        let _ = writeln!(told, "    {:names$}  {:wanted$}  got", "field", "expected");
        for [name, want, found] in &rows {
            // Padding counts signs, and colours are signs too.
            let pad = " ".repeat(wanted - want.chars().count());
            let (want, found) = (self.good(want), self.bad(found));
            let _ = writeln!(told, "    {name:names$}  {want}{pad}  {found}");
        }
    }

    /// Which record: `minute pump-1 temperature, start 1m, revision 0`.
    fn identity(&self, record: &Emitted) -> String {
        let start = self.datum(&found(record, &Field::Start));
        let record = &record.record;
        format!(
            "{} {} {}, start {start}, revision {}",
            record.rule, record.device, record.sensor, record.revision
        )
    }

    /// What a record says: `samples 6, fresh 6, values.mean 21.5`.
    fn values(&self, record: &Emitted) -> String {
        let names = record.record.values.iter();
        let values = names.map(|(name, _)| Field::Value(name.clone()));
        let alert = record.record.alert.map(|note| {
            let historic = note.historic.then_some(Field::Historic);
            [
                Some(Field::Alert),
                Some(Field::Cause),
                historic,
                Some(Field::End),
            ]
        });
        let alert = alert.into_iter().flatten().flatten();
        let fields: Vec<Field> = alert
            .chain([Field::Samples, Field::Fresh])
            .chain(values)
            .collect();
        let data: Vec<Datum> = fields.iter().map(|field| found(record, field)).collect();
        self.listed(fields.iter().zip(&data))
    }

    fn listed<'f>(&self, fields: impl Iterator<Item = (&'f Field, &'f Datum)>) -> String {
        let listed = fields.map(|(field, datum)| format!("{field} {}", self.datum(datum)));
        listed.collect::<Vec<_>>().join(", ")
    }

    /// A datum as tests write it: times as durations from the test's beginning.
    fn datum(&self, datum: &Datum) -> String {
        match datum {
            Datum::Time(utc_us) if *utc_us >= self.test.begin_utc_us => {
                show_duration(utc_us - self.test.begin_utc_us)
            }
            other => other.to_string(),
        }
    }
}
