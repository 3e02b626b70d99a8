//! The seam between a board's flash and `sequential-storage`.
//!
//! The flash of a microcontroller blocks: a call returns when it is done. `sequential-storage`
//! awaits its flash. Here every future of the flash is ready when it is polled first, nothing
//! else is awaited, and so a future of `sequential-storage` is ready at its first poll too:
//! [`finish`] needs no executor and no waker, and leaves no operation half done.
//!
//! All accesses pass here, so here is seen what `sequential-storage` does not tell: where an item
//! ends, which pages are blank, and that it wants to erase. An erase stalls a processor that runs
//! from the same flash, for up to seconds: it happens only as [`Erase`] says.

use core::cell::Cell;
use core::ops::Range;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embedded_storage::nor_flash::{
    MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use embedded_storage_async::nor_flash as awaited;

/// Bytes of an item's header before they are rounded up to words.
const HEADER_BYTES: u32 = 8;

/// Runs a future over a [`Seam`] to its end. Were one ever not ready, it would be polled again at
/// once: a flash driver that waits must do so inside its call.
pub(super) fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

/// What becomes of an erase that `sequential-storage` wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Erase {
    /// This many happen; those beyond are left out.
    Allow(u32),
    /// It is left out: the page keeps its freed items, and is erased another time.
    LeaveOut,
    /// It fails, and with it the operation: what follows would write into the page.
    Refuse,
}

/// Why an access failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeamError {
    /// The flash said so.
    Flash(NorFlashErrorKind),
    /// [`Erase::Refuse`].
    Refused,
}

impl NorFlashError for SeamError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Flash(kind) => *kind,
            Self::Refused => NorFlashErrorKind::Other,
        }
    }
}

impl SeamError {
    pub(super) fn flash(error: &impl NorFlashError) -> Self {
        Self::Flash(error.kind())
    }
}

/// Sizes of a flash in bytes.
pub(super) struct Geometry<F>(core::marker::PhantomData<F>);

impl<F: NorFlash> Geometry<F> {
    /// A page: what is erased at once.
    pub(super) const PAGE: u32 = F::ERASE_SIZE as u32;
    /// What items and the marks of pages are rounded up to.
    pub(super) const WORD: u32 = if F::WRITE_SIZE > F::READ_SIZE {
        F::WRITE_SIZE
    } else {
        F::READ_SIZE
    } as u32;
    /// An item's header.
    pub(super) const HEADER: u32 = HEADER_BYTES.next_multiple_of(Self::WORD);
    /// Room for items in a page: without its two marks.
    pub(super) const ROOM: u32 = Self::PAGE.saturating_sub(2 * Self::WORD);

    /// What an item of `bytes` bytes takes.
    pub(super) fn cost(bytes: usize) -> u32 {
        Self::HEADER + (bytes as u32).next_multiple_of(Self::WORD)
    }
}

/// What was seen of the accesses, and what is allowed.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) erase: Cell<Erase>,
    /// Pages erased since the start.
    pub(super) erases: Cell<u32>,
    /// Blank pages.
    pub(super) open: Cell<u32>,
    /// The newest place read where an item could begin, and none does.
    pub(super) blank_at: Cell<u32>,
    /// The newest header read.
    pub(super) header_at: Cell<u32>,
    /// Behind the newest bytes written.
    pub(super) write_end: Cell<u32>,
}

impl Seen {
    pub(super) const fn new() -> Self {
        Self {
            erase: Cell::new(Erase::LeaveOut),
            erases: Cell::new(0),
            open: Cell::new(0),
            blank_at: Cell::new(u32::MAX),
            header_at: Cell::new(0),
            write_end: Cell::new(0),
        }
    }
}

/// A flash behind its watchman.
pub(super) struct Seam<'f, F> {
    pub(super) flash: &'f mut F,
    pub(super) seen: &'f Seen,
}

impl<F: NorFlash> Seam<'_, F> {
    fn note_read(&self, offset: u32, bytes: &[u8]) {
        let within = offset % Geometry::<F>::PAGE;
        let length = bytes.len() as u32;
        let is_mark = within == 0 || within + length == Geometry::<F>::PAGE;
        if is_mark || length != Geometry::<F>::HEADER {
            return;
        }
        if bytes.iter().all(|byte| *byte == 0xff) {
            self.seen.blank_at.set(offset);
        } else {
            self.seen.header_at.set(offset);
        }
    }

    /// Erases whole pages, of which none counts as blank yet.
    pub(super) fn erase_now(&mut self, pages: Range<u32>) -> Result<(), SeamError> {
        let count = pages.len() as u32 / Geometry::<F>::PAGE;
        let seen = self.seen;
        seen.erases.set(seen.erases.get().saturating_add(count));
        let erased = NorFlash::erase(self.flash, pages.start, pages.end);
        erased.map_err(|error| SeamError::flash(&error))?;
        seen.open.set(seen.open.get() + count);
        Ok(())
    }
}

impl<F> awaited::ErrorType for Seam<'_, F> {
    type Error = SeamError;
}

impl<F: NorFlash> awaited::ReadNorFlash for Seam<'_, F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), SeamError> {
        ReadNorFlash::read(self.flash, offset, bytes).map_err(|error| SeamError::flash(&error))?;
        self.note_read(offset, bytes);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: NorFlash> awaited::NorFlash for Seam<'_, F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), SeamError> {
        match self.seen.erase.get() {
            Erase::Allow(left) if left > 0 => self.seen.erase.set(Erase::Allow(left - 1)),
            Erase::Allow(_) | Erase::LeaveOut => return Ok(()),
            Erase::Refuse => return Err(SeamError::Refused),
        }
        self.erase_now(from..to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SeamError> {
        if offset.is_multiple_of(Geometry::<F>::PAGE) {
            let open = &self.seen.open;
            open.set(open.get().saturating_sub(1));
        }
        NorFlash::write(self.flash, offset, bytes).map_err(|error| SeamError::flash(&error))?;
        self.seen.write_end.set(offset + bytes.len() as u32);
        Ok(())
    }
}

impl<F: MultiwriteNorFlash> awaited::MultiwriteNorFlash for Seam<'_, F> {}
