//! `[budget]`.

use serde_json::{Value, json};

use super::{about, by_default, duration, one_of_names, size, table};
use crate::rules::settings::BudgetSettings;
use crate::rules::typed::AT_CAP;

pub(super) fn budget() -> Value {
    let warn_at = f64::from(BudgetSettings::WARN_PERMILLE) / 1_000.0;
    let actions = AT_CAP.map(|(name, _)| name);
    table(
        "[budget]",
        "What may leave this machine in a month: see docs/bill.md",
        &["bytes_per_month"],
        vec![
            (
                "bytes_per_month",
                about(
                    "Bytes in a month of UTC, all remote sinks together, framing among them",
                    size(),
                ),
            ),
            (
                "warn_at",
                about(
                    "Share of it that a warning comes at",
                    by_default(
                        warn_at,
                        json!({ "type": "number", "minimum": 0.01, "maximum": 1 }),
                    ),
                ),
            ),
            (
                "at_cap",
                about(
                    "What happens when it is used up; never to rules of high priority",
                    by_default("nothing", one_of_names(&actions)),
                ),
            ),
            (
                "coarsen",
                about(
                    "Length that shorter tumbling windows get with at_cap = \"coarsen\"",
                    duration(),
                ),
            ),
        ],
    )
}
