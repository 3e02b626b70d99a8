#![cfg_attr(not(test), no_std)]
#![doc = include_str!("../README.md")]

pub mod axis;
pub mod batch;
pub mod block;
pub mod body;
pub mod catalog;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod message;
pub mod topic;
