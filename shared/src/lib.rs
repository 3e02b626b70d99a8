#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![doc = include_str!("../README.md")]

pub mod axis;
pub mod batch;
mod bits;
pub mod block;
pub mod body;
pub mod catalog;
#[cfg(feature = "claim")]
pub mod claim;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod message;
pub mod mutation;
pub mod report;
mod residual;
pub mod seal;
pub mod topic;
