//! What is told of devices.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tidegate_shared::ids::DeviceName;
use zeroize::Zeroizing;

use crate::cli::table::align;
use crate::registry::KeyMark;
use crate::registry::order::{KeyState, Shown};

pub(super) const ADDED: &str =
    "its frames are taken under this key once the page is in it, and no other way";
pub(super) const ROTATED: &str =
    "the former key stays valid until the first frame under this one is on the disk";
pub(super) const RENAMED: &str =
    "frames under its former name are not taken any more; its key is the same";

/// A page that was made.
pub(super) struct Made {
    /// The device.
    pub(super) device: DeviceName,
    /// What its key is called.
    pub(super) mark: KeyMark,
    /// Where the page says that its broker is.
    pub(super) broker: String,
    /// The page's file.
    pub(super) page: PathBuf,
    /// How it comes into the device, where that is known.
    pub(super) command: Option<String>,
    /// The key, where it is to be shown.
    pub(super) key: Option<Zeroizing<String>>,
    /// What it means.
    pub(super) meaning: &'static str,
}

impl Made {
    /// For people.
    pub(super) fn told(&self) -> String {
        let Self {
            device,
            mark,
            broker,
            ..
        } = self;
        let mut out = format!(
            "{device} has key {}, fingerprint {}\n  {}\n  its settings page, with the key in it, is {}: broker {broker}\n",
            mark.id,
            mark.fingerprint,
            self.meaning,
            self.page.display(),
        );
        if let Some(key) = &self.key {
            let _ = writeln!(out, "  key: {}", key.as_str());
        }
        match &self.command {
            Some(command) => {
                let _ = writeln!(out, "  bring it into the device: {command}");
            }
            None => out.push_str(
                "  bring it into the device by probe-rs: --board, or --chip with --address, gives the command\n",
            ),
        }
        out.push_str("  then remove the file: whoever has it can speak for the device\n");
        out
    }

    /// For programs.
    pub(super) fn as_json(&self) -> Value {
        let mut told = json!({
            "device": self.device,
            "key_id": self.mark.id,
            "fingerprint": self.mark.fingerprint,
            "broker": self.broker,
            "page": self.page,
            "command": self.command,
        });
        if let (Some(key), Some(told)) = (&self.key, told.as_object_mut()) {
            told.insert("key".to_owned(), json!(key.as_str()));
        }
        told
    }
}

/// Every device in a line.
pub(super) fn listed(devices: &[Shown]) -> String {
    if devices.is_empty() {
        return "no device is registered: tidegate device add NAME makes a key for one\n"
            .to_owned();
    }
    let heads = ["", "key", "next key", "heard under", "key made"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(devices.iter().map(row));
    let mut out = String::new();
    align(&mut out, &rows);
    out
}

fn row(device: &Shown) -> Vec<String> {
    let of = |state| device.keys.iter().find(|key| key.state == state);
    let id = |state| of(state).map_or("-".to_owned(), |key| key.id.to_string());
    let current = if device.is_revoked() {
        "revoked".to_owned()
    } else {
        id(KeyState::Current)
    };
    let newest = device.keys.last();
    vec![
        device.device.to_string(),
        current,
        id(KeyState::Next),
        device
            .confirmed_key
            .map_or("-".to_owned(), |id| id.to_string()),
        newest.map_or("-".to_owned(), |key| to_the_second(&key.created_at)),
    ]
}

/// A time in RFC 3339 without the fraction of its second.
fn to_the_second(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

/// One device.
pub(super) fn shown(device: &Shown) -> String {
    let mut out = format!("{}\n", device.device);
    if let Some(at) = &device.revoked_at {
        let at = to_the_second(at);
        let _ = writeln!(
            out,
            "  revoked {at}: none of its frames is taken; tidegate device add {} gives it a key again",
            device.device
        );
    }
    for key in &device.keys {
        let state = match key.state {
            KeyState::Current => "valid",
            KeyState::Next => "valid, made by a rotation and not heard yet",
        };
        let _ = writeln!(
            out,
            "  key {}: {state}; made {}; fingerprint {}",
            key.id,
            to_the_second(&key.created_at),
            key.fingerprint
        );
    }
    let heard = match device.confirmed_key {
        Some(id) => format!("its newest frame on the disk was under key {id}"),
        None => "it was not heard under a key yet, as far as the registry knows".to_owned(),
    };
    let _ = writeln!(out, "  {heard}; keys made so far: {}", device.issued);
    out
}
