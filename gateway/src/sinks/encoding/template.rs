//! Templates: topics, subjects and measurements with a record's names in them.
//!
//! A name must not become structure: what would end a level or be a wildcard at the target is
//! replaced by `_` in names, and stays as it is in the template's own text, where a person put it.
//! Two names may read alike afterwards (`a.b` and `a_b` in a subject); the message itself has
//! them as they are.

use std::borrow::Cow;

use crate::record::Record;
use crate::rules::settings::{Template, TemplatePart};

/// A template with a record's names in it, each passed through `name`.
pub fn render(
    template: &Template,
    record: &Record,
    name: impl for<'a> Fn(&'a str) -> Cow<'a, str>,
) -> String {
    template.parts.iter().fold(String::new(), |mut text, part| {
        match part {
            TemplatePart::Text(own) => text.push_str(own),
            TemplatePart::Site => text.push_str(&name(&record.site)),
            TemplatePart::Device => text.push_str(&name(&record.device)),
            TemplatePart::Sensor => text.push_str(&name(&record.sensor)),
            TemplatePart::Rule => text.push_str(&name(&record.rule)),
        }
        text
    })
}

/// A name as one level of an MQTT topic: without `/`, `+`, `#` and control characters.
pub fn topic_level(name: &str) -> Cow<'_, str> {
    replaced(name, |sign| matches!(sign, '/' | '+' | '#'))
}

/// A name as one token of a NATS subject: without `.`, `*`, `>`, blanks and control characters.
pub fn subject_token(name: &str) -> Cow<'_, str> {
    replaced(name, |sign| {
        matches!(sign, '.' | '*' | '>') || sign.is_whitespace()
    })
}

/// A name as part of an `InfluxDB` measurement: whatever it is; the line protocol escapes it.
pub fn measurement_part(name: &str) -> Cow<'_, str> {
    replaced(name, |_| false)
}

/// The text with what is structure, and control characters, replaced by `_`.
fn replaced(text: &str, is_structure: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_replaced = |sign: char| sign.is_control() || is_structure(sign);
    if text.contains(is_replaced) {
        Cow::Owned(text.replace(is_replaced, "_"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::encoding::tests::plain;

    fn template() -> Template {
        Template {
            parts: vec![
                TemplatePart::Text("a/.".into()),
                TemplatePart::Site,
                TemplatePart::Text("/".into()),
                TemplatePart::Device,
                TemplatePart::Text("/".into()),
                TemplatePart::Sensor,
                TemplatePart::Text("/".into()),
                TemplatePart::Rule,
            ],
        }
    }

    fn odd() -> Record {
        Record {
            site: "a/b".into(),
            device: "*".into(),
            sensor: "x.y +#>".into(),
            rule: "r\n".into(),
            ..plain()
        }
    }

    #[test]
    fn names_do_not_become_structure_and_the_templates_own_text_stays() {
        let record = odd();
        assert_eq!(
            render(&template(), &record, topic_level),
            "a/.a_b/*/x.y __>/r_"
        );
        assert_eq!(
            render(&template(), &record, subject_token),
            "a/.a/b/_/x_y_+#_/r_"
        );
        assert_eq!(
            render(&template(), &record, measurement_part),
            "a/.a/b/*/x.y +#>/r_"
        );
    }

    #[test]
    fn an_ordinary_name_is_not_copied() {
        assert!(matches!(topic_level("pump-1.x"), Cow::Borrowed("pump-1.x")));
        assert!(matches!(subject_token("pump-1"), Cow::Borrowed("pump-1")));
    }
}
