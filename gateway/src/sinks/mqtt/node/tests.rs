//! What a host hears of a node.

use super::*;
use crate::sinks::mqtt::tests::record;
use crate::time::Timestamp;

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp {
            wall_us: 1_600_000_000_000_000,
            ..Timestamp::default()
        }
    }
}

fn node(bd_seq: u8) -> Node {
    Node::new("plant/1", "tidegate", bd_seq, Arc::new(Still))
}

fn heard(message: &Message) -> (&str, Payload) {
    assert!(!message.is_retained);
    (
        &message.topic,
        Payload::decode(&message.payload[..]).unwrap(),
    )
}

fn topics(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.topic.as_str())
        .collect()
}

fn names(payload: &Payload) -> Vec<&str> {
    let names = payload
        .metrics
        .iter()
        .filter_map(|metric| metric.name.as_deref());
    names.collect()
}

fn of(device: &str, sensor: &str, start_us: i64) -> Record {
    Record {
        device: device.into(),
        sensor: sensor.into(),
        start_us,
        ..record(1)
    }
}

fn rebirth(value: bool) -> Vec<u8> {
    let mut command = Payload::decode(&sparkplug::node_birth(0, 0)[..]).unwrap();
    command
        .metrics
        .retain(|metric| metric.name.as_deref() == Some(sparkplug::REBIRTH));
    command.metrics[0].value = Some(MetricValue::Boolean(value));
    command.encode_to_vec()
}

#[test]
fn a_birth_has_the_number_of_the_will_and_each_connection_another() {
    let mut node = node(255);
    for expected in [255, 0, 1] {
        let will = node.connects();
        let (topic, death) = heard(&will);
        assert_eq!(topic, "spBv1.0/plant_1/NDEATH/tidegate");
        let births = node.births();
        let (topic, birth) = heard(&births[0]);
        assert_eq!(topic, "spBv1.0/plant_1/NBIRTH/tidegate");
        assert_eq!((birth.seq, death.seq), (Some(0), None));
        for payload in [birth, death] {
            let number = payload
                .metrics
                .iter()
                .find(|metric| metric.name.as_deref() == Some("bdSeq"));
            assert_eq!(number.unwrap().value, Some(MetricValue::Long(expected)));
        }
    }
}

#[test]
fn a_device_is_born_before_its_data_and_again_with_a_new_metric() {
    let mut node = node(0);
    node.connects();
    assert_eq!(node.births().len(), 1);
    let first = node.say(&of("p+1", "x", 10)).unwrap();
    assert_eq!(
        topics(&first),
        [
            "spBv1.0/plant_1/DBIRTH/tidegate/p_1",
            "spBv1.0/plant_1/DDATA/tidegate/p_1"
        ]
    );
    let again = node.say(&of("p+1", "x", 20)).unwrap();
    assert_eq!(topics(&again), ["spBv1.0/plant_1/DDATA/tidegate/p_1"]);
    let more = node.say(&of("p+1", "y", 20)).unwrap();
    assert_eq!(more.len(), 2);
    let (_, birth) = heard(&more[0]);
    let names = names(&birth);
    assert!(names.iter().any(|name| name.starts_with("x/")));
    assert!(names.iter().any(|name| name.starts_with("y/")));
    // What data brings was in the birth before it.
    let (_, data) = heard(&more[1]);
    assert!(
        data.metrics
            .iter()
            .all(|metric| names.contains(&metric.name.as_deref().unwrap()))
    );
}

#[test]
fn numbers_go_on_from_message_to_message_and_around() {
    let mut node = node(0);
    node.connects();
    let mut expected = 0_u64;
    let mut check = |messages: &[Message]| {
        for message in messages {
            assert_eq!(heard(message).1.seq, Some(expected % 256));
            expected += 1;
        }
    };
    check(&node.births());
    for at in 0..300 {
        check(&node.say(&of("p", "x", at)).unwrap());
    }
}

#[test]
fn a_new_connection_bears_every_device_known() {
    let mut node = node(0);
    node.connects();
    node.births();
    node.say(&of("a", "x", 1)).unwrap();
    node.say(&of("b", "x", 1)).unwrap();
    node.connects();
    let births = node.births();
    assert_eq!(
        topics(&births),
        [
            "spBv1.0/plant_1/NBIRTH/tidegate",
            "spBv1.0/plant_1/DBIRTH/tidegate/a",
            "spBv1.0/plant_1/DBIRTH/tidegate/b"
        ]
    );
    assert_eq!(node.say(&of("a", "x", 2)).unwrap().len(), 1);
}

#[test]
fn a_rebirth_is_done_when_it_is_asked_for_here() {
    let mut node = node(0);
    node.connects();
    node.births();
    node.say(&of("a", "x", 1)).unwrap();
    let topic = node.command_topic();
    assert_eq!(topic, "spBv1.0/plant_1/NCMD/tidegate");
    assert_eq!(node.command(&topic, &rebirth(true)).len(), 2);
    assert_eq!(node.command(&topic, &rebirth(false)).len(), 0);
    assert_eq!(node.command(&topic, b"noise").len(), 0);
    assert_eq!(
        node.command("spBv1.0/plant_1/NCMD/other", &rebirth(true))
            .len(),
        0
    );
    let (_, birth) = heard(&node.command(&topic, &rebirth(true))[0]);
    assert_eq!(birth.seq, Some(0));
}

#[test]
fn an_older_record_is_not_the_present_value() {
    let mut node = node(0);
    node.connects();
    node.births();
    let is_historical = |messages: &[Message]| {
        let (_, data) = heard(messages.last().unwrap());
        data.metrics
            .iter()
            .all(|metric| metric.is_historical == Some(true))
    };
    assert!(!is_historical(&node.say(&of("a", "x", 20)).unwrap()));
    assert!(is_historical(&node.say(&of("a", "x", 10)).unwrap()));
    assert!(!is_historical(&node.say(&of("a", "y", 10)).unwrap()));
    assert!(!is_historical(&node.say(&of("a", "x", 21)).unwrap()));
}

#[test]
fn more_metrics_than_are_remembered_are_refused() {
    let mut node = node(0);
    node.connects();
    node.births();
    let mut sensors = 0;
    let refused = loop {
        match node.say(&of("a", &format!("s{sensors}"), 1)) {
            Ok(_) => sensors += 1,
            Err(outcome) => break outcome,
        }
        // Births of all of them again and again are not what is looked at.
        node.devices.get_mut("a").unwrap().is_born = true;
        assert!(sensors <= METRICS_MAX, "no limit");
        if sensors == 2 {
            node.metrics = METRICS_MAX - 1;
        }
    };
    assert!(matches!(refused, Outcome::Refused { .. }));
    assert_eq!(sensors, 2);
    assert_eq!(
        node.say(&of("a", "s0", 2)).unwrap().len(),
        1,
        "known ones go on"
    );
}
