//! `tidegate device claim open | list | close`: devices that enrol by themselves.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_shared::claim::ClaimId;

use super::args::{ClaimCommand, CloseArgs, ListArgs, OpenArgs};
use super::desk::Desk;
use super::told::{self, Batch};
use super::writing::NewFile;
use super::{page, strange};
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is};
use crate::registry::{Answer, ClaimWish, Order};

/// Runs one of them.
pub(super) fn run(command: &ClaimCommand) -> Result<(), Failure> {
    match command {
        ClaimCommand::Open(args) => open(args),
        ClaimCommand::List(args) => list(args),
        ClaimCommand::Close(args) => close(args),
    }
}

/// Opens a claim, and makes the page that brings its code into every device of the batch.
fn open(args: &OpenArgs) -> Result<(), Failure> {
    let desk = Desk::open(&args.common.config)?;
    let broker = page::broker(&args.page, &desk.settings).ok_or(Failure::NoBroker)?;
    let own = || Path::new(".").join(format!("{}-claim.page", args.prefix));
    let path: PathBuf = args.page.out.clone().unwrap_or_else(own);
    // It is there before the code is made, as with a key.
    let file = NewFile::create(&path)?;
    let wish = ClaimWish {
        prefix: args.prefix.clone(),
        devices_max: args.devices,
        open_us: i64::try_from(args.open_for.as_micros()).unwrap_or(i64::MAX),
    };
    let Answer::ClaimOpened(opened) = desk.ask(&Order::OpenClaim(wish))? else {
        return Err(strange());
    };
    let page = page::claim(&desk.settings, broker.clone(), &opened);
    file.write(&page)?;
    let made = Batch {
        claim: opened.claim,
        broker: format!("{}:{}", broker.host, broker.port),
        command: page::command(&args.page, &path),
        page: path,
        code: args.page.show_key.then(|| opened.code.hex()),
    };
    if args.common.json {
        return print_as_is(&format!("{:#}\n", made.as_json()));
    }
    print(&made.told())?;
    if args.page.no_qr || !io::stdout().is_terminal() {
        return Ok(());
    }
    match page::qr(&page::text(&page)) {
        Some(code) => print_as_is(&format!("\n{code}")),
        None => Ok(()),
    }
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let desk = Desk::open(&args.common.config)?;
    let Answer::ClaimsListed(claims) = desk.ask(&Order::Claims)? else {
        return Err(strange());
    };
    if args.common.json {
        return print_as_is(&format!("{:#}\n", json!({ "claims": claims })));
    }
    print(&told::claims(&claims))
}

fn close(args: &CloseArgs) -> Result<(), Failure> {
    let ClaimId(id) = args.claim;
    let desk = Desk::open(&args.common.config)?;
    let Answer::ClaimClosed(claim) = desk.ask(&Order::CloseClaim(id))? else {
        return Err(strange());
    };
    if args.common.json {
        return print_as_is(&format!("{:#}\n", json!(claim)));
    }
    print(&told::closed(&claim))
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
