//! `tidegate ledger`: where every sample went, from the running gateway or from its files.

use serde_json::Value;

use super::args::LedgerArgs;
use super::books;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{print, print_as_is};
use super::progress::{Of, Progress};
use super::table;
use super::wiring;
use crate::control::{self, AskError};
use crate::ledger::balance::Balances;
use crate::rules::settings::Settings;

/// Shows the ledger, and fails when the books do not balance.
pub(super) fn show(args: &LedgerArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let (mut ledger, origin) = fetch(&settings)?;
    let mut balances: Balances =
        serde_json::from_value(ledger["balances"].clone()).map_err(|source| Failure::Failed {
            command: "ledger",
            source: source.into(),
        })?;
    if let Some(asked) = args.since {
        balances = since(&settings, balances, asked.us())?;
        ledger["balances"] = serde_json::json!(balances);
    }
    if args.json {
        print_as_is(&format!("{ledger:#}\n"))?;
    } else {
        let shown = settings.data_dir.display();
        let books = books::render(&balances);
        // Of a time there are no counters by reason, only balances.
        let counters = args.since.is_none().then(|| {
            if let Some(fields) = ledger.as_object_mut() {
                fields.remove("balances");
            }
            format!("\ncounters\n\n{}", table::render(&ledger))
        });
        print(&format!(
            "ledger of site {}, {origin} {shown}\n\n{books}{}",
            settings.site,
            counters.unwrap_or_default(),
        ))?;
    }
    judge(&balances, args.strict)
}

fn judge(balances: &Balances, strict: bool) -> Result<(), Failure> {
    if !balances.balanced {
        return Err(Failure::Unbalanced);
    }
    if strict && balances.unknown {
        return Err(Failure::Unknown);
    }
    Ok(())
}

fn since(settings: &Settings, now: Balances, asked_us: i64) -> Result<Balances, Failure> {
    let progress = Progress::begin("ledger", Of::Entries, true);
    let found = wiring::read_since(settings, now, asked_us, &mut |done, whole| {
        progress.show(done, whole);
    });
    progress.end();
    found
}

/// Asks the running gateway first: its counters are ahead of its files. Only when nobody answers
/// are the files read, and then they are left as they are.
fn fetch(settings: &Settings) -> Result<(Value, &'static str), Failure> {
    let data_dir = &settings.data_dir;
    match control::ask(data_dir, &control::Command::Ledger) {
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
