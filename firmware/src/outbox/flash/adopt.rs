//! Frames of earlier boots come under the device's incarnation.
//!
//! Renumbering has the order: append the renumbered frame at the back, free the old one at the
//! front. So a power cut leaves, from the oldest on, frames of the old incarnation and then those
//! that came under the new one, which are the older samples; at most the last one moved stands
//! twice, with one body. A start goes on from there.

use embedded_storage::nor_flash::MultiwriteNorFlash;
use heapless::Vec;
use tidegate_shared::frame::{self, Header, crc32c};
use tidegate_shared::ids::{Incarnation, Mark};

use super::item::Head;
use super::queue::{Held, Queue};
use crate::outbox::{Content, Entry};

impl<F: MultiwriteNorFlash, const FRAMES: usize, const ITEM: usize> Queue<F, FRAMES, ITEM> {
    /// Renumbers the frames of other incarnations, boot by boot, behind those of this one, and
    /// drops what cannot stand before the first frame of `boot`.
    ///
    /// Totals are freed: they count from the boot's beginning, which the old incarnation told a
    /// gateway already. It sees those boots end without Totals, and says what it does not know.
    pub(super) fn adopt(&mut self, incarnation: Incarnation, boot: u32) {
        let found = core::mem::take(&mut self.held);
        let mut newest = Mark::default();
        for held in found.iter().filter(|one| one.incarnation == incarnation) {
            if held.entry.mark.boot < boot {
                newest = held.entry.mark;
                // As many as before, at most.
                let _ = self.held.push(*held);
            } else {
                self.counts.lost += 1;
                self.free(held, |_, _| ());
            }
        }
        let mut moved = self.held.last().and_then(|held| self.body_sum(held));
        for old in found.iter().filter(|one| one.incarnation != incarnation) {
            let is_moved = moved
                .take()
                .is_some_and(|sum| self.body_sum(old) == Some(sum));
            if is_moved || old.entry.content == Content::Totals {
                self.free(old, |_, _| ());
                continue;
            }
            let mark = follow(newest, old.entry.mark);
            if mark.boot < boot && self.move_under(incarnation, mark, old) {
                newest = mark;
            } else {
                self.counts.lost += 1;
            }
            self.free(old, |_, _| ());
        }
    }

    fn move_under(&mut self, incarnation: Incarnation, mark: Mark, old: &Held) -> bool {
        let mut item = Vec::<u8, ITEM>::new();
        let Some(head) = self.look(old, |head, bytes| {
            // It was read into a buffer of this size.
            let _ = item.extend_from_slice(bytes);
            *head
        }) else {
            return false;
        };
        let Ok(frame) = frame::read(head.frame(&item)) else {
            return false;
        };
        let header = Header {
            incarnation,
            mark,
            ..frame.header
        };
        let mut new = [0; ITEM];
        let Ok((bytes, check)) = frame::write(&header, &mut new, |out| out.put(frame.body)) else {
            return false;
        };
        let new_head = Head {
            entry: Entry {
                mark,
                check,
                ..old.entry
            },
            incarnation,
            pairs: head.pairs,
        };
        let is_written = self
            .append_anyhow(&new_head, head.receipt(&item), bytes)
            .is_ok();
        let held = self.new_held(&new_head);
        is_written && self.held.push(held).is_ok()
    }

    /// Content and body of a frame, as a number; none when it is not readable.
    fn body_sum(&self, held: &Held) -> Option<(Content, u32)> {
        self.look(held, |head, item| {
            let frame = frame::read(head.frame(item)).ok()?;
            Some((head.entry.content, crc32c(frame.body)))
        })?
    }
}

/// The mark that a frame gets behind `newest`: of its own boot, unless that would be a step back.
fn follow(newest: Mark, old: Mark) -> Mark {
    if old.boot > newest.boot {
        Mark {
            boot: old.boot,
            sequence: 1,
        }
    } else {
        Mark {
            boot: newest.boot,
            sequence: newest.sequence + 1,
        }
    }
}
