//! Entries are canonical and bounded; the standing of keys follows from them.

use super::*;

#[test]
fn an_entry_is_read_back_as_it_was_written_and_in_no_other_form() {
    let acts = every_act();
    for act in &acts {
        let who = Who::Control { uid: Some(1000) };
        let entry = Entry::new(Timestamp::default(), 1, who, act.clone());
        let bytes = entry.to_bytes().unwrap();
        assert_eq!(Entry::parse(0, &bytes).unwrap(), entry);
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            format!(" {text}"),
            text.replacen(',', ", ", 1),
            text.replacen("\"start\"", "\"begin\":1,\"start\"", 1),
            text.replacen("\"v\":1", "\"v\":2", 1),
            text.replacen("\"start\":1", "\"start\":1.0", 1),
        ] {
            assert!(Entry::parse(0, other.as_bytes()).is_err(), "{other}");
        }
        assert!(!act.to_string().is_empty());
    }
    assert_eq!(
        String::from_utf8(entry(7).to_bytes().unwrap()).unwrap(),
        r#"{"v":1,"at_us":1700000000000007,"clock_trusted":true,"start":3,"who":{"by":"gateway"},"act":{"kind":"device-released","device":"pump-7"}}"#
    );
}

fn every_act() -> Vec<Act> {
    let device = || "pump-1".to_owned();
    let hash = || "0c0ffee0".to_owned();
    vec![
        enrolled("pump-1", 1, "aa"),
        rotated("pump-1", 2, "bb"),
        Act::KeyRetired {
            device: device(),
            key_id: 1,
        },
        revoked("pump-1"),
        renamed("pump-1", "pump-2"),
        Act::ClaimOpened {
            claim: "0a1b2c3d".into(),
            prefix: "pump".into(),
            devices_max: 20,
            expires_us: 5,
        },
        Act::ClaimClosed {
            claim: "0a1b2c3d".into(),
            why: "used-up".into(),
            enrolled: 20,
        },
        Act::RegistryExported { devices: 2 },
        Act::RegistryImported {
            devices: 2,
            sha256: hash(),
        },
        Act::RulesChanged {
            from: hash(),
            to: hash(),
            diff: Diff::new("-a\n+b\n"),
        },
        Act::CommandSent {
            device: device(),
            command: "restart".into(),
        },
        Act::UpdateOffered {
            device: device(),
            version: "2".into(),
            sha256: hash(),
        },
        Act::DeviceQuarantined {
            device: device(),
            why: "forged frames".into(),
            until_us: Some(9),
        },
        Act::DeviceReleased { device: device() },
        Act::StoreRepaired {
            what: "log/stop-a".into(),
        },
        Act::ClockStepped {
            before_us: -1,
            after_us: 1,
        },
        Act::Restored {
            from: Some(1),
            to: 2,
        },
    ]
}

#[test]
fn a_long_diff_is_cut_says_so_and_fits() {
    for sign in ["x", "\n", "\"", "\u{1}", "é", "🌊"] {
        let whole = sign.repeat(70_000);
        let act = Act::RulesChanged {
            from: "a".repeat(64),
            to: "b".repeat(64),
            diff: Diff::new(&whole),
        };
        let Act::RulesChanged { diff, .. } = &act else {
            unreachable!()
        };
        let cut = diff.cut.as_ref().unwrap();
        assert_eq!(cut.bytes, whole.len() as u64);
        assert_eq!(cut.sha256.len(), 64);
        let text = serde_json::to_string(&diff.text).unwrap();
        assert!((DIFF_BYTES_MAX - 5..=DIFF_BYTES_MAX + 2).contains(&text.len()));
        let entry = Entry::new(Timestamp::default(), 1, Who::Configuration, act);
        assert!(entry.to_bytes().is_ok());
    }
    assert_eq!(Diff::new("-a\n").cut, None);
    let what = "x".repeat(ENTRY_BYTES_MAX);
    let entry = Entry::new(
        Timestamp::default(),
        1,
        Who::Gateway,
        Act::StoreRepaired { what },
    );
    let (_, mut log) = log_of(1);
    let refused = log.append_all(&[super::entry(1), entry]);
    assert!(matches!(refused, Err(AuditError::EntryTooLarge { .. })));
    assert_eq!(log.size(), Some(1));
}

#[test]
fn the_largest_entries_fill_a_bundle_and_are_read_back() {
    let (_, mut log) = log_of(0);
    let mut empty = Entry::new(
        Timestamp::default(),
        1,
        Who::Gateway,
        Act::StoreRepaired {
            what: String::new(),
        },
    );
    let room = ENTRY_BYTES_MAX - empty.to_bytes().unwrap().len();
    empty.act = Act::StoreRepaired {
        what: "x".repeat(room),
    };
    assert_eq!(empty.to_bytes().unwrap().len(), ENTRY_BYTES_MAX);
    let many: Vec<Entry> = std::iter::repeat_n(empty, 256).collect();
    log.append_all(&many).unwrap();
    let snapshot = log.snapshot().unwrap();
    assert_eq!(snapshot.entries(0..256).unwrap().len(), 256);
}

fn enrolled(device: &str, key_id: u8, fingerprint: &str) -> Act {
    Act::DeviceEnrolled {
        device: device.into(),
        key_id,
        fingerprint: fingerprint.into(),
    }
}

fn rotated(device: &str, key_id: u8, fingerprint: &str) -> Act {
    Act::KeyRotated {
        device: device.into(),
        key_id,
        fingerprint: fingerprint.into(),
        retires: key_id - 1,
    }
}

fn revoked(device: &str) -> Act {
    Act::DeviceRevoked {
        device: device.into(),
    }
}

fn renamed(from: &str, to: &str) -> Act {
    Act::DeviceRenamed {
        from: from.into(),
        to: to.into(),
    }
}

#[test]
fn a_key_is_valid_from_its_issue_until_it_is_retired_or_its_device_revoked() {
    let mut standing = Standing::default();
    let mut then = |act: Act, valid: &[(&str, u8, &str)]| {
        standing.take(&act);
        assert_eq!(standing.keys().collect::<Vec<_>>(), valid, "after {act}");
    };
    then(enrolled("a", 1, "f1"), &[("a", 1, "f1")]);
    then(rotated("a", 2, "f2"), &[("a", 1, "f1"), ("a", 2, "f2")]);
    let retired = Act::KeyRetired {
        device: "a".into(),
        key_id: 1,
    };
    then(retired, &[("a", 2, "f2")]);
    then(renamed("a", "b"), &[]);
    then(enrolled("b", 2, "f2"), &[("b", 2, "f2")]);
    then(renamed("nobody", "b"), &[("b", 2, "f2")]);
    then(revoked("a"), &[("b", 2, "f2")]);
    then(enrolled("c", 1, "f3"), &[("b", 2, "f2"), ("c", 1, "f3")]);
    then(renamed("c", "d"), &[("b", 2, "f2")]);
    then(revoked("b"), &[]);
    then(enrolled("b", 3, "f4"), &[("b", 3, "f4")]);
    assert!(standing.is_valid("b", 3, "f4"));
    assert!(!standing.is_valid("b", 3, "f3"));
    assert!(!standing.is_valid("b", 1, "f3"));
    assert!(!standing.is_valid("a", 3, "f4"));
}

#[test]
fn the_log_tells_the_standing_of_its_acts() {
    let (_, mut log) = log_of(300);
    let acts = [enrolled("a", 1, "f1"), enrolled("b", 1, "f2"), revoked("a")];
    for act in &acts {
        let entry = Entry::new(Timestamp::default(), 1, Who::Gateway, act.clone());
        log.append(&entry).unwrap();
    }
    let standing = log.standing().unwrap();
    assert_eq!(standing, Standing::of(&acts));
    assert_eq!(standing.keys().collect::<Vec<_>>(), [("b", 1, "f2")]);
}
