//! Programs: expressions bound to a sensor. (To be replaced.)
use crate::rules::Expression;
use std::ops::Bound;
#[derive(Debug, Clone, Copy)]
pub struct Constants<'a> {
    pub site: &'a str,
    pub device: &'a str,
    pub sensor: &'a str,
    pub unit: &'a str,
    pub kind: &'a str,
    pub tags: &'a [(&'a str, &'a str)],
}
#[derive(Debug, Clone, PartialEq)]
pub struct Program;
impl Program {
    pub fn bind(_: &Expression, _: &Constants<'_>) -> Self {
        Self
    }
    pub fn number(&self, inputs: &[f64]) -> Option<f64> {
        inputs.first().copied()
    }
    pub fn holds(&self, _: &[f64]) -> Option<bool> {
        Some(true)
    }
    pub fn interval(&self) -> Option<(Bound<f64>, Bound<f64>)> {
        None
    }
}
