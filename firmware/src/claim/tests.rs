//! Scripts of (moment, event) → effect.

use tidegate_shared::claim::{self, Asked, GrantBytes};

use super::*;

struct Dice(u32);

impl Entropy for Dice {
    fn draw(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

/// A device that claims, the gateway that it claims from, and the time.
pub(crate) struct Bench {
    pub(crate) claim: PageClaim,
    pub(crate) site: SiteName,
    pub(crate) device: DeviceName,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            claim: PageClaim {
                id: 7,
                code: [0xc0; 32],
            },
            site: SiteName::try_from("site").unwrap(),
            device: DeviceName::try_from("pump-00000001").unwrap(),
        }
    }

    /// One of its starts.
    pub(crate) fn start(&self, seed: u32) -> Claiming<'_> {
        Claiming::new(&self.claim, (&self.site, &self.device), &mut Dice(seed))
    }

    /// What the gateway answers to a claim.
    pub(crate) fn grant(&self, said: &[u8], key: &DeviceKey) -> GrantBytes {
        let code = code(&self.claim);
        let claimant = Claimant {
            code: &code,
            site: &self.site,
            device: &self.device,
        };
        let asked: Asked = claimant.asked(said).unwrap();
        let secret = Secret::new([0x5e; 32]);
        let granted = claimant.grant(&asked, &secret, key.id, &Key::new(key.bytes));
        granted.unwrap()
    }
}

pub(crate) fn key() -> DeviceKey {
    DeviceKey {
        id: 1,
        bytes: [0x4b; 32],
    }
}

pub(crate) fn presence(term: u32, online: bool) -> Presence {
    Presence {
        gateway: 1,
        term: Term(term),
        start: 1,
        online,
    }
}

const fn seconds(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000)
}

#[test]
fn a_claim_goes_out_when_the_gateway_is_there_and_again_with_growing_pauses() {
    let bench = Bench::new();
    let mut claiming = bench.start(0);
    assert_eq!(claiming.handle(seconds(1), Event::Tick), None);
    assert_eq!(claiming.handle(seconds(1), Event::Connected), None);
    assert_eq!(claiming.next_deadline(), None, "nobody is there to hear it");
    let online = Event::Presence(presence(3, true));
    assert_eq!(claiming.handle(seconds(2), online), Some(Effect::Claim));
    let first = claiming.claim();
    assert!(claim::is_claim(&first));
    let (mut now, mut pauses_ms) = (seconds(2), [0; 9]);
    for pause_ms in &mut pauses_ms {
        let at = claiming.next_deadline().unwrap();
        let early = Moment(at.0 - 1);
        assert_eq!(claiming.handle(early, Event::Tick), None);
        assert_eq!(claiming.handle(at, Event::Tick), Some(Effect::Claim));
        assert_eq!(claiming.claim(), first, "the same bytes");
        *pause_ms = (at.0 - now.0) / 1_000;
        now = at;
    }
    for (at, pause_ms) in pauses_ms.into_iter().enumerate() {
        let most = (u64::from(CLAIM_MS) << at).min(CLAIM_MS_MAX.into());
        assert!((most / 2..=most).contains(&pause_ms), "{pauses_ms:?}");
    }
}

#[test]
fn nothing_is_said_while_the_gateway_is_offline_or_the_broker_away() {
    let bench = Bench::new();
    let mut claiming = bench.start(0);
    let online = Event::Presence(presence(3, true));
    claiming.handle(seconds(1), Event::Connected);
    claiming.handle(seconds(1), online);
    let late = Event::Presence(presence(2, false));
    claiming.handle(seconds(2), late);
    assert!(claiming.next_deadline().is_some(), "another gateway's will");
    claiming.handle(seconds(2), Event::Presence(presence(3, false)));
    assert_eq!(claiming.next_deadline(), None);
    let term = Event::Presence(presence(4, true));
    assert_eq!(claiming.handle(seconds(3), term), Some(Effect::Claim));
    // A repeat of its presence is no reason, another term is.
    assert_eq!(claiming.handle(seconds(3), term), None);
    assert_eq!(claiming.handle(seconds(3), online), Some(Effect::Claim));
    claiming.handle(seconds(3), Event::Disconnected);
    assert_eq!(claiming.next_deadline(), None);
    assert_eq!(claiming.handle(seconds(900), Event::Tick), None);
    assert_eq!(claiming.handle(seconds(900), online), None);
}

#[test]
fn only_the_grant_of_this_start_is_taken_and_others_are_counted() {
    let bench = Bench::new();
    let (mut claiming, earlier) = (bench.start(0), bench.start(100));
    claiming.handle(seconds(1), Event::Connected);
    let granted = bench.grant(&claiming.claim(), &key());
    let recorded = bench.grant(&earlier.claim(), &key());
    let mut changed = granted.clone();
    changed[100] ^= 1;
    let plain = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (count, wrong) in [&recorded[..], &changed, &plain, &claiming.claim(), &[]]
        .into_iter()
        .enumerate()
    {
        assert_eq!(claiming.handle(seconds(2), Event::Down(wrong)), None);
        assert_eq!(claiming.ignored(), count as u32 + 1);
    }
    let kept = claiming.handle(seconds(2), Event::Down(&granted));
    assert_eq!(kept, Some(Effect::Keep(key())));
}

#[test]
fn a_key_that_is_not_kept_is_claimed_again_after_the_longest_pause() {
    let bench = Bench::new();
    let mut claiming = bench.start(0);
    claiming.handle(seconds(1), Event::Connected);
    claiming.handle(seconds(1), Event::Presence(presence(3, true)));
    assert_eq!(claiming.handle(seconds(2), Event::NotKept), None);
    let again_at = claiming.next_deadline().unwrap();
    assert!(again_at >= seconds(2).plus_ms(u64::from(CLAIM_MS_MAX) / 2));
    assert_eq!(claiming.handle(again_at, Event::Tick), Some(Effect::Claim));
}

#[test]
fn starts_draw_their_own_secrets_and_the_password_is_the_codes() {
    let bench = Bench::new();
    assert_ne!(bench.start(0).claim(), bench.start(1).claim());
    let of_a_key = DeviceKey {
        id: 9,
        bytes: bench.claim.code,
    };
    assert_eq!(bench.claim.password(), of_a_key.password());
}
