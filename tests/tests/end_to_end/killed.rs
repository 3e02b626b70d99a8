//! Killed, it forgets nothing: 20 kills of the gateway and two restarts of the broker while a
//! moody receiver keeps records waiting, and the same answers as if nothing had happened.

use std::time::Duration;

use tidegate_tests::answers;
use tidegate_tests::dice::Dice;
use tidegate_tests::ledger;
use tidegate_tests::process::{Process, was_killed};
use tidegate_tests::receiver::Mood;
use tidegate_tests::records;
use tidegate_tests::report::{data, figure, say};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::wall::{Stopwatch, poll_for};

use crate::passage;
use crate::wire::Wire;

const KILLS: usize = 20;
/// Kills whose gateway was armed to fall between spool append and base.
const ARMED: usize = 7;
/// From one kill to the next; all of them fall within the simulation's 166 s.
const SLOT: Duration = Duration::from_millis(7_800);
/// After this kill the broker is restarted while the gateway is down.
const BROKER_DOWN_AFTER: usize = 6;
/// After this kill the broker is restarted while the gateway is up again.
const BROKER_UP_AFTER: usize = 13;

/// What one kill hit.
#[derive(Debug, Default)]
struct Hit {
    frames_in_flight: u64,
    records_waiting: u64,
    between_spool_and_base: bool,
}

#[test]
fn a_killed_gateway_forgets_nothing() {
    let Some(data) = data("killed") else {
        return;
    };
    let mut dice = Dice::announced("killed");
    // Small segments, so that bases are written often; a short timeout, so that a request that
    // hangs is tried again within the run.
    let configuration = CONFIGURATION.replace("compress", "timeout = \"2s\"\ncompress")
        + "[log]\nsegment_bytes = 65536\n";
    let mut rig = Rig::free(&configuration);
    rig.receiver.set_mood(Mood::Moody(Dice::new(dice.bits())));
    let mut simulation = passage::stated(passage::anomaly_free(&data, rig.broker.port));
    "60".clone_into(&mut simulation.speed);
    let expected = passage::expected(&simulation, 60);

    let wire = Wire::connect(rig.broker.port);
    let armed = draw_armed(&mut dice);
    let mut gateway = start(&rig, armed[0], &mut dice);
    let watch = Stopwatch::new();
    let mut process = simulation.start(rig.path());
    let mut hits = Vec::new();
    for kill in 0..KILLS {
        let slot = Duration::from_secs(4) + SLOT * u32::try_from(kill).unwrap_or(0);
        let moment = dice.between(slot, slot + SLOT * 3 / 4);
        let mut hit = Hit::default();
        if armed[kill] {
            let limit = (slot + SLOT).saturating_sub(watch.elapsed());
            let ended = poll_for(limit, || gateway.ended());
            hit.between_spool_and_base = ended.is_some_and(was_killed);
            assert!(
                ended.is_none_or(was_killed),
                "the armed gateway ended by itself: {ended:?}"
            );
        } else {
            watch.pass_until(moment);
        }
        hit.frames_in_flight = wire.in_flight("pump-1").into();
        let running = gateway.kill();
        assert!(
            running || hit.between_spool_and_base,
            "the gateway had ended before kill {}",
            kill + 1
        );
        hit.records_waiting = ledger::total(&rig.ledger()["sinks"], "waiting");
        say(&format!(
            "killed: {:2} at {:5.1} s: {} frames in flight, {} records waiting{}",
            kill + 1,
            watch.elapsed().as_secs_f32(),
            hit.frames_in_flight,
            hit.records_waiting,
            if hit.between_spool_and_base {
                ", between spool append and base"
            } else {
                ""
            }
        ));
        hits.push(hit);

        if kill == BROKER_DOWN_AFTER {
            rig.broker.kill();
            rig.broker.resume();
            say("killed: Mosquitto restarted, the gateway down");
        }
        let down = watch.elapsed() + dice.between(Duration::ZERO, Duration::from_millis(1_200));
        watch.pass_until(down);
        let arm = armed.get(kill + 1).copied().unwrap_or(false);
        gateway = start(&rig, arm, &mut dice);
        if kill == BROKER_UP_AFTER {
            watch.pass_until(watch.elapsed() + Duration::from_millis(700));
            rig.broker.stop();
            rig.broker.resume();
            say("killed: Mosquitto restarted, the gateway up");
        }
    }

    passage::wait_simulated(&mut process, Duration::from_mins(4));
    rig.receiver.set_mood(Mood::Prompt);
    let (_, received) = passage::wait_right(&rig, &expected, Duration::from_mins(1));
    answers::assert_none("right answers", &answers::faults(&expected, &received));
    let status = gateway.stop(passage::STOP);
    assert!(status.success(), "the gateway stopped with {status}");
    let received = records::read(&rig.receiver.requests());
    answers::assert_none("after the stop", &answers::faults(&expected, &received));
    answers::assert_none("identity", &records::identity_faults(&received));
    let waiting = ledger::total(&rig.ledger()["sinks"], "waiting");
    assert_eq!(waiting, 0, "records wait though all were taken");
    judge(&hits, &received);
}

fn judge(hits: &[Hit], received: &[records::Received]) {
    let count = |what: fn(&Hit) -> bool| hits.iter().filter(|hit| what(hit)).count();
    let in_flight = count(|hit| hit.frames_in_flight > 0);
    let waiting = count(|hit| hit.records_waiting > 0);
    let between = count(|hit| hit.between_spool_and_base);
    let refused = received.iter().filter(|one| !one.taken).count();
    figure(
        "killed",
        &format!(
            "{KILLS} kills: {in_flight} hit frames in flight, {waiting} records waiting, \
         {between} fell between spool append and base; {} records received, {refused} of them \
         refused, {} taken again",
            received.len(),
            records::repeats(received).len()
        ),
    );
    assert!(in_flight >= 5, "too few kills hit frames in flight");
    assert!(waiting >= 5, "too few kills hit records waiting");
    assert!(
        between >= 3,
        "too few kills fell between spool append and base"
    );
}

/// Which gateways are armed: `ARMED` of them, never the first.
fn draw_armed(dice: &mut Dice) -> [bool; KILLS] {
    let mut armed = [false; KILLS];
    while armed.iter().filter(|armed| **armed).count() < ARMED {
        let at = 1 + dice.below(KILLS as u64 - 1) as usize;
        armed[at] = true;
    }
    armed
}

fn start(rig: &Rig, armed: bool, dice: &mut Dice) -> Process {
    let point = format!("spool-synced:{}", 1 + dice.below(4));
    let environment = [("TIDEGATE_KILL_POINT", point.as_str())];
    rig.gateway(if armed { &environment } else { &[] })
}
