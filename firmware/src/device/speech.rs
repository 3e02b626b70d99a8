//! What a device says: held frames as they are, Hello, Progress and status as of now; all sealed
//! when it has a key.

use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::frame;
use tidegate_shared::ids::Mark;
use tidegate_shared::limits::PROTOCOL;
use tidegate_shared::message::{self, Hello, Progress, up};

use super::{Device, Eviction, Publish};
use crate::mqtt::status_frame;
use crate::outbox::{Outbox, OutboxError};
use crate::seal::Said;

/// What a device says on its status topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Offline, for the broker to say when the connection to come is lost.
    Will,
    /// Online, on that connection.
    Online,
    /// Offline, because the device goes.
    Goodbye,
}

impl<O: Outbox, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>
    Device<'_, O, SENSORS, SAMPLES, FRAME>
{
    /// Writes the bytes of what is to be published, sealed by a device with a key; none when it is
    /// no longer held. A frame that reads back corrupt is not sent; once it is the oldest, it is
    /// dropped and counted.
    pub fn write(&mut self, publish: Publish, out: &mut [u8]) -> Option<usize> {
        let said = match publish {
            Publish::Hello => Said::Hello,
            Publish::Progress => Said::Progress,
            Publish::Frame(_) => Said::Frame,
        };
        self.write_guarded(said, out, |device, out| device.write_plain(publish, out))
    }

    /// Writes what the device says on its status topic; `None` when it can say nothing. The will is
    /// to be written first, then the `online` of its connection.
    pub fn write_status(&mut self, status: Status, out: &mut [u8]) -> Option<usize> {
        let online = status == Status::Online;
        if self.guard().is_none() {
            return status_frame(online, out);
        }
        let said = match status {
            Status::Will => Said::Will,
            Status::Online => Said::Online,
            Status::Goodbye => Said::Goodbye,
        };
        self.write_guarded(said, out, |device, out| {
            device.write_unsequenced(out, &|_, writer| {
                message::write(writer, up::STATUS, &message::Status { online })
            })
        })
    }

    /// Has a frame written by `write`, and sealed if there is a key.
    fn write_guarded(
        &mut self,
        said: Said,
        out: &mut [u8],
        write: impl FnOnce(&mut Self, &mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        if self.guard().is_none() {
            return write(self, out);
        }
        let mut plain = [0; FRAME];
        let used = write(self, &mut plain)?;
        let guard = self.guard()?;
        guard.seal(said, plain.get(..used)?, out)
    }

    fn write_plain(&mut self, publish: Publish, out: &mut [u8]) -> Option<usize> {
        match publish {
            Publish::Hello => {
                let written = self.write_unsequenced(out, &|device, writer| {
                    message::write(writer, up::HELLO, &device.hello())
                });
                if let Some(eviction) = &mut self.eviction {
                    eviction.in_hello = true;
                }
                written
            }
            Publish::Progress => {
                let written = self.write_unsequenced(out, &|device, writer| {
                    message::write(writer, up::PROGRESS, &device.progress())
                });
                self.note_told();
                written
            }
            Publish::Frame(mark) => match self.outbox.read(mark, out) {
                Ok(bytes) => Some(bytes),
                Err(OutboxError::Corrupt) => {
                    self.drop_corrupt(mark);
                    None
                }
                Err(_) => None,
            },
        }
    }

    /// What the next Hello says.
    pub fn hello(&self) -> Hello {
        let firmware = self.identity.firmware;
        let end = (0..=firmware.len().min(32))
            .rev()
            .find(|end| firmware.is_char_boundary(*end));
        let firmware = firmware.get(..end.unwrap_or(0)).unwrap_or_default();
        Hello {
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            firmware: heapless::String::try_from(firmware).unwrap_or_default(),
            reset: self.identity.reset,
            catalog: self.hash,
            config_version: 0,
            hold_ms: (self.batch.config().hold_us / 1_000) as u32,
            frame_bytes_max: FRAME as u16,
            progress: self.progress(),
        }
    }

    /// What the next Progress says.
    pub fn progress(&self) -> Progress {
        let said = self.eviction.unwrap_or_else(|| self.eviction_now());
        let Eviction {
            floor, acked, gone, ..
        } = said;
        Progress {
            floor,
            acked,
            uptime_us: self.uptime_us,
            depth: (self.outbox.len() as u32).saturating_add(gone),
            clock: self.clock,
        }
    }

    /// The oldest frame held, or the next to be frozen.
    pub(super) fn floor(&self) -> Mark {
        let oldest = self.outbox.next_after(Mark::default());
        oldest.map_or(self.next_mark(), |one| one.mark)
    }

    fn write_unsequenced(
        &self,
        out: &mut [u8],
        body: &dyn Fn(&Self, &mut Writer<'_>) -> Result<(), BodyError>,
    ) -> Option<usize> {
        let header = self.header(Mark {
            boot: self.identity.boot,
            sequence: 0,
        });
        let written = frame::write(&header, out, |writer| body(self, writer));
        written.ok().map(|(bytes, _)| bytes.len())
    }
}
