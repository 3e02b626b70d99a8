//! Requests of every type, as they are sent.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use super::*;
use crate::rules::parse;
use crate::sinks::http::form_of;

/// The form of a sink, of its keys.
fn form(typed: &str) -> Form {
    let text = format!(
        "[gateway]\nsite = \"hall\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n[sink.up]\n{typed}\n\
         [[rule]]\nname = \"r\"\nmatch = {{ sensor = \"*\" }}\nforward = [\"up\"]\n"
    );
    let (settings, _) = parse(&text, "t.toml").unwrap_or_else(|why| panic!("{typed}: {why:#?}"));
    form_of(&settings.sinks[0].kind).unwrap()
}

/// The requests of these sinks; the golden file says them line by line.
const SINKS: &[&str] = &[
    "type = \"http\"\nurl = \"https://ingest.example/v1/records?site=hall\"",
    "type = \"http\"\nurl = \"https://ingest.example/v1\"\nformat = \"json\"\ncompress = \"zstd\"",
    "type = \"http\"\nurl = \"https://ingest.example/v1\"\nformat = \"postcard\"\ncompress = \"none\"",
    "type = \"influxdb\"\nurl = \"http://127.0.0.1:8086\"\napi = \"v1\"\ndatabase = \"plant\"",
    "type = \"influxdb\"\nurl = \"http://127.0.0.1:8086/\"\napi = \"v1\"\ndatabase = \"plant & co\"\nretention_policy = \"a year\"\ncompress = \"none\"",
    "type = \"influxdb\"\nurl = \"https://influx.example:8086\"\napi = \"v2\"\norg = \"plant, inc.\"\nbucket = \"pumps/hall\"",
    "type = \"influxdb\"\nurl = \"https://proxy.example/influx/\"\napi = \"v3\"\ndatabase = \"plant\"",
    "type = \"prometheus\"\nurl = \"http://127.0.0.1:9090/api/v1/write\"",
    "type = \"otlp\"\nurl = \"http://127.0.0.1:4318/v1/metrics\"",
    "type = \"otlp\"\nurl = \"http://127.0.0.1:4318/v1/metrics\"\ncompress = \"none\"",
];

#[test]
fn requests_are_as_in_the_golden_file() {
    let mut told = String::new();
    for typed in SINKS {
        let form = form(typed);
        writeln!(told, "{}\n  POST {}", typed.replace('\n', "\n  "), form.url).unwrap();
        for (name, value) in form.fixed_headers() {
            writeln!(told, "    {name}: {value}").unwrap();
        }
        let key = if form.is_keyed() {
            "    idempotency-key: …\n"
        } else {
            ""
        };
        writeln!(told, "{key}").unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sinks/http/form/requests.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), told);
}

#[test]
fn json_is_an_array_of_the_pieces() {
    let form = form("type = \"http\"\nurl = \"http://h/\"\nformat = \"json\"\ncompress = \"none\"");
    assert_eq!(
        form.body(b"{\"a\":1},{\"a\":2},").unwrap(),
        b"[{\"a\":1},{\"a\":2}]"
    );
    assert_eq!(form.body(b"{\"a\":[1,]},").unwrap(), b"[{\"a\":[1,]}]");
    assert_eq!(form.body(b"").unwrap(), b"[]");
}

#[test]
fn what_is_compressed_is_smaller_the_same_each_time_and_comes_back() {
    let body = b"{\"id\":\"07\",\"sensor\":\"pressure\"}\n".repeat(500);
    let base = "type = \"http\"\nurl = \"http://h/\"\ncompress =";
    let gzip = form(&format!("{base} \"gzip\"")).body(&body).unwrap();
    let zstd = form(&format!("{base} \"zstd\"")).body(&body).unwrap();
    let snappy = form("type = \"prometheus\"\nurl = \"http://h/w\"")
        .body(&body)
        .unwrap();
    assert_eq!(form(&format!("{base} \"gzip\"")).body(&body).unwrap(), gzip);
    assert_eq!(form(&format!("{base} \"zstd\"")).body(&body).unwrap(), zstd);
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&gzip[..])
        .read_to_end(&mut plain)
        .unwrap();
    assert_eq!(plain, body);
    assert_eq!(zstd::bulk::decompress(&zstd, body.len()).unwrap(), body);
    assert_eq!(
        snap::raw::Decoder::new().decompress_vec(&snappy).unwrap(),
        body
    );
    for sent in [gzip, zstd, snappy] {
        assert!(sent.len() * 5 < body.len(), "{}", sent.len());
    }
}

#[test]
fn user_and_password_of_a_url_are_read_as_they_are_meant() {
    let read = |url: &str| userinfo(url);
    assert_eq!(read("http://h/"), None);
    assert_eq!(read("http://me@h/"), Some(("me".into(), None)));
    assert_eq!(
        read("http://me:a%2Fb+c&d=e%40@h/"),
        Some(("me".into(), Some("a/b+c&d=e@".into())))
    );
}
