//! The I²C bus of shield 1: two lines that software moves (AN386, section 4.8).
//!
//! A write to the base sets lines, a write 4 behind clears them, a read of the base tells them; bit
//! 0 is the clock, bit 1 the data. A set line is let go: the bus is open drain.

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use crate::register::Register;

// SAFETY: the block's address on this machine, AN386, table 3-1.
const LINES: Register = unsafe { Register::new(0x4002_a000) };
const CLEAR: Register = LINES.at(4);
const SCL: u32 = 1;
const SDA: u32 = 2;
/// Cycles of half a bit: 100 kHz at 25 MHz.
const HALF_BIT_CYCLES: u32 = 125;
/// Clocks after which a chip that holds the data line has let it go: a byte and its answer.
const RECOVERY_CLOCKS: usize = 9;

/// What can go wrong on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// Nobody answers to the address.
    Address,
    /// A byte was not taken.
    Data,
    /// The data line is held low by someone, even after clocks to free it.
    Stuck,
}

impl Error for BusFault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Address => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Self::Data => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data),
            Self::Stuck => ErrorKind::Bus,
        }
    }
}

/// A handle of the bus. A transfer is never interrupted by another one, since drivers block, so
/// there may be several.
#[derive(Debug, Clone, Copy)]
pub struct Sbcon(());

impl Sbcon {
    /// The bus.
    pub const fn new() -> Self {
        Self(())
    }
}

fn set(lines: u32) {
    LINES.write(lines);
    cortex_m::asm::delay(HALF_BIT_CYCLES);
}

fn clear(lines: u32) {
    CLEAR.write(lines);
    cortex_m::asm::delay(HALF_BIT_CYCLES);
}

fn start() -> Result<(), BusFault> {
    set(SDA);
    set(SCL);
    for _ in 0..RECOVERY_CLOCKS {
        if LINES.read() & SDA != 0 {
            break;
        }
        clear(SCL);
        set(SCL);
    }
    if LINES.read() & SDA == 0 {
        return Err(BusFault::Stuck);
    }
    clear(SDA);
    clear(SCL);
    Ok(())
}

fn stop() {
    clear(SDA);
    set(SCL);
    set(SDA);
}

fn put_bit(bit: bool) {
    if bit {
        set(SDA);
    } else {
        clear(SDA);
    }
    set(SCL);
    clear(SCL);
}

fn take_bit() -> bool {
    set(SDA);
    set(SCL);
    let bit = LINES.read() & SDA != 0;
    clear(SCL);
    bit
}

/// Whether the byte was taken.
fn put(byte: u8) -> bool {
    for at in (0..8).rev() {
        put_bit(byte >> at & 1 != 0);
    }
    !take_bit()
}

fn take(is_last: bool) -> u8 {
    let byte = (0..8).fold(0, |byte, _| byte << 1 | u8::from(take_bit()));
    put_bit(is_last);
    byte
}

fn transfer(address: u8, operations: &mut [Operation<'_>]) -> Result<(), BusFault> {
    let mut before = None;
    let mut left = operations.len();
    for operation in operations {
        left -= 1;
        let is_read = matches!(operation, Operation::Read(_));
        if before != Some(is_read) {
            start()?;
            if !put(address << 1 | u8::from(is_read)) {
                return Err(BusFault::Address);
            }
        }
        before = Some(is_read);
        match operation {
            Operation::Write(bytes) => {
                if !bytes.iter().all(|byte| put(*byte)) {
                    return Err(BusFault::Data);
                }
            }
            Operation::Read(bytes) => {
                let last = bytes.len().saturating_sub(1);
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = take(at == last && left == 0);
                }
            }
        }
    }
    Ok(())
}

impl ErrorType for Sbcon {
    type Error = BusFault;
}

impl I2c for Sbcon {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), BusFault> {
        let done = transfer(address, operations);
        stop();
        done
    }
}
