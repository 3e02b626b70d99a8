//! A device that claims, over the transport in memory.

use super::*;
use crate::claim::tests::{Bench, key, presence};
use crate::settings::DeviceKey;
use crate::shell::enrol::Errand;

/// The claims that a device published; nothing else may be.
fn claims(broker: &MemoryBroker<16>) -> Vec<Vec<u8>> {
    let mut all = vec![];
    while let Some((outlet, bytes)) = broker.take() {
        assert_eq!(outlet, Outlet::Up);
        all.push(bytes.to_vec());
    }
    all
}

/// Has a device claim once, answers, and tells what became of it, in order.
fn enrol(is_kept: bool) -> (Poll<Option<DeviceKey>>, Vec<&'static str>) {
    let (bench, broker, hands) = (
        Bench::new(),
        MemoryBroker::<16>::default(),
        Hands::default(),
    );
    let happened = RefCell::new(vec![]);
    let mut claiming = bench.start(0);
    let mut transport = MemoryTransport::new(&broker);
    let mut errand = Errand {
        claiming: &mut claiming,
        timer: &hands,
        write_ms: 1_000,
        keep: |given: &DeviceKey| {
            assert_eq!(*given, key());
            happened.borrow_mut().push("keep");
            is_kept
        },
        notice: |notice| {
            happened.borrow_mut().push(match notice {
                Notice::Claimed => "claimed",
                Notice::Granted(1) => "granted",
                Notice::NotKept => "not kept",
                Notice::Ignored => "ignored",
                _ => "other",
            });
        },
    };
    let mut run = pin!(errand.run(&mut transport));
    let mut context = Context::from_waker(Waker::noop());
    let mut turn = || run.as_mut().poll(&mut context);

    assert!(turn().is_pending());
    assert!(claims(&broker).is_empty(), "no gateway was heard of");
    let online = Down::Presence(presence(3, true));
    down(&broker, Channel::Gateway, true, &online);
    assert!(turn().is_pending());
    let first = claims(&broker);
    assert_eq!(first.len(), 1);
    hands.0.set(2_000_000);
    assert!(turn().is_pending());
    assert_eq!(claims(&broker), first, "the same again, after the pause");

    let grant = bench.grant(&first[0], &key());
    assert!(broker.send(Channel::Down, true, &grant));
    assert!(broker.send(Channel::Down, false, &grant[1..]));
    down(&broker, Channel::Gateway, false, &Down::Config(&[]));
    assert!(turn().is_pending());
    assert!(broker.send(Channel::Down, false, &grant));
    let ended = turn();
    assert!(claims(&broker).is_empty());
    (ended, happened.take())
}

const BEFORE: [&str; 5] = ["claimed", "claimed", "ignored", "ignored", "ignored"];

#[test]
fn a_granted_key_is_kept_before_it_is_used() {
    let (ended, happened) = enrol(true);
    assert_eq!(ended, Poll::Ready(Some(key())));
    assert_eq!(happened[..5], BEFORE, "retained, cut short, no presence");
    assert_eq!(happened[5..], ["keep", "granted"]);
}

#[test]
fn a_key_that_cannot_be_kept_is_not_used() {
    let (ended, happened) = enrol(false);
    assert_eq!(ended, Poll::Pending);
    assert_eq!(happened[5..], ["keep", "not kept"]);
}

#[test]
fn a_cut_ends_the_connection_without_a_key() {
    let (bench, broker) = (Bench::new(), MemoryBroker::<16>::default());
    let mut claiming = bench.start(0);
    let mut errand = Errand {
        claiming: &mut claiming,
        timer: Hands::default(),
        write_ms: 1_000,
        keep: |_: &DeviceKey| true,
        notice: |_| {},
    };
    let mut transport = MemoryTransport::new(&broker);
    broker.set_cut(true);
    let mut run = pin!(errand.run(&mut transport));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(run.as_mut().poll(&mut context), Poll::Ready(None));
}
