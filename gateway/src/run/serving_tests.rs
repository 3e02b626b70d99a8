//! A real gateway before its own page, API and metrics.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Gateway, RunError};
use crate::http::HttpError;
use crate::rules::parse;
use crate::rules::settings::{MqttSettings, ServeSettings, Settings};

/// Longest wait for an answer; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

fn settings(dir: &std::path::Path) -> Settings {
    let text = format!(
        "[gateway]\nsite = \"plant\"\ndata_dir = \"{0}/data\"\n\
         [mqtt]\nembedded = {{ listen = \"127.0.0.1:1883\" }}\n[http]\n\
         [sink.file]\ntype = \"file\"\npath = \"{0}/records\"\n\
         [[rule]]\nname = \"all\"\nmatch = {{ sensor = \"*\" }}\nforward = [\"file\"]\n",
        dir.display()
    );
    let (mut settings, _) = parse(&text, "test").unwrap();
    assert_eq!(settings.http, Some(ServeSettings::default()));
    // Whichever ports are free.
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    settings.mqtt = MqttSettings::Embedded {
        listen: free,
        tls: None,
    };
    settings.http.as_mut().unwrap().listen = free;
    settings
}

/// Status, head and body of what a path answers.
async fn get(url: &str, path: &str) -> (u16, String, String) {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut text)).await;
    read.expect("an answer comes").unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.into(), body.into())
}

#[tokio::test]
async fn a_gateway_serves_what_it_says_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(settings(dir.path())).await.unwrap();
    let url = gateway.url().unwrap().to_owned();
    // The rules are in force once their entry is on disk.
    let mut asked = 0;
    let in_force = timeout(PATIENCE, async {
        loop {
            let (status, _, overview) = get(&url, "/api/v1/overview").await;
            let overview: Value = serde_json::from_str(&overview).unwrap();
            asked += 1;
            assert_eq!(status, 200);
            assert_eq!(overview["status"]["gateway"]["site"], "plant");
            if overview["rules"][0]["name"] == "all" {
                return;
            }
        }
    });
    in_force.await.expect("the rule comes into force");
    let own = gateway.status().await.unwrap();
    assert_eq!(own.http.unwrap().answered, asked);
    let (_, _, ledger) = get(&url, "/api/v1/ledger").await;
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    assert_eq!(Some(ledger), gateway.ledger().await);
    let (status, head, metrics) = get(&url, "/metrics").await;
    assert!(status == 200 && head.contains("openmetrics"), "{head}");
    assert!(metrics.contains("tidegate_gateway_info{site=\"plant\""));
    let (status, _, devices) = get(&url, "/api/v1/devices").await;
    let devices: Value = serde_json::from_str(&devices).unwrap();
    assert_eq!((status, &devices["total"]), (200, &Value::from(0)));
    let (status, _, _) = get(&url, "/api/v1/devices/none/sensors/none").await;
    assert_eq!(status, 404);
    // It is subscribed after a few turns; until then it says why it is not ready.
    timeout(PATIENCE, async {
        while get(&url, "/readyz").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it becomes ready");
    gateway.stop().await;
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    assert!(TcpStream::connect(address).await.is_err(), "it is closed");
}

#[tokio::test]
async fn a_gateway_whose_page_has_no_port_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut settings = settings(dir.path());
    settings.http.as_mut().unwrap().listen = taken.local_addr().unwrap();
    let started = Gateway::start(settings.clone()).await;
    let Err(RunError::Http(HttpError::InUse { listen })) = started else {
        panic!("two on one port");
    };
    assert_eq!(listen, taken.local_addr().unwrap());
    drop(taken);
    // Nothing was counted or left locked: the next start is the first.
    let gateway = Gateway::start(settings).await.unwrap();
    assert_eq!(gateway.status().await.unwrap().gateway.start, 1);
    gateway.stop().await;
}
