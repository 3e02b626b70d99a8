//! Log appends beside write + fdatasync of the same bytes in the same batches.
//!
//! `cargo bench --bench log` prints criterion's times, then, from one run of both turn by turn:
//! appends per second, their ratio, and the bytes written to the device per payload byte as the
//! kernel accounts for them (`write_bytes` in `/proc/self/io`: whole pages). The files are in
//! `TIDEGATE_BENCH_DIR`, default the build's folder for such things, as `/tmp` may not be a disk.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot write has nothing to say"
)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate_gateway::disk::{Disk, RealDisk};
use tidegate_gateway::log::{Base, LocalLog, Log};
use tidegate_gateway::rules::settings::LogSettings;
use tidegate_gateway::time::{Clock, SystemClock};

const ENTRY_BYTES: usize = 500;
/// Commits of each side in the run that is compared.
const COMMITS: usize = 400;

fn folder() -> PathBuf {
    std::env::var_os("TIDEGATE_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
}

fn settings() -> LogSettings {
    LogSettings {
        bytes_max: 128 << 20,
        ..LogSettings::default()
    }
}

/// Entries of one commit, filling `bytes`: not compressible, as sealed or packed frames are.
fn entries(bytes: usize) -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695);
        (state >> 56) as u8
    };
    (0..bytes / ENTRY_BYTES)
        .map(|_| (0..ENTRY_BYTES).map(|_| byte()).collect())
        .collect()
}

struct Appender {
    log: LocalLog,
    _dir: tempfile::TempDir,
}

impl Appender {
    fn new(parent: &Path) -> Self {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
        let log = LocalLog::open(disk, "log", settings(), 1).unwrap().log;
        Self { log, _dir: dir }
    }

    fn append(&mut self, entries: &[Vec<u8>]) {
        self.log.append(0, self.log.end(), entries).unwrap();
        if self.log.roll_due() {
            let base = Base {
                position: self.log.end(),
                parts: Vec::new(),
            };
            self.log.roll(&base).unwrap();
        }
    }
}

struct Plain {
    file: File,
    _dir: tempfile::TempDir,
}

impl Plain {
    fn new(parent: &Path) -> Self {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let file = File::create(dir.path().join("plain")).unwrap();
        Self { file, _dir: dir }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
        self.file.sync_data().unwrap();
    }
}

/// Bytes this process has caused to be written, if the kernel tells.
fn device_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = text.lines().find(|line| line.starts_with("write_bytes"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

struct Totals {
    took: Duration,
    device: Option<u64>,
}

impl Totals {
    fn add(&mut self, clock: &SystemClock, work: impl FnOnce()) {
        let (began, before) = (clock.now().mono_us, device_bytes());
        work();
        self.took += Duration::from_micros(clock.now().mono_us - began);
        self.device = self
            .device
            .zip(device_bytes())
            .zip(before)
            .map(|((sum, after), before)| sum + after - before);
    }

    fn new() -> Self {
        Self {
            took: Duration::ZERO,
            device: Some(0),
        }
    }
}

/// Both in turn, so that what else the machine does hits them alike.
fn compare(commit_bytes: usize) {
    let clock = SystemClock::new();
    let entries = entries(commit_bytes);
    let bytes = entries.concat();
    let (mut log, mut plain) = (Appender::new(&folder()), Plain::new(&folder()));
    let (mut of_log, mut of_plain) = (Totals::new(), Totals::new());
    for _ in 0..COMMITS {
        of_log.add(&clock, || log.append(&entries));
        of_plain.add(&clock, || plain.append(&bytes));
    }
    let count = (COMMITS * entries.len()) as f64;
    let payload = (COMMITS * bytes.len()) as f64;
    let per_second = |totals: &Totals| count / totals.took.as_secs_f64();
    let device = |totals: &Totals| match totals.device {
        Some(device) => format!("{:.2}", device as f64 / payload),
        None => "unknown".to_owned(),
    };
    println!(
        "log commit {:>2} KiB: {:>7.0} appends/s, plain write + fdatasync {:>7.0}/s, ratio {:.2}; device bytes per payload byte {} (plain {})",
        commit_bytes >> 10,
        per_second(&of_log),
        per_second(&of_plain),
        per_second(&of_log) / per_second(&of_plain),
        device(&of_log),
        device(&of_plain),
    );
}

/// Opening a log of `log_bytes`: one base and one segment are read.
fn reopen(log_bytes: usize) {
    let clock = SystemClock::new();
    let dir = tempfile::tempdir_in(folder()).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
    let settings = LogSettings::default();
    let mut log = LocalLog::open(Arc::clone(&disk), "log", settings, 1)
        .unwrap()
        .log;
    let entries = entries(4 << 20);
    for _ in 0..log_bytes / (4 << 20) {
        log.append(0, log.end(), &entries).unwrap();
        if log.roll_due() {
            let base = Base {
                position: log.end(),
                parts: Vec::new(),
            };
            log.roll(&base).unwrap();
        }
    }
    // Half a segment behind its base: what is replayed on average.
    log.append(0, log.end(), &entries).unwrap();
    log.append(0, log.end(), &entries).unwrap();
    let bytes = log.bytes();
    drop(log);
    let began = clock.now().mono_us;
    let opened = LocalLog::open(disk, "log", settings, 1).unwrap();
    let replayed = opened.log.read(0, opened.recovery.from).unwrap().count();
    let took = clock.now().mono_us - began;
    println!(
        "log reopen: {} MiB opened in {} ms, {replayed} entries read back",
        bytes >> 20,
        took / 1_000,
    );
}

fn append(criterion: &mut Criterion) {
    let entries = entries(64 << 10);
    let bytes = entries.concat();
    let mut group = criterion.benchmark_group("log");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    group.throughput(Throughput::Elements(entries.len() as u64));
    let mut log = Appender::new(&folder());
    group.bench_function("append", |bencher| bencher.iter(|| log.append(&entries)));
    let mut plain = Plain::new(&folder());
    group.bench_function("plain", |bencher| bencher.iter(|| plain.append(&bytes)));
    group.finish();
    compare(64 << 10);
    compare(8 << 10);
    reopen(1 << 30);
}

criterion_group!(benches, append);
criterion_main!(benches);
