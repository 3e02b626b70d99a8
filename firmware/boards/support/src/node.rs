//! A board's life: what lies between its drivers and a device that samples and sends.
//!
//! ```text
//! settings page ───┐
//! boot store ──────┼► identity ─► device ─┬─ the board's own sampling, for ever
//! panic note ──────┤                      ├─ embassy-net: DHCP, TCP
//! the last boot's ─┘                      └─ shell: broker, gateway, outbox
//! frames and counts
//! ```
//! All three run side by side in one task. Sampling never waits for the network.

use core::cell::RefCell;
use core::convert::Infallible;

use embassy_futures::join::join;
use embassy_net::tcp::TcpSocket;
use embassy_net::{StackResources, driver::Driver};
use tidegate_firmware::device::{Device, DeviceConfig, Identity};
use tidegate_firmware::mqtt::Names;
use tidegate_firmware::outbox::Remains;
use tidegate_firmware::seal::Password;
use tidegate_firmware::settings::DeviceKey;
use tidegate_firmware::shell::{self, Entropy, Notice, Shared, ShellConfig};
use tidegate_shared::catalog::{self, SensorInfo};
use tidegate_shared::message::{EventCode, ResetReason};
use tidegate_shared::seal::SEAL_BYTES_MAX;

use crate::boot::{self, Boot, Slots};
#[cfg(feature = "claim")]
use crate::claim::settle;
use crate::clock::Clock;
use crate::dial::TcpDial;
use crate::note::NOTE_BYTES_MAX;
use crate::settings::Settings;

/// Samples of each sensor in a batch.
pub const SAMPLES: usize = 60;
/// Most bytes of a frame.
pub const FRAME_BYTES: usize = 1_024;
/// Most bytes of a catalog: about forty a sensor.
pub const CATALOG_BYTES: usize = 256;
/// Sockets: DHCP's, the one to the broker, and with the feature DNS's.
const SOCKETS: usize = if cfg!(feature = "dns") { 3 } else { 2 };

/// The device of a board with so many sensors, and an outbox of so many bytes and frames.
pub type Node<'c, const SENSORS: usize, const BYTES: usize, const FRAMES: usize> =
    Device<'c, &'c mut Remains<SENSORS, BYTES, FRAMES>, SENSORS, SAMPLES, FRAME_BYTES>;

/// What a board brings.
pub struct Parts<'r, N, S, E, const SENSORS: usize, const BYTES: usize, const FRAMES: usize> {
    /// Its network, a driver of embassy-net.
    pub network: N,
    /// Where its boots are counted.
    pub slots: S,
    /// Random numbers.
    pub entropy: E,
    /// Where frames wait, in RAM that outlives a soft reset.
    pub remains: &'r mut Remains<SENSORS, BYTES, FRAMES>,
    /// Whose device it is, and where the broker listens.
    pub settings: Settings,
    /// A number that no other board has, for its name when it enrols by a claim; of a board without
    /// one it is drawn and kept in the boot store.
    pub number: Option<u32>,
    /// Firmware name and version, at most 32 bytes.
    pub firmware: &'static str,
    /// Why it started. A kept panic counts for more.
    pub reset: ResetReason,
    /// The last boot's panic, taken from its note.
    pub panic: Option<heapless::String<NOTE_BYTES_MAX>>,
}

/// Runs a board's device. `sampling` takes its samples (see [`crate::sampling::sample`]) and says
/// with [`Device::advance`] how far they are complete; neither it nor this ever ends.
///
/// # Panics
/// When the sensors do not fit [`CATALOG_BYTES`] or break a limit: a fault of the board's source,
/// which its first start shows.
pub async fn run<N, S, E, const SENSORS: usize, const BYTES: usize, const FRAMES: usize>(
    parts: Parts<'_, N, S, E, SENSORS, BYTES, FRAMES>,
    sensors: &[SensorInfo<'_>; SENSORS],
    sampling: impl AsyncFnOnce(&Shared<Node<'_, SENSORS, BYTES, FRAMES>>) -> Infallible,
) -> !
where
    N: Driver,
    S: Slots,
    E: Entropy,
{
    #[cfg_attr(
        not(feature = "claim"),
        expect(
            unused_mut,
            reason = "only a claim changes them: the name, and the key"
        )
    )]
    let Parts {
        network,
        mut slots,
        mut entropy,
        remains,
        mut settings,
        number,
        firmware,
        reset,
        panic,
    } = parts;
    #[cfg_attr(
        not(feature = "claim"),
        expect(
            unused_mut,
            reason = "only a claim changes it: the number that is drawn"
        )
    )]
    let mut started = start(&mut slots, &mut entropy);
    #[cfg(feature = "claim")]
    let kept = (&mut slots, &mut started);
    #[cfg(feature = "claim")]
    settle(&mut settings, kept, number, &mut entropy);
    #[cfg(not(feature = "claim"))]
    let _ = number;
    let identity = Identity {
        incarnation: started.incarnation,
        boot: started.boot,
        firmware,
        reset: if panic.is_some() {
            ResetReason::Panic
        } else {
            reset
        },
        seed: entropy.draw(),
    };
    let mut bytes = [0; CATALOG_BYTES];
    let key = settings.key.as_ref();
    let shared = Shared::new(device(identity, key, sensors, &mut bytes, remains, panic));

    let seed = u64::from(entropy.draw()) << 32 | u64::from(entropy.draw());
    let mut resources = StackResources::<SOCKETS>::new();
    let dhcp = embassy_net::Config::dhcpv4(embassy_net::DhcpConfig::default());
    let (stack, mut network) = embassy_net::new(network, dhcp, &mut resources, seed);
    let (mut socket_rx, mut socket_tx) = ([0; 512], [0; 1_024]);
    let socket = RefCell::new(TcpSocket::new(stack, &mut socket_rx, &mut socket_tx));
    let dial = TcpDial::new(stack, &socket, &settings.broker);

    let config = ShellConfig::default();
    let (mut rx, mut tx) = (
        [0; 512 + SEAL_BYTES_MAX],
        [0; 2 * (FRAME_BYTES + SEAL_BYTES_MAX)],
    );
    // Both are the same shell; what goes before it takes RAM, which only images with claims pay.
    #[cfg(not(feature = "claim"))]
    let password = key.map(DeviceKey::password);
    #[cfg(not(feature = "claim"))]
    let names = names(&settings, password.as_ref());
    #[cfg(not(feature = "claim"))]
    let shell = shell::run(
        &shared,
        &names,
        &config,
        dial,
        Clock,
        entropy,
        (&mut rx, &mut tx),
        noting(&mut slots, started.boot),
    );
    #[cfg(feature = "claim")]
    let shell = async {
        let mut dial = dial;
        let mut granted = None;
        if let Some(claim) = settings.enrols() {
            let enrolled = crate::claim::enrol(
                claim,
                &settings,
                (&mut slots, &started),
                &mut dial,
                &mut entropy,
                (&mut rx, &mut tx),
                note,
            );
            granted = enrolled.await;
        }
        if let Some(key) = &granted {
            shared.with(|device| device.set_key(key));
        }
        let key = settings.key.as_ref().or(granted.as_ref());
        let password = key.map(DeviceKey::password);
        let names = names(&settings, password.as_ref());
        let run = shell::run(
            &shared,
            &names,
            &config,
            dial,
            Clock,
            entropy,
            (&mut rx, &mut tx),
            noting(&mut slots, started.boot),
        );
        run.await
    };
    // The shell returns only for a device that was stopped, which nothing does here.
    let (never, _) = join(sampling(&shared), join(network.run(), shell)).await;
    match never {}
}

/// The device, and what the last boot left to be told. Not part of the future, so that nothing of
/// it stays in RAM.
fn device<'c, const SENSORS: usize, const BYTES: usize, const FRAMES: usize>(
    identity: Identity,
    key: Option<&DeviceKey>,
    sensors: &[SensorInfo<'_>; SENSORS],
    bytes: &'c mut [u8; CATALOG_BYTES],
    remains: &'c mut Remains<SENSORS, BYTES, FRAMES>,
    panic: Option<heapless::String<NOTE_BYTES_MAX>>,
) -> Node<'c, SENSORS, BYTES, FRAMES> {
    let Ok(catalog) = catalog::write(sensors, bytes) else {
        panic!("the sensors make no catalog");
    };
    let past = remains.recover(identity.incarnation, &mut [0; FRAME_BYTES]);
    let config = DeviceConfig::default();
    let device = Node::resume(identity, config, catalog, remains, past.as_ref());
    let Ok(mut device) = device else {
        panic!("the catalog makes no device");
    };
    if let Some(key) = key {
        device.set_key(key);
    }
    if let Some(message) = panic {
        #[cfg(feature = "defmt")]
        crate::log::panic(&message);
        device.report(EventCode::Panic { message });
    }
    device
}

/// The device's names, with its login if it has a password.
fn names<'l>(settings: &'l Settings, password: Option<&'l Password>) -> Names<'l> {
    let login = password.map(|password| (settings.device.as_str(), password.as_str()));
    Names::new(&settings.site, &settings.device).with_login(login)
}

/// Notes what the shell tells, and keeps a new incarnation.
fn noting<S: Slots>(slots: &mut S, boot: u32) -> impl FnMut(Notice) {
    move |notice| {
        if let Notice::Renamed(incarnation) = notice {
            // A store that fails now failed at the start as well, and that was said.
            let _ = boot::rename(slots, incarnation, boot);
        }
        note(notice);
    }
}

fn note(notice: Notice) {
    #[cfg(feature = "defmt")]
    crate::log::notice(notice);
    #[cfg(not(feature = "defmt"))]
    let _ = notice;
}

/// Counts this start, in a store or, when that fails, as the first of an incarnation of its own.
fn start<S: Slots>(slots: &mut S, entropy: &mut impl Entropy) -> Boot {
    let begun = boot::begin(slots, entropy);
    #[cfg(feature = "defmt")]
    if let Err(error) = &begun {
        crate::log::store(error);
    }
    let started = begun.unwrap_or_else(|_| Boot {
        incarnation: boot::draw(entropy),
        boot: 1,
        found: boot::Found::Damaged,
        own: boot::Own::NONE,
    });
    #[cfg(feature = "defmt")]
    crate::log::boot(&started);
    started
}

#[cfg(test)]
mod tests;
