//! What the wire costs per sample on the pump trace, and how fast it is read.
//!
//! `TIDEGATE_DATA=… cargo run --release -p tidegate-shared --features fast-crc --example wire_size`
//!
//! Batches of 60 rows of 8 sensors as a device sends them that reads all sensors at once, counted
//! from the frame's version to its trailer. Hello, catalog, totals and clocks come on top (1-2 %).

use std::path::Path;
use std::process::ExitCode;

use tidegate_shared::batch::{self, BatchHead, BatchReader, BlockSource, Scratch};
use tidegate_shared::block::{BadSet, Encoding};
use tidegate_shared::body::{varint_bytes, zigzag};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};
use tidegate_shared::limits::FRAME_BYTES_DEFAULT;
use tidegate_shared::message::Up;

/// Decimal resolution of each column behind the time.
const DECIMALS: [u32; 8] = [4, 4, 3, 3, 2, 2, 1, 2];
const ROWS: usize = 60;

/// Times in seconds, and one series per sensor.
struct Trace {
    seconds: Vec<u64>,
    series: Vec<Vec<i64>>,
}

fn main() -> ExitCode {
    let Some(data) = std::env::var_os("TIDEGATE_DATA") else {
        println!("left out: TIDEGATE_DATA is not set");
        return ExitCode::SUCCESS;
    };
    let path = Path::new(&data).join("skab/anomaly-free.csv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("{} cannot be read", path.display());
        return ExitCode::FAILURE;
    };
    let Some(trace) = read_trace(&text) else {
        eprintln!("{} is not the trace expected", path.display());
        return ExitCode::FAILURE;
    };
    print_yardsticks(&trace);
    let frames = print_frames(&trace);
    print_speed(&frames);
    ExitCode::SUCCESS
}

fn read_trace(text: &str) -> Option<Trace> {
    let mut trace = Trace {
        seconds: Vec::new(),
        series: vec![Vec::new(); DECIMALS.len()],
    };
    for line in text.lines().skip(1) {
        let mut cells = line.split(';');
        trace.seconds.push(seconds(cells.next()?)?);
        for ((cell, decimals), series) in cells.zip(DECIMALS).zip(&mut trace.series) {
            let value: f64 = cell.parse().ok()?;
            series.push((value * f64::from(10_u32.pow(decimals))).round() as i64);
        }
    }
    trace
        .series
        .iter()
        .all(|one| one.len() == trace.seconds.len())
        .then_some(trace)
}

/// Seconds since 2000-03-01 of `2020-02-08 13:30:47`.
fn seconds(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text
        .split(['-', ' ', ':'])
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let [year, month, day, hour, minute, second] = parts.try_into().ok()?;
    // Years that begin in March end with the leap day.
    let (year, month) = if month < 3 {
        (year - 2001, month + 9)
    } else {
        (year - 2000, month - 3)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn residuals(block: &[i64]) -> impl Iterator<Item = u64> + Clone {
    block
        .iter()
        .zip(block.iter().skip(1))
        .map(|(one, next)| zigzag(next - one))
}

fn print_yardsticks(trace: &Trace) {
    let samples = trace.seconds.len() * trace.series.len();
    let blocks = || trace.series.iter().flat_map(|series| series.chunks(ROWS));
    let per_sample = |bytes: usize| bytes as f64 / samples as f64;
    let varint = |block: &[i64]| {
        let first = block
            .first()
            .map_or(0, |first| varint_bytes(zigzag(*first)));
        first + residuals(block).map(varint_bytes).sum::<usize>()
    };
    let rice = |block: &[i64]| {
        let bits = |k: u32| {
            residuals(block)
                .map(|one| (one >> k) + 1 + u64::from(k))
                .sum::<u64>()
        };
        let first = block
            .first()
            .map_or(0, |first| varint_bytes(zigzag(*first)));
        first + (0..32).map(bits).min().unwrap_or_default().div_ceil(8) as usize
    };
    println!(
        "{} rows of {} sensors: {samples} samples",
        trace.seconds.len(),
        trace.series.len()
    );
    println!("bytes per sample, {ROWS} rows a batch:");
    println!("  raw f32, no times                    4.000");
    println!(
        "  delta varint alone, first value incl. {:.3}",
        per_sample(blocks().map(varint).sum())
    );
    println!(
        "  Rice alone, first value incl.         {:.3}",
        per_sample(blocks().map(rice).sum())
    );
}

/// Writes the trace as frames; prints their cost and its shares.
fn print_frames(trace: &Trace) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut shares = Shares::default();
    for (number, seconds) in trace.seconds.chunks(ROWS).enumerate() {
        let base_us = (seconds[0] - trace.seconds[0]) * 1_000_000;
        let offsets: Vec<u32> = seconds
            .iter()
            .map(|second| (second - seconds[0]) as u32 * 1_000_000)
            .collect();
        let rows = number * ROWS..number * ROWS + seconds.len();
        let head = BatchHead {
            catalog: CatalogHash(0x9d2c_5680),
            base_us,
            complete_until_us: base_us + u64::from(offsets[offsets.len() - 1]),
        };
        let blocks = trace
            .series
            .iter()
            .enumerate()
            .map(|(sensor, series)| BlockSource {
                sensor: sensor as u16,
                first_index: rows.start as u16,
                offsets_us: &offsets,
                raws: &series[rows.clone()],
                bad: BadSet::default(),
            });
        let mark = Mark {
            boot: 1,
            sequence: number as u32 + 3,
        };
        let header = Header {
            key_id: 0,
            incarnation: Incarnation(0x1234_5678),
            mark,
        };
        let mut buffer = [0; FRAME_BYTES_DEFAULT];
        let (bytes, _) = frame::write(&header, &mut buffer, |writer| {
            batch::write(writer, &head, blocks.clone())
        })
        .expect("60 rows of 8 sensors fit a frame");
        shares.count(&head, blocks, bytes.len());
        frames.push(bytes.to_vec());
    }
    shares.print(trace.seconds.len() * trace.series.len());
    frames
}

/// Where the bytes of all frames go.
#[derive(Default)]
struct Shares {
    frames: usize,
    bytes: usize,
    bytes_max: usize,
    axes: usize,
    block_heads: usize,
    /// Blocks and bytes by encoding.
    payloads: [(usize, usize); 5],
}

impl Shares {
    fn count<'s>(
        &mut self,
        head: &BatchHead,
        blocks: impl Iterator<Item = BlockSource<'s>> + Clone,
        bytes: usize,
    ) {
        self.frames += 1;
        self.bytes += bytes;
        self.bytes_max = self.bytes_max.max(bytes);
        let mut bound = tidegate_shared::axis::Bound::new();
        for (number, block) in blocks.enumerate() {
            let (encoding, payload) = batch::payload_bytes(&block);
            let (count, sum) = &mut self.payloads[encoding as usize];
            *count += 1;
            *sum += payload;
            self.block_heads += 1;
            if number == 0 {
                block
                    .offsets_us
                    .iter()
                    .for_each(|offset| bound.push(*offset));
                let one = written(head, [block].into_iter()) - written(head, std::iter::empty());
                let flags = if block.first_index == 0 { 0 } else { 2 };
                self.block_heads += flags + 1;
                self.axes += one - 1 - flags - 1 - payload;
            }
        }
    }

    fn print(&self, samples: usize) {
        let payloads: usize = self.payloads.iter().map(|(_, bytes)| bytes).sum();
        let headers = self.bytes - payloads - self.axes - self.block_heads;
        let line = |name: &str, blocks: usize, bytes: usize| {
            let per_sample = bytes as f64 / samples as f64;
            let share = 100.0 * bytes as f64 / self.bytes as f64;
            println!("    {name:<34}{per_sample:>8.3} {share:>6.1} %  in {blocks}");
        };
        println!(
            "  batch frames                         {:.3}   ({} frames, at most {} bytes)",
            self.bytes as f64 / samples as f64,
            self.frames,
            self.bytes_max
        );
        line("frame headers, batch heads, trailers", self.frames, headers);
        line("time axes", self.frames, self.axes);
        line(
            "block heads",
            self.payloads.iter().map(|(count, _)| count).sum(),
            self.block_heads,
        );
        for (number, (count, bytes)) in self.payloads.iter().enumerate() {
            let name = Encoding::from_number(number as u8).map(|one| format!("{one:?} payloads"));
            line(&name.unwrap_or_default(), *count, *bytes);
        }
    }
}

fn written<'s>(head: &BatchHead, blocks: impl Iterator<Item = BlockSource<'s>> + Clone) -> usize {
    let mut buffer = [0; FRAME_BYTES_DEFAULT];
    let mut writer = tidegate_shared::body::Writer::new(&mut buffer);
    batch::write(&mut writer, head, blocks).expect("fits when all blocks fit");
    writer.len()
}

/// Reads all frames again and again, for a second.
fn print_speed(frames: &[Vec<u8>]) {
    let mut scratch = Scratch::default();
    let (mut samples, mut sum) = (0, 0_i64);
    #[expect(
        clippy::disallowed_methods,
        reason = "an example measures with the clock"
    )]
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 1_000 {
        for bytes in frames {
            let frame = frame::read(bytes).expect("as written");
            let Ok(Up::Batch(body)) = Up::read(frame.body) else {
                continue;
            };
            let mut batch = BatchReader::new(body).expect("as written");
            while let Some(block) = batch.next_block(&mut scratch).expect("as written") {
                samples += block.raws.len();
                sum = sum.wrapping_add(block.raws.iter().sum());
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "  read with trailers checked: {:.0} M samples/s (sum {sum:x})",
        samples as f64 / seconds / 1e6
    );
}
