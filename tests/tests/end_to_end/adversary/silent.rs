//! A broker that lets everyone in, inside the gateway: a client subscribes to everything, and reads
//! nothing.

use std::thread;
use std::time::Duration;

use tidegate_tests::ports;
use tidegate_tests::report::figure;
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

use super::field::{memory_mb, topic};
use super::packets::{Client, Connect};
use crate::passage;

const SOON: Duration = Duration::from_mins(1);
/// Clients who do not read.
const SILENT: usize = 4;
/// Clients who speak all the time.
const LOUD: usize = 4;
/// Messages of each, of this many bytes.
const MESSAGES: usize = 2_000;
const BYTES: usize = 8_000;
/// Above what it began with; what was sent to each of the silent ones is 64 MB.
const MB_MAX: f64 = 64.0;

#[test]
fn who_subscribes_to_everything_and_reads_nothing_takes_bounded_memory() {
    let port = ports::free();
    let inside = format!("embedded = {{ listen = \"127.0.0.1:{port}\" }}");
    let configuration = CONFIGURATION.replace("url = \"mqtt://127.0.0.1:21883\"", &inside);
    assert!(configuration.contains(&inside));
    let rig = Rig::free(&configuration);
    let mut gateway = rig.gateway(&[]);
    wait_until("the broker to answer", SOON, || ports::answers(port));
    let began_mb = memory_mb(&gateway, "VmRSS:");

    let connected = |id: String| {
        let connect = Connect {
            id,
            ..Connect::default()
        };
        Client::connect(port, &connect).unwrap_or_else(|code| panic!("let in: {code:?}"))
    };
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let mut client = connected(format!("silent-{number}"));
        client.narrow();
        assert_eq!(client.subscribe("#").ok(), Some(1));
        silent.push(client);
    }
    let mut simulation = Simulation::plant("honest", port, 1, 600).start(rig.path());
    let loud: Vec<_> = (0..LOUD)
        .map(|number| {
            let mut client = connected(format!("loud-{number}"));
            thread::spawn(move || {
                let payloads = vec![vec![7; BYTES]; MESSAGES];
                let topic = topic(&format!("loud-{number}/up"));
                client.publish(&topic, &payloads).map(|codes| codes.len())
            })
        })
        .collect();
    for loud in loud {
        let acked = loud.join().expect("it ends");
        assert_eq!(acked.ok(), Some(MESSAGES), "who speaks is not held up");
    }
    passage::wait_simulated(&mut simulation, SOON);
    let most_mb = memory_mb(&gateway, "VmHWM:");
    let sent_mb = (LOUD * MESSAGES * BYTES) as f64 / 1e6;
    figure(
        "adversary",
        &format!(
            "{SILENT} clients subscribe to everything and read nothing of {sent_mb:.0} MB each: \
             memory of the gateway {began_mb:.1} MB at first, {most_mb:.1} MB at most"
        ),
    );
    assert!(most_mb < began_mb + MB_MAX, "{most_mb} MB");
    drop(silent);
    assert!(gateway.stop(passage::STOP).success());
}
