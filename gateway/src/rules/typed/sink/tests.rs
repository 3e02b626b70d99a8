//! Every type of sink, as its keys are read.

use std::path::PathBuf;

use crate::rules::parse;
use crate::rules::settings::*;

/// The settings of one sink, whose keys are `typed`, with no warning but those told.
fn read(typed: &str) -> (SinkSettings, Vec<String>) {
    let text = format!(
        "[gateway]\nsite = \"hall\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n[sink.up]\n{typed}\n\
         [[rule]]\nname = \"r\"\nmatch = {{ sensor = \"*\" }}\n\
         window = {{ tumbling = \"1m\", late = \"drop\" }}\naggregate = [\"mean\"]\nforward = [\"up\"]\n"
    );
    let (settings, warnings) =
        parse(&text, "t.toml").unwrap_or_else(|mistakes| panic!("{typed}: {mistakes:#?}"));
    let warnings = warnings.iter().map(ToString::to_string).collect();
    (settings.sinks.into_iter().next().unwrap(), warnings)
}

fn kind(typed: &str) -> SinkKind {
    let (settings, warnings) = read(typed);
    assert_eq!(warnings, [""; 0], "{typed}");
    settings.kind
}

/// What is said of keys that are mistaken.
fn mistakes(typed: &str) -> String {
    let text = format!(
        "[gateway]\nsite = \"hall\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n[sink.up]\n{typed}\n\
         [[rule]]\nname = \"r\"\nmatch = {{ sensor = \"*\" }}\nforward = [\"up\"]\n"
    );
    let mistakes = parse(&text, "t.toml").expect_err(typed);
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn http_reads_who_sends_and_in_which_shape() {
    let SinkKind::Http(http) = kind(
        "type = \"http\"\nurl = \"https://host/x\"\nformat = \"json\"\ncompress = \"zstd\"\n\
         auth = { user = \"me\", password = { env = \"PW\" } }\n\
         headers = { X-Tenant = \"7\", x-api-key = { file = \"/k\" } }\n\
         tls = { ca = \"/ca.pem\", cert = \"/c.pem\", key = \"/k.pem\" }",
    ) else {
        panic!("not http");
    };
    assert_eq!(http.format, HttpFormat::Json);
    assert_eq!(http.compression, Compression::Zstd);
    assert_eq!(
        http.endpoint.auth,
        HttpAuth::Basic {
            user: "me".into(),
            password: Secret::Env("PW".into())
        }
    );
    let secret = HeaderValue::Secret(Secret::File("/k".into()));
    assert_eq!(
        http.endpoint.headers,
        [
            ("x-tenant".into(), HeaderValue::Text("7".into())),
            ("x-api-key".into(), secret)
        ]
    );
    let tls = TlsSettings {
        ca: Some("/ca.pem".into()),
        client: Some(("/c.pem".into(), "/k.pem".into())),
        ..TlsSettings::default()
    };
    assert_eq!(http.endpoint.tls, tls);
}

#[test]
fn influxdb_has_three_write_endpoints() {
    let base = "type = \"influxdb\"\nurl = \"http://127.0.0.1:8086\"\n";
    for (typed, api) in [
        (
            "api = \"v1\"\ndatabase = \"d\"\nretention_policy = \"week\"",
            InfluxdbApi::V1 {
                database: "d".into(),
                retention_policy: Some("week".into()),
            },
        ),
        (
            "api = \"v2\"\norg = \"o\"\nbucket = \"b\"\nauth = { token = { env = \"T\" } }",
            InfluxdbApi::V2 {
                org: "o".into(),
                bucket: "b".into(),
            },
        ),
        (
            "api = \"v3\"\ndatabase = \"d\"",
            InfluxdbApi::V3 {
                database: "d".into(),
            },
        ),
    ] {
        let SinkKind::Influxdb(influxdb) = kind(&format!("{base}{typed}")) else {
            panic!("not influxdb");
        };
        assert_eq!(influxdb.api, api);
        assert_eq!(influxdb.measurement.parts, [TemplatePart::Rule]);
    }
    let said = mistakes(&format!(
        "{base}api = \"v3\"\ndatabase = \"d\"\norg = \"o\""
    ));
    assert!(said.contains("only api = \"v2\" has it"), "{said}");
}

#[test]
fn prometheus_and_otlp_have_defaults() {
    let SinkKind::Prometheus(prometheus) =
        kind("type = \"prometheus\"\nurl = \"http://127.0.0.1:9090/api/v1/write\"")
    else {
        panic!("not prometheus");
    };
    assert_eq!(prometheus.prefix, "tidegate");
    assert!(!prometheus.label_revisions);
    let SinkKind::Otlp(otlp) = kind("type = \"otlp\"\nurl = \"http://127.0.0.1:4318/v1/metrics\"")
    else {
        panic!("not otlp");
    };
    assert_eq!(otlp.compression, Compression::Gzip);
}

#[test]
fn mqtt_has_a_port_by_its_scheme_and_a_topic_by_default() {
    let SinkKind::Mqtt(mqtt) =
        kind("type = \"mqtt\"\nurl = \"mqtts://Broker.example\"\nretain = true")
    else {
        panic!("not mqtt");
    };
    assert_eq!((mqtt.host.as_str(), mqtt.port), ("Broker.example", 8883));
    assert_eq!(mqtt.tls, Some(TlsSettings::default()));
    assert_eq!(mqtt.version, MqttVersion::V5);
    let MqttPayload::Json { topic } = &mqtt.payload else {
        panic!("not json");
    };
    assert_eq!(topic.parts.len(), 8);
    let SinkKind::Mqtt(mqtt) = kind(
        "type = \"mqtt\"\nurl = \"mqtt://[::1]\"\nversion = \"3.1.1\"\npayload = \"sparkplug-b\"",
    ) else {
        panic!("not mqtt");
    };
    assert_eq!(
        (mqtt.host.as_str(), mqtt.port, mqtt.tls),
        ("::1", 1883, None)
    );
    let payload = MqttPayload::SparkplugB {
        group: "hall".into(),
        edge_node: "tidegate".into(),
    };
    assert_eq!(mqtt.payload, payload);
}

#[test]
fn nats_speaks_tls_by_its_scheme_or_its_key() {
    for (typed, tls) in [
        ("url = \"nats://127.0.0.1\"", None),
        ("url = \"tls://host:4222\"", Some(TlsSettings::default())),
        (
            "url = \"nats://host\"\ntls = { ca = \"/ca.pem\" }\nauth = { credentials = \"/u.creds\" }",
            Some(TlsSettings {
                ca: Some("/ca.pem".into()),
                ..TlsSettings::default()
            }),
        ),
    ] {
        let SinkKind::Nats(nats) = kind(&format!("type = \"nats\"\n{typed}")) else {
            panic!("not nats");
        };
        assert_eq!(nats.tls, tls, "{typed}");
        assert_eq!(nats.subject.parts.len(), 8);
    }
}

#[test]
fn files_are_rotated_and_stdout_has_no_keys() {
    let SinkKind::File(file) = kind(
        "type = \"file\"\npath = \"a.parquet\"\nformat = \"parquet\"\n\
         rotate = { size = \"1 MiB\", age = \"1h\", keep = 3 }",
    ) else {
        panic!("not file");
    };
    assert_eq!(file.path, PathBuf::from("a.parquet"));
    assert_eq!(
        file.rotation,
        Rotation {
            bytes_max: Some(1 << 20),
            age_max_ms: Some(3_600_000),
            files_max: Some(3)
        }
    );
    let (settings, _) = read("type = \"stdout\"");
    assert_eq!(settings.kind, SinkKind::Stdout);
    assert_eq!(
        (settings.drain_bytes_per_s, settings.drain_spread_ms),
        (None, 0)
    );
    let (settings, _) = read("type = \"nats\"\nurl = \"nats://127.0.0.1\"\ndrain_spread = \"1s\"");
    assert_eq!(
        settings.drain_bytes_per_s,
        Some(SinkSettings::DRAIN_BYTES_PER_S)
    );
    assert_eq!(settings.drain_spread_ms, 1_000);
}

#[test]
fn a_secret_is_told_how_it_is_given_and_never_shown() {
    for typed in [
        "type = \"http\"\nurl = \"https://h/\"\nauth = { bearer = \"sesame\" }",
        "type = \"http\"\nurl = \"https://h/\"\nheaders = { Authorization = \"Bearer sesame\" }",
        "type = \"mqtt\"\nurl = \"mqtts://h\"\nauth = { user = \"u\", password = \"sesame\" }",
        "type = \"otlp\"\nurl = \"https://u:sesame@h/v1/metrics\"",
        "type = \"mqtt\"\nurl = \"mqtts://u:sesame@h\"",
        "type = \"nats\"\nurl = \"nats://u:sesame@h\"",
    ] {
        let said = mistakes(typed);
        assert!(
            said.contains("{ file = \"") && !said.contains("sesame"),
            "{said}"
        );
    }
}

#[test]
fn a_secret_on_an_open_line_is_warned_of() {
    let auth = "auth = { user = \"u\", password = { env = \"P\" } }";
    for (typed, warns) in [
        ("type = \"http\"\nurl = \"http://far.example/\"", true),
        ("type = \"http\"\nurl = \"http://127.0.0.1/\"", false),
        ("type = \"http\"\nurl = \"https://far.example/\"", false),
        ("type = \"mqtt\"\nurl = \"mqtt://far.example\"", true),
        ("type = \"mqtt\"\nurl = \"mqtt://localhost\"", false),
        ("type = \"nats\"\nurl = \"nats://far.example\"", true),
        ("type = \"nats\"\nurl = \"tls://far.example\"", false),
    ] {
        let (_, warnings) = read(&format!("{typed}\n{auth}"));
        assert_eq!(warnings.len(), usize::from(warns), "{typed}: {warnings:?}");
    }
}

#[test]
fn slips_are_told_with_what_was_meant() {
    let mqtt = "type = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\n";
    let nats = "type = \"nats\"\nurl = \"nats://127.0.0.1\"\n";
    for (typed, said) in [
        (format!("{mqtt}topic = \"a/{{devise}}\""), "did you mean {device}?"),
        (format!("{mqtt}topic = \"a/{{device\""), "brace"),
        (format!("{mqtt}topic = \"a/+/b\""), "only subscribers"),
        (format!("{mqtt}topic = \"a//b\""), "nothing in it"),
        (format!("{mqtt}topic = \"/a\""), "nothing in it"),
        (format!("{mqtt}topic = \"$SYS/a\""), "the broker's own"),
        (format!("{mqtt}tls = {{}}"), "write mqtts://"),
        (format!("{mqtt}retain = true\npayload = \"sparkplug-b\""), "forbids retained"),
        (format!("{mqtt}group = \"g\""), "only payload = \"sparkplug-b\""),
        (format!("{nats}subject = \"a.>\""), "only subscribers"),
        (format!("{nats}subject = \"a..b\""), "nothing in it"),
        (format!("{nats}subject = \"a b\""), "a blank"),
        (format!("{nats}auth = {{ bearer = {{ env = \"T\" }} }}"), "unknown key `bearer`"),
        ("type = \"file\"\npath = \"a\"\nformat = \"parquet\"".into(), "nothing says when"),
        ("type = \"file\"\npath = \"a\"\nrotate = { keep = 2 }".into(), "`size` or `age`"),
        ("type = \"influxdb\"\nurl = \"http://127.0.0.1/write?db=a\"\napi = \"v3\"\ndatabase = \"d\"".into(), "says more than"),
        ("type = \"influxdb\"\nurl = \"http://127.0.0.1\"\napi = \"v1\"\ndatabase = \"d\"\ncompress = \"zstd\"".into(), "does not take zstd"),
        ("type = \"otlp\"\nurl = \"https://h/\"\ntls = { cert = \"c.pem\" }".into(), "`cert` without `key`"),
        ("type = \"otlp\"\nurl = \"https://h/\"\ntls = { key = \"k.pem\" }".into(), "`key` without `cert`"),
        ("type = \"otlp\"\nurl = \"http://h/\"\ntls = { ca = \"k.pem\" }".into(), "write https://"),
        ("type = \"otlp\"\nurl = \"https://h/\"\nheaders = { Host = \"x\" }".into(), "set by the gateway"),
        ("type = \"otlp\"\nurl = \"https://h/\"\nheaders = { \"a b\" = \"x\" }".into(), "name of a header"),
        ("type = \"otlp\"\nurl = \"https://h/\"\nheaders = { A = \"x\", a = \"y\" }".into(), "given twice"),
        ("type = \"otlp\"\nurl = \"https://h/\"\nheaders = { a = \"x\\ny\" }".into(), "value of a header"),
        ("type = \"http\"\nurl = \"https://h/\"\nauth = { token = { file = \"a\", env = \"b\" } }".into(), "names two places"),
        ("type = \"http\"\nurl = \"https://h/\"\nauth = { token = {} }".into(), "does not say where"),
        ("type = \"http\"\nurl = \"https://h/\"\nauth = {}".into(), "does not say who sends"),
        ("type = \"http\"\nurl = \"https://h/\"\nauth = { user = \"u\" }".into(), "has no `password`"),
        ("type = \"http\"\nurl = \"https://h/\"\nauth = { user = \"a:b\", password = { env = \"P\" } }".into(), "a colon"),
        ("type = \"http\"\nurl = \"https://h/\"\nauth = { bearer = { env = \"P Q\" } }".into(), "environment variable"),
        ("type = \"prometheus\"\nurl = \"https://h/\"\nprefix = \"9a\"".into(), "begin the name"),
        ("type = \"kafka\"\nurl = \"h\"".into(), "not in this version"),
    ] {
        let all = mistakes(&typed);
        assert!(all.contains(said), "{typed}\nwanted {said:?}, said:\n{all}");
    }
}

/// The page of sinks.
const PAGE: &str = include_str!("../../../../../docs/sinks.md");

#[test]
fn the_examples_on_the_page_of_sinks_are_right() {
    let examples = PAGE.split("```toml\n").skip(1);
    let examples: Vec<&str> = examples
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() >= 11, "{}", examples.len());
    for example in examples {
        let names: Vec<String> = example
            .lines()
            .filter_map(|line| line.strip_prefix("[sink.")?.strip_suffix(']'))
            .map(|name| format!("\"{name}\""))
            .collect();
        assert!(!names.is_empty(), "{example}");
        let text = format!(
            "[gateway]\nsite = \"hall\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n{example}\n\
             [[rule]]\nname = \"minute\"\nmatch = {{ sensor = \"*\" }}\n\
             window = {{ tumbling = \"1m\" }}\naggregate = [\"mean\"]\nforward = [{}]\n",
            names.join(", ")
        );
        let (_, warnings) =
            parse(&text, "sinks.md").unwrap_or_else(|why| panic!("{example}\n{why:#?}"));
        assert_eq!(warnings, [], "{example}");
    }
}

#[test]
fn the_page_of_sinks_has_every_type_and_every_key() {
    let schema = crate::rules::schema();
    let sink = &schema["properties"]["sink"]["additionalProperties"];
    let keys = sink["properties"].as_object().unwrap();
    for key in keys.keys().filter(|key| *key != "type") {
        let is_told = PAGE.contains(&format!("`{key}`"))
            || PAGE.contains(&format!("`{key}."))
            || PAGE.contains(&format!("\n{key} = "));
        assert!(is_told, "{key}");
    }
    for (name, _) in super::keys::TYPES {
        assert!(PAGE.contains(&format!("\n## {name}\n")), "{name}");
    }
}
