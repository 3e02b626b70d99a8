//! Pages: written, read back, damaged, cut, grown.

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

fn enrolling() -> Settings {
    Settings {
        claim: Some(PageClaim {
            id: 0x1234_5678,
            code: [0xc0; KEY_BYTES],
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
    let both = Settings {
        key: sealing().key,
        ..enrolling()
    };
    for settings in [settings(), sealing(), enrolling(), both] {
        let page = settings.page();
        assert_eq!(Settings::read(&page), Ok(Some(settings.clone())));
        assert_eq!(Settings::read(&flash(&page)), Ok(Some(settings)));
    }
    let longest = Settings::new(&"s".repeat(24), &"d".repeat(32), &"h".repeat(64), u16::MAX);
    let longest = Settings {
        key: sealing().key,
        claim: enrolling().claim,
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
    for page in [sealing().page(), enrolling().page()] {
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
fn a_page_may_say_no_key_and_no_claim_and_may_have_grown_behind_them() {
    let read = |fields: &[&[u8]]| Settings::read(&checked(&fields.concat()));
    let plain = b"\x01s\x01d\x01h\x5b\x07";
    let expected = Settings::new("s", "d", "h", 0x075b);
    for behind in [&b""[..], b"\0", b"\0\0\0\0\0", b"\0\0\0\0\0 and more"] {
        assert_eq!(read(&[plain, behind]), Ok(expected.clone()));
    }
    for behind in [&b""[..], &[0; 4], b"\0\0\0\0 and more"] {
        let grown = read(&[plain, &[9], &[5; KEY_BYTES], behind]);
        let grown = grown.expect("a page").expect("written");
        assert_eq!(
            grown.key.map(|key| (key.id, key.bytes)),
            Some((9, [5; KEY_BYTES]))
        );
        assert_eq!(grown.claim, None);
    }
    for behind in [&b""[..], b" and more"] {
        let grown = read(&[plain, &[0, 1, 2, 3, 4], &[6; KEY_BYTES], behind]);
        let grown = grown.expect("a page").expect("written");
        let claim = grown.claim.map(|claim| (claim.id, claim.code));
        assert_eq!(
            (grown.key, claim),
            (None, Some((0x0403_0201, [6; KEY_BYTES])))
        );
    }
    for short in [&b"\0\x01\0\0"[..], b"\0\x01\0\0\0 no code"] {
        assert_eq!(read(&[plain, short]), Err(PageFault::Length));
    }
}

#[test]
fn devices_of_a_claim_have_a_prefix_and_a_number() {
    assert_eq!(enrolling().name_of(0x00c0_ffee).as_str(), "pump-1-00c0ffee");
    assert_eq!(settings().name_of(7).as_str(), "pump-1");
    let keyed = Settings {
        key: sealing().key,
        ..enrolling()
    };
    assert_eq!(keyed.name_of(7).as_str(), "pump-1", "a key is one device's");
    assert_eq!(keyed.enrols(), None);
    for (bytes, read) in [(PREFIX_BYTES_MAX, true), (PREFIX_BYTES_MAX + 1, false)] {
        let device = DeviceName::try_from("p".repeat(bytes).as_str()).expect("a name");
        let settings = Settings {
            device,
            ..enrolling()
        };
        let found = Settings::read(&settings.page());
        assert_eq!(found == Err(PageFault::Device), !read, "{bytes}");
        if read {
            assert_eq!(settings.name_of(u32::MAX).as_str().len(), 32);
        }
    }
}

#[test]
fn a_key_and_a_code_are_never_printed() {
    let shown = std::format!("{:?}", sealing().key);
    assert_eq!(shown, "Some(DeviceKey { id: 7, .. })");
    let shown = std::format!("{:?}", enrolling().claim);
    assert_eq!(shown, "Some(PageClaim { id: 305419896, .. })");
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
