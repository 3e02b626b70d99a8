//! Columns: from a title and its cells to a sensor.

use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::ids::{SensorName, is_name_byte};
use tidegate_shared::limits::{SENSOR_BYTES_MAX, SENSORS_MAX, UNIT_BYTES_MAX};

use super::SimulateError;
use super::decimal::Decimal;

/// Finest resolution that is guessed: 10^-9.
const DECIMALS_MAX: u32 = 9;
/// Digits that an `i64` surely holds.
const RAW_DIGITS_MAX: u32 = 18;

/// The unit of raw values: `step × 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// Factor, at least 1.
    pub step: u32,
    /// Power of ten, -18 to 18.
    pub exponent: i8,
}

impl Resolution {
    /// A number above 0 as a resolution; none when it cannot be one.
    pub fn of(number: Decimal) -> Option<Self> {
        let (mut mantissa, mut exponent) = (number.mantissa, number.exponent);
        while mantissa != 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        let step = u32::try_from(mantissa).ok().filter(|step| *step > 0)?;
        let exponent = i8::try_from(exponent)
            .ok()
            .filter(|power| power.abs() <= 18)?;
        Some(Self { step, exponent })
    }

    /// The nearest raw value, half away from zero; none beyond an `i64`.
    pub fn raw(self, number: &Decimal) -> Option<i64> {
        number.in_units(self.step, self.exponent.into())
    }
}

/// The finest decimals and the largest size seen in a column.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    decimals: u32,
    /// Digits before the point.
    digits: u32,
}

impl Extent {
    /// Looks at one more number.
    pub fn add(&mut self, number: &Decimal) {
        self.decimals = self.decimals.max(number.decimals().min(DECIMALS_MAX));
        let whole = number.in_units(1, 0).unwrap_or(i64::MAX).unsigned_abs();
        self.digits = self
            .digits
            .max(whole.checked_ilog10().map_or(0, |log| log + 1));
    }

    /// As fine as the finest number seen, as far as raw values stay within an `i64`.
    pub fn resolution(self) -> Resolution {
        let decimals = self
            .decimals
            .min(RAW_DIGITS_MAX.saturating_sub(self.digits));
        Resolution {
            step: 1,
            exponent: -(decimals as i8),
        }
    }
}

/// A sensor of a simulated device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Where it stands in a row.
    pub index: usize,
    /// Its name as a sensor.
    pub name: SensorName,
    /// Its unit; may be empty.
    pub unit: String,
    /// The unit of its raw values.
    pub resolution: Resolution,
}

/// A title as a sensor's name: other characters become `_`, what is too long is cut, and a name
/// that is taken gets a number.
pub fn clean(title: &str, index: usize, taken: &[SensorName]) -> SensorName {
    let byte = |one: char| {
        if one.is_ascii() && is_name_byte(one as u8) {
            one
        } else {
            '_'
        }
    };
    let mut cleaned: String = title
        .trim()
        .chars()
        .map(byte)
        .take(SENSOR_BYTES_MAX)
        .collect();
    if cleaned.is_empty() {
        cleaned = format!("column_{}", index + 1);
    }
    let mut text = cleaned.clone();
    for number in 2.. {
        match SensorName::try_from(text.as_str()) {
            Ok(name) if !taken.contains(&name) => return name,
            _ => {
                let suffix = format!("_{number}");
                cleaned.truncate(SENSOR_BYTES_MAX - suffix.len());
                text = format!("{cleaned}{suffix}");
            }
        }
    }
    unreachable!("one of more numbers than columns is free")
}

/// The catalog of a device with these columns.
pub fn catalog(columns: &[Column]) -> Result<Vec<u8>, SimulateError> {
    if columns.len() > SENSORS_MAX {
        return Err(SimulateError::TooManyColumns {
            columns: columns.len(),
            columns_max: SENSORS_MAX,
        });
    }
    let mut sensors = Vec::with_capacity(columns.len());
    for column in columns {
        if column.unit.len() > UNIT_BYTES_MAX {
            return Err(SimulateError::Unit {
                unit: column.unit.clone(),
                bytes_max: UNIT_BYTES_MAX,
            });
        }
        sensors.push(SensorInfo {
            id: column.name.clone(),
            unit: &column.unit,
            kind: Kind::Gauge,
            scale: Scale {
                step: column.resolution.step,
                offset: 0,
                exponent: column.resolution.exponent,
            },
            urgent: false,
            tags: heapless::Vec::new(),
        });
    }
    // A description takes at most 256 bytes and its length.
    let mut out = vec![0; 8 + 258 * sensors.len()];
    let used = catalog::write(&sensors, &mut out).map(<[u8]>::len);
    out.truncate(used.expect("every limit was checked, and the buffer is large enough"));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_names() {
        let name = |text: &str| SensorName::try_from(text).unwrap();
        assert_eq!(
            clean("Volume Flow RateRMS", 0, &[]),
            name("Volume_Flow_RateRMS")
        );
        assert_eq!(clean("p [bar]", 0, &[]), name("p__bar_"));
        assert_eq!(clean(" ", 4, &[]), name("column_5"));
        assert_eq!(
            clean("a b", 0, &[name("a_b"), name("a_b_2")]),
            name("a_b_3")
        );
        assert_eq!(clean(&"x".repeat(40), 0, &[]), name(&"x".repeat(32)));
        let taken = [name(&"x".repeat(32))];
        assert_eq!(
            clean(&"x".repeat(40), 0, &taken),
            name(&format!("{}_2", "x".repeat(30)))
        );
        assert_eq!(clean("Ätna", 0, &[]), name("_tna"));
    }

    #[test]
    fn the_finest_number_decides() {
        let mut extent = Extent::default();
        for text in ["1.5", "20", "0.0265878", "1e-3"] {
            extent.add(&Decimal::parse(text).unwrap());
        }
        assert_eq!(
            extent.resolution(),
            Resolution {
                step: 1,
                exponent: -7
            }
        );
        extent.add(&Decimal::parse("1.00000000000000001").unwrap());
        assert_eq!(extent.resolution().exponent, -9, "at most nine decimals");
        extent.add(&Decimal::parse("12345678901234").unwrap());
        assert_eq!(
            extent.resolution().exponent,
            -4,
            "raw values stay within 18 digits"
        );
    }

    #[test]
    fn resolutions() {
        let of = |text| Decimal::parse(text).and_then(Resolution::of);
        assert_eq!(
            of("0.05"),
            Some(Resolution {
                step: 5,
                exponent: -2
            })
        );
        assert_eq!(
            of("1e-4"),
            Some(Resolution {
                step: 1,
                exponent: -4
            })
        );
        assert_eq!(
            of("100"),
            Some(Resolution {
                step: 1,
                exponent: 2
            })
        );
        assert_eq!(of("0"), None);
        assert_eq!(of("-1"), None);
        assert_eq!(of("1e-19"), None);
    }
}
