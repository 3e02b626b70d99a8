//! Partial: what an OTLP collector says of metrics that it took, or took in part.
//!
//! Two messages of the protocol are read, by hand, since it is four fields:
//! `ExportMetricsServiceResponse { partial_success = 1 }` with
//! `ExportMetricsPartialSuccess { rejected_data_points = 1, error_message = 2 }`, and, with an
//! error, `google.rpc.Status { code = 1, message = 2 }`. What cannot be read says nothing.

/// Rejected data points and the collector's words; `None` when it took all.
pub(super) fn rejected(body: &[u8]) -> Option<(u64, String)> {
    let mut points = 0;
    let mut message = String::new();
    for field in Fields(body) {
        let (1, Value::Bytes(partial)) = field else {
            continue;
        };
        for field in Fields(partial) {
            match field {
                (1, Value::Number(number)) => points = number,
                (2, Value::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
    }
    (points > 0).then_some((points, message))
}

/// The words of a `Status`.
pub(super) fn status_message(body: &[u8]) -> Option<String> {
    Fields(body).find_map(|field| match field {
        (2, Value::Bytes(text)) => Some(std::str::from_utf8(text).ok()?.to_owned()),
        _ => None,
    })
}

/// A field's value.
#[derive(Debug, PartialEq)]
enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

/// Fields of a protobuf message, up to the first that cannot be read.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = (u64, Value<'b>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'b> Fields<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..10 {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_partial_success_is_read() {
        assert_eq!(rejected(b""), None);
        // partial_success { error_message: "slow" }: a warning, nothing was rejected.
        assert_eq!(rejected(b"\x0a\x06\x12\x04slow"), None);
        // partial_success { rejected_data_points: 300, error_message: "no unit" }
        assert_eq!(
            rejected(b"\x0a\x0c\x08\xac\x02\x12\x07no unit"),
            Some((300, "no unit".into()))
        );
        assert_eq!(
            status_message(b"\x08\x03\x12\x07no unit").as_deref(),
            Some("no unit")
        );
        assert_eq!(status_message(b"plain text"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = (rejected(&bytes), status_message(&bytes));
        }
    }
}
