//! Config: what a session needs to know of its gateway.

use tidegate_shared::ids::{SiteName, Term};
use tidegate_shared::limits::FRAME_BYTES_MAX;

use super::{Keyring, PENDING_BYTES_MAX, Policy, RETRY_AFTER_MS, WINDOW_DEFAULT};
use crate::entry::Limits;

/// What a session needs to know.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The site this gateway serves.
    pub site: SiteName,
    /// Drawn with the data directory; the lower of two owns the site.
    pub gateway_id: u64,
    /// This start of the gateway, random.
    pub term: Term,
    /// This start of the gateway, counted from 1.
    pub start: u32,
    /// Of these, `devices_max` concerns the session.
    pub limits: Limits,
    /// Largest frame taken, in bytes; at most [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: usize,
    /// Frames a device may have in flight; 1 to [`WINDOW_MAX`](tidegate_shared::limits::WINDOW_MAX).
    pub window: u16,
    /// Bytes of frames appended and not durable yet, all devices together.
    pub pending_bytes_max: usize,
    /// How long a device waits when the store cannot take its frames, in ms.
    pub retry_after_ms: u32,
    /// The keys of registered devices.
    pub keys: Keyring,
    /// What is done about offences.
    pub policy: Policy,
    /// What the counters of sealed answers begin behind, of which 31 bits count: random.
    pub first_counter: u32,
}

impl SessionConfig {
    /// The defaults, for this gateway.
    pub fn new(site: SiteName, gateway_id: u64, term: Term, start: u32) -> Self {
        Self {
            site,
            gateway_id,
            term,
            start,
            limits: Limits::default(),
            frame_bytes_max: FRAME_BYTES_MAX,
            window: WINDOW_DEFAULT,
            pending_bytes_max: PENDING_BYTES_MAX,
            retry_after_ms: RETRY_AFTER_MS,
            keys: Keyring::default(),
            policy: Policy::default(),
            first_counter: 0,
        }
    }
}
