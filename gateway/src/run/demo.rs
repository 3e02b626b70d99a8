//! Demo: a whole plant in one process, on real MQTT and a real disk.
//!
//! The embedded broker on a free loopback port, simulated pumps that run the device library at
//! sixty times their pace, the gateway with a rule per minute, and a file sink. Nothing is
//! installed and nothing leaves the machine; what is shown is the flow of the gateway's overview.

use std::io::{IsTerminal, Write, stdout};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::oneshot;

use super::{Gateway, RunError};
use crate::cli::DemoArgs;
use crate::http::HttpError;
use crate::rules::settings::{MqttSettings, ServeSettings, Settings};
use crate::rules::{Mistake, parse};
use crate::simulate::{self, BrokerAddress, SimulateArgs, SimulateError, Speed};

/// How much faster than life the pumps run.
const SPEED: f64 = 60.0;
/// How long they run, in seconds of their own time: one day, 24 minutes at [`SPEED`].
const DURATION_S: u64 = 86_400;
/// Between two looks at the gateway.
const LOOK: Duration = Duration::from_secs(1);
/// Between two lines where nobody watches a terminal.
const LINE_EVERY: u32 = 5;
const SITE: &str = "demo";
const DEVICE: &str = "pump";

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The gateway did not start.
    #[error(transparent)]
    Gateway(#[from] RunError),
    /// The pumps did not run.
    #[error("the simulated pumps ended early; what they sent is in the ledger")]
    Pumps(#[from] SimulateError),
    /// The demo's own configuration was refused: the directory's name does not fit into it.
    #[error("the demo cannot use the directory {dir}: {why}")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the configuration's reader said.
        why: String,
    },
    /// The system refused.
    #[error("the system refused what the demo needs")]
    System(#[from] std::io::Error),
}

/// What went in and what came out, so far.
#[derive(Debug, Default, Clone, Serialize)]
struct Summary {
    /// Samples logged.
    samples_in: u64,
    /// Records that the sink confirmed.
    records_out: u64,
    /// Payload bytes received from devices.
    bytes_in: u64,
    /// Bytes written by the sink.
    bytes_out: u64,
    /// Bytes of one JSON message per sample.
    bytes_as_json: u64,
    /// How much less that is upstream, in percent; absent before the first record.
    reduction_percent: Option<f64>,
    /// How much less it is from the devices, in percent.
    reduction_in_percent: Option<f64>,
}

/// Runs the demo until its time is over, its day has passed or `stop` completes.
///
/// # Errors
/// What could not be started.
pub async fn demo(args: DemoArgs, stop: impl Future<Output = ()>) -> Result<(), DemoError> {
    let records = args.data_dir.join("records.ndjson");
    let (mut settings, _) =
        parse(&config(&args), "demo").map_err(|mistakes| DemoError::Directory {
            dir: args.data_dir.clone(),
            why: mistakes
                .iter()
                .map(Mistake::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        })?;
    // A free port: the demo must not be in the way of a broker that runs here already.
    settings.mqtt = MqttSettings::Embedded {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        tls: None,
    };
    settings.http = page(&args);
    let gateway = start(settings, args.listen.is_none()).await?;
    let (stop_pumps, stopped) = oneshot::channel::<()>();
    let pumps = start_pumps(&args, &gateway, stopped)?;
    let mut view = View::new(&args, &records.display().to_string(), gateway.url());

    let mut pumps_ended = pumps.ended;
    let over = async {
        match args.run_for {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(stop, over);
    let mut last = None;
    let outcome = loop {
        // What a busy gateway cannot say now it says with the next look.
        if let Some(newest) = summary(&gateway).await {
            view.show(&newest);
            last = Some(newest);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            ended = &mut pumps_ended => break ended.unwrap_or(Ok(())),
            () = &mut stop => break Ok(()),
            () = &mut over => break Ok(()),
        }
    };
    // The pumps say goodbye while the gateway can still ack it.
    let _ = stop_pumps.send(());
    let _ = tokio::time::timeout(Duration::from_secs(10), &mut pumps_ended).await;
    let last = summary(&gateway).await.or(last);
    gateway.stop().await;
    if let Some(last) = last {
        view.finish(&last);
    }
    Ok(outcome?)
}

/// Where the page is served, if it is.
fn page(args: &DemoArgs) -> Option<ServeSettings> {
    let listen = args.listen.unwrap_or(ServeSettings::LISTEN);
    (!args.no_page).then(|| ServeSettings {
        listen,
        ..ServeSettings::default()
    })
}

/// Starts the gateway; where the page's port is taken and nobody chose it, on a free one.
async fn start(mut settings: Settings, may_move: bool) -> Result<Gateway, RunError> {
    let first = Gateway::start(settings.clone()).await;
    match (first, &mut settings.http) {
        (Err(RunError::Http(HttpError::InUse { .. })), Some(http)) if may_move => {
            http.listen.set_port(0);
            Gateway::start(settings).await
        }
        (first, _) => first,
    }
}

fn config(args: &DemoArgs) -> String {
    let quoted = |name: &str| {
        let path = args.data_dir.join(name).display().to_string();
        toml::Value::String(path).to_string()
    };
    let (data_dir, records) = (quoted("gateway"), quoted("records.ndjson"));
    format!(
        r#"
[gateway]
site = "{SITE}"
data_dir = {data_dir}
[mqtt]
embedded = {{ listen = "127.0.0.1:1883" }}
[sink.file]
type = "file"
path = {records}
[[rule]]
name = "minute"
match = {{ sensor = "*" }}
window = {{ tumbling = "1m", lateness = "10s" }}
aggregate = ["count", "mean", "min", "max", "p95"]
forward = ["file"]
"#
    )
}

struct Pumps {
    ended: oneshot::Receiver<Result<(), SimulateError>>,
}

/// The pumps have a thread of their own: devices run on single-threaded executors.
fn start_pumps(
    args: &DemoArgs,
    gateway: &Gateway,
    stopped: oneshot::Receiver<()>,
) -> Result<Pumps, DemoError> {
    let broker = BrokerAddress {
        host: gateway.broker().host.clone(),
        port: gateway.broker().port,
        is_secure: false,
    };
    let mut pumps = SimulateArgs::plant(DEVICE, SITE, broker);
    pumps.devices = args.devices;
    pumps.speed = Speed::Times(SPEED);
    pumps.duration = DURATION_S;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name("pumps".into()).spawn(move || {
        let stop = async {
            let _ = stopped.await;
        };
        let outcome = runtime.block_on(simulate::run_until(&pumps, stop, |_| {}));
        let _ = end.send(outcome.map(drop));
    })?;
    Ok(Pumps { ended })
}

/// None where the gateway is too busy to say.
async fn summary(gateway: &Gateway) -> Option<Summary> {
    let flow = gateway.overview().await?.flow;
    let mut summary = Summary {
        samples_in: flow.samples,
        records_out: flow.records,
        bytes_in: flow.received_bytes,
        bytes_out: flow.sent_bytes,
        bytes_as_json: flow.samples_as_json_bytes,
        ..Summary::default()
    };
    let less = |bytes: u64| {
        (bytes > 0 && summary.bytes_as_json > 0)
            .then(|| 100.0 * (1.0 - bytes as f64 / summary.bytes_as_json as f64))
    };
    summary.reduction_percent = less(summary.bytes_out);
    summary.reduction_in_percent = less(summary.bytes_in);
    Some(summary)
}

/// Where the summary goes.
enum View {
    Json,
    Lines { looks: u32 },
    Terminal(ProgressBar),
}

impl View {
    fn new(args: &DemoArgs, records: &str, url: Option<&str>) -> Self {
        if args.json {
            return Self::Json;
        }
        let devices = args.devices;
        println!(
            "Tidegate demo: {devices} simulated pumps at {SPEED}x, embedded broker, one rule per minute.\n\
             Records go to {records}; ctrl-c ends it."
        );
        if let Some(url) = url {
            println!("The page is at {url}");
        }
        println!();
        if !stdout().is_terminal() {
            return Self::Lines { looks: 0 };
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{msg}\n  {elapsed} {spinner}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self::Terminal(bar)
    }

    fn show(&mut self, summary: &Summary) {
        match self {
            Self::Json => json_line(summary),
            Self::Lines { looks } => {
                if *looks % LINE_EVERY == 0 {
                    println!("{}", line(summary));
                }
                *looks += 1;
            }
            Self::Terminal(bar) => bar.set_message(block(summary)),
        }
    }

    fn finish(self, summary: &Summary) {
        match self {
            Self::Json => json_line(summary),
            Self::Lines { .. } => println!("{}", block(summary)),
            Self::Terminal(bar) => {
                bar.finish_and_clear();
                println!("{}", block(summary));
            }
        }
        let _ = stdout().flush();
    }
}

fn json_line(summary: &Summary) {
    if let Ok(text) = serde_json::to_string(summary) {
        println!("{text}");
    }
}

fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(
        || "not known yet".into(),
        |percent| format!("{percent:.1} % less than JSON"),
    )
}

fn line(summary: &Summary) -> String {
    format!(
        "samples in {}, records out {}, bytes in {}, bytes out {}, upstream {}",
        HumanCount(summary.samples_in),
        HumanCount(summary.records_out),
        HumanBytes(summary.bytes_in),
        HumanBytes(summary.bytes_out),
        percent(summary.reduction_percent),
    )
}

fn block(summary: &Summary) -> String {
    format!(
        "  samples in    {:>14}\n  records out   {:>14}\n  bytes in      {:>14}   from the devices, {}\n  \
         bytes out     {:>14}   upstream, {}\n  as JSON       {:>14}   one message per sample",
        HumanCount(summary.samples_in).to_string(),
        HumanCount(summary.records_out).to_string(),
        HumanBytes(summary.bytes_in).to_string(),
        percent(summary.reduction_in_percent),
        HumanBytes(summary.bytes_out).to_string(),
        percent(summary.reduction_percent),
        HumanBytes(summary.bytes_as_json).to_string(),
    )
}
