//! Makes a settings page without a key: `cargo run -q -p tidegate-board --example page -- SITE DEVICE HOST:PORT >page.bin`.
//!
//! Write it with `probe-rs download page.bin --binary-format bin --base-address ADDRESS --chip CHIP`;
//! the board's README says address and chip.

use std::io::Write;
use std::process::ExitCode;

use tidegate_board::settings::{Broker, Settings};
use tidegate_shared::ids::{DeviceName, SiteName};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [site, device, broker] = arguments.as_slice() else {
        eprintln!("usage: page SITE DEVICE HOST:PORT >page.bin");
        return ExitCode::from(2);
    };
    let settings = match (
        SiteName::try_from(site.as_str()),
        DeviceName::try_from(device.as_str()),
        Broker::parse(broker),
    ) {
        (Ok(site), Ok(device), Some(broker)) => Settings {
            site,
            device,
            broker,
            key: None,
            claim: None,
        },
        (Err(error), ..) => return refuse("site", site, &error.to_string()),
        (_, Err(error), _) => return refuse("device", device, &error.to_string()),
        _ => return refuse("broker", broker, "not HOST:PORT"),
    };
    match std::io::stdout().write_all(&settings.page()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse("page", "standard output", &error.to_string()),
    }
}

fn refuse(what: &str, given: &str, why: &str) -> ExitCode {
    eprintln!("page: {what} {given:?}: {why}");
    ExitCode::FAILURE
}
