//! The firmware on an emulated Cortex-M: a real sensor, a real network, and every way in which a
//! boot can end. Afterwards the ledger says the same as the firmware's own trace.

mod claims;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::dice::Dice;
use tidegate_tests::emulator::{self, Emulator, Trace};
use tidegate_tests::ledger::count;
use tidegate_tests::process::Process;
use tidegate_tests::records::{self, Received};
use tidegate_tests::report::{FULL, figure, say};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::wall::{Stopwatch, wait_for};

/// Longest wait for anything that comes by itself within seconds.
const SOON: Duration = Duration::from_mins(1);
/// The sensors, in the order of the board's catalog.
const SENSORS: [&str; 3] = ["temperature", "temperature.case", "cpu.idle"];
/// The thermometer that the test leaves out: it fails at every reading.
const ABSENT: u32 = 1;
const DEVICE: &str = "bench";

fn rig() -> Rig {
    let configuration = CONFIGURATION
        .replace("tumbling = \"1m\"", "tumbling = \"1s\"")
        .replace("lateness = \"30s\"", "lateness = \"1s\"");
    let rig = Rig::free(&configuration);
    emulator::write_settings(&rig.path().join("settings.bin"), DEVICE, rig.broker.port);
    rig
}

/// The same, of a gateway that registers devices, and so far without a settings page.
fn registering_rig() -> Rig {
    let rig = rig();
    let file = rig.path().join("tidegate.toml");
    let text = fs::read_to_string(&file).expect("the rig wrote it");
    let text = format!("{text}[security]\nkey = {{ file = \"key\" }}\n");
    fs::write(file, text).expect("the folder takes a file");
    fs::write(rig.path().join("key"), "5a".repeat(32)).expect("the folder takes a file");
    fs::remove_file(rig.path().join("settings.bin")).expect("the rig wrote it");
    rig
}

/// The same, of a device that is registered: its settings page, key and all, is the one that
/// `tidegate device add` writes.
fn keyed_rig() -> Rig {
    let rig = registering_rig();
    let broker = format!("10.0.2.2:{}", rig.broker.port);
    let added = rig.command(&[
        "device",
        "add",
        DEVICE,
        "--broker",
        &broker,
        "--out",
        "settings.bin",
        "--no-qr",
        "--config",
        "tidegate.toml",
    ]);
    assert!(added.status.success(), "{}{}", added.out, added.err);
    rig
}

/// All of it sealed, both ways.
#[test]
fn every_sample_of_an_emulated_cortex_m_is_accounted_for() {
    let Some(image) = emulator::image() else {
        return;
    };
    let mut rig = keyed_rig();
    let mut gateway = rig.gateway(&[]);
    let mut board = Emulator::start(image, rig.path(), "board-1");
    board.wait_for("sealed by key 1", 0, SOON);

    shows(&rig, &mut board, 23_625, 23.625);
    shows(&rig, &mut board, -5_500, -5.5);
    board.wait_for("sensor 1 gives no value: fault 3", 0, SOON);

    gateway = gateway_away(&rig, gateway, &board);
    broker_restarted(&mut rig, &board);
    cable_pulled(&mut board);
    board.reset();
    board.wait_for("is ended for it", 0, SOON);
    board.wait_for("connected", board.count("connected"), SOON);
    panics(&mut board);
    hangs(&mut board);
    // While no gateway is there, so that frames are held over the reset.
    assert!(gateway.kill());
    pass_samples(&board, 30);
    let ended = board.count("is ended for it");
    board.reset();
    board.wait_for("is ended for it", ended, SOON);
    pass_samples(&board, 10);
    let gateway = rig.gateway(&[]);
    stops(&mut board);
    let (idle, stack) = (idle_figures(&board.log()), deepest_stack(&board.log()));
    let mut all = vec![board.trace()];
    let boots = boots(&all);
    assert!(boots >= 5, "only {boots} boots: {}", board.log());
    let unfinished = assert_exact(&rig, &all);
    assert_eq!(unfinished, None, "a soft reset leaves nothing unknown");

    board.reset();
    pass_samples(&board, 25);
    all[0] = board.cut();
    let cut = last_boot(&all[0]);
    let mut board = Emulator::start(image, rig.path(), "board-2");
    board.wait_for("boot store: Record", 0, SOON);
    stops(&mut board);
    all.push(board.cut());
    assert_bounded(&rig, &all, (0, cut));

    fs::write(rig.path().join("eeprom.bin"), [0xff; 4_096]).expect("the file is the test's");
    let mut board = Emulator::start(image, rig.path(), "board-3");
    board.wait_for("boot store: Empty", 0, SOON);
    pass_samples(&board, 10);
    stops(&mut board);
    all.push(board.cut());
    assert_bounded(&rig, &all, (0, cut));
    assert_eq!(incarnations(&rig), 2, "erasing draws a new incarnation");
    let ledger = rig.ledger();
    for reason in ["plain", "key", "forged"] {
        assert_eq!(count(&ledger, "uncounted", reason), 0, "{reason}");
    }
    drop(gateway);
    figure(
        "firmware",
        &format!(
            "QEMU mps2-an386 at 10 Hz: {} boots ended by resets, panics, a watchdog, a power cut \
             and an erased store; every sample accounted for; idle {idle}; deepest stack {stack} bytes",
            self::boots(&all)
        ),
    );
}

#[test]
fn broker_kills_lose_and_double_nothing_of_a_cortex_m() {
    let Some(image) = emulator::image() else {
        return;
    };
    let is_full = std::env::var_os(FULL).is_some();
    let seconds = if is_full { 240 } else { 12 };
    if !is_full {
        say(&format!(
            "firmware soak: the short form, {seconds} s; 240 s in tests/run --full"
        ));
    }
    let mut dice = Dice::announced("firmware soak");
    let mut rig = rig();
    let gateway = rig.gateway(&[]);
    let mut board = Emulator::start(image, rig.path(), "board");
    board.wait_for("connected", 0, SOON);
    let watch = Stopwatch::new();
    let mut kills = 0;
    while watch.elapsed() < Duration::from_secs(seconds) {
        let second = Duration::from_secs(1);
        watch.pass_until(watch.elapsed() + dice.between(second / 10, second * 4));
        let connections = board.count("connected");
        if dice.percent(50) {
            rig.broker.kill();
        } else {
            rig.broker.stop();
        }
        watch.pass_until(watch.elapsed() + dice.between(Duration::ZERO, second * 2));
        rig.broker.resume();
        kills += 1;
        if dice.percent(50) {
            board.wait_for("connected", connections, SOON);
        }
    }
    stops(&mut board);
    let all = [board.trace()];
    let unfinished = assert_exact(&rig, &all);
    assert_eq!(unfinished, None);
    let taken: i64 = all[0].values().map(|one| one.taken).sum();
    drop(gateway);
    figure(
        "firmware soak",
        &format!("{kills} broker kills in {seconds} s: {taken} samples, none lost, none doubled"),
    );
}

/// Sets a temperature and waits for a record whose least and greatest value are exactly that.
fn shows(rig: &Rig, board: &mut Emulator, millidegrees: i64, value: f64) {
    board.set_temperature(millidegrees);
    wait_for(&format!("{value} °C at the sink"), SOON, || {
        let received = records::read(&rig.receiver.requests());
        received.into_iter().find(|one| is_exactly(one, value))
    });
}

fn is_exactly(one: &Received, value: f64) -> bool {
    let values = &one.record.values;
    let is = |name| {
        values
            .get(name)
            .is_some_and(|found: &f64| found.to_bits() == value.to_bits())
    };
    one.record.sensor == SENSORS[0] && is("min") && is("max")
}

/// Waits until the newest boot has taken `samples` more of the first sensor.
fn pass_samples(board: &Emulator, samples: i64) {
    let newest = |board: &Emulator| {
        let trace = board.trace();
        let boot = last_boot(&trace);
        (boot, trace.get(&(boot, 0)).map_or(0, |one| one.taken))
    };
    let (boot, taken) = newest(board);
    wait_for("samples to be taken", SOON, || {
        let (now, more) = newest(board);
        (now > boot && more >= samples || now == boot && more >= taken + samples).then_some(())
    });
}

fn gateway_away(rig: &Rig, mut gateway: Process, board: &Emulator) -> Process {
    assert!(gateway.kill());
    pass_samples(board, 25);
    rig.gateway(&[])
}

fn broker_restarted(rig: &mut Rig, board: &Emulator) {
    let connections = board.count("connected");
    rig.broker.kill();
    pass_samples(board, 5);
    rig.broker.resume();
    board.wait_for("connected", connections, SOON);
    pass_samples(board, 5);
}

/// The network's configuration is lost with the cable, and comes again with it, by DHCP.
fn cable_pulled(board: &mut Emulator) {
    let (gone, connections) = (
        board.count("the connection is gone"),
        board.count("connected"),
    );
    board.plug(false);
    board.wait_for("the connection is gone", gone, SOON);
    pass_samples(board, 15);
    assert_eq!(board.count("connected"), connections, "without a cable");
    board.plug(true);
    board.wait_for("connected", connections, SOON);
    pass_samples(board, 5);
}

/// A panic, and perhaps more of them, until the temperature is a usual one again.
fn panics(board: &mut Emulator) {
    board.set_temperature(emulator::PANIC);
    board.wait_for("the last boot panicked: sampler.rs", 0, SOON);
    board.set_temperature(20_000);
    pass_samples(board, 10);
}

/// Firmware that hangs, perhaps more than once, until the temperature is a usual one again: the
/// watchdog bites.
fn hangs(board: &mut Emulator) {
    let bites = board.count(", Watchdog");
    board.set_temperature(emulator::HANG);
    board.wait_for(", Watchdog", bites, SOON);
    board.set_temperature(20_000);
    pass_samples(board, 10);
}

/// A planned stop, and everything acknowledged.
fn stops(board: &mut Emulator) {
    board.set_temperature(emulator::STOP);
    board.wait_for(
        "the link has ended: Ok(())",
        board.count("the link has ended"),
        SOON,
    );
    board.set_temperature(20_000);
}

fn last_boot(trace: &Trace) -> u32 {
    trace.keys().map(|(boot, _)| *boot).max().unwrap_or(0)
}

fn boots(all: &[Trace]) -> usize {
    all.iter()
        .map(|trace| trace.keys().filter(|(_, sensor)| *sensor == 0).count())
        .sum()
}

/// The row of each sensor, once the gateway has everything on its books that it will.
fn rows(rig: &Rig) -> (BTreeMap<String, Value>, Option<Value>) {
    let ledger = rig.ledger();
    assert_eq!(ledger["balances"]["balanced"], true, "{ledger}");
    let samples = ledger["balances"]["samples"].as_array().expect("a list");
    let (mut rows, mut device) = (BTreeMap::new(), None);
    for row in samples {
        match row["sensor"].as_str() {
            Some(sensor) => {
                rows.insert(sensor.to_owned(), row.clone());
            }
            None => device = Some(row["unknowns"].clone()),
        }
    }
    (rows, device)
}

fn field(row: &Value, name: &str) -> i64 {
    row[name]
        .as_i64()
        .unwrap_or_else(|| panic!("{name} of {row}"))
}

/// What the traces say of a sensor: taken, failed, and in how many boots one more may count.
fn traced(all: &[Trace], sensor: u32, but: Option<(usize, u32)>) -> (i64, i64, i64) {
    let each = all.iter().enumerate().flat_map(|(cycle, trace)| {
        let of_sensor = trace.iter().filter(move |((_, one), _)| *one == sensor);
        of_sensor.map(move |((boot, _), one)| ((cycle, *boot), one))
    });
    let mut sum = (0, 0, 0);
    for (_, one) in each.filter(|(which, _)| Some(*which) != but) {
        sum.0 += one.taken;
        sum.1 += one.failed;
        sum.2 += i64::from(one.is_torn);
    }
    sum
}

/// The ledger says of each sensor what the traces say, and nothing is unknown. Whatever it says of
/// the device as a whole.
fn assert_exact(rig: &Rig, all: &[Trace]) -> Option<Value> {
    let (rows, device) = rows(rig);
    for (index, sensor) in (0..).zip(SENSORS) {
        let (taken, failed, torn) = traced(all, index, None);
        let row = &rows[sensor];
        say(&format!("firmware: {sensor}: traced {taken}, ledger {row}"));
        assert!(
            (taken..=taken + torn).contains(&field(row, "taken")),
            "{row}: {all:?}"
        );
        let lost = field(row, "lost_on_device");
        if index == ABSENT {
            assert_eq!(field(row, "taken"), field(row, "failed") + lost, "{row}");
        } else {
            assert_eq!((field(row, "failed"), failed), (0, 0), "{row}");
        }
        for none in [
            "unknown",
            "difference",
            "lost_here",
            "rejected",
            "suppressed",
        ] {
            assert_eq!(field(row, none), 0, "{none}: {row}");
        }
        let logged = field(row, "logged");
        assert_eq!(
            logged + lost + field(row, "failed"),
            field(row, "taken"),
            "{row}"
        );
    }
    device
}

/// As [`assert_exact`] but for the boot that the power cut ended: of that the ledger knows a part,
/// and says what it cannot know, within a bound that holds.
fn assert_bounded(rig: &Rig, all: &[Trace], cut: (usize, u32)) {
    let (rows, device) = rows(rig);
    let unknowns = device.expect("the cut boot is unknown");
    let unfinished = unknowns.as_array().expect("a list").iter();
    let unfinished: Vec<_> = unfinished
        .filter(|one| one["reason"] == "unfinished-boot")
        .collect();
    let [unfinished] = unfinished.as_slice() else {
        panic!("not one unfinished boot: {unknowns}");
    };
    let bound_us = unfinished["bound"]["us"].as_i64().expect("a bound in µs");
    for (index, sensor) in (0..).zip(SENSORS) {
        let (known, _, torn) = traced(all, index, Some(cut));
        let last = all[cut.0].get(&(cut.1, index)).copied().unwrap_or_default();
        let row = &rows[sensor];
        let taken = field(row, "taken");
        say(&format!(
            "firmware: {sensor}: traced {known} and {} before the cut, ledger {row}, bound {bound_us} µs",
            last.taken
        ));
        let most = known + last.taken + torn + i64::from(last.is_torn);
        assert!((known..=most).contains(&taken), "{known}..={most}: {row}");
        // A sample every 100 ms at most: what is missing fits the bound.
        let missing = known + last.taken - taken;
        assert!(
            missing * 100_000 <= bound_us + 100_000,
            "{missing} missing, {bound_us} µs"
        );
        assert_eq!(
            (field(row, "difference"), field(row, "unknown")),
            (0, 0),
            "{row}"
        );
    }
}

fn incarnations(rig: &Rig) -> usize {
    let mut found: Vec<String> = Vec::new();
    for name in ["board-1", "board-2", "board-3"] {
        let log = fs::read_to_string(rig.path().join(format!("{name}.out"))).unwrap_or_default();
        for line in log.lines().filter(|line| line.contains("tidegate: boot")) {
            let word = line
                .split(" of ")
                .nth(1)
                .and_then(|rest| rest.split(',').next());
            found.extend(word.map(str::to_owned));
        }
    }
    found.sort();
    found.dedup();
    found.len()
}

/// The deepest stack that the firmware found painted over, in bytes.
fn deepest_stack(log: &str) -> u32 {
    let depths = log.lines().filter_map(|line| {
        let rest = line.split("stack ").nth(1)?;
        rest.split(' ').next()?.parse().ok()
    });
    depths.max().unwrap_or(0)
}

/// Least and greatest idle share that the firmware itself measured.
fn idle_figures(log: &str) -> String {
    let shares = log.lines().filter_map(|line| {
        let rest = line.split(" idle ").nth(1)?;
        rest.split(' ').next()?.parse::<f64>().ok()
    });
    let shares: Vec<f64> = shares.collect();
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let most = shares.iter().copied().fold(0.0, f64::max);
    format!(
        "{least} to {most} % by its own counter, of {} looks",
        shares.len()
    )
}
