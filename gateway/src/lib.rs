//! Tidegate's gateway: from device frames on MQTT to records confirmed by sinks.
//!
//! Rooms in the order of a sample's life: [`mqtt`] → [`session`] → [`log`] → [`clock`] →
//! [`pipeline`] → [`spool`] → [`sinks`]. Beside the path: [`rules`], [`ledger`], [`control`],
//! [`inspection`], [`backup`], [`cli`]. [`entry`] and [`record`] are what flows between them; [`store`] strings log,
//! pipeline and spool together in the order that makes an ack mean "on disk"; [`run`] is the
//! shell that owns sockets, threads and the clock.

pub mod backoff;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod control;
pub mod disk;
pub mod entry;
pub mod identity;
pub mod inspection;
pub mod kill_point;
pub mod ledger;
pub mod log;
pub mod mqtt;
pub mod pipeline;
pub mod record;
pub mod rules;
pub mod run;
pub mod session;
pub mod simulate;
pub mod sinks;
pub mod spool;
pub mod store;
pub mod time;
