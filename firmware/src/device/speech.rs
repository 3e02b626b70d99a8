//! What a device says: held frames as they are, Hello and Progress as of now.

use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::frame;
use tidegate_shared::ids::Mark;
use tidegate_shared::limits::PROTOCOL;
use tidegate_shared::message::{self, Hello, Progress, up};

use super::{Device, Eviction, Publish};
use crate::outbox::{Outbox, OutboxError};

impl<O: Outbox, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>
    Device<'_, O, SENSORS, SAMPLES, FRAME>
{
    /// Writes the bytes of what is to be published; none when it is no longer held. A frame that
    /// reads back corrupt is not sent; once it is the oldest, it is dropped and counted.
    pub fn write(&mut self, publish: Publish, out: &mut [u8]) -> Option<usize> {
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
