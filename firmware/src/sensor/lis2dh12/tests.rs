//! The chip as a script of transactions. Registers by its datasheet, ST `DocID025056`.

use std::vec;
use std::vec::Vec;

use embedded_hal::i2c::NoAcknowledgeSource;
use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

use super::*;

const ADDRESS: u8 = 0x18;
const WHO_AM_I: u8 = 0x0f;
const NAME: u8 = 0x33;
const CTRL_REG1: u8 = 0x20;
const CTRL_REG4: u8 = 0x23;
const CTRL_REG5: u8 = 0x24;
const OUT_X_L_ONWARDS: u8 = 0x28 | 0x80;
const FIFO_CTRL_REG: u8 = 0x2e;
const FIFO_SRC_REG: u8 = 0x2f;

fn read(register: u8, value: u8) -> Transaction {
    Transaction::write_read(ADDRESS, vec![register], vec![value])
}

fn write(register: u8, value: u8) -> Transaction {
    Transaction::write(ADDRESS, vec![register, value])
}

fn change(register: u8, from: u8, to: u8) -> [Transaction; 2] {
    [read(register, from), write(register, to)]
}

/// Everything to its value after power-on, then: ±4 g, whole values only, 12 bits, 400 Hz, queue.
fn settings() -> Vec<Transaction> {
    let defaults = [
        (CTRL_REG1, 0x07),
        (0x21, 0),
        (0x22, 0),
        (CTRL_REG4, 0),
        (CTRL_REG5, 0),
        (0x25, 0),
        (0x30, 0),
        (0x34, 0),
        (0x32, 0),
        (0x36, 0),
    ];
    let mut script: Vec<_> = defaults
        .map(|(register, value)| write(register, value))
        .into();
    script.extend(change(CTRL_REG4, 0x00, 0x10));
    script.extend(change(CTRL_REG4, 0x10, 0x90));
    script.extend(change(CTRL_REG1, 0x07, 0x07));
    script.extend(change(CTRL_REG4, 0x90, 0x98));
    script.extend(change(CTRL_REG1, 0x07, 0x77));
    script.extend(change(CTRL_REG5, 0x00, 0x40));
    script
}

fn restart() -> Vec<Transaction> {
    let bypass = change(FIFO_CTRL_REG, 0x40, 0x00);
    [bypass, change(FIFO_CTRL_REG, 0x00, 0x40)].concat()
}

fn queued(values: &[[i16; 3]]) -> Vec<Transaction> {
    let mut script = vec![read(WHO_AM_I, NAME), read(FIFO_SRC_REG, 0x80 | 31)];
    script.extend(values.iter().map(|axes| {
        let bytes = axes.iter().flat_map(|axis| axis.to_le_bytes()).collect();
        Transaction::write_read(ADDRESS, vec![OUT_X_L_ONWARDS], bytes)
    }));
    script
}

fn vibration(script: &[Vec<Transaction>]) -> Vibration<Mock> {
    let mock = Mock::new(&script.concat());
    Vibration::new(mock, false, FullScale::G4, Rate::Hz400)
}

/// 31 values: 7 that still settle, then a vibration of ±`digits` along x, gravity along z.
fn shaken(digits: i16) -> Vec<[i16; 3]> {
    let mut values = vec![[30_000, -30_000, 30_000]; 7];
    values.extend((0..24).map(|at| [(digits * (at % 2 * 2 - 1)) << 4, 0, 500 << 4]));
    values
}

#[test]
fn a_vibration_is_read_without_gravity_and_settling() {
    let name = vec![read(WHO_AM_I, NAME)];
    let first = [name.clone(), settings(), restart(), queued(&shaken(100))].concat();
    let second = [name, restart(), queued(&shaken(0))].concat();
    let mut sensor = vibration(&[first, second]);
    assert_eq!(sensor.begin(), Ok(85_250));
    // 100 digits of 2 mg: 0.2 g.
    assert_eq!(sensor.read(), Ok(Reading::Good(1_600)));
    assert_eq!(scale(FullScale::G4).mantissa(1_600), 2_000_000, "× 10⁻⁷ g");
    assert_eq!(sensor.begin(), Ok(85_250), "settings are written once");
    assert_eq!(sensor.read(), Ok(Reading::Good(0)));
    sensor.into_bus().done();
}

#[test]
fn a_clipped_signal_is_bad() {
    for loudest in [2_047 << 4, -2_048 << 4] {
        let mut values = shaken(1_000);
        values[30][1] = loudest;
        let mut sensor = vibration(&[queued(&values)]);
        assert!(matches!(sensor.read(), Ok(Reading::Bad(_))));
        sensor.into_bus().done();
    }
}

#[test]
fn another_chip_is_a_fault() {
    let mut sensor = vibration(&[vec![read(WHO_AM_I, 0xff)]]);
    assert_eq!(sensor.begin(), Err(Fault::WrongChip));
    sensor.into_bus().done();
}

#[test]
fn a_chip_that_lost_its_settings_gets_them_again() {
    let name = vec![read(WHO_AM_I, NAME)];
    let empty = [name.clone(), vec![read(FIFO_SRC_REG, 0x20)]].concat();
    let again = [name, settings(), restart()].concat();
    let mut sensor = vibration(&[empty, again]);
    sensor.is_set = true;
    assert_eq!(sensor.read(), Err(Fault::NotReady));
    assert_eq!(sensor.begin(), Ok(85_250));
    sensor.into_bus().done();
}

#[test]
fn a_bus_that_fails_midway_is_a_fault_with_a_code() {
    let silent = embedded_hal::i2c::ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    for (kind, code) in [
        (silent, 3),
        (embedded_hal::i2c::ErrorKind::ArbitrationLoss, 2),
        (embedded_hal::i2c::ErrorKind::Other, 0),
    ] {
        let mut script = queued(&shaken(1)[..10]);
        let failing = Transaction::write_read(ADDRESS, vec![OUT_X_L_ONWARDS], vec![0; 6]);
        script.push(failing.with_error(kind));
        let mut sensor = vibration(&[script]);
        let fault = sensor.read().unwrap_err();
        assert_eq!(Vibration::<Mock>::code(&fault), code);
        sensor.into_bus().done();
    }
}
