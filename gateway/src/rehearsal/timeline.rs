//! Timeline: from a device's steps to what happens when.
//!
//! A step begins where the steps before it ended, or at its `at`. Samples, silence, reboot and
//! stop take time; an outage and a clock step take none: what follows them goes on meanwhile.

use super::{Act, Samples, Step, Times};

/// What happens to a device at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// It takes a sample of a sensor; `late_us` after that it arrives on its own, if given.
    Sample {
        sensor: u16,
        raw: Option<i64>,
        late_us: Option<i64>,
    },
    /// Its link drops, or comes back.
    Down,
    Up,
    /// The gateway can no longer be reached, or can be again.
    GatewayGone,
    GatewayBack,
    /// It goes off: as planned or not.
    Off {
        planned: bool,
    },
    /// It starts as another boot.
    On,
    /// Its time is set by so many µs.
    Clock(i64),
}

/// Happenings with their times in µs, in order; at one time in the order of their steps.
pub(super) fn place(steps: &[Step]) -> Vec<(i64, Happening)> {
    let mut placed = Vec::new();
    let mut cursor_us = 0;
    let last = steps.len().saturating_sub(1);
    for (number, step) in steps.iter().enumerate() {
        let at_us = step.at_us.unwrap_or(cursor_us);
        let took_us = match &step.act {
            Act::Samples(samples) => take(samples, at_us, &mut placed),
            Act::Silence(us) => *us,
            Act::Outage(us) => {
                placed.push((at_us, Happening::Down));
                placed.push((at_us + us, Happening::Up));
                0
            }
            Act::Reboot(us) => {
                placed.push((at_us, Happening::Off { planned: false }));
                placed.push((at_us + us, Happening::On));
                *us
            }
            Act::Stop(us) => {
                placed.push((at_us, Happening::Off { planned: true }));
                if number < last {
                    placed.push((at_us + us, Happening::On));
                }
                *us
            }
            Act::Clock(by_us) => {
                placed.push((at_us, Happening::Clock(*by_us)));
                0
            }
        };
        cursor_us = cursor_us.max(at_us + took_us);
    }
    placed.sort_by_key(|(at_us, _)| *at_us);
    placed
}

/// Places samples and says how long they take: with a period that of each, else up to the last.
fn take(samples: &Samples, at_us: i64, placed: &mut Vec<(i64, Happening)>) -> i64 {
    let rows = samples.columns.iter().map(|(_, raws)| raws.len()).max();
    let rows = rows.unwrap_or(0);
    let (once_us, time_us): (i64, Box<dyn Fn(usize) -> i64>) = match &samples.times {
        Times::Every(us) => {
            let us = *us;
            (us * rows as i64, Box::new(move |row| us * row as i64))
        }
        Times::At(times) => (
            times.last().copied().unwrap_or(0),
            Box::new(|row| times.get(row).copied().unwrap_or(0)),
        ),
    };
    for round in 0..samples.repeat as i64 {
        for row in 0..rows {
            for (sensor, raws) in &samples.columns {
                if let Some(raw) = raws.get(row) {
                    let happening = Happening::Sample {
                        sensor: *sensor,
                        raw: *raw,
                        late_us: samples.late_us,
                    };
                    placed.push((at_us + round * once_us + time_us(row), happening));
                }
            }
        }
    }
    once_us * samples.repeat as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn step(at_us: Option<i64>, act: Act) -> Step {
        Step { at_us, act }
    }

    fn samples(raws: &[i64], times: Times, repeat: u64) -> Act {
        Act::Samples(Samples {
            columns: vec![(0, raws.iter().copied().map(Some).collect())],
            times,
            repeat,
            late_us: None,
        })
    }

    fn times(steps: &[Step]) -> Vec<i64> {
        place(steps).iter().map(|(at_us, _)| at_us / S).collect()
    }

    #[test]
    fn a_step_begins_where_the_others_ended_or_where_it_says() {
        let steps = [
            step(None, samples(&[1, 2], Times::Every(10 * S), 2)),
            step(None, Act::Silence(5 * S)),
            step(Some(3 * S), samples(&[9], Times::Every(S), 1)),
            step(None, samples(&[3, 4], Times::At(vec![0, 7 * S]), 1)),
        ];
        assert_eq!(times(&steps), [0, 3, 10, 20, 30, 45, 52]);
    }

    #[test]
    fn an_outage_takes_no_time_of_the_others() {
        let steps = [
            step(None, Act::Outage(15 * S)),
            step(None, samples(&[1, 2], Times::Every(10 * S), 1)),
        ];
        let placed = place(&steps);
        let kinds: Vec<bool> = placed
            .iter()
            .map(|(_, one)| matches!(one, Happening::Sample { .. }))
            .collect();
        assert_eq!(times(&steps), [0, 0, 10, 15]);
        assert_eq!(kinds, [false, true, true, false]);
    }

    #[test]
    fn a_planned_stop_at_the_end_is_the_end() {
        let stop = || step(None, Act::Stop(5 * S));
        assert_eq!(times(&[stop()]), [0]);
        let more = [stop(), step(None, samples(&[1], Times::Every(S), 1))];
        assert_eq!(times(&more), [0, 5, 5]);
    }
}
