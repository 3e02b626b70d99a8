//! What is told of devices.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tidegate_shared::ids::DeviceName;
use zeroize::Zeroizing;

use crate::cli::table::align;
use crate::registry::KeyMark;
use crate::registry::order::{ClaimState, KeyState, Shown, ShownClaim};

pub(super) const ADDED: &str =
    "its frames are taken under this key once the page is in it, and no other way";
pub(super) const FIRST: &str = "it is the first registered device: from now on devices that are not registered are refused; register them, too, or write frames = \"allow-plain\" under [security] and restart the gateway";
pub(super) const ROTATED: &str =
    "the former key stays valid until the first frame under this one is on the disk";
pub(super) const RENAMED: &str =
    "its frames are taken under this name and key alone; the former name's keys have ended";

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
    /// Whom it shuts out, where it is the first.
    pub(super) shuts_out: Option<&'static str>,
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
        if let Some(whom) = self.shuts_out {
            let _ = writeln!(out, "  {whom}");
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

/// A page for a batch that was made.
pub(super) struct Batch {
    /// The claim.
    pub(super) claim: ShownClaim,
    /// Where the page says that its broker is.
    pub(super) broker: String,
    /// The page's file.
    pub(super) page: PathBuf,
    /// How it comes into a device, where that is known.
    pub(super) command: Option<String>,
    /// The code, where it is to be shown.
    pub(super) code: Option<Zeroizing<String>>,
}

impl Batch {
    /// For people.
    pub(super) fn told(&self) -> String {
        let ShownClaim {
            claim,
            prefix,
            devices_max,
            expires_at,
            ..
        } = &self.claim;
        let until = to_the_second(expires_at);
        let devices = if *devices_max == 1 {
            "1 device enrols".to_owned()
        } else {
            format!("{devices_max} devices enrol")
        };
        let mut out = format!(
            "claim {claim} is open: {devices} by it, named {prefix}-…, until {until}\n  \
             the settings page of them all, with the code in it, is {}: broker {}\n",
            self.page.display(),
            self.broker,
        );
        if let Some(code) = &self.code {
            let _ = writeln!(out, "  code: {}", code.as_str());
        }
        match &self.command {
            Some(command) => {
                let _ = writeln!(out, "  bring it into each device: {command}");
            }
            None => out.push_str(
                "  bring it into each device by probe-rs: --board, or --chip with --address, gives the command\n",
            ),
        }
        out.push_str(
            "  whoever has it can enrol in a device's place while the claim is open: remove the file afterwards\n",
        );
        out
    }

    /// For programs.
    pub(super) fn as_json(&self) -> Value {
        let mut told = json!({
            "claim": self.claim,
            "broker": self.broker,
            "page": self.page,
            "command": self.command,
        });
        if let (Some(code), Some(told)) = (&self.code, told.as_object_mut()) {
            told.insert("code".to_owned(), json!(code.as_str()));
        }
        told
    }
}

/// Every claim in a line.
pub(super) fn claims(claims: &[ShownClaim]) -> String {
    if claims.is_empty() {
        return "no claim is open: tidegate device claim open lets devices enrol by themselves\n"
            .to_owned();
    }
    let heads = ["", "names", "enrolled", "of", "not heard", "until", "state"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(claims.iter().map(|claim| {
        vec![
            claim.claim.clone(),
            format!("{}-…", claim.prefix),
            claim.enrolled.to_string(),
            claim.devices_max.to_string(),
            claim.waiting.len().to_string(),
            to_the_second(&claim.expires_at),
            state(claim.state).to_owned(),
        ]
    }));
    let mut out = String::new();
    align(&mut out, &rows);
    out
}

fn state(state: ClaimState) -> &'static str {
    match state {
        ClaimState::Open => "open",
        ClaimState::UsedUp => "used up",
        ClaimState::Expired => "expired",
        ClaimState::Closed => "closed",
    }
}

/// A claim that was closed.
pub(super) fn closed(claim: &ShownClaim) -> String {
    format!(
        "claim {} is closed: nobody enrols by it any more; {} of {} devices did, and keep their keys\n",
        claim.claim, claim.enrolled, claim.devices_max
    )
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
