//! First contact by a claim: a board's own name, and the key that it keeps in its boot store.
//!
//! ```text
//! page with a claim ─► the board's number ─► its name ─┬─ granted before: the key is in the store
//!                                                      └─ not yet: enrol, keep the key, go on with it
//! ```
//! A key in the store is of the claim that granted it. A page with another claim, or with a key, leaves
//! it alone, and it is not used.

use tidegate_firmware::claim::Claiming;
use tidegate_firmware::mqtt::Names;
use tidegate_firmware::settings::{DeviceKey, PageClaim};
use tidegate_firmware::shell::{self, Dial, Entropy, Notice, ShellConfig};

use crate::boot::{self, Boot, Slots};
use crate::clock::Clock;
use crate::settings::Settings;

/// Makes settings those of this very board: of a page with a claim, with its own name, and with the
/// key that it was granted by that claim, if it was. `number` is one that no other board has; of a
/// board without such a number one is drawn and kept.
pub fn settle<S: Slots>(
    settings: &mut Settings,
    (slots, started): (&mut S, &mut Boot),
    number: Option<u32>,
    entropy: &mut impl Entropy,
) {
    let Some(claim) = settings.enrols().map(|claim| claim.id) else {
        return;
    };
    let number = number.unwrap_or_else(|| {
        if started.own.number() == 0 {
            started.own = started.own.with_number(boot::draw(entropy).0);
            // A store that fails keeps no key either: the device is another one at each start, and
            // none of them is ever enrolled.
            let _ = boot::keep(slots, started, started.own);
        }
        started.own.number()
    });
    settings.device = settings.name_of(number);
    settings.key = started.own.key_of(claim);
    #[cfg(feature = "defmt")]
    crate::log::named(settings);
}

/// Claims until a key is granted and in the store. The settings are settled. `None` only when the
/// names do not fit MQTT, which names of this crate do.
pub async fn enrol<S: Slots, D: Dial>(
    claim: &PageClaim,
    settings: &Settings,
    (slots, started): (&mut S, &Boot),
    dial: &mut D,
    entropy: &mut impl Entropy,
    buffers: (&mut [u8], &mut [u8]),
    notice: impl FnMut(Notice),
) -> Option<DeviceKey> {
    let of = (&settings.site, &settings.device);
    let mut claiming = Claiming::new(claim, of, entropy);
    let password = claim.password();
    let login = (settings.device.as_str(), password.as_str());
    let names = Names::new(&settings.site, &settings.device).with_login(Some(login));
    let keep = |key: &DeviceKey| {
        let own = started.own.with_key(claim.id, key);
        boot::keep(slots, started, own).is_ok()
    };
    let (config, seed) = (ShellConfig::default(), entropy.draw());
    let enrolled = shell::enrol(
        &mut claiming,
        &names,
        &config,
        dial,
        &Clock,
        seed,
        buffers,
        keep,
        notice,
    );
    enrolled.await.ok()
}

#[cfg(test)]
mod tests;
