//! `tidegate device mosquitto`: the files by which a Mosquitto checks who publishes what.

use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
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
    need_folder(&args.out)?;
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
    let acl = acl(&desk.settings.site, user, &devices);
    let to_do = [
        replace(&args.out, "acl", &acl)?,
        replace(&args.out, "passwords", &passwords)?,
    ];
    let to_do: Vec<String> = to_do.into_iter().flatten().collect();
    if args.common.json {
        let told = json!({ "folder": args.out, "devices": devices.len(), "to_do": to_do });
        return print_as_is(&format!("{told:#}\n"));
    }
    let folder = args.out.display();
    print(&format!(
        "{} devices and {user} are in {folder}/acl and {folder}/passwords\n  \
         in mosquitto.conf name them as acl_file and password_file, beside allow_anonymous false\n  \
         and use_username_as_clientid true: docs/broker.md has it whole\n{}",
        devices.len(),
        told_to_do(&to_do)
    ))
}

fn need_folder(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    let folder = folder.display();
    Err(failed(io::Error::other(format!(
        "there is no folder {folder}, so nothing was written: create it with mkdir -p {folder}, as Mosquitto's files go there"
    ))))
}

/// What is left to do by hand, so that Mosquitto can read the files.
fn told_to_do(to_do: &[String]) -> String {
    if to_do.is_empty() {
        return String::new();
    }
    let mut told = "  Mosquitto cannot read what is this user's alone; as root:\n".to_owned();
    for command in to_do {
        let _ = writeln!(told, "    {command}");
    }
    told
}

/// Puts a file in the place of the one before, as one step, with its owner, group and mode. Gives
/// the command that is left where they could not be kept, or where there was none before.
fn replace(folder: &Path, name: &str, text: &str) -> Result<Option<String>, Failure> {
    let path = folder.join(name);
    let former = fs::symlink_metadata(&path).ok().filter(Metadata::is_file);
    let next = folder.join(format!("{name}.next"));
    let _ = fs::remove_file(&next);
    let file = NewFile::create(&next)?;
    let to_do = match &former {
        None => Some(format!("chown mosquitto {}", path.display())),
        Some(former) => file
            .belong_as(former)
            .err()
            .map(|_| to_belong_as(former, &path)),
    };
    file.write(text.as_bytes())?;
    fs::rename(&next, &path).map_err(|source| Failure::Unwritable { path, source })?;
    Ok(to_do)
}

fn to_belong_as(former: &Metadata, path: &Path) -> String {
    let path = path.display();
    format!(
        "chown {}:{} {path} && chmod {:o} {path}",
        former.uid(),
        former.gid(),
        former.mode() & 0o777
    )
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_in_the_place_of_another_keeps_its_mode_and_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acl");
        let made = replace(dir.path(), "acl", "one").unwrap().unwrap();
        assert_eq!(made, format!("chown mosquitto {}", path.display()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // Who may not give files away has files of another group at most.
        let is_given = std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).is_ok();
        assert_eq!(replace(dir.path(), "acl", "two").unwrap(), None);
        let now = fs::metadata(&path).unwrap();
        assert_eq!(now.mode() & 0o777, 0o640);
        if is_given {
            assert_eq!((now.uid(), now.gid()), (12_345, 54_321));
        }
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let command = to_belong_as(&now, &path);
        assert!(command.starts_with(&format!("chown {}:{}", now.uid(), now.gid())));
        assert!(command.contains("chmod 640"), "{command}");
    }

    #[test]
    fn a_folder_that_is_missing_is_told_as_that() {
        let dir = tempfile::tempdir().unwrap();
        need_folder(dir.path()).unwrap();
        let told = need_folder(&dir.path().join("nosuch")).unwrap_err().told();
        assert!(told.contains("mkdir -p"), "{told}");
    }
}
