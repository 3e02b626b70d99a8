//! Killed again and again under load, with Mosquitto restarted between: 200 times in the long
//! form, and every sample is upstream exactly once.
//!
//! Where `killed` looks at what single kills hit, this one is about their number: lives that end
//! within a second follow upon each other, some before the gateway was ready.

use std::time::Duration;

use tidegate_tests::broker::Broker;
use tidegate_tests::dice::Dice;
use tidegate_tests::ledger;
use tidegate_tests::receiver::Mood;
use tidegate_tests::records;
use tidegate_tests::report::{FULL, figure, say};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::Stopwatch;

use crate::{passage, whole};

const DEVICES: u32 = 12;
/// Seconds of the model per second.
const SPEED: u64 = 120;
/// Kills of the long and of the short form.
const KILLS: [usize; 2] = [200, 8];
/// The broker is restarted at every such kill.
const RESTART_EVERY: usize = 4;
/// What a life and the pause behind it take on average, in ms; the load lasts as long as all.
const LIFE_MS: u64 = 2_000;

/// What the kills hit.
#[derive(Debug, Default)]
struct Hits {
    /// Lives in which some frame was acked.
    acked: usize,
    /// Kills with frames in the devices' outboxes.
    frames: usize,
    /// Kills with records waiting, of those looked at.
    records: usize,
    looked: usize,
    restarts: usize,
}

#[test]
fn many_kills_lose_and_double_nothing() {
    let is_full = std::env::var_os(FULL).is_some();
    let kills = KILLS[usize::from(!is_full)];
    if !is_full {
        say(&format!(
            "many kills: the short form, {kills} kills; {} in tests/run --full",
            KILLS[0]
        ));
    }
    let mut dice = Dice::announced("many kills");
    let configuration = CONFIGURATION.replace(
        "compress",
        "timeout = \"2s\"\ndrain_spread = \"0s\"\ncompress",
    ) + "[log]\nsegment_bytes = 65536\n";
    let mut rig = Rig::free(&configuration);
    rig.receiver.set_mood(Mood::Moody(Dice::new(dice.bits())));
    let seconds = kills as u64 * LIFE_MS * SPEED / 1_000;
    let mut simulation = Simulation::plant("pump", rig.broker.port, DEVICES, seconds);
    simulation.speed = SPEED.to_string();

    let mut hits = Hits::default();
    let watch = Stopwatch::new();
    let mut gateway = rig.gateway(&[]);
    let mut process = simulation.start(rig.path());
    for kill in 1..=kills {
        let acked_before = whole::simulated(&process, "acked");
        let shortest = Duration::from_millis(100);
        watch.pass_until(watch.elapsed() + dice.between(shortest, shortest * 34));
        let restarts = kill % RESTART_EVERY == 0;
        // Every other restart while the gateway is up, and in either of two ways.
        let is_up = kill % (2 * RESTART_EVERY) == 0;
        if restarts && is_up {
            restart(&mut rig.broker, dice.percent(50));
            watch.pass_until(watch.elapsed() + dice.between(shortest, shortest * 12));
        }
        hits.acked += usize::from(whole::simulated(&process, "acked") > acked_before);
        hits.frames += usize::from(whole::simulated(&process, "depth") > 0);
        assert!(gateway.kill(), "the gateway had ended before kill {kill}");
        if kill % RESTART_EVERY == 1 {
            hits.looked += 1;
            let waiting = ledger::total(&rig.ledger()["sinks"], "waiting");
            hits.records += usize::from(waiting > 0);
        }
        if restarts && !is_up {
            restart(&mut rig.broker, dice.percent(50));
        }
        hits.restarts += usize::from(restarts);
        watch.pass_until(watch.elapsed() + dice.between(Duration::ZERO, shortest * 4));
        gateway = rig.gateway(&[]);
    }
    let under_fire = watch.elapsed();
    rig.receiver.set_mood(Mood::Prompt);
    passage::wait_simulated(&mut process, Duration::from_mins(5));
    let samples = whole::all_samples(&process);
    whole::wait_whole(&rig, samples, Duration::from_mins(2));
    let status = gateway.stop(passage::STOP);
    assert!(status.success(), "the gateway stopped with {status}");
    let received = whole::wait_whole(&rig, samples, Duration::ZERO);
    whole::assert_books(&rig, samples);

    figure(
        "many kills",
        &format!(
            "{kills} kills and {} restarts of Mosquitto in {:.0} s: frames were acked in {} lives, \
             {} kills hit frames on devices, {} of {} looked at hit records waiting; {samples} \
             samples, each upstream once; {} records received, {} taken again under their ids",
            hits.restarts,
            under_fire.as_secs_f32(),
            hits.acked,
            hits.frames,
            hits.records,
            hits.looked,
            received.len(),
            records::repeats(&received).len(),
        ),
    );
    assert!(hits.acked * 8 >= kills, "too few lives acked anything");
    assert!(hits.frames * 8 >= kills, "too few kills fell under load");
}

fn restart(broker: &mut Broker, is_kill: bool) {
    if is_kill {
        broker.kill();
    } else {
        broker.stop();
    }
    broker.resume();
}
