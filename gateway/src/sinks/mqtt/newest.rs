//! The newest time of each topic, so that a retained value never goes back in time.
//!
//! Records of one topic do not come in the order of their times: a revision corrects an old
//! window, a class of higher priority overtakes, and several rules may share a topic. Kept by the
//! broker, such a record would replace a newer value. So the age of what was last sent to be kept
//! is remembered per topic, and an older record is sent without the flag: subscribers get it, the
//! kept value stays.
//!
//! # After a restart
//! The broker itself is asked, because it alone knows what it keeps (it may have lost it, or got
//! it from an earlier gateway): before the first message of a process, the sink subscribes to its
//! own topics, reads `start` and `revision` of the values kept there, and unsubscribes. A file of
//! our own would be one more thing to keep in step with a broker, and wrong whenever that is
//! restored or replaced. The end of the kept values is taken to be the answer to a ping sent
//! behind the subscription: Mosquitto, `NanoMQ` and others that work through a connection's
//! packets in order send them before it. A broker that sends them later than that may show
//! an older value until the next record of the topic.
//!
//! A kept value that is not a record is nobody's time: it is replaced.
//!
//! # Limit
//! [`TOPICS_MAX`] topics are remembered. Records of further ones are sent without the flag: a
//! value that is not kept is not wrong.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::record::Record;

/// Topics whose newest time is remembered: those of 1,000 devices with 8 sensors and 8 rules, in
/// some 4 MB.
pub const TOPICS_MAX: usize = 65_536;

/// How old a value is: a later window is newer, then a later revision of the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    start_us: i64,
    revision: u32,
}

/// The parts of a record that its age is made of.
#[derive(Deserialize)]
struct Kept<'a> {
    start: &'a str,
    revision: u32,
}

/// The newest time of each topic.
#[derive(Debug, Default)]
pub struct Newest {
    /// By hash of the topic.
    topics: BTreeMap<u128, Age>,
    is_full: bool,
}

impl Newest {
    /// Takes in what a broker keeps on a topic.
    pub fn learn(&mut self, topic: &str, payload: &[u8]) {
        let kept = serde_json::from_slice::<Kept<'_>>(payload).ok();
        let age = kept.and_then(|kept| {
            let start: jiff::Timestamp = kept.start.parse().ok()?;
            Some(Age {
                start_us: start.as_microsecond(),
                revision: kept.revision,
            })
        });
        if let Some(age) = age {
            self.put(topic, age);
        }
    }

    /// Whether a record may be kept on its topic: it is not older than the newest so far, which
    /// it becomes. The same record sent again may.
    pub fn may_be_kept(&mut self, topic: &str, record: &Record) -> bool {
        let age = Age {
            start_us: record.start_us,
            revision: record.revision,
        };
        self.put(topic, age)
    }

    /// Whether topics had to be left out; told once.
    pub fn fills(&mut self) -> bool {
        let is_new = self.topics.len() >= TOPICS_MAX && !self.is_full;
        self.is_full |= is_new;
        is_new
    }

    /// Remembers an age; whether it is the newest of its topic.
    fn put(&mut self, topic: &str, age: Age) -> bool {
        let key = key(topic);
        let is_full = self.topics.len() >= TOPICS_MAX;
        match self.topics.get_mut(&key) {
            Some(newest) if age < *newest => false,
            Some(newest) => {
                *newest = age;
                true
            }
            None if is_full => false,
            None => {
                self.topics.insert(key, age);
                true
            }
        }
    }
}

/// 128 bits of a topic's hash: two topics of one gateway never share them.
fn key(topic: &str) -> u128 {
    Sha256::digest(topic)
        .iter()
        .take(16)
        .fold(0, |key, byte| key << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::to_json;
    use crate::sinks::mqtt::tests::record;

    fn at(start_us: i64, revision: u32) -> Record {
        Record {
            start_us,
            revision,
            ..record(0)
        }
    }

    #[test]
    fn an_older_window_or_revision_is_not_kept() {
        let mut newest = Newest::default();
        for (start_us, revision, is_kept) in [
            (20, 0, true),
            (20, 0, true),
            (10, 0, false),
            (10, 7, false),
            (20, 2, true),
            (20, 1, false),
            (21, 0, true),
        ] {
            assert_eq!(
                newest.may_be_kept("a", &at(start_us, revision)),
                is_kept,
                "{start_us} {revision}"
            );
        }
        assert!(newest.may_be_kept("b", &at(1, 0)), "topics are apart");
    }

    #[test]
    fn what_the_broker_keeps_counts_after_a_restart() {
        let mut newest = Newest::default();
        newest.learn("a", to_json(&at(1_600_000_000_000_000, 1)).as_bytes());
        assert!(!newest.may_be_kept("a", &at(1_600_000_000_000_000, 0)));
        assert!(newest.may_be_kept("a", &at(1_600_000_000_000_000, 1)));
        assert!(newest.may_be_kept("a", &at(1_600_000_000_000_001, 0)));
    }

    #[test]
    fn strangers_values_are_replaced() {
        let mut newest = Newest::default();
        for payload in [
            &b""[..],
            b"21.5",
            b"{\"start\":\"soon\",\"revision\":0}",
            &[0xff],
        ] {
            newest.learn("a", payload);
        }
        assert!(newest.may_be_kept("a", &at(-5, 0)));
    }

    #[test]
    fn beyond_the_limit_nothing_is_kept() {
        let mut newest = Newest::default();
        for topic in 0..TOPICS_MAX {
            assert!(!newest.fills());
            assert!(newest.may_be_kept(&topic.to_string(), &at(0, 0)));
        }
        assert!(!newest.may_be_kept("one more", &at(0, 0)));
        assert!(newest.may_be_kept("7", &at(0, 0)), "known ones go on");
        assert!(newest.fills());
        assert!(!newest.fills(), "said once");
    }
}
