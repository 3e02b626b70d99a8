//! Ledger: where every sample went.

pub mod counters;
