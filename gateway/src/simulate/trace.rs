//! Traces: CSV files with a column of times and numeric columns.
//!
//! A file is read twice: once to learn delimiter, times, columns and resolutions, once to send.
//! So its size does not matter. Rows whose time is not after the one before are left out and
//! counted; empty cells and NaN are failed readings.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use csv::{Reader, ReaderBuilder, StringRecord};
use tidegate_shared::ids::SensorName;

use super::SimulateError;
use super::args::SimulateArgs;
use super::column::{Column, Extent, clean};
use super::decimal::Decimal;
use super::source::Row;
use super::time_text::{parse_civil, parse_epoch};

/// Titles that make a column of plain numbers the time.
const TIME_TITLES: [&str; 8] = [
    "time",
    "datetime",
    "timestamp",
    "date",
    "ts",
    "epoch",
    "unix",
    "utc",
];
/// What stands for no reading, beside an empty cell.
const MISSING: [&str; 7] = ["nan", "na", "n/a", "null", "none", "inf", "-inf"];

/// A CSV file, understood.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    delimiter: u8,
    time_index: usize,
    is_epoch: bool,
    /// The sensors.
    pub columns: Vec<Column>,
    /// Rows, those left out included.
    pub rows: u64,
    /// Titles of columns that are left out because they hold text.
    pub left_out: Vec<String>,
}

/// What the first reading learns of a column.
#[derive(Debug, Default)]
struct Candidate {
    extent: Extent,
    has_number: bool,
    /// The first cell that is no number: line and text.
    text: Option<(u64, String)>,
}

impl Trace {
    /// Reads a file once and understands it.
    pub fn open(path: &Path, args: &SimulateArgs) -> Result<Self, SimulateError> {
        let delimiter = match args.delimiter {
            Some(one) => one as u8,
            None => delimiter_of(path)?,
        };
        let mut reader = reader(path, delimiter)?;
        let titles = reader
            .headers()
            .map_err(|source| row_error(path, 1, source))?
            .clone();
        let mut candidates: Vec<Candidate> = titles.iter().map(|_| Candidate::default()).collect();
        let (mut record, mut rows, mut time) = (StringRecord::new(), 0, None);
        while read(&mut reader, &mut record, path)? {
            if rows == 0 {
                time = Some(time_of(&titles, &record, args, path)?);
            }
            rows += 1;
            let line = record.position().map_or(0, csv::Position::line);
            for (candidate, cell) in candidates.iter_mut().zip(&record) {
                candidate.look(cell, line);
            }
        }
        let (time_index, is_epoch) = time.ok_or_else(|| SimulateError::NoTime {
            path: path.to_owned(),
        })?;
        let mut trace = Self {
            path: path.to_owned(),
            delimiter,
            time_index,
            is_epoch,
            columns: Vec::new(),
            rows,
            left_out: Vec::new(),
        };
        trace.choose(&titles, &candidates, args)?;
        Ok(trace)
    }

    /// Chooses the columns, in the file's order.
    fn choose(
        &mut self,
        titles: &StringRecord,
        candidates: &[Candidate],
        args: &SimulateArgs,
    ) -> Result<(), SimulateError> {
        let mut names: Vec<SensorName> = Vec::new();
        for (index, title) in titles.iter().enumerate() {
            names.push(clean(title, index, &names));
        }
        let titled: Vec<(&str, &SensorName)> = titles.iter().zip(&names).collect();
        let is_called = |wanted: &str, index: usize| {
            titled.get(index).is_some_and(|(title, name)| {
                title.trim() == wanted.trim() || name.as_str() == wanted.trim()
            })
        };
        let said = args
            .columns
            .iter()
            .chain(args.resolution.iter().map(|one| &one.name));
        for wanted in said.chain(args.unit.iter().map(|one| &one.name)) {
            if !(0..titled.len()).any(|index| is_called(wanted, index)) {
                return Err(SimulateError::NoColumn {
                    name: wanted.clone(),
                    known: titles.iter().map(str::to_owned).collect(),
                });
            }
        }
        for (index, candidate) in candidates.iter().enumerate() {
            let is_named = args.columns.iter().any(|wanted| is_called(wanted, index));
            if index == self.time_index || (!args.columns.is_empty() && !is_named) {
                continue;
            }
            let title = titles.get(index).unwrap_or_default();
            if let Some((line, text)) = &candidate.text {
                if is_named {
                    return Err(SimulateError::NotNumeric {
                        name: title.to_owned(),
                        line: *line,
                        text: text.clone(),
                    });
                }
                self.left_out.push(title.to_owned());
                continue;
            }
            if !candidate.has_number && !is_named {
                self.left_out.push(title.to_owned());
                continue;
            }
            let given = args
                .resolution
                .iter()
                .find(|one| is_called(&one.name, index));
            let unit = args.unit.iter().find(|one| is_called(&one.name, index));
            self.columns
                .extend(titled.get(index).map(|(_, name)| Column {
                    index,
                    name: (*name).clone(),
                    unit: unit.map(|one| one.value.clone()).unwrap_or_default(),
                    resolution:
                        given.map_or_else(|| candidate.extent.resolution(), |one| one.value),
                }));
        }
        if self.columns.is_empty() {
            return Err(SimulateError::NoSensors {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// Reads it again, row by row.
    pub fn rows(&self) -> Result<TraceRows<'_>, SimulateError> {
        Ok(TraceRows {
            trace: self,
            reader: reader(&self.path, self.delimiter)?,
            record: StringRecord::new(),
            last_us: None,
            skipped: 0,
        })
    }
}

impl Candidate {
    fn look(&mut self, cell: &str, line: u64) {
        match Decimal::parse(cell) {
            Some(number) => {
                self.has_number = true;
                self.extent.add(&number);
            }
            None if is_missing(cell) || self.text.is_some() => {}
            None => self.text = Some((line, cell.to_owned())),
        }
    }
}

/// The rows of a trace.
#[derive(Debug)]
pub struct TraceRows<'t> {
    trace: &'t Trace,
    reader: Reader<File>,
    record: StringRecord,
    last_us: Option<i64>,
    /// Rows left out because their time was not after the one before.
    pub skipped: u64,
}

impl TraceRows<'_> {
    /// Reads the next row whose time is after the last; false behind the last.
    pub fn next(&mut self, row: &mut Row) -> Result<bool, SimulateError> {
        let trace = self.trace;
        while read(&mut self.reader, &mut self.record, &trace.path)? {
            let text = self.record.get(trace.time_index).unwrap_or_default();
            let parsed = if trace.is_epoch {
                parse_epoch(text)
            } else {
                parse_civil(text)
            };
            let Some(utc_us) = parsed else {
                let line = self.record.position().map_or(0, csv::Position::line);
                return Err(SimulateError::Time {
                    line,
                    text: text.to_owned(),
                });
            };
            if self.last_us.is_some_and(|last_us| utc_us <= last_us) {
                self.skipped += 1;
                continue;
            }
            self.last_us = Some(utc_us);
            row.utc_us = utc_us;
            row.raws.clear();
            for column in &trace.columns {
                let cell = self.record.get(column.index).unwrap_or_default();
                let number = Decimal::parse(cell);
                row.raws
                    .push(number.and_then(|number| column.resolution.raw(&number)));
            }
            return Ok(true);
        }
        Ok(false)
    }
}

fn is_missing(cell: &str) -> bool {
    let cell = cell.trim().to_ascii_lowercase();
    cell.is_empty() || MISSING.contains(&cell.as_str())
}

fn reader(path: &Path, delimiter: u8) -> Result<Reader<File>, SimulateError> {
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    Ok(ReaderBuilder::new().delimiter(delimiter).from_reader(file))
}

fn read(
    reader: &mut Reader<File>,
    record: &mut StringRecord,
    path: &Path,
) -> Result<bool, SimulateError> {
    let line = reader.position().line();
    reader
        .read_record(record)
        .map_err(|source| row_error(path, line, source))
}

fn unreadable(path: &Path, source: io::Error) -> SimulateError {
    SimulateError::TraceUnreadable {
        path: path.to_owned(),
        source,
    }
}

fn row_error(path: &Path, line: u64, source: csv::Error) -> SimulateError {
    SimulateError::Row {
        path: path.to_owned(),
        line,
        source,
    }
}

/// The separator that the first line has most of; a comma when it has none.
fn delimiter_of(path: &Path) -> Result<u8, SimulateError> {
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let mut line = Vec::new();
    // A line of a megabyte is no title line: do not read on.
    let mut head = BufReader::new(io::Read::take(file, 1 << 20));
    head.read_until(b'\n', &mut line)
        .map_err(|source| unreadable(path, source))?;
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut is_quoted = false;
    for byte in line {
        is_quoted ^= byte == b'"';
        for (delimiter, count) in &mut counts {
            *count += usize::from(!is_quoted && byte == *delimiter);
        }
    }
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    Ok(most.map_or(b',', |(delimiter, _)| delimiter))
}

/// Which column holds the times, and whether as numbers since 1970.
fn time_of(
    titles: &StringRecord,
    first: &StringRecord,
    args: &SimulateArgs,
    path: &Path,
) -> Result<(usize, bool), SimulateError> {
    let cell = |index: usize| first.get(index).unwrap_or_default();
    if let Some(wanted) = &args.time_column {
        let index = titles
            .iter()
            .position(|title| title.trim() == wanted.trim());
        let index = index.ok_or_else(|| SimulateError::NoColumn {
            name: wanted.clone(),
            known: titles.iter().map(str::to_owned).collect(),
        })?;
        return Ok((index, parse_civil(cell(index)).is_none()));
    }
    if let Some(index) = (0..titles.len()).find(|index| parse_civil(cell(*index)).is_some()) {
        return Ok((index, false));
    }
    let is_time = |title: &str| TIME_TITLES.contains(&title.trim().to_ascii_lowercase().as_str());
    titles
        .iter()
        .zip(0..)
        .find(|(title, index)| is_time(title) && parse_epoch(cell(*index)).is_some())
        .map(|(_, index)| (index, true))
        .ok_or_else(|| SimulateError::NoTime {
            path: path.to_owned(),
        })
}

#[cfg(test)]
mod tests;
