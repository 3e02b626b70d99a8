//! Message: what a sample would weigh as a JSON message of its own; what savings are measured by.

/// Bytes of such a message beside its names and its unit:
/// `{"site":"","device":"","sensor":"","unit":"","time":"2020-02-08T13:30:47Z","value":4.125}`.
const FRAME_BYTES: u64 = 89;

/// Bytes of `{"site":…,"device":…,"sensor":…,"unit":…,"time":"2020-02-08T13:30:47Z","value":4.125}`.
/// A value of four digits and a time of whole seconds stand for all.
pub fn bytes(site: &str, device: &str, sensor: &str, unit: &str) -> u64 {
    FRAME_BYTES + (site.len() + device.len() + sensor.len()) as u64 + escaped_bytes(unit)
}

/// Names need no escapes in JSON; a unit may.
fn escaped_bytes(unit: &str) -> u64 {
    let escapes = |byte: u8| matches!(byte, b'"' | b'\\') || byte < b' ';
    if !unit.bytes().any(escapes) {
        return unit.len() as u64;
    }
    let quoted = serde_json::Value::from(unit).to_string();
    quoted.len() as u64 - 2
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_weighs_what_it_would() {
        for unit in ["", "bar", "°C", "mm/s", "\"", "\\\u{1}"] {
            let message = json!({
                "site": "pump-house", "device": "pump-1", "sensor": "vibration.rms", "unit": unit,
                "time": "2020-02-08T13:30:47Z", "value": 4.125,
            });
            let counted = bytes("pump-house", "pump-1", "vibration.rms", unit);
            assert_eq!(counted, message.to_string().len() as u64, "{unit:?}");
        }
    }
}
