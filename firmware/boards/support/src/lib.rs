//! What Tidegate's boards share, over traits: a board adds its pins, its drivers and a `main`.
//!
//! | module | what it does |
//! |---|---|
//! | [`dial`] | opens TCP connections to the broker over embassy-net; DHCP may come and go |
//! | [`clock`] | the link's clock over embassy-time |
//! | [`settings`] | site, device name and broker from a page that a user writes, or built in |
//! | [`boot`] | incarnation, boot counter and a granted key, kept over power cuts |
//! | `claim` | a board's own name and key, when its page has a claim (a feature) |
//! | [`flash`] | the boot store in two sectors of NOR flash |
//! | [`kept`] | the RAM that outlives a soft reset, and the panic handler |
//! | [`mac`] | an Ethernet address from a chip's unique number |
//! | [`node`] | all of it together: a board's life |
//! | `log` | what a board logs, over defmt (a feature) |
//! | [`note`] | the last panic's message, kept over soft resets |
//! | [`sampling`] | one sample of one sensor, without keeping the executor |
//!
//! What the last boot counted and held is kept over soft resets by
//! [`tidegate_firmware::outbox::Remains`], laid into RAM that is not cleared at start.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod boot;
#[cfg(feature = "claim")]
pub mod claim;
pub mod clock;
pub mod dial;
pub mod flash;
pub mod kept;
#[cfg(feature = "defmt")]
pub mod log;
pub mod mac;
pub mod node;
pub mod note;
pub mod sampling;

pub use tidegate_firmware::settings;
