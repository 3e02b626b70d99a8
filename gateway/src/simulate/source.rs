//! Sources: where the rows of a simulated device come from.

use super::SimulateError;
use super::column::Column;
use super::plant::{Plant, PlantRows};
use super::trace::{Trace, TraceRows};

/// One row: a time, and a raw value per column; none where the reading failed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Row {
    /// µs since 1970.
    pub utc_us: i64,
    /// As many as there are columns.
    pub raws: Vec<Option<i64>>,
}

/// What is simulated: known as a whole before the first row.
#[derive(Debug)]
pub enum Source {
    /// A CSV file.
    Trace(Trace),
    /// The model of a pump.
    Plant(Plant),
}

impl Source {
    /// The sensors.
    pub fn columns(&self) -> &[Column] {
        match self {
            Self::Trace(trace) => &trace.columns,
            Self::Plant(plant) => &plant.columns,
        }
    }

    /// How many rows there will be.
    pub fn rows_count(&self) -> u64 {
        match self {
            Self::Trace(trace) => trace.rows,
            Self::Plant(plant) => plant.rows,
        }
    }

    /// The rows of the device with this number, from the first.
    pub fn rows(&self, device: u32) -> Result<Rows<'_>, SimulateError> {
        Ok(match self {
            Self::Trace(trace) => Rows::Trace(trace.rows()?),
            Self::Plant(plant) => Rows::Plant(plant.rows(device)),
        })
    }
}

/// Rows one by one, times ascending.
#[derive(Debug)]
pub enum Rows<'s> {
    /// Of a CSV file.
    Trace(TraceRows<'s>),
    /// Of the model.
    Plant(PlantRows),
}

impl Rows<'_> {
    /// Reads the next row into `row`; false behind the last.
    pub fn next(&mut self, row: &mut Row) -> Result<bool, SimulateError> {
        match self {
            Self::Trace(rows) => rows.next(row),
            Self::Plant(rows) => Ok(rows.next(row)),
        }
    }

    /// Rows that were left out because their time was not after the one before.
    pub fn skipped(&self) -> u64 {
        match self {
            Self::Trace(rows) => rows.skipped,
            Self::Plant(_) => 0,
        }
    }
}
