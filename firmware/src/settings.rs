//! Settings: whose device this is, where its broker listens and the key it seals with, from a page
//! in flash that a user writes without compiling anything. Boards read it, the gateway writes it.
//!
//! ```text
//! "TGcf" | version u8 | length u16 LE of what follows up to the check
//! length u8, site | length u8, device | length u8, broker host | broker port u16 LE
//! key id u8, 0 for no key | 32 bytes of key, unless the id is 0
//! CRC-32C u32 LE over all bytes before it
//! ```
//! The key may be absent with all of its bytes: pages without it end at the port, and say no key.
//!
//! A page that was never written (all bytes equal, 0xff or 0) is no fault: the board's built-in
//! settings hold. One that is written and wrong is: the built-in settings hold as well, and the
//! board says why. Fields that a later version adds stand behind the key; a reader skips what it does
//! not know.

use core::fmt;

use heapless::String;
use tidegate_shared::frame::crc32c;
use tidegate_shared::ids::{DeviceName, SiteName};

/// What every page begins with.
pub const MAGIC: [u8; 4] = *b"TGcf";
/// The version that this module writes, and the newest it reads.
pub const VERSION: u8 = 1;
/// Most bytes of a broker's host.
pub const HOST_BYTES_MAX: usize = 64;
/// Most bytes of a page of this version.
pub const PAGE_BYTES_MAX: usize =
    HEAD_BYTES + 25 + 33 + 1 + HOST_BYTES_MAX + 2 + 1 + KEY_BYTES + CHECK_BYTES;
/// Bytes of a device's key.
pub const KEY_BYTES: usize = 32;

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

/// What a user sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The site whose gateway takes the samples.
    pub site: SiteName,
    /// This device's name, unlike any other's at the site.
    pub device: DeviceName,
    /// The site's broker.
    pub broker: Broker,
    /// The device's key; none: it speaks plainly.
    pub key: Option<DeviceKey>,
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
    /// The device's name is not 1 to 32 of `[A-Za-z0-9._-]`.
    Device,
    /// The broker's host is empty, too long or no text, or its port is 0.
    Broker,
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
        })
    }

    /// The settings of `page`, or `built_in` with the reason.
    pub fn read_or(page: &[u8], built_in: Self) -> (Self, Source) {
        match Self::read(page) {
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
        let (port, fields) = fields.split_first_chunk().ok_or(PageFault::Length)?;
        Ok(Some(Self {
            site: SiteName::try_from(site).map_err(|_| PageFault::Site)?,
            device: DeviceName::try_from(device).map_err(|_| PageFault::Device)?,
            broker: Broker::new(host, u16::from_le_bytes(*port)).ok_or(PageFault::Broker)?,
            key: key(fields)?,
        }))
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
        let key = self.key.as_ref();
        let length: usize = texts.iter().map(|text| 1 + text.len()).sum::<usize>()
            + 2
            + key.map_or(0, |_| 1 + KEY_BYTES);
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

/// The key that stands behind the port; `None` when there is none.
fn key(fields: &[u8]) -> Result<Option<DeviceKey>, PageFault> {
    match fields.split_first() {
        None | Some((0, _)) => Ok(None),
        Some((&id, rest)) => {
            let (&bytes, _) = rest.split_first_chunk().ok_or(PageFault::Length)?;
            Ok(Some(DeviceKey { id, bytes }))
        }
    }
}

#[cfg(test)]
mod tests;
