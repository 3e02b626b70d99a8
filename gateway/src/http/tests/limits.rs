//! The server at its limits: connections, heads, readers that take nothing.

use std::sync::atomic::Ordering;

use super::*;

#[tokio::test]
async fn connections_beyond_the_most_are_refused_until_one_ends() {
    let served = serve(ServeSettings::default(), |limits| limits.connections = 2).await;
    let held = [served.connect().await, served.connect().await];
    served.until(|counts| counts.connections == 2).await;
    let refused = served.get("/healthz", "").await;
    assert_eq!((refused.status, served.counts().busy), (503, 1));
    assert!(refused.error().contains("too many connections"));
    let told_bytes = refused.body.len().to_string();
    assert_eq!(refused.header("content-length"), Some(&*told_bytes));
    drop(held);
    served.until(|counts| counts.connections == 0).await;
    assert_eq!(served.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn connections_of_an_address_are_bounded_but_not_those_of_this_machine() {
    let served = serve(ServeSettings::default(), |limits| {
        limits.connections_per_address = 2;
        // As if this machine were another one.
        limits.is_exempt = |_| false;
    })
    .await;
    let held = [served.connect().await, served.connect().await];
    served.until(|counts| counts.connections == 2).await;
    let refused = served.get("/healthz", "").await;
    assert_eq!((refused.status, served.counts().busy), (503, 1));
    drop(held);
    served.until(|counts| counts.connections == 0).await;
    assert_eq!(served.get("/healthz", "").await.status, 200);

    let served = serve(ServeSettings::default(), |limits| {
        limits.connections_per_address = 2;
    })
    .await;
    let _held = [served.connect().await, served.connect().await];
    served.until(|counts| counts.connections == 2).await;
    assert_eq!(served.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let served = serve(ServeSettings::default(), |limits| {
        limits.idle = Duration::from_millis(50);
    })
    .await;
    for begun in ["", "GET / HTTP/1.1\r\nHost: local"] {
        let mut stream = served.connect().await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{begun:?} was waited for");
    }
    // So does one that was answered and asks no more; it has time to ask.
    let served = serve(ServeSettings::default(), |limits| {
        limits.idle = Duration::from_secs(2);
    })
    .await;
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(Heard::read(&mut stream).await.status, 200);
    served.until(|counts| counts.connections == 0).await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let served = serve_plain().await;
    let header = format!("X-Long: {}\r\n", "x".repeat(32 << 10));
    assert_eq!(served.get("/", &header).await.status, 431);
    let many = "X: y\r\n".repeat(1_000);
    assert_eq!(served.get("/", &many).await.status, 431);
    served.until(|counts| counts.malformed == 2).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_let_go_and_counted() {
    let served = serve(ServeSettings::default(), |limits| {
        limits.take = Duration::from_millis(100);
    })
    .await;
    {
        // More than the system's buffers hold.
        let mut all = served.plant.devices.lock().unwrap();
        let one = all[0].clone();
        *all = (0..20_000).map(|_| one.clone()).collect();
    }
    let mut stream = served.connect().await;
    let asked =
        request("GET", "/api/v1/devices?limit=500", "").replace("Connection: close\r\n", "");
    // A few hundred KiB each, and none is taken.
    for _ in 0..200 {
        if stream.write_all(asked.as_bytes()).await.is_err() {
            break;
        }
    }
    let counts = served.until(|counts| counts.slow == 1).await;
    assert!(counts.answered >= 1);
    served.until(|counts| counts.connections == 0).await;
    // Others were answered meanwhile, and are now.
    assert_eq!(served.get("/healthz", "").await.status, 200);
}

/// A ledger that the system's buffers do not hold.
fn large_ledger() -> Value {
    Value::from("row ".repeat(4 << 20))
}

#[tokio::test]
async fn few_large_answers_are_told_at_a_time_until_each_was_taken_or_left() {
    let served = serve(ServeSettings::default(), |limits| limits.large = 1).await;
    *served.plant.ledger.lock().unwrap() = large_ledger();
    let mut reader = served.connect().await;
    let asked = request("GET", "/api/v1/ledger", "");
    reader.write_all(asked.as_bytes()).await.unwrap();
    served.until(|counts| counts.answered == 1).await;
    let large = [
        "/api/v1/ledger",
        "/api/v1/bill",
        "/api/v1/devices?limit=201",
    ];
    for path in large {
        let heard = served.get(path, "").await;
        assert_eq!(
            (heard.status, heard.header("retry-after")),
            (503, Some("2")),
            "{path}"
        );
        assert!(heard.error().contains("large answers"));
    }
    assert_eq!((served.counts().busy, served.counts().unanswered), (3, 0));
    for path in ["/api/v1/devices?limit=200", "/api/v1/overview"] {
        assert_eq!(served.get(path, "").await.status, 200, "{path}");
    }
    // All of it was kept for its reader, and its place is free once it has it.
    let heard = Heard::read(&mut reader).await;
    assert_eq!((heard.status, heard.body.len()), (200, (16 << 20) + 2));
    served.until(|counts| counts.connections == 0).await;
    for path in &large[1..] {
        assert_eq!(served.get(path, "").await.status, 200, "{path}");
    }
    // So it is when the reader leaves.
    let mut reader = served.connect().await;
    reader.write_all(asked.as_bytes()).await.unwrap();
    let answered = served.counts().answered;
    served.until(|counts| counts.answered == answered + 1).await;
    drop(reader);
    served.until(|counts| counts.connections == 0).await;
    assert_eq!(served.get("/api/v1/bill", "").await.status, 200);
}

#[tokio::test]
async fn a_reader_that_takes_a_little_now_and_then_is_let_go_and_counted() {
    let served = serve(ServeSettings::default(), |limits| {
        limits.take = 2 * PATIENCE;
        limits.whole = Duration::from_millis(200);
    })
    .await;
    *served.plant.ledger.lock().unwrap() = large_ledger();
    let mut reader = served.connect().await;
    let asked = request("GET", "/api/v1/ledger", "");
    reader.write_all(asked.as_bytes()).await.unwrap();
    let reads = timeout(PATIENCE, async {
        let mut few = [0; 16];
        while served.counts().slow == 0 {
            let _ = reader.read(&mut few).await;
            tokio::task::yield_now().await;
        }
    });
    reads.await.expect("it is let go");
    served.until(|counts| counts.connections == 0).await;
    assert_eq!(served.get("/api/v1/bill", "").await.status, 200);
}

#[tokio::test]
async fn fifty_who_ask_at_once_are_one_question_to_the_gateway() {
    let served = serve(ServeSettings::default(), |limits| {
        // Longer than the slowest machine takes.
        limits.fresh = 10 * PATIENCE;
    })
    .await;
    let (overviews, statuses) = (&served.plant.overviews, &served.plant.statuses);
    for (paths, asked) in [
        (["/readyz", "/api/v1/status"], (0, 1)),
        (["/api/v1/overview", "/metrics"], (1, 1)),
    ] {
        let mut all = Vec::new();
        for path in paths.iter().cycle().take(50) {
            let mut stream = served.connect().await;
            let asked = request("GET", path, "");
            stream.write_all(asked.as_bytes()).await.unwrap();
            all.push(stream);
        }
        for stream in &mut all {
            let heard = Heard::read(stream).await;
            assert!(heard.header("retry-after").is_none(), "{heard:?}");
        }
        let counted = (
            overviews.load(Ordering::Relaxed),
            statuses.load(Ordering::Relaxed),
        );
        assert_eq!(counted, asked, "{paths:?}");
    }
    // Streams of events tell the same overview.
    let mut listener = served.connect().await;
    let asked = request("GET", "/api/v1/events", "");
    listener.write_all(asked.as_bytes()).await.unwrap();
    let selections = &served.plant.selections;
    let told = timeout(PATIENCE, async {
        while selections.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    });
    told.await.expect("a stream is composed");
    assert_eq!(overviews.load(Ordering::Relaxed), 1);
}
