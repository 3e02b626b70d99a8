//! A small pump plant: temperature, pressure, current and vibration that belong together.
//!
//! A pump runs and rests. While it runs, pressure builds up against a slowly changing demand,
//! the motor draws current with the pressure, warms up, and shakes with the speed; a bearing that
//! wears adds to the vibration over hours. Each quantity follows its target by a first-order lag,
//! and carries noise from a seed: the same seed gives the same rows.

use tidegate_shared::ids::SensorName;

use super::column::{Column, Resolution};
use super::source::Row;

/// Time between rows, in µs.
const STEP_US: i64 = 1_000_000;
/// The pump runs this long of every cycle, in rows.
const RUN_ROWS: u64 = 1_500;
const CYCLE_ROWS: u64 = 1_800;

const SENSORS: [(&str, &str, i8); 4] = [
    ("temperature", "°C", -2),
    ("pressure", "bar", -3),
    ("current", "A", -3),
    ("vibration.rms", "mm/s", -3),
];

/// The model: when it begins, how long it runs, and its seed.
#[derive(Debug)]
pub struct Plant {
    /// The sensors.
    pub columns: Vec<Column>,
    /// How many rows.
    pub rows: u64,
    begin_us: i64,
    seed: u64,
}

impl Plant {
    /// A model whose first row is at `begin_us` (µs since 1970), a row a second.
    pub fn new(begin_us: i64, rows: u64, seed: u64) -> Self {
        let column = |(index, (name, unit, exponent)): (usize, &(&str, &str, i8))| Column {
            index,
            name: SensorName::try_from(*name).expect("the names above are names"),
            unit: (*unit).to_owned(),
            resolution: Resolution {
                step: 1,
                exponent: *exponent,
            },
        };
        Self {
            columns: SENSORS.iter().enumerate().map(column).collect(),
            rows,
            begin_us,
            seed,
        }
    }

    /// The rows of one device; each has noise and a phase of its own.
    pub fn rows(&self, device: u32) -> PlantRows {
        let mut noise = Noise(self.seed ^ (u64::from(device) << 32));
        let phase = noise.next() % CYCLE_ROWS;
        PlantRows {
            left: self.rows,
            utc_us: self.begin_us,
            row: phase,
            noise,
            temperature: 24.0,
            pressure: 0.2,
            speed: 0.0,
            demand: 0.5,
        }
    }
}

/// The rows of one device.
#[derive(Debug)]
pub struct PlantRows {
    left: u64,
    utc_us: i64,
    row: u64,
    noise: Noise,
    temperature: f64,
    pressure: f64,
    speed: f64,
    demand: f64,
}

impl PlantRows {
    /// Computes the next row; false behind the last.
    pub fn next(&mut self, row: &mut Row) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.step();
        let load = self.speed * self.pressure;
        let wear = self.row as f64 / 100_000.0;
        let values = [
            (self.temperature + 0.02 * self.noise.normal(), 1e2),
            (self.pressure + 0.008 * self.noise.normal(), 1e3),
            (
                0.3 * self.speed + 0.45 * load + 0.01 * self.noise.normal().abs(),
                1e3,
            ),
            (
                self.speed * (1.1 + wear) + 0.04 * self.noise.normal().abs(),
                1e3,
            ),
        ];
        row.utc_us = self.utc_us;
        row.raws.clear();
        row.raws
            .extend(values.map(|(value, scale)| Some((value * scale).round() as i64)));
        self.utc_us += STEP_US;
        true
    }

    fn step(&mut self) {
        self.row += 1;
        let is_running = self.row % CYCLE_ROWS < RUN_ROWS;
        let speed = if is_running { 1.0 } else { 0.0 };
        self.demand = (self.demand + 0.01 * self.noise.normal()).clamp(0.1, 0.9);
        self.speed += (speed - self.speed) * 0.2;
        self.pressure += (5.5 * self.speed * (1.2 - self.demand) - self.pressure) * 0.15;
        let warm = 24.0 + 9.0 * self.speed * self.pressure;
        self.temperature += (warm - self.temperature) * 0.004;
    }
}

/// Splitmix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Debug)]
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Nearly normal, mean 0, deviation 1: four uniform numbers added up.
    fn normal(&mut self) -> f64 {
        let uniform = |bits: u64| (bits >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
        let sum: f64 = (0..4).map(|_| uniform(self.next())).sum();
        sum * 3.0_f64.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(seed: u64, device: u32) -> Vec<Row> {
        let plant = Plant::new(1_000, 4_000, seed);
        let (mut rows, mut row, mut all) = (plant.rows(device), Row::default(), Vec::new());
        while rows.next(&mut row) {
            all.push(row.clone());
        }
        all
    }

    #[test]
    fn a_seed_gives_its_rows_again_and_devices_differ() {
        assert_eq!(all(7, 1), all(7, 1));
        assert_ne!(all(7, 1), all(7, 2));
        assert_ne!(all(7, 1), all(8, 1));
        let rows = all(7, 1);
        assert_eq!(rows.len(), 4_000);
        assert!(
            rows.windows(2)
                .all(|pair| pair[1].utc_us - pair[0].utc_us == 1_000_000)
        );
    }

    #[test]
    fn the_quantities_are_plausible_and_belong_together() {
        let rows = all(3, 0);
        let of = |sensor: usize| rows.iter().map(move |row| row.raws[sensor].unwrap());
        assert!(
            of(0).all(|raw| (2_000..10_000).contains(&raw)),
            "20 to 100 °C"
        );
        assert!(of(1).all(|raw| (-100..8_000).contains(&raw)), "0 to 8 bar");
        let (current, pressure): (Vec<_>, Vec<_>) = (of(2).collect(), of(1).collect());
        let resting = current
            .iter()
            .zip(&pressure)
            .filter(|(amps, _)| **amps < 100);
        assert!(resting.clone().count() > 100, "it rests at times");
        assert!(
            resting.clone().all(|(_, bar)| *bar < 2_000),
            "no pressure without current"
        );
    }
}
