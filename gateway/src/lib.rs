//! Tidegate's gateway: from device frames on MQTT to records confirmed by sinks.
//!
//! Rooms in the order of a sample's life: [`mqtt`] → [`session`] → [`log`] → [`clock`] →
//! [`pipeline`] → [`spool`] → [`sinks`]. Beside the path: [`rules`], [`ledger`], [`mod@budget`], [`control`], [`mod@audit`],
//! [`registry`], [`at_rest`] and [`trust`] (who may speak), [`rehearsal`], [`comparison`], [`inspection`], [`backup`], [`mod@status`], [`reload`], [`plant`] (what people see), [`recent`], [`cli`]. [`entry`] and [`record`] are what flows between them;
//! [`store`] strings log, pipeline and spool together in the order that makes an ack mean "on disk"; [`run`] is the
//! shell that owns sockets, threads and the clock; [`explain`] derives the past again.
//!
//! The feature `network` (default) has every room that speaks to somebody; without it what is
//! left derives records from a log, on any target that has std.

#[cfg(feature = "network")]
pub mod at_rest;
#[cfg(feature = "network")]
pub mod audit;
pub mod backoff;
#[cfg(feature = "network")]
pub mod backup;
pub mod budget;
pub mod causes;
pub mod checkpoint;
#[cfg(feature = "network")]
pub mod cli;
pub mod clock;
#[cfg(feature = "network")]
pub mod comparison;
pub mod conduct;
pub mod conductor;
#[cfg(feature = "network")]
pub mod control;
#[cfg(feature = "network")]
pub mod dead_letters;
pub mod disk;
pub mod entry;
pub mod explain;
#[cfg(feature = "network")]
pub mod http;
pub mod identity;
pub mod inspection;
pub mod kill_point;
pub mod ledger;
pub mod log;
#[cfg(feature = "network")]
pub mod mqtt;
pub mod pipeline;
pub mod plain;
#[cfg(feature = "network")]
pub mod plant;
#[cfg(feature = "network")]
pub mod recent;
pub mod record;
pub mod registry;
pub mod rehearsal;
#[cfg(feature = "network")]
pub mod reload;
pub mod rules;
#[cfg(feature = "network")]
pub mod run;
pub mod session;
#[cfg(feature = "network")]
pub mod simulate;
#[cfg(feature = "network")]
pub mod sinks;
pub mod spool;
#[cfg(feature = "network")]
pub mod status;
pub mod store;
pub mod time;
#[cfg(feature = "network")]
pub mod trust;
