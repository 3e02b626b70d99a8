//! `type = "otlp"`: OpenTelemetry metrics to a collector, over HTTP.

use super::endpoint::{self, Wanted};
use super::{http, or_default};
use crate::rules::mistake::Findings;
use crate::rules::settings::{Compression, OtlpSettings, SinkKind};
use crate::rules::tree::{Section, choice};

pub(super) fn read(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<SinkKind> {
    const WANTED: Wanted = Wanted {
        example: "url = \"http://host:4318/v1/metrics\"",
        takes_userinfo: false,
    };
    let endpoint = endpoint::read(section, &WANTED, findings);
    let compression = or_default(section, "compress", Compression::Gzip, |value| {
        choice("`compress`", value, http::COMPRESSIONS, findings)
    });
    Some(SinkKind::Otlp(OtlpSettings {
        endpoint: endpoint?,
        compression: compression?,
    }))
}
