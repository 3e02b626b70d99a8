#![no_std]
#![doc = include_str!("../README.md")]

#[cfg(test)]
extern crate std;

pub mod batch;
#[cfg(feature = "claim")]
pub mod claim;
pub mod device;
pub mod gate;
pub mod link;
pub mod mqtt;
pub mod outbox;
pub mod seal;
pub mod sensor;
pub mod settings;
pub mod shell;
pub mod time;
pub mod totals;
pub mod transport;
