//! `[http]`: page, API and metrics; beyond this machine only with TLS and a secret.

use std::ops::Range;

use super::listen::Listener;
use super::sink::secret;
use super::{Mistaken, tls};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::{Secret, ServeSettings};
use crate::rules::tree::{Section, Value, boolean, list, malformed, text};

/// Names that `hosts` may list: each is compared with every request's.
pub(in crate::rules) const HOSTS_MAX: usize = 32;
/// Bytes of a name of the DNS.
pub(in crate::rules) const HOST_BYTES_MAX: usize = 253;
const SECRET_HELP: &str =
    "add password = { file = \"/etc/tidegate/password\" } or token = { file = \"…\" }";
const TLS_HELP: &str = "add tls = { cert = \"CERT.pem\", key = \"KEY.pem\" }";

/// `[http]` as it was typed.
#[derive(Debug, Default)]
pub(in crate::rules) struct TypedHttp {
    /// The settings; none where there are none, or something of them is mistaken.
    pub(in crate::rules) settings: Option<ServeSettings>,
    /// Where it says that this gateway is a witness, if it does.
    pub(in crate::rules) witness: Option<Range<usize>>,
}

/// Reads the section.
pub(super) fn read(section: Section<'_, '_>, findings: &mut Findings) -> TypedHttp {
    let place = section.value_place("witness");
    let settings = read_settings(section, findings);
    let is_witness = settings.as_ref().is_some_and(|settings| settings.witness);
    TypedHttp {
        settings,
        witness: is_witness.then_some(place),
    }
}

/// None where something of it is mistaken.
fn read_settings(mut section: Section<'_, '_>, findings: &mut Findings) -> Option<ServeSettings> {
    let listen_place = section.value_place("listen");
    let listen = section
        .get("listen")
        .map_or(Ok(ServeSettings::LISTEN), |value| {
            let page = Listener {
                port: ServeSettings::LISTEN.port(),
                by: "people",
            };
            page.read(value, findings).ok_or(Mistaken)
        });
    let token = read_secret(&mut section, "token", findings);
    let password = read_secret(&mut section, "password", findings);
    let tls = section.get("tls").map_or(Ok(None), |value| {
        tls::server("`tls` in [http]", value, false, findings).map(Some)
    });
    let hosts = section
        .get("hosts")
        .map_or(Ok(Vec::new()), |value| read_hosts(value, findings));
    let witness = section.get("witness").map_or(Ok(false), |value| {
        boolean("`witness`", value, findings).ok_or(Mistaken)
    });
    let is_misspelt = ["listen", "token", "password", "tls"]
        .iter()
        .any(|key| section.misspelt(key));
    section.close(findings);
    let (Ok(listen), Ok(token), Ok(password), Ok(tls), Ok(hosts), Ok(witness)) =
        (listen, token, password, tls, hosts, witness)
    else {
        return None;
    };
    let settings = ServeSettings {
        listen,
        token,
        password,
        tls,
        hosts,
        witness,
    };
    if !is_misspelt {
        refuse_open(&settings, listen_place, findings);
    }
    Some(settings)
}

/// Whoever is not on this machine has to show a secret, and over TLS, or others would read it.
fn refuse_open(settings: &ServeSettings, place: Range<usize>, findings: &mut Findings) {
    if settings.listen.ip().is_loopback() {
        return;
    }
    let (lacks, help) = match (settings.asks_who(), settings.tls.is_some()) {
        (true, true) => return,
        (false, true) => ("a password or token", SECRET_HELP.to_owned()),
        (true, false) => ("TLS", TLS_HELP.to_owned()),
        (false, false) => (
            "TLS and a password or token",
            format!("{TLS_HELP}; {SECRET_HELP}"),
        ),
    };
    findings
        .mistake(
            Kind::Exposed,
            place,
            format!("[http] listens beyond this machine without {lacks}"),
            "whoever reaches this address would see the plant",
        )
        .help(format!("{help}; or listen on 127.0.0.1"));
}

fn read_secret(
    section: &mut Section<'_, '_>,
    key: &'static str,
    findings: &mut Findings,
) -> Result<Option<Secret>, Mistaken> {
    section.get(key).map_or(Ok(None), |value| {
        let read = secret(&format!("`{key}`"), value, findings);
        read.map(Some).ok_or(Mistaken)
    })
}

fn read_hosts(value: &Value<'_>, findings: &mut Findings) -> Result<Vec<String>, Mistaken> {
    let expected = "a list such as [\"gateway.local\"]";
    let values = list("`hosts`", value, expected, findings).ok_or(Mistaken)?;
    if values.len() > HOSTS_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("`hosts` has {} names", values.len()),
            format!("at most {HOSTS_MAX} are allowed"),
        );
        return Err(Mistaken);
    }
    let read = values.iter().map(|value| {
        let typed = text("a name in `hosts`", value, "a text", findings)?;
        let is_sign = |sign: u8| sign.is_ascii_alphanumeric() || matches!(sign, b'.' | b'-' | b'_');
        let fits = !typed.is_empty() && typed.len() <= HOST_BYTES_MAX && typed.bytes().all(is_sign);
        if !fits {
            malformed(
                value.span(),
                "`hosts` holds what is no name of a machine",
                "expected names such as \"gateway.local\", without scheme and port",
                findings,
            );
        }
        fits.then(|| typed.to_ascii_lowercase())
    });
    // Every name is read, so that each mistake is told.
    let read: Vec<Option<String>> = read.collect();
    read.into_iter().collect::<Option<_>>().ok_or(Mistaken)
}
