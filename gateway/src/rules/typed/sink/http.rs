//! `type = "http"`: records by POST, to a receiver of one's own.

use super::endpoint::{self, Wanted};
use super::or_default;
use crate::rules::mistake::Findings;
use crate::rules::settings::{Compression, HttpFormat, HttpSettings, SinkKind};
use crate::rules::tree::{Section, choice};

/// What bodies are compressed with.
pub(super) const COMPRESSIONS: &[(&str, Compression)] = &[
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
    ("none", Compression::None),
];

pub(super) fn read(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    const WANTED: Wanted = Wanted {
        example: "url = \"https://host/path\"",
        // As it was before there was `auth`.
        takes_userinfo: true,
    };
    let endpoint = endpoint::read(section, &WANTED, findings);
    let format = or_default(section, "format", HttpFormat::Ndjson, |value| {
        let formats = [
            ("ndjson", HttpFormat::Ndjson),
            ("json", HttpFormat::Json),
            ("postcard", HttpFormat::Postcard),
        ];
        choice("`format`", value, &formats, findings)
    });
    let compression = or_default(section, "compress", Compression::Gzip, |value| {
        choice("`compress`", value, COMPRESSIONS, findings)
    });
    Some(SinkKind::Http(HttpSettings {
        endpoint: endpoint?,
        format: format?,
        compression: compression?,
    }))
}
