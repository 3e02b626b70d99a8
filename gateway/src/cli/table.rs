//! Tables: JSON of counters laid out for people.
//!
//! A map whose values are all flat becomes a table with a row per key; whatever is nested deeper
//! becomes a section of its own under its path. Nothing is left out, zeros neither: a counter
//! that is 0 says something.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::plain;

/// Lays out a value.
pub(super) fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) => section(&mut out, "", fields),
        other => {
            let _ = writeln!(out, "{}", cell(other));
        }
    }
    out
}

fn section(out: &mut String, path: &str, fields: &Map<String, Value>) {
    let flat: Vec<(&String, &Value)> = fields.iter().filter(|(_, value)| is_flat(value)).collect();
    if !flat.is_empty() {
        heading(out, path);
        let rows: Vec<Vec<String>> = flat
            .iter()
            .map(|(name, value)| vec![(*name).clone(), cell(value)])
            .collect();
        align(out, &rows);
    }
    for (name, value) in fields {
        let below = if path.is_empty() {
            name.clone()
        } else {
            format!("{path} / {name}")
        };
        match value {
            Value::Object(inner) if is_table(inner) => table(out, &below, inner),
            Value::Object(inner) if !inner.is_empty() => section(out, &below, inner),
            Value::Array(items) if !is_flat(value) => array(out, &below, items),
            _ => {}
        }
    }
}

/// A list is a map from its indices, counted from 1.
fn array(out: &mut String, path: &str, items: &[Value]) {
    let numbered = items.iter().enumerate();
    let fields: Map<String, Value> = numbered
        .map(|(index, item)| {
            (
                format!("{:0width$}", index + 1, width = digits(items.len())),
                item.clone(),
            )
        })
        .collect();
    if is_table(&fields) {
        table(out, path, &fields);
    } else {
        section(out, path, &fields);
    }
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// Whether a value fits a cell.
fn is_flat(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items
            .iter()
            .all(|item| !item.is_object() && !item.is_array()),
        _ => true,
    }
}

/// Whether every value is a row of flat cells.
fn is_table(fields: &Map<String, Value>) -> bool {
    !fields.is_empty()
        && fields.values().all(|row| {
            row.as_object()
                .is_some_and(|cells| !cells.is_empty() && cells.values().all(is_flat))
        })
}

fn table(out: &mut String, path: &str, fields: &Map<String, Value>) {
    let rows = || {
        fields
            .iter()
            .filter_map(|(name, row)| Some((name, row.as_object()?)))
    };
    let columns: BTreeSet<&String> = rows().flat_map(|(_, row)| row.keys()).collect();
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(columns.iter().map(|column| (*column).clone()));
    for (name, row) in rows() {
        let cells = columns
            .iter()
            .map(|column| row.get(*column).map_or(String::new(), cell));
        lines.push(std::iter::once(name.clone()).chain(cells).collect());
    }
    heading(out, path);
    align(out, &lines);
}

fn heading(out: &mut String, path: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    if !path.is_empty() {
        let _ = writeln!(out, "{path}");
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => grouped(&number.to_string()),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "-".to_owned(),
        Value::Bool(flag) => flag.to_string(),
    }
}

/// A whole number with a comma between thousands; anything else as it is.
pub(super) fn grouped(number: &str) -> String {
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut shown = String::new();
    for (index, digit) in number.chars().enumerate() {
        if index > 0 && (number.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Writes rows with their columns under each other: the first to the left, the others to the
/// right.
pub(super) fn align(out: &mut String, rows: &[Vec<String>]) {
    let plain_row = |row: &Vec<String>| {
        let cells = row.iter().map(|cell| plain::in_line(cell).into_owned());
        cells.collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(plain_row).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(line, "  {cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::render;

    #[test]
    fn counters_become_sections_and_tables() {
        let ledger = json!({
            "position": 1_234_567,
            "uncounted": { "trailer": 2, "version": 0 },
            "devices": {
                "pump-1": {
                    "incarnation": "00c0ffee",
                    "sensors": {
                        "Pressure": { "taken": 1000, "lost": null },
                        "Current": { "taken": 7, "late": 1 },
                    },
                },
                "pump-2": { "sensors": {} },
            },
            "sinks": [ { "name": "cloud", "waiting": 3 }, { "name": "local", "waiting": 0 } ],
        });
        let expected = "  position  1,234,567\n\
            \n\
            devices / pump-1\n  incarnation  00c0ffee\n\
            \n\
            devices / pump-1 / sensors\n            late     lost  taken\n  Current      1               7\n  Pressure        unknown  1,000\n\
            \n\
            devices / pump-2\n  sensors  -\n\
            \n\
            sinks\n      name  waiting\n  1  cloud        3\n  2  local        0\n\
            \n\
            uncounted\n  trailer  2\n  version  0\n";
        assert_eq!(render(&ledger), expected, "\n{}", render(&ledger));
    }

    #[test]
    fn cells_give_a_terminal_no_orders() {
        let shown = render(&json!({ "units": { "a\u{1b}[2J": { "unit": "bar\r\n" } } }));
        assert_eq!(shown, "units\n          unit\n  a�[2J  bar��\n");
    }

    #[test]
    fn odd_shapes_are_shown_as_well() {
        assert_eq!(render(&json!(3)), "3\n");
        assert_eq!(render(&json!({})), "");
        assert_eq!(
            render(&json!({ "a": [1, 2], "b": -5.5 })),
            "  a  1, 2\n  b  -5.5\n"
        );
        assert_eq!(
            render(&json!({ "a": [[1], []] })),
            "\na\n  1  1\n  2\n".trim_start()
        );
    }
}
