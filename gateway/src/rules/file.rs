//! File: the configuration's text.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::CONFIG_BYTES_MAX;

/// Reads a configuration's text, at most a byte more than one may have.
///
/// # Errors
/// The file cannot be read, or is not UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(CONFIG_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|why| {
        let at = why.utf8_error().valid_up_to();
        let message = format!("it is not UTF-8 text from byte {at} on");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}
