//! Doors: who may connect to the embedded broker, as the keys in force say.

use tidegate_shared::seal::Key;

use crate::mqtt::access::{Access, Account, Accounts, Admission, Password};
use crate::session::{Keyring, OpenClaim};

/// Who has a key, with the password made of it, and who has a claim's code.
pub fn access(keys: &Keyring) -> Access {
    let accounts = keys.devices.iter().map(|(device, keys)| {
        let passwords = keys.iter().map(|key| password(&key.key));
        (device.clone(), passwords.collect::<Account>())
    });
    let accounts: Accounts = accounts.collect();
    let admissions = keys.claims.open.values().map(admission).collect();
    Access {
        accounts,
        admissions,
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
