//! Families: every metric, in the order in which it is said.

use super::Kind::{Counter, Gauge, Info};
use super::Measure::{Bytes, Plain, Ratio};
use super::{Family, Series};
use crate::budget::Level;
use crate::plant::{Health, Overview, Rule};
use crate::sinks::status::Phase;
use crate::status::{Limit, Sink, Unit};

/// Every metric.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "gateway",
        kind: Info,
        measure: Plain,
        labels: &["site", "id", "version"],
        help: "Which gateway",
        of: |seen, out| {
            let about = &seen.status.gateway;
            out.whole(&[&about.site, &about.id, &about.version], 1);
        },
    },
    Family {
        name: "gateway_starts",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Starts of the gateway, this one included",
        of: |seen, out| out.whole(&[], seen.status.gateway.start.into()),
    },
    Family {
        name: "works_as_usual",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "1 while nothing keeps the gateway from working as usual",
        of: |seen, out| out.flag(&[], seen.status.works_as_usual),
    },
    Family {
        name: "state_active",
        kind: Gauge,
        measure: Plain,
        labels: &["state", "sink"],
        help: "1 while a state of docs/status.md holds; sink is empty where it is the whole gateway's",
        of: states,
    },
    Family {
        name: "samples",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Samples logged",
        of: |seen, out| out.whole(&[], seen.flow.samples),
    },
    Family {
        name: "samples_as_json",
        kind: Counter,
        measure: Bytes,
        labels: &[],
        help: "Bytes of one JSON message for each sample logged",
        of: |seen, out| out.whole(&[], seen.flow.samples_as_json_bytes),
    },
    Family {
        name: "received",
        kind: Counter,
        measure: Bytes,
        labels: &[],
        help: "Bytes of frames received since the start",
        of: |seen, out| out.whole(&[], seen.flow.received_bytes),
    },
    Family {
        name: "records_delivered",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Records that sinks confirmed, over all sinks",
        of: |seen, out| out.whole(&[], seen.flow.records),
    },
    Family {
        name: "sent",
        kind: Counter,
        measure: Bytes,
        labels: &[],
        help: "Bytes sent upstream, over all sinks, an estimate as their framing is",
        of: |seen, out| out.whole(&[], seen.flow.sent_bytes),
    },
    Family {
        name: "devices",
        kind: Gauge,
        measure: Plain,
        labels: &["health"],
        help: "Devices by health",
        of: devices,
    },
    Family {
        name: "devices_admitted",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "Devices admitted",
        of: |seen, out| out.whole(&[], seen.status.devices.admitted),
    },
    Family {
        name: "device_turns",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "Devices that have a turn to send what they kept",
        of: |seen, out| out.whole(&[], seen.status.devices.turns),
    },
    Family {
        name: "devices_paused",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "Devices that were asked to wait and have not all sent",
        of: |seen, out| out.whole(&[], seen.status.devices.paused),
    },
    Family {
        name: "device_pauses",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Pauses asked for since the start",
        of: |seen, out| out.whole(&[], seen.status.devices.pauses),
    },
    Family {
        name: "turns_budget",
        kind: Gauge,
        measure: Bytes,
        labels: &[],
        help: "Bytes that turns may have in flight",
        of: |seen, out| out.whole(&[], seen.status.devices.budget_bytes),
    },
    Family {
        name: "frames_held",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "Frames that wait for the gateway's clock",
        of: |seen, out| out.known(&[], seen.status.devices.frames_held),
    },
    Family {
        name: "link_up",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "1 while the broker is connected and subscribed",
        of: |seen, out| out.flag(&[], seen.status.link.up),
    },
    Family {
        name: "link_subscriptions",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Connections with every subscription granted, since the start",
        of: |seen, out| out.whole(&[], seen.status.link.counters.subscribed),
    },
    Family {
        name: "link_losses",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Connections to the broker lost or not made, since the start",
        of: |seen, out| out.whole(&[], seen.status.link.counters.lost),
    },
    Family {
        name: "link_messages_received",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Messages taken from the broker since the start",
        of: |seen, out| out.whole(&[], seen.status.link.counters.received),
    },
    Family {
        name: "link_messages_published",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Messages given to the broker since the start",
        of: |seen, out| out.whole(&[], seen.status.link.counters.published),
    },
    Family {
        name: "link_messages_dropped",
        kind: Counter,
        measure: Plain,
        labels: &["reason"],
        help: "Messages to or from the broker dropped since the start",
        of: link_drops,
    },
    Family {
        name: "link_intake_full",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Times the intake was full, so that nothing more was read from the broker",
        of: |seen, out| out.whole(&[], seen.status.link.counters.intake_full),
    },
    Family {
        name: "sink_phase",
        kind: Gauge,
        measure: Plain,
        labels: &["sink", "phase"],
        help: "1 for what the sink is doing, 0 for the rest",
        of: phases,
    },
    Family {
        name: "sink_records_waiting",
        kind: Gauge,
        measure: Plain,
        labels: &["sink"],
        help: "Records that wait in the sink's queues",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.known(&[name], sink.delivery.records_waiting)
            })
        },
    },
    Family {
        name: "sink_records_underway",
        kind: Gauge,
        measure: Plain,
        labels: &["sink"],
        help: "Records of the batch underway",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.records_underway)
            })
        },
    },
    Family {
        name: "sink_dead_letters",
        kind: Gauge,
        measure: Plain,
        labels: &["sink"],
        help: "Records that the sink refused and that are kept",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.known(&[name], sink.delivery.dead_letters)
            })
        },
    },
    Family {
        name: "sink_spool",
        kind: Gauge,
        measure: Bytes,
        labels: &["sink"],
        help: "Bytes of the files of the sink's queues",
        of: |seen, out| of_sinks(seen, |name, sink| out.known(&[name], sink.spool_bytes)),
    },
    Family {
        name: "sink_batches",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Batches confirmed, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.batches)
            })
        },
    },
    Family {
        name: "sink_records",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Records confirmed, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.records)
            })
        },
    },
    Family {
        name: "sink_attempts",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Attempts made, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.attempts)
            })
        },
    },
    Family {
        name: "sink_retries",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Attempts that ended in a retry, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.retries)
            })
        },
    },
    Family {
        name: "sink_broken",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Attempts that found the sink broken, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.broken)
            })
        },
    },
    Family {
        name: "sink_halved",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Attempts after which a batch was halved, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.halved)
            })
        },
    },
    Family {
        name: "sink_refused",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Attempts at a record alone that were refused, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.refused)
            })
        },
    },
    Family {
        name: "sink_dead_lettered",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Records put among the dead letters, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.dead_letters)
            })
        },
    },
    Family {
        name: "sink_body",
        kind: Counter,
        measure: Bytes,
        labels: &["sink"],
        help: "Body bytes confirmed, before compression, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.body_bytes)
            })
        },
    },
    Family {
        name: "sink_sent",
        kind: Counter,
        measure: Bytes,
        labels: &["sink"],
        help: "Body bytes as sent, by all attempts, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.sent_bytes)
            })
        },
    },
    Family {
        name: "sink_framing",
        kind: Counter,
        measure: Bytes,
        labels: &["sink"],
        help: "Bytes of request and response heads, of all attempts, an estimate, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.header_bytes)
            })
        },
    },
    Family {
        name: "sink_failed",
        kind: Counter,
        measure: Bytes,
        labels: &["sink"],
        help: "Of both, what attempts that were not confirmed took, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.failed_bytes)
            })
        },
    },
    Family {
        name: "sink_drains",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Backlogs: times that more waited than a batch takes, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.drains)
            })
        },
    },
    Family {
        name: "sink_drained_records",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Records of backlogs confirmed, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.drained_records)
            })
        },
    },
    Family {
        name: "sink_drained",
        kind: Counter,
        measure: Bytes,
        labels: &["sink"],
        help: "Their body bytes, before compression, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.drained_bytes)
            })
        },
    },
    Family {
        name: "sink_drain_waits",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Times that a backlog waited for its pace, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.drain_waits)
            })
        },
    },
    Family {
        name: "sink_spool_failures",
        kind: Counter,
        measure: Plain,
        labels: &["sink"],
        help: "Reads and commits that the spool failed, since the start",
        of: |seen, out| {
            of_sinks(seen, |name, sink| {
                out.whole(&[name], sink.delivery.counters.spool_failures)
            })
        },
    },
    Family {
        name: "rule_version",
        kind: Gauge,
        measure: Plain,
        labels: &["rule"],
        help: "Version of the rule in force",
        of: |seen, out| of_rules(seen, |name, rule| out.whole(&[name], rule.version.into())),
    },
    Family {
        name: "rule_samples",
        kind: Counter,
        measure: Plain,
        labels: &["rule"],
        help: "Samples that the rule matched",
        of: |seen, out| of_rules(seen, |name, rule| out.whole(&[name], rule.samples)),
    },
    Family {
        name: "rule_samples_left_out",
        kind: Counter,
        measure: Plain,
        labels: &["rule"],
        help: "Samples that the rule filtered out, or that came late",
        of: |seen, out| of_rules(seen, |name, rule| out.whole(&[name], rule.left_out)),
    },
    Family {
        name: "rule_records",
        kind: Counter,
        measure: Plain,
        labels: &["rule"],
        help: "Records of the rule delivered, over its sinks",
        of: |seen, out| of_rules(seen, |name, rule| out.whole(&[name], rule.records)),
    },
    Family {
        name: "rule_records_waiting",
        kind: Gauge,
        measure: Plain,
        labels: &["rule"],
        help: "Records of the rule that wait for a sink",
        of: |seen, out| of_rules(seen, |name, rule| out.whole(&[name], rule.waiting)),
    },
    Family {
        name: "rule_sent",
        kind: Counter,
        measure: Bytes,
        labels: &["rule"],
        help: "Bytes on the wire for the rule, an estimate as their framing is",
        of: |seen, out| of_rules(seen, |name, rule| out.whole(&[name], rule.sent_bytes)),
    },
    Family {
        name: "rule_savings",
        kind: Gauge,
        measure: Ratio,
        labels: &["rule"],
        help: "How much less that is than one JSON message for each sample matched; 1 is all",
        of: savings,
    },
    Family {
        name: "rule_alerts_open",
        kind: Gauge,
        measure: Plain,
        labels: &["rule"],
        help: "Alerts of the rule that are open",
        of: |seen, out| of_rules(seen, |name, rule| out.whole(&[name], rule.alerts_open)),
    },
    Family {
        name: "alerts_open",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "Alerts that are open",
        of: |seen, out| out.whole(&[], seen.alerts_open),
    },
    Family {
        name: "books_balanced",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "1 while every sample is where a counter says",
        of: |seen, out| out.flag(&[], seen.ledger.balanced),
    },
    Family {
        name: "books_unknown",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "1 while something cannot be known: tidegate ledger says what, and its bound",
        of: |seen, out| out.flag(&[], seen.ledger.unknown),
    },
    Family {
        name: "books_samples",
        kind: Gauge,
        measure: Plain,
        labels: &["account"],
        help: "Samples by account: logged, unmatched by any rule, delivered and waiting in records, over all sinks",
        of: books,
    },
    Family {
        name: "month_sent",
        kind: Gauge,
        measure: Bytes,
        labels: &["month", "sink", "part"],
        help: "Bytes sent in the month, by all attempts; the framing is an estimate",
        of: month,
    },
    Family {
        name: "month_records",
        kind: Gauge,
        measure: Plain,
        labels: &["month", "sink"],
        help: "Records confirmed in the month",
        of: month_records,
    },
    Family {
        name: "month_incomplete",
        kind: Gauge,
        measure: Plain,
        labels: &["month"],
        help: "1 where something sent in the month may be missing",
        of: |seen, out| {
            if let Some(bill) = &seen.bill {
                out.flag(&[&bill.month.to_string()], bill.gap);
            }
        },
    },
    Family {
        name: "budget_used",
        kind: Gauge,
        measure: Bytes,
        labels: &[],
        help: "Bytes of the month's budget that are used",
        of: |seen, out| {
            if let Some(budget) = &seen.budget {
                out.whole(&[], budget.used_bytes);
            }
        },
    },
    Family {
        name: "budget_warning",
        kind: Gauge,
        measure: Bytes,
        labels: &[],
        help: "Bytes that a warning is due at",
        of: |seen, out| {
            if let Some(budget) = &seen.budget {
                out.whole(&[], budget.warn_bytes);
            }
        },
    },
    Family {
        name: "budget_cap",
        kind: Gauge,
        measure: Bytes,
        labels: &[],
        help: "Bytes that the month may have",
        of: |seen, out| {
            if let Some(budget) = &seen.budget {
                out.whole(&[], budget.cap_bytes);
            }
        },
    },
    Family {
        name: "budget_forecast",
        kind: Gauge,
        measure: Bytes,
        labels: &[],
        help: "Bytes that the month will have at this pace; unknown before a day was seen",
        of: |seen, out| {
            if let Some(budget) = &seen.budget {
                out.known(&[], budget.forecast_bytes);
            }
        },
    },
    Family {
        name: "budget_level",
        kind: Gauge,
        measure: Plain,
        labels: &["level"],
        help: "1 for where the budget stands, 0 for the rest",
        of: levels,
    },
    Family {
        name: "limit_used",
        kind: Gauge,
        measure: Bytes,
        labels: &["limit"],
        help: "How much of a limit in bytes is used",
        of: |seen, out| {
            limits(seen, Unit::Bytes, |limit| {
                out.known(&[&limit.key], limit.used)
            })
        },
    },
    Family {
        name: "limit",
        kind: Gauge,
        measure: Bytes,
        labels: &["limit"],
        help: "The most that a limit in bytes allows",
        of: |seen, out| {
            limits(seen, Unit::Bytes, |limit| {
                out.whole(&[&limit.key], limit.most)
            })
        },
    },
    Family {
        name: "devices_max",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "Devices that are admitted at most",
        of: |seen, out| limits(seen, Unit::Devices, |limit| out.whole(&[], limit.most)),
    },
    Family {
        name: "configuration",
        kind: Info,
        measure: Plain,
        labels: &["file", "hash"],
        help: "The configuration in force",
        of: |seen, out| {
            if let Some(one) = &seen.status.configuration {
                out.whole(&[&one.file, &one.hash], 1);
            }
        },
    },
    Family {
        name: "configuration_reloads",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Configurations taken since the start",
        of: |seen, out| {
            out.known(
                &[],
                seen.status.configuration.as_ref().map(|one| one.reloads),
            )
        },
    },
    Family {
        name: "configuration_refusals",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Configurations refused since the start",
        of: |seen, out| {
            out.known(
                &[],
                seen.status.configuration.as_ref().map(|one| one.refusals),
            )
        },
    },
    Family {
        name: "configuration_refused",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "1 while the file is not in force because it was refused",
        of: configuration_refused,
    },
    Family {
        name: "commands",
        kind: Counter,
        measure: Plain,
        labels: &["outcome"],
        help: "Commands on the control socket since the start",
        of: commands,
    },
    Family {
        name: "http_connections",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "Connections to page, API and metrics that are open",
        of: |seen, out| out.known(&[], seen.status.http.map(|http| http.connections)),
    },
    Family {
        name: "http_streams",
        kind: Gauge,
        measure: Plain,
        labels: &[],
        help: "Streams of events that are open",
        of: |seen, out| out.known(&[], seen.status.http.map(|http| http.streams)),
    },
    Family {
        name: "http_answered",
        kind: Counter,
        measure: Plain,
        labels: &[],
        help: "Requests answered since the start, refusals among them",
        of: |seen, out| out.known(&[], seen.status.http.map(|http| http.answered)),
    },
    Family {
        name: "http_refused",
        kind: Counter,
        measure: Plain,
        labels: &["reason"],
        help: "Requests, connections and streams refused or ended since the start",
        of: http_refused,
    },
];

fn of_sinks(seen: &Overview, mut say: impl FnMut(&str, &Sink)) {
    for (name, sink) in &seen.status.sinks {
        say(name, sink);
    }
}

fn of_rules(seen: &Overview, mut say: impl FnMut(&str, &Rule)) {
    for rule in &seen.rules {
        say(&rule.name, rule);
    }
}

/// A name as JSON has it.
fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// States of the whole gateway.
const STATES: [&str; 5] = [
    "log-failing",
    "spool-failing",
    "standby",
    "unsubscribed",
    "clock-untrusted",
];
/// States of a sink.
const SINK_STATES: [&str; 3] = [
    "sink-circuit-open",
    "sink-spool-failing",
    "sink-dead-letters",
];

fn states(seen: &Overview, out: &mut Series) {
    let of_sinks = seen.status.sinks.keys();
    let of_sinks = of_sinks.flat_map(|sink| SINK_STATES.map(|state| (state, sink.as_str())));
    let mut known: Vec<(&str, &str)> = STATES.map(|state| (state, "")).into_iter().collect();
    known.extend(of_sinks);
    let active: Vec<(&str, &str)> = seen
        .status
        .states
        .iter()
        .map(|state| (state.name.as_str(), state.sink.as_deref().unwrap_or("")))
        .collect();
    for (state, sink) in &known {
        out.flag(&[state, sink], active.contains(&(state, sink)));
    }
    for (state, sink) in active.iter().filter(|one| !known.contains(one)) {
        out.flag(&[state, sink], true);
    }
}

fn devices(seen: &Overview, out: &mut Series) {
    let healths = [
        Health::Live,
        Health::Late,
        Health::Silent,
        Health::Ended,
        Health::Unknown,
    ];
    for health in healths {
        let count = seen.devices.get(&health).copied().unwrap_or(0);
        out.whole(&[&word(&health)], count);
    }
}

fn link_drops(seen: &Overview, out: &mut Series) {
    let counters = seen.status.link.counters;
    out.whole(&["unreliable"], counters.unreliable_dropped);
    out.whole(&["away"], counters.dropped_away);
    out.whole(&["full"], counters.dropped_full);
    out.whole(&["large"], counters.dropped_large);
}

fn phases(seen: &Overview, out: &mut Series) {
    let phases = [
        Phase::Idle,
        Phase::Reading,
        Phase::Filling,
        Phase::Sending,
        Phase::BackingOff,
        Phase::CircuitOpen,
        Phase::Committing,
        Phase::SpoolFailing,
        Phase::Draining,
    ];
    of_sinks(seen, |name, sink| {
        for phase in phases {
            out.flag(&[name, &word(&phase)], sink.delivery.phase == phase);
        }
    });
}

fn savings(seen: &Overview, out: &mut Series) {
    of_rules(seen, |name, rule| {
        if let Some(percent) = rule.savings_percent {
            out.real(&[name], percent / 100.0);
        }
    });
}

fn books(seen: &Overview, out: &mut Series) {
    let books = &seen.ledger;
    for (account, samples) in [
        ("logged", books.logged),
        ("unmatched", books.unmatched),
        ("delivered", books.delivered),
        ("waiting", books.waiting),
    ] {
        // A count below nothing is a fault of the books; it is shown as it is.
        match u64::try_from(samples) {
            Ok(samples) => out.whole(&[account], samples),
            Err(_) => out.real(&[account], samples as f64),
        }
    }
}

fn month(seen: &Overview, out: &mut Series) {
    let Some(bill) = &seen.bill else { return };
    let month = bill.month.to_string();
    for (sink, cost) in &bill.sinks {
        out.whole(&[&month, sink, "body"], cost.bytes_after);
        out.whole(&[&month, sink, "framing"], cost.framing_bytes);
    }
}

fn month_records(seen: &Overview, out: &mut Series) {
    let Some(bill) = &seen.bill else { return };
    for (sink, cost) in &bill.sinks {
        out.whole(&[&bill.month.to_string(), sink], cost.records);
    }
}

fn levels(seen: &Overview, out: &mut Series) {
    let Some(budget) = &seen.budget else { return };
    for level in [Level::Free, Level::Warned, Level::Capped] {
        out.flag(&[&word(&level)], budget.level == level);
    }
}

fn limits(seen: &Overview, unit: Unit, say: impl FnMut(&Limit)) {
    let limits = seen.status.limits.iter();
    limits.filter(|limit| limit.unit == unit).for_each(say);
}

fn configuration_refused(seen: &Overview, out: &mut Series) {
    if let Some(one) = &seen.status.configuration {
        out.flag(
            &[],
            one.refused
                .as_ref()
                .is_some_and(|refused| refused.is_current),
        );
    }
}

fn commands(seen: &Overview, out: &mut Series) {
    if let Some(control) = &seen.status.control {
        out.whole(&["answered"], control.answered);
        out.whole(&["malformed"], control.malformed);
        out.whole(&["busy"], control.busy);
        out.whole(&["slow"], control.slow);
    }
}

fn http_refused(seen: &Overview, out: &mut Series) {
    if let Some(http) = &seen.status.http {
        out.whole(&["unauthorised"], http.unauthorised);
        out.whole(&["guessing"], http.guessing);
        out.whole(&["foreign-host"], http.foreign_host);
        out.whole(&["unanswered"], http.unanswered);
        out.whole(&["malformed"], http.malformed);
        out.whole(&["busy"], http.busy);
        out.whole(&["slow"], http.slow);
    }
}
