//! Vault: the keys of a world's devices as the registries of its gateways hold them, and every
//! nonce under which somebody sealed.
//!
//! Terms: a key is *held* while the registry names it; a device that gets another key has two held
//! until a gateway says that the newer one is in use, then the older one is *retired*.
//!
//! The registry is none of a disk's image: whoever restores an older one registers his devices'
//! keys of now. Keys are drawn from dice of their own: without them a seed's world is the same.

use std::collections::BTreeMap;

use tidegate_firmware::settings;
use tidegate_gateway::session::{DeviceKey, Frames, HEARD_MAX, Keyring};
use tidegate_shared::frame::crc32c;
use tidegate_shared::ids::DeviceName;
use tidegate_shared::limits::FRAME_BYTES_MAX;
use tidegate_shared::seal::{self, Envelope, Key, Opening};
use tidegate_tests::dice::Dice;

use super::story::Story;
use super::unit::SITE;

/// Worlds in a hundred whose devices have keys.
const KEYED: u64 = 50;

/// What numbers a sealed frame: device, key, whether to the device, incarnation, boot or term,
/// sequence or Hello, counter. To a device its boot does too, but gateways count on over that.
type Nonce = (DeviceName, u8, bool, u32, u32, u32, u32);

/// Boot and counter of the newest unsequenced frame of each device's incarnations that a start of
/// a gateway has taken.
pub type Heard = BTreeMap<DeviceName, BTreeMap<u32, (u32, u32)>>;

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Up,
    Status,
    Down,
}

/// What a message of a device is to a gateway.
#[derive(Debug, Default)]
pub struct Word {
    /// The plain frame; none of what no key that is held opens.
    pub plain: Option<Vec<u8>>,
    /// Whether its key was retired.
    pub is_retired: bool,
    /// Whether it is unsequenced and not newer than what was taken already.
    pub is_again: bool,
}

/// The keys of a world.
pub struct Vault {
    dice: Dice,
    /// None of a world without keys.
    ring: Option<Keyring>,
    /// Changes with the registry.
    pub edition: u64,
    /// All that were ever drawn.
    keys: BTreeMap<DeviceName, BTreeMap<u8, Key>>,
    /// Highest boot of each device.
    boots: BTreeMap<DeviceName, u32>,
    /// The check of what was sealed under a nonce.
    sealed: BTreeMap<Nonce, u32>,
}

impl Vault {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5ea1_ed00);
        let keyring = Keyring {
            frames: Frames::Require,
            ..Keyring::default()
        };
        Self {
            ring: dice.percent(KEYED).then_some(keyring),
            dice,
            edition: 0,
            keys: BTreeMap::new(),
            boots: BTreeMap::new(),
            sealed: BTreeMap::new(),
        }
    }

    /// The registry; none in a world without keys.
    pub fn ring(&self) -> Option<&Keyring> {
        self.ring.as_ref()
    }

    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// Another key for a device; none while its last one is not in use yet, or without keys.
    pub fn draw(&mut self, device: &DeviceName) -> Option<settings::DeviceKey> {
        let held = self.ring.as_mut()?.devices.entry(device.clone());
        let held = held.or_default();
        if held.len() > 1 {
            return None;
        }
        let mut bytes = [0; seal::KEY_BYTES];
        for eight in bytes.chunks_mut(8) {
            eight.copy_from_slice(&self.dice.bits().to_le_bytes());
        }
        let known = self.keys.entry(device.clone()).or_default();
        let id = known.len() as u8 + 1;
        known.insert(id, Key::new(bytes));
        held.push(DeviceKey {
            id,
            key: Key::new(bytes),
            confirmed: false,
        });
        self.edition += 1;
        Some(settings::DeviceKey { id, bytes })
    }

    /// A gateway says that a key is in use: an older one is retired.
    pub fn confirm(&mut self, device: &DeviceName, id: u8, story: &mut Story) {
        let held = self.ring.as_mut();
        let Some(held) = held.and_then(|ring| ring.devices.get_mut(device)) else {
            return;
        };
        let before = held.len();
        held.retain(|key| key.id >= id);
        for key in held.iter_mut().filter(|key| key.id == id) {
            key.confirmed = true;
        }
        if held.len() < before {
            story.happen("key retired");
        }
        self.edition += 1;
        story.tell(|| format!("{device}: key {id} is in use"));
    }

    fn is_held(&self, device: &DeviceName, id: u8) -> bool {
        let held = self.ring.as_ref().and_then(|ring| ring.devices.get(device));
        held.is_some_and(|keys| keys.iter().any(|key| key.id == id))
    }

    /// Somebody says this: it has to be sealed, under a nonce of its own.
    pub fn note(&mut self, topic: &str, bytes: &[u8], story: &mut Story) {
        let Some((device, place)) = place_of(topic).filter(|_| self.ring.is_some()) else {
            return;
        };
        let said = envelope(place, bytes);
        story.check("who has a key seals", said.is_some(), || topic.to_owned());
        let Some(Envelope {
            header, counter, ..
        }) = said
        else {
            return;
        };
        if place != Place::Down {
            let boot = self.boots.entry(device.clone()).or_default();
            *boot = header.mark.boot.max(*boot);
        }
        let nonce = (
            device,
            header.key_id,
            place == Place::Down,
            header.incarnation.0,
            header.mark.boot,
            header.mark.sequence,
            counter,
        );
        let check = crc32c(bytes);
        let same = *self.sealed.entry(nonce.clone()).or_insert(check) == check;
        story.check("no nonce repeats", same, || format!("{nonce:?}"));
    }

    /// What a gateway hears, of whose `heard` it becomes part if the gateway takes it.
    pub fn hear(&self, topic: &str, bytes: &[u8], heard: &mut Heard, takes: bool) -> Word {
        let place = place_of(topic).filter(|_| self.ring.is_some());
        let Some((device, place)) = place else {
            return Word {
                plain: Some(bytes.to_vec()),
                ..Word::default()
            };
        };
        let Some(said) = envelope(place, bytes) else {
            return Word::default();
        };
        let id = said.header.key_id;
        let key = self.keys.get(&device).and_then(|known| known.get(&id));
        let is_held = self.is_held(&device, id);
        let plain = key.filter(|_| is_held).and_then(|key| {
            let mut out = [0; FRAME_BYTES_MAX];
            let opened = seal::open(key, Opening::Up, bytes, &mut out).ok()?;
            Some(opened.plain.to_vec())
        });
        let counts = place == Place::Up && said.counter > 0 && plain.is_some() && takes;
        let is_again = counts && {
            let newest = heard.entry(device).or_default();
            let incarnation = said.header.incarnation.0;
            let this = (said.header.mark.boot, said.counter);
            let known = newest.get(&incarnation).copied();
            if known < Some(this) {
                newest.insert(incarnation, this);
            }
            // Of more incarnations a gateway forgets some.
            let is_remembered = newest.len() <= HEARD_MAX;
            is_remembered && known.is_some_and(|known| known >= this)
        };
        Word {
            plain,
            is_retired: key.is_some() && !is_held,
            is_again,
        }
    }

    /// What a gateway tells a device, plain; none if the device could not open it.
    pub fn open_down(&self, device: &DeviceName, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.ring.is_none() {
            return Some(bytes.to_vec());
        }
        let said = envelope(Place::Down, bytes)?;
        let key = self.keys.get(device)?.get(&said.header.key_id)?;
        let newest = self.boots.get(device).copied().unwrap_or(0);
        (1..=newest).rev().find_map(|boot| {
            let mut out = [0; FRAME_BYTES_MAX];
            let opened = seal::open(key, Opening::Down { boot }, bytes, &mut out).ok()?;
            Some(opened.plain.to_vec())
        })
    }
}

fn envelope(place: Place, bytes: &[u8]) -> Option<Envelope> {
    let opening = match place {
        Place::Down => Opening::Down { boot: 0 },
        Place::Up | Place::Status => Opening::Up,
    };
    seal::envelope(bytes, opening).ok()
}

/// Whose topic this is, and which; none of the gateway's.
pub fn place_of(topic: &str) -> Option<(DeviceName, Place)> {
    let rest = topic.strip_prefix("tidegate/v1/")?.strip_prefix(SITE)?;
    let (device, end) = rest.strip_prefix('/')?.split_once('/')?;
    let place = match end {
        "up" => Place::Up,
        "status" => Place::Status,
        "down" => Place::Down,
        _ => return None,
    };
    Some((DeviceName::try_from(device).ok()?, place))
}
