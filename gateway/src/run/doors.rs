//! Doors: who may connect to the embedded broker, as the keys in force say.

use tidegate_shared::seal::Key;

use crate::mqtt::access::{Access, Account, Accounts, Admission, Password};
use crate::session::{Frames, Keyring, OpenClaim};

/// Who has a key, with the password made of it, and who has a claim's code. Where plain frames are
/// taken, also devices that have none: everyone, while no device is registered.
pub fn access(keys: &Keyring) -> Access {
    let is_open = keys.frames == Frames::AllowPlain;
    let accounts = keys.devices.iter().map(|(device, keys)| {
        let passwords = keys.iter().map(|key| password(&key.key));
        (device.clone(), passwords.collect::<Account>())
    });
    let accounts = if is_open && keys.devices.is_empty() {
        Accounts::Everyone
    } else {
        accounts.collect()
    };
    let admissions = keys.claims.open.values().map(admission).collect();
    Access {
        accounts,
        admissions,
        is_open,
    }
}

fn admission(claim: &OpenClaim) -> Admission {
    Admission {
        password: password(&claim.code.key),
        claim: claim.clone(),
    }
}

fn password(key: &Key) -> Password {
    let text = format!("{:032x}", u128::from_be_bytes(key.password()));
    Password::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_door_is_open_to_those_whose_frames_are_taken() {
        let registered = BTreeMap::from([("pump-1".parse().unwrap(), Vec::new())]);
        for (frames, devices, is_everyone, is_open) in [
            (Frames::AllowPlain, BTreeMap::new(), true, true),
            (Frames::AllowPlain, registered.clone(), false, true),
            (Frames::Require, BTreeMap::new(), false, false),
            (Frames::Require, registered, false, false),
        ] {
            let access = access(&Keyring {
                frames,
                devices,
                ..Keyring::default()
            });
            assert_eq!(
                access.accounts == Accounts::Everyone,
                is_everyone,
                "{access:?}"
            );
            assert_eq!(access.is_open, is_open, "{access:?}");
        }
    }
}
