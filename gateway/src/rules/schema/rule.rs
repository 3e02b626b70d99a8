//! `[[rule]]`.

use serde_json::{Value, json};
use tidegate_shared::limits::{DEVICE_BYTES_MAX, SENSOR_BYTES_MAX, UNIT_BYTES_MAX};

use super::{
    about, above_zero, by_default, duration, duration_by_default, name, number, one_of_names,
    one_or_list, table, text, whole,
};
use crate::rules::typed::bounds;

pub(super) fn rule() -> Value {
    let mut keys = vec![
        ("name", about("Its name in records and counters", name())),
        ("from", from()),
        ("match", matching()),
        ("keep", keep()),
        ("with", with()),
        (
            "max_age",
            about("How old a value of `with` may be", duration()),
        ),
        ("derive", derive()),
        (
            "when",
            about(
                "Samples for which it does not hold are filtered: value > 3 && device != \"x\"",
                text(),
            ),
        ),
    ];
    keys.extend(thinning());
    keys.extend([
        ("window", window()),
        ("aggregate", aggregates()),
        (
            "group",
            about(
                "What shares a record: a sensor, a device, or with `from` the site",
                by_default("sensor", one_of_names(&["sensor", "device", "site"])),
            ),
        ),
        ("alert", alert()),
        (
            "priority",
            about(
                "Class in the sinks' queues",
                by_default("normal", one_of_names(&["low", "normal", "high"])),
            ),
        ),
        (
            "forward",
            about(
                "Sinks by name; a rule that another one takes `from` may have none",
                json!({ "type": "array", "maxItems": super::SINKS_MAX, "items": name() }),
            ),
        ),
    ]);
    table("[[rule]]", "What to do with which samples", &["name"], keys)
}

fn decimals() -> Value {
    about(
        "Digits behind the point that are kept",
        by_default(bounds::DECIMALS, whole(0, bounds::DECIMALS_MOST)),
    )
}

fn from() -> Value {
    let source = table(
        "`from`",
        "Records of another rule are this one's samples",
        &["rule"],
        vec![
            ("rule", about("That rule's name", name())),
            ("value", about("Which value of its records", text())),
            ("decimals", decimals()),
        ],
    );
    json!({
        "description": "The rule whose records are this one's samples",
        "anyOf": [name(), source],
    })
}

fn matching() -> Value {
    let glob = json!({ "type": "string", "maxLength": bounds::GLOB_BYTES_MAX });
    let globs = || one_or_list(&glob, bounds::GLOBS_MAX);
    table(
        "`match`",
        "Which sensors: globs with * for any run of signs and ? for one, or lists of them",
        &[],
        vec![
            ("site", about("Sites", globs())),
            ("device", about("Devices", globs())),
            ("sensor", about("Sensors", globs())),
            ("unit", about("Units", globs())),
            ("kind", about("Kinds: gauge, counter, state, bool", globs())),
            (
                "tags",
                about("Tags: one of a sensor's has to match", globs()),
            ),
        ],
    )
}

fn keep() -> Value {
    table(
        "`keep`",
        "What is plausible; the rest is filtered and counted",
        &[],
        vec![
            ("min", about("Lowest value kept", number())),
            ("max", about("Highest value kept", number())),
            (
                "rate_max",
                about(
                    "Fastest change from the last value kept, per second",
                    above_zero(),
                ),
            ),
        ],
    )
}

fn with() -> Value {
    let name_of = |bytes_max: usize| json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]+$", "maxLength": bytes_max });
    let sensor = name_of(SENSOR_BYTES_MAX);
    let input = table(
        "`ALIAS` in `with`",
        "A sensor whose newest value expressions may use",
        &["sensor"],
        vec![
            (
                "device",
                about(
                    "The device; the sample's own when left out",
                    name_of(DEVICE_BYTES_MAX),
                ),
            ),
            ("sensor", about("The sensor", sensor.clone())),
        ],
    );
    json!({
        "description": "Other sensors by the names that expressions have for them",
        "type": "object",
        "maxProperties": bounds::INPUTS_MAX,
        "propertyNames": { "pattern": "^[a-z_][a-z0-9_]*$" },
        "additionalProperties": { "anyOf": [sensor, input] },
    })
}

fn derive() -> Value {
    table(
        "`derive`",
        "What is computed of a sample and takes its place: `value`, `rate` or `integral`",
        &[],
        vec![
            (
                "unit",
                about(
                    "Its unit",
                    json!({ "type": "string", "maxLength": UNIT_BYTES_MAX }),
                ),
            ),
            ("decimals", decimals()),
            (
                "max_gap",
                about(
                    "Across a longer gap there is neither rate nor integral",
                    duration_by_default(bounds::GAP_US),
                ),
            ),
            ("value", about("A formula: value * 1.8 + 32", text())),
            ("rate", about("Change per this time", duration())),
            (
                "integral",
                about("Area under the values, in unit × this time", duration()),
            ),
        ],
    )
}

fn thinning() -> Vec<(&'static str, Value)> {
    let share = json!({
        "anyOf": [
            { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
            { "type": "string", "pattern": r"^\s*[0-9.]+\s*%\s*$" },
        ],
    });
    let band = table(
        "`deadband`",
        "The larger of both distances",
        &[],
        vec![
            (
                "absolute",
                about("Distance in the sensor's unit", above_zero()),
            ),
            (
                "relative",
                about("Share of the last value: 0.05 or \"5%\"", share),
            ),
        ],
    );
    vec![
        (
            "deadband",
            json!({
                "description": "Changes smaller than this are filtered",
                "anyOf": [above_zero(), band],
            }),
        ),
        (
            "on_change",
            about(
                "Values equal to the last are filtered",
                json!({ "type": "boolean" }),
            ),
        ),
        (
            "decimate",
            json!({
                "description": "All but one sample in a time, or in a number, are filtered",
                "anyOf": [duration(), whole(2, u32::MAX.into())],
            }),
        ),
        (
            "max_error",
            about(
                "Samples that a straight line redraws to within this are filtered (swinging door)",
                above_zero(),
            ),
        ),
        (
            "heartbeat",
            about(
                "A sample passes when the last one that passed is this old",
                duration(),
            ),
        ),
    ]
}

fn window() -> Value {
    let every = "Of hopping windows: how often one begins; alone, with `zone`: \"1d\", \"1w\" or \"1mo\" of the calendar";
    table(
        "`window`",
        "How samples are grouped in time",
        &[],
        vec![
            (
                "lateness",
                about(
                    "How long to wait for what comes late",
                    duration_by_default(bounds::LATENESS_US),
                ),
            ),
            (
                "late",
                about(
                    "What becomes of samples of a window that was closed early",
                    by_default("revise", one_of_names(&["revise", "drop"])),
                ),
            ),
            (
                "hold",
                about(
                    "How long a value holds when nothing newer comes",
                    duration(),
                ),
            ),
            (
                "every",
                json!({
                    "description": every,
                    "anyOf": [duration(), { "const": "1w" }, { "const": "1mo" }],
                }),
            ),
            (
                "zone",
                about("Time zone of the calendar: Europe/Berlin, UTC", text()),
            ),
            (
                "longest",
                about(
                    "Of sessions: one this long is followed by another",
                    duration_by_default(bounds::SESSION_US),
                ),
            ),
            (
                "tumbling",
                about("Windows of this length, one after the other", duration()),
            ),
            (
                "hopping",
                about(
                    "Windows of this length that begin at every `every`",
                    duration(),
                ),
            ),
            (
                "sliding",
                about("A window for every sample: this time up to it", duration()),
            ),
            (
                "session",
                about("Samples that are less than this apart", duration()),
            ),
            (
                "count",
                about(
                    "This many samples",
                    whole(*bounds::COUNTS.start(), *bounds::COUNTS.end()),
                ),
            ),
        ],
    )
}

fn aggregates() -> Value {
    let percentile = r"^p(100(\.0)?|[0-9]{1,2}(\.[0-9])?)$";
    let more = table(
        "this aggregate",
        "A share of time, or a histogram",
        &["name"],
        vec![
            (
                "name",
                about(
                    "What it is called in records",
                    json!({ "type": "string", "pattern": "^[a-z_][a-z0-9_]*$", "maxLength": 32 }),
                ),
            ),
            (
                "share_of_time",
                about(
                    "The share of the time during which this condition on `value` held",
                    text(),
                ),
            ),
            (
                "histogram",
                json!({
                    "description": "Samples below the first of these bounds, between each two, and from the last on",
                    "type": "array",
                    "minItems": 1,
                    "maxItems": bounds::BOUNDS_MAX,
                    "items": number(),
                }),
            ),
        ],
    );
    json!({
        "description": "What is computed of a window",
        "type": "array",
        "minItems": 1,
        "maxItems": bounds::AGGREGATES_MAX,
        "items": {
            "anyOf": [
                { "enum": bounds::aggregate_names() },
                { "type": "string", "pattern": percentile },
                more,
            ],
        },
    })
}

fn alert() -> Value {
    table(
        "`alert`",
        "The condition that is watched; a rule with one makes no other records",
        &[],
        vec![
            ("when", about("Opens it: value > 4.5", text())),
            (
                "clear",
                about(
                    "Clears it; when left out, it clears as soon as `when` does not hold",
                    text(),
                ),
            ),
            (
                "for",
                about(
                    "How long `when` must hold without a break",
                    duration_by_default(0),
                ),
            ),
            (
                "repeat",
                about(
                    "A record again each time it was open for this much longer",
                    duration(),
                ),
            ),
            (
                "silent_for",
                about("Opens it when no sample came for this long", duration()),
            ),
            (
                "historic_after",
                about(
                    "An alert of a sample that was older than this as it arrived is historic",
                    duration_by_default(bounds::HISTORIC_US),
                ),
            ),
        ],
    )
}
