//! A passage with a second sink beside the documented one, whose records are the measure for what
//! the second got.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate_gateway::record;
use tidegate_gateway::rules::{self, Priority};
use tidegate_gateway::sinks::batch::Batch;
use tidegate_gateway::sinks::delivery::Answer;
use tidegate_gateway::sinks::encoding::Encoding;
use tidegate_gateway::sinks::{Waiting, transport};
use tidegate_gateway::time::{Clock, SystemClock};
use tidegate_tests::records::{self, Received, Record};
use tidegate_tests::report::data;
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

use crate::passage::{anomaly_free, wait_simulated, without_labels};

/// Longest a passage of the trace takes.
pub const PASSAGE: Duration = Duration::from_mins(3);
/// Longest until what waited has arrived.
pub const ARRIVAL: Duration = Duration::from_mins(1);

/// Records of one batch: many batches of a passage are interrupted, not one.
const BATCH_RECORDS: usize = 50;

/// The documented rig with a second sink `beside`, of these lines.
pub fn rig(sink: &str) -> Rig {
    Rig::free(&configuration(sink))
}

fn configuration(sink: &str) -> String {
    CONFIGURATION
        .replace(
            "[[rule]]",
            &format!("[sink.beside]\nbatch_records_max = {BATCH_RECORDS}\n{sink}\n[[rule]]"),
        )
        .replace("forward = [\"cloud\"]", "forward = [\"cloud\", \"beside\"]")
}

/// The pump's trace through a rig's broker, if the data is there.
pub fn trace(what: &str, rig: &Rig) -> Option<Simulation> {
    let data = data(what)?;
    Some(without_labels(anomaly_free(&data, rig.broker.port)))
}

/// Waits until the second sink got what the first got, by ids, and all of the trace is through;
/// gives what the first got.
pub fn settle(rig: &Rig, expected: usize, ids: impl Fn() -> BTreeSet<String>) -> Vec<Received> {
    let measure = || {
        let received = records::read(&rig.receiver.requests());
        let ids: BTreeSet<String> = received.iter().map(|one| one.record.id.clone()).collect();
        (received, ids)
    };
    wait_until("both sinks to have every record", ARRIVAL, || {
        let (_, measured) = measure();
        measured.len() >= expected && measured == ids()
    });
    measure().0
}

/// Records that the trace gives under the documented rule.
pub fn expected(simulation: &Simulation) -> usize {
    crate::passage::expected(simulation, 60).answers.len()
}

/// Runs a simulation to its end; `meanwhile` is done beside it.
pub fn simulate(rig: &Rig, simulation: &Simulation, meanwhile: impl FnOnce()) {
    let mut process = simulation.start(rig.path());
    meanwhile();
    wait_simulated(&mut process, PASSAGE);
}

/// The lines by their ids; the same record always has the same line.
pub fn by_id<'a>(lines: impl Iterator<Item = &'a [u8]>) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for line in lines {
        let value: Value = serde_json::from_slice(line).expect("a record is JSON");
        let id = value["id"].as_str().expect("a record has an id").to_owned();
        if let Some(before) = found.insert(id.clone(), value.clone()) {
            assert_eq!(before, value, "{id} came with two contents");
        }
    }
    found
}

/// Checks that each record came as the first sink got it.
pub fn assert_same(received: &[Received], came: &BTreeMap<String, Value>) {
    for one in received {
        let line: Value = serde_json::from_str(&one.line).expect("a line is JSON");
        assert_eq!(came.get(&one.record.id), Some(&line));
    }
}

/// How new a record is.
pub fn age(record: &Record) -> (i64, u32) {
    (record.start_s(), record.revision)
}

/// One attempt of one record at a sink of these lines, by the gateway's own transport.
pub fn attempt(sink: &str) -> Answer {
    let text = configuration(sink);
    let (settings, _) = rules::parse(&text, "tidegate.toml")
        .unwrap_or_else(|mistakes| panic!("{sink}: {mistakes:?}"));
    let sink = settings
        .sinks
        .iter()
        .find(|sink| sink.name == "beside")
        .expect("it is configured");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut transport = transport::open(sink, &clock).expect("it is built");
    let waiting = [Waiting {
        index: 0,
        place: record::Place::default(),
        record: probe(),
    }];
    let batch = Batch::render(Priority::Normal, &waiting, 1, 1, &Encoding::of(&sink.kind))
        .expect("one record waits");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has threads");
    runtime.block_on(async { transport.deliver(&Arc::new(batch)).await })
}

fn probe() -> record::Record {
    record::Record {
        id: record::RecordId([7; 16]),
        site: "pump-house".into(),
        device: "pump-1".into(),
        sensor: "Pressure".into(),
        unit: "bar".into(),
        rule: "minute".into(),
        version: 1,
        epoch: 0,
        start_us: 0,
        end_us: 60_000_000,
        revision: 0,
        samples: 1,
        fresh: 1,
        clock: record::ClockQuality::Device,
        partial: false,
        alert: None,
        values: vec![("mean".into(), record::Value::Number(1.5))],
        note: None,
    }
}
