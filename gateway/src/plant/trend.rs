//! Trend: whether a sensor's newest values lie above or below those before them; a pure function.
//!
//! The newest third of the values is compared with the oldest third: their means must be further
//! apart than the values within the thirds are spread (one standard deviation, pooled), and than
//! chance moves means of so few (twice the standard error of their difference).

use super::Trend;

/// Values that a trend is made of: the newest; more would tell of what is long over.
pub const TREND_VALUES: usize = 60;
/// With fewer there is no trend: thirds of less than four say nothing of their spread.
const VALUES_MIN: usize = 12;

/// Where values go, oldest first; none where they are too few.
pub fn of(values: &[f64]) -> Option<Trend> {
    if values.len() < VALUES_MIN {
        return None;
    }
    let third = values.len() / 3;
    let (oldest, oldest_square) = moments(&values[..third]);
    let (newest, newest_square) = moments(&values[values.len() - third..]);
    let variance = (oldest_square + newest_square) / (2 * (third - 1)) as f64;
    let chance = 2.0 * (2.0 / third as f64).sqrt();
    let apart = variance.sqrt() * chance.max(1.0);
    let moved = newest - oldest;
    Some(if moved > apart {
        Trend::Rising
    } else if -moved > apart {
        Trend::Falling
    } else {
        Trend::Steady
    })
}

/// Mean, and sum of the squares of the distances to it.
fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|value| (value - mean) * (value - mean));
    (mean, squares.sum())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ramp(values: usize, step: f64) -> Vec<f64> {
        (0..values).map(|at| at as f64 * step).collect()
    }

    #[test]
    fn a_ramp_rises_or_falls_and_what_stays_is_steady() {
        assert_eq!(of(&ramp(60, 0.1)), Some(Trend::Rising));
        assert_eq!(of(&ramp(12, -3.0)), Some(Trend::Falling));
        assert_eq!(of(&ramp(60, 0.0)), Some(Trend::Steady));
        let wave: Vec<f64> = (0..60).map(|at| f64::from(at % 4)).collect();
        assert_eq!(of(&wave), Some(Trend::Steady));
    }

    #[test]
    fn a_step_without_spread_is_a_trend() {
        let mut values = vec![1.0; 30];
        values.extend([1.5; 30]);
        assert_eq!(of(&values), Some(Trend::Rising));
    }

    #[test]
    fn too_few_have_none() {
        assert_eq!(of(&ramp(VALUES_MIN - 1, 1.0)), None);
        assert_eq!(of(&[]), None);
    }

    proptest! {
        #[test]
        fn turned_over_it_is_the_opposite(values in prop::collection::vec(-1e6_f64..1e6, 12..80)) {
            let turned: Vec<f64> = values.iter().map(|value| -value).collect();
            let opposite = of(&values).map(|trend| match trend {
                Trend::Rising => Trend::Falling,
                Trend::Steady => Trend::Steady,
                Trend::Falling => Trend::Rising,
            });
            prop_assert_eq!(of(&turned), opposite);
        }

        #[test]
        fn chance_is_seldom_a_trend(seeds in prop::collection::vec(any::<u64>(), 400)) {
            let mut found = 0;
            for seed in &seeds {
                let mut state = *seed;
                let values: Vec<f64> = (0..60).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    f64::from((state >> 40) as u32)
                }).collect();
                found += usize::from(of(&values) != Some(Trend::Steady));
            }
            prop_assert!(found < 20, "{} of {}", found, seeds.len());
        }
    }
}
