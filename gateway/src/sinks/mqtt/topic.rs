//! Topics: a template with a record's names in it, and the filter that covers them all.

use crate::record::Record;
use crate::rules::settings::{Template, TemplatePart};
use crate::sinks::encoding::template::{render, topic_level};

/// The topic of a record.
pub fn of(template: &Template, record: &Record) -> String {
    render(template, record, topic_level)
}

/// A filter for the topics of all records of a site: `+` for every level that differs.
pub fn filter(template: &Template, site: &str) -> String {
    // No text of a template has a zero, and no name: it marks what differs.
    let text = template.parts.iter().fold(String::new(), |mut text, part| {
        match part {
            TemplatePart::Text(own) => text.push_str(own),
            TemplatePart::Site => text.push_str(&topic_level(site)),
            TemplatePart::Device | TemplatePart::Sensor | TemplatePart::Rule => text.push('\0'),
        }
        text
    });
    let levels: Vec<&str> = text
        .split('/')
        .map(|level| if level.contains('\0') { "+" } else { level })
        .collect();
    levels.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::mqtt::tests::record;

    fn template(parts: &[TemplatePart]) -> Template {
        Template {
            parts: parts.to_vec(),
        }
    }

    fn text(text: &str) -> TemplatePart {
        TemplatePart::Text(text.into())
    }

    #[test]
    fn a_filter_covers_the_topics_of_its_site() {
        let template = template(&[
            text("a/"),
            TemplatePart::Site,
            text("/x-"),
            TemplatePart::Device,
            text("/"),
            TemplatePart::Sensor,
            TemplatePart::Rule,
            text("/end"),
        ]);
        let record = record(3);
        let filter = filter(&template, &record.site);
        assert_eq!(filter, format!("a/{}/+/+/end", record.site));
        assert!(rumqttc::mqttbytes::matches(
            &of(&template, &record),
            &filter
        ));
    }

    #[test]
    fn a_name_never_makes_a_level_or_a_wildcard() {
        let template = template(&[TemplatePart::Site, text("/"), TemplatePart::Rule]);
        let record = Record {
            site: "a/b".into(),
            rule: "c+#".into(),
            ..record(0)
        };
        assert_eq!(of(&template, &record), "a_b/c__");
        assert_eq!(filter(&template, &record.site), "a_b/+");
    }
}
