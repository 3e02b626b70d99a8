//! Axes to the byte: the form chosen, the unit found, and what is refused.

use super::{read, write};
use crate::body::{BodyError, BodyFault, Reader, Writer};

fn written(offsets_us: &[u32]) -> Vec<u8> {
    let mut bytes = [0; 2_000];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer, offsets_us).unwrap();
    let written = writer.written().to_vec();
    let uptimes: Vec<u64> = offsets_us
        .iter()
        .map(|offset| 7 + u64::from(*offset))
        .collect();
    assert_eq!(read_from_7(&written).unwrap(), uptimes);
    written
}

fn read_from_7(bytes: &[u8]) -> Result<Vec<u64>, BodyError> {
    let mut times = [0; 255];
    let mut reader = Reader::new(bytes);
    let count = read(&mut reader, 7, &mut times)?;
    assert!(reader.is_at_end());
    Ok(times[..count].to_vec())
}

fn seconds(all: &[u32]) -> Vec<u32> {
    all.iter().map(|second| second * 1_000_000).collect()
}

#[test]
fn a_regular_axis_takes_four_bytes() {
    assert_eq!(written(&seconds(&[0, 1, 2, 3, 4])), [5, 0x06, 0, 1]);
    assert_eq!(written(&[50, 150, 250]), [3, 0x01, 5, 10]);
    assert_eq!(written(&[0, 0, 0]), [3, 0x09, 0, 0]);
    assert_eq!(
        written(&[u32::MAX; 2]),
        [2, 0x00, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]
    );
}

#[test]
fn a_single_sample_has_no_period() {
    assert_eq!(written(&[0]), [1, 0x09, 0]);
    assert_eq!(written(&[1_001]), [1, 0x00, 0xe9, 7]);
}

#[test]
fn a_missed_sample_takes_one_byte() {
    assert_eq!(
        written(&seconds(&[0, 1, 2, 4, 5, 6, 8])),
        [7, 0x16, 0, 1, 2, 2 * 2, 2 * 2]
    );
}

#[test]
fn another_exception_takes_its_difference() {
    // Behind three regular steps five seconds instead of one: + 4, folded to 8.
    assert_eq!(
        written(&seconds(&[0, 1, 2, 3, 8, 9])),
        [6, 0x16, 0, 1, 1, 3 * 2 + 1, 8]
    );
}

#[test]
fn every_residual_coding_is_reached() {
    let form = |steps: &[u32]| {
        let mut sum = 0;
        let offsets = steps.iter().map(|step| {
            sum += step;
            sum
        });
        written(&offsets.collect::<Vec<_>>())[1] >> 4
    };
    assert_eq!(form(&[0, 41, 101, 10]), super::VARINT);
    let even: Vec<u32> = (0..20).map(|at| 100_000 + at * 37 % 64).collect();
    assert_eq!(form(&even), super::BIT_PACKED);
    let near: Vec<u32> = (0..40)
        .map(|at| 1_001 + [0, 1, 2, 1, 0, 9, 1, 3][at * 5 % 8])
        .collect();
    assert_eq!(form(&near), super::RICE);
}

#[test]
fn impossible_axes_are_refused() {
    let fault = |bytes: &[u8]| read_from_7(bytes).unwrap_err();
    assert_eq!(
        fault(&[0, 0, 0]),
        BodyError {
            at: 0,
            fault: BodyFault::Limit
        }
    );
    // Exponent 10, form 5, a form without steps.
    assert_eq!(
        fault(&[1, 0x0a, 0]),
        BodyError {
            at: 1,
            fault: BodyFault::Value
        }
    );
    assert_eq!(
        fault(&[2, 0x50, 0, 1]),
        BodyError {
            at: 1,
            fault: BodyFault::Value
        }
    );
    assert_eq!(
        fault(&[1, 0x10, 0]),
        BodyError {
            at: 1,
            fault: BodyFault::Value
        }
    );
    // Longer than 2^32 µs; backwards; more exceptions than steps.
    assert_eq!(
        fault(&[6, 0x09, 0, 1]),
        BodyError {
            at: 0,
            fault: BodyFault::Range
        }
    );
    assert_eq!(
        fault(&[2, 0x20, 9, 1, 3]),
        BodyError {
            at: 0,
            fault: BodyFault::Range
        }
    );
    assert_eq!(
        fault(&[2, 0x16, 0, 1, 1, 2]),
        BodyError {
            at: 5,
            fault: BodyFault::Value
        }
    );
    assert_eq!(fault(&[3, 0x20, 0, 1, 3]).fault, BodyFault::End);
}

#[test]
fn uptimes_behind_the_last_one_are_refused() {
    let mut times = [0; 255];
    let error = read(&mut Reader::new(&[2, 0, 0, 9]), u64::MAX - 8, &mut times).unwrap_err();
    assert_eq!(error.fault, BodyFault::Range);
}
