//! Keys: which belong to which type of sink; one that is another type's is refused by its name.

use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::Section;

/// The types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Http,
    Influxdb,
    Prometheus,
    Otlp,
    Mqtt,
    Nats,
    File,
    Stdout,
}

impl Type {
    /// Whether what it sends leaves this machine.
    pub(super) fn is_remote(self) -> bool {
        CONNECTED.contains(&self)
    }
}

/// Their names.
pub(super) const TYPES: &[(&str, Type)] = &[
    ("http", Type::Http),
    ("influxdb", Type::Influxdb),
    ("prometheus", Type::Prometheus),
    ("otlp", Type::Otlp),
    ("mqtt", Type::Mqtt),
    ("nats", Type::Nats),
    ("file", Type::File),
    ("stdout", Type::Stdout),
];
/// Types of later versions.
pub(super) const LATER_TYPES: &[&str] = &["kafka", "tidegate"];

/// Those that post.
const POSTING: &[Type] = &[Type::Http, Type::Influxdb, Type::Prometheus, Type::Otlp];
/// Those with a connection.
const CONNECTED: &[Type] = &[
    Type::Http,
    Type::Influxdb,
    Type::Prometheus,
    Type::Otlp,
    Type::Mqtt,
    Type::Nats,
];

/// Keys that not every type has, and whose they are.
const OWNED: &[(&str, &[Type])] = &[
    ("url", CONNECTED),
    ("auth", CONNECTED),
    ("tls", CONNECTED),
    ("headers", POSTING),
    ("format", &[Type::Http, Type::File]),
    ("compress", &[Type::Http, Type::Influxdb, Type::Otlp]),
    ("api", &[Type::Influxdb]),
    ("database", &[Type::Influxdb]),
    ("retention_policy", &[Type::Influxdb]),
    ("org", &[Type::Influxdb]),
    ("bucket", &[Type::Influxdb]),
    ("measurement", &[Type::Influxdb]),
    ("prefix", &[Type::Prometheus]),
    ("revisions", &[Type::Prometheus]),
    ("version", &[Type::Mqtt]),
    ("client_id", &[Type::Mqtt]),
    ("payload", &[Type::Mqtt]),
    ("topic", &[Type::Mqtt]),
    ("group", &[Type::Mqtt]),
    ("edge_node", &[Type::Mqtt]),
    ("retain", &[Type::Mqtt]),
    ("subject", &[Type::Nats]),
    ("path", &[Type::File]),
    ("rotate", &[Type::File]),
];

/// The types' names.
pub(in crate::rules) fn type_names() -> Vec<&'static str> {
    TYPES.iter().map(|(name, _)| *name).collect()
}

/// Refuses the keys of other types; of a sink of no known type they may all be right.
pub(super) fn refuse_others(
    section: &mut Section<'_, '_>,
    of_type: Option<Type>,
    findings: &mut Findings,
) {
    for (key, owners) in OWNED {
        match of_type {
            None => {
                section.get(key);
            }
            Some(of_type) if owners.contains(&of_type) => {}
            Some(_) if section.holds(key) => misplaced(section, key, owners, findings),
            Some(_) => {}
        }
    }
}

fn misplaced(
    section: &mut Section<'_, '_>,
    key: &'static str,
    owners: &[Type],
    findings: &mut Findings,
) {
    section.get(key);
    let owners: Vec<String> = TYPES
        .iter()
        .filter(|(_, of_type)| owners.contains(of_type))
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    findings.mistake(
        Kind::Conflict,
        section.value_place(key),
        format!(
            "`{key}` in {} belongs to another type of sink",
            section.title
        ),
        format!("only sinks of type {} have it", owners.join(", ")),
    );
}
