//! Scripts of (now, event) → effects, one per rule of the delivery protocol.

use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Check, DeviceName, Incarnation, Mark, SiteName, Term};
use tidegate_shared::message::{
    self, Ack, CatalogPart, ClockSource, DeviceClock, Down, Hello, Presence, Progress, Refused,
    RefusedReason, Status, up,
};
use tidegate_shared::topic::Topic;

use super::*;
use crate::entry::{FrameEntry, GapEntry, Logged, Uncounted, Verdict};

pub(super) const TERM: Term = Term(77);
pub(super) const INC: Incarnation = Incarnation(0xabcd);
const UTC: i64 = 1_700_000_000_000_000;

pub(super) fn name(text: &str) -> DeviceName {
    DeviceName::try_from(text).unwrap()
}

pub(super) fn config() -> SessionConfig {
    SessionConfig::new(SiteName::try_from("plant").unwrap(), 500, TERM, 1)
}

pub(super) fn at(mono_us: u64) -> Timestamp {
    Timestamp {
        mono_us,
        wall_us: UTC + mono_us as i64,
        wall_trusted: true,
    }
}

/// A frame's bytes; `body` writes the message.
pub(super) fn frame_with(
    incarnation: Incarnation,
    mark: Mark,
    body: impl FnOnce(
        &mut tidegate_shared::body::Writer<'_>,
    ) -> Result<(), tidegate_shared::body::BodyError>,
) -> (Vec<u8>, Check) {
    let header = Header {
        key_id: 0,
        incarnation,
        mark,
    };
    let mut buffer = [0; 1_024];
    let (bytes, check) = frame::write(&header, &mut buffer, body).unwrap();
    (bytes.to_vec(), check)
}

/// A sequenced frame whose content is `content`.
pub(super) fn sequenced(incarnation: Incarnation, mark: Mark, content: u8) -> (Vec<u8>, Check) {
    frame_with(incarnation, mark, |writer| {
        writer.varint(up::BATCH.into())?;
        writer.put(&[content; 8])
    })
}

pub(super) fn mark(boot: u32, sequence: u32) -> Mark {
    Mark { boot, sequence }
}

pub(super) fn progress(floor: Mark, acked: Mark, depth: u32) -> Progress {
    Progress {
        floor,
        acked,
        uptime_us: 1_000_000,
        depth,
        clock: None,
    }
}

pub(super) fn hello(progress: Progress) -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        firmware: heapless::String::try_from("sim 1").unwrap(),
        hold_ms: 60_000,
        frame_bytes_max: 1_024,
        progress,
        ..Hello::default()
    }
}

pub(super) fn unsequenced<T: serde::Serialize>(
    incarnation: Incarnation,
    boot: u32,
    number: u32,
    value: &T,
) -> Vec<u8> {
    frame_with(incarnation, mark(boot, 0), |writer| {
        message::write(writer, number, value)
    })
    .0
}

/// A session with a log: what is appended waits in `batch` until `commit`.
pub(super) struct Bench {
    pub session: Session,
    pub now: Timestamp,
    pub batch: Vec<Entry>,
    pub log: Vec<Logged>,
    pub start: u32,
}

impl Bench {
    pub fn new(config: SessionConfig) -> Self {
        let mut bench = Self {
            session: Session::new(config, Marks::default()),
            now: at(1_000_000),
            batch: Vec::new(),
            log: Vec::new(),
            start: 1,
        };
        bench.event(Event::Subscribed);
        bench.commit();
        bench
    }

    pub fn event(&mut self, event: Event<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.session.handle(self.now, event, &mut effects);
        for effect in &effects {
            if let Effect::Append(entry) = effect {
                self.batch.push(entry.clone());
            }
        }
        effects
    }

    pub fn commit(&mut self) -> Vec<Effect> {
        let (start, at) = (self.start, self.now);
        let batch: Vec<Logged> = std::mem::take(&mut self.batch)
            .into_iter()
            .map(|entry| Logged { start, at, entry })
            .collect();
        self.log.extend(batch.iter().cloned());
        self.event(Event::Durable(&batch))
    }

    pub fn fold(&self) -> Marks {
        let mut marks = Marks::default();
        for logged in &self.log {
            marks.apply(logged);
        }
        marks
    }

    /// Loses what was not committed and starts anew, as term `term`.
    pub fn restart(&mut self, config: SessionConfig) {
        self.batch.clear();
        self.start += 1;
        self.session = Session::new(config, self.fold());
        self.event(Event::Subscribed);
    }

    pub fn receive(&mut self, device: &str, payload: &[u8]) -> Vec<Effect> {
        let topic = format!("tidegate/v1/plant/{device}/up");
        self.event(Event::Received {
            topic: &topic,
            retained: false,
            payload,
        })
    }

    fn hello(&mut self, boot: u32, floor: Mark, acked: Mark, depth: u32) -> Vec<Effect> {
        let hello = hello(progress(floor, acked, depth));
        self.receive("d", &unsequenced(INC, boot, up::HELLO, &hello))
    }

    fn progress(&mut self, boot: u32, floor: Mark, acked: Mark, depth: u32) -> Vec<Effect> {
        let progress = progress(floor, acked, depth);
        self.receive("d", &unsequenced(INC, boot, up::PROGRESS, &progress))
    }

    fn send(&mut self, boot: u32, sequence: u32) -> Vec<Effect> {
        self.receive("d", &sequenced(INC, mark(boot, sequence), 1).0)
    }

    fn counted(&self, reason: Uncounted) -> u64 {
        self.session.tallies().count(Some(&name("d")), reason)
    }
}

/// A bench on which device `d` has opened boot 1.
fn opened() -> Bench {
    let mut bench = Bench::new(config());
    bench.hello(1, mark(1, 1), mark(0, 0), 0);
    bench.commit();
    bench
}

pub(super) fn entries(effects: &[Effect]) -> Vec<Entry> {
    let entry = |effect: &Effect| match effect {
        Effect::Append(entry) => Some(entry.clone()),
        _ => None,
    };
    effects.iter().filter_map(entry).collect()
}

fn gaps(effects: &[Effect]) -> Vec<GapEntry> {
    let gap = |entry| match entry {
        Entry::Gap(gap) => Some(gap),
        _ => None,
    };
    entries(effects).into_iter().filter_map(gap).collect()
}

fn frames(effects: &[Effect]) -> Vec<FrameEntry> {
    let frame = |entry| match entry {
        Entry::Frame(frame) => Some(frame),
        _ => None,
    };
    entries(effects).into_iter().filter_map(frame).collect()
}

fn changes(effects: &[Effect]) -> Vec<LinkChange> {
    let change = |entry| match entry {
        Entry::Link(link) => Some(link.change),
        _ => None,
    };
    entries(effects).into_iter().filter_map(change).collect()
}

/// The frames said down, each read back by the wire's own reader.
pub(super) fn said<R>(effects: &[Effect], pick: impl Fn(Down<'_>) -> Option<R>) -> Vec<R> {
    let down = |effect: &Effect| match effect {
        Effect::Publish { payload, .. } => {
            pick(Down::read(frame::read(payload).unwrap().body).unwrap())
        }
        _ => None,
    };
    effects.iter().filter_map(down).collect()
}

pub(super) fn acks(effects: &[Effect]) -> Vec<Ack> {
    said(effects, |down| match down {
        Down::Ack(ack) => Some(ack),
        _ => None,
    })
}

pub(super) fn refusals(effects: &[Effect]) -> Vec<Refused> {
    said(effects, |down| match down {
        Down::Refused(refused) => Some(refused),
        _ => None,
    })
}

fn through(effects: &[Effect]) -> Vec<(u32, u32)> {
    let acks = acks(effects);
    acks.iter().map(|ack| (ack.boot, ack.through)).collect()
}

fn presence(gateway: u64, start: u32, online: bool) -> Vec<u8> {
    let presence = Presence {
        gateway,
        term: Term(3),
        start,
        online,
    };
    frame_with(Incarnation(0), mark(0, 0), |writer| {
        Down::Presence(presence).write(writer)
    })
    .0
}

impl Bench {
    fn hear(&mut self, payload: &[u8], retained: bool) -> Vec<Effect> {
        self.event(Event::Received {
            topic: "tidegate/v1/plant/gateway",
            retained,
            payload,
        })
    }

    fn status(&mut self, boot: u32, online: bool) -> Vec<Effect> {
        let payload = unsequenced(INC, boot, up::STATUS, &Status { online });
        self.event(Event::Received {
            topic: "tidegate/v1/plant/d/status",
            retained: true,
            payload: &payload,
        })
    }
}

#[test]
fn a_hello_is_answered_by_welcome_and_the_acks_of_what_its_floor_touches() {
    let mut bench = Bench::new(config());
    let effects = bench.hello(3, mark(1, 4), mark(0, 0), 9);
    let welcome = said(&effects, |down| match down {
        Down::Welcome(welcome) => Some((welcome.term, welcome.window)),
        _ => None,
    });
    assert_eq!(welcome, [(TERM, WINDOW_DEFAULT)]);
    assert_eq!(through(&effects), [(1, 0), (2, 0), (3, 0)]);
    let changes = changes(&effects);
    assert!(
        matches!(
            changes.as_slice(),
            [
                LinkChange::Opened {
                    boot: 3,
                    hold_ms: 60_000,
                    has_clock: false,
                    ..
                },
                LinkChange::Up(true),
                LinkChange::Floor { .. },
                LinkChange::Offset { boot: 3, .. },
                LinkChange::Backlog(true),
            ]
        ),
        "{changes:?}"
    );
    assert_eq!(gaps(&effects).len(), 1);
    let again = bench.hello(3, mark(1, 4), mark(0, 0), 9);
    assert_eq!(entries(&again), [], "nothing changed");
    let ack = bench.commit();
    assert_eq!(through(&ack), [(1, 3)], "the gap is durable");
}

#[test]
fn a_frame_is_acked_when_it_is_durable_and_not_before() {
    let mut bench = opened();
    for sequence in 1..=3 {
        let effects = bench.send(1, sequence);
        assert_eq!((frames(&effects).len(), acks(&effects).len()), (1, 0));
    }
    let early = bench.send(1, 2);
    assert_eq!(
        through(&early),
        [(1, 0)],
        "a duplicate of what is not durable"
    );
    let effects = bench.commit();
    let check = sequenced(INC, mark(1, 3), 1).1;
    let acks = acks(&effects);
    assert_eq!(acks.len(), 1, "one ack for all of a batch");
    assert_eq!((acks[0].through, acks[0].check), (3, check));
    assert_eq!((acks[0].utc_us, acks[0].term), (bench.now.wall_us, TERM));
    let again = bench.send(1, 2);
    assert_eq!((through(&again), frames(&again).len()), (vec![(1, 3)], 0));
    assert_eq!(bench.counted(Uncounted::Duplicate), 2);
}

#[test]
fn an_untrusted_clock_is_not_passed_on() {
    let mut bench = opened();
    bench.now.wall_trusted = false;
    bench.send(1, 1);
    assert_eq!(acks(&bench.commit())[0].utc_us, 0);
    bench.now.wall_trusted = true;
    bench.now.wall_us += 86_400_000_000;
    bench.send(1, 2);
    assert_eq!(acks(&bench.commit())[0].utc_us, bench.now.wall_us);
}

#[test]
fn a_doubtful_offset_is_written_until_there_is_a_trusted_one() {
    let mut bench = Bench::new(config());
    let mut say_hello = |wall_trusted, ahead_us: i64| -> Vec<i64> {
        bench.restart(config());
        bench.now = Timestamp {
            wall_trusted,
            wall_us: at(bench.now.mono_us).wall_us + ahead_us,
            ..bench.now
        };
        let effects = bench.hello(1, mark(1, 1), mark(0, 0), 0);
        bench.commit();
        let changes = changes(&effects).into_iter();
        let offsets = changes.filter_map(|change| match change {
            LinkChange::Offset { offset_us, .. } => Some(offset_us - UTC),
            _ => None,
        });
        offsets.collect()
    };
    assert_eq!(say_hello(false, -500), [-500]);
    assert_eq!(say_hello(false, -500), [-500], "of this start");
    assert_eq!(say_hello(true, -500), [-500], "trusted now");
    assert_eq!(say_hello(true, -500), [0; 0]);
    assert_eq!(say_hello(false, -86_400_000_000), [0; 0]);
    assert_eq!(say_hello(true, 86_400_000_000), [86_400_000_000]);
}

#[test]
fn what_is_ahead_is_dropped_and_taken_in_its_turn() {
    let mut bench = opened();
    assert_eq!(bench.send(1, 2), []);
    assert_eq!(bench.counted(Uncounted::Ahead), 1);
    assert_eq!(frames(&bench.send(1, 1)).len(), 1);
    assert_eq!(frames(&bench.send(1, 2)).len(), 1);
}

#[test]
fn what_is_below_the_floor_is_a_gap_split_by_who_lost_it() {
    let mut bench = opened();
    bench.send(1, 1);
    bench.commit();
    // The device evicted 2 to 5.
    let effects = bench.progress(1, mark(1, 6), mark(1, 1), 1);
    let gap = GapEntry {
        device: name("d"),
        incarnation: INC,
        boot: 1,
        from: 2,
        through: 5,
        lost_here: 0,
    };
    assert_eq!(gaps(&effects), [gap]);
    assert!(!effects.contains(&Effect::Restored));
    let ack = acks(&bench.commit());
    assert_eq!((ack[0].through, ack[0].check), (5, Check(0)));
    let after = bench.send(1, 3);
    assert_eq!((frames(&after).len(), through(&after)), (0, vec![]));
    assert_eq!(
        refusals(&after).len(),
        1,
        "whoever holds it is another device"
    );
    assert_eq!(bench.counted(Uncounted::AfterGap), 1);
    bench.hello(1, mark(1, 6), mark(1, 1), 1);
    assert_eq!(frames(&bench.send(1, 6)).len(), 1);
}

#[test]
fn an_ack_this_store_does_not_know_restores_once_and_is_lost_here() {
    let mut bench = opened();
    bench.send(1, 1);
    bench.commit();
    // Another history acked up to 8; 9 and 10 were evicted on the device.
    let effects = bench.hello(1, mark(1, 11), mark(1, 8), 2);
    assert_eq!(effects.first(), Some(&Effect::Restored));
    let gap = &gaps(&effects)[0];
    assert_eq!((gap.from, gap.through, gap.lost_here), (2, 10, 8));
    let other = hello(progress(mark(1, 5), mark(1, 4), 0));
    let effects = bench.receive("e", &unsequenced(INC, 1, up::HELLO, &other));
    assert!(!effects.contains(&Effect::Restored), "once per start");
    assert_eq!(gaps(&effects)[0].lost_here, 4);
}

#[test]
fn a_boot_that_is_over_is_closed_with_an_open_end() {
    let mut bench = opened();
    bench.send(1, 1);
    bench.send(1, 2);
    bench.commit();
    let effects = bench.hello(2, mark(2, 1), mark(1, 2), 0);
    let gap = &gaps(&effects)[0];
    assert_eq!(
        (gap.boot, gap.from, gap.through, gap.lost_here),
        (1, 3, u32::MAX, 0)
    );
    assert!(!effects.contains(&Effect::Restored));
    assert_eq!(acks(&bench.commit()), [], "nothing of it is held");
    let late = bench.send(1, 4);
    assert_eq!(
        refusals(&late).len(),
        1,
        "whoever holds it is another device"
    );
    assert_eq!(gaps(&bench.hello(2, mark(2, 1), mark(1, 2), 0)), []);
}

#[test]
fn other_content_is_refused_and_never_acked() {
    let mut bench = opened();
    bench.send(1, 1);
    let (bytes, check) = sequenced(INC, mark(1, 1), 2);
    for _ in 0..2 {
        let effects = bench.receive("d", &bytes);
        assert_eq!((acks(&effects), frames(&effects)), (vec![], vec![]));
        let refused = &refusals(&effects)[0];
        assert_eq!(refused.reason, RefusedReason::Conflict);
        assert_eq!((refused.sequence, refused.check), (1, check));
        assert!(
            effects
                .iter()
                .any(|effect| matches!(effect, Effect::Conflict { .. }))
        );
        bench.commit();
    }
    assert_eq!(bench.counted(Uncounted::Conflict), 2);
}

#[test]
fn only_a_hello_opens_a_pair() {
    let mut bench = Bench::new(config());
    let effects = bench.send(1, 1);
    assert_eq!(entries(&effects), []);
    let ack = &acks(&effects)[0];
    assert_eq!((ack.through, ack.check, ack.term), (0, Check(0), TERM));
    assert_eq!(bench.session.tallies().count(None, Uncounted::Unopened), 1);
    bench.hello(1, mark(1, 1), mark(0, 0), 0);
    bench.send(2, 1);
    assert_eq!(
        bench.counted(Uncounted::Unopened),
        1,
        "a boot beyond the Hello's"
    );
    let effects = bench.progress(2, mark(2, 1), mark(0, 0), 0);
    assert_eq!((entries(&effects), acks(&effects).len()), (vec![], 1));
}

#[test]
fn boots_between_floor_and_hello_drain_however_many() {
    let mut bench = Bench::new(config());
    bench.hello(20, mark(1, 1), mark(0, 0), 40);
    for boot in 1..=20 {
        for sequence in 1..=2 {
            let taken = frames(&bench.send(boot, sequence));
            assert_eq!(taken.len(), 1, "{boot}.{sequence}");
            assert_eq!(taken[0].verdict, Verdict::Next);
        }
        assert!(through(&bench.commit()).contains(&(boot, 2)));
    }
    assert_eq!(bench.counted(Uncounted::Unopened), 0);
}

#[test]
fn a_forgotten_pair_is_kept_raw_once_and_acked() {
    let mut bench = Bench::new(config());
    for boot in 1..=10 {
        bench.hello(boot, mark(boot, 1), mark(boot - 1, 1), 0);
        bench.send(boot, 1);
        bench.commit();
    }
    let effects = bench.send(1, 2);
    assert_eq!(frames(&effects)[0].verdict, Verdict::StaleBoot);
    assert_eq!(acks(&effects), []);
    assert_eq!(bench.counted(Uncounted::Ahead), 0);
    assert_eq!(through(&bench.commit()), [(1, 2)]);
    let again = bench.send(1, 2);
    assert_eq!((frames(&again), through(&again)), (vec![], vec![(1, 2)]));
    assert_eq!(bench.send(1, 4), [], "go-back-N here too");
    assert_eq!(frames(&bench.send(1, 3)).len(), 1);
    assert_eq!(entries(&bench.hello(1, mark(1, 1), mark(0, 0), 0)), []);
}

#[test]
fn devices_beyond_the_limit_are_refused_and_not_logged() {
    let mut config = config();
    config.limits.devices_max = 1;
    let mut bench = Bench::new(config);
    bench.hello(1, mark(1, 1), mark(0, 0), 0);
    bench.commit();
    let hello = hello(progress(mark(1, 1), mark(0, 0), 0));
    for payload in [
        unsequenced(INC, 1, up::HELLO, &hello),
        sequenced(INC, mark(1, 1), 1).0,
        unsequenced(INC, 1, up::PROGRESS, &hello.progress),
    ] {
        let effects = bench.receive("e", &payload);
        assert_eq!(entries(&effects), []);
        let refused = &refusals(&effects)[0];
        assert_eq!(
            (refused.reason, refused.sequence),
            (RefusedReason::DeviceLimit, 0)
        );
    }
    assert_eq!(
        bench.session.tallies().count(None, Uncounted::DeviceLimit),
        3
    );
    assert_eq!(frames(&bench.send(1, 1)).len(), 1, "the known one goes on");
}

#[test]
fn another_protocol_is_refused() {
    let mut bench = Bench::new(config());
    let mut hello = hello(progress(mark(1, 1), mark(0, 0), 0));
    (hello.protocol_min, hello.protocol_max) = (2, 3);
    let effects = bench.receive("d", &unsequenced(INC, 1, up::HELLO, &hello));
    assert_eq!(refusals(&effects)[0].reason, RefusedReason::Protocol);
    assert_eq!(effects.len(), 1);
}

#[test]
fn what_is_no_frame_is_counted_by_reason_and_never_answered() {
    let mut bench = opened();
    let (good, _) = sequenced(INC, mark(1, 1), 1);
    let broken = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let hello = hello(progress(mark(2, 1), mark(0, 0), 0));
    let cases = [
        (vec![1, 0, 0], Uncounted::Truncated),
        (vec![], Uncounted::Truncated),
        (vec![1; 9_000], Uncounted::TooLong),
        (broken(0, 9), Uncounted::Version),
        (broken(1, 4), Uncounted::Flags),
        (broken(1, 1), Uncounted::Truncated),
        (broken(8, 0x99), Uncounted::Trailer),
        (
            frame_with(INC, mark(1, 0), |w| w.varint(99)).0,
            Uncounted::Message,
        ),
        (
            frame_with(INC, mark(1, 0), |w| w.varint(up::BATCH.into())).0,
            Uncounted::Message,
        ),
        (
            sequenced(Incarnation(0), mark(1, 1), 1).0,
            Uncounted::Header,
        ),
        (unsequenced(INC, 1, up::HELLO, &hello), Uncounted::Message),
    ];
    for (payload, reason) in cases {
        let before = bench.counted(reason);
        assert_eq!(bench.receive("d", &payload), [], "{reason:?}");
        assert_eq!(bench.counted(reason), before + 1, "{reason:?}");
    }
    assert_eq!(
        frames(&bench.send(1, 1)).len(),
        1,
        "the honest frame is taken"
    );
}

#[test]
fn foreign_topics_and_retained_frames_are_counted() {
    let mut bench = opened();
    let (payload, _) = sequenced(INC, mark(1, 1), 1);
    let mut receive = |topic, retained| {
        let event = Event::Received {
            topic,
            retained,
            payload: &payload,
        };
        assert_eq!(bench.event(event), []);
    };
    receive("tidegate/v1/plant/d/up", true);
    receive("tidegate/v1/plant/d/down", true);
    receive("tidegate/v1/other/d/up", false);
    receive("tidegate/v1/plant/gateway/up", false);
    receive("tidegate/v1/plant/d/down", false);
    assert_eq!(bench.counted(Uncounted::Retained), 2);
    assert_eq!(bench.session.tallies().count(None, Uncounted::Topic), 3);
}

/// Spread by device over the upper half again.
fn is_retry_after(ms: u32) -> bool {
    (RETRY_AFTER_MS..=RETRY_AFTER_MS / 2 * 3).contains(&ms)
}

#[test]
fn a_full_window_is_committed_at_once_and_more_is_busy() {
    let mut bench = opened();
    for sequence in 1..u32::from(WINDOW_DEFAULT) {
        assert!(!bench.send(1, sequence).contains(&Effect::CommitNow));
    }
    let last = u32::from(WINDOW_DEFAULT);
    assert!(bench.send(1, last).contains(&Effect::CommitNow));
    let effects = bench.send(1, last + 1);
    assert_eq!(frames(&effects), []);
    assert!(is_retry_after(acks(&effects)[0].retry_after_ms));
    assert_eq!(bench.counted(Uncounted::Busy), 1);
    bench.commit();
    assert_eq!(frames(&bench.send(1, last + 1)).len(), 1);
}

#[test]
fn all_that_was_announced_is_committed_at_once_and_ends_the_backlog() {
    let mut bench = opened();
    let effects = bench.progress(1, mark(1, 1), mark(0, 0), 8);
    assert!(changes(&effects).contains(&LinkChange::Backlog(true)));
    for sequence in 1..=7 {
        bench.send(1, sequence);
    }
    bench.commit();
    let effects = bench.send(1, 8);
    assert!(effects.contains(&Effect::CommitNow));
    assert_eq!(changes(&effects), [LinkChange::Backlog(false)]);
    assert!(
        !bench.send(1, 9).contains(&Effect::CommitNow),
        "not announced"
    );
}

#[test]
fn pending_bytes_are_limited_over_all_devices() {
    let mut config = config();
    let bytes = sequenced(INC, mark(1, 1), 1).0.len();
    config.pending_bytes_max = bytes * 2;
    let mut bench = Bench::new(config);
    bench.hello(1, mark(1, 1), mark(0, 0), 0);
    bench.commit();
    bench.send(1, 1);
    bench.send(1, 2);
    assert_eq!(frames(&bench.send(1, 3)), []);
    assert_eq!(bench.counted(Uncounted::Busy), 1);
    bench.commit();
    assert_eq!(frames(&bench.send(1, 3)).len(), 1);
}

#[test]
fn a_busy_store_takes_nothing_and_tells_when_to_come_back() {
    let mut bench = opened();
    bench.send(1, 1);
    bench.event(Event::StoreBusy(true));
    let effects = bench.send(1, 2);
    assert_eq!(entries(&effects), []);
    assert!(is_retry_after(acks(&effects)[0].retry_after_ms));
    let effects = bench.hello(2, mark(2, 1), mark(0, 0), 0);
    assert_eq!(refusals(&effects)[0].reason, RefusedReason::Retry);
    assert_eq!(entries(&effects), []);
    assert_eq!(entries(&bench.status(1, false)), []);
    assert!(is_retry_after(acks(&bench.commit())[0].retry_after_ms));
    let effects = bench.event(Event::StoreBusy(false));
    assert_eq!(
        changes(&effects),
        [LinkChange::Up(false)],
        "kept until it could be written"
    );
    assert_eq!(frames(&bench.send(1, 2)).len(), 1);
}

#[test]
fn a_link_is_down_when_its_own_will_says_so() {
    let mut bench = opened();
    assert_eq!(bench.status(1, true), []);
    assert_eq!(changes(&bench.status(1, false)), [LinkChange::Up(false)]);
    let effects = bench.hello(2, mark(2, 1), mark(0, 0), 0);
    assert!(changes(&effects).contains(&LinkChange::Up(true)));
    assert_eq!(bench.status(1, false), [], "the will of an earlier boot");
    let unknown = Event::Received {
        topic: "tidegate/v1/plant/x/status",
        retained: true,
        payload: &unsequenced(INC, 1, up::STATUS, &Status { online: true }),
    };
    assert_eq!(bench.event(unknown), []);
}

#[test]
fn a_device_that_learns_its_time_says_so_and_has_no_offset_of_ours() {
    let mut bench = opened();
    let mut said = progress(mark(1, 1), mark(0, 0), 0);
    said.uptime_us += 5_000_000;
    said.clock = Some(DeviceClock {
        uptime_us: 6_000_000,
        utc_us: UTC,
        error_us: 10,
        source: ClockSource::Sntp,
    });
    let effects = bench.receive("d", &unsequenced(INC, 1, up::PROGRESS, &said));
    let changes = changes(&effects);
    assert!(
        matches!(
            changes.as_slice(),
            [LinkChange::Opened {
                has_clock: true,
                ..
            }]
        ),
        "{changes:?}"
    );
}

#[test]
fn an_old_hello_is_answered_but_changes_nothing() {
    let mut bench = opened();
    bench.hello(2, mark(2, 1), mark(0, 0), 0);
    let effects = bench.hello(1, mark(1, 9), mark(0, 0), 50);
    assert_eq!(entries(&effects), []);
    assert_eq!(
        said(&effects, |down| matches!(down, Down::Welcome(_))
            .then_some(()))
        .len(),
        1
    );
}

#[test]
fn a_wanted_catalog_is_asked_for_until_it_comes() {
    let mut bench = opened();
    let (device, hash) = (name("d"), CatalogHash(9));
    let wanted = |effects: &[Effect]| {
        said(effects, |down| match down {
            Down::CatalogWanted(wanted) => Some(wanted.hash),
            _ => None,
        })
    };
    let ask = Event::CatalogWanted {
        device: &device,
        hash,
    };
    assert_eq!(wanted(&bench.event(ask)), [hash]);
    assert_eq!(bench.event(ask), [], "asked a moment ago");
    bench.now = at(10_000_000);
    assert_eq!(wanted(&bench.hello(1, mark(1, 1), mark(0, 0), 0)), [hash]);
    let part = CatalogPart {
        hash,
        part: 0,
        parts: 1,
        bytes: b"x",
    };
    let (bytes, _) = frame_with(INC, mark(1, 1), |w| message::write(w, up::CATALOG, &part));
    assert_eq!(frames(&bench.receive("d", &bytes)).len(), 1);
    bench.now = at(20_000_000);
    assert_eq!(wanted(&bench.hello(1, mark(1, 1), mark(0, 0), 0)), []);
}

#[test]
fn a_standby_logs_nothing_and_acks_nothing_and_says_so() {
    let mut bench = opened();
    bench.send(1, 1);
    let effects = bench.hear(&presence(100, 1, true), false);
    assert!(effects.contains(&Effect::Standby(true)));
    assert_eq!(changes(&effects), [LinkChange::Subscribed(false)]);
    assert_eq!(acks(&bench.commit()), []);
    assert_eq!(bench.send(1, 2), []);
    let effects = bench.hello(1, mark(1, 1), mark(0, 0), 0);
    assert_eq!(refusals(&effects)[0].reason, RefusedReason::Standby);
    assert_eq!(effects.len(), 1);
    assert_eq!(bench.status(1, false), []);
    assert_eq!(bench.counted(Uncounted::Standby), 2);
    assert_eq!(bench.session.tally_entries(), []);
    bench.now = at(bench.session.next_deadline().unwrap());
    let effects = bench.event(Event::Deadline);
    assert_eq!(
        changes(&effects),
        [LinkChange::Subscribed(true), LinkChange::Up(false)]
    );
    assert!(effects.contains(&Effect::Standby(false)));
    let online = said(&effects, |down| match down {
        Down::Presence(presence) => Some(presence.online),
        _ => None,
    });
    assert_eq!(online, [true]);
    assert_eq!(frames(&bench.send(1, 2)).len(), 1);
}

#[test]
fn the_own_id_with_a_later_start_restores() {
    let mut bench = opened();
    let effects = bench.hear(&presence(500, 9, true), true);
    assert_eq!(effects[0], Effect::Restored);
    // The new beginning ends what the log says of the subscription, so it is said again: without
    // it no window would close for idleness any more.
    assert_eq!(changes(&effects), [LinkChange::Subscribed(true)]);
    assert_eq!(effects.len(), 2);
    assert_eq!(bench.hear(&presence(500, 9, true), true), []);
}

#[test]
fn the_gateway_topic_is_retained_and_its_will_says_offline() {
    let mut session = Session::new(config(), Marks::default());
    let mut effects = Vec::new();
    session.handle(at(0), Event::Subscribed, &mut effects);
    assert!(matches!(
        effects.as_slice(),
        [
            Effect::Append(_),
            Effect::Publish {
                topic: Topic::Gateway,
                retained: true,
                expiry_s: None,
                ..
            }
        ]
    ));
    let will = session.offline_payload();
    let Down::Presence(said) = Down::read(frame::read(&will).unwrap().body).unwrap() else {
        panic!("the will is no presence");
    };
    assert_eq!(
        (said.gateway, said.term, said.start, said.online),
        (500, TERM, 1, false)
    );
}

#[test]
fn after_a_stop_nothing_is_taken_but_what_is_durable_is_acked() {
    let mut bench = opened();
    bench.send(1, 1);
    let effects = bench.event(Event::Stop);
    assert_eq!(effects.len(), 1);
    assert_eq!(bench.send(1, 2), []);
    assert_eq!(bench.session.tally_entries().len(), 1);
    assert_eq!(through(&bench.commit()), [(1, 1)]);
    assert_eq!(bench.session.next_deadline(), None);
}

#[test]
fn a_reconnect_is_written_and_nothing_is_said_meanwhile() {
    let mut bench = opened();
    bench.send(1, 1);
    let effects = bench.event(Event::Disconnected);
    assert_eq!(changes(&effects), [LinkChange::Subscribed(false)]);
    assert_eq!(bench.commit(), []);
    let effects = bench.event(Event::Subscribed);
    assert_eq!(changes(&effects), [LinkChange::Subscribed(true)]);
}

#[test]
fn a_restart_goes_on_from_what_is_durable() {
    let mut bench = opened();
    bench.send(1, 1);
    bench.commit();
    bench.send(1, 2);
    let mut config = config();
    (config.term, config.start) = (Term(78), 2);
    bench.restart(config);
    assert_eq!(
        frames(&bench.send(1, 2)).len(),
        1,
        "the lost one is taken again"
    );
    assert_eq!(frames(&bench.send(1, 1)).len(), 0);
    assert_eq!(entries(&bench.hello(1, mark(1, 1), mark(0, 0), 0)).len(), 0);
}

#[test]
fn tallies_are_cumulative_over_starts_and_written_when_they_change() {
    let mut bench = opened();
    bench.send(1, 5);
    let entries = bench.session.tally_entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(bench.session.tally_entries(), []);
    bench.batch.extend(entries);
    bench.commit();
    bench.restart(config());
    bench.send(1, 5);
    assert_eq!(bench.counted(Uncounted::Ahead), 2);
    assert_eq!(bench.session.tallies().total(Uncounted::Ahead), 2);
}

#[test]
fn a_snapshot_reads_back_and_a_bad_part_is_named() {
    let mut bench = opened();
    bench.send(1, 1);
    bench.commit();
    let marks = bench.session.marks().clone();
    let mut parts = marks.snapshot();
    assert_eq!(Marks::restore(parts.clone()), (marks, vec![]));
    let at = parts
        .iter()
        .position(|(part, _)| part.as_str() == "d")
        .unwrap();
    parts[at].1[0] = 99;
    let (marks, unreadable) = Marks::restore(parts);
    assert_eq!(unreadable, [PartUnreadable { part: name("d") }]);
    assert_eq!(marks.devices().count(), 0);
}

#[test]
fn a_part_of_the_log_that_was_lost_becomes_a_gap_of_the_marks() {
    let mut bench = opened();
    for sequence in 1..=4 {
        bench.send(1, sequence);
    }
    bench.commit();
    let is_lost = |logged: &Logged| match &logged.entry {
        Entry::Frame(frame) => [2, 3]
            .iter()
            .any(|&sequence| frame.bytes == sequenced(INC, mark(1, sequence), 1).0),
        _ => false,
    };
    bench.log.retain(|logged| !is_lost(logged));
    bench.restart(config());
    assert_eq!(frames(&bench.send(1, 5)).len(), 1);
    bench.send(1, 2);
    assert_eq!(bench.counted(Uncounted::AfterGap), 1);
}

#[test]
fn a_boot_that_ended_is_closed_exactly() {
    let mut bench = opened();
    bench.send(1, 1);
    let event = message::Event {
        uptime_us: 5,
        code: message::EventCode::Ended,
    };
    let ended = frame_with(INC, mark(1, 2), |writer| {
        message::write(writer, up::EVENT, &event)
    });
    bench.receive("d", &ended.0);
    bench.commit();
    let next = bench.hello(2, mark(2, 1), mark(1, 2), 0);
    assert_eq!(gaps(&next), [], "all it sent is logged");
    bench.send(2, 1);
    bench.commit();
    let third = bench.hello(3, mark(3, 1), mark(2, 1), 0);
    let open: Vec<_> = gaps(&third)
        .iter()
        .map(|gap| (gap.boot, gap.through))
        .collect();
    assert_eq!(open, [(2, u32::MAX)], "nobody knows what the second sent");
}

#[test]
fn a_hello_said_again_writes_nothing_and_takes_no_second_turn() {
    let mut bench = Bench::new(config());
    let first = bench.hello(1, mark(1, 1), mark(0, 0), 500);
    assert!(first.len() <= EFFECTS_MAX);
    bench.commit();
    let pacing = bench.session.pacing();
    assert_eq!(pacing.turns, 1);
    for _ in 0..100 {
        let again = bench.hello(1, mark(1, 1), mark(0, 0), 500);
        assert_eq!(entries(&again), []);
        assert_eq!(again.len(), 2, "a Welcome and an Ack");
    }
    assert_eq!(bench.session.pacing(), pacing);
}

#[test]
fn who_gets_no_turn_is_asked_to_wait_and_its_try_is_taken() {
    let mut config = config();
    // Room for one window of frames.
    config.pending_bytes_max = 8 << 10;
    let mut bench = Bench::new(config);
    bench.hello(1, mark(1, 1), mark(0, 0), 500);
    bench.commit();
    let said = hello(progress(mark(1, 1), mark(0, 0), 500));
    let other = unsequenced(INC, 1, up::HELLO, &said);
    let effects = bench.receive("other", &other);
    let ack = acks(&effects)[0];
    assert_eq!(ack.window, 1);
    assert!((500..=30_000).contains(&ack.retry_after_ms), "{ack:?}");
    let (bytes, _) = sequenced(INC, mark(1, 1), 1);
    assert_eq!(frames(&bench.receive("other", &bytes)).len(), 1);
    bench.commit();
    // Asked again when its slot has come; the other was silent, and lost its turn.
    bench.now.mono_us += LEASE_US + PAUSE_US_MAX;
    let ack = acks(&bench.receive("other", &other))[0];
    assert_eq!((ack.window, ack.retry_after_ms), (WINDOW_DEFAULT, 0));
}

#[test]
fn behind_a_conflict_nothing_is_logged_until_a_hello() {
    let mut bench = opened();
    bench.send(1, 1);
    bench.send(1, 2);
    bench.commit();
    // Another device with the same identity sends 1 to 4.
    let other = |sequence| sequenced(INC, mark(1, sequence), 200 + sequence as u8);
    let refused = refusals(&bench.receive("d", &other(1).0));
    assert_eq!(refused.len(), 1);
    for sequence in 2..5 {
        let effects = bench.receive("d", &other(sequence).0);
        assert_eq!((entries(&effects), refusals(&effects)), (vec![], vec![]));
    }
    assert_eq!(
        refusals(&bench.receive("d", &other(1).0)).len(),
        1,
        "said again"
    );
    // The first one says Hello and goes on.
    bench.hello(1, mark(1, 3), mark(1, 2), 0);
    let (bytes, _) = sequenced(INC, mark(1, 3), 3);
    assert_eq!(frames(&bench.receive("d", &bytes)).len(), 1);
}

#[test]
fn behind_a_conflict_no_later_boot_is_logged_until_a_hello() {
    let mut bench = Bench::new(config());
    bench.hello(2, mark(1, 1), mark(0, 0), 2);
    bench.send(1, 1);
    bench.commit();
    // A copy holds frames of boots 1 and 2: from the refused one on it sends them all anew.
    let other = |mark| sequenced(INC, mark, 200).0;
    assert_eq!(refusals(&bench.receive("d", &other(mark(1, 1)))).len(), 1);
    let effects = bench.receive("d", &other(mark(2, 1)));
    assert_eq!((entries(&effects), refusals(&effects)), (vec![], vec![]));
    bench.hello(2, mark(2, 1), mark(1, 1), 1);
    assert_eq!(frames(&bench.send(2, 1)).len(), 1);
}

#[test]
fn behind_a_frame_in_a_gap_nothing_is_logged_until_a_hello() {
    let mut bench = Bench::new(config());
    bench.hello(1, mark(1, 4), mark(0, 0), 1);
    bench.commit();
    // The gap is 1 to 3; a copy still holds 2 and 3, and 4 as its own.
    let other = |sequence| sequenced(INC, mark(1, sequence), 200).0;
    assert_eq!(refusals(&bench.receive("d", &other(2))).len(), 1);
    for sequence in 3..5 {
        let effects = bench.receive("d", &other(sequence));
        assert_eq!((entries(&effects), refusals(&effects)), (vec![], vec![]));
    }
    assert_eq!(
        refusals(&bench.receive("d", &other(2))).len(),
        1,
        "said again"
    );
    bench.hello(1, mark(1, 4), mark(0, 0), 1);
    assert_eq!(frames(&bench.send(1, 4)).len(), 1);
}

#[test]
fn a_device_in_a_boot_that_is_over_is_another_one() {
    let mut bench = opened();
    bench.send(1, 1);
    bench.commit();
    bench.hello(2, mark(2, 1), mark(1, 1), 0);
    bench.commit();
    let (bytes, check) = sequenced(INC, mark(1, 2), 9);
    let refused = refusals(&bench.receive("d", &bytes));
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].sequence, refused[0].check, refused[0].reason),
        (2, check, RefusedReason::Conflict)
    );
}

#[test]
fn a_device_in_a_boot_that_its_name_has_left_behind_is_another_one() {
    let mut bench = Bench::new(config());
    bench.hello(2, mark(2, 1), mark(0, 0), 0);
    bench.commit();
    // A copy of its image still lives in boot 1, of which nothing was ever heard.
    bench.hello(1, mark(1, 1), mark(0, 0), 3);
    let (bytes, check) = sequenced(INC, mark(1, 1), 9);
    let refused = refusals(&bench.receive("d", &bytes));
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].boot, refused[0].sequence, refused[0].check),
        (1, 1, check)
    );
    assert_eq!(bench.counted(Uncounted::AfterGap), 1);
    let (behind, _) = sequenced(INC, mark(1, 2), 9);
    assert_eq!(refusals(&bench.receive("d", &behind)), []);
}
