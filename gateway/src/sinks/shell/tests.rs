//! The shell of a sink, run against a queue in memory.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::disk::FaultDisk;
use crate::record::Emitted;
use crate::record::{Place, Record, example};
use crate::rules::Priority;
use crate::rules::settings::{Compression, HttpAuth, Secret, SinkKind};
use crate::run::queue::SpoolQueue;
use crate::sinks::queue::MemoryQueue;
use crate::sinks::status::Phase;
use crate::spool::{QueueSettings, Spool};
use crate::time::{SystemClock, Timestamp};

const PATIENCE: Duration = Duration::from_secs(20);

fn record(number: u8) -> Record {
    example(number)
}

fn settings(name: &str, kind: SinkKind) -> SinkSettings {
    SinkSettings {
        spool_bytes_max: 1 << 20,
        batch_records_max: 100,
        timeout_ms: 10_000,
        drain_bytes_per_s: None,
        drain_records_per_s: None,
        drain_spread_ms: 0,
        ..SinkSettings::new(name, kind)
    }
}

async fn until(sink: &mut SinkHandle, done: impl FnMut(&Status) -> bool) -> Status {
    timeout(PATIENCE, sink.status.wait_for(done))
        .await
        .expect("in time")
        .unwrap()
        .clone()
}

struct Bench {
    queue: Arc<MemoryQueue>,
    notify: Arc<Notify>,
    stop: watch::Sender<bool>,
    sink: SinkHandle,
    appended: u64,
}

impl Bench {
    fn start(kind: SinkKind, first: &[u8]) -> Self {
        let settings = settings("cloud", kind);
        let queue = Arc::new(MemoryQueue::default());
        let mut appended = 0;
        for number in first {
            append(&queue, &mut appended, *number);
        }
        let notify = Arc::new(Notify::new());
        let (stop, stopping) = watch::channel(false);
        let sink = spawn(
            &settings,
            Arc::clone(&queue) as Arc<dyn Queue>,
            Arc::new(SystemClock::new()),
            Arc::clone(&notify),
            stopping,
        )
        .unwrap();
        Self {
            queue,
            notify,
            stop,
            sink,
            appended,
        }
    }

    fn append(&mut self, number: u8) {
        append(&self.queue, &mut self.appended, number);
        self.notify.notify_one();
    }

    async fn until(&mut self, done: impl FnMut(&Status) -> bool) -> Status {
        until(&mut self.sink, done).await
    }

    async fn stopped(self) {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.sink.task).await.unwrap().unwrap();
    }
}

fn append(queue: &MemoryQueue, appended: &mut u64, number: u8) {
    *appended += 1;
    let place = Place {
        position: *appended,
        ordinal: 0,
    };
    queue.append(Priority::Normal, place, record(number));
}

/// A receiver that answers one connection's requests with these replies, then hangs.
async fn receiver(replies: &'static [&'static str]) -> SinkKind {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for reply in replies {
            let mut request = Vec::new();
            // A test's body is one line and has no line end before its last byte.
            while !request.ends_with(b"}\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            let reply = format!("HTTP/1.1 {reply}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let mut kind = SinkKind::http(&url);
    if let SinkKind::Http(http) = &mut kind {
        http.compression = Compression::None;
    }
    kind
}

#[tokio::test]
async fn a_missing_secret_opens_the_circuit_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let mut kind = SinkKind::http("http://127.0.0.1:9/");
    if let SinkKind::Http(http) = &mut kind {
        http.endpoint.auth = HttpAuth::Bearer(Secret::File(token.clone()));
    }
    let mut bench = Bench::start(kind, &[1]);
    let status = bench
        .until(|status| status.phase == Phase::CircuitOpen)
        .await;
    let why = status.last_error.unwrap();
    assert!(why.contains(&token.display().to_string()), "{why}");
    assert_eq!(status.counters.records, 0);
    bench.stopped().await;
}

#[tokio::test]
async fn what_waited_at_the_start_and_what_came_later_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.ndjson");
    let mut bench = Bench::start(SinkKind::file(&path), &[1, 2]);
    let status = bench.until(|status| status.counters.records == 2).await;
    assert_eq!(status.counters.batches, 1);
    bench.append(3);
    bench
        .until(|status| status.counters.records == 3 && status.phase == Phase::Idle)
        .await;
    assert!(bench.queue.is_empty());
    bench.stopped().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
}

#[tokio::test]
async fn a_receiver_that_fails_once_gets_the_batch_again() {
    let kind = receiver(&["503 Service Unavailable", "200 OK"]).await;
    let mut bench = Bench::start(kind, &[1]);
    let status = bench.until(|status| status.counters.records == 1).await;
    assert_eq!((status.counters.attempts, status.counters.retries), (2, 1));
    bench.until(|status| status.phase == Phase::Idle).await;
    assert_eq!(bench.queue.commits()[0].delivery.attempts, 2);
    bench.stopped().await;
}

#[tokio::test]
async fn an_open_circuit_shows_its_error_and_stops_at_once() {
    let kind = receiver(&["401 Unauthorized"]).await;
    let mut bench = Bench::start(kind, &[1]);
    let status = bench
        .until(|status| status.phase == Phase::CircuitOpen && status.last_error.is_some())
        .await;
    assert_eq!(status.last_error.as_deref(), Some("HTTP 401 Unauthorized"));
    assert_eq!(bench.queue.len(), 1);
    bench.stopped().await;
}

#[tokio::test]
async fn a_request_in_flight_is_abandoned_within_the_bound() {
    let kind = receiver(&[]).await;
    let mut bench = Bench::start(kind, &[1]);
    bench.until(|status| status.phase == Phase::Sending).await;
    let queue = Arc::clone(&bench.queue);
    bench.stopped().await;
    assert_eq!((queue.len(), queue.commits()), (1, Vec::new()));
}

/// Puts records for three sinks into one spool.
fn spool_records(spool: &Mutex<Spool>, positions: std::ops::Range<u64>) {
    let emitted: Vec<Emitted> = positions
        .map(|position| Emitted {
            place: Place {
                position,
                ordinal: 0,
            },
            forward: ["hanging", "dead", "file"].map(String::from).to_vec(),
            priority: Priority::Normal,
            record: record(position as u8),
        })
        .collect();
    let mut spool = spool.lock().unwrap();
    spool.append(Timestamp::default(), &emitted).unwrap();
    spool.sync(Timestamp::default()).unwrap();
}

/// Three sinks share one spool: one never answers, one is not there, one works.
#[tokio::test]
async fn a_sink_that_hangs_or_is_dead_blocks_no_other_and_does_not_hold_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.ndjson");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}/", free.local_addr().unwrap());
    drop(free);
    let kinds = [
        ("hanging", receiver(&[]).await),
        ("dead", SinkKind::http(&dead)),
        ("file", SinkKind::file(&path)),
    ];
    let queues = kinds.each_ref().map(|(sink, _)| QueueSettings {
        sink: (*sink).to_owned(),
        priority: Priority::Normal,
        bytes_max: 1 << 20,
        letters_max: 10,
    });
    let all_classes: Vec<QueueSettings> = queues
        .iter()
        .flat_map(|queue| {
            crate::sinks::queue::CLASSES.map(|priority| QueueSettings {
                priority,
                ..queue.clone()
            })
        })
        .collect();
    let (spool, _) = Spool::open(Arc::new(FaultDisk::new()), &all_classes).unwrap();
    let spool = Arc::new(Mutex::new(spool));
    spool_records(&spool, 0..500);

    let (stop, stopping) = watch::channel(false);
    let notified = kinds.each_ref().map(|_| Arc::new(Notify::new()));
    let mut notifies = notified.iter().cloned();
    let [mut hanging, mut dead, mut file] = kinds.map(|(name, kind)| {
        spawn(
            &settings(name, kind),
            Arc::new(SpoolQueue::new(Arc::clone(&spool), name)),
            Arc::new(SystemClock::new()),
            notifies.next().unwrap(),
            stopping.clone(),
        )
        .unwrap()
    });
    until(&mut hanging, |status| status.phase == Phase::Sending).await;
    until(&mut dead, |status| status.counters.retries > 0).await;
    until(&mut file, |status| status.counters.records == 500).await;

    // While one hangs with its batch in flight, records come and go.
    spool_records(&spool, 500..600);
    for notify in &notified {
        notify.notify_one();
    }
    let status = until(&mut file, |status| {
        status.counters.records == 600 && status.phase == Phase::Idle
    })
    .await;
    assert_eq!(status.records_waiting, Some(0));
    let status = hanging.status.borrow().clone();
    assert_eq!((status.phase, status.counters.records), (Phase::Sending, 0));
    let waiting = |sink: &str| {
        let spool = spool.lock().unwrap();
        let id = spool.queue(sink, Priority::Normal).unwrap();
        spool.waiting(id).unwrap().records
    };
    assert_eq!(["hanging", "dead", "file"].map(waiting), [600, 600, 0]);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 600);
    stop.send_replace(true);
    for sink in [hanging, dead, file] {
        timeout(PATIENCE, sink.task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_resume_does_not_wait_for_the_next_attempt() {
    let kind = receiver(&["503 Busy\r\nretry-after: 3600", "200 OK"]).await;
    let mut bench = Bench::start(kind, &[1]);
    bench
        .until(|status| status.phase == Phase::BackingOff)
        .await;
    bench.sink.resume.notify_one();
    let status = bench.until(|status| status.counters.records == 1).await;
    assert_eq!(status.counters.attempts, 2);
    bench.stopped().await;
}
