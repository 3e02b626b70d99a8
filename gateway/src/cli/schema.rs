//! `tidegate schema`: the JSON Schema of `tidegate.toml`, for editors.

use super::failure::Failure;
use super::output::print_as_is;
use crate::rules::schema;

/// Prints the schema.
pub(super) fn show() -> Result<(), Failure> {
    print_as_is(&format!("{:#}\n", schema()))
}
