//! `tidegate explain`: what became of the sample nearest to a time.

use super::args::ExplainArgs;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{print, print_as_is};
use super::progress::{Of, Progress};
use crate::explain::{self, ExplainError, Question};

/// Shows it; fails with a code of its own when it cannot be told.
pub(super) fn show(args: &ExplainArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    Failure::need_data(&settings.data_dir)?;
    let question = Question {
        device: args.device.clone(),
        sensor: args.sensor.clone(),
        time_us: args.time,
    };
    let disk = explain::look(&settings).map_err(failed)?;
    let progress = Progress::begin("explain", Of::Entries, !args.json);
    let answer = explain::explain(
        &disk,
        (&settings.site, settings.log, &settings.sinks),
        &question,
        &mut |done, whole| progress.show(done, whole),
    );
    progress.end();
    let answer = answer.map_err(failed)?;
    if args.json {
        let json = serde_json::to_string_pretty(&answer).map_err(|error| Failure::Failed {
            command: "explain",
            source: error.into(),
        })?;
        print_as_is(&format!("{json}\n"))?;
    } else {
        print(&answer.to_string())?;
    }
    match answer.unknown {
        Some(why) => Err(Failure::FateUnknown { why: why.told() }),
        None => Ok(()),
    }
}

fn failed(error: ExplainError) -> Failure {
    Failure::Failed {
        command: "explain",
        source: error.into(),
    }
}
