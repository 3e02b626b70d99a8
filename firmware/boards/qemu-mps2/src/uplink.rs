//! The way to the broker: the network stack and the shell, each in a task of its own.

use core::cell::RefCell;

use embassy_executor::Spawner;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Runner, Stack, StackResources};
use static_cell::{ConstStaticCell, StaticCell};
use tidegate_board::boot::{self, Boot};
#[cfg(feature = "claim")]
use tidegate_board::claim;
use tidegate_board::clock::Clock;
use tidegate_board::dial::TcpDial;
use tidegate_board::settings::Settings;
use tidegate_firmware::mqtt::Names;
use tidegate_firmware::settings::DeviceKey;
use tidegate_firmware::shell::{self, Entropy, Notice, Shared, ShellConfig};
use tidegate_shared::frame::crc32c;
use tidegate_shared::seal::SEAL_BYTES_MAX;

use crate::console::HostEntropy;
use crate::eeprom::Eeprom;
use crate::lan9118::{self, Lan9118};
use crate::sbcon::Sbcon;
use crate::{Board, log};

/// DHCP's socket and the one to the broker.
const SOCKETS: usize = 2;
const TCP_RX_BYTES: usize = 512;
const TCP_TX_BYTES: usize = 1_024;
/// The largest message to a device.
const MQTT_RX_BYTES: usize = 512 + SEAL_BYTES_MAX;
/// Frames that the broker has not confirmed, and one more.
const MQTT_TX_BYTES: usize = 2 * (1_024 + SEAL_BYTES_MAX);

/// Starts the network and the shell.
pub fn spawn(
    spawner: Spawner,
    shared: &'static Shared<Board>,
    settings: &'static Settings,
    started: Boot,
) {
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    static BUFFERS: ConstStaticCell<lan9118::Buffers> = ConstStaticCell::new(lan9118::BUFFERS);

    let [a, b, c, d] = crc32c(settings.device.as_str().as_bytes()).to_le_bytes();
    let mut driver = Lan9118::new([0x02, 0x74, a, b, c, d], BUFFERS.take());
    driver.start();
    let config = embassy_net::Config::dhcpv4(embassy_net::DhcpConfig::default());
    let resources = RESOURCES.init(StackResources::new());
    let seed = HostEntropy::new().draw();
    let (stack, runner) = embassy_net::new(driver, config, resources, seed.into());
    spawner.spawn(network(runner).expect("the first one"));
    spawner.spawn(link(stack, shared, settings, started).expect("the first one"));
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Lan9118>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn link(
    stack: Stack<'static>,
    shared: &'static Shared<Board>,
    settings: &'static Settings,
    started: Boot,
) {
    static TCP_RX: ConstStaticCell<[u8; TCP_RX_BYTES]> = ConstStaticCell::new([0; TCP_RX_BYTES]);
    static TCP_TX: ConstStaticCell<[u8; TCP_TX_BYTES]> = ConstStaticCell::new([0; TCP_TX_BYTES]);
    static MQTT_RX: ConstStaticCell<[u8; MQTT_RX_BYTES]> = ConstStaticCell::new([0; MQTT_RX_BYTES]);
    static MQTT_TX: ConstStaticCell<[u8; MQTT_TX_BYTES]> = ConstStaticCell::new([0; MQTT_TX_BYTES]);
    static SOCKET: StaticCell<RefCell<TcpSocket<'static>>> = StaticCell::new();

    let rx = TCP_RX.take();
    let socket = TcpSocket::new(stack, rx, TCP_TX.take());
    let socket: &'static _ = SOCKET.init(RefCell::new(socket));
    #[cfg_attr(
        not(feature = "claim"),
        expect(unused_mut, reason = "only who claims dials before the shell does")
    )]
    let mut dial = TcpDial::new(stack, socket, &settings.broker);
    let (rx, tx) = (&mut MQTT_RX.take()[..], &mut MQTT_TX.take()[..]);
    let boot = started.boot;
    let notice = |notice| tell(notice, boot);
    #[cfg(feature = "claim")]
    let granted = if let Some(claim) = settings.enrols() {
        let (mut store, mut entropy) = (Eeprom::new(Sbcon::new()), HostEntropy::new());
        let (kept, buffers) = ((&mut store, &started), (&mut *rx, &mut *tx));
        let enrolled = claim::enrol(
            claim,
            settings,
            kept,
            &mut dial,
            &mut entropy,
            buffers,
            notice,
        );
        let key = enrolled.await.expect("names that fit MQTT");
        shared.with(|device| device.set_key(&key));
        Some(key)
    } else {
        None
    };
    #[cfg(not(feature = "claim"))]
    let granted = None::<DeviceKey>;
    let key = settings.key.as_ref().or(granted.as_ref());
    let password = key.map(DeviceKey::password);
    let login = password
        .as_ref()
        .map(|password| (settings.device.as_str(), password.as_str()));
    let names = Names::new(&settings.site, &settings.device).with_login(login);
    let config = ShellConfig::default();
    let entropy = HostEntropy::new();
    let done = shell::run(
        shared,
        &names,
        &config,
        dial,
        Clock,
        entropy,
        (rx, tx),
        notice,
    );
    // It ends only when the device was stopped, which nothing here does.
    log!("the link has ended: {:?}", done.await);
}

fn tell(notice: Notice, boot: u32) {
    match notice {
        Notice::Connected => log!("connected"),
        Notice::NotConnected => log!("no connection; it is tried again"),
        Notice::Disconnected => log!("the connection is gone"),
        Notice::Renamed(incarnation) => {
            let kept = boot::rename(&mut Eeprom::new(Sbcon::new()), incarnation, boot);
            log!("new incarnation {}: {:?}", incarnation, kept);
        }
        Notice::Claimed => log!("a key is claimed"),
        Notice::Granted(id) => log!("key {} is granted and kept", id),
        Notice::NotKept => log!("a key was granted and could not be kept: it is not used"),
        Notice::Ignored | Notice::Published(_) => {}
    }
}
