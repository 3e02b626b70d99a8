//! The debugger's console by semihosting: lines of text, and the host's random numbers.
//!
//! Each call stops the processor until the host has done it; without a debugger it would be a
//! fault. A board of one's own logs by its probe (defmt-rtt), as the other boards here do.

use core::fmt::{self, Write};

use cortex_m_semihosting::{nr, syscall};
use tidegate_firmware::shell::Entropy;

/// Longest line; what is longer is cut.
const LINE_BYTES: usize = 160;

/// Opens one of the host's files; its handle.
fn open(name: &core::ffi::CStr, mode: usize) -> Option<usize> {
    // SAFETY: SYS_OPEN of a name that ends in 0, with its length.
    let handle = unsafe { syscall!(OPEN, name.as_ptr(), mode, name.count_bytes()) };
    (handle as isize != -1).then_some(handle)
}

/// Writes a line.
pub fn line(text: fmt::Arguments<'_>) {
    let mut line = heapless::String::<LINE_BYTES>::new();
    // A line that does not fit is cut, which its writer calls an error.
    let _ = line.write_fmt(text);
    if line.push('\n').is_err() {
        line.pop();
        let _ = line.push('\n');
    }
    let Some(output) = open(c":tt", nr::open::W_TRUNC) else {
        return;
    };
    // SAFETY: SYS_WRITE of the line's bytes, then SYS_CLOSE of what was opened.
    unsafe {
        syscall!(WRITE, output, line.as_ptr(), line.len());
        syscall!(CLOSE, output);
    }
}

/// Logs a line: the uptime in seconds, then the text. Nothing in a silent image.
#[macro_export]
macro_rules! log {
    ($format:literal $(, $argument:expr)* $(,)?) => {
        if !cfg!(feature = "silent") {
            let ms = tidegate_board::clock::Clock::uptime_us() / 1_000;
            $crate::console::line(format_args!(
                concat!("{:5}.{:03} ", $format),
                ms / 1_000,
                ms % 1_000
                $(, $argument)*
            ));
        }
    };
}

/// The host's random numbers: an emulated machine has none of its own.
#[derive(Debug)]
pub struct HostEntropy(());

impl HostEntropy {
    /// The host's source.
    pub const fn new() -> Self {
        Self(())
    }
}

impl Entropy for HostEntropy {
    fn draw(&mut self) -> u32 {
        let mut drawn = [0_u8; 4];
        let source = open(c"/dev/urandom", nr::open::R_BINARY).expect("a host with /dev/urandom");
        // SAFETY: SYS_READ into four bytes, then SYS_CLOSE of what was opened.
        let left = unsafe {
            let left = syscall!(READ, source, drawn.as_mut_ptr(), drawn.len());
            syscall!(CLOSE, source);
            left
        };
        assert!(left == 0, "the host has no random numbers");
        u32::from_le_bytes(drawn)
    }
}
