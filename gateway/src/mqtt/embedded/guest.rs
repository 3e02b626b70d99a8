//! A guest: one connection as `mqtt5` asks about it: who is it, may it, and how fast.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::events::{BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::error::Result;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::types::ReasonCode;
use tidegate_shared::ids::DeviceName;

use super::House;
use super::pace::Pace;
use super::places::Place;
use crate::mqtt::access::{Claim, Identity, Speaker, Why};

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One connection.
pub(super) struct Guest {
    house: Arc<House>,
    peer: IpAddr,
    place: Place,
    certified: Option<Vec<DeviceName>>,
    identity: OnceLock<Identity>,
    /// Who its client id says that it is.
    claimed: OnceLock<Speaker>,
    pace: Mutex<Pace>,
}

impl Guest {
    pub(super) fn new(
        house: Arc<House>,
        peer: SocketAddr,
        place: Place,
        certified: Option<Vec<DeviceName>>,
    ) -> Self {
        Self {
            house,
            peer: peer.ip().to_canonical(),
            place,
            certified,
            identity: OnceLock::new(),
            claimed: OnceLock::new(),
            pace: Mutex::default(),
        }
    }

    /// Who it is, once that is known.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// Counts and tells that something of it was refused.
    pub(super) fn refuse(&self, why: Why) {
        let who = match self.identity().map_or(Speaker::Unknown, Identity::speaker) {
            Speaker::Unknown => self.claimed.get().cloned().unwrap_or(Speaker::Unknown),
            who => who,
        };
        self.house.doorkeeper.refuse(who, self.peer, why);
    }

    fn let_in(&self, connect: &ConnectPacket) -> std::result::Result<(), ReasonCode> {
        let claim = Claim {
            client_id: &connect.client_id,
            user: connect.username.as_deref(),
            password: connect.password.as_deref(),
            will: connect.will.as_ref().map(|will| will.topic.as_str()),
            certified: self.certified.as_deref(),
            inside: self.place.is_inner(),
        };
        let doorkeeper = &self.house.doorkeeper;
        let _ = self.claimed.set(doorkeeper.claimed_by(&connect.client_id));
        let identity = doorkeeper.identify(&claim).map_err(|denial| {
            doorkeeper.refuse(denial.who, self.peer, denial.why);
            code(denial.why)
        })?;
        if !self.house.places.seat(&self.place) {
            doorkeeper.refuse(identity.speaker(), self.peer, Why::TooManyConnections);
            return Err(ReasonCode::QuotaExceeded);
        }
        // A connection has one CONNECT, so nothing was there before.
        let _ = self.identity.set(identity);
        Ok(())
    }

    /// Counts what it published or asked for, and waits where that was too fast.
    async fn keep_pace(&self, bytes: usize) {
        if self.place.is_inner() {
            return;
        }
        let now_us = self.house.clock.now().mono_us;
        let bounds = self.house.bounds;
        let per_s = (bounds.messages_per_s, bounds.bytes_per_s);
        let cost = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.count(bytes as u64, per_s, now_us)
        };
        if cost.is_told {
            self.refuse(Why::TooFast);
        }
        if cost.wait_us > 0 {
            tokio::time::sleep(Duration::from_micros(cost.wait_us)).await;
        }
    }

    fn may_say(&self, payload: &[u8]) -> bool {
        self.may(|identity| {
            if identity.may_say(payload) {
                Ok(())
            } else {
                Err(Why::NoClaim)
            }
        })
    }

    fn may(&self, judge: impl Fn(&Identity) -> std::result::Result<(), Why>) -> bool {
        let Some(identity) = self.identity() else {
            return false;
        };
        judge(identity).inspect_err(|why| self.refuse(*why)).is_ok()
    }
}

/// What a client hears; why a name is not known or its password wrong is not for it to learn.
fn code(why: Why) -> ReasonCode {
    match why {
        Why::ForeignName => ReasonCode::ClientIdentifierNotValid,
        Why::ForeignWill | Why::NamelessCertificate => ReasonCode::NotAuthorized,
        _ => ReasonCode::BadUsernameOrPassword,
    }
}

impl AuthProvider for Guest {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Answer<'a, Result<AuthResult>> {
        Box::pin(async move {
            Ok(match self.let_in(connect) {
                // Without a user: `mqtt5` would write it into every message.
                Ok(()) => AuthResult::success(),
                Err(code) => AuthResult::fail(code),
            })
        })
    }

    fn authorize_publish<'a>(
        &'a self,
        _client_id: &str,
        _user: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let is_let = self.may(|identity| self.house.doorkeeper.may_publish(identity, topic));
            if !is_let {
                // What is let through is counted with its bytes.
                self.keep_pace(0).await;
            }
            is_let
        })
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client_id: &str,
        _user: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            self.keep_pace(0).await;
            self.may(|identity| self.house.doorkeeper.may_subscribe(identity, filter))
        })
    }
}

/// The pace of a guest, and what it may say, as `mqtt5` tells of what is published.
pub(super) struct Pacer(pub(super) Arc<Guest>);

impl BrokerEventHandler for Pacer {
    fn on_client_publish(&self, event: ClientPublishEvent) -> Answer<'_, PublishAction> {
        Box::pin(async move {
            self.0.keep_pace(event.payload.len()).await;
            if self.0.may_say(&event.payload) {
                PublishAction::Continue
            } else {
                // Taken, and passed on to nobody.
                PublishAction::Handled
            }
        })
    }
}
