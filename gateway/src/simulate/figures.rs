//! Figures: how far a simulation is, for a bar, for JSON, and for the last line.

use std::fmt::Write as _;

use serde::Serialize;

/// One device's figures, or several added up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Rows that there are.
    pub rows_total: u64,
    /// Rows read, those left out included.
    pub rows: u64,
    /// Rows left out because their time was not after the one before.
    pub rows_skipped: u64,
    /// Samples taken, failed ones included.
    pub samples_taken: u64,
    /// Samples that the gate held back.
    pub samples_suppressed: u64,
    /// Readings that failed: empty cells.
    pub samples_failed: u64,
    /// Samples lost with evicted frames.
    pub samples_evicted: u64,
    /// Frames frozen.
    pub frames: u64,
    /// Sequence of the newest frame that a gateway acked.
    pub acked: u64,
    /// Frames that wait in the outbox.
    pub depth: u64,
    /// Bytes published on the up topic: Hello to `ended`, resends included, headers and trailers
    /// included, MQTT's own not.
    pub bytes_published: u64,
    /// Publishes that those bytes took.
    pub published: u64,
    /// Connections to the broker that came about.
    pub connections: u64,
    /// Incarnations drawn after a conflict.
    pub renamed: u64,
    /// Devices whose last frame is acked.
    pub drained: u64,
}

impl Figures {
    /// Adds another device's.
    pub fn add(&mut self, other: &Self) {
        self.rows_total += other.rows_total;
        self.rows += other.rows;
        self.rows_skipped += other.rows_skipped;
        self.samples_taken += other.samples_taken;
        self.samples_suppressed += other.samples_suppressed;
        self.samples_failed += other.samples_failed;
        self.samples_evicted += other.samples_evicted;
        self.frames += other.frames;
        self.acked += other.acked;
        self.depth += other.depth;
        self.bytes_published += other.bytes_published;
        self.published += other.published;
        self.connections += other.connections;
        self.renamed += other.renamed;
        self.drained += other.drained;
    }
}

/// A simulation's figures.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Devices simulated.
    pub devices: u64,
    /// Whether all of them are drained.
    pub done: bool,
    /// Bytes published per sample taken.
    pub bytes_per_sample: Option<f64>,
    /// All devices added up.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Summary {
    /// Adds devices up.
    pub fn of(devices: impl IntoIterator<Item = Figures>) -> Self {
        let mut summary = Self::default();
        for one in devices {
            summary.devices += 1;
            summary.figures.add(&one);
        }
        let Figures {
            drained,
            samples_taken,
            bytes_published,
            ..
        } = summary.figures;
        summary.done = drained == summary.devices;
        summary.bytes_per_sample =
            (samples_taken > 0).then(|| bytes_published as f64 / samples_taken as f64);
        summary
    }

    /// As one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// For people, several lines.
    pub fn told(&self) -> String {
        let Figures {
            rows_skipped,
            samples_taken,
            samples_suppressed,
            samples_failed,
            samples_evicted,
            frames,
            bytes_published,
            published,
            connections,
            renamed,
            ..
        } = self.figures;
        let mut told = format!(
            "{samples_taken} samples taken ({samples_suppressed} suppressed, {samples_failed} failed, \
             {samples_evicted} evicted) in {frames} frames of {} devices\n",
            self.devices
        );
        if let Some(bytes) = self.bytes_per_sample {
            let _ = writeln!(
                told,
                "{bytes_published} bytes in {published} publishes: {bytes:.3} bytes per sample, \
                 every frame from Hello to ended with header and trailer"
            );
        }
        if rows_skipped > 0 {
            let _ = writeln!(
                told,
                "{rows_skipped} rows were left out: their time was not after the row before"
            );
        }
        if connections > self.devices || renamed > 0 {
            let _ = writeln!(
                told,
                "{connections} connections, {renamed} new incarnations"
            );
        }
        told += if self.done {
            "everything is acked\n"
        } else {
            "not everything is acked\n"
        };
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_add_up() {
        let one = Figures {
            samples_taken: 100,
            bytes_published: 90,
            drained: 1,
            ..Figures::default()
        };
        let two = Figures {
            samples_taken: 100,
            bytes_published: 110,
            ..Figures::default()
        };
        let summary = Summary::of([one, two]);
        assert_eq!((summary.devices, summary.done), (2, false));
        assert_eq!(summary.bytes_per_sample, Some(1.0));
        let json: serde_json::Value = serde_json::from_str(&summary.json()).unwrap();
        assert_eq!(json["samples_taken"], 200);
        assert_eq!(json["done"], false);
        assert!(Summary::of([one]).done);
        assert_eq!(Summary::of([Figures::default()]).bytes_per_sample, None);
    }
}
