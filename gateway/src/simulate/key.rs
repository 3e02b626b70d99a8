//! The key of a simulated device, or the claim that it gets one by: from a settings page, as one is
//! flashed to a board; a key also from hexadecimal digits.

use std::fs;
use std::path::Path;

use tidegate_firmware::settings::{DeviceKey, KEY_BYTES, MAGIC, PageClaim, PageFault, Settings};
use tidegate_shared::ids::{DeviceName, SiteName};
use zeroize::Zeroizing;

use super::SimulateError;

/// Why a file gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// A settings page that is damaged.
    #[error("its settings page is wrong ({0:?}): have it written again")]
    Page(PageFault),
    /// A settings page without a key and without a claim.
    #[error("its settings page says neither key nor claim: add the device to the registry")]
    None,
    /// A claim of other devices.
    #[error(
        "it is of devices at site {site} that enrol by a claim, and are called {prefix}- and \
         something behind it: give such a --device, and --site"
    )]
    Prefix {
        /// The site of the page.
        site: SiteName,
        /// What the names of its devices begin with.
        prefix: DeviceName,
    },
    /// A settings page of another device: no two devices share a key.
    #[error("it is the key of device {device} at site {site}: give that --device and --site")]
    Other {
        /// The site of the page.
        site: SiteName,
        /// The device of the page.
        device: DeviceName,
    },
    /// Neither page nor digits.
    #[error("it is neither a settings page nor 64 hexadecimal digits")]
    Digits,
    /// Digits do not say which key they are.
    #[error("it is digits, which do not say which key of the device they are: give --key-id")]
    NoId,
    /// One key, many devices.
    #[error("a key is one device's: leave out --devices")]
    Many,
}

/// What a file gives a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// Its key.
    Key(DeviceKey),
    /// The claim that it, and others like it, get their keys by.
    Claim(PageClaim),
}

/// What is in `path` for these devices. `id` is what digits do not say.
pub(super) fn read(
    path: &Path,
    id: Option<u8>,
    site: &SiteName,
    devices: &[DeviceName],
) -> Result<Credential, SimulateError> {
    let bytes = fs::read(path).map(Zeroizing::new);
    let bytes = bytes.map_err(|source| SimulateError::KeyUnreadable {
        path: path.to_owned(),
        source,
    })?;
    let found = parse(&bytes, id, site, devices);
    found.map_err(|source| SimulateError::Key {
        path: path.to_owned(),
        source,
    })
}

fn parse(
    bytes: &[u8],
    id: Option<u8>,
    site: &SiteName,
    devices: &[DeviceName],
) -> Result<Credential, KeyFault> {
    if !bytes.starts_with(&MAGIC) {
        let bytes = digits(bytes.trim_ascii()).ok_or(KeyFault::Digits)?;
        let id = id.ok_or(KeyFault::NoId)?;
        return match devices {
            [_] => Ok(Credential::Key(DeviceKey { id, bytes })),
            _ => Err(KeyFault::Many),
        };
    }
    let page = Settings::read(bytes).map_err(KeyFault::Page)?;
    let page = page.ok_or(KeyFault::None)?;
    if let Some(claim) = page.enrols() {
        let is_own = |device: &DeviceName| {
            let rest = device.as_str().strip_prefix(page.device.as_str());
            rest.is_some_and(|rest| rest.starts_with('-') && rest.len() > 1)
        };
        if page.site != *site || !devices.iter().all(is_own) {
            let (site, prefix) = (page.site, page.device);
            return Err(KeyFault::Prefix { site, prefix });
        }
        return Ok(Credential::Claim(claim.clone()));
    }
    let key = page.key.ok_or(KeyFault::None)?;
    match devices {
        [device] if (&page.site, &page.device) == (site, device) => Ok(Credential::Key(key)),
        [_] => Err(KeyFault::Other {
            site: page.site,
            device: page.device,
        }),
        _ => Err(KeyFault::Many),
    }
}

fn digits(text: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut key = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    for (there, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        let &[high, low] = pair else {
            return None;
        };
        *there = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<DeviceName> {
        let name = |text: &&str| DeviceName::try_from(*text).unwrap();
        texts.iter().map(name).collect()
    }

    fn found(file: &[u8], id: Option<u8>, devices: &[&str]) -> Result<Credential, KeyFault> {
        parse(file, id, &SiteName::try_from("s").unwrap(), &names(devices))
    }

    fn key(file: &[u8], id: Option<u8>) -> Result<DeviceKey, KeyFault> {
        found(file, id, &["d"]).map(|found| match found {
            Credential::Key(key) => key,
            Credential::Claim(claim) => panic!("{claim:?}"),
        })
    }

    #[test]
    fn a_page_says_the_key_and_whose_it_is() {
        let known = DeviceKey {
            id: 3,
            bytes: [9; KEY_BYTES],
        };
        let page = |device: &str, key| {
            let settings = Settings::new("s", device, "host", 1_883).unwrap();
            Settings { key, ..settings }.page().to_vec()
        };
        assert_eq!(
            key(&page("d", Some(known.clone())), None),
            Ok(known.clone())
        );
        let other = key(&page("e", Some(known.clone())), None);
        assert!(matches!(other, Err(KeyFault::Other { device, .. }) if device.as_str() == "e"));
        assert_eq!(key(&page("d", None), None), Err(KeyFault::None));
        let mut damaged = page("d", Some(known));
        damaged[20] ^= 1;
        assert_eq!(key(&damaged, None), Err(KeyFault::Page(PageFault::Check)));
    }

    #[test]
    fn a_page_with_a_claim_is_of_all_whose_names_begin_as_it_says() {
        let claim = PageClaim {
            id: 7,
            code: [9; KEY_BYTES],
        };
        let page = Settings {
            claim: Some(claim.clone()),
            ..Settings::new("s", "pump", "host", 1_883).unwrap()
        };
        let of = |devices: &[&str]| found(&page.page(), None, devices);
        for devices in [&["pump-7"][..], &["pump-1", "pump-2", "pump-a-b"]] {
            assert_eq!(of(devices), Ok(Credential::Claim(claim.clone())));
        }
        for other in ["pump", "pump-", "pumps-1", "pump1", "d"] {
            let refused = of(&["pump-1", other]);
            assert!(
                matches!(refused, Err(KeyFault::Prefix { .. })),
                "{other}: {refused:?}"
            );
        }
        let elsewhere = Settings {
            site: SiteName::try_from("t").unwrap(),
            ..page
        };
        let refused = found(&elsewhere.page(), None, &["pump-1"]);
        assert!(matches!(refused, Err(KeyFault::Prefix { site, .. }) if site.as_str() == "t"));
    }

    #[test]
    fn a_key_is_one_devices() {
        let text = "ab".repeat(KEY_BYTES);
        let many = found(text.as_bytes(), Some(5), &["d-1", "d-2"]);
        assert_eq!(many, Err(KeyFault::Many));
    }

    #[test]
    fn digits_need_an_id() {
        let text = format!("{}\n", "aB".repeat(KEY_BYTES));
        let expected = DeviceKey {
            id: 5,
            bytes: [0xab; KEY_BYTES],
        };
        assert_eq!(key(text.as_bytes(), Some(5)), Ok(expected));
        assert_eq!(key(text.as_bytes(), None), Err(KeyFault::NoId));
        let wrong = ["", "ab", &"g".repeat(64), &"a".repeat(66)];
        for wrong in wrong.map(str::as_bytes) {
            assert_eq!(key(wrong, Some(5)), Err(KeyFault::Digits));
        }
    }
}
