//! The Ethernet controller, an SMSC LAN9118, as a driver of embassy-net.
//!
//! Frames are copied to and from its FIFOs word by word (SMSC LAN9118 datasheet, sections 3.12 and
//! 3.13). Its interrupt says that frames came, or that the cable was pulled or put in (its
//! transceiver, section 5.4); sending waits for nothing, because the FIFO drains faster than frames
//! are made.

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;

use crate::interrupts;
use crate::register::Register;

/// Largest frame, without its check: less than Ethernet's 1,514, to save RAM. TCP tells its peer so
/// by its segment size, and longer frames are other people's broadcasts, which are dropped.
const FRAME_BYTES: usize = 1_152;
/// Whole words of it.
const FRAME_WORDS: usize = FRAME_BYTES.div_ceil(4);

/// Room for a frame that came, with its check, and for one to be sent.
pub type Buffers = ([u32; FRAME_WORDS + 1], [u32; FRAME_WORDS]);
/// Buffers without a frame.
pub const BUFFERS: Buffers = ([0; FRAME_WORDS + 1], [0; FRAME_WORDS]);

// SAFETY: the controller's address on this machine, AN386, table 3-1.
const BASE: Register = unsafe { Register::new(0x4020_0000) };
const RX_DATA: Register = BASE;
const TX_DATA: Register = BASE.at(0x20);
const RX_STATUS: Register = BASE.at(0x40);
const TX_STATUS: Register = BASE.at(0x48);
const ID_REV: Register = BASE.at(0x50);
const IRQ_CFG: Register = BASE.at(0x54);
const INT_STS: Register = BASE.at(0x58);
const INT_EN: Register = BASE.at(0x5c);
const BYTE_TEST: Register = BASE.at(0x64);
const FIFO_INT: Register = BASE.at(0x68);
const TX_CFG: Register = BASE.at(0x70);
const HW_CFG: Register = BASE.at(0x74);
const RX_FIFO_INF: Register = BASE.at(0x7c);
const TX_FIFO_INF: Register = BASE.at(0x80);
const CSR_COMMAND: Register = BASE.at(0xa4);
const CSR_DATA: Register = BASE.at(0xa8);

/// Interrupt: the RX status FIFO holds more than its level.
const RX_STATUS_LEVEL: u32 = 1 << 3;
/// Interrupt: the transceiver has something to say.
const PHY_EVENT: u32 = 1 << 18;
const EVENTS: u32 = RX_STATUS_LEVEL | PHY_EVENT;
const CSR_BUSY: u32 = 1 << 31;
const CSR_READ: u32 = 1 << 30;
const MAC_CR: u32 = 1;
const MAC_CR_FULL_DUPLEX: u32 = 1 << 20;
const MAC_CR_TX: u32 = 1 << 3;
const MAC_CR_RX: u32 = 1 << 2;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;
const MII_ACCESS: u32 = 6;
const MII_DATA: u32 = 7;
/// The transceiver's address, and that an access writes.
const MII_PHY: u32 = 1 << 11;
const MII_WRITE: u32 = 1 << 1;
const PHY_STATUS: u32 = 1;
const PHY_STATUS_LINK: u32 = 1 << 2;
/// What happened; reading clears it.
const PHY_EVENT_SOURCE: u32 = 29;
const PHY_EVENT_MASK: u32 = 30;
/// The link is down; a partner was found.
const PHY_LINK_EVENTS: u32 = 1 << 4 | 1 << 6;

static WAKER: AtomicWaker = AtomicWaker::new();

/// The controller.
#[derive(Debug)]
pub struct Lan9118 {
    address: [u8; 6],
    buffers: &'static mut Buffers,
}

impl Lan9118 {
    /// The controller, before [`Lan9118::start`]. The address is locally administered: its second
    /// lowest bit must be set.
    pub fn new(address: [u8; 6], buffers: &'static mut Buffers) -> Self {
        Self { address, buffers }
    }

    /// Resets it and lets frames through.
    pub fn start(&mut self) {
        assert!(
            BYTE_TEST.read() == 0x8765_4321 && ID_REV.read() >> 16 == 0x0118,
            "no LAN9118"
        );
        HW_CFG.write(1);
        while HW_CFG.read() & 1 != 0 {}
        // 5 KiB of transmit FIFO, store and forward.
        HW_CFG.write(5 << 16 | 1 << 20);
        // Push-pull and active high; otherwise the line would never rest.
        IRQ_CFG.write(1 << 8 | 1 << 4 | 1);
        // No level for data that was sent; any frame that came.
        FIFO_INT.write(0x4800_0000);
        TX_CFG.write(2);
        let mut address = [0; 8];
        for (there, byte) in address.iter_mut().zip(self.address) {
            *there = byte;
        }
        let address = u64::from_le_bytes(address);
        write_csr(MAC_ADDRESS_LOW, address as u32);
        write_csr(MAC_ADDRESS_HIGH, (address >> 32) as u32);
        write_csr(MAC_CR, MAC_CR_FULL_DUPLEX | MAC_CR_TX | MAC_CR_RX);
        write_phy(PHY_EVENT_MASK, PHY_LINK_EVENTS);
        INT_EN.write(EVENTS);
        interrupts::enable(interrupts::ETHERNET);
    }

    /// Reads the next frame that is whole and fits; its length.
    fn take(&mut self) -> Option<usize> {
        while RX_FIFO_INF.read() >> 16 & 0xff > 0 {
            let status = RX_STATUS.read();
            let bytes = (status >> 16 & 0x3fff) as usize;
            let is_whole = status & 1 << 15 == 0;
            for at in 0..bytes.div_ceil(4) {
                let word = RX_DATA.read();
                if let Some(there) = self.buffers.0.get_mut(at) {
                    *there = word;
                }
            }
            // The frame's own check comes along.
            let bytes = bytes.saturating_sub(4);
            if is_whole && bytes <= FRAME_BYTES {
                return Some(bytes);
            }
        }
        None
    }
}

fn write_csr(register: u32, value: u32) {
    CSR_DATA.write(value);
    CSR_COMMAND.write(CSR_BUSY | register);
    while CSR_COMMAND.read() & CSR_BUSY != 0 {}
}

fn read_csr(register: u32) -> u32 {
    CSR_COMMAND.write(CSR_BUSY | CSR_READ | register);
    while CSR_COMMAND.read() & CSR_BUSY != 0 {}
    CSR_DATA.read()
}

fn write_phy(register: u32, value: u32) {
    write_csr(MII_DATA, value);
    write_csr(MII_ACCESS, MII_PHY | register << 6 | MII_WRITE);
}

fn read_phy(register: u32) -> u32 {
    write_csr(MII_ACCESS, MII_PHY | register << 6);
    read_csr(MII_DATA)
}

/// Words as the bytes that they are, lowest first.
fn bytes_of(words: &mut [u32]) -> &mut [u8] {
    // SAFETY: bytes have no alignment and no invalid pattern; the length is that of the words, and
    // the borrow goes on as the one of the words.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 4 * words.len()) }
}

/// The controller's interrupt. It stays raised while frames wait, or the transceiver's words: it is
/// masked until they were looked for.
pub extern "C" fn on_interrupt() {
    INT_EN.write(0);
    INT_STS.write(u32::MAX);
    WAKER.wake();
}

/// A frame that came.
#[derive(Debug)]
pub struct Received<'a>(&'a mut [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// Room for a frame to be sent.
#[derive(Debug)]
pub struct Room<'a>(&'a mut [u32]);

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, write: F) -> R {
        let words = self.0.get_mut(..bytes.div_ceil(4)).unwrap_or_default();
        let done = write(bytes_of(words).get_mut(..bytes).unwrap_or_default());
        // First and last segment; the length twice.
        TX_DATA.write(1 << 13 | 1 << 12 | bytes as u32);
        TX_DATA.write(bytes as u32);
        for word in words {
            TX_DATA.write(*word);
        }
        while TX_FIFO_INF.read() >> 16 & 0xff > 0 {
            TX_STATUS.read();
        }
        done
    }
}

impl Driver for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Received<'_>, Room<'_>)> {
        WAKER.register(context.waker());
        let Some(bytes) = self.take() else {
            INT_EN.write(EVENTS);
            return None;
        };
        let (rx, tx) = &mut *self.buffers;
        let received = bytes_of(rx).get_mut(..bytes)?;
        Some((Received(received), Room(tx)))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Room<'_>> {
        Some(Room(&mut self.buffers.1))
    }

    fn link_state(&mut self, context: &mut Context<'_>) -> LinkState {
        WAKER.register(context.waker());
        read_phy(PHY_EVENT_SOURCE);
        if read_phy(PHY_STATUS) & PHY_STATUS_LINK == 0 {
            LinkState::Down
        } else {
            LinkState::Up
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
