//! RAM with a meaning of its own: what outlives a soft reset, and how deep the stack went.

use core::mem::MaybeUninit;
use core::ptr::{addr_of, addr_of_mut};

use tidegate_board::note::Note;
use tidegate_firmware::outbox::Remains;
use tidegate_shared::message::ResetReason;

use crate::{OUTBOX_BYTES, OUTBOX_FRAMES, SENSORS};

/// What a word of the stack holds that was never used.
const PAINT: u32 = 0x7469_6465;
/// In [`CAUSE`]: the RAM has been in use since power came.
const WARM: u32 = 0x7761_726d;
/// In [`CAUSE`]: the watchdog bit.
const BITTEN: u32 = 0x6269_7465;

/// The outbox and counts of this board.
pub type Kept = Remains<SENSORS, OUTBOX_BYTES, OUTBOX_FRAMES>;

#[unsafe(link_section = ".uninit.remains")]
static mut REMAINS: MaybeUninit<Kept> = MaybeUninit::uninit();
#[unsafe(link_section = ".uninit.note")]
static mut NOTE: MaybeUninit<Note> = MaybeUninit::uninit();
#[unsafe(link_section = ".uninit.cause")]
static mut CAUSE: MaybeUninit<u32> = MaybeUninit::uninit();

/// What RAM held when the board started.
#[derive(Debug)]
pub struct Found {
    /// Frames and counts, to be recovered.
    pub remains: &'static mut Kept,
    /// The message of the panic that ended the last boot.
    pub panic: Option<heapless::String<64>>,
    /// Why the board started.
    pub reset: ResetReason,
}

/// Takes what RAM held. To be called once, before anything else uses it.
pub fn take() -> Found {
    // SAFETY: the start-up code leaves `.uninit` alone, so it holds bytes of an earlier boot or of
    // chance; both are made of plain numbers, of which any bytes are a value. Nothing else refers
    // to REMAINS, and this is called once.
    let remains = unsafe { &mut *addr_of_mut!(REMAINS).cast::<Kept>() };
    // SAFETY: as above; the panic handler writes NOTE only after everything else has ended.
    let note = unsafe { &mut *addr_of_mut!(NOTE).cast::<Note>() };
    let panic = note.take();
    // SAFETY: a word of any value; only the NMI's handler writes it too, and then resets.
    let cause = unsafe { addr_of!(CAUSE).cast::<u32>().read_volatile() };
    set_cause(WARM);
    let reset = match cause {
        _ if panic.is_some() => ResetReason::Panic,
        BITTEN => ResetReason::Watchdog,
        WARM => ResetReason::Unknown,
        _ => ResetReason::PowerOn,
    };
    Found {
        remains,
        panic,
        reset,
    }
}

/// Says to the next boot that the watchdog ended this one.
pub fn note_watchdog() {
    set_cause(BITTEN);
}

fn set_cause(cause: u32) {
    // SAFETY: a word that nothing refers to; a write is one store.
    unsafe { addr_of_mut!(CAUSE).cast::<u32>().write_volatile(cause) };
}

/// Keeps a panic's message for the next boot.
pub fn note_panic(message: impl core::fmt::Display) {
    // SAFETY: called by the panic handler alone, with interrupts off: nothing runs any more that
    // holds a reference to it.
    let note = unsafe { &mut *addr_of_mut!(NOTE).cast::<Note>() };
    note.keep(message);
}

unsafe extern "C" {
    static mut __euninit: u32;
    static _stack_start: u32;
}

/// The stack's lowest word: it ends where statics end.
fn stack_end() -> *mut u32 {
    addr_of_mut!(__euninit)
}

/// Bytes that the stack may take.
pub fn stack_bytes() -> usize {
    addr_of!(_stack_start).addr() - stack_end().addr()
}

/// Fills the unused stack with a pattern.
#[inline(never)]
pub fn paint_stack() {
    let here: u32;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, sp", out(reg) here) };
    // Leaves out what this call itself needs.
    let words = (here as usize - 256).saturating_sub(stack_end().addr()) / 4;
    for at in 0..words {
        // SAFETY: between the statics' end and the stack pointer, so nobody's yet.
        unsafe { stack_end().add(at).write_volatile(PAINT) };
    }
}

/// Most bytes of the stack that were in use at once, since it was painted.
pub fn stack_used() -> usize {
    let words = stack_bytes() / 4;
    let unused = (0..words).take_while(|at| {
        // SAFETY: inside the stack's range; a word of any value.
        unsafe { stack_end().add(*at).read_volatile() == PAINT }
    });
    stack_bytes() - 4 * unused.count()
}
