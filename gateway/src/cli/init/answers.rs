//! Answers: what a configuration is made of, each checked by the configuration's own checks.

use std::fmt;

use clap::ValueEnum;

use super::shell;
use crate::rules::settings::ServeSettings;
use crate::rules::{Mistake, Severity, parse, shown_url};

/// Where records can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A file on this machine
    File,
    /// POST to a receiver of your own
    Http,
    /// `InfluxDB`
    Influxdb,
    /// Prometheus or `VictoriaMetrics`
    Prometheus,
    /// An OpenTelemetry collector
    Otlp,
    /// A message per record to a broker
    Mqtt,
    /// NATS `JetStream`
    Nats,
    /// The standard output
    Stdout,
}

impl Kind {
    /// As it stands in the configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Http => "http",
            Self::Influxdb => "influxdb",
            Self::Prometheus => "prometheus",
            Self::Otlp => "otlp",
            Self::Mqtt => "mqtt",
            Self::Nats => "nats",
            Self::Stdout => "stdout",
        }
    }

    /// An address that such a sink mostly has.
    fn usual(self) -> &'static str {
        match self {
            Self::File => "records.ndjson",
            Self::Http => "http://127.0.0.1:8080/records",
            Self::Influxdb => "http://127.0.0.1:8086",
            Self::Prometheus => "http://127.0.0.1:9090/api/v1/write",
            Self::Otlp => "http://127.0.0.1:4318/v1/metrics",
            Self::Mqtt => "mqtt://127.0.0.1:1883",
            Self::Nats => "nats://127.0.0.1:4222",
            Self::Stdout => "",
        }
    }
}

/// What is asked, in this order; `To` and `Secret` belong to `Sink`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Site,
    Broker,
    Sink,
    To,
    Secret,
    Every,
}

impl Question {
    pub(super) const ALL: [Self; 6] = [
        Self::Site,
        Self::Broker,
        Self::Sink,
        Self::To,
        Self::Secret,
        Self::Every,
    ];

    /// The flag that answers it.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::Site => "--site",
            Self::Broker => "--broker",
            Self::Sink => "--sink",
            Self::To => "--to",
            Self::Secret => "--secret",
            Self::Every => "--every",
        }
    }
}

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Secret {
    Env(String),
    File(String),
}

/// Why an answer is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All answers, at first the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    site: String,
    broker: String,
    kind: Kind,
    /// Where to; None: where such a sink mostly is.
    to: Option<String>,
    secret: Option<Secret>,
    every: String,
}

impl Answers {
    pub(super) fn of_site(site: &str) -> Self {
        let broker = if cfg!(feature = "embedded-broker") {
            "127.0.0.1:1883"
        } else {
            "mqtt://127.0.0.1:1883"
        };
        Self {
            site: site.to_owned(),
            broker: broker.to_owned(),
            kind: Kind::File,
            to: None,
            secret: None,
            every: "5m".to_owned(),
        }
    }

    /// What is taken when nothing is said.
    pub(super) fn default_of(&self, question: Question) -> &str {
        match question {
            Question::Site => &self.site,
            Question::Broker => &self.broker,
            Question::Sink => self.kind.name(),
            Question::To => self.to(),
            Question::Secret => "none",
            Question::Every => &self.every,
        }
    }

    /// Whether a question is to be asked at all, by what was answered before it.
    pub(super) fn needs(&self, question: Question) -> bool {
        match question {
            Question::To => self.kind != Kind::Stdout,
            // User and password of MQTT are two; the file says how they are written.
            Question::Secret => !matches!(self.kind, Kind::File | Kind::Stdout | Kind::Mqtt),
            _ => true,
        }
    }

    /// These answers and one more, with what is odd about it; the configuration's checks decide.
    pub(super) fn with(
        &self,
        question: Question,
        said: &str,
    ) -> Result<(Self, Vec<String>), Unfit> {
        let mut answers = self.clone();
        match question {
            Question::Site => said.clone_into(&mut answers.site),
            Question::Broker => said.clone_into(&mut answers.broker),
            Question::Sink => answers.kind = kind(said)?,
            Question::To => answers.to = Some(said.to_owned()),
            Question::Secret => answers.secret = secret(said)?,
            Question::Every => said.clone_into(&mut answers.every),
        }
        if !self.needs(question) && answers != *self {
            let kind = self.kind.name();
            return Err(Unfit(format!("a sink of the type {kind} has none")));
        }
        if shown_url(said) != said {
            return Err(Unfit(
                "a password is not typed here: give the URL without it, and write into the file \
                 afterwards where it stands"
                    .to_owned(),
            ));
        }
        match parse(&answers.text("tidegate.toml"), "tidegate.toml") {
            Ok((_, warnings)) => Ok((answers, warnings.iter().map(told).collect())),
            Err(findings) => {
                let mistakes = findings
                    .iter()
                    .filter(|finding| finding.severity == Severity::Mistake);
                Err(Unfit(mistakes.map(told).collect::<Vec<_>>().join("\n")))
            }
        }
    }

    fn to(&self) -> &str {
        self.to.as_deref().unwrap_or(self.kind.usual())
    }

    pub(super) fn every(&self) -> &str {
        &self.every
    }

    /// Where records come, for people.
    pub(super) fn place(&self) -> String {
        match self.kind {
            Kind::File => format!("into {}", self.to()),
            Kind::Stdout => "on the standard output".to_owned(),
            _ => format!("to {}", self.to()),
        }
    }

    /// The configuration; `file` is its name.
    pub(super) fn text(&self, file: &str) -> String {
        let mut text = format!(
            "# Tidegate's configuration, written by `tidegate init`. Check it after a change with\n\
             #\n\
             #     tidegate check {}\n\
             #\n\
             # A running gateway takes rules and limits when this file is saved, the rest when it is\n\
             # started again. Durations are written \"30s\", \"5m\", \"1h\".\n\
             \n\
             [gateway]\n\
             site = {:<26}# names the site in topics and records; devices use the same\n\
             # data_dir = \"./tidegate-data\"   # log, spool and control socket\n\n",
            shell::file(file),
            quoted(&self.site)
        );
        text.push_str(&self.mqtt());
        let page = format!(
            "# The page, for a browser on this machine; docs/http.md says how others may see it.\n\
             [http]\nlisten = {}\n\n",
            quoted(&ServeSettings::LISTEN.to_string())
        );
        text.push_str(&page);
        text.push_str(&self.sink());
        text.push_str(&self.rules());
        text
    }

    fn mqtt(&self) -> String {
        let broker = quoted(&self.broker);
        if self.broker.contains("://") {
            format!(
                "# The broker that devices send to. One that asks for a password has it in the URL:\n\
                 # mqtt://user:password@host:1883; keep this file to yourself then.\n\
                 [mqtt]\nurl = {broker}\n\n"
            )
        } else {
            format!(
                "# The broker inside the gateway; devices connect to this address. 127.0.0.1 is this\n\
                 # machine alone, 0.0.0.0 every network that it is in: it asks nobody for a password.\n\
                 [mqtt]\nembedded = {{ listen = {broker} }}\n\
                 # url = \"mqtt://broker.example:1883\"   # or one of your own\n\n"
            )
        }
    }

    fn sink(&self) -> String {
        let to = quoted(self.to());
        let secret = self.secret.as_ref().map(|secret| match secret {
            Secret::Env(name) => format!("{{ env = {} }}", quoted(name)),
            Secret::File(path) => format!("{{ file = {} }}", quoted(path)),
        });
        let mut keys = match self.kind {
            Kind::File => format!(
                "path = {to}\n\
                 # rotate = {{ size = \"64 MiB\", keep = 30 }}\n"
            ),
            Kind::Stdout => String::new(),
            // A token is what InfluxDB asks for since its second version.
            Kind::Influxdb if secret.is_some() => format!(
                "url = {to}\napi = \"v2\"                       # or \"v3\", with `database`\n\
                 org = \"tidegate\"\nbucket = \"tidegate\"\n"
            ),
            Kind::Influxdb => format!(
                "url = {to}\napi = \"v1\"                       # \"v2\" has `org`, `bucket` and a token\n\
                 database = \"tidegate\"\n"
            ),
            Kind::Mqtt => format!(
                "url = {to}\n\
                 # auth = {{ user = \"hall\", password = {{ env = \"TIDEGATE_MQTT_PASSWORD\" }} }}\n"
            ),
            _ => format!("url = {to}\n"),
        };
        if let Some(secret) = secret {
            let scheme = match self.kind {
                Kind::Influxdb | Kind::Nats => "token",
                _ => "bearer",
            };
            let auth = format!("auth = {{ {scheme} = {secret} }}\n");
            keys.push_str(&auth);
        }
        format!(
            "# Where records go; as many sinks as wanted. docs/sinks.md has every type and its keys.\n\
             [sink.records]\ntype = \"{}\"\n{keys}\n",
            self.kind.name()
        )
    }

    fn rules(&self) -> String {
        // Prometheus takes no second value for a time.
        let late = if self.kind == Kind::Prometheus {
            ", late = \"drop\""
        } else {
            ""
        };
        let every = quoted(&self.every);
        format!(
            "# What becomes of samples; as many rules as wanted. docs/rules.md has the whole language.\n\
             [[rule]]\n\
             name = \"summary\"\n\
             match = {{ sensor = \"*\" }}          # every sensor of every device\n\
             window = {{ tumbling = {every}, lateness = \"30s\"{late} }}\n\
             aggregate = [\"count\", \"mean\", \"min\", \"max\", \"p95\"]\n\
             forward = [\"records\"]\n\
             \n\
             # An alert, to be made yours: it opens when a value is too high for 30 seconds.\n\
             # [[rule]]\n\
             # name = \"too-hot\"\n\
             # match = {{ sensor = \"temperature\" }}\n\
             # alert = {{ when = \"value > 80\", for = \"30s\", clear = \"value < 75\" }}\n\
             # priority = \"high\"\n\
             # forward = [\"records\"]\n"
        )
    }
}

fn kind(said: &str) -> Result<Kind, Unfit> {
    Kind::from_str(said, true).map_err(|_| {
        let names: Vec<_> = Kind::value_variants()
            .iter()
            .map(|kind| kind.name())
            .collect();
        Unfit(format!("\"{said}\" is none of {}", names.join(", ")))
    })
}

fn secret(said: &str) -> Result<Option<Secret>, Unfit> {
    match said.split_once(':') {
        Some(("env", name)) if !name.is_empty() => Ok(Some(Secret::Env(name.to_owned()))),
        Some(("file", path)) if !path.is_empty() => Ok(Some(Secret::File(path.to_owned()))),
        _ if said == "none" => Ok(None),
        // What was typed may be the secret itself: it is not repeated.
        _ => Err(Unfit(
            "say where it stands: env:NAME of a variable, or file:PATH; never the secret itself"
                .to_owned(),
        )),
    }
}

/// A finding without its place: the answer is its place.
fn told(finding: &Mistake) -> String {
    let help = finding.help.as_ref();
    let help = help.map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}: {}{help}", finding.message, finding.expected)
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
