//! The board: its pins, and what of the chip Tidegate uses.

use embassy_net_wiznet::chip::W5500;
use embassy_net_wiznet::{Device, Runner, State};
use embassy_rp::clocks::RoscRng;
use embassy_rp::flash::{Blocking, Flash};
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::peripherals::{DMA_CH0, DMA_CH1, FLASH, SPI0};
use embassy_rp::spi::{self, Async, Spi};
use embassy_rp::watchdog::{self, Watchdog};
use embassy_rp::{bind_interrupts, dma, pac};
use embassy_time::{Delay, Duration};
use embedded_hal_bus::spi::ExclusiveDevice;
use static_cell::ConstStaticCell;
use tidegate_board::flash::FlashSlots;
use tidegate_board::settings::{PAGE_BYTES_MAX, Settings};
use tidegate_board::{log, mac};
use tidegate_firmware::shell::Entropy;
use tidegate_shared::frame::crc32c;
use tidegate_shared::message::ResetReason;

use crate::temperature::ChipTemperature;

/// The watchdog fires after this long without a sample.
pub const WATCHDOG: Duration = Duration::from_secs(8);
const FLASH_BYTES: usize = 2 * 1_024 * 1_024;
/// Where the boot store and the settings page begin in the flash; `memory.x` leaves them free.
const STORE_OFFSET: u32 = 0x001f_d000;
const PAGE_OFFSET: u32 = 0x001f_f000;

bind_interrupts!(struct Interrupts {
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>, dma::InterruptHandler<DMA_CH1>;
    #[cfg(feature = "lm75")]
    I2C0_IRQ => embassy_rp::i2c::InterruptHandler<embassy_rp::peripherals::I2C0>;
});

type Bus = ExclusiveDevice<Spi<'static, SPI0, Async>, Output<'static>, Delay>;
type Store = Flash<'static, FLASH, Blocking, FLASH_BYTES>;
#[cfg(feature = "lm75")]
type I2c = embassy_rp::i2c::I2c<'static, embassy_rp::peripherals::I2C0, embassy_rp::i2c::Async>;

/// Two packets in, one out; the W5500 has 16 KiB for more of both.
static PACKETS: ConstStaticCell<State<2, 1>> = ConstStaticCell::new(State::new());

/// Random numbers from the jitter of the ring oscillator.
pub struct Random;

impl Entropy for Random {
    fn draw(&mut self) -> u32 {
        RoscRng.next_u32()
    }
}

/// What is on the board.
pub struct Board {
    pub network: Device<'static>,
    pub ethernet: Runner<'static, W5500, Bus, Input<'static>, Output<'static>>,
    pub slots: FlashSlots<Store>,
    pub random: Random,
    pub temperature: ChipTemperature,
    #[cfg(feature = "lm75")]
    pub i2c: crate::bounded::Bounded<I2c>,
    pub watchdog: Watchdog,
    pub reset: ResetReason,
    pub settings: Settings,
    /// Made of the flash's unique number; none when that could not be read.
    pub number: Option<u32>,
}

impl Board {
    /// Starts the chip at its usual 125 MHz, the watchdog, and the W5500.
    pub async fn start(built_in: Option<Settings>) -> Self {
        let chip = embassy_rp::init(embassy_rp::config::Config::default());
        let mut watchdog = Watchdog::new(chip.WATCHDOG);
        let reset = reset_reason(&watchdog);
        watchdog.start(WATCHDOG);
        let mut flash = Store::new_blocking(chip.FLASH);
        let mut unique = [0; 8];
        let mut page = [0xff; PAGE_BYTES_MAX];
        // A page that cannot be read is none, and then all boards have one address.
        let read = flash.blocking_unique_id(&mut unique);
        let _ = flash.blocking_read(PAGE_OFFSET, &mut page);
        let Some(built_in) = built_in else {
            panic!("the built-in settings are no names");
        };
        let (settings, source) = Settings::read_or(&page, built_in);
        log::settings(&settings, source);

        let mut config = spi::Config::default();
        config.frequency = 50_000_000;
        let (miso, select, clock, mosi) = (chip.PIN_16, chip.PIN_17, chip.PIN_18, chip.PIN_19);
        let bus = Spi::new(
            chip.SPI0,
            clock,
            mosi,
            miso,
            chip.DMA_CH0,
            chip.DMA_CH1,
            Interrupts,
            config,
        );
        let select = Output::new(select, Level::High);
        let Ok(bus) = ExclusiveDevice::new(bus, select, Delay);
        let reset_pin = Output::new(chip.PIN_20, Level::High);
        let interrupt_pin = Input::new(chip.PIN_21, Pull::Up);
        let started = embassy_net_wiznet::new(
            mac::address(&unique),
            PACKETS.take(),
            bus,
            interrupt_pin,
            reset_pin,
        );
        let Ok((network, ethernet)) = started.await else {
            panic!("no answer from the W5500");
        };
        Self {
            network,
            ethernet,
            slots: FlashSlots::new(flash, STORE_OFFSET),
            random: Random,
            temperature: ChipTemperature::new(chip.ADC, chip.ADC_TEMP_SENSOR),
            #[cfg(feature = "lm75")]
            i2c: crate::bounded::Bounded(I2c::new_async(
                chip.I2C0,
                chip.PIN_5,
                chip.PIN_4,
                Interrupts,
                embassy_rp::i2c::Config::default(),
            )),
            watchdog,
            reset,
            settings,
            number: read.is_ok().then(|| crc32c(&unique)),
        }
    }
}

/// Why the chip started (RP2040 datasheet, 4.7.6 and 2.10.4).
fn reset_reason(watchdog: &Watchdog) -> ResetReason {
    match watchdog.reset_reason() {
        Some(watchdog::ResetReason::TimedOut) => ResetReason::Watchdog,
        Some(watchdog::ResetReason::Forced) => ResetReason::Software,
        None if pac::VREG_AND_CHIP_RESET.chip_reset().read().had_por() => ResetReason::PowerOn,
        None => ResetReason::Unknown,
    }
}
