//! `type = "file"`: records appended to a file of this machine.

use super::or_default;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{FileFormat, FileSettings, Rotation, SinkKind};
use crate::rules::tree::{Section, Value, choice, duration, size, whole};
use crate::rules::typed::gateway::path;

/// Shortest and longest `rotate.age`, in µs: a second and a year.
const AGE_US: std::ops::RangeInclusive<i64> = 1_000_000..=366 * 86_400 * 1_000_000;

pub(super) fn read(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    let path = section
        .need("path", "path = \"records.ndjson\"")
        .and_then(|value| path("`path`", value, findings));
    let format = or_default(section, "format", FileFormat::Ndjson, |value| {
        let formats = [
            ("ndjson", FileFormat::Ndjson),
            ("csv", FileFormat::Csv),
            ("parquet", FileFormat::Parquet),
        ];
        choice("`format`", value, &formats, findings)
    });
    let rotation = or_default(section, "rotate", Rotation::default(), |value| {
        read_rotation(value, findings)
    });
    let (format, rotation) = (format?, rotation?);
    let closes = rotation.bytes_max.is_some() || rotation.age_max_ms.is_some();
    if format == FileFormat::Parquet && !closes {
        findings
            .mistake(
                Kind::Missing,
                section.value_place("format"),
                "a Parquet file can be read once it is closed, and nothing says when",
                "`rotate` must be given",
            )
            .help("add rotate = { age = \"1h\" }");
        return None;
    }
    Some(SinkKind::File(FileSettings {
        path: path?,
        format,
        rotation,
    }))
}

fn read_rotation(value: &Value<'_>, findings: &mut Findings) -> Option<Rotation> {
    let expected = "a table such as { size = \"64 MiB\", keep = 10 }";
    let mut rotate = Section::of_value("`rotate`", value, &[], expected, findings)?;
    let bytes_max = or_default(&mut rotate, "size", None, |value| {
        size("`size`", value, 4 << 10..=1 << 40, findings).map(Some)
    });
    let age_us = or_default(&mut rotate, "age", None, |value| {
        duration("`age`", value, AGE_US, findings).map(Some)
    });
    let files_max = or_default(&mut rotate, "keep", None, |value| {
        whole("`keep`", value, 1..=100_000, findings).map(Some)
    });
    let closes = rotate.holds("size") || rotate.holds("age");
    let misspelt = rotate.misspelt("size") || rotate.misspelt("age");
    rotate.close(findings);
    if !closes && !misspelt {
        findings
            .mistake(
                Kind::Missing,
                value.span(),
                "`rotate` does not say when a file is closed",
                "`size` or `age` must be given",
            )
            .help("add size = \"64 MiB\" or age = \"1d\"");
        return None;
    }
    Some(Rotation {
        bytes_max: bytes_max?,
        age_max_ms: age_us?.map(|us| (us / 1_000).unsigned_abs()),
        files_max: files_max?,
    })
}
