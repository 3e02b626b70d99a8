//! The board: its clocks, its pins, and what of the chip Tidegate uses.

use embassy_stm32::eth::{self, Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::flash::{Bank2Region1, Blocking, Flash};
use embassy_stm32::i2c::{I2c, Master};
use embassy_stm32::peripherals::{ETH, ETH_SMA, IWDG, RNG};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::time::Hertz;
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::{Config, bind_interrupts, pac, rcc, uid};
use static_cell::ConstStaticCell;
use tidegate_board::flash::FlashSlots;
use tidegate_board::settings::{PAGE_BYTES_MAX, Settings};
use tidegate_board::{log, mac};
use tidegate_firmware::shell::Entropy;
use tidegate_shared::frame::crc32c;
use tidegate_shared::message::ResetReason;

use crate::temperature::ChipTemperature;

/// The watchdog fires after this long without a sample, in µs.
const WATCHDOG_US: u32 = 8_000_000;
/// Where the settings page begins in the second bank of the flash.
const PAGE_OFFSET: u32 = 0x8000;
const PAGE_BYTES: usize = PAGE_BYTES_MAX.next_multiple_of(4);

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    HASH_RNG => rng::InterruptHandler<RNG>;
});

/// One packet on its way out, three on their way in.
static PACKETS: ConstStaticCell<PacketQueue<1, 3>> = ConstStaticCell::new(PacketQueue::new());

/// The chip's random numbers.
pub struct Random(Rng<'static, RNG>);

impl Entropy for Random {
    fn draw(&mut self) -> u32 {
        self.0.next_u32()
    }
}

/// What is on the board.
pub struct Board {
    pub network: Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>>,
    pub slots: FlashSlots<Bank2Region1<'static, Blocking>>,
    pub random: Random,
    pub temperature: ChipTemperature,
    #[cfg_attr(not(feature = "lm75"), expect(dead_code, reason = "for `lm75` alone"))]
    pub i2c: I2c<'static, embassy_stm32::mode::Blocking, Master>,
    pub watchdog: IndependentWatchdog<'static, IWDG>,
    pub reset: ResetReason,
}

impl Board {
    /// Starts the chip at 168 MHz from the ST-Link's 8 MHz, and the watchdog; reads the settings page,
    /// which is not kept in RAM.
    pub fn start() -> (Self, [u8; PAGE_BYTES]) {
        let reset = reset_reason();
        let chip = embassy_stm32::init(clocks());
        let mut watchdog = IndependentWatchdog::new(chip.IWDG, WATCHDOG_US);
        watchdog.unleash();
        let mut bank = Flash::new_blocking(chip.FLASH)
            .into_blocking_regions()
            .bank2_region1;
        let mut page = [0xff; PAGE_BYTES];
        // A page that cannot be read is none.
        let _ = bank.blocking_read(PAGE_OFFSET, &mut page);
        let network = Ethernet::new(
            PACKETS.take(),
            chip.ETH,
            Interrupts,
            chip.PA1,
            chip.PA7,
            chip.PC4,
            chip.PC5,
            chip.PG13,
            chip.PB13,
            chip.PG11,
            mac::address(&uid::uid()),
            chip.ETH_SMA,
            chip.PA2,
            chip.PC1,
        );
        let board = Self {
            network,
            slots: FlashSlots::new(bank, 0),
            random: Random(Rng::new(chip.RNG, Interrupts)),
            temperature: ChipTemperature::new(chip.ADC1),
            i2c: I2c::new_blocking(
                chip.I2C1,
                chip.PB8,
                chip.PB9,
                embassy_stm32::i2c::Config::default(),
            ),
            watchdog,
            reset,
        };
        (board, page)
    }
}

/// The settings of the page, or those built in.
pub fn settings(page: &[u8], built_in: Option<Settings>) -> Settings {
    let Some(built_in) = built_in else {
        panic!("the built-in settings are no names");
    };
    let (settings, source) = Settings::read_or(page, built_in);
    log::settings(&settings, source);
    settings
}

/// Made of the chip's unique number.
pub fn number() -> u32 {
    crc32c(&uid::uid()[..])
}

/// 168 MHz for the core, 42 and 84 for its buses, 48 for the random numbers.
fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.hse = Some(rcc::Hse {
        freq: Hertz(8_000_000),
        mode: rcc::HseMode::Bypass,
    });
    config.rcc.pll_src = rcc::PllSource::HSE;
    config.rcc.pll = Some(rcc::Pll {
        prediv: rcc::PllPreDiv::DIV4,
        mul: rcc::PllMul::MUL168,
        divp: Some(rcc::PllPDiv::DIV2),
        divq: Some(rcc::PllQDiv::DIV7),
        divr: None,
    });
    config.rcc.ahb_pre = rcc::AHBPrescaler::DIV1;
    config.rcc.apb1_pre = rcc::APBPrescaler::DIV4;
    config.rcc.apb2_pre = rcc::APBPrescaler::DIV2;
    config.rcc.sys = rcc::Sysclk::PLL1_P;
    config
}

/// Why the chip started (RM0090, `RCC_CSR`); the flags are cleared for the next start.
fn reset_reason() -> ResetReason {
    let flags = pac::RCC.csr().read();
    pac::RCC.csr().modify(|register| register.set_rmvf(true));
    if flags.wdgrstf() || flags.wwdgrstf() {
        ResetReason::Watchdog
    } else if flags.sftrstf() {
        ResetReason::Software
    } else if flags.porrstf() {
        ResetReason::PowerOn
    } else if flags.borrstf() {
        ResetReason::BrownOut
    } else {
        ResetReason::Unknown
    }
}
