//! The pipeline as scripts of log entries and the records they give.

mod balance;
mod books;
mod closes;
mod epochs;
mod memory;
mod naive;
mod rejections;
mod restore;
mod script;
mod untrusted;
mod untrusted_random;
mod since;
mod versions;
