//! Wiring: from a command to the room that does it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::args::DemoArgs;
use super::failure::{AnyError, Failure};
use super::signal::StopSignals;
use crate::budget::Billed;
use crate::ledger::balance::Balances;
use crate::rules::settings::{Settings, SinkSettings};
use crate::run::Supervisor;
use crate::run::reload::Source;
use crate::simulate::SimulateArgs;
use crate::sinks::{self, probe::Probed};
use crate::time::{Clock, SystemClock};

/// Runs the gateway until it is asked to stop.
pub(super) fn run(settings: Settings, file: PathBuf, text: String) -> Result<(), Failure> {
    within_runtime("run", async {
        let signals = StopSignals::listen()?;
        let source = Source {
            file,
            text,
            hangups: Some(StopSignals::hangups()?),
        };
        let supervisor = Supervisor::from_environment();
        Ok(crate::run::run(settings, source, supervisor, signals.stop()).await?)
    })
}

/// Runs the demo.
pub(super) fn demo(args: DemoArgs) -> Result<(), Failure> {
    within_runtime("demo", async {
        let signals = StopSignals::listen()?;
        Ok(Box::pin(crate::run::demo::demo(args, signals.stop())).await?)
    })
}

/// Runs simulated devices to the end of what they sample.
pub(super) fn simulate(args: SimulateArgs) -> Result<(), Failure> {
    // A device runs on one thread; so does everything that drives it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { source })?;
    let run = runtime.block_on(crate::simulate::run(args));
    failed("simulate", run.map(drop).map_err(Into::into))
}

/// Sends a probe to a sink.
pub(super) fn probe(sink: &SinkSettings, site: &str) -> Result<Probed, Failure> {
    let mut drawn = [0; 16];
    getrandom::fill(&mut drawn).map_err(|error| Failure::System {
        source: std::io::Error::other(error),
    })?;
    within_runtime("tidegate sink test", async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Ok(sinks::probe::probe(sink, site, drawn, &clock).await?)
    })
}

/// Reads the ledger from the files of a gateway that does not run.
pub(super) fn read_ledger(settings: &Settings) -> Result<Value, Failure> {
    failed(
        "ledger",
        crate::store::read_ledger(settings).map_err(Into::into),
    )
}

/// Reads the bill from the files of a gateway that does not run.
pub(super) fn read_bill(settings: &Settings) -> Result<Billed, Failure> {
    failed(
        "bill",
        crate::store::read_bill(settings).map_err(Into::into),
    )
}

/// Reads the balances since a moment from the files of a gateway, running or not.
pub(super) fn read_since(
    settings: &Settings,
    now: Balances,
    asked_us: i64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Balances, Failure> {
    failed(
        "ledger",
        crate::store::read_since(settings, now, asked_us, progress).map_err(Into::into),
    )
}

/// Runs a future to its end on threads of its own: two, since the store has its own and a
/// gateway's machine has few.
fn within_runtime<T>(
    command: &'static str,
    work: impl Future<Output = Result<T, AnyError>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| Failure::System { source })?;
    failed(command, runtime.block_on(work))
}

fn failed<T>(command: &'static str, result: Result<T, AnyError>) -> Result<T, Failure> {
    result.map_err(|source| Failure::Failed { command, source })
}
