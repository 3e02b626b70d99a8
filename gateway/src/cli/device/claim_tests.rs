//! Claims over the command line, on the files of a gateway that does not run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tidegate_firmware::settings::PREFIX_BYTES_MAX;

use super::super::tests::{KEY, Place};
use super::*;
use crate::registry::Key;
use crate::registry::order::{ClaimState, ShownClaim};

fn claims(place: &Place) -> Vec<ShownClaim> {
    let desk = Desk::open(&place.path("tidegate.toml")).unwrap();
    match desk.ask(&Order::Claims).unwrap() {
        Answer::ClaimsListed(claims) => claims,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_claim_is_opened_with_one_page_for_all_listed_and_closed() {
    let place = Place::new(KEY);
    let open =
        "claim open --prefix pump --devices 20 --for 2h --broker 192.168.1.10:1883 --out /page";
    place.run(open).unwrap();
    let page = place.page("page");
    assert_eq!((page.device.as_str(), &page.key), ("pump", &None));
    let claim = page.claim.unwrap();
    let [listed] = &claims(&place)[..] else {
        panic!("{:?}", claims(&place));
    };
    assert_eq!(listed.claim, format!("{:08x}", claim.id));
    assert_eq!((listed.devices_max, listed.enrolled), (20, 0));
    assert_eq!(listed.state, ClaimState::Open);
    let mode = fs::metadata(place.path("page"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let sealed = fs::read(place.path("data/registry")).unwrap();
    assert!(!sealed.windows(32).any(|window| window == claim.code));
    // A page that is in use is not written over, and then nothing is opened.
    assert!(place.run(open).unwrap_err().contains("cannot be written"));
    assert_eq!(claims(&place).len(), 1);
    place.run("claim list").unwrap();
    place.run("claim list --json").unwrap();
    place.run(&format!("claim close {}", listed.claim)).unwrap();
    assert_eq!(claims(&place)[0].state, ClaimState::Closed);
    let again = place.run(&format!("claim close {}", listed.claim));
    assert!(again.unwrap_err().contains("has ended already (closed)"));
    let unknown = place.run("claim close 00000007").unwrap_err();
    assert!(unknown.contains("no claim 00000007"), "{unknown}");
}

#[test]
fn a_claim_that_cannot_be_opened_leaves_no_page() {
    let place = Place::new(KEY);
    let long = "p".repeat(PREFIX_BYTES_MAX + 1);
    let open = format!("claim open --prefix {long} --broker 192.168.1.10:1883 --out /page");
    let why = place.run(&open).unwrap_err();
    assert!(why.contains("take a shorter one"), "{why}");
    assert!(!place.path("page").exists());
    let why = place
        .run("claim open --prefix pump --out /page")
        .unwrap_err();
    assert!(why.contains("--broker HOST:PORT"), "{why}");
    assert!(!place.path("page").exists());
}

fn shown(claim: &str, enrolled: u32, state: ClaimState) -> ShownClaim {
    ShownClaim {
        claim: claim.to_owned(),
        prefix: "pump".parse().unwrap(),
        devices_max: 20,
        enrolled,
        waiting: vec!["pump-00000001".parse().unwrap()],
        state,
        opened_at: "2026-03-01T12:00:00.25Z".to_owned(),
        expires_at: "2026-03-02T12:00:00.25Z".to_owned(),
        ended_at: None,
    }
}

#[test]
fn claims_are_told_without_the_code_unless_it_is_asked_for() {
    let made = |code| Batch {
        claim: shown("0a1b2c3d", 0, ClaimState::Open),
        broker: "192.168.1.10:1883".to_owned(),
        page: "pump-claim.page".into(),
        command: None,
        code,
    };
    let key = Key::new([7; 32]);
    let digits = "07".repeat(32);
    let told = made(None).told();
    assert!(told.starts_with(
        "claim 0a1b2c3d is open: 20 devices enrol by it, named pump-…, until 2026-03-02T12:00:00Z\n"
    ));
    assert!(!told.contains(&digits));
    assert!(!made(None).as_json().to_string().contains(&digits));
    assert!(made(Some(key.hex())).told().contains(&digits));
    assert_eq!(made(Some(key.hex())).as_json()["code"], digits.as_str());
    let list = [
        shown("0a1b2c3d", 3, ClaimState::Open),
        shown("00000001", 20, ClaimState::UsedUp),
    ];
    assert_eq!(
        told::claims(&list),
        "             names  enrolled  of  not heard                 until    state\n  \
           0a1b2c3d  pump-…         3  20          1  2026-03-02T12:00:00Z     open\n  \
           00000001  pump-…        20  20          1  2026-03-02T12:00:00Z  used up\n"
    );
    assert!(told::claims(&[]).contains("tidegate device claim open"));
}
