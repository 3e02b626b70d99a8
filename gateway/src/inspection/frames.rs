//! Frames of the log in words and as JSON: header, message, samples.

use std::fmt::Write;

use serde_json::{Value, json};
use tidegate_shared::batch::{BatchReader, Scratch};
use tidegate_shared::body::BodyError;
use tidegate_shared::frame::{self, Frame};
use tidegate_shared::message::{Counts, Totals, Up};
use tidegate_shared::report::Report;

/// Lower-case hexadecimal, two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What a frame's header and message say, in a few words.
pub(super) fn words(bytes: &[u8]) -> String {
    let frame = match frame::read(bytes) {
        Ok(frame) => frame,
        Err(error) => return format!("{} bytes that are no frame: {error}", bytes.len()),
    };
    let header = &frame.header;
    format!(
        "{} {}  {}  {} bytes",
        header.incarnation,
        header.mark,
        message_words(&frame),
        bytes.len()
    )
}

fn message_words(frame: &Frame<'_>) -> String {
    match Up::read(frame.body) {
        Ok(message) => up_words(&message).unwrap_or_else(unreadable),
        Err(error) => unreadable(error),
    }
}

fn unreadable(error: BodyError) -> String {
    format!("a message that cannot be read: {error}")
}

fn up_words(message: &Up<'_>) -> Result<String, BodyError> {
    Ok(match message {
        Up::Batch(body) => {
            let mut reader = BatchReader::new(body)?;
            let (head, blocks) = (reader.head, reader.blocks());
            let mut scratch = Scratch::default();
            let mut samples = 0;
            while let Some(block) = reader.next_block(&mut scratch)? {
                samples += block.raws.len();
            }
            format!(
                "batch: {samples} samples of {blocks} sensors, catalog {}, complete until {} µs",
                head.catalog, head.complete_until_us
            )
        }
        Up::Catalog(part) => format!(
            "catalog {}: part {} of {}, {} bytes",
            part.hash,
            u32::from(part.part) + 1,
            part.parts,
            part.bytes.len()
        ),
        Up::Totals(totals) => format!(
            "totals: sensors {} to {}, catalog {}",
            totals.head.first,
            u32::from(totals.head.first) + u32::from(totals.head.count.saturating_sub(1)),
            totals.head.catalog
        ),
        Up::Clock(clock) => format!(
            "clock: uptime {} µs is {}, ± {} µs by {:?}",
            clock.uptime_us,
            crate::record::rfc3339(clock.utc_us),
            clock.error_us,
            clock.source
        ),
        Up::Event(event) => format!("event at {} µs: {:?}", event.uptime_us, event.code),
        Up::Report(bytes) => match Report::read(bytes) {
            Ok(report) => format!("report: {report:?}"),
            Err(_) => format!("report of {} bytes", bytes.len()),
        },
        Up::Hello(_) => "hello".to_owned(),
        Up::Progress(_) => "progress".to_owned(),
        Up::Status(status) => format!("status: online {}", status.online),
    })
}

/// A frame with its bytes in hexadecimal, header and message.
pub(super) fn to_json(bytes: &[u8]) -> Value {
    let mut value = json!({ "bytes": hex(bytes) });
    match frame::read(bytes) {
        Ok(frame) => {
            let header = &frame.header;
            value["header"] = json!({
                "key_id": header.key_id,
                "incarnation": header.incarnation.to_string(),
                "boot": header.mark.boot,
                "sequence": header.mark.sequence,
                "check": frame.check.to_string(),
            });
            let message = Up::read(frame.body).and_then(|message| up_json(&message));
            value["message"] =
                message.unwrap_or_else(|error| json!({ "unreadable": error.to_string() }));
        }
        Err(error) => value["unreadable"] = json!(error.to_string()),
    }
    value
}

fn up_json(message: &Up<'_>) -> Result<Value, BodyError> {
    Ok(match message {
        Up::Batch(body) => batch_json(body)?,
        Up::Totals(totals) => totals_json(totals)?,
        Up::Catalog(part) => json!({
            "kind": "catalog",
            "hash": part.hash.to_string(),
            "part": part.part,
            "parts": part.parts,
            "bytes": hex(part.bytes),
        }),
        Up::Clock(clock) => json!({
            "kind": "clock",
            "uptime_us": clock.uptime_us,
            "utc_us": clock.utc_us,
            "error_us": clock.error_us,
            "source": clock.source,
        }),
        Up::Event(event) => json!({
            "kind": "event",
            "uptime_us": event.uptime_us,
            "code": event.code,
        }),
        Up::Report(bytes) => json!({
            "kind": "report",
            "bytes": hex(bytes),
            "report": Report::read(bytes).ok(),
        }),
        Up::Hello(hello) => json!({ "kind": "hello", "hello": hello }),
        Up::Progress(progress) => json!({ "kind": "progress", "progress": progress }),
        Up::Status(status) => json!({ "kind": "status", "online": status.online }),
    })
}

fn batch_json(body: &[u8]) -> Result<Value, BodyError> {
    let mut reader = BatchReader::new(body)?;
    let mut scratch = Scratch::default();
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block(&mut scratch)? {
        let samples = 0..block.raws.len();
        blocks.push(json!({
            "sensor": block.sensor,
            "first_index": block.first_index,
            "uptimes_us": block.uptimes_us,
            "raws": block.raws,
            "bad": samples.filter(|at| block.bad.contains(*at)).collect::<Vec<_>>(),
        }));
    }
    Ok(json!({
        "kind": "batch",
        "catalog": reader.head.catalog.to_string(),
        "base_us": reader.head.base_us,
        "complete_until_us": reader.head.complete_until_us,
        "blocks": blocks,
    }))
}

fn totals_json(totals: &Totals<'_>) -> Result<Value, BodyError> {
    let counts: Vec<Counts> = totals.counts().collect::<Result<_, _>>()?;
    Ok(json!({
        "kind": "totals",
        "catalog": totals.head.catalog.to_string(),
        "uptime_us": totals.head.uptime_us,
        "first": totals.head.first,
        "counts": counts,
    }))
}
