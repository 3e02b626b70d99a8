//! `tidegate device add | list | show | rotate | revoke | release | rename | claim | export | import
//! | mosquitto`.

mod args;
mod claim;
mod desk;
mod mosquitto;
mod moving;
mod page;
mod told;
mod writing;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_firmware::settings::Broker;
use tidegate_shared::ids::DeviceName;

pub use self::args::DeviceCommand;
use self::args::{CommonArgs, IssueArgs, ListArgs, PageArgs, RenameArgs, ShowArgs};
use self::desk::Desk;
use self::told::{Made, listed, shown};
use self::writing::NewFile;
use super::failure::Failure;
use super::output::{print, print_as_is};
use crate::registry::order::Issued;
use crate::registry::{Answer, Order};

/// Runs one of them.
pub(super) fn run(command: &DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add(args) => issue(args, Order::Add, told::ADDED),
        DeviceCommand::List(args) => list(args),
        DeviceCommand::Show(args) => show(&args.common, &Order::Show(args.device.clone())),
        DeviceCommand::Rotate(args) => issue(args, Order::Rotate, told::ROTATED),
        DeviceCommand::Revoke(args) => revoke(args),
        DeviceCommand::Release(args) => show(&args.common, &Order::Release(args.device.clone())),
        DeviceCommand::Rename(args) => rename(args),
        DeviceCommand::Claim(command) => claim::run(command),
        DeviceCommand::Export(args) => moving::export(args),
        DeviceCommand::Import(args) => moving::import(args),
        DeviceCommand::Mosquitto(args) => mosquitto::write(args),
    }
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Failed {
        command: "tidegate device",
        source: Box::new(source),
    }
}

/// An answer to another order than the one given.
fn strange() -> Failure {
    failed(io::Error::other(
        "the gateway answered something else: gateway and command may differ in version",
    ))
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let desk = Desk::open(&args.common.config)?;
    let Answer::Listed(devices) = desk.ask(&Order::List)? else {
        return Err(strange());
    };
    if args.common.json {
        return print_as_is(&format!("{:#}\n", json!({ "devices": devices })));
    }
    print(&listed(&devices))
}

fn show(args: &CommonArgs, order: &Order) -> Result<(), Failure> {
    let Answer::Shown(device) = Desk::open(&args.config)?.ask(order)? else {
        return Err(strange());
    };
    if args.json {
        return print_as_is(&format!("{:#}\n", json!(device)));
    }
    print(&shown(&device))
}

fn revoke(args: &ShowArgs) -> Result<(), Failure> {
    show(&args.common, &Order::Revoke(args.device.clone()))
}

fn issue(
    args: &IssueArgs,
    order: fn(DeviceName) -> Order,
    meaning: &'static str,
) -> Result<(), Failure> {
    let device = &args.device;
    bring(
        &args.common,
        &args.page,
        device,
        &order(device.clone()),
        meaning,
    )
}

fn rename(args: &RenameArgs) -> Result<(), Failure> {
    let order = Order::Rename {
        from: args.from.clone(),
        to: args.to.clone(),
    };
    bring(&args.common, &args.page, &args.to, &order, told::RENAMED)
}

/// Gives an order that issues a key, and makes the page that brings it into the device.
fn bring(
    common: &CommonArgs,
    args: &PageArgs,
    device: &DeviceName,
    order: &Order,
    meaning: &'static str,
) -> Result<(), Failure> {
    let desk = Desk::open(&common.config)?;
    let broker = page::broker(args, &desk.settings).ok_or(Failure::NoBroker)?;
    let path = args.out.clone().unwrap_or_else(|| page_path(device));
    // It is there before the key is made: a key that nobody has is of no use.
    let file = NewFile::create(&path)?;
    let Answer::Issued(issued) = desk.ask(order)? else {
        return Err(strange());
    };
    let page = page::page(&desk.settings, broker.clone(), &issued);
    file.write(&page)?;
    let mut made = made(args, &broker, &issued, &path, meaning);
    made.shuts_out = shuts_out(&desk, order);
    if common.json {
        return print_as_is(&format!("{:#}\n", made.as_json()));
    }
    print(&made.told())?;
    if args.no_qr || !io::stdout().is_terminal() {
        return Ok(());
    }
    match page::qr(&page::text(&page)) {
        Some(code) => print_as_is(&format!("\n{code}")),
        None => Ok(()),
    }
}

/// Whom an order shuts out, where the device that it added is the first one.
fn shuts_out(desk: &Desk, order: &Order) -> Option<&'static str> {
    let Order::Add(added) = order else {
        return None;
    };
    let security = &desk.settings.security;
    if security.frames(false) == security.frames(true) {
        return None;
    }
    // What was ordered is done, and told even if the list cannot be had.
    let Ok(Answer::Listed(devices)) = desk.ask(&Order::List) else {
        return None;
    };
    let is_first = matches!(&devices[..], [only] if only.device == *added && only.issued == 1);
    is_first.then_some(told::FIRST)
}

fn page_path(device: &DeviceName) -> PathBuf {
    // A name may begin with what a shell takes for an option.
    Path::new(".").join(format!("{device}.page"))
}

fn made(
    args: &PageArgs,
    broker: &Broker,
    issued: &Issued,
    path: &Path,
    meaning: &'static str,
) -> Made {
    Made {
        device: issued.device.clone(),
        mark: issued.mark,
        broker: format!("{}:{}", broker.host, broker.port),
        page: path.to_owned(),
        command: page::command(args, path),
        key: args.show_key.then(|| issued.key.hex()),
        meaning,
        shuts_out: None,
    }
}

#[cfg(test)]
mod tests;
