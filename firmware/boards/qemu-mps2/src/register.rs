//! Memory-mapped registers.

/// A 32-bit register at a fixed address.
#[derive(Debug, Clone, Copy)]
pub struct Register(usize);

impl Register {
    /// The register at `address`.
    ///
    /// # Safety
    /// It must be a device's register of this machine, which may be read and written at any time
    /// without breaking what Rust knows of memory.
    pub const unsafe fn new(address: usize) -> Self {
        Self(address)
    }

    /// The one `offset` bytes behind.
    pub const fn at(self, offset: usize) -> Self {
        Self(self.0 + offset)
    }

    /// Reads it.
    pub fn read(self) -> u32 {
        // SAFETY: a device's register, see `new`.
        unsafe { core::ptr::with_exposed_provenance::<u32>(self.0).read_volatile() }
    }

    /// Writes it.
    pub fn write(self, value: u32) {
        // SAFETY: a device's register, see `new`.
        unsafe { core::ptr::with_exposed_provenance_mut::<u32>(self.0).write_volatile(value) }
    }
}
