//! The control socket between a real server and a real client.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;
use crate::pipeline::Observed;
use crate::plant::Passing;
use crate::recent::{Tap, Taps, Watcher};
use crate::store::Onlooker;

/// Answers everything with the same.
struct Always(Result<Value, String>);

impl Handler for Always {
    async fn answer(&self, _: Command, _: Option<u32>) -> Result<Value, String> {
        self.0.clone()
    }
}

struct Running {
    dir: TempDir,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Counts>,
}

fn serve(answer: Result<Value, String>) -> Running {
    serve_within(answer, EXCHANGE_MAX)
}

fn serve_within(answer: Result<Value, String>, exchange_max: Duration) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let mut control = Control::open(dir.path()).unwrap();
    control.exchange_max = exchange_max;
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(async move {
        let shutdown = async {
            let _ = stopped.await;
        };
        control.serve(Arc::new(Always(answer)), shutdown).await;
        control.counts()
    });
    Running { dir, stop, served }
}

impl Running {
    async fn stop(self) -> Counts {
        let _ = self.stop.send(());
        self.served.await.unwrap()
    }
}

async fn ask_there(dir: &Path) -> Result<Value, AskError> {
    let dir = dir.to_owned();
    spawn_blocking(move || ask(&dir, &Command::Ledger))
        .await
        .unwrap()
}

/// Sends raw bytes and reads the lines that come back until the server closes or `lines` are in.
async fn raw(dir: &Path, bytes: Vec<u8>, lines: usize) -> Vec<String> {
    let path = socket_path(dir);
    spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(EXCHANGE_MAX)).unwrap();
        stream.write_all(&bytes).unwrap();
        let answers = BufReader::new(stream).lines();
        answers.take(lines).map_while(Result::ok).collect()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_question_is_answered() {
    let running = serve(Ok(json!({ "devices": { "pump-1": 3 } })));
    let answer = ask_there(running.dir.path()).await.unwrap();
    assert_eq!(answer, json!({ "devices": { "pump-1": 3 } }));
    assert_eq!(running.stop().await.answered, 1);
}

#[tokio::test]
async fn an_error_is_passed_on_in_its_words() {
    let running = serve(Err("the store is being salvaged".into()));
    let why = ask_there(running.dir.path()).await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "the gateway refused: the store is being salvaged"
    );
}

#[tokio::test]
async fn only_the_owner_may_ask_and_a_clean_stop_removes_the_socket() {
    let running = serve(Ok(Value::Null));
    let path = socket_path(running.dir.path());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(running.dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let dir = running.dir.path().to_owned();
    let _ = running.stop.send(());
    running.served.await.unwrap();
    assert!(!path.exists());
    assert!(matches!(
        ask_there(&dir).await,
        Err(AskError::NotRunning { .. })
    ));
}

#[tokio::test]
async fn what_a_dead_process_left_is_replaced_and_a_living_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    // Dropping a listener leaves its file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(socket_path(dir.path())).unwrap());
    std::fs::create_dir(dir.path().join("control.new")).unwrap();
    assert!(matches!(
        ask_there(dir.path()).await,
        Err(AskError::NotRunning { .. })
    ));
    let control = Control::open(dir.path()).unwrap();
    assert!(matches!(
        Control::open(dir.path()),
        Err(ControlError::InUse { .. })
    ));
    drop(control);
    assert!(Control::open(dir.path()).is_ok());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    assert!(matches!(
        Control::open(&deep),
        Err(ControlError::PathTooLong { .. })
    ));
}

#[tokio::test]
async fn bad_requests_are_refused_and_the_connection_goes_on() {
    let running = serve(Ok(json!(1)));
    let bytes =
        b"nonsense\n{\"command\":\"reboot\"}\n\xff\xfe\n{\"command\":\"ledger\",\"more\":1}\n";
    let answers = raw(running.dir.path(), bytes.to_vec(), 4).await;
    assert_eq!(
        answers,
        [
            r#"{"error":"a request is a line such as {\"command\":\"ledger\"}"}"#,
            r#"{"error":"this gateway does not know that command; it knows: ledger, status, reload, dead-letters, resume, bill, overview, devices, device, tap"}"#,
            r#"{"error":"a request is a line such as {\"command\":\"ledger\"}"}"#,
            r#"{"ok":1}"#,
        ]
    );
    let counts = running.stop().await;
    assert_eq!((counts.malformed, counts.answered), (3, 4));
}

#[tokio::test]
async fn an_endless_request_is_cut_off() {
    let running = serve(Ok(json!(1)));
    let answers = raw(running.dir.path(), vec![b'x'; REQUEST_BYTES_MAX + 1], 2).await;
    assert_eq!(answers, [r#"{"error":"a request has at most 4096 bytes"}"#]);
    assert_eq!(running.stop().await.malformed, 1);
}

#[tokio::test]
async fn a_silent_connection_gives_its_place_back() {
    let running = serve_within(Ok(json!(1)), Duration::from_millis(20));
    let path = socket_path(running.dir.path());
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(tokio::net::UnixStream::connect(&path).await.unwrap());
    }
    for stream in &mut silent {
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut [0; 8]).unwrap(), 0);
    }
    assert_eq!(running.stop().await.slow, CONNECTIONS_MAX as u64);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let running = serve(Ok(json!(1)));
    let path = socket_path(running.dir.path());
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"{\"command\":\"ledger\"}\n")
            .await
            .unwrap();
        stream.readable().await.unwrap();
        held.push(stream);
    }
    let why = ask_there(running.dir.path()).await.unwrap_err();
    assert!(why.to_string().contains("busy"), "{why}");
    drop(held);
    assert_eq!(running.stop().await.busy, 1);
}

#[tokio::test]
async fn every_command_reaches_its_handler_by_name() {
    /// Answers with what it was asked.
    struct Echo;
    impl Handler for Echo {
        async fn answer(&self, command: Command, _: Option<u32>) -> Result<Value, String> {
            serde_json::to_value(command).map_err(|why| why.to_string())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let control = Control::open(dir.path()).unwrap();
    let meter = control.meter();
    let served = tokio::spawn(async move {
        control.serve(Arc::new(Echo), std::future::pending()).await;
    });
    let commands = [
        Command::Ledger,
        Command::Status,
        Command::Reload,
        Command::DeadLetters(dead_letters::Order {
            sink: "cloud".into(),
            wish: dead_letters::Wish::Drop(vec!["0c0ffee0".into()]),
        }),
        Command::Resume("cloud".into()),
        Command::Bill,
        Command::Overview,
        Command::Devices(Selection {
            glob: Some("pump-*".into()),
            ..Selection::default()
        }),
        Command::Device(registry::Order::Export {
            key: Some(registry::Key::new([7; 32])),
        }),
    ];
    // A tap is not answered, it flows: it has tests of its own.
    assert_eq!(commands.len() + 1, Command::NAMES.len());
    for (command, name) in commands.iter().zip(Command::NAMES) {
        let (path, asked) = (dir.path().to_owned(), command.clone());
        let answer = spawn_blocking(move || ask(&path, &asked)).await.unwrap();
        let answer = answer.unwrap();
        assert_eq!(answer, serde_json::to_value(command).unwrap());
        assert_eq!(answer["command"], json!(name));
    }
    served.abort();
    assert_eq!(meter.counts().answered, commands.len() as u64);
}

/// Lets samples flow.
struct Flowing(Taps);

impl Handler for Flowing {
    async fn answer(&self, _: Command, _: Option<u32>) -> Result<Value, String> {
        Err("only taps here".into())
    }

    fn tap(&self, filter: TapFilter) -> Option<Tap> {
        Some(self.0.open(filter))
    }
}

struct Tapping {
    dir: TempDir,
    taps: Taps,
    watcher: Watcher,
    meter: Meter,
    served: JoinHandle<()>,
}

impl Tapping {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::open(dir.path()).unwrap();
        let meter = control.meter();
        let taps = Taps::default();
        let handler = Arc::new(Flowing(taps.clone()));
        let served = tokio::spawn(async move {
            control.serve(handler, std::future::pending()).await;
        });
        Self {
            dir,
            watcher: Watcher::new(Arc::default(), taps.clone()),
            taps,
            meter,
            served,
        }
    }

    async fn tap(&self) -> Result<Tapped, AskError> {
        let dir = self.dir.path().to_owned();
        spawn_blocking(move || tap(&dir, &TapFilter::default()))
            .await
            .unwrap()
    }

    fn flow(&mut self, numbers: std::ops::Range<i64>) {
        let samples = numbers.map(|number| (number, number as f64)).collect();
        let observed = Observed {
            device: "d".into(),
            sensor: "s".into(),
            unit: String::new(),
            epoch: 0,
            samples,
        };
        self.watcher.saw(vec![observed], &[]);
    }

    /// Until the server has noticed that taps went.
    async fn until_closed(&self) {
        let closed = async {
            while self.taps.are_open() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(EXCHANGE_MAX, closed).await.unwrap();
    }
}

/// What a tap tells next, and the tap.
async fn next(mut tapped: Tapped) -> (Tick, Tapped) {
    spawn_blocking(move || (tapped.next(Some(EXCHANGE_MAX)).unwrap(), tapped))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_tap_tells_what_flows_until_either_side_ends_it() {
    let mut tapping = Tapping::start();
    let mut tapped = tapping.tap().await.unwrap();
    assert!(matches!(tapped.next(Some(Duration::ZERO)), Ok(Tick::Waits)));
    tapping.flow(0..2);
    let (first, tapped) = next(tapped).await;
    let (second, tapped) = next(tapped).await;
    for (tick, number) in [(first, 0.0), (second, 1.0)] {
        let Tick::Passes(Passing::Sample { value, .. }) = tick else {
            panic!("{tick:?}");
        };
        assert_eq!(Some(value), Some(number));
    }
    assert_eq!(tapping.meter.counts().taps, 1);
    drop(tapped);
    tapping.until_closed().await;
    let tapped = tapping.tap().await.unwrap();
    tapping.served.abort();
    assert_eq!(next(tapped).await.0, Tick::Ended);
}

#[tokio::test]
async fn taps_beyond_the_limit_are_told_so_and_commands_still_have_a_place() {
    let tapping = Tapping::start();
    let mut held = Vec::new();
    for _ in 0..TAPS_MAX {
        held.push(tapping.tap().await.unwrap());
    }
    let why = tapping.tap().await.unwrap_err();
    assert!(why.to_string().contains("too many taps"), "{why}");
    let answer = ask_there(tapping.dir.path()).await.unwrap_err();
    assert!(answer.to_string().contains("only taps here"), "{answer}");
    drop(held);
    tapping.until_closed().await;
    assert!(tapping.tap().await.is_ok());
    assert_eq!(tapping.meter.counts().busy, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_told_what_it_missed_and_holds_nobody_up() {
    let mut tapping = Tapping::start();
    let mut tapped = tapping.tap().await.unwrap();
    // Far more than socket and flows hold; it returns though nobody reads.
    let all: i64 = 400_000;
    for first in (0..all).step_by(200) {
        tapping.flow(first..first + 200);
    }
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < all as u64 {
        let (tick, back) = next(tapped).await;
        tapped = back;
        match tick {
            Tick::Passes(Passing::Sample { .. }) => seen += 1,
            Tick::Passes(Passing::Missed(samples)) => missed += samples,
            other => panic!("{other:?} after {seen} and {missed}"),
        }
    }
    assert!(missed > 0 && seen > 0, "{seen} {missed}");
    assert_eq!(seen + missed, all as u64, "each is told or counted");
}
