//! What a board logs, over defmt: WARN is odd but nothing is lost, INFO is lifecycle.

use defmt::{info, warn};
use tidegate_firmware::shell::Notice;

use crate::boot::{Boot, Found, StoreError};
use crate::settings::{PageFault, Settings, Source};

/// Whose device this is, and where that was said.
pub fn settings(settings: &Settings, source: Source) {
    match source {
        Source::Page => info!("settings: from the page"),
        Source::BuiltIn => warn!("settings: no page written, the built-in ones hold"),
        Source::Fault(fault) => warn!("settings: {=str}, the built-in ones hold", name(fault)),
    }
    info!(
        "settings: site {=str}, device {=str}, broker {=str}:{=u16}",
        settings.site.as_str(),
        settings.device.as_str(),
        settings.broker.host.as_str(),
        settings.broker.port
    );
}

/// The name of a board whose page has a claim, and whether it was granted its key.
#[cfg(feature = "claim")]
pub fn named(settings: &Settings) {
    let name = settings.device.as_str();
    if settings.key.is_some() {
        info!("claim: this is {=str}, and has its key", name);
    } else {
        info!("claim: this is {=str}, and has no key yet", name);
    }
}

/// This start.
pub fn boot(boot: &Boot) {
    match boot.found {
        Found::Record => {}
        Found::Empty => info!("boot store: empty, a new incarnation begins"),
        Found::Damaged => warn!("boot store: damaged, a new incarnation begins"),
    }
    info!(
        "boot: incarnation {=u32:08x}, boot {=u32}",
        boot.incarnation.0, boot.boot
    );
}

/// A boot store that cannot be used.
pub fn store<E>(error: &StoreError<E>) {
    match error {
        StoreError::Slots(_) => warn!("boot store: no answer, this incarnation is of this start"),
        StoreError::ReadBack => warn!("boot store: worn out, this incarnation is of this start"),
    }
}

/// The last boot's panic.
pub fn panic(message: &str) {
    warn!("last boot ended in a panic: {=str}", message);
}

/// A sensor began to fail, or works again.
pub fn sensor(index: u16, fault: Option<u16>) {
    if let Some(code) = fault {
        warn!("sensor {=u16}: fault {=u16}", index, code);
    } else {
        info!("sensor {=u16}: works again", index);
    }
}

/// What the shell tells.
pub fn notice(notice: Notice) {
    match notice {
        Notice::Connected => info!("link: connected to the broker"),
        Notice::NotConnected => warn!("link: no connection, trying again"),
        Notice::Disconnected => warn!("link: connection lost, trying again"),
        Notice::Renamed(incarnation) => {
            warn!(
                "link: new incarnation {=u32:08x} after a conflict",
                incarnation.0
            );
        }
        Notice::Ignored => warn!("link: a message was ignored"),
        Notice::Claimed => info!("claim: asked for a key"),
        Notice::Granted(id) => info!("claim: key {=u8} granted and kept", id),
        Notice::NotKept => warn!("claim: a key was granted and not kept, so it is not used"),
        Notice::Published(bytes) => defmt::debug!("link: published {=usize} bytes", bytes),
    }
}

fn name(fault: PageFault) -> &'static str {
    match fault {
        PageFault::Magic => "the page is none of ours",
        PageFault::Version { .. } => "the page is of another version",
        PageFault::Length => "the page is cut short",
        PageFault::Check => "the page is damaged",
        PageFault::Site => "the page's site is no name",
        PageFault::Device => "the page's device is no name",
        PageFault::Broker => "the page's broker is no host and port",
        PageFault::Claim => "the page has a claim, and this image cannot enrol",
    }
}
