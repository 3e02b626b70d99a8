//! Settings: whose device this is, where its broker listens, and the key it seals with or the claim
//! that it gets one by, from a page in flash that a user writes without compiling anything. Boards
//! read it, the gateway writes it.
//!
//! ```text
//! "TGcf" | version u8 | length u16 LE of what follows up to the check
//! length u8, site | length u8, device | length u8, broker host | broker port u16 LE
//! key id u8, 0 for no key | 32 bytes of key, unless the id is 0
//! claim id u32 LE, 0 for no claim | 32 bytes of its code, unless the id is 0
//! CRC-32C u32 LE over all bytes before it
//! ```
//! Key and claim may be absent with all of their bytes: pages without them end at the port, or behind
//! the key, and say none. A page is of a device with a key, or of all that enrol by one claim: then
//! its device is a prefix, behind which each adds a number of its own ([`Settings::name_of`]). A key
//! beside a claim is the one that counts.
//!
//! A page that was never written (all bytes equal, 0xff or 0) is no fault: the board's built-in
//! settings hold. One that is written and wrong is: the built-in settings hold as well, and the
//! board says why. Fields that a later version adds stand behind the claim; a reader skips what it
//! does not know.

use core::fmt::{self, Write as _};

use heapless::String;
use tidegate_shared::frame::crc32c;
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::limits::DEVICE_BYTES_MAX;

/// What every page begins with.
pub const MAGIC: [u8; 4] = *b"TGcf";
/// The version that this module writes, and the newest it reads.
pub const VERSION: u8 = 1;
/// Most bytes of a broker's host.
pub const HOST_BYTES_MAX: usize = 64;
/// Most bytes of a page of this version.
pub const PAGE_BYTES_MAX: usize = HEAD_BYTES
    + (25 + 33 + 1 + HOST_BYTES_MAX + 2)
    + (1 + KEY_BYTES)
    + (4 + KEY_BYTES)
    + CHECK_BYTES;
/// Bytes of a device's key, and of a claim's code.
pub const KEY_BYTES: usize = 32;
/// Most bytes of the prefix that devices of one claim share: a name, less `-` and eight digits.
pub const PREFIX_BYTES_MAX: usize = DEVICE_BYTES_MAX - 9;

const HEAD_BYTES: usize = 7;
const CHECK_BYTES: usize = 4;

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// An IPv4 address, or a name where the image has DNS.
    pub host: String<HOST_BYTES_MAX>,
    /// TCP port; 1883 is usual.
    pub port: u16,
}

/// The key that a device seals its frames with, and opens the gateway's.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKey {
    /// Which of the device's keys it is: 1 to 255; 0 stands for none wherever a key id is written.
    pub id: u8,
    /// The key.
    pub bytes: [u8; KEY_BYTES],
}

/// Without the key: what is printed is read by others.
impl fmt::Debug for DeviceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("DeviceKey");
        shown.field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a device without a key gets one by (`tidegate_shared::claim`).
#[derive(Clone, PartialEq, Eq)]
pub struct PageClaim {
    /// Which claim; 0 stands for none wherever a claim's id is written.
    pub id: u32,
    /// Its code, the same for all devices of the claim.
    pub code: [u8; KEY_BYTES],
}

/// Without the code: what is printed is read by others.
impl fmt::Debug for PageClaim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("PageClaim");
        shown.field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a user sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The site whose gateway takes the samples.
    pub site: SiteName,
    /// This device's name, unlike any other's at the site; with a claim and no key, the prefix of
    /// its name.
    pub device: DeviceName,
    /// The site's broker.
    pub broker: Broker,
    /// The device's key; none, and no claim either: it speaks plainly.
    pub key: Option<DeviceKey>,
    /// The claim by which it gets a key of its own, unless it has one.
    pub claim: Option<PageClaim>,
}

/// What is wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFault {
    /// It does not begin with [`MAGIC`].
    Magic,
    /// It was made for another firmware.
    Version {
        /// The version it says.
        found: u8,
    },
    /// It says a length that goes beyond its fields or the page.
    Length,
    /// Its check does not hold: a torn or damaged page.
    Check,
    /// The site is not 1 to 24 of `[A-Za-z0-9._-]`.
    Site,
    /// The device's name is not 1 to 32 of `[A-Za-z0-9._-]`; a prefix, not 1 to 23 of them.
    Device,
    /// The broker's host is empty, too long or no text, or its port is 0.
    Broker,
    /// It is of devices that enrol by a claim, and this image cannot: it is built without `claim`.
    Claim,
}

/// Where settings came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The page.
    Page,
    /// Built in: no page was written.
    BuiltIn,
    /// Built in, because the page is wrong.
    Fault(PageFault),
}

impl Settings {
    /// Settings without a key by their texts; `None` when one is no name or no broker. For what is
    /// built in.
    pub fn new(site: &str, device: &str, host: &str, port: u16) -> Option<Self> {
        Some(Self {
            site: SiteName::try_from(site).ok()?,
            device: DeviceName::try_from(device).ok()?,
            broker: Broker::new(host, port)?,
            key: None,
            claim: None,
        })
    }

    /// The settings of `page`, or `built_in` with the reason.
    pub fn read_or(page: &[u8], built_in: Self) -> (Self, Source) {
        match Self::read(page) {
            // All devices of the page would have one name, and none a key.
            Ok(Some(settings)) if settings.enrols().is_some() && !cfg!(feature = "claim") => {
                (built_in, Source::Fault(PageFault::Claim))
            }
            Ok(Some(settings)) => (settings, Source::Page),
            Ok(None) => (built_in, Source::BuiltIn),
            Err(fault) => (built_in, Source::Fault(fault)),
        }
    }

    /// The settings of a page; `None` when none was written.
    pub fn read(page: &[u8]) -> Result<Option<Self>, PageFault> {
        if [0, 0xff]
            .iter()
            .any(|blank| page.iter().all(|byte| byte == blank))
        {
            return Ok(None);
        }
        let rest = page.strip_prefix(&MAGIC).ok_or(PageFault::Magic)?;
        let (&[version, low, high], rest) = rest.split_first_chunk().ok_or(PageFault::Length)?;
        if version != VERSION {
            return Err(PageFault::Version { found: version });
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (mut fields, rest) = rest.split_at_checked(length).ok_or(PageFault::Length)?;
        let (check, _) = rest.split_first_chunk().ok_or(PageFault::Length)?;
        let covered = page.get(..HEAD_BYTES + length).unwrap_or_default();
        if u32::from_le_bytes(*check) != crc32c(covered) {
            return Err(PageFault::Check);
        }
        let site = text(&mut fields)?.ok_or(PageFault::Site)?;
        let device = text(&mut fields)?.ok_or(PageFault::Device)?;
        let host = text(&mut fields)?.ok_or(PageFault::Broker)?;
        let (port, mut fields) = fields.split_first_chunk().ok_or(PageFault::Length)?;
        let settings = Self {
            site: SiteName::try_from(site).map_err(|_| PageFault::Site)?,
            device: DeviceName::try_from(device).map_err(|_| PageFault::Device)?,
            broker: Broker::new(host, u16::from_le_bytes(*port)).ok_or(PageFault::Broker)?,
            key: key(&mut fields)?,
            claim: claim(fields)?,
        };
        if settings.enrols().is_some() && device.len() > PREFIX_BYTES_MAX {
            return Err(PageFault::Device);
        }
        Ok(Some(settings))
    }

    /// The claim by which a device of this page gets its key; none of one that has a key.
    pub fn enrols(&self) -> Option<&PageClaim> {
        self.claim.as_ref().filter(|_| self.key.is_none())
    }

    /// The name of the device with this number, which has to be its own: what the page says, or
    /// with a claim `PREFIX-` and the number as eight hexadecimal digits.
    pub fn name_of(&self, number: u32) -> DeviceName {
        let mut name = String::<DEVICE_BYTES_MAX>::new();
        let written = write!(name, "{}-{number:08x}", self.device);
        match DeviceName::try_from(name.as_str()) {
            Ok(name) if written.is_ok() && self.enrols().is_some() => name,
            _ => self.device.clone(),
        }
    }

    /// The page that says these settings.
    pub fn page(&self) -> heapless::Vec<u8, PAGE_BYTES_MAX> {
        let mut page = heapless::Vec::new();
        // Nothing here can fail: the capacity is the sum of the largest fields.
        let mut put = |bytes: &[u8]| page.extend_from_slice(bytes).unwrap_or(());
        let texts = [
            self.site.as_str(),
            self.device.as_str(),
            self.broker.host.as_str(),
        ];
        let (key, claim) = (self.key.as_ref(), self.claim.as_ref());
        let key_bytes = match (key, claim) {
            (Some(_), _) => 1 + KEY_BYTES,
            (None, Some(_)) => 1,
            (None, None) => 0,
        };
        let length: usize = texts.iter().map(|text| 1 + text.len()).sum::<usize>()
            + 2
            + key_bytes
            + claim.map_or(0, |_| 4 + KEY_BYTES);
        put(&MAGIC);
        put(&[VERSION]);
        put(&(length as u16).to_le_bytes());
        for text in texts {
            put(&[text.len() as u8]);
            put(text.as_bytes());
        }
        put(&self.broker.port.to_le_bytes());
        if let Some(key) = key {
            put(&[key.id]);
            put(&key.bytes);
        }
        if let Some(claim) = claim {
            if key.is_none() {
                put(&[0]);
            }
            put(&claim.id.to_le_bytes());
            put(&claim.code);
        }
        let check = crc32c(&page);
        page.extend_from_slice(&check.to_le_bytes()).unwrap_or(());
        page
    }
}

impl Broker {
    /// A broker by its host and port; `None` when the host is empty or too long, or the port 0.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let host = String::try_from(host).ok()?;
        (!host.is_empty() && port != 0).then_some(Self { host, port })
    }

    /// A broker by `host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::new(host, port.parse().ok()?)
    }
}

/// Takes a length and so many bytes off `fields`; `None` when they are no text.
fn text<'a>(fields: &mut &'a [u8]) -> Result<Option<&'a str>, PageFault> {
    let (length, rest) = fields.split_first().ok_or(PageFault::Length)?;
    let split = rest.split_at_checked(usize::from(*length));
    let (text, rest) = split.ok_or(PageFault::Length)?;
    *fields = rest;
    Ok(core::str::from_utf8(text).ok())
}

/// Takes the key behind the port off `fields`; `None` when there is none.
fn key(fields: &mut &[u8]) -> Result<Option<DeviceKey>, PageFault> {
    let Some((&id, rest)) = fields.split_first() else {
        return Ok(None);
    };
    *fields = rest;
    if id == 0 {
        return Ok(None);
    }
    let (&bytes, rest) = rest.split_first_chunk().ok_or(PageFault::Length)?;
    *fields = rest;
    Ok(Some(DeviceKey { id, bytes }))
}

/// The claim behind the key; `None` when there is none.
fn claim(fields: &[u8]) -> Result<Option<PageClaim>, PageFault> {
    if fields.is_empty() {
        return Ok(None);
    }
    let (&id, rest) = fields.split_first_chunk().ok_or(PageFault::Length)?;
    let id = u32::from_le_bytes(id);
    if id == 0 {
        return Ok(None);
    }
    let (&code, _) = rest.split_first_chunk().ok_or(PageFault::Length)?;
    Ok(Some(PageClaim { id, code }))
}

#[cfg(test)]
mod tests;
