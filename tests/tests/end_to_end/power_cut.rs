//! Power cut: the gateway's power goes at every single write, sync and rename of a scripted run,
//! and no promise breaks.
//!
//! No process, no socket, no clock: the device library, the session, the store and the delivery
//! machine run in one deterministic loop over the disk that forgets what was not synced. The run
//! is made once uncut; then once per mutating disk operation, with the power going in the middle
//! of it. What the cut left is opened by the next start, the devices (whose power stays on) send
//! what was not acked, the sinks take what waits, and the script goes on to its end.
//!
//! ```text
//! meters (device library) ⇄ broker (queues, retained messages) ⇄ gateway: session
//!     keep their outbox over a cut                                  └ store on FaultDisk
//! receivers (remember all they were given) ◄── delivery machine ◄── spool
//! witness (what an outsider knows: durable entries, acks, deliveries)
//! ```
//!
//! The kinds of cut: *clean* forgets all that was not synced, *torn* keeps some of its sectors
//! and names, *twice* is torn and cuts the start after it again, at a drawn operation.

mod books;
mod gateway;
mod meter;
mod receiver;
mod script;
mod sending;
mod witness;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tidegate_gateway::disk::fault::Torn;
use tidegate_tests::dice::Dice;
use tidegate_tests::report::say;

use self::world::{Ending, World};

/// Threads that share the cut points.
const THREADS: u64 = 2;
/// Fewer cut points than these would be no test.
const CUT_POINTS_MIN: u64 = 200;
/// Operations within which the second cut of a kind falls.
const AGAIN_WITHIN: u64 = 40;
/// Failures told in full.
const FAILURES_TOLD: usize = 5;

/// One way to lose power.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// The mutating operation it falls into, from 1.
    at: u64,
    torn: Torn,
    /// The operation of the next start that it falls into again.
    again_at: Option<u64>,
}

/// The cuts at an operation: a clean one, and one that is torn, every other time twice.
fn cuts_at(at: u64, seed: u64) -> [Cut; 2] {
    let mut dice = Dice::new(seed ^ at.wrapping_mul(0x9e37_79b9));
    let torn = Torn::Sectors(dice.bits());
    let again_at = dice.percent(50).then(|| 1 + dice.below(AGAIN_WITHIN));
    let cut = |torn, again_at| Cut { at, torn, again_at };
    [cut(Torn::Nothing, None), cut(torn, again_at)]
}

/// Runs the script through a cut to its end, and checks everything on the way.
fn survive(cut: Cut, uncut: &Ending) {
    let mut world = World::new();
    world.disk.cut_at(cut.at);
    world
        .run()
        .expect_err("the run is the same up to the cut, so the power goes");
    world.power_up(cut.torn);
    if let Some(again_at) = cut.again_at {
        world.disk.cut_at(again_at);
        if world.run().is_ok() {
            return world.ending().agrees_with(uncut);
        }
        world.power_up(cut.torn);
    }
    world
        .run()
        .expect("no second cut is armed, so the run comes to its end");
    world.ending().agrees_with(uncut);
}

#[test]
fn a_power_cut_at_every_write_breaks_no_promise() {
    let mut world = World::new();
    world.run().expect("no cut is armed");
    let uncut = world.ending();
    let points = world.disk.mutations();
    world.tell();
    world.reaches_what_it_is_about();
    assert!(points >= CUT_POINTS_MIN, "only {points} cut points");

    let seed = Dice::announced("power cut").bits();
    let survived = AtomicU64::new(0);
    let failures: Vec<String> = thread::scope(|scope| {
        let (uncut, survived) = (&uncut, &survived);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mine = (1..=points).filter(move |at| at % THREADS == thread);
                    let cuts = mine.flat_map(|at| cuts_at(at, seed));
                    let failed = cuts.filter_map(|cut| {
                        let run = catch_unwind(AssertUnwindSafe(|| survive(cut, uncut)));
                        survived.fetch_add(run.is_ok().into(), Ordering::Relaxed);
                        run.is_err().then(|| format!("{cut:?}"))
                    });
                    failed.take(FAILURES_TOLD).collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .expect("panics of the runs are caught inside the thread")
        });
        joined.flatten().collect()
    });
    say(&format!(
        "power cut: {points} cut points, {} cuts survived",
        survived.load(Ordering::Relaxed)
    ));
    assert!(failures.is_empty(), "broken by {failures:#?}");
    assert_eq!(survived.load(Ordering::Relaxed), 2 * points);
}
