//! Intake: what arrives, sorted by topic and kind; what has no place is counted by reason.

use tidegate_shared::claim;
use tidegate_shared::frame::{self, Frame, FrameError};
use tidegate_shared::ids::DeviceName;
use tidegate_shared::limits::FRAME_BYTES_MAX;
use tidegate_shared::message::{Down, Presence, RefusedReason, Up};
use tidegate_shared::topic::Topic;

use super::reply::Whom;
use super::{REFUSED_AFTER_MS, Session};
use crate::entry::Uncounted;
use crate::time::Timestamp;

impl Session {
    pub(super) fn receive(&mut self, now: Timestamp, topic: &str, retained: bool, payload: &[u8]) {
        match Topic::parse(&self.config.site, topic) {
            Ok(Topic::Gateway) => self.hear_presence(now, retained, payload),
            Ok(Topic::Up(device) | Topic::Down(device)) if retained => {
                self.count(&device, Uncounted::Retained);
            }
            // `gateway` is nobody's name: its up topic is none of this protocol.
            Ok(Topic::Up(device)) if device.as_str() != "gateway" => {
                if claim::is_claim(payload) {
                    self.take_claim(now, &device, payload);
                } else {
                    self.take_up(now, &device, payload);
                }
            }
            Ok(Topic::Status(device)) => self.take_status(&device, payload),
            Ok(Topic::Up(_) | Topic::Down(_)) | Err(_) => {
                self.tallies.add(None, Uncounted::Topic);
            }
        }
    }

    /// Counts for the device if it is admitted, else for the gateway.
    pub(super) fn count(&mut self, device: &DeviceName, reason: Uncounted) {
        self.judge(device, reason);
        let device = self.live.devices.contains_key(device).then_some(device);
        self.tallies.add(device, reason);
    }

    pub(super) fn is_full(&self) -> bool {
        self.live.devices.len() >= self.config.limits.devices_max as usize
    }

    fn hear_presence(&mut self, now: Timestamp, retained: bool, payload: &[u8]) {
        let said = if payload.is_empty() {
            None
        } else {
            match read_presence(payload, self.config.frame_bytes_max) {
                Ok(presence) => Some(presence),
                Err(reason) => return self.tallies.add(None, reason),
            }
        };
        let step = self.watch.heard(now.mono_us, said, retained);
        self.take_step(step);
    }

    fn take_up(&mut self, now: Timestamp, device: &DeviceName, payload: &[u8]) {
        if !self.lets_in(device) {
            return;
        }
        let mut room = [0; FRAME_BYTES_MAX];
        let taken = match self.unseal(device, payload, &mut room) {
            Ok(taken) => taken,
            Err(reason) => return self.count(device, reason),
        };
        let frame = taken.frame;
        // Incarnation 0 is nobody's.
        if frame.header.incarnation.0 == 0 {
            return self.count(device, Uncounted::Header);
        }
        if self.is_due_plain(device, &taken) {
            return self.refuse_plain(device, &frame);
        }
        if self.watch.is_standby() {
            return self.stand_by(device, &frame);
        }
        if self.watch.is_stopped() {
            return self.count(device, Uncounted::Busy);
        }
        if frame.header.is_sequenced() {
            return self.take_sequenced(now, device, &taken);
        }
        if let Err(reason) = self.note_counter(device, &taken) {
            return self.count(device, reason);
        }
        match Up::read(frame.body) {
            Ok(Up::Hello(hello)) => {
                self.open_channel(device, &taken);
                self.take_hello(now, device, &frame.header, &hello);
            }
            Ok(Up::Progress(progress)) => {
                self.take_progress(now, device, &frame.header, &progress);
            }
            _ => self.count(device, Uncounted::Message),
        }
    }

    /// Only to a Hello this gateway says why it takes no plain word, and plainly: anybody can say
    /// one, and a device with a key must not be put off by that.
    fn refuse_plain(&mut self, device: &DeviceName, frame: &Frame<'_>) {
        self.count(device, Uncounted::Plain);
        if is_hello(frame) && !self.watch.is_standby() && !self.watch.is_stopped() {
            let whom = Whom::from(&frame.header);
            self.refuse_plainly(device, whom, RefusedReason::Key, REFUSED_AFTER_MS);
        }
    }

    /// The owner answers; only to a Hello this gateway says why it does not.
    fn stand_by(&mut self, device: &DeviceName, frame: &Frame<'_>) {
        self.count(device, Uncounted::Standby);
        if is_hello(frame) {
            let retry_after_ms = self.config.retry_after_ms;
            let whom = Whom::from(&frame.header);
            self.refuse_device(device, whom, RefusedReason::Standby, retry_after_ms);
        }
    }

    /// An empty payload only deletes what the broker kept. The status of a device that never
    /// said Hello says nothing about its frames.
    fn take_status(&mut self, device: &DeviceName, payload: &[u8]) {
        if payload.is_empty() || !self.lets_in(device) {
            return;
        }
        let mut room = [0; FRAME_BYTES_MAX];
        let taken = match self.unseal(device, payload, &mut room) {
            Ok(taken) => taken,
            Err(reason) => return self.count(device, reason),
        };
        let frame = taken.frame;
        let Ok(Up::Status(status)) = Up::read(frame.body) else {
            return self.count(device, Uncounted::Message);
        };
        if self.is_due_plain(device, &taken) {
            return self.count(device, Uncounted::Plain);
        }
        if !self.live.devices.contains_key(device) {
            return;
        }
        if let Err(reason) = self.note_status(device, &taken, status.online) {
            return self.count(device, reason);
        }
        let Some(marks) = self.live.devices.get(device) else {
            return;
        };
        // The will of an earlier boot may come after the Hello of this one; of a sealed one its
        // counter tells.
        let of = (frame.header.incarnation, frame.header.mark.boot);
        let is_earlier =
            of.0.0 != 0 && taken.key_id == 0 && marks.current.is_some_and(|current| current != of);
        if status.online || !is_earlier {
            self.link(device).up = Some(status.online);
            self.note_link(device);
        }
    }
}

fn is_hello(frame: &Frame<'_>) -> bool {
    !frame.header.is_sequenced() && matches!(Up::read(frame.body), Ok(Up::Hello(_)))
}

pub(super) fn read_frame(payload: &[u8], bytes_max: usize) -> Result<Frame<'_>, Uncounted> {
    if payload.len() > bytes_max {
        return Err(Uncounted::TooLong);
    }
    frame::read(payload).map_err(uncounted)
}

pub(super) fn uncounted(error: FrameError) -> Uncounted {
    match error {
        FrameError::Truncated { .. } => Uncounted::Truncated,
        FrameError::TooLong { .. } => Uncounted::TooLong,
        FrameError::Version { .. } => Uncounted::Version,
        FrameError::Flags { .. } => Uncounted::Flags,
        FrameError::Header { .. } => Uncounted::Header,
        FrameError::Trailer { .. } => Uncounted::Trailer,
    }
}

fn read_presence(payload: &[u8], bytes_max: usize) -> Result<Presence, Uncounted> {
    match Down::read(read_frame(payload, bytes_max)?.body) {
        Ok(Down::Presence(presence)) => Ok(presence),
        _ => Err(Uncounted::Message),
    }
}
