//! The settings page of a device, and the ways to bring it there: a file for a probe, a QR code.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use tidegate_firmware::settings::{Broker, DeviceKey, PageClaim, Settings as Page};
use zeroize::Zeroizing;

use super::args::PageArgs;
use crate::registry::order::{Issued, Opened};
use crate::rules::settings::{MqttSettings, Settings};

/// What the text of a QR code begins with.
pub(super) const QR_PREFIX: &str = "tidegate:page:";

/// A board whose firmware is in this repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// STM32F429ZI: its page lies in the second bank
    #[value(name = "nucleo-f429zi")]
    NucleoF429zi,
    /// RP2040: its page is the last sector
    #[value(name = "w5500-evb-pico")]
    W5500EvbPico,
    /// The emulated board
    #[value(name = "qemu-mps2")]
    QemuMps2,
}

impl Board {
    /// How the page comes into the board.
    fn command(self, page: &Path) -> String {
        match self {
            Self::NucleoF429zi => probe(page, "STM32F429ZITx", 0x0810_8000),
            Self::W5500EvbPico => probe(page, "RP2040", 0x101f_f000),
            Self::QemuMps2 => format!(
                "TIDEGATE_SETTINGS={} cargo run --release    # in firmware/boards/qemu-mps2",
                quoted(page)
            ),
        }
    }
}

fn probe(page: &Path, chip: &str, address: u32) -> String {
    format!(
        "probe-rs download {} --binary-format bin --base-address {address:#010x} --chip {chip}",
        quoted(page)
    )
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "/._-+=:@%,".contains(sign);
    if text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// How the page comes into the device, if the chip is known.
pub(super) fn command(args: &PageArgs, page: &Path) -> Option<String> {
    let of_board = args.board.map(|board| board.command(page));
    of_board.or_else(|| Some(probe(page, args.chip.as_deref()?, args.address?)))
}

/// The broker that devices find, unless another one is named: none where only this machine finds
/// it, or any address may be meant.
pub(super) fn broker(args: &PageArgs, settings: &Settings) -> Option<Broker> {
    if args.broker.is_some() {
        return args.broker.clone();
    }
    match &settings.mqtt {
        MqttSettings::Embedded { listen, .. } => reachable(*listen),
        MqttSettings::External { host, port, .. } => {
            let is_here = host == "localhost"
                || host
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
            (!is_here).then(|| Broker::new(host, *port))?
        }
    }
}

fn reachable(listen: SocketAddr) -> Option<Broker> {
    let ip = listen.ip();
    let is_one = !ip.is_loopback() && !ip.is_unspecified();
    is_one.then(|| Broker::new(&ip.to_string(), listen.port()))?
}

/// The page of a device with a key that was issued to it.
pub(super) fn page(settings: &Settings, broker: Broker, issued: &Issued) -> Zeroizing<Vec<u8>> {
    let page = Page {
        site: settings.site.clone(),
        device: issued.device.clone(),
        broker,
        key: Some(DeviceKey {
            id: issued.mark.id,
            bytes: *issued.key.bytes(),
        }),
        claim: None,
    };
    Zeroizing::new(page.page().to_vec())
}

/// The page of all devices that enrol by a claim.
pub(super) fn claim(settings: &Settings, broker: Broker, opened: &Opened) -> Zeroizing<Vec<u8>> {
    let page = Page {
        site: settings.site.clone(),
        device: opened.claim.prefix.clone(),
        broker,
        key: None,
        claim: Some(PageClaim {
            id: opened.id,
            code: *opened.code.bytes(),
        }),
    };
    Zeroizing::new(page.page().to_vec())
}

/// The page as a text that a QR code carries, and that `basenc --base64url -d` makes a file of
/// behind its prefix.
pub(super) fn text(page: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(QR_PREFIX.len() + 2 * page.len()));
    text.push_str(QR_PREFIX);
    BASE64_URL_SAFE.encode_string(page, &mut text);
    text
}

/// A QR code of a text, two modules a sign: light where the terminal is dark, as most are, with the
/// quiet zone around it that makes up for where it is not.
pub(super) fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    let mut lines = String::new();
    for line in drawn.lines() {
        let _ = writeln!(lines, "{line}");
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Fingerprint, Key, KeyMark};
    use crate::rules::parse;

    fn settings(mqtt: &str) -> Settings {
        let text = format!("[gateway]\nsite = \"pump-house\"\n[mqtt]\n{mqtt}\n");
        parse(&text, "test").unwrap().0
    }

    fn args() -> PageArgs {
        PageArgs {
            broker: None,
            out: None,
            board: None,
            chip: None,
            address: None,
            no_qr: false,
            show_key: false,
        }
    }

    fn issued() -> Issued {
        let (device, key) = ("pump-1".parse().unwrap(), Key::new([7; 32]));
        let fingerprint = Fingerprint::of(&device, 3, &key);
        let mark = KeyMark { id: 3, fingerprint };
        Issued { device, mark, key }
    }

    #[test]
    fn the_page_reads_back_on_the_board_whether_by_probe_or_by_code() {
        let broker = Broker::new("192.168.1.10", 1883).unwrap();
        let page = page(&settings("url = \"mqtt://b\""), broker.clone(), &issued());
        let read = Page::read(&page).unwrap().unwrap();
        assert_eq!(
            (read.site.as_str(), read.device.as_str()),
            ("pump-house", "pump-1")
        );
        assert_eq!(read.broker, broker);
        let key = read.key.map(|key| (key.id, key.bytes));
        assert_eq!(key, Some((3, [7; 32])));
        let text = text(&page);
        let body = text.strip_prefix(QR_PREFIX).unwrap();
        assert_eq!(BASE64_URL_SAFE.decode(body).unwrap(), *page);
    }

    #[test]
    fn the_longest_page_fits_a_code_that_fits_a_terminal() {
        let longest = [0xa5; tidegate_firmware::settings::PAGE_BYTES_MAX];
        let code = qr(&text(&longest)).unwrap();
        let (wide, high) = (
            code.lines().map(|line| line.chars().count()).max(),
            code.lines().count(),
        );
        assert!(wide <= Some(80) && high <= 40, "{wide:?} x {high}");
        let first = code.lines().next().unwrap();
        assert!(first.chars().all(|sign| sign == '█'), "{first}");
    }

    #[test]
    fn only_a_broker_that_others_find_is_taken_from_the_configuration() {
        let of = |mqtt: &str| {
            let found = broker(&args(), &settings(mqtt));
            found.map(|found| (found.host.to_string(), found.port))
        };
        let at = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(
            of("url = \"mqtt://broker.example\""),
            at("broker.example", 1883)
        );
        assert_eq!(
            of("embedded = { listen = \"192.168.1.10:1884\" }"),
            at("192.168.1.10", 1884)
        );
        for nobody in [
            "url = \"mqtt://localhost\"",
            "url = \"mqtt://127.0.0.1:1883\"",
            "embedded = { listen = \"127.0.0.1:1883\" }",
            "embedded = { listen = \"0.0.0.0:1883\" }",
        ] {
            assert_eq!(of(nobody), None, "{nobody}");
        }
        let named = PageArgs {
            broker: Broker::parse("10.0.0.1:1883"),
            ..args()
        };
        let found = broker(&named, &settings("url = \"mqtt://localhost\""));
        assert_eq!(found, Broker::parse("10.0.0.1:1883"));
    }

    #[test]
    fn the_command_names_chip_and_address() {
        let of = |args: &PageArgs| command(args, Path::new("a page's.bin"));
        assert_eq!(of(&args()), None);
        let board = |board| PageArgs {
            board: Some(board),
            ..args()
        };
        assert_eq!(
            of(&board(Board::NucleoF429zi)).unwrap(),
            r"probe-rs download 'a page'\''s.bin' --binary-format bin --base-address 0x08108000 --chip STM32F429ZITx"
        );
        let found = of(&board(Board::QemuMps2)).unwrap();
        assert!(found.starts_with(r"TIDEGATE_SETTINGS='a page"), "{found}");
        let other = PageArgs {
            chip: Some("nRF52840_xxAA".to_owned()),
            address: Some(0xff000),
            ..args()
        };
        let found = of(&other).unwrap();
        assert!(
            found.ends_with("--base-address 0x000ff000 --chip nRF52840_xxAA"),
            "{found}"
        );
    }

    /// The boards' own files say where the page lies.
    #[test]
    fn the_boards_have_their_page_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware/boards");
        let says = |file: &str, text: &str| {
            let found = std::fs::read_to_string(root.join(file)).unwrap();
            assert!(found.contains(text), "{file} does not say {text}");
        };
        says("nucleo-f429zi/memory.x", "0x08108000");
        says("nucleo-f429zi/.cargo/config.toml", "STM32F429ZITx");
        says("w5500-evb-pico/memory.x", "0x101ff000");
        says("w5500-evb-pico/.cargo/config.toml", "RP2040");
        says("qemu-mps2/run", "TIDEGATE_SETTINGS");
    }
}
