//! Root mean square of a signal about its mean, in integers.
//!
//! Over `n` values, `n × Σx² − (Σx)²` is n² times the variance: exact in integers, and without
//! the mean, so that gravity and a sensor's offset fall out. Only the root rounds, down, by less
//! than one raw unit.

/// Values of several axes, gathered over a window of at most 65,535 values an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rms<const AXES: usize> {
    values: u16,
    sums: [i64; AXES],
    squares: [u64; AXES],
}

impl<const AXES: usize> Default for Rms<AXES> {
    fn default() -> Self {
        Self {
            values: 0,
            sums: [0; AXES],
            squares: [0; AXES],
        }
    }
}

impl<const AXES: usize> Rms<AXES> {
    /// Adds one value of each axis; those beyond 65,535 are left out.
    pub fn push(&mut self, axes: [i16; AXES]) {
        let Some(values) = self.values.checked_add(1) else {
            return;
        };
        self.values = values;
        let sums = self.sums.iter_mut().zip(self.squares.iter_mut());
        for ((sum, squares), value) in sums.zip(axes) {
            *sum += i64::from(value);
            *squares += u64::from(value.unsigned_abs()).pow(2);
        }
    }

    /// Values of each axis so far.
    pub fn values(&self) -> u16 {
        self.values
    }

    /// The root of the sum of all axes' variances; none without values.
    pub fn get(&self) -> Option<u32> {
        let values = u64::from(self.values);
        let variance = |(sum, squares): (&i64, &u64)| {
            // At most 2^16 × 2^46: no axis overflows.
            (values * squares).saturating_sub(sum.unsigned_abs().pow(2))
        };
        let axes = self.sums.iter().zip(&self.squares).map(variance);
        let sum = axes.fold(0_u64, u64::saturating_add);
        let mean = sum.checked_div(values.pow(2))?;
        u32::try_from(mean.isqrt()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    fn rms<const AXES: usize>(values: &[[i16; AXES]]) -> Option<u32> {
        let mut rms = Rms::default();
        for one in values {
            rms.push(*one);
        }
        rms.get()
    }

    #[test]
    fn a_still_signal_has_none_whatever_its_offset() {
        assert_eq!(rms::<1>(&[]), None);
        assert_eq!(rms(&[[16_384, -3]; 25]), Some(0));
    }

    #[test]
    fn a_square_wave_has_its_amplitude() {
        let wave: Vec<[i16; 1]> = (0..100)
            .map(|at| [1_000 + 250 * (at % 2 * 2 - 1)])
            .collect();
        assert_eq!(rms(&wave), Some(250));
    }

    #[test]
    fn a_sine_has_its_amplitude_by_the_root_of_two() {
        // 32 values of a period of amplitude 16,000: 11,313.7 by mathematics.
        let sine: Vec<[i16; 1]> = (0..32)
            .map(|at| [(16_000.0 * (f64::from(at) * core::f64::consts::TAU / 32.0).sin()) as i16])
            .collect();
        assert!((11_312..=11_314).contains(&rms(&sine).unwrap()));
    }

    #[test]
    fn axes_add_as_vectors() {
        assert_eq!(rms(&[[300, 400, 0], [-300, -400, 0]]), Some(500));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut loudest = Rms::<3>::default();
        for at in 0..70_000 {
            loudest.push(if at % 2 == 0 {
                [i16::MIN; 3]
            } else {
                [i16::MAX; 3]
            });
        }
        assert_eq!(loudest.values(), u16::MAX);
        // 32,767.5 × √3.
        assert!(loudest.get().unwrap().abs_diff(56_754) <= 1);
    }

    proptest! {
        #[test]
        fn it_is_the_root_in_floats_rounded_down(
            values in proptest::collection::vec(any::<i16>(), 1..200),
        ) {
            let count = values.len() as f64;
            let mean = values.iter().map(|one| f64::from(*one)).sum::<f64>() / count;
            let squares = values.iter().map(|one| (f64::from(*one) - mean).powi(2));
            let expected = (squares.sum::<f64>() / count).sqrt();
            let values: Vec<[i16; 1]> = values.iter().map(|one| [*one]).collect();
            let got = f64::from(rms(&values).unwrap());
            prop_assert!(got <= expected + 1e-6 && expected < got + 1.000_001, "{got} {expected}");
        }
    }
}
