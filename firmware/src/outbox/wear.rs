//! Wear: how often pages are erased, and for how many years that goes on.

use tidegate_shared::report::FlashReport;

/// µs of a day.
const DAY_US: u64 = 86_400_000_000;
/// Least time from which a rate is told: an hour.
const RATE_US: u64 = 3_600_000_000;
/// Years beyond which a flash fails for other reasons (data sheets promise 10 to 20).
pub const YEARS_MAX: u16 = 100;

/// What became of the flash and of the frames in it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FlashStatus {
    /// Frames held in flash.
    pub frames: u32,
    /// Pages of the outbox.
    pub pages: u32,
    /// Blank pages.
    pub pages_blank: u32,
    /// Erases of pages, all together, as far as was told at the start.
    pub erases: u32,
    /// Erases in this boot.
    pub erases_boot: u32,
    /// Of these, erases that could not wait for the samplers to have time.
    pub erases_forced: u32,
    /// Frames written to flash in this boot.
    pub spilled: u32,
    /// Frames that the start found missing between others, unreadable, or out of order.
    pub lost: u32,
    /// Writes that did not read back, and operations that the flash refused.
    pub failures: u32,
    /// Erases that every page endures, as the board states.
    pub endurance: u32,
}

impl FlashStatus {
    /// What is told to a gateway at `uptime_us` of this boot.
    pub fn report(&self, uptime_us: u64) -> FlashReport {
        FlashReport {
            frames: self.frames,
            pages: self.pages,
            erases: self.erases,
            erases_boot: self.erases_boot,
            erases_forced: self.erases_forced,
            spilled: self.spilled,
            lost: self.lost,
            failures: self.failures,
            erases_per_day_milli: self.erases_per_day_milli(uptime_us),
            years_left: self.years_left(uptime_us),
        }
    }

    /// Erases a day in thousandths, over `uptime_us` of this boot; none before an hour of it.
    pub fn erases_per_day_milli(&self, uptime_us: u64) -> Option<u32> {
        if uptime_us < RATE_US {
            return None;
        }
        let milli = u128::from(self.erases_boot) * 1_000 * u128::from(DAY_US);
        let milli = milli / u128::from(uptime_us);
        Some(u32::try_from(milli).unwrap_or(u32::MAX))
    }

    /// Years until the pages have seen the erases that they endure, at the rate of this boot, at
    /// most [`YEARS_MAX`]; none before an hour of it. Pages are erased in turn, so each sees its
    /// share.
    pub fn years_left(&self, uptime_us: u64) -> Option<u16> {
        let milli_per_day = u64::from(self.erases_per_day_milli(uptime_us)?);
        let all = u64::from(self.endurance) * u64::from(self.pages);
        let left = all.saturating_sub(self.erases.into());
        let years = left
            .saturating_mul(1_000)
            .checked_div(milli_per_day)
            .map_or(u64::MAX, |days| days / 365);
        Some(years.min(YEARS_MAX.into()) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_the_years_that_it_leaves() {
        let status = FlashStatus {
            pages: 16,
            erases: 1_000,
            erases_boot: 24,
            endurance: 10_000,
            ..FlashStatus::default()
        };
        assert_eq!(status.erases_per_day_milli(RATE_US - 1), None);
        assert_eq!(status.erases_per_day_milli(DAY_US), Some(24_000));
        // 159,000 erases at 24 a day are 6,625 days.
        assert_eq!(status.years_left(DAY_US), Some(18));
        let idle = FlashStatus {
            erases_boot: 0,
            ..status
        };
        assert_eq!(idle.years_left(DAY_US), Some(YEARS_MAX));
        let worn = FlashStatus {
            erases: 160_001,
            ..status
        };
        assert_eq!(worn.years_left(DAY_US), Some(0));
    }
}
