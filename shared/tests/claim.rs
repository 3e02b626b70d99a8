//! Properties of claims and grants, and a vector of each.

#![expect(clippy::unwrap_used, reason = "a test fails by unwrapping")]

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_shared::claim::{
    self, Asked, CLAIM_BYTES, ClaimError, ClaimId, Claimant, Code, GRANT_BYTES, Secret,
};
use tidegate_shared::frame::{self, FLAG_CLAIM, FrameError, VERSION};
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::seal::{self, Key, Opening, SEALED_BYTES_MAX};

/// What a claimant is made of.
#[derive(Debug, Clone, PartialEq)]
struct Party {
    code: Code,
    site: SiteName,
    device: DeviceName,
}

impl Party {
    fn claimant(&self) -> Claimant<'_> {
        Claimant {
            code: &self.code,
            site: &self.site,
            device: &self.device,
        }
    }
}

fn party() -> impl Strategy<Value = Party> {
    let names = ("[a-z0-9-]{1,24}", "[A-Za-z0-9._-]{1,32}");
    (any::<u32>(), any::<[u8; 32]>(), names).prop_map(|(id, key, (site, device))| Party {
        code: Code {
            id: ClaimId(id),
            key: Key::new(key),
        },
        site: SiteName::try_from(site.as_str()).unwrap(),
        device: DeviceName::try_from(device.as_str()).unwrap(),
    })
}

fn secret() -> impl Strategy<Value = Secret> {
    any::<[u8; 32]>().prop_map(Secret::new)
}

/// A party that differs from the given one in one thing.
fn other(party: &Party, what: u8) -> Party {
    let mut other = party.clone();
    match what {
        0 => other.code.id = ClaimId(!party.code.id.0),
        1 => other.code.key = Key::new(party.code.key.bytes().map(|byte| !byte)),
        2 => other.site = SiteName::try_from("ANOTHER").unwrap(),
        _ => other.device = DeviceName::try_from("AN_OTHER").unwrap(),
    }
    other
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_granted_is_what_the_device_reads(
        party in party(), device in secret(), gateway in secret(),
        key_id in 1..=u8::MAX, key in any::<[u8; 32]>(),
    ) {
        let (claimant, key) = (party.claimant(), Key::new(key));
        let claim = claimant.ask(&device);
        prop_assert_eq!(claim.len(), CLAIM_BYTES);
        prop_assert_eq!(claim::claim_id(&claim), Ok(party.code.id));
        let asked = claimant.asked(&claim).unwrap();
        prop_assert_eq!(&asked.public, device.public());
        let grant = claimant.grant(&asked, &gateway, key_id, &key).unwrap();
        prop_assert_eq!(grant.len(), GRANT_BYTES);
        prop_assert!(!grant.windows(32).any(|bytes| bytes == key.bytes()));
        prop_assert_eq!(claimant.granted(&device, &grant), Ok((key_id, key)));
    }

    #[test]
    fn neither_opens_for_anybody_else(
        party in party(), device in secret(), gateway in secret(), what in 0..4_u8,
    ) {
        let key = Key::new([9; 32]);
        let claimant = party.claimant();
        let claim = claimant.ask(&device);
        let asked = claimant.asked(&claim).unwrap();
        let grant = claimant.grant(&asked, &gateway, 1, &key).unwrap();
        let other = other(&party, what);
        let expected = match what {
            0 => ClaimError::Claim { found: party.code.id },
            _ => ClaimError::Tag,
        };
        prop_assert_eq!(other.claimant().asked(&claim), Err(expected));
        prop_assert_eq!(other.claimant().granted(&device, &grant), Err(expected));
        let restarted = claimant.granted(&gateway, &grant);
        prop_assert_eq!(restarted, Err(ClaimError::Start));
    }

    /// Names lie behind their lengths: where one ends and the next begins is covered too.
    #[test]
    fn a_letter_does_not_move_from_one_name_to_the_other(party in party(), device in secret()) {
        let claim = party.claimant().ask(&device);
        let names = format!("{}{}", party.site, party.device);
        for split in 1..names.len().min(25) {
            let (site, rest) = names.split_at(split);
            let (Ok(site), Ok(device)) = (SiteName::try_from(site), DeviceName::try_from(rest)) else {
                continue;
            };
            let moved = Party { site, device, ..party.clone() };
            let is_same = moved == party;
            prop_assert_eq!(moved.claimant().asked(&claim).is_ok(), is_same);
        }
    }

    #[test]
    fn neither_reads_as_a_frame_and_no_bytes_make_it_panic(
        bytes in vec(any::<u8>(), 0..=200), party in party(), device in secret(),
    ) {
        let claimant = party.claimant();
        let mut out = [0; SEALED_BYTES_MAX];
        let mut bytes = bytes;
        for _ in 0..3 {
            prop_assert!(claimant.asked(&bytes).is_err());
            prop_assert!(claimant.granted(&device, &bytes).is_err());
            if claim::is_claim(&bytes) {
                prop_assert!(frame::read(&bytes).is_err());
                prop_assert!(!seal::is_sealed(&bytes));
                let key = &party.code.key;
                prop_assert!(seal::open(key, Opening::Up, &bytes, &mut out).is_err());
            }
            // And with a head that is believed, in both lengths.
            let bytes_exact = if bytes.len() == CLAIM_BYTES { GRANT_BYTES } else { CLAIM_BYTES };
            bytes.resize(bytes_exact, 0);
            bytes[..2].copy_from_slice(&[VERSION, FLAG_CLAIM]);
            bytes[2..6].copy_from_slice(&party.code.id.0.to_le_bytes());
        }
    }
}

/// One of each, by fixed secrets.
struct Exchange {
    party: Party,
    device: Secret,
    gateway: Secret,
    claim: Vec<u8>,
    grant: Vec<u8>,
}

fn exchange() -> Exchange {
    let party = Party {
        code: Code {
            id: ClaimId(0x1234_5678),
            key: Key::new(std::array::from_fn(|at| at as u8)),
        },
        site: SiteName::try_from("pump-house").unwrap(),
        device: DeviceName::try_from("pump-00c0ffee").unwrap(),
    };
    let (device, gateway) = (Secret::new([0x11; 32]), Secret::new([0x22; 32]));
    let claim = party.claimant().ask(&device).to_vec();
    let asked = party.claimant().asked(&claim).unwrap();
    let key = Key::new(std::array::from_fn(|at| 0xff - at as u8));
    let grant = party.claimant().grant(&asked, &gateway, 1, &key).unwrap();
    Exchange {
        grant: grant.to_vec(),
        party,
        device,
        gateway,
        claim,
    }
}

#[test]
fn no_flipped_bit_and_no_cut_opens() {
    let exchange = exchange();
    let claimant = exchange.party.claimant();
    for bit in 0..exchange.claim.len() * 8 {
        let mut claim = exchange.claim.clone();
        claim[bit / 8] ^= 1 << (bit % 8);
        assert!(claimant.asked(&claim).is_err(), "bit {bit} of the claim");
        assert!(claimant.asked(&claim[..bit / 8]).is_err(), "byte {bit}/8");
    }
    for bit in 0..exchange.grant.len() * 8 {
        let mut grant = exchange.grant.clone();
        grant[bit / 8] ^= 1 << (bit % 8);
        let granted = claimant.granted(&exchange.device, &grant);
        assert!(granted.is_err(), "bit {bit} of the grant");
        let granted = claimant.granted(&exchange.device, &grant[..bit / 8]);
        assert!(granted.is_err(), "byte {bit}/8");
    }
    let longer = [exchange.claim, vec![0]].concat();
    assert_eq!(
        claimant.asked(&longer),
        Err(ClaimError::Frame(FrameError::TooLong { bytes: 55 }))
    );
}

/// Who has the code but neither secret reads the recording as everybody does.
#[test]
fn the_code_alone_opens_no_grant() {
    let exchange = exchange();
    let claimant = exchange.party.claimant();
    // The code makes a grant's outer tag; with it a guess of the secret still opens nothing.
    let mut grant = exchange.grant.clone();
    let guess = Secret::new([0x33; 32]);
    grant[6..38].copy_from_slice(guess.public());
    assert_eq!(claimant.granted(&guess, &grant), Err(ClaimError::Tag));
    let asked = Asked {
        public: *guess.public(),
    };
    let own = claimant.grant(&asked, &exchange.gateway, 1, &Key::new([1; 32]));
    let mut own = own.unwrap().to_vec();
    own[70..103].copy_from_slice(&exchange.grant[70..103]);
    assert_eq!(claimant.granted(&guess, &own), Err(ClaimError::Tag));
}

/// Points of low order (RFC 7748, section 6.1) give every secret the same result.
#[test]
fn a_public_key_that_gives_everybody_the_same_secret_is_refused() {
    let exchange = exchange();
    let claimant = exchange.party.claimant();
    let mut one = [0; 32];
    one[0] = 1;
    for public in [[0; 32], one] {
        let granted = claimant.grant(&Asked { public }, &exchange.gateway, 1, &Key::new([1; 32]));
        assert_eq!(granted, Err(ClaimError::Weak));
    }
}

#[test]
fn a_key_id_of_0_is_nobodys() {
    let exchange = exchange();
    let claimant = exchange.party.claimant();
    let asked = claimant.asked(&exchange.claim).unwrap();
    let granted = claimant.grant(&asked, &exchange.gateway, 0, &Key::new([1; 32]));
    assert_eq!(granted, Err(ClaimError::KeyId));
}

#[test]
fn what_is_secret_shows_nothing() {
    let exchange = exchange();
    assert_eq!(format!("{:?}", exchange.device), "Secret(…)");
    assert_eq!(
        format!("{:?}", exchange.party.code),
        "Code { id: ClaimId(0x12345678), key: Key(…) }"
    );
}

/// RFC 7748, section 5.2, one iteration: the scalar and the point are both 9, the base point.
#[test]
fn a_public_key_is_the_one_of_the_rfc() {
    let mut nine = [0; 32];
    nine[0] = 9;
    assert_eq!(
        hex(Secret::new(nine).public()),
        "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    );
}

/// The vectors: `UPDATE_GOLDEN=1` writes them when they are missing, never over one that is there.
#[test]
fn the_vectors_hold() {
    let exchange = exchange();
    let claimant = exchange.party.claimant();
    let head = "claim 12345678, code 00 01 02 … 1f, site pump-house, device pump-00c0ffee, \
                secret of the device 11 … 11";
    let cases = [
        ("claim", format!("{head}\n"), &exchange.claim),
        (
            "grant",
            format!("{head}, of the gateway 22 … 22, key id 1, key ff fe fd … e0\n"),
            &exchange.grant,
        ),
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/claim-1");
    for (name, head, bytes) in cases {
        let text = format!("{name}: {head}\nbytes:\n{}\n", hex(bytes));
        let path = folder.join(format!("{name}.txt"));
        let kept = std::fs::read_to_string(&path);
        if kept.is_err() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
            continue;
        }
        assert_eq!(kept.unwrap(), text, "{}", path.display());
    }
    let (key_id, key) = claimant.granted(&exchange.device, &exchange.grant).unwrap();
    assert_eq!(
        (key_id, key.bytes()[..3].to_vec()),
        (1, vec![0xff, 0xfe, 0xfd])
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
