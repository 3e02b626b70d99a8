//! Properties of frames, messages and catalogs: round trips, growth both ways, hostile bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by unwrapping")]

use core::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidegate_shared::body::{BodyError, BodyFault, Reader, Writer, read_owned, read_value};
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo, Sensors};
use tidegate_shared::frame::{self, FrameError, Header, TRAILER_BYTES};
use tidegate_shared::ids::{CatalogHash, Check, Incarnation, Mark, SensorName, Term};
use tidegate_shared::limits::{FRAME_BYTES_MAX, SENSORS_MAX};
use tidegate_shared::message::{
    self, Ack, CatalogPart, CatalogWanted, ClockSource, Counts, DeviceClock, Down, Event,
    EventCode, Hello, Presence, Progress, Refused, RefusedReason, ResetReason, Status, TotalsHead,
    Up, Welcome, down, up,
};

fn written(body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>) -> Vec<u8> {
    let mut bytes = vec![0; 16_384];
    let mut writer = Writer::new(&mut bytes);
    body(&mut writer).unwrap();
    writer.written().to_vec()
}

fn body<T: Serialize>(number: u32, value: &T) -> Vec<u8> {
    written(|writer| message::write(writer, number, value))
}

fn mark() -> impl Strategy<Value = Mark> {
    any::<(u32, u32)>().prop_map(|(boot, sequence)| Mark { boot, sequence })
}

fn device_clock() -> impl Strategy<Value = DeviceClock> {
    let source = prop_oneof![
        Just(ClockSource::Unknown),
        Just(ClockSource::Rtc),
        Just(ClockSource::Sntp),
        Just(ClockSource::Trace),
    ];
    (any::<(u64, i64, u32)>(), source).prop_map(|((uptime_us, utc_us, error_us), source)| {
        DeviceClock {
            uptime_us,
            utc_us,
            error_us,
            source,
        }
    })
}

fn progress() -> impl Strategy<Value = Progress> {
    (
        mark(),
        mark(),
        any::<(u64, u32)>(),
        proptest::option::of(device_clock()),
    )
        .prop_map(|(floor, acked, (uptime_us, depth), clock)| Progress {
            floor,
            acked,
            uptime_us,
            depth,
            clock,
        })
}

fn hello() -> impl Strategy<Value = Hello> {
    let reset = prop_oneof![Just(ResetReason::Unknown), Just(ResetReason::Update)];
    let numbers = any::<(u16, u16, u32, u32, u32, u16)>();
    (numbers, "[ -~]{0,32}", reset, progress()).prop_map(|(numbers, firmware, reset, progress)| {
        Hello {
            protocol_min: numbers.0,
            protocol_max: numbers.1,
            firmware: firmware.as_str().try_into().unwrap(),
            reset,
            catalog: CatalogHash(numbers.2),
            config_version: numbers.3,
            hold_ms: numbers.4,
            frame_bytes_max: numbers.5,
            progress,
        }
    })
}

fn event() -> impl Strategy<Value = Event> {
    let code = prop_oneof![
        Just(EventCode::Ended),
        any::<u32>().prop_map(|hash| EventCode::NoSuchCatalog {
            hash: CatalogHash(hash)
        }),
        any::<(u16, u16)>().prop_map(|(sensor, code)| EventCode::SensorFault { sensor, code }),
        any::<u16>().prop_map(|sensor| EventCode::SensorCleared { sensor }),
        "[ -~]{0,64}".prop_map(|text| EventCode::Panic {
            message: text.as_str().try_into().unwrap()
        }),
    ];
    (any::<u64>(), code).prop_map(|(uptime_us, code)| Event { uptime_us, code })
}

/// Bodies of the up messages but batch, with the text that reading them must give.
fn up_body() -> impl Strategy<Value = (Vec<u8>, String)> {
    let text = |message: Up<'_>| format!("{message:?}");
    prop_oneof![
        hello().prop_map(move |one| (body(up::HELLO, &one), text(Up::Hello(one)))),
        progress().prop_map(move |one| (body(up::PROGRESS, &one), text(Up::Progress(one)))),
        (any::<(u32, u16, u16)>(), vec(any::<u8>(), 0..200)).prop_map(
            move |((hash, part, parts), bytes)| {
                let one = CatalogPart {
                    hash: CatalogHash(hash),
                    part,
                    parts,
                    bytes: &bytes,
                };
                (body(up::CATALOG, &one), text(Up::Catalog(one)))
            }
        ),
        device_clock().prop_map(move |one| (body(up::CLOCK, &one), text(Up::Clock(one)))),
        event().prop_map(move |one| (body(up::EVENT, &one), text(Up::Event(one)))),
        vec(any::<u8>(), 0..200).prop_map(move |bytes| (
            body(up::REPORT, &bytes.as_slice()),
            text(Up::Report(&bytes))
        )),
        any::<bool>().prop_map(move |online| {
            (
                body(up::STATUS, &Status { online }),
                text(Up::Status(Status { online })),
            )
        }),
    ]
}

fn down_body() -> impl Strategy<Value = (Vec<u8>, String)> {
    let both = |message: Down<'_>| {
        (
            written(|writer| message.write(writer)),
            format!("{message:?}"),
        )
    };
    let reason = prop_oneof![Just(RefusedReason::Retry), Just(RefusedReason::Conflict)];
    let opaque = (0..3, vec(any::<u8>(), 0..200));
    prop_oneof![
        any::<(u16, u16, u32, u16, u16)>().prop_map(move |numbers| both(Down::Welcome(Welcome {
            protocol_min: numbers.0,
            protocol_max: numbers.1,
            term: Term(numbers.2),
            frame_bytes_max: numbers.3,
            window: numbers.4,
        }))),
        any::<(u32, u32, u32, u32, u16, u32, i64, u32)>().prop_map(move |numbers| both(Down::Ack(
            Ack {
                incarnation: Incarnation(numbers.0),
                boot: numbers.1,
                through: numbers.2,
                check: Check(numbers.3),
                window: numbers.4,
                retry_after_ms: numbers.5,
                utc_us: numbers.6,
                term: Term(numbers.7),
            }
        ))),
        (any::<(u32, u32, u32, u32, u32, u32)>(), reason).prop_map(move |(numbers, reason)| {
            both(Down::Refused(Refused {
                incarnation: Incarnation(numbers.0),
                boot: numbers.1,
                sequence: numbers.2,
                check: Check(numbers.3),
                reason,
                retry_after_ms: numbers.4,
                term: Term(numbers.5),
            }))
        }),
        any::<u32>().prop_map(move |hash| {
            both(Down::CatalogWanted(CatalogWanted {
                hash: CatalogHash(hash),
            }))
        }),
        opaque.prop_map(move |(which, bytes)| match which {
            0 => both(Down::Config(&bytes)),
            1 => both(Down::Command(&bytes)),
            _ => both(Down::Update(&bytes)),
        }),
        any::<(u64, u32, u32, bool)>().prop_map(move |(gateway, term, start, online)| {
            both(Down::Presence(Presence {
                gateway,
                term: Term(term),
                start,
                online,
            }))
        }),
    ]
}

/// A sensor that owns what a catalog's description borrows.
type OwnedSensor = (String, String, usize, (u32, i64, i8), bool, Vec<String>);

fn sensor() -> impl Strategy<Value = OwnedSensor> {
    (
        "[A-Za-z0-9._-]{1,32}",
        "[a-z°µ%]{0,8}",
        0_usize..4,
        (1..=u32::MAX, any::<i64>(), -18_i8..=18),
        any::<bool>(),
        vec("[a-z]{1,10}=[a-z]{1,10}", 0..=4),
    )
}

fn info(sensor: &OwnedSensor) -> SensorInfo<'_> {
    let (id, unit, kind, (step, offset, exponent), urgent, tags) = sensor;
    SensorInfo {
        id: SensorName::try_from(id.as_str()).unwrap(),
        unit,
        kind: [Kind::Gauge, Kind::Counter, Kind::State, Kind::Bool][*kind],
        scale: Scale {
            step: *step,
            offset: *offset,
            exponent: *exponent,
        },
        urgent: *urgent,
        tags: tags.iter().map(String::as_str).collect(),
    }
}

proptest! {
    #[test]
    fn frames_read_back_as_written(
        (key_id, incarnation) in any::<(u8, u32)>(),
        mark in mark(),
        body in vec(any::<u8>(), 0..600),
    ) {
        let header = Header { key_id, incarnation: Incarnation(incarnation), mark };
        let mut out = [0; 1_024];
        let (bytes, check) = frame::write(&header, &mut out, |writer| writer.put(&body)).unwrap();
        let frame = frame::read(bytes).unwrap();
        prop_assert_eq!(frame.header, header);
        prop_assert_eq!(frame.body, body.as_slice());
        prop_assert_eq!(frame.check, check);
        prop_assert_eq!(header.is_sequenced(), mark.sequence != 0);
    }

    #[test]
    fn a_frame_with_a_changed_or_missing_byte_is_refused(
        body in vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let mut out = [0; 1_024];
        let (bytes, _) = frame::write(&Header::default(), &mut out, |writer| writer.put(&body)).unwrap();
        let mut changed = bytes.to_vec();
        changed[at.index(bytes.len())] ^= change;
        prop_assert!(frame::read(&changed).is_err());
        prop_assert!(frame::read(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn random_bytes_are_frames_or_errors(bytes in vec(any::<u8>(), 0..200)) {
        let _ = frame::read(&bytes);
        let _ = Up::read(&bytes);
        let _ = Down::read(&bytes);
        let _ = Sensors::new(&bytes).map(Iterator::count);
    }

    #[test]
    fn up_messages_read_back_and_ignore_what_is_added((body, text) in up_body(), more in vec(any::<u8>(), 0..20)) {
        prop_assert_eq!(format!("{:?}", Up::read(&body).unwrap()), text.clone());
        prop_assert_eq!(format!("{:?}", Up::read(&[body, more].concat()).unwrap()), text);
    }

    #[test]
    fn down_messages_read_back_and_ignore_what_is_added((body, text) in down_body(), more in vec(any::<u8>(), 0..20)) {
        prop_assert_eq!(format!("{:?}", Down::read(&body).unwrap()), text.clone());
        prop_assert_eq!(format!("{:?}", Down::read(&[body, more].concat()).unwrap()), text);
    }

    #[test]
    fn changed_and_cut_messages_are_messages_or_errors(
        (body, _) in prop_oneof![up_body(), down_body()],
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= byte;
        for bytes in [changed.as_slice(), &body[..at.index(body.len())]] {
            for error in [Up::read(bytes).err(), Down::read(bytes).err()].into_iter().flatten() {
                prop_assert!(error.at <= bytes.len(), "{error}");
            }
        }
    }

    #[test]
    fn totals_read_back_as_written(
        counts in vec(any::<(u64, u64, u64, u64)>(), 0..40),
        (catalog, uptime_us) in any::<(u32, u64)>(),
        first in 0_u16..=216,
        more in vec(any::<u8>(), 0..20),
    ) {
        let counts: Vec<Counts> = counts
            .into_iter()
            .map(|(taken, suppressed, failed, evicted)| Counts { taken, suppressed, failed, evicted })
            .collect();
        let head = TotalsHead { catalog: CatalogHash(catalog), uptime_us, first, count: counts.len() as u16 };
        let mut body = written(|writer| message::write_totals(writer, &head, counts.iter().copied()));
        body.extend(more);
        let Ok(Up::Totals(totals)) = Up::read(&body) else { panic!("not totals") };
        prop_assert_eq!(totals.head, head);
        prop_assert_eq!(totals.counts().collect::<Result<Vec<_>, _>>().unwrap(), counts);
    }

    #[test]
    fn catalogs_read_back_as_written(sensors in vec(sensor(), 0..20), more in vec(any::<u8>(), 0..20)) {
        let infos: Vec<_> = sensors.iter().map(info).collect();
        let mut out = vec![0; 8_192];
        let mut bytes = catalog::write(&infos, &mut out).unwrap().to_vec();
        let hash = catalog::hash(&bytes);
        prop_assert_ne!(hash, catalog::hash(&[bytes.as_slice(), b"x"].concat()));
        bytes.extend(more);
        let read: Vec<_> = Sensors::new(&bytes).unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, infos);
    }

    #[test]
    fn a_catalog_cut_short_is_an_error(sensors in vec(sensor(), 1..6), at in any::<prop::sample::Index>()) {
        let infos: Vec<_> = sensors.iter().map(info).collect();
        let mut out = vec![0; 8_192];
        let bytes = catalog::write(&infos, &mut out).unwrap();
        let cut = &bytes[..at.index(bytes.len())];
        let read = Sensors::new(cut).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        prop_assert!(read.is_err());
    }

    #[test]
    fn progress_of_an_earlier_version_reads_with_defaults(progress in progress()) {
        #[derive(Serialize)]
        struct Earlier {
            floor: Mark,
            acked: Mark,
            uptime_us: u64,
        }
        let earlier = Earlier { floor: progress.floor, acked: progress.acked, uptime_us: progress.uptime_us };
        let Ok(Up::Progress(read)) = Up::read(&body(up::PROGRESS, &earlier)).map(own) else { panic!() };
        prop_assert_eq!(read, Progress { depth: 0, clock: None, ..progress });
    }

    #[test]
    fn a_later_hello_reads_as_this_one(hello in hello(), added in any::<(u64, bool)>()) {
        #[derive(Serialize)]
        struct Later {
            now: Hello,
            added: (u64, bool),
        }
        let bytes = body(up::HELLO, &Later { now: hello.clone(), added });
        let Ok(Up::Hello(read)) = Up::read(&bytes).map(own) else { panic!() };
        prop_assert_eq!(read, hello);
    }

    #[test]
    fn an_earlier_down_message_reads_with_defaults(numbers in any::<(u32, u32, u32, u32)>()) {
        #[derive(Serialize)]
        struct EarlierAck(Incarnation, u32, u32);
        let bytes = body(down::ACK, &EarlierAck(Incarnation(numbers.0), numbers.1, numbers.2));
        let expected = Ack {
            incarnation: Incarnation(numbers.0),
            boot: numbers.1,
            through: numbers.2,
            ..Ack::default()
        };
        prop_assert_eq!(Down::read(&bytes).unwrap(), Down::Ack(expected));
    }

    #[test]
    fn twins_of_two_versions_read_each_other(earlier in any::<(u32, i16)>(), later in later()) {
        let earlier = Earlier { a: earlier.0, b: earlier.1 };
        grows(&earlier, &later)?;
    }

    #[test]
    fn varints_are_postcards_own(value in any::<u64>(), shift in 0_u32..64) {
        let value = value >> shift;
        let own = written(|writer| writer.varint(value));
        let signed = written(|writer| writer.zigzag(value as i64));
        prop_assert_eq!(&own, &written(|writer| writer.value(&value)));
        prop_assert_eq!(&signed, &written(|writer| writer.value(&(value as i64))));
        prop_assert_eq!(own.len(), tidegate_shared::body::varint_bytes(value));
        prop_assert_eq!(Reader::new(&own).varint().unwrap(), value);
        prop_assert_eq!(Reader::new(&signed).zigzag().unwrap(), value as i64);
    }
}

/// A struct as an earlier version had it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Earlier {
    a: u32,
    b: i16,
}

/// The same with fields of every kind added at its end.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Later {
    a: u32,
    b: i16,
    number: u64,
    flag: bool,
    choice: ResetReason,
    maybe: Option<u32>,
    text: heapless::String<16>,
    bytes: heapless::Vec<u8, 16>,
}

fn later() -> impl Strategy<Value = Later> {
    let numbers = any::<(u32, i16, u64, bool, Option<u32>)>();
    (numbers, "[a-z]{0,16}", vec(any::<u8>(), 0..16)).prop_map(|(numbers, text, bytes)| Later {
        a: numbers.0,
        b: numbers.1,
        number: numbers.2,
        flag: numbers.3,
        choice: ResetReason::Panic,
        maybe: numbers.4,
        text: text.as_str().try_into().unwrap(),
        bytes: bytes.into_iter().collect(),
    })
}

fn grows(earlier: &Earlier, later: &Later) -> Result<(), TestCaseError> {
    let bytes = written(|writer| writer.value(earlier));
    let read: Later = read_owned(&bytes).unwrap();
    prop_assert_eq!(
        read,
        Later {
            a: earlier.a,
            b: earlier.b,
            ..Later::default()
        }
    );
    let bytes = written(|writer| writer.value(later));
    let read: Earlier = read_value(&bytes).unwrap();
    prop_assert_eq!(
        read,
        Earlier {
            a: later.a,
            b: later.b
        }
    );
    Ok(())
}

/// An up message without what it borrows.
fn own(message: Up<'_>) -> Up<'static> {
    match message {
        Up::Hello(hello) => Up::Hello(hello),
        Up::Progress(progress) => Up::Progress(progress),
        other => panic!("{other:?} borrows"),
    }
}

#[test]
fn frame_errors_say_what_is_wrong() {
    let mut out = [0; 64];
    let header = Header {
        mark: Mark {
            boot: 1,
            sequence: 2,
        },
        ..Header::default()
    };
    let (bytes, _) = frame::write(&header, &mut out, |writer| writer.put(b"body")).unwrap();
    let text = |bytes: &[u8]| frame::read(bytes).unwrap_err().to_string();
    assert_eq!(text(&[]), "0 bytes are too short for a frame");
    assert_eq!(text(&bytes[..4]), "4 bytes are too short for a frame");
    let mut other = bytes.to_vec();
    other[0] = 9;
    assert_eq!(text(&other), "frame version 9 at byte 0, this is version 1");
    other[0] = 1;
    other[1] = 0x80;
    assert_eq!(text(&other), "flags 0x80 at byte 1 are not known");
    other[1] = 0;
    other[9] ^= 1;
    assert!(text(&other).starts_with("the trailer says "));
    assert_eq!(
        text(&vec![1; FRAME_BYTES_MAX + 1]),
        "8193 bytes are too long, a frame has at most 8192"
    );
    // A boot that is no u32, under a right trailer.
    let mut wrong = vec![1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2];
    let trailer = frame::crc32c(&wrong).to_le_bytes();
    wrong.extend(trailer);
    assert_eq!(frame::read(&wrong), Err(FrameError::Header { at: 7 }));
}

#[test]
fn a_frame_too_long_to_be_read_is_not_written() {
    let mut out = vec![0; 2 * FRAME_BYTES_MAX];
    let mut write = |bytes: usize| {
        let body = vec![0; bytes];
        frame::write(&Header::default(), &mut out, |writer| writer.put(&body))
            .map(|(bytes, _)| bytes.len())
    };
    assert_eq!(
        write(FRAME_BYTES_MAX - 9 - TRAILER_BYTES),
        Ok(FRAME_BYTES_MAX)
    );
    assert_eq!(
        write(FRAME_BYTES_MAX - 8 - TRAILER_BYTES)
            .unwrap_err()
            .fault,
        BodyFault::Limit
    );
}

#[test]
fn unknown_messages_and_values_are_errors() {
    let error = Up::read(&[99]).unwrap_err();
    assert_eq!(
        error,
        BodyError {
            at: 0,
            fault: BodyFault::Message { number: 99 }
        }
    );
    assert_eq!(
        error.to_string(),
        "message number 99 is not known (byte 0 of the body)"
    );
    assert_eq!(
        Down::read(&[0]).unwrap_err().fault,
        BodyFault::Message { number: 0 }
    );
    // An event of a later version.
    assert_eq!(
        Up::read(&[7, 5, 40]).unwrap_err(),
        BodyError {
            at: 3,
            fault: BodyFault::Value
        }
    );
    // A hash that is no u32.
    let range = Down::read(&[4, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).unwrap_err();
    assert_eq!(range.fault, BodyFault::Range);
    // A report that says it is longer than it is.
    assert_eq!(Up::read(&[8, 5, 1]).unwrap_err().fault, BodyFault::End);
}

#[test]
fn totals_of_too_many_sensors_are_errors() {
    let head = TotalsHead {
        first: 250,
        count: 7,
        ..TotalsHead::default()
    };
    let mut bytes = [0; 64];
    let mut writer = Writer::new(&mut bytes);
    let error = message::write_totals(&mut writer, &head, []).unwrap_err();
    assert_eq!(error.fault, BodyFault::Limit);
    assert_eq!(
        Up::read(&body(up::TOTALS, &head)).unwrap_err().fault,
        BodyFault::Limit
    );
    let short = TotalsHead {
        count: 2,
        ..TotalsHead::default()
    };
    let error = message::write_totals(&mut writer, &short, [Counts::default()]).unwrap_err();
    assert_eq!(error.fault, BodyFault::Value);
    let cut = body(up::TOTALS, &short);
    let Ok(Up::Totals(totals)) = Up::read(&cut) else {
        panic!("not totals")
    };
    assert_eq!(totals.counts().count(), 1, "an error is the last");
}

#[test]
fn a_catalog_beyond_its_limits_is_refused() {
    let owned: OwnedSensor = ("s".into(), String::new(), 0, (1, 0, 0), false, Vec::new());
    let mut out = vec![0; 1 << 16];
    let fault = |result: Result<&[u8], BodyError>| result.map(<[u8]>::len).unwrap_err().fault;
    let many = vec![info(&owned); SENSORS_MAX + 1];
    assert_eq!(fault(catalog::write(&many, &mut out)), BodyFault::Limit);
    let long = SensorInfo {
        unit: "12345678901234567",
        ..info(&owned)
    };
    assert_eq!(fault(catalog::write(&[long], &mut out)), BodyFault::Limit);
    // A scale without a step, as bytes: count, length, then the description.
    let bytes = [1, 6, 1, b's', 0, 0, 0, 0];
    let error = Sensors::new(&bytes).unwrap().next().unwrap().unwrap_err();
    assert_eq!(
        error,
        BodyError {
            at: 1,
            fault: BodyFault::Limit
        }
    );
    assert_eq!(
        Sensors::new(&[0x81, 2]).unwrap_err().fault,
        BodyFault::Limit
    );
}
