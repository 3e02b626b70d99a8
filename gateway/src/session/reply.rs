//! Replies: what the session says to devices and on the gateway topic.

use tidegate_shared::frame::{self, HEADER_BYTES_MAX, Header, TRAILER_BYTES};
use tidegate_shared::ids::{CatalogHash, Check, DeviceName, Incarnation, Mark};
use tidegate_shared::limits::PROTOCOL;
use tidegate_shared::message::{
    Ack, CatalogWanted, Down, Presence, Refused, RefusedReason, Welcome,
};
use tidegate_shared::topic::Topic;

use super::marks::Place;
use super::turns::Grant;
use super::{DOWN_EXPIRY_S, Effect, Session};
use crate::time::Timestamp;

/// Most bytes of a down frame of fixed fields: an Ack has nine varints of at most 10 bytes.
const DOWN_BYTES_MAX: usize = HEADER_BYTES_MAX + 90 + TRAILER_BYTES;

/// Whom a reply is for: what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whom {
    pub incarnation: Incarnation,
    pub boot: u32,
}

impl From<&Header> for Whom {
    fn from(header: &Header) -> Self {
        Self {
            incarnation: header.incarnation,
            boot: header.mark.boot,
        }
    }
}

impl Session {
    /// Says how far a pair is durable, and what the device may do; `meant` is the sequence
    /// answered, 0 for none.
    pub(super) fn ack(&mut self, now: Timestamp, device: &DeviceName, whom: Whom, meant: u32) {
        if self.store_busy {
            return self.ack_busy(now, device, whom, meant);
        }
        let grant = self.grant(now, device);
        self.ack_with(now, device, whom, meant, grant);
    }

    /// As [`Self::ack`], while the store takes nothing.
    pub(super) fn ack_busy(&mut self, now: Timestamp, device: &DeviceName, whom: Whom, meant: u32) {
        let grant = Grant {
            window: self.config.window,
            retry_after_ms: self.busy_ms(device),
        };
        self.ack_with(now, device, whom, meant, grant);
    }

    fn ack_with(
        &mut self,
        now: Timestamp,
        device: &DeviceName,
        whom: Whom,
        meant: u32,
        grant: Grant,
    ) {
        let marks = self.durable.devices.get(device);
        let place = marks.map(|marks| marks.place(whom.incarnation, whom.boot));
        let (through, check) = match place {
            Some(Place::Pair(pair)) => pair.ack(meant),
            Some(Place::Stale(Some(stale))) => (stale.through, stale.check),
            _ => (0, Check::default()),
        };
        let ack = Ack {
            incarnation: whom.incarnation,
            boot: whom.boot,
            through,
            check,
            window: grant.window,
            retry_after_ms: grant.retry_after_ms,
            utc_us: if now.wall_trusted { now.wall_us } else { 0 },
            term: self.config.term,
        };
        self.say(device, whom, &Down::Ack(ack));
    }

    /// Refuses a frame, or with `sequence` 0 the device.
    pub(super) fn refuse(
        &mut self,
        device: &DeviceName,
        whom: Whom,
        (sequence, check): (u32, Check),
        reason: RefusedReason,
        retry_after_ms: u32,
    ) {
        let refused = self.refused(whom, (sequence, check), reason, retry_after_ms);
        self.say(device, whom, &Down::Refused(refused));
    }

    /// Refuses a device that anybody may pretend to be.
    pub(super) fn refuse_plainly(
        &mut self,
        device: &DeviceName,
        whom: Whom,
        reason: RefusedReason,
        retry_after_ms: u32,
    ) {
        let refused = self.refused(whom, (0, Check::default()), reason, retry_after_ms);
        if self.watch.is_connected() {
            self.publish_down(device, write(whom, &Down::Refused(refused)));
        }
    }

    fn refused(
        &self,
        whom: Whom,
        (sequence, check): (u32, Check),
        reason: RefusedReason,
        retry_after_ms: u32,
    ) -> Refused {
        Refused {
            incarnation: whom.incarnation,
            boot: whom.boot,
            sequence,
            check,
            reason,
            retry_after_ms,
            term: self.config.term,
        }
    }

    pub(super) fn refuse_device(
        &mut self,
        device: &DeviceName,
        whom: Whom,
        reason: RefusedReason,
        retry_after_ms: u32,
    ) {
        self.refuse(device, whom, (0, Check::default()), reason, retry_after_ms);
    }

    pub(super) fn welcome(&mut self, device: &DeviceName, whom: Whom) {
        let welcome = Welcome {
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            term: self.config.term,
            frame_bytes_max: u16::try_from(self.config.frame_bytes_max).unwrap_or(u16::MAX),
            window: self.config.window,
        };
        self.say(device, whom, &Down::Welcome(welcome));
    }

    pub(super) fn ask_catalog(&mut self, device: &DeviceName, whom: Whom, hash: CatalogHash) {
        self.say(device, whom, &Down::CatalogWanted(CatalogWanted { hash }));
    }

    pub(super) fn presence_payload(&self, online: bool) -> Vec<u8> {
        let presence = Presence {
            gateway: self.config.gateway_id,
            term: self.config.term,
            start: self.config.start,
            online,
        };
        write(Whom::all(), &Down::Presence(presence))
    }

    fn say(&mut self, device: &DeviceName, whom: Whom, message: &Down<'_>) {
        if !self.watch.is_connected() {
            return;
        }
        if let Some(payload) = self.sealed_for(device, write(whom, message)) {
            self.publish_down(device, payload);
        }
    }

    fn publish_down(&mut self, device: &DeviceName, payload: Vec<u8>) {
        self.out.push(Effect::Publish {
            topic: Topic::Down(device.clone()),
            retained: false,
            expiry_s: Some(DOWN_EXPIRY_S),
            payload,
        });
    }
}

impl Whom {
    fn all() -> Self {
        Self {
            incarnation: Incarnation(0),
            boot: 0,
        }
    }
}

fn write(whom: Whom, message: &Down<'_>) -> Vec<u8> {
    let header = Header {
        key_id: 0,
        incarnation: whom.incarnation,
        mark: Mark {
            boot: whom.boot,
            sequence: 0,
        },
    };
    let mut buffer = [0; DOWN_BYTES_MAX];
    frame::write(&header, &mut buffer, |writer| message.write(writer))
        .map(|(bytes, _)| bytes.to_vec())
        .expect("the buffer holds the longest of these messages")
}
