//! The key of a simulated device: from a settings page, as one is flashed to a board, or from
//! hexadecimal digits.

use std::fs;
use std::path::Path;

use tidegate_firmware::settings::{DeviceKey, KEY_BYTES, MAGIC, PageFault, Settings};
use tidegate_shared::ids::{DeviceName, SiteName};
use zeroize::Zeroizing;

use super::SimulateError;

/// Why a file gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// A settings page that is damaged.
    #[error("its settings page is wrong ({0:?}): have it written again")]
    Page(PageFault),
    /// A settings page without a key.
    #[error("its settings page says no key: add the device to the registry")]
    None,
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

/// The key in `path`, for this device. `id` is what digits do not say.
pub(super) fn read(
    path: &Path,
    id: Option<u8>,
    site: &SiteName,
    devices: &[DeviceName],
) -> Result<DeviceKey, SimulateError> {
    let bytes = fs::read(path).map(Zeroizing::new);
    let bytes = bytes.map_err(|source| SimulateError::KeyUnreadable {
        path: path.to_owned(),
        source,
    })?;
    let key = match devices {
        [device] => parse(&bytes, id, site, device),
        _ => Err(KeyFault::Many),
    };
    key.map_err(|source| SimulateError::Key {
        path: path.to_owned(),
        source,
    })
}

fn parse(
    bytes: &[u8],
    id: Option<u8>,
    site: &SiteName,
    device: &DeviceName,
) -> Result<DeviceKey, KeyFault> {
    if bytes.starts_with(&MAGIC) {
        let page = Settings::read(bytes).map_err(KeyFault::Page)?;
        let page = page.ok_or(KeyFault::None)?;
        let key = page.key.ok_or(KeyFault::None)?;
        if (&page.site, &page.device) != (site, device) {
            let (site, device) = (page.site, page.device);
            return Err(KeyFault::Other { site, device });
        }
        return Ok(key);
    }
    let bytes = digits(bytes.trim_ascii()).ok_or(KeyFault::Digits)?;
    let id = id.ok_or(KeyFault::NoId)?;
    Ok(DeviceKey { id, bytes })
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

    fn key(file: &[u8], id: Option<u8>) -> Result<DeviceKey, KeyFault> {
        let name = |text: &str| DeviceName::try_from(text).unwrap();
        parse(file, id, &SiteName::try_from("s").unwrap(), &name("d"))
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
