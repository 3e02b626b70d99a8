//! An adversary: what it tries with access to the broker and the key of one stolen device, and
//! what comes of each attempt; two honest devices beside it must not notice.
//!
//! Everything is on loopback, and bounded in number and time.

mod claims;
mod closed;
mod expected;
mod field;
mod open;
mod packets;
mod secured;
mod silent;
mod table;
