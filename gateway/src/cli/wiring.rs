//! Wiring: from a command to the room that does it.

use std::path::Path;

use serde_json::Value;

use super::args::DemoArgs;
use super::failure::{AnyError, Failure};
use super::signal::StopSignals;
use crate::rules::settings::Settings;

/// Arguments of `simulate`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SimulateArgs {
    /// Arguments of the simulation
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<String>,
}

/// A part that this build does not have.
#[derive(Debug, thiserror::Error)]
#[error("this build does not have {part}; nothing was done")]
struct NotBuilt {
    part: &'static str,
}

/// Runs the gateway until it is asked to stop.
pub(super) fn run(settings: Settings) -> Result<(), Failure> {
    within_runtime("run", async {
        let signals = StopSignals::listen()?;
        // SEAM: crate::run::run(settings, signals.stop()).await.map_err(Into::into)
        drop((settings, signals.stop()));
        Err(NotBuilt {
            part: "the gateway",
        }
        .into())
    })
}

// SEAM: crate::run::demo(args) inside within_runtime
pub(super) fn demo(args: DemoArgs) -> Result<(), Failure> {
    within_runtime("demo", async {
        drop(args);
        Err(NotBuilt { part: "the demo" }.into())
    })
}

// SEAM: crate::simulate::run(args), with crate::simulate::SimulateArgs for the struct above
pub(super) fn simulate(args: SimulateArgs) -> Result<(), Failure> {
    within_runtime("simulate", async {
        drop(args.arguments);
        Err(NotBuilt {
            part: "the simulation",
        }
        .into())
    })
}

// SEAM: crate::store::read_ledger(data_dir)
/// Reads the ledger from the files of a gateway that does not run.
pub(super) fn read_ledger(data_dir: &Path) -> Result<Value, Failure> {
    let _ = data_dir;
    failed(
        "ledger",
        Err(NotBuilt {
            part: "a reader of its files",
        }
        .into()),
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
