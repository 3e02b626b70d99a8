//! Who comes to the broker inside, as whom, and on which topics: texts that a client chose.
//!
//! The bytes are one that chooses the circumstances, then texts with a zero byte between them (which
//! no text of MQTT has): client id, user, password, will, topic, filter. What the doorkeeper says is
//! held against the rules written down once more, in texts alone.
//!
//! ```text
//! bit 0  there is a user        bit 3  it has a certificate of pump-1 and tank
//! bit 1  there is a password    bit 4  no device is registered
//! bit 2  there is a will        bit 5  it came by the gateway's own listener
//! bit 6  plain frames are taken
//! ```

use std::collections::BTreeSet;

use tidegate_gateway::mqtt::access::{
    Access, Account, Admission, Claim, Doorkeeper, Identity, Password, Proof,
};
use tidegate_gateway::session::OpenClaim;
use tidegate_shared::claim::{ClaimId, Code};
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::seal::{KEY_BYTES, Key};

const SITE: &str = "plant";
const GATEWAY_ID: &str = "tidegate-gw-7";
/// Devices with their passwords; one without is revoked.
const DEVICES: [(&str, &[&str]); 3] = [
    ("pump-1", &["old", "new"]),
    ("tank", &["two"]),
    ("stolen", &[]),
];
/// What the names of those begin with who may enrol, and their password.
const PREFIX: &str = "fan";
const CODE: &str = "code";
/// Names in the certificate.
const CERTIFIED: [&str; 2] = ["pump-1", "tank"];

/// What was made of the bytes.
struct Asked<'a> {
    claim: Claim<'a>,
    is_open: bool,
    takes_plain: bool,
    topic: &'a str,
    filter: &'a str,
}

/// Feeds bytes.
pub fn feed(bytes: &[u8]) {
    let certified = CERTIFIED.map(device);
    let Some(asked) = read(bytes, &certified) else {
        return;
    };
    let site = SiteName::try_from(SITE).expect("a name");
    let made = Doorkeeper::new(site, GATEWAY_ID.into());
    let (doorkeeper, _told) = made.expect("the system has entropy");
    if !asked.is_open {
        let account = |passwords: &[&str]| {
            let open = passwords.iter().map(|one| Password::of(one.as_bytes()));
            open.collect::<Account>()
        };
        let accounts = DEVICES.map(|(name, passwords)| (device(name), account(passwords)));
        doorkeeper.set(Access {
            accounts: accounts.into_iter().collect(),
            admissions: vec![admission()],
            is_open: asked.takes_plain,
        });
    }
    let Ok(identity) = doorkeeper.identify(&asked.claim) else {
        return;
    };
    match &identity {
        // Its password is drawn anew each time.
        Identity::Gateway => panic!("somebody is the gateway"),
        Identity::Stranger => {
            assert!(asked.is_open && asked.claim.certified.is_none() && !asked.claim.inside);
            assert!(asked.claim.client_id != GATEWAY_ID);
        }
        Identity::Device { name, proof } => {
            check_device(&asked, name.as_str(), proof);
            check_topics(&doorkeeper, &identity, name.as_str(), &asked);
            doorkeeper.set(Access::from_iter([(name.clone(), Account::Revoked)]));
            assert!(doorkeeper.may_publish(&identity, asked.topic).is_err());
            assert!(doorkeeper.may_subscribe(&identity, asked.filter).is_err());
            assert!(doorkeeper.identify(&asked.claim).is_err());
        }
        Identity::Plain { name } => {
            assert!(asked.takes_plain && !asked.is_open && !asked.claim.inside);
            assert!(DEVICES.iter().all(|(known, _)| known != &name.as_str()));
            assert_eq!(asked.claim.client_id, format!("tidegate-{SITE}-{name}"));
            assert!(
                asked
                    .claim
                    .will
                    .is_none_or(|will| is_own(name.as_str(), will))
            );
            check_topics(&doorkeeper, &identity, name.as_str(), &asked);
            doorkeeper.set(Access {
                is_open: true,
                ..Access::from_iter([(name.clone(), Account::Revoked)])
            });
            assert!(doorkeeper.may_publish(&identity, asked.topic).is_err());
            assert!(doorkeeper.may_subscribe(&identity, asked.filter).is_err());
            assert!(doorkeeper.identify(&asked.claim).is_err());
        }
        Identity::Claimant { name, .. } => {
            assert!(!asked.is_open);
            check_claimant(&asked.claim, name.as_str());
            check_heard(&doorkeeper, &identity, name.as_str(), &asked);
            let may = doorkeeper.may_publish(&identity, asked.topic).is_ok();
            assert_eq!(may, asked.topic == topic(name.as_str(), "up"));
            let claim = OpenClaim {
                is_used_up: true,
                ..admission().claim
            };
            doorkeeper.set(Access {
                admissions: vec![Admission {
                    claim,
                    ..admission()
                }],
                ..Access::default()
            });
            assert!(doorkeeper.may_publish(&identity, asked.topic).is_err());
            assert!(doorkeeper.may_subscribe(&identity, asked.filter).is_err());
        }
    }
}

/// Whom a claim lets in.
fn admission() -> Admission {
    Admission {
        password: Password::of(CODE.as_bytes()),
        claim: OpenClaim {
            code: Code {
                id: ClaimId(1),
                key: Key::new([7; KEY_BYTES]),
            },
            prefix: device(PREFIX),
            is_used_up: false,
            waiting: BTreeSet::new(),
        },
    }
}

/// Whoever is let in by a code has it, and a name that nobody has.
fn check_claimant(claim: &Claim<'_>, name: &str) {
    assert!(!claim.inside && claim.certified.is_none());
    assert_eq!(claim.user, Some(name));
    assert_eq!(claim.password, Some(CODE.as_bytes()));
    assert_eq!(claim.client_id, format!("tidegate-{SITE}-{name}"));
    assert!(name.starts_with(PREFIX) && name.len() > PREFIX.len() + 1);
    assert!(claim.will.is_none_or(|will| will == topic(name, "up")));
}

fn device(name: &str) -> DeviceName {
    DeviceName::try_from(name).expect("a name")
}

fn read<'a>(bytes: &'a [u8], certified: &'a [DeviceName]) -> Option<Asked<'a>> {
    let (bits, rest) = bytes.split_first()?;
    let has = |bit: u8| bits & (1 << bit) != 0;
    let mut parts = rest.split(|byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (client_id, user, password) = (next(), next(), next());
    let mut text = || std::str::from_utf8(next()).ok();
    let (will, topic, filter) = (text()?, text()?, text()?);
    let user = std::str::from_utf8(user).ok()?;
    Some(Asked {
        claim: Claim {
            client_id: std::str::from_utf8(client_id).ok()?,
            user: has(0).then_some(user),
            password: has(1).then_some(password),
            will: has(2).then_some(will),
            certified: has(3).then_some(certified),
            inside: has(5),
        },
        is_open: has(4),
        takes_plain: has(6),
        topic,
        filter,
    })
}

/// Whoever is let in as a device proved it, and says what is its own.
fn check_device(asked: &Asked<'_>, name: &str, proof: &Proof) {
    let claim = &asked.claim;
    assert!(!claim.inside);
    assert_eq!(claim.client_id, format!("tidegate-{SITE}-{name}"));
    assert!(claim.will.is_none_or(|will| is_own(name, will)));
    if let Proof::Certificate = proof {
        assert!(claim.certified.is_some() && CERTIFIED.contains(&name));
        assert!(claim.user.is_none_or(|user| user == name));
        return;
    }
    assert!(claim.certified.is_none() && !asked.is_open);
    assert_eq!(claim.user, Some(name));
    let given = claim.password.expect("it was asked for one");
    let (_, right) = DEVICES
        .iter()
        .find(|(known, _)| *known == name)
        .expect("it is registered");
    assert!(right.iter().any(|one| one.as_bytes() == given));
}

fn topic(name: &str, kind: &str) -> String {
    format!("tidegate/v1/{SITE}/{name}/{kind}")
}

fn is_own(name: &str, said: &str) -> bool {
    ["up", "status"]
        .iter()
        .any(|kind| said == topic(name, kind))
}

/// It says and hears what is its own, and nothing else.
fn check_topics(doorkeeper: &Doorkeeper, identity: &Identity, name: &str, asked: &Asked<'_>) {
    let may = doorkeeper.may_publish(identity, asked.topic).is_ok();
    assert_eq!(may, is_own(name, asked.topic), "{:?}", asked.topic);
    check_heard(doorkeeper, identity, name, asked);
}

/// It hears what is said to it, and the gateway.
fn check_heard(doorkeeper: &Doorkeeper, identity: &Identity, name: &str, asked: &Asked<'_>) {
    let down = topic(name, "down");
    let gateway = format!("tidegate/v1/{SITE}/gateway");
    let is_own = asked.filter == down || asked.filter == gateway;
    let may = doorkeeper.may_subscribe(identity, asked.filter).is_ok();
    assert_eq!(may, is_own, "{:?}", asked.filter);
}

/// Devices as they come, with a password or a certificate, registered or not; and what they must
/// not.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (bits, name, password) in [
        (0b0_0111, "pump-1", "old"),
        (0b0_0111, "pump-1", "new"),
        (0b0_0111, "tank", "two"),
        (0b0_0111, "stolen", "three"),
        (0b0_1100, "pump-1", ""),
        (0b0_1101, "tank", ""),
        (0b1_1100, "tank", ""),
        (0b1_0000, "pump-1", ""),
        (0b10_0011, "tidegate-gateway", "0"),
        (0b100_0000, "valve", ""),
        (0b100_0111, "valve", "none"),
        (0b100_0000, "pump-1", ""),
        (0b0_0011, "fan-1", CODE),
        (0b0_0111, "fan-1", CODE),
        (0b0_0011, "fan", CODE),
    ] {
        for kind in ["up", "status"] {
            let own = format!("tidegate/v1/{SITE}/{name}");
            let heard = ["down", "+", "#"].map(|kind| format!("{own}/{kind}"));
            for filter in [format!("tidegate/v1/{SITE}/gateway")].iter().chain(&heard) {
                let parts = [
                    format!("tidegate-{SITE}-{name}"),
                    name.into(),
                    password.into(),
                    format!("{own}/status"),
                    format!("{own}/{kind}"),
                    filter.clone(),
                ];
                seeds.push([&[bits][..], parts.join("\0").as_bytes()].concat());
            }
        }
    }
    seeds
}
