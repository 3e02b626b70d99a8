//! The golden vectors: every message, every block encoding, bad samples and axes as bytes.
//!
//! A vector is a text file: what it shows, the whole frame in hexadecimal, and its fields as read.
//! Those of wire 1 are frozen: the file `FROZEN` beside them holds the check of each one, and
//! nothing rewrites it. `UPDATE_GOLDEN=1` writes vectors that are new, and what their
//! fields read as; a changed byte of a frozen one is a new version, with a folder of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by unwrapping")]

use std::fmt::Write as _;
use std::path::PathBuf;

use tidegate_shared::batch::{self, BatchHead, BatchReader, BlockSource, Scratch};
use tidegate_shared::block::{BadSet, Encoding};
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo, Sensors};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Check, Incarnation, Mark, SensorName, Term};
use tidegate_shared::message::{
    self, Ack, CatalogPart, CatalogWanted, ClockSource, Counts, DeviceClock, Down, Event,
    EventCode, Hello, Presence, Progress, Refused, RefusedReason, ResetReason, Status, TotalsHead,
    Up, Welcome, up,
};

use tidegate_shared::report::{FlashReport, REPORT_BYTES_MAX, Report};

/// One vector: its name, what it shows, and the bytes that the code makes of it.
#[derive(Clone)]
struct Vector {
    name: &'static str,
    shows: &'static str,
    bytes: Vec<u8>,
}

const DEVICE: Incarnation = Incarnation(0x1234_5678);
const CATALOG: CatalogHash = CatalogHash(0x9d2c_5680);
const TERM: Term = Term(0xcafe_f00d);

fn vector(
    name: &'static str,
    shows: &'static str,
    sequence: u32,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>,
) -> Vector {
    let boot = u32::from(!name.starts_with("down")) * 7;
    let header = Header {
        key_id: 0,
        incarnation: DEVICE,
        mark: Mark { boot, sequence },
    };
    let mut out = [0; 8_192];
    let (bytes, _) = frame::write(&header, &mut out, body).unwrap();
    Vector {
        name,
        shows,
        bytes: bytes.to_vec(),
    }
}

fn flash_report() -> Report {
    Report::Flash(FlashReport {
        frames: 12,
        pages: 64,
        erases: 1_000,
        erases_boot: 20,
        erases_forced: 1,
        spilled: 300,
        lost: 2,
        failures: 0,
        erases_per_day_milli: Some(180_000),
        years_left: Some(97),
    })
}

fn up_vectors() -> Vec<Vector> {
    let clock = DeviceClock {
        uptime_us: 61_000_000,
        utc_us: 1_581_168_708_000_000,
        error_us: 500,
        source: ClockSource::Sntp,
    };
    let progress = Progress {
        floor: Mark {
            boot: 6,
            sequence: 300,
        },
        acked: Mark {
            boot: 6,
            sequence: 299,
        },
        uptime_us: 61_000_000,
        depth: 12,
        clock: None,
    };
    let hello = Hello {
        protocol_min: 1,
        protocol_max: 1,
        firmware: "pump 0.1.0".try_into().unwrap(),
        reset: ResetReason::Watchdog,
        catalog: CATALOG,
        config_version: 0,
        hold_ms: 60_000,
        frame_bytes_max: 1_024,
        progress: progress.clone(),
    };
    let with_clock = Progress {
        clock: Some(clock),
        ..progress.clone()
    };
    let catalog = catalog_bytes();
    let part = CatalogPart {
        hash: catalog::hash(&catalog),
        part: 0,
        parts: 1,
        bytes: &catalog,
    };
    let totals = TotalsHead {
        catalog: CATALOG,
        uptime_us: 62_000_000,
        first: 0,
        count: 2,
    };
    let counts = [
        Counts {
            taken: 9_405,
            suppressed: 400,
            failed: 3,
            evicted: 60,
        },
        Counts {
            taken: 9_405,
            ..Counts::default()
        },
    ];
    let event = |name, shows, code| {
        let event = Event {
            uptime_us: 63_000_000,
            code,
        };
        vector(name, shows, 303, move |writer| {
            message::write(writer, up::EVENT, &event)
        })
    };
    vec![
        vector(
            "up-hello",
            "a Hello of a device without a clock",
            0,
            |writer| message::write(writer, up::HELLO, &hello),
        ),
        vector(
            "up-progress",
            "a Progress of a device without a clock",
            0,
            |writer| message::write(writer, up::PROGRESS, &progress),
        ),
        vector(
            "up-progress-clock",
            "a Progress of a device with a clock",
            0,
            |writer| message::write(writer, up::PROGRESS, &with_clock),
        ),
        vector("up-catalog", "a catalog in one part", 1, |writer| {
            message::write(writer, up::CATALOG, &part)
        }),
        vector("up-totals", "the counts of two sensors", 301, |writer| {
            message::write_totals(writer, &totals, counts)
        }),
        vector("up-clock", "a clock learnt", 302, |writer| {
            message::write(writer, up::CLOCK, &clock)
        }),
        event(
            "up-event-ended",
            "the last frame of a planned stop",
            EventCode::Ended,
        ),
        event(
            "up-event-no-such-catalog",
            "the answer to a CatalogWanted that cannot be met",
            EventCode::NoSuchCatalog { hash: CATALOG },
        ),
        event(
            "up-event-sensor-fault",
            "a sensor that began to fail",
            EventCode::SensorFault {
                sensor: 3,
                code: 500,
            },
        ),
        event(
            "up-event-sensor-cleared",
            "a sensor that works again",
            EventCode::SensorCleared { sensor: 3 },
        ),
        event(
            "up-event-panic",
            "what the previous boot ended in",
            EventCode::Panic {
                message: "outbox.rs:42".try_into().unwrap(),
            },
        ),
        vector("up-report", "a report, opaque", 304, |writer| {
            message::write(writer, up::REPORT, &[1_u8, 2, 3].as_slice())
        }),
        vector("up-report-flash", "a report on flash", 305, |writer| {
            let mut report = [0; REPORT_BYTES_MAX];
            let mut report = Writer::new(&mut report);
            flash_report().write(&mut report)?;
            message::write(writer, up::REPORT, report.written())
        }),
        vector(
            "up-status-online",
            "a status, retained on the status topic",
            0,
            |writer| message::write(writer, up::STATUS, &Status { online: true }),
        ),
        vector("up-status-offline", "a device's will", 0, |writer| {
            message::write(writer, up::STATUS, &Status { online: false })
        }),
    ]
}

fn catalog_bytes() -> Vec<u8> {
    let sensors = [
        SensorInfo {
            id: SensorName::try_from("Pressure").unwrap(),
            unit: "bar",
            kind: Kind::Gauge,
            scale: Scale::decimal(-3),
            urgent: false,
            tags: heapless::Vec::from_slice(&["loop=main", "side=in"]).unwrap(),
        },
        SensorInfo {
            id: SensorName::try_from("valve").unwrap(),
            unit: "",
            kind: Kind::Bool,
            scale: Scale {
                step: 5,
                offset: -100,
                exponent: 0,
            },
            urgent: true,
            tags: heapless::Vec::new(),
        },
    ];
    let mut out = [0; 256];
    catalog::write(&sensors, &mut out).unwrap().to_vec()
}

fn down_vectors() -> Vec<Vector> {
    let down =
        |name, shows, message: Down<'_>| vector(name, shows, 0, |writer| message.write(writer));
    let welcome = Welcome {
        protocol_min: 1,
        protocol_max: 1,
        term: TERM,
        frame_bytes_max: 8_192,
        window: 7,
    };
    let ack = Ack {
        incarnation: DEVICE,
        boot: 7,
        through: 301,
        check: Check(0x89ab_cdef),
        window: 7,
        retry_after_ms: 0,
        utc_us: 1_581_168_709_250_000,
        term: TERM,
    };
    let refused = Refused {
        incarnation: DEVICE,
        boot: 7,
        sequence: 302,
        check: Check(0x0123_4567),
        reason: RefusedReason::Conflict,
        retry_after_ms: 5_000,
        term: TERM,
    };
    let presence = Presence {
        gateway: 0x0123_4567_89ab_cdef,
        term: TERM,
        start: 3,
        online: true,
    };
    vec![
        down(
            "down-welcome",
            "the answer to a Hello",
            Down::Welcome(welcome),
        ),
        down("down-ack", "an Ack through sequence 301", Down::Ack(ack)),
        down(
            "down-refused",
            "a frame refused for conflict",
            Down::Refused(refused),
        ),
        down(
            "down-catalog-wanted",
            "a catalog that the gateway lacks",
            Down::CatalogWanted(CatalogWanted { hash: CATALOG }),
        ),
        down(
            "down-config",
            "a configuration, opaque",
            Down::Config(&[1, 2, 3]),
        ),
        down("down-command", "a command, opaque", Down::Command(&[4, 5])),
        down(
            "down-update",
            "an update, opaque and empty",
            Down::Update(&[]),
        ),
        down(
            "down-presence",
            "a gateway's presence, on the gateway topic",
            Down::Presence(presence),
        ),
    ]
}

const HEAD: BatchHead = BatchHead {
    catalog: CATALOG,
    base_us: 600_000_000,
    complete_until_us: 660_000_000,
};

fn source<'s>(sensor: u16, offsets_us: &'s [u32], raws: &'s [i64]) -> BlockSource<'s> {
    BlockSource {
        sensor,
        first_index: 120,
        offsets_us,
        raws,
        bad: BadSet::default(),
    }
}

fn batch_vector(name: &'static str, shows: &'static str, blocks: &[BlockSource<'_>]) -> Vector {
    vector(name, shows, 300, |writer| {
        batch::write(writer, &HEAD, blocks.iter().copied())
    })
}

fn marked<'s>(mut source: BlockSource<'s>, bad: &[usize]) -> BlockSource<'s> {
    for at in bad {
        source.bad.insert(*at);
    }
    source
}

/// A vector of one block on a regular axis, which must take the encoding named.
fn block_vector(
    name: &'static str,
    shows: &'static str,
    encoding: Encoding,
    raws: &[i64],
    bad: &[usize],
) -> Vector {
    let offsets_us: Vec<u32> = (0..raws.len() as u32).map(|at| at * 1_000_000).collect();
    let source = marked(source(0, &offsets_us, raws), bad);
    assert_eq!(batch::payload_bytes(&source).0, encoding, "{name}");
    batch_vector(name, shows, &[source])
}

fn block_vectors() -> Vec<Vector> {
    use Encoding::{BitPacked, Constant, DeltaVarint, Palette, Rice};
    let packed: Vec<i64> = (1..20).map(|at| at * 7_919 % 2_001 - 1_000).collect();
    let rice = [
        100, 101, 99, 100, 103, 102, 104, 99, 98, 98, 97, 99, 100, 105, 106, 108, 104, 110, 95, 96,
    ];
    let mut escape = rice.map(|raw| raw - 100);
    escape[10] = 1_000_000;
    let even = [0, 5, 900, -7, 5, 0, -7, 900, 0, 900, 5, -7, 5, 900, 0, -7];
    let mostly: Vec<i64> = (0..24)
        .map(|at| if at % 9 == 4 { 250 } else { -3 })
        .collect();
    let walk: Vec<i64> = (0..20).map(|at| at * at).collect();
    let every_other: Vec<usize> = (0..20).step_by(2).collect();
    let all: Vec<usize> = (0..20).collect();
    vec![
        block_vector(
            "block-constant",
            "60 equal samples",
            Constant,
            &[-1_234; 60],
            &[],
        ),
        block_vector(
            "block-one-sample",
            "a single sample is constant",
            Constant,
            &[77],
            &[],
        ),
        block_vector(
            "block-delta-varint",
            "three samples, too few to pack",
            DeltaVarint,
            &[1, -2, 3_000],
            &[],
        ),
        block_vector(
            "block-bit-packed",
            "differences of like width",
            BitPacked,
            &packed,
            &[],
        ),
        block_vector("block-rice", "small differences", Rice, &rice, &[]),
        block_vector(
            "block-rice-escape",
            "small differences and one outlier",
            Rice,
            &escape,
            &[],
        ),
        block_vector(
            "block-palette-packed",
            "four values, equally often",
            Palette,
            &even,
            &[],
        ),
        block_vector(
            "block-palette-rice",
            "two values, one of them rare",
            Palette,
            &mostly,
            &[],
        ),
        block_vector(
            "block-extremes",
            "differences that wrap",
            DeltaVarint,
            &[i64::MAX, i64::MIN, 0, -1, 1],
            &[],
        ),
        block_vector(
            "block-bad-list",
            "two bad samples, listed",
            Rice,
            &rice,
            &[0, 13],
        ),
        block_vector(
            "block-bad-bitmap",
            "every other sample bad, a bitmap",
            BitPacked,
            &walk,
            &every_other,
        ),
        block_vector(
            "block-bad-all",
            "all samples bad: no payload",
            Constant,
            &walk,
            &all,
        ),
    ]
}

fn axis_vectors() -> Vec<Vector> {
    let raws = [5; 40];
    let sums = |steps: &[u32]| {
        let next = |sum: &mut u32, step: &u32| {
            *sum += step;
            Some(*sum)
        };
        steps.iter().scan(0, next).collect::<Vec<u32>>()
    };
    let axis = |name, shows, form: u8, steps: &[u32]| {
        let offsets_us = sums(steps);
        let found = batch_vector(name, shows, &[source(0, &offsets_us, &raws[..steps.len()])]);
        // Behind the block's head, first index and axis reference: count, then the form.
        let head = [0x60, 120, 0, 0, steps.len() as u8];
        let at = found
            .bytes
            .windows(5)
            .position(|five| five == head)
            .unwrap();
        assert_eq!(found.bytes[at + 5] >> 4, form, "{name}");
        found
    };
    let mut missed = [1_000_000; 20];
    missed[0] = 0;
    missed[7] = 2_000_000;
    let mut odd = [250_000; 20];
    odd[0] = 1_500_000;
    odd[11] = 3_750_000;
    let jitter: Vec<u32> = (0..20).map(|at| 100_000 + at * 37 % 64).collect();
    let bursts: Vec<u32> = (0..40)
        .map(|at| 1_001 + [0, 1, 2, 1, 0, 9, 1, 3][at * 5 % 8])
        .collect();
    let (fast, slow) = (sums(&[0, 10_000, 10_000]), sums(&[0, 20_000]));
    vec![
        axis("axis-regular", "a period of a second", 0, &[1_000_000; 20]),
        axis(
            "axis-missed",
            "a period of a second, one sample missed",
            1,
            &missed,
        ),
        axis(
            "axis-exception",
            "a quarter second's period and a pause of another length",
            1,
            &odd,
        ),
        axis(
            "axis-varint",
            "three steps of different lengths",
            2,
            &[0, 41, 101, 10],
        ),
        axis("axis-bit-packed", "steps with even jitter", 3, &jitter),
        axis("axis-rice", "steps in bursts", 4, &bursts),
        batch_vector(
            "batch-shared-axes",
            "four sensors on two axes in turn; the last skips two sensors and starts at another index",
            &[
                source(0, &fast, &[1, 1, 1]),
                source(1, &slow, &[2, 2]),
                source(2, &fast, &[3, 3, 3]),
                BlockSource {
                    first_index: 65_535,
                    ..source(5, &slow, &[4, 4])
                },
            ],
        ),
        batch_vector(
            "batch-empty",
            "no samples: only complete-until moves on",
            &[],
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs
        .chunks(16)
        .fold(String::new(), |text, line| text + &line.join(" ") + "\n")
}

/// The fields of a frame as they are read from its bytes.
fn fields(bytes: &[u8], is_down: bool) -> String {
    let frame = frame::read(bytes).unwrap();
    let mut text = format!("{:?}\n", frame.header);
    if is_down {
        writeln!(text, "{:#?}", Down::read(frame.body).unwrap()).unwrap();
        return text;
    }
    match Up::read(frame.body).unwrap() {
        Up::Batch(body) => write_batch(&mut text, body),
        Up::Totals(totals) => {
            writeln!(text, "{:#?}", totals.head).unwrap();
            totals
                .counts()
                .for_each(|counts| writeln!(text, "{:#?}", counts.unwrap()).unwrap());
        }
        Up::Catalog(part) => {
            writeln!(text, "{part:?}").unwrap();
            let sensors = Sensors::new(part.bytes).unwrap();
            sensors.for_each(|sensor| writeln!(text, "{:#?}", sensor.unwrap()).unwrap());
        }
        message => writeln!(text, "{message:#?}").unwrap(),
    }
    text
}

fn write_batch(text: &mut String, body: &[u8]) {
    let mut reader = BatchReader::new(body).unwrap();
    writeln!(text, "{:#?}", reader.head).unwrap();
    let mut scratch = Scratch::default();
    while let Some(block) = reader.next_block(&mut scratch).unwrap() {
        let bad: Vec<usize> = (0..block.raws.len())
            .filter(|at| block.bad.contains(*at))
            .collect();
        writeln!(
            text,
            "sensor {} from index {}",
            block.sensor, block.first_index
        )
        .unwrap();
        writeln!(text, "  uptimes {:?}", block.uptimes_us).unwrap();
        writeln!(text, "  raws {:?}", block.raws).unwrap();
        writeln!(text, "  bad {bad:?}").unwrap();
    }
}

/// Lists what is frozen.
const FROZEN: &str = "FROZEN";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/wire-1")
}

/// Names of the frozen vectors, and their checks.
fn frozen() -> Vec<(String, Check)> {
    let text = std::fs::read_to_string(folder().join(FROZEN)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let frozen: Vec<_> = lines
        .map(|line| {
            let (check, name) = line.split_once("  ").unwrap();
            let check = u32::from_str_radix(check, 16).unwrap();
            (name.to_owned(), Check(check))
        })
        .collect();
    assert!(frozen.len() >= 43, "what was frozen stays frozen");
    frozen
}

#[test]
fn vectors_are_what_the_code_writes_and_reads() {
    let folder = folder();
    let frozen = frozen();
    let vectors = [
        up_vectors(),
        down_vectors(),
        block_vectors(),
        axis_vectors(),
    ]
    .concat();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut names = Vec::new();
    for vector in vectors {
        let name = format!("{}.txt", vector.name);
        let path = folder.join(&name);
        let down = vector.name.starts_with("down");
        let text = format!(
            "{}: {}.\n\nbytes:\n{}\nfields:\n{}",
            vector.name,
            vector.shows,
            hex(&vector.bytes),
            fields(&vector.bytes, down)
        );
        if let Some((_, check)) = frozen.iter().find(|(frozen, _)| *frozen == name) {
            assert_eq!(
                frame::read(&vector.bytes).unwrap().check,
                *check,
                "{name} is frozen: a changed byte is a new version of the wire"
            );
        }
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            golden, text,
            "{name}: UPDATE_GOLDEN=1 rewrites it if the change is meant"
        );
        // The file's own bytes, as another implementation would take them.
        let (_, rest) = golden.split_once("bytes:\n").unwrap();
        let (digits, read) = rest.split_once("\nfields:\n").unwrap();
        let pairs = digits
            .split_whitespace()
            .map(|pair| u8::from_str_radix(pair, 16).unwrap());
        assert_eq!(fields(&pairs.collect::<Vec<_>>(), down), read, "{name}");
        names.push(name);
    }
    let mut found: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != FROZEN)
        .collect();
    for (name, _) in &frozen {
        assert!(
            names.contains(name),
            "{name} is frozen, and nothing makes it"
        );
    }
    found.sort_unstable();
    names.sort_unstable();
    assert_eq!(found, names, "a vector without its maker, or made twice");
}
