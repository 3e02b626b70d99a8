//! Parquet of lines: the columns of the CSV, a row per value, compressed with snappy.
//!
//! Texts are UTF-8 strings, numbers 64 bits, times UTC in µs. `alert`, `cause` and `historic` are
//! null where a record is no alert, `name` and `value` where it has no value, `note` where it has
//! none. A row group has at most [`GROUP_ROWS`] rows, so that writing takes no more memory than that.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead};
use std::sync::Arc;

use jiff::Timestamp;
use parquet::basic::Compression;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::open::Tail;

/// Most rows of a row group: some 10 MB while it is written.
const GROUP_ROWS: usize = 1 << 16;
/// Row groups at a file's end whose ids are read: more than the lines of a tail.
const TAIL_GROUPS: usize = 2;

const SCHEMA: &str = "message records {
    required binary id (string);
    required binary site (string);
    required binary device (string);
    required binary sensor (string);
    required binary unit (string);
    required binary rule (string);
    required int64 version;
    required int64 epoch;
    required int64 start (timestamp(micros, true));
    required int64 end (timestamp(micros, true));
    required int64 revision;
    required int64 samples;
    required int64 fresh;
    required binary clock (string);
    required boolean partial;
    optional binary alert (string);
    optional binary cause (string);
    optional boolean historic;
    optional binary note (string);
    optional binary name (string);
    optional double value;
}";

/// A record as its line of JSON has it.
#[derive(Debug, Deserialize)]
struct Line {
    id: String,
    site: String,
    device: String,
    sensor: String,
    unit: String,
    rule: String,
    version: i64,
    epoch: i64,
    #[serde(deserialize_with = "time_us")]
    start: i64,
    #[serde(deserialize_with = "time_us")]
    end: i64,
    revision: i64,
    samples: i64,
    fresh: i64,
    clock: String,
    #[serde(default)]
    partial: bool,
    alert: Option<String>,
    cause: Option<String>,
    #[serde(default)]
    historic: bool,
    note: Option<String>,
    values: Values,
}

/// An RFC 3339 time as UTC in µs.
fn time_us<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time: Timestamp = text.parse().map_err(D::Error::custom)?;
    Ok(time.as_microsecond())
}

/// Values in their order.
#[derive(Debug)]
struct Values(Vec<(String, Datum)>);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Datum {
    Number(f64),
    Counts(Vec<f64>),
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = map.next_entry()? {
                    values.push(value);
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Values of a column, and which of its rows have one (1) or none (0).
#[derive(Debug)]
struct Column<T> {
    values: Vec<T>,
    levels: Vec<i16>,
}

/// Rows of a row group, by column.
#[derive(Debug, Default)]
struct Rows {
    count: usize,
    texts: [Column<ByteArray>; 11],
    wholes: [Column<i64>; 7],
    truths: [Column<bool>; 2],
    values: Column<f64>,
}

/// Which kind each column is, in order, and which of its kind.
enum Kind {
    Text(usize),
    Whole(usize),
    Truth(usize),
    Value,
}

/// The columns of [`SCHEMA`], in order.
const KINDS: [Kind; 21] = [
    Kind::Text(0),
    Kind::Text(1),
    Kind::Text(2),
    Kind::Text(3),
    Kind::Text(4),
    Kind::Text(5),
    Kind::Whole(0),
    Kind::Whole(1),
    Kind::Whole(2),
    Kind::Whole(3),
    Kind::Whole(4),
    Kind::Whole(5),
    Kind::Whole(6),
    Kind::Text(6),
    Kind::Truth(0),
    Kind::Text(7),
    Kind::Text(8),
    Kind::Truth(1),
    Kind::Text(9),
    Kind::Text(10),
    Kind::Value,
];

/// Writes a Parquet file of lines of JSON; returns how many lines are no records and were left
/// out. The file is not synced.
pub(super) fn write(lines: impl BufRead, file: &File) -> io::Result<u64> {
    let schema = Arc::new(parse_message_type(SCHEMA).map_err(wrong)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(wrong)?;
    let mut rows = Rows::default();
    let mut unread = 0;
    for line in lines.split(b'\n') {
        match serde_json::from_slice::<Line>(&line?) {
            Ok(line) => rows.push(line),
            Err(_) => unread += 1,
        }
        if rows.count >= GROUP_ROWS {
            write_group(&mut writer, &std::mem::take(&mut rows))?;
        }
    }
    if rows.count > 0 {
        write_group(&mut writer, &rows)?;
    }
    writer.close().map_err(wrong)?;
    Ok(unread)
}

/// How many lines are no records.
pub(super) fn count_unread(lines: impl BufRead) -> io::Result<u64> {
    let mut unread = 0;
    for line in lines.split(b'\n') {
        unread += u64::from(serde_json::from_slice::<Line>(&line?).is_err());
    }
    Ok(unread)
}

/// The ids of a Parquet file's last rows, as one line each.
pub(super) fn tail(file: File) -> io::Result<Tail> {
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let groups = reader.num_row_groups();
    let mut tail = Tail::new();
    for group in groups.saturating_sub(TAIL_GROUPS)..groups {
        let group = reader.get_row_group(group).map_err(wrong)?;
        let ids = group.get_column_reader(0).map_err(wrong)?;
        let mut ids = get_typed_column_reader::<ByteArrayType>(ids);
        let mut values = Vec::new();
        ids.read_records(GROUP_ROWS * 2, None, None, &mut values)
            .map_err(wrong)?;
        let texts = values.iter().filter_map(|id| id.as_utf8().ok());
        let ids = texts.filter_map(|id| u128::from_str_radix(id, 16).ok());
        tail.extend(ids.map(|id| (id, 1)));
    }
    Ok(tail)
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            levels: Vec::new(),
        }
    }
}

impl<T> Column<T> {
    fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

impl Rows {
    fn push(&mut self, line: Line) {
        let mut rows: Vec<(Option<String>, Option<f64>)> = Vec::new();
        for (name, datum) in &line.values.0 {
            match datum {
                Datum::Number(number) => rows.push((Some(name.clone()), Some(*number))),
                Datum::Counts(counts) => {
                    for (part, count) in counts.iter().enumerate() {
                        rows.push((Some(format!("{name}.{part}")), Some(*count)));
                    }
                }
            }
        }
        if rows.is_empty() {
            rows.push((None, None));
        }
        let historic = line.alert.is_some().then_some(line.historic);
        let texts = [
            line.id,
            line.site,
            line.device,
            line.sensor,
            line.unit,
            line.rule,
            line.clock,
        ]
        .map(|text| Some(ByteArray::from(text.into_bytes())));
        let bytes = |text: Option<String>| text.map(|text| ByteArray::from(text.into_bytes()));
        let (alert, cause, note) = (bytes(line.alert), bytes(line.cause), bytes(line.note));
        let wholes = [
            line.version,
            line.epoch,
            line.start,
            line.end,
            line.revision,
            line.samples,
            line.fresh,
        ];
        for (name, value) in rows {
            let last = [alert.clone(), cause.clone(), note.clone(), bytes(name)];
            let texts = texts.iter().cloned().chain(last);
            for (column, text) in self.texts.iter_mut().zip(texts) {
                column.push(text);
            }
            for (column, whole) in self.wholes.iter_mut().zip(wholes) {
                column.push(Some(whole));
            }
            for (column, truth) in self.truths.iter_mut().zip([Some(line.partial), historic]) {
                column.push(truth);
            }
            self.values.push(value);
            self.count += 1;
        }
    }
}

fn write_group(writer: &mut SerializedFileWriter<&File>, rows: &Rows) -> io::Result<()> {
    let mut group = writer.next_row_group().map_err(wrong)?;
    for kind in &KINDS {
        write_column(&mut group, rows, kind).map_err(wrong)?;
    }
    group.close().map_err(wrong)?;
    Ok(())
}

fn write_column(
    group: &mut SerializedRowGroupWriter<'_, &File>,
    rows: &Rows,
    kind: &Kind,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column too few".into()));
    };
    // A column that is required takes no levels, and passes over them.
    match *kind {
        Kind::Text(at) => {
            let Column { values, levels } = &rows.texts[at];
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(values, Some(levels), None)?;
        }
        Kind::Whole(at) => {
            let Column { values, levels } = &rows.wholes[at];
            let typed = column.typed::<Int64Type>();
            typed.write_batch(values, Some(levels), None)?;
        }
        Kind::Truth(at) => {
            let Column { values, levels } = &rows.truths[at];
            let typed = column.typed::<BoolType>();
            typed.write_batch(values, Some(levels), None)?;
        }
        Kind::Value => {
            let Column { values, levels } = &rows.values;
            let typed = column.typed::<DoubleType>();
            typed.write_batch(values, Some(levels), None)?;
        }
    }
    column.close()
}

fn wrong(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => io::Error::other(source),
        error => io::Error::other(error),
    }
}
