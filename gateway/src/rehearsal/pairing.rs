//! Pairing: which record is meant by which expectation.
//!
//! A record stands for one expectation at most. As many expectations as possible get a record
//! that fits (augmenting paths, Kuhn 1955), so that a vague one takes none from a particular
//! one. One that is left over is compared with the record that is likest, of the same rule,
//! device, sensor and start as far as it names them.

use super::Test;
use super::expectation::{Expected, Field, found};
use super::outcome::{Difference, FieldDifference};
use crate::record::Emitted;

/// Compares the records that came with those expected.
pub(super) fn compare(
    test: &Test,
    expected: &[Expected],
    records: &[Emitted],
    differences: &mut Vec<Difference>,
) {
    let mut taken = fitting(expected, records);
    for (at, wanted) in expected.iter().enumerate() {
        if taken.contains(&Some(at)) {
            continue;
        }
        let Some(likest) = likest(wanted, records, &taken) else {
            differences.push(Difference::Missing {
                number: wanted.number,
                line: wanted.line,
                fields: wanted.fields.clone(),
            });
            continue;
        };
        taken[likest] = Some(at);
        differences.push(differs(wanted, &records[likest]));
    }
    if test.others_ignored {
        return;
    }
    let others = records.iter().zip(&taken);
    for (record, _) in others.filter(|(_, taken)| taken.is_none()) {
        differences.push(Difference::Unexpected {
            record: Box::new(record.clone()),
        });
    }
}

/// By record: the expectation that it stands for.
fn fitting(expected: &[Expected], records: &[Emitted]) -> Vec<Option<usize>> {
    let fits: Vec<Vec<usize>> = expected
        .iter()
        .map(|wanted| {
            let numbered = records.iter().enumerate();
            let fitting = numbered.filter(|(_, record)| wanted.fits(record));
            fitting.map(|(at, _)| at).collect()
        })
        .collect();
    let mut taken = vec![None; records.len()];
    for at in 0..expected.len() {
        let mut seen = vec![false; records.len()];
        settle(at, &fits, &mut taken, &mut seen);
    }
    taken
}

/// Finds a record for an expectation, moving others to another one where they have one.
fn settle(at: usize, fits: &[Vec<usize>], taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for &record in &fits[at] {
        if std::mem::replace(&mut seen[record], true) {
            continue;
        }
        let is_free = taken[record].is_none_or(|other| settle(other, fits, taken, seen));
        if is_free {
            taken[record] = Some(at);
            return true;
        }
    }
    false
}

/// The record nobody took that has most of the fields, and all that say of what it is.
fn likest(wanted: &Expected, records: &[Emitted], taken: &[Option<usize>]) -> Option<usize> {
    let identity = |field: &Field| {
        matches!(
            field,
            Field::Rule | Field::Device | Field::Sensor | Field::Start
        )
    };
    let same = |record: &Emitted| {
        let mut fields = wanted.fields.iter();
        fields.all(|(field, datum)| !identity(field) || wanted.field_fits(field, datum, record))
    };
    let likeness = |record: &Emitted| {
        let fields = wanted.fields.iter();
        fields
            .filter(|(field, datum)| wanted.field_fits(field, datum, record))
            .count()
    };
    let free = records.iter().enumerate().zip(taken);
    free.filter(|((_, record), taken)| taken.is_none() && same(record))
        .map(|((at, record), _)| (likeness(record), at))
        // Of equals the first.
        .max_by_key(|(likeness, at)| (*likeness, std::cmp::Reverse(*at)))
        .map(|(_, at)| at)
}

fn differs(wanted: &Expected, record: &Emitted) -> Difference {
    let fields = wanted.fields.iter();
    let fields = fields.filter(|(field, datum)| !wanted.field_fits(field, datum, record));
    Difference::Differs {
        number: wanted.number,
        line: wanted.line,
        record: Box::new(record.clone()),
        fields: fields
            .map(|(field, datum)| FieldDifference {
                field: field.clone(),
                wanted: datum.clone(),
                found: found(record, field),
                within: match field {
                    Field::Value(_) => wanted.within,
                    _ => 0.0,
                },
            })
            .collect(),
    }
}
