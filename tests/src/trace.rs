//! Traces: a CSV file of a time column and numeric columns, read for the recomputation.

use std::collections::BTreeMap;
use std::path::Path;

use crate::utc;

/// A trace as its file says it.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Times of the rows, in seconds since 1970-01-01.
    pub times_s: Vec<i64>,
    /// Columns by the sensor name that an importer gives them.
    pub columns: BTreeMap<String, Column>,
}

/// One sensor's column.
#[derive(Debug, Clone, Default)]
pub struct Column {
    /// Name in the file.
    pub title: String,
    /// One text per row.
    pub texts: Vec<String>,
    /// One value per row.
    pub values: Vec<f64>,
    /// Most digits behind the point of any value.
    pub decimals: u32,
}

impl Trace {
    /// Reads a file of semicolon-separated columns, the first of them the time. Columns in
    /// `left_out` are skipped.
    pub fn read(path: &Path, left_out: &[&str]) -> Self {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(b';')
            .from_path(path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let titles = reader.headers().expect("the trace has a header").clone();
        let mut columns: Vec<Column> = titles
            .iter()
            .skip(1)
            .map(|title| Column {
                title: title.to_owned(),
                ..Column::default()
            })
            .collect();
        let mut times_s = Vec::new();
        for row in reader.records() {
            let row = row.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let time = utc::seconds(&row[0]);
            times_s.push(time.unwrap_or_else(|| panic!("{} is not a time", &row[0])));
            for (column, text) in columns.iter_mut().zip(row.iter().skip(1)) {
                column.push(text);
            }
        }
        let columns = columns
            .into_iter()
            .filter(|column| !left_out.contains(&column.title.as_str()))
            .map(|column| (sensor_name(&column.title), column))
            .collect();
        Self { times_s, columns }
    }

    /// Titles of the columns, for `--columns`.
    pub fn titles(&self) -> Vec<&str> {
        self.columns.values().map(|column| &*column.title).collect()
    }

    /// How many samples the trace holds.
    pub fn samples(&self) -> usize {
        self.times_s.len() * self.columns.len()
    }

    /// The resolution of each sensor that keeps every digit of its file.
    pub fn finest_resolutions(&self) -> BTreeMap<String, f64> {
        let finest = |column: &Column| 10_f64.powi(-column.decimals.cast_signed());
        self.columns
            .iter()
            .map(|(name, column)| (name.clone(), finest(column)))
            .collect()
    }
}

impl Column {
    fn push(&mut self, text: &str) {
        let text = text.trim();
        let value = text.parse().unwrap_or_else(|_| {
            panic!("{text:?} in column {} is not a number", self.title);
        });
        let decimals = text.split_once('.').map_or(0, |(_, digits)| digits.len());
        self.values.push(value);
        self.texts.push(text.to_owned());
        self.decimals = self.decimals.max(u32::try_from(decimals).unwrap_or(0));
    }
}

/// The name that importers give a column: other characters than `[A-Za-z0-9._-]` become `_`.
pub fn sensor_name(title: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    title
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_names_times_and_digits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.csv");
        let text = "datetime;Volume Flow RateRMS;label\n\
                    2020-02-08 13:30:47;122.66;0.0\n2020-02-08 13:30:49;-1;1.0\n";
        std::fs::write(&path, text).unwrap();
        let trace = Trace::read(&path, &["label"]);
        assert_eq!(trace.times_s, [1_581_168_647, 1_581_168_649]);
        assert_eq!(trace.titles(), ["Volume Flow RateRMS"]);
        let column = &trace.columns["Volume_Flow_RateRMS"];
        assert_eq!(column.values, [122.66, -1.0]);
        assert_eq!(column.decimals, 2);
        assert_eq!(trace.samples(), 2);
        assert!((trace.finest_resolutions()["Volume_Flow_RateRMS"] - 0.01).abs() < 1e-15);
    }
}
