//! The control socket: bytes to a server in a folder of its own, as a client would write them.
//!
//! What is read as a command must read back from its own text; each line that is asked gets one
//! line back, which is an answer or an error.

use std::future::pending;
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_gateway::control::{
    Command, Control, Handler, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, socket_path,
};
use tidegate_gateway::dead_letters::{self, Wish};
use tidegate_gateway::plant::{Health, Selection, TapFilter};
use tidegate_gateway::registry::{Key, Order};
use tidegate_shared::ids::DeviceName;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::{converse, holds, runtime};

/// What runs as long as the process.
struct Running {
    runtime: Runtime,
    dir: TempDir,
}

static RUNNING: LazyLock<Running> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("the system has a folder for temporary files");
    let runtime = runtime();
    let entered = runtime.enter();
    let control = Control::open(dir.path()).expect("nobody else is in the folder");
    runtime.spawn(async move { control.serve(Arc::new(Echo), pending()).await });
    drop(entered);
    Running { runtime, dir }
});

/// Answers a command with itself.
struct Echo;

impl Handler for Echo {
    async fn answer(&self, command: Command, _: Option<u32>) -> Result<Value, String> {
        let said = serde_json::to_value(&command).expect("a command has a text");
        Ok(said)
    }
}

/// Feeds bytes.
pub fn feed(bytes: &[u8]) {
    let running = &*RUNNING;
    let heard = running.runtime.block_on(async {
        let stream = UnixStream::connect(socket_path(running.dir.path())).await;
        converse(stream.expect("it listens"), bytes, |_| false).await
    });
    assert!(heard.len() < RESPONSE_BYTES_MAX);
    let mut answers = 0;
    for line in heard.split_inclusive(|byte| *byte == b'\n') {
        check(line);
        answers += 1;
    }
    let asked = bytes.split_inclusive(|byte| *byte == b'\n');
    let (mut lines, mut is_whole) = (0, true);
    for line in asked {
        lines += 1;
        // A tap goes on to the end of its connection, and what is too long ends it.
        is_whole &= line.len() <= REQUEST_BYTES_MAX && !is_tap(line);
    }
    assert!(answers <= lines, "more answers than requests");
    assert!(answers == lines || !is_whole, "a request without an answer");
}

/// Whether a line may be a tap.
fn is_tap(line: &[u8]) -> bool {
    // It may be spelled by escapes.
    holds(line, b"tap") || line.contains(&b'\\')
}

fn check(line: &[u8]) {
    let response: Value = serde_json::from_slice(line).expect("a line of JSON");
    let response = response.as_object().expect("an object");
    assert_eq!(response.len(), 1);
    if let Some(said) = response.get("ok") {
        let command: Command = serde_json::from_value(said.clone()).expect("a command as it was");
        let again = serde_json::to_value(&command).expect("a command has a text");
        assert_eq!(again, *said, "it reads back otherwise");
    } else {
        assert!(response.get("error").is_some_and(Value::is_string));
    }
}

/// Every command as a client writes it, alone and all on one connection.
pub fn seeds() -> Vec<Vec<u8>> {
    let line = |command: &Command| {
        let mut line = serde_json::to_vec(command).expect("a command has a text");
        line.push(b'\n');
        line
    };
    let mut seeds: Vec<Vec<u8>> = commands().iter().map(line).collect();
    seeds.push(seeds.concat());
    seeds
}

fn commands() -> Vec<Command> {
    let device = |name| DeviceName::try_from(name).expect("a name");
    let letters = |wish| {
        let sink = "cloud".into();
        Command::DeadLetters(dead_letters::Order { sink, wish })
    };
    let ids = || vec!["00c0".to_owned(), "00c1".to_owned()];
    let key = || Some(Key::new([0x5a; 32]));
    vec![
        Command::Ledger,
        Command::Status,
        Command::Reload,
        Command::Bill,
        Command::Overview,
        Command::Resume("cloud".into()),
        letters(Wish::List(None)),
        letters(Wish::List(Some("00c0".into()))),
        letters(Wish::Show("00c0".into())),
        letters(Wish::Resend(ids())),
        letters(Wish::Drop(ids())),
        Command::Devices(Selection {
            glob: Some("pump-*".into()),
            health: Some(Health::Late),
            offset: 1,
            limit: 50,
        }),
        Command::Device(Order::List),
        Command::Device(Order::Add(device("pump-1"))),
        Command::Device(Order::Rename {
            from: device("pump-1"),
            to: device("pump-2"),
        }),
        Command::Device(Order::Export { key: key() }),
        Command::Device(Order::Import {
            key: key(),
            replace: true,
        }),
        Command::Tap(TapFilter {
            device: Some("pump-*".into()),
            sensor: Some("pressure".into()),
            rule: Some("minute".into()),
        }),
    ]
}
