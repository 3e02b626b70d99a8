//! `tls`: whom to trust and who to be.

use super::{Mistaken, or_default};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{TlsKeys, TlsSettings};
use crate::rules::tree::Section;
use crate::rules::typed::gateway::path;

/// Reads `tls`; `None` where it is not given.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Result<Option<TlsSettings>, Mistaken> {
    let Some(value) = section.get("tls") else {
        return Ok(None);
    };
    let expected = "a table such as { ca = \"/etc/tidegate/ca.pem\" }";
    let tls = Section::of_value("`tls`", value, &[], expected, findings).ok_or(Mistaken)?;
    read_table(tls, findings).map(Some).ok_or(Mistaken)
}

fn read_table(mut tls: Section<'_, '_>, findings: &mut Findings) -> Option<TlsSettings> {
    let mut file = |key: &'static str| {
        or_default(&mut tls, key, None, |value| {
            path(&format!("`{key}`"), value, findings).map(Some)
        })
    };
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let lacking = match (tls.holds("cert"), tls.holds("key")) {
        (true, false) => Some(("cert", "key")),
        (false, true) => Some(("key", "cert")),
        _ => None,
    };
    let lacking = lacking.filter(|(_, lacking)| !tls.misspelt(lacking));
    if let Some((given, lacking)) = lacking {
        findings
            .mistake(
                Kind::Missing,
                tls.value_place(given),
                format!("`tls` has `{given}` without `{lacking}`"),
                "a client shows its certificate and proves it by the key",
            )
            .help(format!("add {lacking} = \"FILE.pem\""));
    }
    tls.close(findings);
    Some(TlsSettings {
        ca: ca?,
        client: cert?.zip(key?),
        keys: TlsKeys::Sink,
    })
}

/// Refuses `tls` where the URL speaks without it.
pub(super) fn refuse_plain(section: &Section<'_, '_>, scheme: &str, findings: &mut Findings) {
    findings
        .mistake(
            Kind::Conflict,
            section.place("tls"),
            format!("`tls` in {} has no effect", section.title),
            "its `url` speaks without TLS",
        )
        .help(format!("write {scheme}:// in `url`, or take `tls` out"));
}
