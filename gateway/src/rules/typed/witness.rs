//! `[witness.NAME]`: where a witness is served, and its key.

use std::ops::Range;

use super::sink::endpoint::{self, Wanted};
use super::{check_name, too_many};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::WitnessSettings;
use crate::rules::tree::{Section, Value, short, text};

/// Most witnesses: each is asked whenever the audit log has grown.
pub const WITNESSES_MAX: usize = 16;
/// What a key looks like.
const EXPECTED_KEY: &str =
    "expected name+12345678+base64, as tidegate audit witness --show-key prints it there";

/// All of them, as typed.
#[derive(Debug, Default)]
pub(in crate::rules) struct TypedWitnesses {
    pub(in crate::rules) settings: Vec<WitnessSettings>,
    /// Where the first of them stands.
    pub(in crate::rules) place: Range<usize>,
}

/// Reads all of them; none where something of one is mistaken.
pub(super) fn read(value: &Value<'_>, findings: &mut Findings) -> Option<TypedWitnesses> {
    let expected = "sections that begin with [witness.NAME]";
    let section = Section::of_value("`witness`", value, &[], expected, findings)?;
    let count = section.entries().count();
    too_many("witnesses", count, WITNESSES_MAX, value, findings);
    let mut read: Vec<Option<WitnessSettings>> = Vec::new();
    for (name, span, value) in section.entries().take(WITNESSES_MAX) {
        let one = read_one(name, span.clone(), value, findings);
        let taken = read.iter().flatten();
        refuse_twin(one.as_ref(), taken, span, findings);
        read.push(one);
    }
    Some(TypedWitnesses {
        settings: read.into_iter().collect::<Option<_>>()?,
        place: section.entries().next()?.1,
    })
}

fn read_one(
    name: &str,
    span: Range<usize>,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<WitnessSettings> {
    const WANTED: Wanted = Wanted {
        example: "url = \"https://host:8380\"",
        takes_userinfo: false,
    };
    let is_named = check_name("witness", name, span, findings);
    let title = format!("[witness.{}]", short(name));
    let expected = "a section that begins with [witness.NAME]";
    let mut section = Section::of_value(title, value, &[], expected, findings)?;
    let endpoint = endpoint::read(&mut section, &WANTED, findings);
    let key = section
        .need("key", "key = \"name+12345678+base64\"")
        .and_then(|value| read_key(value, findings));
    section.close(findings);
    Some(WitnessSettings {
        name: is_named.then(|| name.to_owned())?,
        endpoint: endpoint?,
        key: key?,
    })
}

fn read_key(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let typed = text("`key`", value, EXPECTED_KEY, findings)?;
    if let Err(why) = check_key(typed) {
        findings
            .mistake(
                Kind::Malformed,
                value.span(),
                format!("`key` is not the key of a witness: {why}"),
                EXPECTED_KEY,
            )
            .help("a witness's key is not that of its audit log (audit/public-key)");
        return None;
    }
    Some(typed.trim().to_owned())
}

#[cfg(feature = "network")]
fn check_key(typed: &str) -> Result<(), &'static str> {
    let read = crate::audit::WitnessKey::parse(typed);
    read.map(|_| ())
        .map_err(|_| "it has another form, or signs of it are wrong")
}

/// What has no audit log asks no witness.
#[cfg(not(feature = "network"))]
fn check_key(_: &str) -> Result<(), &'static str> {
    Ok(())
}

/// One key is one witness: its cosignature would be counted as two.
fn refuse_twin<'s>(
    one: Option<&WitnessSettings>,
    mut taken: impl Iterator<Item = &'s WitnessSettings>,
    place: Range<usize>,
    findings: &mut Findings,
) {
    let Some(one) = one else { return };
    if let Some(first) = taken.find(|first| first.key == one.key) {
        findings
            .mistake(
                Kind::Duplicate,
                place,
                format!(
                    "the witness \"{}\" has this key already",
                    short(&first.name)
                ),
                "two witnesses are two keys",
            )
            .help("take one of them out, or give it the key of the other gateway");
    }
}
