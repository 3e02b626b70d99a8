//! Who is let in, and who is not any more.

use super::*;

#[tokio::test]
async fn without_the_right_name_and_password_nobody_is_let_in() {
    let mut rig = Rig::new(registered(&["pump-1"])).await;
    let (_link, _events) = rig.gateway().await;
    let _pump = rig.device("pump-1").await;
    let claimed = |name| Speaker::Claimed(device(name));
    let mut wrong = rig.options("pump-1");
    wrong.set_credentials("pump-1", "pump-2-key");
    let unknown = rig.options("pump-2");
    let anonymous = rig.stranger("tidegate-plant-pump-1");
    for (options, who, why) in [
        (wrong, claimed("pump-1"), Why::WrongPassword),
        (unknown, claimed("pump-2"), Why::UnknownDevice),
        (anonymous, claimed("pump-1"), Why::NoPassword),
    ] {
        let code = Client::refusal(options).await;
        assert_eq!(code, ConnectReturnCode::BadUserNamePassword);
        assert_eq!(rig.refused().await, (who, why));
    }
    assert_eq!(rig.doorkeeper.counts().by_reason.len(), 3);
}

#[tokio::test]
async fn nobody_is_let_in_as_another() {
    let mut rig = Rig::new(registered(&["pump-1", "pump-2"])).await;
    let proved = Speaker::Proved(device("pump-1"));
    let (_link, mut events) = rig.gateway().await;
    for id in ["tidegate-plant-pump-2", GATEWAY_ID, "free", ""] {
        let mut options = rig.stranger(id);
        options.set_credentials("pump-1", "pump-1-key");
        let code = Client::refusal(options).await;
        assert_eq!(code, ConnectReturnCode::ClientIdentifierNotValid, "{id}");
        assert_eq!(rig.refused().await, (proved.clone(), Why::ForeignName));
    }
    let mut options = rig.options("pump-1");
    options.set_last_will(will("tidegate/v1/plant/pump-2/status"));
    let code = Client::refusal(options).await;
    assert_eq!(code, ConnectReturnCode::NotAuthorized);
    assert_eq!(rig.refused().await, (proved, Why::ForeignWill));
    assert!(events.try_recv().is_err(), "the gateway kept its place");
}

#[tokio::test]
async fn a_revoked_device_is_disconnected_and_its_will_not_heard() {
    let mut rig = Rig::new(registered(&["pump-1", "pump-2"])).await;
    let (_link, mut events) = rig.gateway().await;
    let mut willed = rig.options("pump-1");
    willed.set_last_will(will("tidegate/v1/plant/pump-1/status"));
    let stolen = Client::connect(willed).await.unwrap();
    let mut honest = rig.device("pump-2").await;
    rig.doorkeeper.change(|access| {
        if let Accounts::Registered(accounts) = &mut access.accounts {
            accounts.insert(device("pump-1"), Account::Revoked);
        }
    });
    stolen.ended().await;
    let proved = Speaker::Proved(device("pump-1"));
    assert_eq!(rig.refused().await, (proved.clone(), Why::Revoked));
    assert_eq!(
        Client::refusal(rig.options("pump-1")).await,
        ConnectReturnCode::BadUserNamePassword
    );
    let topic = "tidegate/v1/plant/pump-2/up";
    assert_eq!(honest.publish(topic, b"on").await, PubAckReason::Success);
    let heard = timeout(PATIENCE, events.recv()).await.unwrap();
    let Some(LinkEvent::Message { topic: of, .. }) = heard else {
        panic!("{heard:?}");
    };
    assert_eq!(of, topic, "the will of the revoked one was not published");
}

#[tokio::test]
async fn a_rotation_lets_both_keys_in_until_the_old_one_is_dropped() {
    let rig = Rig::new(registered(&["pump-1"])).await;
    let both = |passwords: &[&str]| {
        let of = |text: &&str| Password::of(text.as_bytes());
        let account = Account::Open(passwords.iter().map(of).collect());
        Access::from_iter([(device("pump-1"), account)])
    };
    rig.doorkeeper.set(both(&["pump-1-key", "new"]));
    let old = rig.device("pump-1").await;
    rig.doorkeeper.set(both(&["new"]));
    old.ended().await;
    let mut options = rig.options("pump-1");
    options.set_credentials("pump-1", "new");
    let mut new = Client::connect(options).await.unwrap();
    rig.doorkeeper.set(both(&["new", "newer"]));
    let acked = new.publish("tidegate/v1/plant/pump-1/up", b"1").await;
    assert_eq!(acked, PubAckReason::Success);
}

#[tokio::test]
async fn the_first_device_closes_the_door_to_strangers() {
    let mut rig = Rig::new(Access::default()).await;
    let (_link, mut events) = rig.gateway().await;
    let mut stranger = Client::connect(rig.stranger("tidegate-plant-pump-2"))
        .await
        .unwrap();
    stranger.subscribe(&["#"]).await;
    let taken = Client::refusal(rig.stranger(GATEWAY_ID)).await;
    assert_eq!(taken, ConnectReturnCode::ClientIdentifierNotValid);
    let _ = rig.refused().await;
    rig.doorkeeper.set(registered(&["pump-1"]));
    stranger.ended().await;
    let named = Speaker::Claimed(device("pump-2"));
    assert_eq!(rig.refused().await, (named, Why::NoPassword));
    let _pump = rig.device("pump-1").await;
    assert!(events.try_recv().is_err(), "the gateway stayed");
}

#[tokio::test]
async fn a_device_that_connects_again_takes_its_own_session() {
    let rig = Rig::new(registered(&["pump-1"])).await;
    let first = rig.device("pump-1").await;
    let mut second = rig.device("pump-1").await;
    first.ended().await;
    let granted = second.subscribe(&["tidegate/v1/plant/pump-1/down"]).await;
    assert_eq!(granted, [SubscribeReasonCode::Success(QoS::AtLeastOnce)]);
}
