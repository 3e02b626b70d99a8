//! What a device may say and hear.

use std::collections::BTreeSet;

use tidegate_shared::claim::{ClaimId, Claimant, Code, Secret};
use tidegate_shared::seal::Key;

use super::*;
use crate::mqtt::Link;
use crate::mqtt::access::Admission;
use crate::session::OpenClaim;

#[tokio::test]
async fn a_device_is_heard_on_its_own_topics_alone() {
    let mut rig = Rig::new(registered(&["pump-1", "pump-2"])).await;
    let (_link, mut events) = rig.gateway().await;
    let mut pump = rig.device("pump-1").await;
    let foreign = [
        "tidegate/v1/plant/pump-2/up",
        "tidegate/v1/plant/pump-2/status",
        "tidegate/v1/plant/pump-1/down",
        "tidegate/v1/plant/gateway",
        "tidegate/v1/other/pump-1/up",
        "anything",
    ];
    for topic in foreign {
        let reason = pump.publish(topic, b"lie").await;
        assert_eq!(reason, PubAckReason::NotAuthorized, "{topic}");
        let proved = Speaker::Proved(device("pump-1"));
        assert_eq!(rig.refused().await, (proved, Why::ForeignTopic));
    }
    for topic in [
        "tidegate/v1/plant/pump-1/up",
        "tidegate/v1/plant/pump-1/status",
    ] {
        assert_eq!(pump.publish(topic, b"true").await, PubAckReason::Success);
        let heard = timeout(PATIENCE, events.recv()).await.unwrap();
        let Some(LinkEvent::Message {
            topic: of, payload, ..
        }) = heard
        else {
            panic!("{heard:?}");
        };
        assert_eq!((of.as_str(), payload.as_slice()), (topic, &b"true"[..]));
    }
}

/// Passed on, it would be judged as what a device said.
#[tokio::test]
async fn of_a_claimant_claims_are_passed_on_and_nothing_else() {
    let code = Code {
        id: ClaimId(7),
        key: Key::new([7; 32]),
    };
    let claimant = Claimant {
        code: &code,
        site: &site(),
        device: &device("pump-2"),
    };
    let claim = claimant.ask(&Secret::new([1; 32]));
    let admission = Admission {
        password: Password::of(b"pump-2-key"),
        claim: OpenClaim {
            code: code.clone(),
            prefix: device("pump"),
            is_used_up: false,
            waiting: BTreeSet::new(),
        },
    };
    let mut rig = Rig::new(Access {
        admissions: vec![admission],
        ..registered(&["pump-1"])
    })
    .await;
    let (_link, mut events) = rig.gateway().await;
    let mut pump = rig.device("pump-2").await;
    let up = "tidegate/v1/plant/pump-2/up";
    let long = [&claim[..], b"!"].concat();
    let others: [&[u8]; 5] = [b"", b"\x01\x02", b"\x01\x01\x01 forged", &claim[1..], &long];
    for payload in others {
        pump.publish(up, payload).await;
        let claimed = Speaker::Claimed(device("pump-2"));
        assert_eq!(rig.refused().await, (claimed, Why::NoClaim));
    }
    pump.publish(up, &claim).await;
    let heard = timeout(PATIENCE, events.recv()).await.unwrap();
    let Some(LinkEvent::Message { topic, payload, .. }) = heard else {
        panic!("{heard:?}");
    };
    assert_eq!((topic.as_str(), &payload[..]), (up, &claim[..]));
}

#[tokio::test]
async fn a_device_hears_its_own_topics_alone() {
    let mut rig = Rig::new(registered(&["pump-1"])).await;
    let (link, _events) = rig.gateway().await;
    let mut pump = rig.device("pump-1").await;
    let own = ["tidegate/v1/plant/pump-1/down", "tidegate/v1/plant/gateway"];
    let granted = pump.subscribe(&own).await;
    assert_eq!(granted, [SubscribeReasonCode::Success(QoS::AtLeastOnce); 2]);
    let foreign = [
        "tidegate/v1/plant/pump-2/down",
        "tidegate/v1/plant/+/down",
        "tidegate/v1/plant/pump-1/+",
        "tidegate/v1/plant/pump-1/up",
        "tidegate/v1/plant/#",
        "+/+/+/+/down",
        "#",
        "$SYS/#",
        "$share/all/tidegate/v1/plant/pump-1/down",
    ];
    for filter in foreign {
        let code = pump.subscribe(&[filter]).await;
        assert_eq!(code, [SubscribeReasonCode::NotAuthorized], "{filter}");
        assert_eq!(rig.refused().await.1, Why::ForeignTopic);
    }
    for topic in ["tidegate/v1/plant/pump-2/down", own[0]] {
        assert!(link.publish(topic, b"hello".to_vec(), false, None));
    }
    let Packet::Publish(first) = pump.next().await.unwrap() else {
        panic!("nothing else comes");
    };
    assert_eq!(&first.topic[..], own[0].as_bytes());
}
