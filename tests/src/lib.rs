//! What Tidegate's end-to-end tests stand on: guarded processes, real brokers and databases, an
//! HTTP receiver that keeps everything, a link that can be cut, certificates, a count of the bytes
//! on the way, and a recomputation of the right answers that shares no code with the crates under
//! test.
//!
//! Tests run the release binary; `tests/run` builds it and installs what else is needed.

pub mod answers;
pub mod broker;
pub mod capture;
pub mod certificates;
pub mod connection;
pub mod dice;
pub mod emulator;
pub mod http;
pub mod ledger;
pub mod pages;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod recomputation;
pub mod records;
pub mod report;
pub mod request;
pub mod rig;
pub mod servers;
pub mod simulation;
pub mod subscriber;
pub mod trace;
pub mod utc;
pub mod wall;
