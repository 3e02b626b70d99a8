//! Operations on the queue in flash: append with read-back, walk, free, erase ahead.
//!
//! The queue of `sequential-storage` is made anew for each operation: it keeps nothing in RAM.

use core::ops::Range;

use embedded_storage::nor_flash::{MultiwriteNorFlash, NorFlash, ReadNorFlash};
use sequential_storage::Error;
use sequential_storage::cache::Cache;
use sequential_storage::queue::{QueueConfig, QueueStorage};
use tidegate_shared::frame::crc32c;

use super::item::Head;
use super::seam::{Erase, Geometry, Seam, SeamError, Seen, finish};

/// Longest word that `sequential-storage` supports.
pub(super) const WORD_BYTES_MAX: usize = 32;

/// Why an operation did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// No room without an erase.
    Full,
    /// What was written does not read back.
    Unread,
    /// The flash refused an access.
    Flash,
    /// What lies in the flash is no queue.
    Corrupt,
    /// An item larger than any of ours lay in the way, and was struck out: walk again.
    Struck,
}

/// What a walk does with an item, and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Leaves it and goes on.
    Next,
    /// Frees it and goes on.
    Free,
    /// Frees it and ends.
    FreeLast,
    /// Leaves it and ends.
    Stop,
}

/// What a walk asks about each item: its head, if it is one of ours, its bytes, and its page.
pub(super) type Each<'e> = dyn FnMut(Option<Head>, &[u8], u32) -> Step + 'e;

/// A buffer for one item, aligned as flash controllers want it.
#[derive(Debug, Clone)]
#[repr(align(4))]
pub(super) struct Aligned<const BYTES: usize>(pub(super) [u8; BYTES]);

/// The flash, what was seen of it, and a buffer of the largest item.
#[derive(Debug, Clone)]
pub(super) struct Io<F, const ITEM: usize> {
    pub(super) flash: F,
    pub(super) seen: Seen,
    pub(super) item: Aligned<ITEM>,
    range: Range<u32>,
}

impl<F: MultiwriteNorFlash, const ITEM: usize> Io<F, ITEM> {
    /// `range` is made of whole pages.
    pub(super) const fn new(flash: F, range: Range<u32>) -> Self {
        Self {
            flash,
            seen: Seen::new(),
            item: Aligned([0; ITEM]),
            range,
        }
    }

    pub(super) fn range(&self) -> Range<u32> {
        self.range.clone()
    }

    pub(super) fn pages(&self) -> u32 {
        (self.range.end - self.range.start) / Geometry::<F>::PAGE
    }

    /// The addresses of page number `page`.
    pub(super) fn page(&self, page: u32) -> Range<u32> {
        let start = self.range.start + page * Geometry::<F>::PAGE;
        start..start + Geometry::<F>::PAGE
    }

    /// The number of the page that `address` lies in.
    pub(super) fn page_of(&self, address: u32) -> u32 {
        address.saturating_sub(self.range.start) / Geometry::<F>::PAGE
    }

    /// Bytes from `address` on that its page has for items.
    pub(super) fn left_from(&self, address: u32) -> u32 {
        let end = self.page(self.page_of(address)).end - Geometry::<F>::WORD;
        end.saturating_sub(address)
    }

    /// Reads bytes of one access.
    pub(super) fn look(&mut self, at: u32, out: &mut [u8]) -> Result<(), Failed> {
        ReadNorFlash::read(&mut self.flash, at, out).map_err(|_| Failed::Flash)
    }

    pub(super) fn erase_page(&mut self, page: u32) -> Result<(), Failed> {
        let pages = self.page(page);
        let mut seam = Seam {
            flash: &mut self.flash,
            seen: &self.seen,
        };
        seam.erase_now(pages).map_err(|_| Failed::Flash)
    }

    /// Appends the first `bytes` bytes of the buffer and reads them back as a start would: by
    /// walking their page. An append behind two torn headers may succeed and yet be hidden by
    /// what the three of them look like (issue 136 of `sequential-storage`). The buffer is used.
    pub(super) fn append(&mut self, bytes: usize) -> Result<(), Failed> {
        let data = self.item.0.get(..bytes).unwrap_or_default();
        let sum = crc32c(data);
        self.seen.erase.set(Erase::Refuse);
        let mut queue = queue(&mut self.flash, &self.seen, self.range.clone())?;
        finish(queue.push(data, false)).map_err(|error| failed(&error))?;
        let page = self.page_of(self.seen.write_end.get().saturating_sub(1));
        let mut is_found = false;
        self.walk(self.page(page), Erase::LeaveOut, &mut |_, item, _| {
            is_found |= item.len() == bytes && crc32c(item) == sum;
            Step::Next
        })?;
        is_found.then_some(()).ok_or(Failed::Unread)
    }

    /// Shows `each` the items within these pages, oldest first. Items that the queue's own CRC
    /// refutes are not shown.
    pub(super) fn walk(
        &mut self,
        pages: Range<u32>,
        erase: Erase,
        each: &mut Each<'_>,
    ) -> Result<(), Failed> {
        self.seen.erase.set(erase);
        let (seen, start) = (&self.seen, self.range.start);
        let mut queue = queue(&mut self.flash, seen, pages)?;
        let buffer = &mut self.item.0;
        let walked = finish(async {
            let mut items = queue.iter().await?;
            while let Some(item) = items.next(buffer).await? {
                let page = (seen.header_at.get().saturating_sub(start)) / Geometry::<F>::PAGE;
                let step = each(Head::read(&item), &item, page);
                if matches!(step, Step::Free | Step::FreeLast) {
                    item.pop().await?;
                }
                if matches!(step, Step::Stop | Step::FreeLast) {
                    break;
                }
            }
            Ok(())
        });
        match walked {
            Err(Error::BufferTooSmall(_)) => {
                self.strike_out(self.seen.header_at.get())?;
                Err(Failed::Struck)
            }
            walked => walked.map_err(|error| failed(&error)),
        }
    }

    /// Erases the oldest page if all in it was freed; says whether it did.
    pub(super) fn erase_oldest(&mut self) -> bool {
        let before = self.seen.erases.get();
        // What cannot be walked is told by the operation that needs it.
        let _ = self.walk(self.range(), Erase::Allow(1), &mut |_, _, _| Step::Stop);
        self.seen.erases.get() != before
    }

    /// Marks the item with the header at `address` as freed, as the queue does.
    fn strike_out(&mut self, address: u32) -> Result<(), Failed> {
        let mut header = Aligned([0; WORD_BYTES_MAX]);
        let used = Geometry::<F>::HEADER as usize;
        let header = header.0.get_mut(..used).ok_or(Failed::Corrupt)?;
        self.look(address, header)?;
        for byte in header.iter_mut().take(4) {
            *byte = 0;
        }
        NorFlash::write(&mut self.flash, address, header).map_err(|_| Failed::Flash)
    }
}

type Uncached = sequential_storage::cache::Uncached;
type Queue<'f, F> = QueueStorage<Seam<'f, F>, Cache<Uncached, Uncached, Uncached>>;

fn queue<'f, F: MultiwriteNorFlash>(
    flash: &'f mut F,
    seen: &'f Seen,
    pages: Range<u32>,
) -> Result<Queue<'f, F>, Failed> {
    let config = QueueConfig::try_new(pages).map_err(|_| Failed::Corrupt)?;
    let seam = Seam { flash, seen };
    Ok(QueueStorage::new(seam, config, Cache::new_uncached()))
}

fn failed(error: &Error<SeamError>) -> Failed {
    match error {
        Error::FullStorage | Error::ItemTooBig => Failed::Full,
        Error::Storage { value, .. } => match value {
            SeamError::Refused => Failed::Full,
            SeamError::Flash(_) => Failed::Flash,
        },
        _ => Failed::Corrupt,
    }
}
