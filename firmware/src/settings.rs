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
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn settings() -> Settings {
        Settings::new("pump-house", "pump-1", "broker.example", 1883).expect("names")
    }

    fn sealing() -> Settings {
        Settings {
            key: Some(DeviceKey {
                id: 7,
                bytes: core::array::from_fn(|at| at as u8 + 1),
            }),
            ..settings()
        }
    }

    /// A page of flash with `page` at its start.
    fn flash(page: &[u8]) -> Vec<u8> {
        let mut flash = vec![0xff; 256];
        flash[..page.len()].copy_from_slice(page);
        flash
    }

    /// A page with these fields and a right check.
    fn checked(fields: &[u8]) -> Vec<u8> {
        let mut page = MAGIC.to_vec();
        page.push(VERSION);
        page.extend((fields.len() as u16).to_le_bytes());
        page.extend(fields);
        let check = crc32c(&page);
        page.extend(check.to_le_bytes());
        page
    }

    #[test]
    fn a_page_reads_back_whatever_stands_behind_it() {
        for settings in [settings(), sealing()] {
            let page = settings.page();
            assert_eq!(Settings::read(&page), Ok(Some(settings.clone())));
            assert_eq!(Settings::read(&flash(&page)), Ok(Some(settings)));
        }
        let longest = Settings::new(&"s".repeat(24), &"d".repeat(32), &"h".repeat(64), u16::MAX);
        let longest = Settings {
            key: sealing().key,
            ..longest.expect("names")
        };
        assert_eq!(longest.page().len(), PAGE_BYTES_MAX);
        assert_eq!(Settings::read(&longest.page()), Ok(Some(longest)));
    }

    #[test]
    fn a_page_never_written_leaves_the_built_in_settings() {
        for blank in [0, 0xff] {
            let read = Settings::read_or(&[blank; 256], settings());
            assert_eq!(read, (settings(), Source::BuiltIn));
        }
        assert_eq!(Settings::read(&[]), Ok(None));
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_found() {
        let page = sealing().page();
        for at in 0..page.len() {
            let mut damaged = flash(&page);
            damaged[at] ^= 0x10;
            let (kept, source) = Settings::read_or(&damaged, settings());
            assert_eq!(kept, settings());
            assert!(matches!(source, Source::Fault(_)), "byte {at}: {source:?}");
            if at > 0 {
                assert!(Settings::read(&flash(&page[..at])).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        assert_eq!(Settings::read(b"hello"), Err(PageFault::Magic));
        let mut newer = settings().page();
        newer[4] = 9;
        assert_eq!(Settings::read(&newer), Err(PageFault::Version { found: 9 }));
        assert_eq!(Settings::read(b"TGcf\x01\xff\x00"), Err(PageFault::Length));
        let fault = |fields: &[u8]| Settings::read(&checked(fields)).unwrap_err();
        assert_eq!(fault(b"\x03a/b\x01d\x01h\x5b\x07"), PageFault::Site);
        assert_eq!(fault(b"\x01s\x00\x01h\x5b\x07"), PageFault::Device);
        assert_eq!(fault(b"\x01s\x01d\x00\x5b\x07"), PageFault::Broker);
        assert_eq!(fault(b"\x01s\x01d\x01h\x00\x00"), PageFault::Broker);
        assert_eq!(fault(b"\x01s\x01d\x01h\x5b"), PageFault::Length);
        assert_eq!(fault(b"\x09s"), PageFault::Length);
        assert_eq!(
            fault(b"\x01s\x01d\x01h\x5b\x07\x01 no key"),
            PageFault::Length
        );
    }

    #[test]
    fn a_page_may_say_no_key_and_may_have_grown_behind_it() {
        let read = |fields: &[&[u8]]| Settings::read(&checked(&fields.concat()));
        let plain = b"\x01s\x01d\x01h\x5b\x07";
        let expected = Settings::new("s", "d", "h", 0x075b);
        for behind in [&b""[..], b"\0", b"\0 and more"] {
            assert_eq!(read(&[plain, behind]), Ok(expected.clone()));
        }
        for behind in [&b""[..], b" and more"] {
            let grown = read(&[plain, &[9], &[5; KEY_BYTES], behind]);
            let key = grown.expect("a page").expect("written").key;
            assert_eq!(
                key.map(|key| (key.id, key.bytes)),
                Some((9, [5; KEY_BYTES]))
            );
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let shown = std::format!("{:?}", sealing().key);
        assert_eq!(shown, "Some(DeviceKey { id: 7, .. })");
    }

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        assert_eq!(
            Broker::parse("10.0.2.2:1883"),
            Broker::new("10.0.2.2", 1883)
        );
        for wrong in ["10.0.2.2", ":1883", "host:0", "host:65536", "host:"] {
            assert_eq!(Broker::parse(wrong), None, "{wrong}");
        }
    }
}
