//! `tidegate ledger`: where every sample went, from the running gateway or from its files.

use serde_json::Value;

use super::args::LedgerArgs;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::print;
use super::table;
use super::wiring;
use crate::control::{self, AskError};
use crate::rules::settings::Settings;

/// Shows the ledger.
pub(super) fn show(args: &LedgerArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let (ledger, origin) = fetch(&settings)?;
    if args.json {
        print(&format!("{ledger:#}\n"))
    } else {
        let shown = settings.data_dir.display();
        print(&format!(
            "ledger of site {}, {origin} {shown}\n\n{}",
            settings.site,
            table::render(&ledger)
        ))
    }
}

/// Asks the running gateway first: its counters are ahead of its files. Only when nobody answers
/// are the files read, and then they are left as they are.
fn fetch(settings: &Settings) -> Result<(Value, &'static str), Failure> {
    let data_dir = &settings.data_dir;
    match control::ask(data_dir, control::Command::Ledger) {
        Ok(ledger) => Ok((ledger, "from the gateway that runs on")),
        Err(AskError::NotRunning { .. }) if !data_dir.is_dir() => Err(Failure::NoData {
            path: data_dir.clone(),
        }),
        Err(AskError::NotRunning { .. }) => {
            Ok((wiring::read_ledger(settings)?, "from the files in"))
        }
        Err(why) => Err(why.into()),
    }
}
