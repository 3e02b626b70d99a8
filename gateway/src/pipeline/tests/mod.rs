//! The pipeline as scripts of log entries and the records they give.

mod alerts;
mod balance;
mod books;
mod budget;
mod chains;
mod checkpoint;
mod closes;
mod conduct;
mod epochs;
mod memory;
mod model;
mod picture;
mod rejections;
pub(super) mod restore;
pub(crate) mod script;
mod shapes;
mod since;
#[cfg(feature = "network")]
mod skab;
mod untrusted;
mod untrusted_random;
mod versions;
