//! `tidegate device export | import`: all devices and their keys, from one gateway to another.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::args::{ExportArgs, ImportArgs};
use super::desk::Desk;
use super::failed;
use super::writing::NewFile;
use crate::at_rest;
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is};
use crate::cli::status::number;
use crate::disk::{Disk, RealDisk};
use crate::registry::order::Exported;
use crate::registry::{Answer, Imported, Key, Order, store};
use crate::rules::settings::Secret;

/// Writes the registry into a file.
pub(super) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let desk = Desk::open(&args.common.config)?;
    let key = key_of(args.key_file.as_deref())?;
    let file = NewFile::create(&args.out)?;
    let Answer::Exported(exported) = desk.ask(&Order::Export { key })? else {
        return Err(super::strange());
    };
    let sealed = BASE64_STANDARD.decode(&exported.sealed).map_err(failed)?;
    file.write(&sealed)?;
    if args.common.json {
        let told = json!({ "file": args.out, "devices": exported.devices });
        return print_as_is(&format!("{told:#}\n"));
    }
    print(&told_of_export(args, &exported))
}

fn told_of_export(args: &ExportArgs, exported: &Exported) -> String {
    let (key, option) = match &args.key_file {
        Some(file) => (
            format!("the key in {}", file.display()),
            " --key-file THAT-KEY",
        ),
        None => ("security.key".to_owned(), ""),
    };
    format!(
        "{} devices and their keys are in {}, sealed under {key}\n  \
         on the other gateway: tidegate device import {}{option}\n",
        number(exported.devices),
        args.out.display(),
        args.out.display(),
    )
}

/// Takes over what a file holds.
pub(super) fn import(args: &ImportArgs) -> Result<(), Failure> {
    let desk = Desk::open(&args.common.config)?;
    let key = key_of(args.key_file.as_deref())?;
    let bytes = fs::read(&args.file).map_err(|source| Failure::Unreadable {
        path: args.file.clone(),
        source,
    })?;
    desk.need_place()?;
    // The gateway may see neither this folder nor what this user may read: its own it does.
    let disk = RealDisk::open(&desk.settings.data_dir).map_err(failed)?;
    let incoming = disk.create_private(store::INCOMING).map_err(failed)?;
    incoming.write_at(0, &bytes).map_err(failed)?;
    let replace = args.replace;
    let answer = desk.ask(&Order::Import { key, replace });
    let _ = disk.remove(store::INCOMING);
    let Answer::Imported(imported) = answer? else {
        return Err(super::strange());
    };
    if args.common.json {
        return print_as_is(&format!("{:#}\n", json!(imported)));
    }
    print(&told_of_import(&imported))
}

fn told_of_import(imported: &Imported) -> String {
    let count = |devices| match devices {
        1 => "1 device".to_owned(),
        devices => format!("{} devices", number(devices)),
    };
    format!(
        "{} came, {} had other keys and have those of the file, {} had them already\n",
        count(imported.added),
        count(imported.replaced),
        count(imported.same),
    )
}

/// The key in a file, written as `security.key` is.
fn key_of(file: Option<&Path>) -> Result<Option<Key>, Failure> {
    let secret = file.map(|file| Secret::File(file.to_owned()));
    let read = secret.map(|secret| at_rest::key::read_bytes("--key-file", &secret));
    let bytes = read.transpose().map_err(failed)?;
    Ok(bytes.map(|bytes| Key::new(*bytes)))
}
