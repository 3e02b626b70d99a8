//! `tidegate check`: everything that is wrong with a configuration, or what it would do.

use serde_json::json;

use super::args::CheckArgs;
use super::config::{count_mistakes, read};
use super::failure::Failure;
use super::output::{look, print, print_as_is, say};
use crate::rules::settings::{MqttSettings, Secret, Settings};
use crate::rules::{Kind, Mistake, Severity, draw, mistake_at, parse};
use crate::sinks::secret;
use crate::{at_rest, http, mqtt};

/// Names of a kind that the summary shows.
const NAMES_SHOWN_MAX: usize = 8;

/// Checks a file.
pub(super) fn check(args: &CheckArgs) -> Result<(), Failure> {
    let text = read(&args.file)?;
    let file = args.file.to_string_lossy();
    let parsed = parse(&text, &file).and_then(|found| with_files(found, &text, &file));
    let (settings, findings) = match &parsed {
        Ok((settings, warnings)) => (Some(settings), warnings),
        Err(findings) => (None, findings),
    };
    if args.json {
        print_as_is(&as_json(&file, settings, findings))?;
    } else {
        say(&draw(findings, &text, look()));
        if let Some(settings) = settings {
            print(&format!("{}\n", summary(&file, settings)))?;
        }
    }
    match settings {
        Some(_) => Ok(()),
        None => Err(Failure::ConfigMistaken {
            mistakes: count_mistakes(findings),
            file: file.into_owned(),
        }),
    }
}

/// The same, or mistakes where the files of certificates and keys that it names cannot be used: that
/// is better found out before the gateway is started.
fn with_files(
    (settings, mut warnings): (Settings, Vec<Mistake>),
    text: &str,
    file: &str,
) -> Result<(Settings, Vec<Mistake>), Vec<Mistake>> {
    let at = |place: (&str, &str), why: &str| mistake_at(text, file, place, why);
    let checked = settings.http.as_ref().map_or(Ok(()), http::check_tls);
    if let Err(why) = checked {
        warnings.push(at(("http", "tls"), &why.to_string()));
    }
    if let Err(why) = mqtt::check_tls(&settings.mqtt) {
        let key = match &settings.mqtt {
            MqttSettings::Embedded { .. } => "embedded",
            MqttSettings::External { .. } => "tls",
        };
        warnings.push(at(("mqtt", key), &why.to_string()));
    }
    let key = settings.security.key.as_ref();
    warnings.extend(key.and_then(|key| doubtful_key(key, at)));
    if count_mistakes(&warnings) > 0 {
        return Err(warnings);
    }
    Ok((settings, warnings))
}

/// What is wrong with the file of `security.key`; one in the environment may only be there for the
/// gateway.
fn doubtful_key(key: &Secret, at: impl Fn((&str, &str), &str) -> Mistake) -> Option<Mistake> {
    let place = ("security", "key");
    secret::path_of(key)?;
    if let Err(why) = at_rest::key::read_bytes("security.key", key) {
        return Some(at(place, &why.to_string()));
    }
    let path = at_rest::key::open_to_others(key)?;
    let why = format!("anybody on this machine may read {}", path.display());
    Some(Mistake {
        severity: Severity::Warning,
        kind: Kind::Exposed,
        expected: "whoever has this key can read those of all devices".to_owned(),
        help: Some(format!("chmod o-r {}", path.display())),
        ..at(place, &why)
    })
}

/// What the configuration would do, in a line.
pub(super) fn summary(file: &str, settings: &Settings) -> String {
    let sinks = settings.sinks.iter().map(|sink| sink.name.as_str());
    let rules = settings.rules.rules.iter().map(|rule| rule.name.as_str());
    format!(
        "{file} is right: site {}; {}; {}",
        settings.site,
        names("sink", &sinks.collect::<Vec<_>>()),
        names("rule", &rules.collect::<Vec<_>>())
    )
}

/// `2 sinks (cloud, local)`.
fn names(noun: &str, names: &[&str]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    let shown: Vec<&str> = names.iter().copied().take(NAMES_SHOWN_MAX).collect();
    let more = if names.len() > shown.len() {
        ", …"
    } else {
        ""
    };
    if names.is_empty() {
        format!("no {noun}s")
    } else {
        format!(
            "{} {noun}{plural} ({}{more})",
            names.len(),
            shown.join(", ")
        )
    }
}

fn as_json(file: &str, settings: Option<&Settings>, findings: &[Mistake]) -> String {
    let of = |severity| -> Vec<&Mistake> {
        let some = findings.iter();
        some.filter(|finding| finding.severity == severity)
            .collect()
    };
    let names = |pick: fn(&Settings) -> Vec<String>| settings.map(pick).unwrap_or_default();
    let value = json!({
        "file": file,
        "ok": settings.is_some(),
        "mistakes": of(Severity::Mistake),
        "warnings": of(Severity::Warning),
        "sinks": names(|settings| settings.sinks.iter().map(|sink| sink.name.clone()).collect()),
        "rules": names(|settings| settings.rules.rules.iter().map(|rule| rule.name.clone()).collect()),
    });
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::{Value, json};

    use super::{as_json, with_files};
    use crate::rules::{Kind, Severity, parse};

    fn told(text: &str) -> Value {
        let parsed = parse(text, "tidegate.toml");
        let (settings, findings) = match &parsed {
            Ok((settings, warnings)) => (Some(settings), warnings),
            Err(findings) => (None, findings),
        };
        serde_json::from_str(&as_json("tidegate.toml", settings, findings)).unwrap()
    }

    const RIGHT: &str = "[gateway]\nsite = \"s\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n\
                         [sink.disk]\ntype = \"file\"\npath = \"p\"\n\
                         [[rule]]\nname = \"minute\"\nmatch = { sensor = [\"*\", \"a\"] }\n\
                         forward = [\"disk\"]\n";

    #[test]
    fn a_certificate_that_cannot_be_used_is_a_mistake_at_its_place() {
        let pair = "cert = \"/nowhere/cert.pem\", key = \"k.pem\"";
        let url = "url = \"mqtt://127.0.0.1\"";
        let page = format!("{RIGHT}[http]\ntls = {{ {pair} }}\n");
        let broker = RIGHT.replace(
            url,
            "tls = { ca = \"/nowhere/ca.pem\" }\nurl = \"mqtts://127.0.0.1\"",
        );
        let inside = format!("embedded = {{ listen = \"127.0.0.1:8883\", tls = {{ {pair} }} }}");
        let inside = RIGHT.replace(url, &inside);
        for (text, place, said) in [
            (&page, (13, 7), "http.tls.cert = /nowhere/cert.pem"),
            (&broker, (4, 7), "mqtt.tls.ca = /nowhere/ca.pem"),
            (
                &inside,
                (4, 12),
                "mqtt.embedded.tls.cert = /nowhere/cert.pem",
            ),
        ] {
            let parsed = parse(text, "tidegate.toml").unwrap();
            let found = with_files(parsed, text, "tidegate.toml").unwrap_err();
            let mistake = found.last().unwrap();
            assert_eq!(mistake.severity, Severity::Mistake);
            assert_eq!((mistake.line, mistake.column), place);
            assert!(mistake.message.contains(said), "{mistake}");
        }
        let without = page.replace("tls =", "# tls =");
        let parsed = parse(&without, "tidegate.toml").unwrap();
        assert!(with_files(parsed, &without, "tidegate.toml").is_ok());
    }

    #[test]
    fn a_key_that_is_none_is_a_mistake_and_one_that_anybody_reads_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let text = format!(
            "{RIGHT}[security]\nkey = {{ file = \"{}\" }}\n",
            path.display()
        );
        let found = || {
            with_files(
                parse(&text, "tidegate.toml").unwrap(),
                &text,
                "tidegate.toml",
            )
        };
        for (content, said) in [
            (None, "cannot be read"),
            (Some("short"), "openssl rand -hex 32"),
        ] {
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let mistakes = found().unwrap_err();
            let mistake = mistakes.last().unwrap();
            assert_eq!((mistake.line, mistake.column), (13, 7));
            assert!(mistake.message.contains(said), "{mistake}");
        }
        fs::write(&path, "07".repeat(32)).unwrap();
        for (mode, is_warned) in [(0o644, true), (0o640, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let (_, warnings) = found().unwrap();
            let told = warnings.iter().any(|warning| warning.kind == Kind::Exposed);
            assert_eq!(told, is_warned, "{mode:o}");
        }
    }

    #[test]
    fn warnings_are_told_apart_from_mistakes() {
        let warned = told(RIGHT);
        assert_eq!(warned["ok"], json!(true));
        assert_eq!(warned["mistakes"], json!([]));
        assert_eq!(warned["sinks"], json!(["disk"]));
        assert_eq!(warned["rules"], json!(["minute"]));
        assert_eq!(
            warned["warnings"],
            json!([{
                "severity": "warning",
                "kind": "unused",
                "file": "tidegate.toml",
                "line": 10,
                "column": 26,
                "end_column": 29,
                "message": "\"a\" adds nothing to `sensor`",
                "expected": "\"*\" matches all of it",
                "help": "take it out",
            }])
        );
        let wrong = told(&RIGHT.replace("\"disk\"", "\"disc\""));
        assert_eq!(wrong["ok"], json!(false));
        assert_eq!(wrong["mistakes"][0]["kind"], json!("unknown-name"));
        assert_eq!(
            wrong["mistakes"][0]["help"],
            json!("did you mean \"disk\"?")
        );
        assert_eq!(wrong["warnings"].as_array().map(Vec::len), Some(1));
        assert_eq!(wrong["rules"], json!([]));
    }
}
