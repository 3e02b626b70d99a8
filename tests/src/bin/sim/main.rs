//! `sim`: simulates the whole system on virtual time, from seeds, and checks its promises.
//!
//! ```text
//! units (device library) ⇄ network (loses, repeats, reorders) ⇄ broker (forgets)
//!                                                    ⇅
//! upstreams ◄── deliveries ◄── spool ◄── store ◄── conductor      nodes (disk, clock, power)
//! witness: what was promised          books: what the counters say
//! ```
//! Real are the device library, conductor, session, store, pipeline, spool and delivery machines.
//! Simulated are what they stand on: disk, network, broker, clocks, power, far ends.

mod account;
mod books;
mod draft;
mod editions;
mod keys;
mod network;
mod node;
mod outbox;
mod profile;
mod reload;
mod replay;
mod shapes;
mod story;
mod unit;
mod upstream;
mod vault;
mod witness;
mod world;

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use tidegate_shared::mutation::{Mutation, switch};
use tidegate_tests::wall::Stopwatch;

use profile::{PROFILES, Profile};
use story::{Coverage, Story};
use world::World;

/// Failing seeds told before giving up.
const FAILURES_TOLD: usize = 3;
/// Lines told of a failing seed's story.
const LINES_TOLD: usize = 80;
/// Seeds within which a mutation must be found.
const MUTATION_SEEDS: u64 = 100;

/// Simulates Tidegate on virtual time and checks its promises.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds, as FROM..TO
    #[arg(long, default_value = "0..100", value_parser = seeds)]
    seeds: Range<u64>,
    /// Only this profile; otherwise seeds take turns through all
    #[arg(long, value_parser = named)]
    profile: Option<&'static Profile>,
    /// Stop beginning new seeds after this many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Instead, switch each known fault of the protocol on in turn and say at which seed it is
    /// found
    #[arg(long)]
    mutations: bool,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Print the whole story of each seed
    #[arg(long)]
    story: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("write FROM..TO")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
    Ok(number(from)?..number(to)?)
}

fn named(name: &str) -> Result<&'static Profile, String> {
    let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
    let found = PROFILES.iter().find(|profile| profile.name == name);
    found.ok_or_else(|| format!("the profiles are {}", names.join(", ")))
}

/// What became of a seed.
struct Ended {
    broken: Option<String>,
    story: Story,
}

fn run(seed: u64, profile: Option<&'static Profile>) -> Ended {
    let profile = profile.unwrap_or(&PROFILES[(seed % PROFILES.len() as u64) as usize]);
    let mut world = World::new(seed, profile);
    let caught = catch_unwind(AssertUnwindSafe(|| world.run()));
    let panicked = caught.err().map(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        format!("panic: {}", text.unwrap_or("without a text"))
    });
    Ended {
        broken: panicked.or(world.story.broken.take()),
        story: world.story,
    }
}

/// Does `each` with numbers in their order, several at once, until it has had enough.
fn on_threads(threads: usize, numbers: Range<u64>, each: impl Fn(u64) -> ControlFlow<()> + Sync) {
    let next = AtomicU64::new(numbers.start);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    if each(number).is_break() {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    std::panic::set_hook(Box::new(|_| ()));
    if arguments.mutations {
        return find_mutations(&arguments);
    }
    let watch = Stopwatch::new();
    let passed = AtomicU64::new(0);
    let sums: Mutex<(Coverage, Vec<(u64, Ended)>)> = Mutex::default();
    on_threads(arguments.threads, arguments.seeds.clone(), |seed| {
        let ended = run(seed, arguments.profile);
        let Ok(mut sums) = sums.lock() else {
            return ControlFlow::Break(());
        };
        sums.0.add(&ended.story.coverage);
        if arguments.story {
            tell(seed, &ended, usize::MAX);
        }
        if ended.broken.is_none() {
            passed.fetch_add(1, Ordering::Relaxed);
        } else {
            sums.1.push((seed, ended));
        }
        let late = arguments
            .seconds
            .is_some_and(|most| watch.elapsed().as_secs_f64() > most as f64);
        if late || sums.1.len() >= FAILURES_TOLD {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let (coverage, mut failures) = sums.into_inner().unwrap_or_default();
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, ended) in &failures {
        tell(*seed, ended, LINES_TOLD);
    }
    summarize(
        passed.into_inner(),
        &coverage,
        watch.elapsed().as_secs_f64(),
    );
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell(seed: u64, ended: &Ended, most: usize) {
    let lines = ended.story.lines();
    println!(
        "\nseed {seed}: {}",
        ended.broken.as_deref().unwrap_or("no promise was broken")
    );
    for line in &lines[lines.len().saturating_sub(most)..] {
        println!("  {line}");
    }
    println!("repeat with --seeds {seed}..{} --story", seed + 1);
}

fn summarize(passed: u64, coverage: &Coverage, seconds: f64) {
    println!("\n{passed} seeds passed in {seconds:.1} s");
    println!("virtual time  {:.1} h", coverage.virtual_us as f64 / 3.6e9);
    println!("samples       {}", coverage.samples);
    println!("log entries   {}", coverage.entries);
    println!("records sent  {}", coverage.records);
    println!("faults injected");
    for (name, count) in &coverage.faults {
        println!("  {count:>12}  {name}");
    }
    println!("reloads and revisions");
    for (name, count) in &coverage.happened {
        println!("  {count:>12}  {name}");
    }
    println!("invariants checked");
    for (name, count) in &coverage.checks {
        println!("  {count:>12}  {name}");
    }
}

/// A simulator that does not find what is wrong finds nothing. A fault is switched on for the thread
/// that looks for it alone.
fn find_mutations(arguments: &Arguments) -> ExitCode {
    let all = Mutation::ALL;
    let told: Mutex<BTreeMap<u64, Option<(u64, String)>>> = Mutex::default();
    on_threads(arguments.threads, 0..all.len() as u64, |number| {
        switch(Some(all[number as usize]));
        let found = (0..MUTATION_SEEDS)
            .map(|seed| (seed, run(seed, arguments.profile)))
            .find_map(|(seed, ended)| Some((seed, ended.broken?)));
        switch(None);
        let Ok(mut told) = told.lock() else {
            return ControlFlow::Break(());
        };
        told.insert(number, found);
        ControlFlow::Continue(())
    });
    let told = told.into_inner().unwrap_or_default();
    let mut found = 0;
    for (number, mutation) in (0..).zip(all) {
        if let Some(Some((seed, why))) = told.get(&number) {
            let first = why.lines().next().unwrap_or_default();
            println!("{mutation:?}: found at seed {seed}: {first:.160}");
            found += 1;
        } else {
            println!("{mutation:?}: NOT FOUND within {MUTATION_SEEDS} seeds");
        }
    }
    println!("{found} of {} mutations found", all.len());
    if found == all.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
