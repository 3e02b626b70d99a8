//! The configuration is exchanged again and again while the gateway works under load: 1,000 times
//! in the long form, and every sample is upstream once, under one version of each rule.
//!
//! Rule `minute` never changes: its records must be those of a gateway left alone. Rule `changing`
//! alternates between two shapes, so that its version tells which one every record must have.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tidegate_gateway::control::{self, Command};
use tidegate_gateway::reload::hash;
use tidegate_tests::dice::Dice;
use tidegate_tests::process::Process;
use tidegate_tests::records::Received;
use tidegate_tests::report::{FULL, say};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::utc;
use tidegate_tests::wall::{Stopwatch, wait_for};

use crate::{passage, reload_judge, whole};

/// Reloads of the long and of the short form.
const RELOADS: [usize; 2] = [1_000, 60];
/// Every such reload comes behind a bad file.
const BAD_EVERY: usize = 4;
const DEVICES: u32 = 5;
/// Seconds of the devices' time per second.
const SPEED: u64 = 240;
/// What a reload takes on average, in ms; the load lasts as long as all.
const RELOAD_MS: u64 = 300;
/// Longest a reload may take.
const SOON: Duration = Duration::from_secs(30);
/// The two shapes of rule `changing`.
pub const SHAPES: [&str; 2] = [
    r#"window = { tumbling = "1m", lateness = "30s" }
aggregate = ["count", "sum", "max"]
"#,
    r#"window = { tumbling = "20s", lateness = "5s" }
aggregate = ["count", "sum", "min", "p95"]
"#,
];

#[test]
fn many_reloads_under_load_lose_and_double_nothing() {
    let is_full = std::env::var_os(FULL).is_some();
    let reloads = RELOADS[usize::from(!is_full)];
    if !is_full {
        say(&format!(
            "reloads: the short form, {reloads} reloads; {} in tests/run --full",
            RELOADS[0]
        ));
    }
    let mut dice = Dice::announced("reloads");
    let rig = Rig::free(&configuration());
    let mut gateway = rig.gateway(&[]);
    let seconds = reloads as u64 * RELOAD_MS * SPEED / 1_000;
    let mut plant = Simulation::plant("pump", rig.broker.port, DEVICES, seconds);
    let trace = rig.path().join("trace.csv");
    write_trace(&trace, seconds, &mut dice);
    let mut traced = Simulation::new(&trace, "traced", rig.broker.port);
    for simulation in [&mut plant, &mut traced] {
        simulation.speed = SPEED.to_string();
    }
    let mut processes = [plant.start(rig.path()), traced.start(rig.path())];
    wait_for("the load to begin", SOON, || {
        (whole::simulated(&processes[0], "acked") > 0).then_some(())
    });

    let watch = Stopwatch::new();
    let mut editor = Editor::new(&rig);
    let mut under_load = 0;
    for reload in 1..=reloads {
        if reload % BAD_EVERY == 0 {
            editor.try_bad(reload / BAD_EVERY);
        }
        editor.take(reload, gateway.id());
        assert_eq!(
            gateway.ended(),
            None,
            "the gateway ended at reload {reload}"
        );
        under_load += usize::from(processes[0].ended().is_none());
    }
    let under_fire = watch.elapsed();
    let status = editor.status();
    let in_force = &status["configuration"];
    assert_eq!(in_force["reloads"], reloads, "{in_force}");
    assert_eq!(in_force["refusals"], editor.refused, "{in_force}");
    assert_eq!(status["gateway"]["start"], 1, "the gateway was restarted");
    for process in &mut processes {
        passage::wait_simulated(process, Duration::from_mins(5));
    }
    let samples = processes.iter().map(whole::all_samples).sum();
    whole::wait_whole(&rig, 2 * samples, Duration::from_mins(2));
    let stopped = gateway.stop(passage::STOP);
    assert!(stopped.success(), "the gateway stopped with {stopped}");
    let received = whole::wait_whole(&rig, 2 * samples, Duration::ZERO);
    whole::assert_books_of(&rig, samples, 2 * samples);
    assert_eq!(rules_logged(&rig), reloads + 1, "entries with rules");
    let versions = judge(&traced, samples, &received);
    say(&format!(
        "reloads: {reloads} taken and {} files refused in {:.0} s, {under_load} of them under load; \
         {samples} samples, each upstream once of either rule; {} records, of {versions} versions",
        editor.refused,
        under_fire.as_secs_f32(),
        received.len(),
    ));
    assert!(under_load * 2 >= reloads, "too few reloads fell under load");
    assert!(versions * 4 >= reloads, "too few versions had a record");
}

/// Both rules' records; how many versions of the one that changes have any.
fn judge(traced: &Simulation, samples: u64, received: &[Received]) -> usize {
    let of_rule = |rule: &str| -> Vec<Received> {
        let all = received.iter();
        all.filter(|one| one.record.rule == rule).cloned().collect()
    };
    let (minute, changing) = (of_rule("minute"), of_rule("changing"));
    assert_eq!(whole::fresh(&minute), samples, "samples under rule minute");
    assert_eq!(
        whole::fresh(&changing),
        samples,
        "samples under rule changing"
    );
    let expected = passage::expected(traced, 60);
    reload_judge::assert_undisturbed(&expected, &minute);
    reload_judge::assert_each_under_one_version(&expected, &changing);
    reload_judge::assert_shapes(&changing)
}

/// A configuration with both rules, the one that changes in its first shape.
fn configuration() -> String {
    format!(
        "{}[[rule]]\nname = \"changing\"\nmatch = {{ sensor = \"*\" }}\n{}forward = [\"cloud\"]\n",
        CONFIGURATION.replace("compress", "drain_spread = \"0s\"\ncompress"),
        SHAPES[0]
    )
}

/// Rows a second apart, three columns.
fn write_trace(path: &Path, seconds: u64, dice: &mut Dice) {
    let began_s = utc::seconds("2020-03-01 12:00:07").expect("it is a time");
    let mut text = "datetime;flow;pressure;speed\n".to_owned();
    for row in 0..i64::try_from(seconds).expect("an hour or so") {
        let time = utc::text(began_s + row).replace('T', " ").replace('Z', "");
        let mut value = || dice.below(100_000);
        let (flow, pressure, speed) = (value(), value(), value());
        let _ = writeln!(
            text,
            "{time};{}.{:03};{}.{:03};{}.{:03}",
            flow / 1_000,
            flow % 1_000,
            pressure / 1_000,
            pressure % 1_000,
            speed / 1_000,
            speed % 1_000
        );
    }
    fs::write(path, text).expect("the folder takes a file");
}

fn rules_logged(rig: &Rig) -> usize {
    let finished = rig.command(&["log", "export", "--kind", "rules"]);
    assert!(finished.status.success(), "{}", finished.err);
    finished.out.lines().count()
}

/// Somebody who edits the configuration of a running gateway.
struct Editor<'r> {
    rig: &'r Rig,
    /// The configuration on the rig's ports, in its first shape.
    base: String,
    in_force: String,
    refused: usize,
}

impl<'r> Editor<'r> {
    fn new(rig: &'r Rig) -> Self {
        let base = fs::read_to_string(rig.path().join("tidegate.toml")).expect("the rig wrote it");
        Self {
            rig,
            in_force: hash(&base),
            base,
            refused: 0,
        }
    }

    fn status(&self) -> Value {
        let data = self.rig.path().join("data");
        wait_for("the gateway's status", SOON, || {
            control::ask(&data, &Command::Status).ok()
        })
    }

    /// The configuration changes, in one of three ways, and is waited for.
    fn take(&mut self, reload: usize, process: u32) {
        let shaped = self.base.replace(SHAPES[0], SHAPES[reload % 2]);
        let text = format!("# reload {reload}\n{shaped}");
        match reload % 3 {
            0 => self.rename(&text),
            1 => self.write(&text),
            _ => {
                self.write(&text);
                Process::hang_up(process);
            }
        }
        self.in_force = hash(&text);
        wait_for(&format!("reload {reload}"), SOON, || {
            let status = self.status();
            (status["configuration"]["hash"] == *self.in_force).then_some(())
        });
    }

    /// A file that must not be taken: it is refused, and what was in force still is.
    fn try_bad(&mut self, kind: usize) {
        let (from, to, why) = [
            ("tumbling", "tumbeling", "mistake"),
            ("[[rule]]", "[[rule", "mistake"),
            ("\"pump-house\"", "\"other\"", "restart"),
            (
                "[sink.cloud]",
                "[sink.other]\ntype = \"file\"\npath = \"x\"\n[sink.cloud]",
                "restart",
            ),
            ("\"./data\"", "\"./elsewhere\"", "restart"),
        ][kind % 5];
        // Unlike the one in force in what could be taken, too.
        let shaped = self.base.replace("\"30s\"", "\"29s\"");
        let text = format!("# bad {kind}\n{}", shaped.replacen(from, to, 1));
        if kind.is_multiple_of(2) {
            self.write(&text);
        } else {
            self.rename(&text);
        }
        self.refused += 1;
        let bad = hash(&text);
        let status = wait_for(&format!("bad file {kind} to be refused"), SOON, || {
            let status = self.status();
            (status["configuration"]["refused"]["hash"] == *bad).then_some(status)
        });
        let in_force = &status["configuration"];
        assert_eq!(in_force["hash"], *self.in_force, "{in_force}");
        let told = in_force["refused"]["why"].as_str().unwrap_or_default();
        assert!(told.contains(why), "{why}: {in_force}");
    }

    fn write(&self, text: &str) {
        fs::write(self.rig.path().join("tidegate.toml"), text).expect("the folder takes a file");
    }

    fn rename(&self, text: &str) {
        let new = self.rig.path().join("tidegate.toml.new");
        fs::write(&new, text).expect("the folder takes a file");
        fs::rename(new, self.rig.path().join("tidegate.toml")).expect("it may be renamed");
    }
}

/// The command and the signal, where the file's folder is not the one that it is changed in.
#[test]
fn a_reload_by_command_or_signal_says_what_changed_or_why_not() {
    let rig = Rig::free(&configuration());
    let at = |name: &str| rig.path().join(name);
    fs::create_dir(at("etc")).expect("the folder takes another");
    fs::create_dir(at("real")).expect("the folder takes another");
    fs::rename(at("tidegate.toml"), at("real/tidegate.toml")).expect("it may be renamed");
    std::os::unix::fs::symlink("../real/tidegate.toml", at("etc/tidegate.toml"))
        .expect("the folder takes a link");
    let base = fs::read_to_string(at("etc/tidegate.toml")).expect("the link leads to it");
    let write = |text: &str| fs::write(at("real/tidegate.toml"), text).expect("it may be written");
    let reload = || rig.command(&["reload", "--config", "etc/tidegate.toml"]);
    let status = || control::ask(&at("data"), &Command::Status).ok();

    let mut gateway = rig.gateway_by("etc/tidegate.toml", &[]);
    wait_for("the gateway to answer", SOON, status);
    let other = base.replace(SHAPES[0], SHAPES[1]);
    // The gateway looks at the file by itself, too, and on a busy machine it may be the first.
    let taken = wait_for("the command to be the first to read the file", SOON, || {
        write(&base);
        reload();
        write(&other);
        let taken = reload();
        assert!(taken.status.success(), "{}{}", taken.out, taken.err);
        (!taken.out.contains("nothing changes")).then_some(taken)
    });
    assert!(taken.out.contains("rule changing changed"), "{}", taken.out);
    assert!(taken.out.contains(&hash(&other)), "{}", taken.out);
    let same = reload();
    assert!(same.status.success(), "{}{}", same.out, same.err);
    assert!(same.out.contains("nothing changes"), "{}", same.out);

    write(&other.replace("tumbling", "tumbeling"));
    let mistaken = reload();
    assert_eq!(mistaken.status.code(), Some(2), "{}", mistaken.out);
    assert!(mistaken.err.contains("keeps the configuration in force"));
    write(&other.replace("/records", "/elsewhere"));
    let refused = reload();
    assert_eq!(refused.status.code(), Some(3), "{}", refused.err);
    assert!(
        refused.out.contains("sink.cloud changed"),
        "{}",
        refused.out
    );
    let shown = rig.command(&["status", "--config", "etc/tidegate.toml"]);
    assert!(shown.out.contains(&hash(&other)), "{}", shown.out);
    assert!(
        shown.out.contains("the file is not in force"),
        "{}",
        shown.out
    );

    write(&base);
    Process::hang_up(gateway.id());
    wait_for("the signal to be heeded", SOON, || {
        let status = status()?;
        (status["configuration"]["hash"] == *hash(&base)).then_some(())
    });
    let stopped = gateway.stop(passage::STOP);
    assert!(stopped.success(), "the gateway stopped with {stopped}");
    assert_eq!(reload().status.code(), Some(1), "nobody is there to ask");
}
