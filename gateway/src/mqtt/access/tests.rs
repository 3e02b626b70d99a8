//! Who is let in, as whom, and what they may say and hear.

use super::*;

pub(super) const GATEWAY_ID: &str = "tidegate-gw-7";

pub(super) fn site() -> SiteName {
    SiteName::try_from("plant").unwrap()
}

pub(super) fn device(name: &str) -> DeviceName {
    DeviceName::try_from(name).unwrap()
}

pub(super) fn open(passwords: &[&str]) -> Account {
    let of = |text: &&str| Password::of(text.as_bytes());
    passwords.iter().map(of).collect()
}

fn doorkeeper() -> std::sync::Arc<Doorkeeper> {
    let (doorkeeper, _) = Doorkeeper::new(site(), GATEWAY_ID.into()).unwrap();
    doorkeeper.set(Access::from_iter([
        (device("pump-1"), open(&["old", "new"])),
        (device("pump-2"), open(&["two"])),
        (device("stolen"), open(&[])),
    ]));
    doorkeeper
}

pub(super) fn claim<'a>(name: &'a str, client_id: &'a str, password: &'a str) -> Claim<'a> {
    Claim {
        client_id,
        user: Some(name),
        password: Some(password.as_bytes()),
        ..Claim::default()
    }
}

pub(super) fn denied(who: Speaker, why: Why) -> Result<Identity, Denial> {
    Err(Denial { who, why })
}

#[test]
fn a_registered_device_is_let_in_by_each_of_its_passwords() {
    let doorkeeper = doorkeeper();
    for password in ["old", "new"] {
        let identity = doorkeeper.identify(&claim("pump-1", "tidegate-plant-pump-1", password));
        let Ok(Identity::Device { name, .. }) = identity else {
            panic!("{password}: {identity:?}");
        };
        assert_eq!(name, device("pump-1"));
    }
}

#[test]
fn who_is_not_let_in_is_told_apart() {
    let doorkeeper = doorkeeper();
    let claimed = |name| Speaker::Claimed(device(name));
    let id = "tidegate-plant-pump-1";
    let identify = |name, password| doorkeeper.identify(&claim(name, id, password));
    assert_eq!(
        identify("pump-1", "two"),
        denied(claimed("pump-1"), Why::WrongPassword)
    );
    assert_eq!(
        identify("pump-3", "two"),
        denied(claimed("pump-3"), Why::UnknownDevice)
    );
    assert_eq!(
        identify("stolen", "two"),
        denied(claimed("stolen"), Why::Revoked)
    );
    assert_eq!(
        identify("no name", "two"),
        denied(claimed("pump-1"), Why::NoPassword)
    );
    let anonymous = |client_id| {
        doorkeeper.identify(&Claim {
            client_id,
            ..Claim::default()
        })
    };
    // A plain device: its client id is all that it says of itself.
    assert_eq!(anonymous(id), denied(claimed("pump-1"), Why::NoPassword));
    for strange in ["tidegate-plant2-pump-1", "tidegate-plant-", "pump-1", ""] {
        assert_eq!(
            anonymous(strange),
            denied(Speaker::Unknown, Why::NoPassword)
        );
    }
    assert_eq!(Identity::Stranger.lapsed(), Why::NoPassword);
    let silent = Claim {
        password: None,
        ..claim("pump-1", id, "")
    };
    assert_eq!(
        doorkeeper.identify(&silent),
        denied(claimed("pump-1"), Why::NoPassword)
    );
}

#[test]
fn nobody_takes_the_session_or_the_voice_of_another() {
    let doorkeeper = doorkeeper();
    let proved = || Speaker::Proved(device("pump-1"));
    for client_id in ["tidegate-plant-pump-2", GATEWAY_ID, "", "anything"] {
        assert_eq!(
            doorkeeper.identify(&claim("pump-1", client_id, "old")),
            denied(proved(), Why::ForeignName),
            "{client_id}"
        );
    }
    let willed = |will| Claim {
        will: Some(will),
        ..claim("pump-1", "tidegate-plant-pump-1", "old")
    };
    assert!(
        doorkeeper
            .identify(&willed("tidegate/v1/plant/pump-1/status"))
            .is_ok()
    );
    for topic in [
        "tidegate/v1/plant/pump-2/status",
        "tidegate/v1/plant/gateway",
        "x",
    ] {
        assert_eq!(
            doorkeeper.identify(&willed(topic)),
            denied(proved(), Why::ForeignWill),
            "{topic}"
        );
    }
}

#[test]
fn the_gateway_is_let_in_from_inside_alone_and_nobody_else_there() {
    let doorkeeper = doorkeeper();
    let (user, password) = doorkeeper.gateway_credentials();
    let inside = |client_id, password| Claim {
        inside: true,
        ..claim(&user, client_id, password)
    };
    assert_eq!(
        doorkeeper.identify(&inside(GATEWAY_ID, &password)),
        Ok(Identity::Gateway)
    );
    assert!(
        doorkeeper
            .identify(&inside("tidegate-gw-8", &password))
            .is_err()
    );
    assert!(doorkeeper.identify(&inside(GATEWAY_ID, "0")).is_err());
    let outside = claim(&user, GATEWAY_ID, &password);
    assert!(doorkeeper.identify(&outside).is_err());
    let pump = Claim {
        inside: true,
        ..claim("pump-1", "tidegate-plant-pump-1", "old")
    };
    assert!(doorkeeper.identify(&pump).is_err());
    doorkeeper.set(Access::default());
    assert_eq!(
        doorkeeper.identify(&outside),
        denied(Speaker::Unknown, Why::ForeignName),
        "even where everyone may enter, nobody takes the gateway's place"
    );
}

fn certified<'a>(names: &'a [DeviceName], client_id: &'a str, user: Option<&'a str>) -> Claim<'a> {
    Claim {
        client_id,
        user,
        certified: Some(names),
        ..Claim::default()
    }
}

#[test]
fn a_certificate_is_for_the_names_in_it() {
    let doorkeeper = doorkeeper();
    let names = [device("pump-2"), device("pump-1")];
    for name in ["pump-1", "pump-2"] {
        let id = format!("tidegate-plant-{name}");
        let identity = Ok(Identity::Device {
            name: device(name),
            proof: Proof::Certificate,
        });
        assert_eq!(doorkeeper.identify(&certified(&names, &id, None)), identity);
        assert_eq!(
            doorkeeper.identify(&certified(&names, &id, Some(name))),
            identity
        );
    }
    let proved = |name| Speaker::Proved(device(name));
    assert_eq!(
        doorkeeper.identify(&certified(&names, "tidegate-plant-pump-3", None)),
        denied(proved("pump-2"), Why::ForeignName)
    );
    assert_eq!(
        doorkeeper.identify(&certified(&names, "tidegate-plant-pump-1", Some("pump-2"))),
        denied(proved("pump-1"), Why::ForeignName)
    );
    let of = |names| Claim {
        client_id: "tidegate-plant-stolen",
        certified: Some(names),
        ..Claim::default()
    };
    let stolen = [device("stolen")];
    assert_eq!(
        doorkeeper.identify(&of(&stolen)),
        denied(proved("stolen"), Why::Revoked)
    );
    assert_eq!(
        doorkeeper.identify(&of(&[])),
        denied(Speaker::Unknown, Why::NamelessCertificate)
    );
    doorkeeper.set(Access::default());
    let identity = doorkeeper.identify(&of(&stolen)).unwrap();
    assert!(!identity.may_publish(&site(), "tidegate/v1/plant/pump-1/up"));
}

#[test]
fn reasons_have_one_name() {
    for why in Why::ALL {
        assert_eq!(serde_json::to_value(why).unwrap(), why.name());
    }
}

#[test]
fn a_swap_is_judged_anew() {
    let doorkeeper = doorkeeper();
    let old = doorkeeper.identify(&claim("pump-1", "tidegate-plant-pump-1", "old"));
    let new = doorkeeper.identify(&claim("pump-1", "tidegate-plant-pump-1", "new"));
    let (old, new) = (old.unwrap(), new.unwrap());
    let admits = || {
        let access = doorkeeper.access();
        [&old, &new, &Identity::Stranger, &Identity::Gateway].map(|one| access.still_admits(one))
    };
    assert_eq!(admits(), [true, true, false, true]);
    let change = |account| {
        doorkeeper.change(|access| {
            let Accounts::Registered(accounts) = &mut access.accounts else {
                panic!("devices are registered");
            };
            accounts.insert(device("pump-1"), account);
        });
    };
    change(open(&["new"]));
    assert_eq!(admits(), [false, true, false, true]);
    change(Account::Revoked);
    assert_eq!(admits(), [false, false, false, true]);
    let topic = "tidegate/v1/plant/pump-1/up";
    assert_eq!(doorkeeper.may_publish(&new, topic), Err(Why::Revoked));
    doorkeeper.set(std::iter::empty().collect());
    assert_eq!(
        admits(),
        [false, false, false, true],
        "nobody has an account"
    );
    doorkeeper.set(Access::default());
    assert_eq!(admits(), [true; 4], "everyone may");
}

#[test]
fn a_device_speaks_and_hears_on_its_own_topics_alone() {
    let identity = Identity::Device {
        name: device("pump-1"),
        proof: Proof::Certificate,
    };
    let at = |rest: &str| format!("tidegate/v1/plant/{rest}");
    let published = [at("pump-1/up"), at("pump-1/status")];
    let heard = [at("pump-1/down"), at("gateway")];
    let foreign = [
        at("pump-2/up"),
        at("pump-1/up/more"),
        at("pump-1"),
        at("+/up"),
        at("+/down"),
        at("pump-1/+"),
        at("pump-1/#"),
        at("#"),
        "#".into(),
        "+/+/+/+/down".into(),
        "$share/a/tidegate/v1/plant/pump-1/down".into(),
        "$SYS/#".into(),
        "tidegate/v1/other/pump-1/up".into(),
        "tidegate/v1/other/gateway".into(),
        "tidegate/v1/plan/gateway".into(),
        String::new(),
    ];
    for topic in published.iter().chain(&heard).chain(&foreign) {
        let may = identity.may_publish(&site(), topic);
        assert_eq!(may, published.contains(topic), "publish to {topic}");
        let may = identity.may_subscribe(&site(), topic);
        assert_eq!(may, heard.contains(topic), "subscribe to {topic}");
    }
    let gateway = Identity::Gateway;
    assert!(
        gateway.may_subscribe(&site(), &at("+/up")) && gateway.may_publish(&site(), &at("gateway"))
    );
    for topic in ["tidegate/v1/plant-2/x/up", "tidegate/v1/plant", "#"] {
        assert!(!gateway.may_subscribe(&site(), topic), "{topic}");
        assert!(!gateway.may_publish(&site(), topic), "{topic}");
    }
}

#[test]
fn refusals_are_counted_and_told_as_far_as_there_is_room() {
    let (doorkeeper, mut told) = Doorkeeper::new(site(), GATEWAY_ID.into()).unwrap();
    let peer = "192.0.2.7".parse().unwrap();
    for _ in 0..=REFUSALS_MAX {
        doorkeeper.refuse(Speaker::Unknown, peer, Why::NoPassword);
    }
    let who = Speaker::Proved(device("pump-1"));
    doorkeeper.refuse(who.clone(), peer, Why::ForeignTopic);
    let counts = doorkeeper.counts();
    let by_reason = [(Why::NoPassword, 257), (Why::ForeignTopic, 1)];
    assert_eq!(counts.by_reason, by_reason.into());
    assert_eq!(counts.untold, 2);
    assert_eq!(
        told.try_recv(),
        Ok(Refusal {
            who: Speaker::Unknown,
            peer,
            why: Why::NoPassword
        })
    );
    doorkeeper.refuse(who, peer, Why::TooFast);
    assert_eq!(doorkeeper.counts().untold, 2, "there is room again");
    for (at, why) in Why::ALL.into_iter().enumerate() {
        assert_eq!(why as usize, at, "the list is in the order of the kinds");
    }
}

#[test]
fn where_plain_frames_are_taken_a_device_without_an_account_comes_in_under_its_own_name() {
    let doorkeeper = doorkeeper();
    let accounts = doorkeeper.access().accounts.clone();
    let open_to_all = |accounts| Access {
        accounts,
        is_open: true,
        ..Access::default()
    };
    doorkeeper.set(open_to_all(accounts.clone()));
    let plain = |client_id| Claim {
        client_id,
        ..Claim::default()
    };
    let come_in = doorkeeper.identify(&plain("tidegate-plant-pump-9"));
    let pump = Identity::Plain {
        name: device("pump-9"),
    };
    assert_eq!(come_in, Ok(pump.clone()));
    for (topic, may) in [
        ("tidegate/v1/plant/pump-9/up", true),
        ("tidegate/v1/plant/pump-9/status", true),
        ("tidegate/v1/plant/pump-1/up", false),
        ("tidegate/v1/plant/gateway", false),
    ] {
        assert_eq!(pump.may_publish(&site(), topic), may, "{topic}");
    }
    assert!(pump.may_subscribe(&site(), "tidegate/v1/plant/pump-9/down"));
    assert!(!pump.may_subscribe(&site(), "tidegate/v1/plant/pump-1/down"));
    assert_eq!(pump.speaker(), Speaker::Claimed(device("pump-9")));
    // Whose key is known shows it, and nobody else comes in.
    let without = doorkeeper.identify(&plain("tidegate-plant-pump-1"));
    assert_eq!(
        without,
        denied(Speaker::Claimed(device("pump-1")), Why::NoPassword)
    );
    let nobody = doorkeeper.identify(&plain("explorer"));
    assert_eq!(nobody, denied(Speaker::Unknown, Why::NoPassword));
    assert!(doorkeeper.access().still_admits(&pump));
    // Until the device is registered, or frames have to be sealed.
    let registered = [(device("pump-9"), open(&["nine"]))];
    doorkeeper.set(open_to_all(registered.into_iter().collect()));
    assert!(!doorkeeper.access().still_admits(&pump));
    doorkeeper.set(Access {
        accounts,
        ..Access::default()
    });
    assert!(!doorkeeper.access().still_admits(&pump));
}
