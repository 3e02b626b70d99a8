//! What is answered to which request, and to whom.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::*;
use crate::http::answer::HEADERS;
use crate::rules::settings::Secret;

#[tokio::test]
async fn every_path_says_what_the_gateway_says() {
    let served = serve_plain().await;
    let whole = |value: &dyn erased::Json| value.json();
    let told = [
        ("/api/v1/overview", whole(&overview())),
        ("/api/v1/status", whole(&overview().status)),
        (
            "/api/v1/devices",
            json!({ "total": 3, "offset": 0, "devices": devices() }),
        ),
        ("/api/v1/devices/pump-1", whole(&devices()[0])),
        (
            "/api/v1/devices/pump-1/sensors/vibration.rms",
            whole(&chart()),
        ),
        ("/api/v1/ledger", json!({ "devices": {}, "sinks": {} })),
    ];
    for (path, expected) in told {
        let heard = served.get(path, "").await;
        assert_eq!((heard.status, heard.json()), (200, expected), "{path}");
        assert_eq!(heard.header("content-type"), Some("application/json"));
        assert_eq!(heard.header("cache-control"), Some("no-store"));
    }
    let bill = served.get("/api/v1/bill", "").await.json();
    assert_eq!(bill["standing"]["month"], "2026-03");
    assert_eq!(
        bill["bill"]["months"]["2026-03"]["totals"]["cloud"]["records"],
        1
    );
}

mod erased {
    /// Anything that becomes JSON.
    pub(super) trait Json {
        fn json(&self) -> serde_json::Value;
    }
    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap()
        }
    }
}

#[tokio::test]
async fn devices_are_selected_by_name_health_and_place() {
    let served = serve_plain().await;
    let names = async |query: &str| -> (Value, Vec<Value>) {
        let heard = served.get(&format!("/api/v1/devices?{query}"), "").await;
        assert_eq!(heard.status, 200, "{query}: {heard:?}");
        let devices = heard.json();
        let list = devices["devices"].as_array().unwrap();
        let names = list.iter().map(|device| device["name"].clone());
        (devices["total"].clone(), names.collect())
    };
    assert_eq!(names("match=*-2").await, (json!(1), vec![json!("pump-2")]));
    assert_eq!(
        names("health=silent").await,
        (json!(1), vec![json!("pump-3")])
    );
    assert_eq!(
        names("offset=1&limit=1").await,
        (json!(3), vec![json!("pump-2")])
    );
    assert_eq!(names("match=&health=").await.0, json!(3));
    // Escapes in a query are read.
    assert_eq!(names("match=pump%2D%3F").await.0, json!(3));
}

#[tokio::test]
async fn what_cannot_be_answered_says_why_and_what_to_do() {
    let served = serve_plain().await;
    let long = "x".repeat(100);
    for (path, status, said) in [
        ("/api/v1/devices?limit=501", 400, "expected 0 to 500"),
        ("/api/v1/devices?limit=-1", 400, "expected 0 to 500"),
        ("/api/v1/devices?helth=live", 400, "did you mean `health`?"),
        ("/api/v1/devices?health=well", 400, "expected live, late"),
        ("/api/v1/devices?offset=1&offset=2", 400, "twice"),
        (&format!("/api/v1/devices?match={long}"), 400, "64 bytes"),
        ("/api/v1/overview?match=a", 400, "none is taken here"),
        ("/api/v1/devices/pump-9", 404, "no device \"pump-9\""),
        ("/api/v1/devices/pump-*", 404, "no device \"pump-*\""),
        ("/api/v1/devices/%ff", 400, "names are A-Z"),
        (
            "/api/v1/devices/pump-1/sensors/none",
            404,
            "no sensor \"none\"",
        ),
        (
            "/api/v1/devices/%2e%2e/sensors/..%2fpasswd",
            404,
            "no sensor",
        ),
        ("/api/v2/overview", 404, "nothing at /api/v2/overview"),
        ("/../../etc/passwd", 404, "nothing at"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "nothing at"),
        ("/page/index.html", 404, "nothing at"),
        ("//", 404, "nothing at"),
    ] {
        let heard = served.get(path, "").await;
        assert_eq!(heard.status, status, "{path}: {heard:?}");
        assert!(heard.error().contains(said), "{path}: {}", heard.error());
    }
    let heard = served.get(&format!("/{}", "x".repeat(3_000)), "").await;
    assert_eq!((heard.status, heard.error().contains("2048")), (414, true));
}

#[tokio::test]
async fn nothing_but_get_and_head_is_taken() {
    let served = serve_plain().await;
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND",
    ] {
        let heard = served
            .raw(request(method, "/api/v1/overview", "").as_bytes())
            .await;
        assert_eq!(heard.status, 405, "{method}");
        assert_eq!(heard.header("allow"), Some("get, head"));
        assert!(heard.header("access-control-allow-origin").is_none());
    }
    let heard = served
        .raw(request("HEAD", "/api/v1/overview", "").as_bytes())
        .await;
    assert_eq!((heard.status, heard.body.len()), (200, 0));
    let body = "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    let heard = served.raw(body.as_bytes()).await;
    assert_eq!(
        (heard.status, heard.header("connection")),
        (413, Some("close"))
    );
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_others_out() {
    let served = serve_plain().await;
    for path in ["/", "/api/v1/overview", "/nowhere", "/healthz", "/page.js"] {
        let heard = served.get(path, "").await;
        for (name, value) in HEADERS {
            let found = heard.header(name.as_str());
            assert_eq!(found, Some(value.to_lowercase().as_str()), "{path}");
        }
    }
}

#[tokio::test]
async fn a_page_is_sent_once_and_loads_nothing_from_elsewhere() {
    let served = serve_plain().await;
    for (path, kind, text) in crate::http::pages::FILES {
        let first = served.get(path, "").await;
        assert_eq!(
            (first.status, first.header("content-type")),
            (200, Some(kind))
        );
        assert_eq!(first.text(), text);
        // Names of XML's vocabularies, and of what the description speaks, are fetched by nobody.
        let elsewhere = first.text().replace("http://www.w3.org/", "");
        assert!(!elsewhere.contains("://"), "{path} names another place");
        let tag = first.header("etag").unwrap().to_owned();
        let again = served.get(path, &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        let other = served.get(path, "If-None-Match: \"0\"\r\n").await;
        assert_eq!(other.body, first.body);
    }
}

#[tokio::test]
async fn a_busy_gateway_says_so_and_a_stuck_one_is_not_waited_for() {
    let served = serve(ServeSettings::default(), |limits| {
        limits.answer = Duration::from_millis(50);
    })
    .await;
    served.plant.busy.store(true, Ordering::Relaxed);
    for path in ["/api/v1/overview", "/api/v1/devices/pump-1", "/readyz"] {
        let heard = served.get(path, "").await;
        assert_eq!(
            (heard.status, heard.header("retry-after")),
            (503, Some("2"))
        );
    }
    served.plant.stuck.store(true, Ordering::Relaxed);
    let heard = served.get("/api/v1/status", "").await;
    assert_eq!(
        (heard.status, heard.header("retry-after")),
        (503, Some("2"))
    );
    assert!(heard.error().contains("is safe"));
    assert_eq!(served.get("/healthz", "").await.status, 200);
    assert_eq!(served.counts().unanswered, 4);
}

#[tokio::test]
async fn readiness_names_what_keeps_the_gateway_from_working() {
    let served = serve_plain().await;
    let heard = served.get("/readyz", "").await;
    let told = heard.json();
    assert_eq!((heard.status, &told["ready"]), (503, &json!(false)));
    assert_eq!(told["reasons"][0]["state"], "log-failing");
    assert_eq!(told["reasons"][0]["fault"], "disk-full");
    // Neither the sink's name nor the receiver's words: anybody may ask.
    assert!(!heard.text().contains("cloud") && !heard.text().contains("401"));
    assert_eq!(
        told["reasons"].as_array().unwrap().len(),
        2,
        "dead letters keep nothing"
    );
    {
        let mut overview = served.plant.overview.lock().unwrap();
        overview.status.works_as_usual = true;
        overview.status.states.clear();
    }
    let heard = served.get("/readyz", "").await;
    assert_eq!(heard.json(), json!({ "ready": true, "reasons": [] }));
    assert_eq!(heard.status, 200);
    // "Not ready" is an answer too.
    assert_eq!(
        (served.counts().answered, served.counts().unanswered),
        (2, 0)
    );
}

#[tokio::test]
async fn another_name_is_refused_where_no_secret_is_asked_for() {
    let settings = ServeSettings {
        hosts: vec!["gateway.local".into()],
        ..ServeSettings::default()
    };
    let served = serve(settings, |_| {}).await;
    let ask = async |head: &str| {
        let request = format!("GET /api/v1/overview HTTP/1.1\r\nConnection: close\r\n{head}\r\n");
        served.raw(request.as_bytes()).await.status
    };
    for host in ["localhost", "127.0.0.1:8380", "[::1]:80", "Gateway.Local:1"] {
        assert_eq!(ask(&format!("Host: {host}\r\n")).await, 200, "{host}");
    }
    for head in [
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: 127.0.0.1.evil.example:8380\r\n",
        "Host: \r\n",
        "",
        "Host: localhost\r\nHost: evil.example\r\n",
    ] {
        assert_eq!(ask(head).await, 421, "{head}");
    }
    let proxied = "GET http://evil.example/api/v1/overview HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(served.raw(proxied.as_bytes()).await.status, 421);
    // Nor is one that cannot be read, such as latin 1, and UTF-8 in front of a name of its own.
    for host in [
        b"Host: l\xf6calhost\r\n".as_slice(),
        b"Host: \xc3\xb6.localhost\r\n",
    ] {
        let head = b"GET /api/v1/overview HTTP/1.1\r\nConnection: close\r\n";
        let request = [head.as_slice(), host, b"\r\n"].concat();
        assert_eq!(served.raw(&request).await.status, 421, "{host:?}");
    }
    assert_eq!(served.counts().foreign_host, 9);
    // Who watches whether it lives may call it anything.
    let health = "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(served.raw(health.as_bytes()).await.status, 200);
}

/// Settings that ask for the token `sesame` or the password `open`.
pub(super) fn guarded(folder: &std::path::Path) -> ServeSettings {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        Some(Secret::File(path))
    };
    ServeSettings {
        token: write("token", "sesame\n"),
        password: write("password", "open\n"),
        ..ServeSettings::default()
    }
}

#[tokio::test]
async fn a_secret_opens_what_is_closed_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let served = serve(guarded(folder.path()), |_| {}).await;
    let open = ["/healthz", "/readyz"];
    for path in [
        "/",
        "/api/v1/overview",
        "/api/v1/events",
        "/page.js",
        "/nowhere",
    ] {
        let heard = served.get(path, "").await;
        assert_eq!(heard.status, 401, "{path}");
        assert!(
            heard
                .header("www-authenticate")
                .unwrap()
                .contains("basic realm")
        );
    }
    for path in open {
        assert_ne!(served.get(path, "").await.status, 401, "{path}");
    }
    // someone:open, :sesame
    for shown in [
        "Bearer sesame",
        "Bearer open",
        "Basic c29tZW9uZTpvcGVu",
        "basic OnNlc2FtZQ==",
    ] {
        let header = format!("Authorization: {shown}\r\n");
        assert_eq!(
            served.get("/api/v1/overview", &header).await.status,
            200,
            "{shown}"
        );
    }
    assert_eq!(
        served.counts().unauthorised,
        0,
        "asking without one is no guess"
    );
    for shown in ["Bearer Sesame", "Bearer ", "Basic !!", "Digest x"] {
        let header = format!("Authorization: {shown}\r\n");
        let heard = served.get("/api/v1/overview", &header).await;
        assert_eq!(heard.status, 401, "{shown}");
        assert!(!heard.text().contains("esame"));
    }
    assert_eq!(served.counts().unauthorised, 4);
}

#[tokio::test]
async fn who_guesses_has_to_wait_also_with_the_right_secret() {
    let folder = tempfile::tempdir().unwrap();
    let served = serve(guarded(folder.path()), |_| {}).await;
    let ask = async |secret: &str| {
        let header = format!("Authorization: Bearer {secret}\r\n");
        served.get("/api/v1/overview", &header).await
    };
    let mut refused = None;
    // Each wrong one doubles the wait, so that soon one comes within it.
    for guess in 0..20 {
        let heard = ask(&guess.to_string()).await;
        if heard.status == 429 {
            refused = Some(heard);
            break;
        }
        assert_eq!(heard.status, 401);
    }
    let refused = refused.expect("guessing is slowed down");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait));
    assert!(served.counts().guessing >= 1);
    // Without a secret the answer is the usual one.
    assert_eq!(served.get("/", "").await.status, 401);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let served = serve_plain().await;
    let settings = ServeSettings {
        listen: served.at,
        ..ServeSettings::default()
    };
    let Err(why) = Door::open(&settings).await else {
        panic!("two servers on one port");
    };
    let why = why.to_string();
    assert!(
        why.contains(&served.at.to_string()) && why.contains("http.listen"),
        "{why}"
    );
}
