//! Whatever bytes come, the server goes on and others are answered.

use proptest::prelude::*;

use super::*;

/// Requests as a fuzzer makes them: right ones with a few bytes of noise, and noise alone.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "GET ",
        "HEAD ",
        "POST ",
        "/",
        "/api/v1/devices?match=",
        "%00",
        "%ff",
        "..",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/9.9\r\n",
        "Host: localhost\r\n",
        "Host: ",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "Connection: close\r\n",
        "Authorization: Basic ",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "ffffffffffffffff\r\n",
        "Upgrade: h2c\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "/api/v1/events",
        "Expect: 100-continue\r\n",
    ]);
    let part = prop_oneof![
        4 => parts.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

#[test]
fn no_bytes_break_it_nor_the_requests_of_others() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let served = runtime.block_on(serve_plain());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let ran = runner.run(&requests(), |bytes| {
        runtime.block_on(async {
            let mut stream = served.connect().await;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
            prop_assert!(read.is_ok(), "it neither answers nor closes");
            prop_assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."));
            prop_assert_eq!(served.get("/api/v1/status", "").await.status, 200);
            Ok(())
        })
    });
    ran.unwrap();
    runtime.block_on(served.until(|counts| counts.connections == 0));
    assert!(served.counts().malformed > 0, "some of it cannot be read");
    drop(served);
}
