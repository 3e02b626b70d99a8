//! `tidegate device mosquitto`: the files by which a Mosquitto checks who publishes what.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;
use tidegate_shared::ids::DeviceName;

use super::args::MosquittoArgs;
use super::desk::Desk;
use super::failed;
use super::writing::NewFile;
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is};
use crate::mqtt::mosquitto::{acl, passwords};
use crate::registry::{Answer, Order};
use crate::rules::settings::MqttSettings;

/// Writes both files.
pub(super) fn write(args: &MosquittoArgs) -> Result<(), Failure> {
    let desk = Desk::open(&args.common.config)?;
    let MqttSettings::External {
        credentials: Some((user, password)),
        ..
    } = &desk.settings.mqtt
    else {
        return Err(failed(io::Error::other(
            "the configuration's mqtt.url names no user and password of the gateway's own, which these files would shut out; nothing was written: write it as mqtt://USER:PASSWORD@HOST",
        )));
    };
    let Answer::Logins(logins) = desk.ask(&Order::Logins)? else {
        return Err(super::strange());
    };
    let devices: Vec<DeviceName> = logins.iter().map(|login| login.device.clone()).collect();
    let users = logins.iter();
    let users = users.map(|login| (login.device.as_str(), login.password.as_str()));
    let users = users.chain([(user.as_str(), password.as_str())]);
    let passwords = passwords(users).map_err(failed)?;
    replace(&args.out, "acl", &acl(&desk.settings.site, user, &devices))?;
    replace(&args.out, "passwords", &passwords)?;
    if args.common.json {
        let told = json!({ "folder": args.out, "devices": devices.len() });
        return print_as_is(&format!("{told:#}\n"));
    }
    let folder = args.out.display();
    print(&format!(
        "{} devices and {user} are in {folder}/acl and {folder}/passwords\n  \
         in mosquitto.conf name them as acl_file and password_file, beside allow_anonymous false\n  \
         and use_username_as_clientid true: docs/broker.md has it whole\n",
        devices.len()
    ))
}

/// Puts a file in the place of the one before, as one step.
fn replace(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let next = folder.join(format!("{name}.next"));
    let _ = fs::remove_file(&next);
    NewFile::create(&next)?.write(text.as_bytes())?;
    let path = folder.join(name);
    fs::rename(&next, &path).map_err(|source| Failure::Unwritable { path, source })
}
