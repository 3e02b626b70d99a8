//! `tls`: of whoever connects, whom to trust and who to be; of whoever listens, who to be.

use std::path::PathBuf;

use super::Mistaken;
use super::gateway::path;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{ServeTls, TlsSettings};
use crate::rules::tree::{Section, Value};

/// Reads the `tls` of what connects, if it is given.
pub(super) fn client(
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Result<Option<TlsSettings>, Mistaken> {
    const EXPECTED: &str = "a table such as { ca = \"/etc/tidegate/ca.pem\" }";
    let Some(value) = section.get("tls") else {
        return Ok(None);
    };
    let mut tls = Section::of_value("`tls`", value, &[], EXPECTED, findings).ok_or(Mistaken)?;
    let [ca, cert, key] = ["ca", "cert", "key"].map(|key| file(&mut tls, key, findings));
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
    Ok(Some(TlsSettings {
        ca: ca?,
        client: cert?.zip(key?),
        ..TlsSettings::default()
    }))
}

/// Refuses the `tls` of what connects where the URL speaks without it.
pub(super) fn refuse_plain(section: &Section<'_, '_>, scheme: &str, findings: &mut Findings) {
    let help = format!("write {scheme}:// in `url`, or take `tls` out");
    refuse_idle(section, "its `url` speaks without TLS", help, findings);
}

/// Refuses it where it has no effect.
pub(super) fn refuse_idle(
    section: &Section<'_, '_>,
    why: &str,
    help: impl Into<String>,
    findings: &mut Findings,
) {
    findings
        .mistake(
            Kind::Conflict,
            section.place("tls"),
            format!("`tls` in {} has no effect", section.title),
            why,
        )
        .help(help);
}

/// Reads the `tls` of what listens; `title` is what messages call it.
pub(super) fn server(
    title: &str,
    value: &Value<'_>,
    asks_clients: bool,
    findings: &mut Findings,
) -> Result<ServeTls, Mistaken> {
    const EXPECTED: &str = "a table such as { cert = \"CERT.pem\", key = \"KEY.pem\" }";
    let mut tls = Section::of_value(title, value, &[], EXPECTED, findings).ok_or(Mistaken)?;
    let cert = tls.need("cert", "cert = \"CERT.pem\"");
    let key = tls.need("key", "key = \"KEY.pem\"");
    let client_ca = if asks_clients {
        file(&mut tls, "client_ca", findings)
    } else {
        Ok(None)
    };
    tls.close(findings);
    let cert = cert.and_then(|value| path("`cert`", value, findings));
    let key = key.and_then(|value| path("`key`", value, findings));
    Ok(ServeTls {
        cert: cert.ok_or(Mistaken)?,
        key: key.ok_or(Mistaken)?,
        client_ca: client_ca?,
    })
}

/// A file that need not be given.
fn file(
    tls: &mut Section<'_, '_>,
    key: &'static str,
    findings: &mut Findings,
) -> Result<Option<PathBuf>, Mistaken> {
    tls.get(key).map_or(Ok(None), |value| {
        let read = path(&format!("`{key}`"), value, findings);
        read.map(Some).ok_or(Mistaken)
    })
}
