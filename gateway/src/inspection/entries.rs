//! Entries of each room: as a line for people, as JSON for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::files::Room;
use super::frames;
use crate::entry::{Entry, LinkChange, Logged};
use crate::record::{self, Place, Record};
use crate::spool::{Journaled, Outcome};

/// Longest text of an entry that a line shows.
const TEXT_CHARS_MAX: usize = 80;

/// Kinds of the log's entries, as `--kind` takes them.
pub const KINDS: [&str; 11] = [
    "started",
    "rules",
    "limits",
    "frame",
    "gap",
    "link",
    "clock-step",
    "decision",
    "tick",
    "tally",
    "unreadable",
];

/// Whether an entry's bytes can be understood.
pub fn is_readable(room: Room, bytes: &[u8]) -> bool {
    match room {
        Room::Log => postcard::from_bytes::<Logged>(bytes).is_ok(),
        Room::Spool => postcard::from_bytes::<(Place, Record)>(bytes).is_ok(),
        Room::Journal => postcard::from_bytes::<Journaled>(bytes).is_ok(),
    }
}

/// An entry of the log, as far as it can be understood.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Where it is.
    pub position: u64,
    /// What it says; `None` when its bytes cannot be understood.
    pub logged: Option<Logged>,
    bytes: Vec<u8>,
}

impl LogEntry {
    /// Reads an entry's bytes.
    pub fn read(position: u64, bytes: &[u8]) -> Self {
        Self {
            position,
            logged: postcard::from_bytes(bytes).ok(),
            bytes: bytes.to_vec(),
        }
    }

    /// Its kind, one of [`KINDS`].
    pub fn kind(&self) -> &'static str {
        match self.logged.as_ref().map(|logged| &logged.entry) {
            None => "unreadable",
            Some(Entry::Started { .. }) => "started",
            Some(Entry::Rules { .. }) => "rules",
            Some(Entry::Limits(_)) => "limits",
            Some(Entry::Frame(_)) => "frame",
            Some(Entry::Gap(_)) => "gap",
            Some(Entry::Link(_)) => "link",
            Some(Entry::ClockStep { .. }) => "clock-step",
            Some(Entry::Decision { .. }) => "decision",
            Some(Entry::Tick) => "tick",
            Some(Entry::Tally { .. }) => "tally",
        }
    }

    /// When it was made, UTC in µs.
    pub fn wall_us(&self) -> Option<i64> {
        self.logged.as_ref().map(|logged| logged.at.wall_us)
    }

    /// Position, time, start, kind and what it says.
    pub fn line(&self) -> String {
        let Some(logged) = &self.logged else {
            let bytes = self.bytes.len();
            return format!(
                "{:>10}  {bytes} bytes that cannot be understood",
                self.position
            );
        };
        let doubt = if logged.at.wall_trusted { ' ' } else { '?' };
        format!(
            "{:>10}  {:<27}{doubt} start {:<4} {:<10} {}",
            self.position,
            record::rfc3339(logged.at.wall_us),
            logged.start,
            self.kind(),
            words(&logged.entry)
        )
    }

    /// The same as JSON, with everything that the entry holds.
    pub fn to_json(&self) -> Value {
        let mut value = json!({ "room": "log", "position": self.position, "kind": self.kind() });
        let Some(logged) = &self.logged else {
            value["bytes"] = json!(frames::hex(&self.bytes));
            return value;
        };
        value["start"] = json!(logged.start);
        value["at"] = json!(record::rfc3339(logged.at.wall_us));
        value["mono_us"] = json!(logged.at.mono_us);
        value["wall_trusted"] = json!(logged.at.wall_trusted);
        if let Value::Object(fields) = &mut value {
            fields.extend(fields_of(&logged.entry));
        }
        value
    }
}

/// What an entry says, beside its kind.
fn words(entry: &Entry) -> String {
    match entry {
        Entry::Started {
            engine,
            log_incarnation,
            term,
            site,
        } => format!("site {site}, engine {engine}, log {log_incarnation:08x}, term {term:08x}"),
        Entry::Rules { text } => format!("rule set of {} bytes: {}", text.len(), cut(text)),
        Entry::Limits(limits) => format!("{limits:?}"),
        Entry::Frame(frame) => format!(
            "{}  {:?}  {}",
            frame.device,
            frame.verdict,
            frames::words(&frame.bytes)
        ),
        Entry::Gap(gap) => format!(
            "{}  {} {}.{} to {}.{} will never come, those through {} lost by this disk",
            gap.device, gap.incarnation, gap.boot, gap.from, gap.boot, gap.through, gap.lost_here
        ),
        Entry::Link(link) => {
            let whose = link
                .device
                .as_ref()
                .map_or("the gateway", |name| name.as_str());
            format!("{whose}  {}", change_words(&link.change))
        }
        Entry::ClockStep {
            before_us,
            after_us,
        } => format!(
            "{} → {}",
            record::rfc3339(*before_us),
            record::rfc3339(*after_us)
        ),
        Entry::Decision { kind, text } => format!("{kind}: {}", cut(text)),
        Entry::Tick => String::new(),
        Entry::Tally { device, counts } => {
            let whose = device.as_ref().map_or("the gateway", |name| name.as_str());
            format!("{whose}  {counts:?}")
        }
    }
}

fn change_words(change: &LinkChange) -> String {
    match change {
        LinkChange::Opened {
            incarnation,
            boot,
            firmware,
            ..
        } => format!("opened {incarnation} boot {boot}, firmware {firmware:?}"),
        LinkChange::Floor {
            incarnation,
            floor,
            acked,
            held,
        } => format!("holds {held} frames of {incarnation} from {floor} on, acked through {acked}"),
        LinkChange::Offset {
            incarnation,
            boot,
            offset_us,
        } => format!(
            "{incarnation} boot {boot} began at {}",
            record::rfc3339(*offset_us)
        ),
        LinkChange::Up(up) => if *up { "up" } else { "down" }.to_owned(),
        other => format!("{other:?}"),
    }
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(TEXT_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn fields_of(entry: &Entry) -> Map<String, Value> {
    let value = match entry {
        Entry::Frame(frame) => json!({
            "device": frame.device,
            "key_id": frame.key_id,
            "verdict": frame.verdict,
            "frame": frames::to_json(&frame.bytes),
        }),
        Entry::Rules { text } => json!({ "rules": parsed(text) }),
        Entry::Decision { kind, text } => json!({ "decision": kind, "says": parsed(text) }),
        other => inner(other),
    };
    match value {
        Value::Object(fields) => fields,
        other => Map::from_iter([("says".to_owned(), other)]),
    }
}

/// What stands inside a variant, as serde names it.
fn inner(entry: &Entry) -> Value {
    match serde_json::to_value(entry) {
        Ok(Value::Object(variant)) => variant.into_iter().next().map_or(Value::Null, |one| one.1),
        _ => Value::Object(Map::new()),
    }
}

/// JSON inside a text, as JSON if it is.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// A record of the spool: its index, its place and itself; `None` when it cannot be understood.
pub fn read_record(bytes: &[u8]) -> Option<(Place, Record)> {
    postcard::from_bytes(bytes).ok()
}

/// A record of a queue in a line.
pub fn record_line(queue: &str, index: u64, place: Place, record: &Record) -> String {
    let mut values = String::new();
    for (name, value) in &record.values {
        let _ = match value {
            record::Value::Count(count) => write!(values, " {name}={count}"),
            record::Value::Number(number) => write!(values, " {name}={number}"),
            record::Value::Counts(counts) => write!(values, " {name}={counts:?}"),
        };
    }
    format!(
        "{queue} {index:>8}  from {}.{}  {} {} {}  {} to {}  revision {}  {} samples, {} fresh {values}",
        place.position,
        place.ordinal,
        record.rule,
        record.device,
        record.sensor,
        record::rfc3339(record.start_us),
        record::rfc3339(record.end_us),
        record.revision,
        record.samples,
        record.fresh,
    )
}

/// An entry of the journal as JSON.
pub fn journal_json(number: u64, bytes: &[u8]) -> Value {
    let mut value = json!({ "room": "journal", "number": number });
    let (kind, says) = match postcard::from_bytes::<Journaled>(bytes) {
        Ok(Journaled::Left(left)) => {
            value["at"] = json!(record::rfc3339(left.delivery.at.wall_us));
            (outcome_name(left.delivery.outcome), json!(left))
        }
        Ok(Journaled::Dropped(dropped)) => {
            value["at"] = json!(record::rfc3339(dropped.at.wall_us));
            ("dropped".to_owned(), json!(dropped))
        }
        Ok(Journaled::Begun(begun)) => {
            value["at"] = json!(record::rfc3339(begun.at.wall_us));
            ("begun".to_owned(), json!(begun))
        }
        Ok(Journaled::Tried(tried)) => {
            value["at"] = json!(record::rfc3339(tried.cost.at.wall_us));
            ("tried".to_owned(), json!(tried))
        }
        Ok(Journaled::Resent(resent)) => {
            value["at"] = json!(record::rfc3339(resent.cost.at.wall_us));
            ("resent".to_owned(), json!(resent))
        }
        Err(_) => (
            "unreadable".to_owned(),
            json!({ "bytes": frames::hex(bytes) }),
        ),
    };
    value["kind"] = json!(kind);
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, says) {
        for (name, one) in more {
            fields.entry(name).or_insert(one);
        }
    }
    value
}

fn outcome_name(outcome: Outcome) -> String {
    format!("{outcome:?}").to_lowercase()
}

/// An entry of the journal in a line.
pub fn journal_line(number: u64, bytes: &[u8]) -> String {
    match postcard::from_bytes::<Journaled>(bytes) {
        Ok(Journaled::Left(left)) => format!(
            "{number:>10}  {:<27}  {} {:?}  {} records {} to {} {} in {} attempts: {} bytes, {} as sent, {} of headers",
            record::rfc3339(left.delivery.at.wall_us),
            left.sink,
            left.priority,
            left.records,
            left.first,
            left.last,
            outcome_name(left.delivery.outcome),
            left.delivery.attempts,
            left.delivery.bytes_before,
            left.delivery.bytes_after,
            left.delivery.header_bytes,
        ),
        Ok(Journaled::Dropped(dropped)) => format!(
            "{number:>10}  {:<27}  {} {:?}  {} records found no room and were dropped",
            record::rfc3339(dropped.at.wall_us),
            dropped.sink,
            dropped.priority,
            dropped.records.len(),
        ),
        Ok(Journaled::Begun(begun)) => format!(
            "{number:>10}  {:<27}  {} {:?}  records {} to {} begin",
            record::rfc3339(begun.at.wall_us),
            begun.sink,
            begun.priority,
            begun.first,
            begun.last,
        ),
        Ok(Journaled::Tried(tried)) => format!(
            "{number:>10}  {:<27}  {} {:?}  failed attempts took {} bytes, {} as sent, {} of headers",
            record::rfc3339(tried.cost.at.wall_us),
            tried.sink,
            tried.priority,
            tried.cost.bytes_before,
            tried.cost.bytes_after,
            tried.cost.header_bytes,
        ),
        Ok(Journaled::Resent(resent)) => format!(
            "{number:>10}  {:<27}  {} {:?}  dead letter {} was delivered: {} bytes, {} as sent, {} of headers",
            record::rfc3339(resent.cost.at.wall_us),
            resent.sink,
            resent.priority,
            resent.id,
            resent.cost.bytes_before,
            resent.cost.bytes_after,
            resent.cost.header_bytes,
        ),
        Err(_) => format!(
            "{number:>10}  {} bytes that cannot be understood",
            bytes.len()
        ),
    }
}
