//! Metrics of each sink and of each rule.

use super::Measure::{Bytes, Plain, Ratio};
use super::Value::{Real, Whole};
use super::many::phases;
use super::{Family, Of, counter, gauge};

/// In the order in which they are said.
pub(super) const FAMILIES: &[Family] = &[
    gauge(
        "sink_phase",
        Plain,
        "1 for what the sink is doing, 0 for the rest",
        Of::Many(&["sink", "phase"], phases),
    ),
    gauge(
        "sink_records_waiting",
        Plain,
        "Records that wait in the sink's queues",
        Of::Sink(|sink| sink.delivery.records_waiting.map(Whole)),
    ),
    gauge(
        "sink_records_underway",
        Plain,
        "Records of the batch underway",
        Of::Sink(|sink| Some(Whole(sink.delivery.records_underway))),
    ),
    gauge(
        "sink_dead_letters",
        Plain,
        "Records that the sink refused and that are kept",
        Of::Sink(|sink| sink.delivery.dead_letters.map(Whole)),
    ),
    gauge(
        "sink_spool",
        Bytes,
        "Bytes of the files of the sink's queues",
        Of::Sink(|sink| sink.spool_bytes.map(Whole)),
    ),
    counter(
        "sink_batches",
        Plain,
        "Batches confirmed, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.batches))),
    ),
    counter(
        "sink_records",
        Plain,
        "Records confirmed, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.records))),
    ),
    counter(
        "sink_attempts",
        Plain,
        "Attempts made, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.attempts))),
    ),
    counter(
        "sink_retries",
        Plain,
        "Attempts that ended in a retry, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.retries))),
    ),
    counter(
        "sink_broken",
        Plain,
        "Attempts that found the sink broken, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.broken))),
    ),
    counter(
        "sink_halved",
        Plain,
        "Attempts after which a batch was halved, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.halved))),
    ),
    counter(
        "sink_refused",
        Plain,
        "Attempts at a record alone that were refused, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.refused))),
    ),
    counter(
        "sink_dead_lettered",
        Plain,
        "Records put among the dead letters, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.dead_letters))),
    ),
    counter(
        "sink_body",
        Bytes,
        "Body bytes confirmed, before compression, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.body_bytes))),
    ),
    counter(
        "sink_sent",
        Bytes,
        "Body bytes as sent, by all attempts, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.sent_bytes))),
    ),
    counter(
        "sink_framing",
        Bytes,
        "Bytes of request and response heads, of all attempts, an estimate, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.header_bytes))),
    ),
    counter(
        "sink_failed",
        Bytes,
        "Of both, what attempts that were not confirmed took, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.failed_bytes))),
    ),
    counter(
        "sink_drains",
        Plain,
        "Backlogs: times that more waited than a batch takes, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.drains))),
    ),
    counter(
        "sink_drained_records",
        Plain,
        "Records of backlogs confirmed, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.drained_records))),
    ),
    counter(
        "sink_drained",
        Bytes,
        "Their body bytes, before compression, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.drained_bytes))),
    ),
    counter(
        "sink_drain_waits",
        Plain,
        "Times that a backlog waited for its pace, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.drain_waits))),
    ),
    counter(
        "sink_spool_failures",
        Plain,
        "Reads and commits that the spool failed, since the start",
        Of::Sink(|sink| Some(Whole(sink.delivery.counters.spool_failures))),
    ),
    gauge(
        "rule_version",
        Plain,
        "Version of the rule in force",
        Of::Rule(|rule| Some(Whole(rule.version.into()))),
    ),
    counter(
        "rule_samples",
        Plain,
        "Samples that the rule matched",
        Of::Rule(|rule| Some(Whole(rule.samples))),
    ),
    counter(
        "rule_samples_left_out",
        Plain,
        "Samples that the rule filtered out, or that came late",
        Of::Rule(|rule| Some(Whole(rule.left_out))),
    ),
    counter(
        "rule_records",
        Plain,
        "Records of the rule delivered, over its sinks",
        Of::Rule(|rule| Some(Whole(rule.records))),
    ),
    gauge(
        "rule_records_waiting",
        Plain,
        "Records of the rule that wait for a sink",
        Of::Rule(|rule| Some(Whole(rule.waiting))),
    ),
    counter(
        "rule_sent",
        Bytes,
        "Bytes on the wire for the rule, an estimate as their framing is",
        Of::Rule(|rule| Some(Whole(rule.sent_bytes))),
    ),
    gauge(
        "rule_savings",
        Ratio,
        "How much less that is than one JSON message for each sample matched; 1 is all",
        Of::Rule(|rule| rule.savings_percent.map(|percent| Real(percent / 100.0))),
    ),
    gauge(
        "rule_alerts_open",
        Plain,
        "Alerts of the rule that are open",
        Of::Rule(|rule| Some(Whole(rule.alerts_open))),
    ),
];
