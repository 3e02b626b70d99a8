//! Keys: which devices are registered, with which keys, and what must be sealed.
//!
//! Terms: a device is *registered* when the [`Keyring`] names it, with keys or as revoked. A key is
//! *confirmed* once a frame that it sealed is on disk. A *channel* is what a device's newest sealed
//! Hello opened: by it the gateway seals what it says to that device.
//!
//! Invariants:
//! 1. Who is registered and sealed once is never taken at a plain word again, nor spoken to plainly.
//!    Only a plain Hello is refused plainly: anybody can say one.
//! 2. An unsequenced frame counts once in a start of the gateway: its counter has to grow within
//!    its boot.
//! 3. A frame is logged as it was before it was sealed: what reads a log needs no key.

use std::collections::BTreeMap;

use tidegate_shared::frame::{Frame, Header};
use tidegate_shared::ids::{DeviceName, Incarnation};
use tidegate_shared::mutation::{Mutation, is_on};
use tidegate_shared::seal::{self, Key, Opening, SEAL_BYTES_MAX, SealError, Way};

use super::claims::Claims;
use super::intake::{read_frame, uncounted};
use super::{Link, Session, SessionConfig};
use crate::entry::Uncounted;

/// Incarnations of a device whose counters are remembered, the living one among them: of the lowest
/// beyond, what was recorded counts again. A device without a boot store begins one with each start.
pub const HEARD_MAX: usize = 1_024;

/// `security.frames`: which frames are taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// `"require"`: only sealed ones.
    Require,
    /// `"allow-plain"`: devices that are not registered may speak plainly, and those that are until
    /// they sealed once.
    #[default]
    AllowPlain,
}

/// A key of a registered device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKey {
    /// From 1 to 255.
    pub id: u8,
    /// The key.
    pub key: Key,
    /// Whether a frame that it sealed is on disk.
    pub confirmed: bool,
}

/// The keys of the site's devices, as they hold now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Keyring {
    /// Whether plain frames are taken.
    pub frames: Frames,
    /// Registered devices with their keys, at most two; none for one that was revoked.
    pub devices: BTreeMap<DeviceName, Vec<DeviceKey>>,
    /// The claims by which others may enrol.
    pub claims: Claims,
}

impl Keyring {
    fn find(&self, device: &DeviceName, id: u8) -> Option<&DeviceKey> {
        self.devices.get(device)?.iter().find(|key| key.id == id)
    }

    /// Whether a plain word of this device counts for nothing.
    fn must_seal(&self, device: &DeviceName) -> bool {
        let registered = self.devices.get(device);
        match self.frames {
            Frames::Require => true,
            Frames::AllowPlain => registered
                .is_some_and(|keys| keys.is_empty() || keys.iter().any(|key| key.confirmed)),
        }
    }
}

/// What a sealed Hello opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channel {
    key_id: u8,
    boot: u32,
    hello: u32,
}

/// What is known of a device's sealed words in this start only.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    channel: Option<Channel>,
    /// The counter said last to this device, 0 before the first.
    said: u32,
    /// Boot and counter of the newest unsequenced frame, by incarnation.
    heard: BTreeMap<Incarnation, (u32, u32)>,
    /// Boot and counter of the newest status "online".
    online: Option<(Incarnation, u32, u32)>,
}

/// A frame of a device, plain again.
pub(super) struct Taken<'p> {
    pub frame: Frame<'p>,
    /// Its bytes as a plain frame.
    pub plain: &'p [u8],
    /// The key that sealed it; 0 for none.
    pub key_id: u8,
    /// Its counter; 0 of what is sequenced or was not sealed.
    pub counter: u32,
}

/// How a device is spoken to.
enum Voice<'k> {
    Plain,
    Sealed(Channel, &'k Key),
    /// It would take no word: it has a key, and did not say Hello yet.
    None,
}

impl Session {
    /// From here on these keys hold. What was taken under others stays taken.
    pub fn set_keys(&mut self, keys: Keyring) {
        for (device, link) in &mut self.links {
            let channel = link.sealed.channel;
            if channel.is_some_and(|channel| keys.find(device, channel.key_id).is_none()) {
                link.sealed.channel = None;
            }
        }
        self.config.keys = keys;
    }

    /// Reads what a device sent, opening it into `room` where it is sealed.
    pub(super) fn unseal<'p>(
        &self,
        device: &DeviceName,
        payload: &'p [u8],
        room: &'p mut [u8],
    ) -> Result<Taken<'p>, Uncounted> {
        let bytes_max = self.config.frame_bytes_max;
        if !seal::is_sealed(payload) {
            let frame = read_frame(payload, bytes_max)?;
            return Ok(Taken {
                frame,
                plain: payload,
                key_id: 0,
                counter: 0,
            });
        }
        if payload.len() > bytes_max + SEAL_BYTES_MAX {
            return Err(Uncounted::TooLong);
        }
        let said = seal::envelope(payload, Opening::Up).map_err(uncounted)?;
        let key_id = said.header.key_id;
        let key = self
            .config
            .keys
            .find(device, key_id)
            .ok_or(Uncounted::Key)?;
        let opened = seal::open(&key.key, Opening::Up, payload, room);
        let opened = opened.map_err(|error| match error {
            SealError::Tag => Uncounted::Forged,
            SealError::Full => Uncounted::TooLong,
            SealError::Frame(error) => uncounted(error),
        })?;
        if opened.plain.len() > bytes_max {
            return Err(Uncounted::TooLong);
        }
        Ok(Taken {
            frame: opened.frame,
            plain: opened.plain,
            key_id,
            counter: opened.counter,
        })
    }

    /// Whether this frame came as it has to: sealed, unless the device may still speak plainly.
    pub(super) fn is_due_plain(&self, device: &DeviceName, taken: &Taken<'_>) -> bool {
        let has_channel = self
            .links
            .get(device)
            .is_some_and(|link| link.sealed.channel.is_some());
        taken.key_id == 0 && (has_channel || self.config.keys.must_seal(device))
    }

    /// Notes the counter of an unsequenced frame, which has to be above all before it.
    pub(super) fn note_counter(
        &mut self,
        device: &DeviceName,
        taken: &Taken<'_>,
    ) -> Result<(), Uncounted> {
        if taken.key_id == 0 || is_on(Mutation::CounterNotChecked) {
            return Ok(());
        }
        let header = &taken.frame.header;
        let lives = self.live.devices.get(device);
        let lives = lives.and_then(|marks| marks.current).map(|(of, _)| of);
        let heard = &mut self.link(device).sealed.heard;
        let said = (header.mark.boot, taken.counter);
        match heard.get(&header.incarnation) {
            Some(newest) if said == *newest => return Err(Uncounted::Duplicate),
            Some(newest) if said < *newest => return Err(Uncounted::Replayed),
            _ => {}
        }
        if heard.len() >= HEARD_MAX && !heard.contains_key(&header.incarnation) {
            // Not how far the living one counted: its old words would count again.
            let former = heard.keys().copied().find(|of| Some(*of) != lives);
            former.and_then(|former| heard.remove(&former));
        }
        heard.insert(header.incarnation, said);
        Ok(())
    }

    /// Notes the counter of a status. A connection's will has the number before its "online": it
    /// is the broker's to publish, at any time.
    pub(super) fn note_status(
        &mut self,
        device: &DeviceName,
        taken: &Taken<'_>,
        online: bool,
    ) -> Result<(), Uncounted> {
        if taken.key_id == 0 {
            return Ok(());
        }
        let Header {
            incarnation, mark, ..
        } = taken.frame.header;
        let lives = self.live.devices.get(device);
        let lives = lives.and_then(|marks| marks.current);
        let lives = lives.is_some_and(|(lives, _)| lives == incarnation);
        let newest = &mut self.link(device).sealed.online;
        let said = (mark.boot, taken.counter);
        if let Some((of, boot, counter)) = *newest {
            // A will is of the incarnation that the connection began with.
            let is_will = mark.boot == boot && taken.counter.checked_add(1) == Some(counter);
            let is_newer = if of == incarnation {
                said > (boot, counter)
            } else {
                lives
            };
            if of == incarnation && said == (boot, counter) {
                return Err(Uncounted::Duplicate);
            }
            if !is_newer && (online || !is_will) {
                return Err(Uncounted::Replayed);
            }
        }
        if online {
            *newest = Some((incarnation, mark.boot, taken.counter));
        }
        Ok(())
    }

    /// A Hello that was taken: answers to it are sealed as it was.
    pub(super) fn open_channel(&mut self, device: &DeviceName, taken: &Taken<'_>) {
        if taken.key_id != 0 {
            self.link(device).sealed.channel = Some(Channel {
                key_id: taken.key_id,
                boot: taken.frame.header.mark.boot,
                hello: taken.counter,
            });
        }
    }

    /// The bytes to send for a plain down frame; none when the device would not take any.
    pub(super) fn sealed_for(&mut self, device: &DeviceName, plain: Vec<u8>) -> Option<Vec<u8>> {
        let SessionConfig {
            term,
            first_counter,
            ..
        } = self.config;
        let link = self.links.get_mut(device);
        let voice = voice(&self.config.keys, device, link.as_deref());
        match (voice, link) {
            (Voice::Sealed(channel, key), Some(link)) => {
                let last = link.sealed.said.max(first_counter & (u32::MAX >> 1));
                // Four thousand million answers to one device in one start: it hears no more.
                let counter = last.checked_add(1)?;
                if !is_on(Mutation::DownCounterReused) {
                    link.sealed.said = counter;
                }
                let way = Way::Down {
                    boot: channel.boot,
                    term,
                    hello: channel.hello,
                    counter,
                };
                let mut sealed = vec![0; plain.len() + SEAL_BYTES_MAX];
                let used = seal::seal(key, channel.key_id, way, &plain, &mut sealed).ok()?;
                sealed.truncate(used);
                Some(sealed)
            }
            (Voice::Plain, _) => Some(plain),
            _ => None,
        }
    }

    /// Whether a frame on disk shows for the first time that its key is in use.
    pub(super) fn is_first_use(&mut self, device: &DeviceName, key_id: u8) -> bool {
        let key = self.config.keys.devices.get_mut(device);
        let key = key.and_then(|keys| keys.iter_mut().find(|key| key.id == key_id));
        key.is_some_and(|key| !std::mem::replace(&mut key.confirmed, true))
    }
}

fn voice<'k>(keys: &'k Keyring, device: &DeviceName, link: Option<&Link>) -> Voice<'k> {
    let channel = link.and_then(|link| link.sealed.channel);
    let key = channel.and_then(|channel| Some((channel, keys.find(device, channel.key_id)?)));
    match key {
        Some((channel, key)) => Voice::Sealed(channel, &key.key),
        None if keys.must_seal(device) => Voice::None,
        None => Voice::Plain,
    }
}
