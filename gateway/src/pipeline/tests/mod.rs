//! The pipeline as scripts of log entries and the records they give.

mod balance;
mod closes;
mod epochs;
mod memory;
mod naive;
mod rejections;
pub(super) mod restore;
pub(crate) mod script;
mod versions;
