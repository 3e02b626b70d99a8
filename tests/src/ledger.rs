//! The ledger as `tidegate ledger --json` prints it, asked for counts wherever they stand.

use serde_json::Value;

/// Sums what stands under `section.reason` at any depth of `value`, so that a count is found
/// whether it belongs to the gateway, a device or a sensor.
pub fn count(value: &Value, section: &str, reason: &str) -> u64 {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| {
                let here = if name == section {
                    field.get(reason).and_then(Value::as_u64).unwrap_or(0)
                } else {
                    0
                };
                here + count(field, section, reason)
            })
            .sum(),
        Value::Array(items) => items.iter().map(|item| count(item, section, reason)).sum(),
        _ => 0,
    }
}

/// Sums every whole number that stands under the name `name`, at any depth.
pub fn total(value: &Value, name: &str) -> u64 {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(found, field)| {
                let here = if found == name { field.as_u64() } else { None };
                here.unwrap_or(0) + total(field, name)
            })
            .sum(),
        Value::Array(items) => items.iter().map(|item| total(item, name)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_are_found_at_any_depth() {
        let ledger = json!({
            "gateway": { "uncounted": { "version": 2 } },
            "devices": { "d": {
                "uncounted": { "version": 1, "trailer": 4 },
                "sensors": { "version": { "rejected": { "bad-sample": 3 }, "waiting": 5 } },
            } },
        });
        assert_eq!(count(&ledger, "uncounted", "version"), 3);
        assert_eq!(count(&ledger, "uncounted", "trailer"), 4);
        assert_eq!(count(&ledger, "rejected", "bad-sample"), 3);
        assert_eq!(count(&ledger, "rejected", "version"), 0);
        assert_eq!(total(&ledger, "waiting"), 5);
    }
}
