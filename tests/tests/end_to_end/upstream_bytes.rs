//! Upstream bytes at live pace: a request per closing window, against one message per sample.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tidegate_tests::ports;
use tidegate_tests::receiver::{Mood, Receiver};
use tidegate_tests::report::{data, figure};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::trace::Trace;
use tidegate_tests::utc;

use crate::passage;

#[test]
fn summaries_cost_a_hundredth_of_the_messages() {
    let Some(data) = data("upstream bytes") else {
        return;
    };
    let by_minute = Receiver::start(ports::free(), Mood::Prompt);
    let rig = Rig::free(&configuration(by_minute.port));
    let mut simulation = passage::stated(passage::anomaly_free(&data, rig.broker.port));
    // Sixty times live pace: a batch a second, so that windows close one after the other.
    "60".clone_into(&mut simulation.speed);
    let mut expected = passage::expected(&simulation, 300);
    expected.rule = "five-minutes".to_owned();

    let mut gateway = rig.gateway(&[]);
    let mut process = simulation.start(rig.path());
    passage::wait_simulated(&mut process, Duration::from_mins(5));
    passage::finish(&rig, &mut gateway, &expected);

    let trace = Trace::read(&simulation.trace, &[]);
    let messages = message_bytes(&trace, &simulation.resolutions);
    let five = cost(&rig.receiver);
    let one = cost(&by_minute);
    for (name, cost) in [("5m", &five), ("1m", &one)] {
        figure(
            "upstream bytes",
            &format!(
                "windows of {name}, gzip, live pace: {} samples, {} windows in {} requests ({} of \
                 several windows counted as one each), {} body bytes, {:.2} % fewer than {messages} bytes of one JSON message per sample; \
                 with HTTP request headers {} bytes, {:.2} % fewer",
                trace.samples(),
                cost.windows,
                cost.requests,
                cost.shared,
                cost.body_bytes,
                fewer(cost.body_bytes, messages),
                cost.body_bytes + cost.head_bytes,
                fewer(cost.body_bytes + cost.head_bytes, messages),
            ),
        );
    }
    assert!(
        fewer(five.body_bytes, messages) >= 99.0,
        "less than 99 % saved with windows of 5 minutes"
    );
}

/// The documented rule at five minutes to the rig's receiver, and at one minute to another, both
/// with default compression.
fn configuration(other_port: u16) -> String {
    let plain = CONFIGURATION.replace("compress = \"none\"\n", "");
    let (head, rule) = plain.split_once("[[rule]]").expect("it has one rule");
    let five = rule
        .replace("\"minute\"", "\"five-minutes\"")
        .replace("1m", "5m");
    let one = rule.replace("cloud", "minutes");
    format!(
        "{head}[sink.minutes]\ntype = \"http\"\nurl = \"http://127.0.0.1:{other_port}/records\"\n\
         [[rule]]{five}[[rule]]{one}"
    )
}

struct Cost {
    requests: usize,
    /// Requests that held several windows.
    shared: usize,
    windows: usize,
    body_bytes: usize,
    head_bytes: usize,
}

/// What a receiver's requests cost on the wire, a request per closing window.
///
/// A batch of sixty rows spans a little more than a minute, so that now and then one frame closes
/// two windows at once, and both leave in one request. That would flatter the figure: such a
/// request is counted as one for each window, its records compressed alone and its head again.
fn cost(receiver: &Receiver) -> Cost {
    let requests = receiver.requests();
    let mut cost = Cost {
        requests: requests.len(),
        shared: 0,
        windows: 0,
        body_bytes: 0,
        head_bytes: 0,
    };
    for request in &requests {
        let windows = by_window(&request.body);
        cost.windows += windows.len();
        cost.head_bytes += request.raw.head_bytes * windows.len();
        if windows.len() == 1 {
            cost.body_bytes += request.raw.body.len();
        } else {
            cost.shared += 1;
            cost.body_bytes += windows
                .values()
                .map(|lines| gzip_bytes(lines))
                .sum::<usize>();
        }
    }
    cost
}

/// A body's lines by their windows' start.
fn by_window(body: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut windows: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let record: Value = serde_json::from_slice(line).expect("a line is a record");
        let start = record["start"].as_str().expect("a record has a start");
        windows.entry(start.to_owned()).or_default().extend(line);
    }
    windows
}

fn gzip_bytes(lines: &[u8]) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(lines).expect("memory takes it");
    encoder.finish().expect("memory takes it").len()
}

/// Bytes of one JSON message per sample, its value rounded to the stated resolution (the file has
/// more digits: they would make the messages longer).
fn message_bytes(trace: &Trace, resolutions: &[(String, String)]) -> usize {
    let mut bytes = 0;
    let mut message = String::new();
    for (sensor, column) in &trace.columns {
        let stated = resolutions.iter().find(|(title, _)| *title == column.title);
        let stated = stated.and_then(|(_, text)| text.strip_prefix("1e-"));
        let decimals: usize = stated.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        for (time, value) in trace.times_s.iter().zip(&column.values) {
            message.clear();
            let _ = write!(
                message,
                r#"{{"site":"pump-house","device":"pump-1","sensor":"{sensor}","unit":"","time":"{}","value":{value:.decimals$}}}"#,
                utc::text(*time)
            );
            bytes += message.len();
        }
    }
    bytes
}

fn fewer(bytes: usize, than: usize) -> f64 {
    100.0 * (1.0 - bytes as f64 / than as f64)
}
