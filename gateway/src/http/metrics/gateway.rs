//! Metrics of the whole gateway: flow, devices, link, books, budget, limits, configuration.

use super::Measure::{Bytes, Plain};
use super::Value::Whole;
use super::many::{
    about, books, broker_refused, commands, configuration, configuration_refused, cosigned,
    devices, devices_max, http_refused, levels, limits, limits_used, link_drops, month,
    month_incomplete, month_records, states, to_cosign,
};
use super::{Family, Of, counter, gauge, info};

/// In the order in which they are said.
pub(super) const FAMILIES: &[Family] = &[
    info(
        "gateway",
        Plain,
        "Which gateway",
        Of::Many(&["site", "id", "version"], about),
    ),
    counter(
        "gateway_starts",
        Plain,
        "Starts of the gateway, this one included",
        Of::Plant(|seen| Some(Whole(seen.status.gateway.start.into()))),
    ),
    gauge(
        "works_as_usual",
        Plain,
        "1 while nothing keeps the gateway from working as usual",
        Of::Plant(|seen| Some(Whole(u64::from(seen.status.works_as_usual)))),
    ),
    gauge(
        "state_active",
        Plain,
        "1 while a state of docs/status.md holds; sink is empty where it is the whole gateway's",
        Of::Many(&["state", "sink"], states),
    ),
    gauge(
        "witness_cosigned_entries",
        Plain,
        "Entries of the audit log that a witness has cosigned",
        Of::Many(&["witness"], cosigned),
    ),
    gauge(
        "witness_entries",
        Plain,
        "Entries of the audit log that there are to cosign",
        Of::Many(&["witness"], to_cosign),
    ),
    counter(
        "samples",
        Plain,
        "Samples logged",
        Of::Plant(|seen| Some(Whole(seen.flow.samples))),
    ),
    counter(
        "samples_as_json",
        Bytes,
        "Bytes of one JSON message for each sample logged",
        Of::Plant(|seen| Some(Whole(seen.flow.samples_as_json_bytes))),
    ),
    counter(
        "received",
        Bytes,
        "Bytes of frames received since the start",
        Of::Plant(|seen| Some(Whole(seen.flow.received_bytes))),
    ),
    counter(
        "records_delivered",
        Plain,
        "Records that sinks confirmed, over all sinks",
        Of::Plant(|seen| Some(Whole(seen.flow.records))),
    ),
    counter(
        "sent",
        Bytes,
        "Bytes sent upstream, over all sinks, an estimate as their framing is",
        Of::Plant(|seen| Some(Whole(seen.flow.sent_bytes))),
    ),
    gauge(
        "devices",
        Plain,
        "Devices by health",
        Of::Many(&["health"], devices),
    ),
    gauge(
        "devices_admitted",
        Plain,
        "Devices admitted",
        Of::Plant(|seen| Some(Whole(seen.status.devices.admitted))),
    ),
    gauge(
        "device_turns",
        Plain,
        "Devices that have a turn to send what they kept",
        Of::Plant(|seen| Some(Whole(seen.status.devices.turns))),
    ),
    gauge(
        "devices_paused",
        Plain,
        "Devices that were asked to wait and have not all sent",
        Of::Plant(|seen| Some(Whole(seen.status.devices.paused))),
    ),
    counter(
        "device_pauses",
        Plain,
        "Pauses asked for since the start",
        Of::Plant(|seen| Some(Whole(seen.status.devices.pauses))),
    ),
    gauge(
        "turns_budget",
        Bytes,
        "Bytes that turns may have in flight",
        Of::Plant(|seen| Some(Whole(seen.status.devices.budget_bytes))),
    ),
    gauge(
        "frames_held",
        Plain,
        "Frames that wait for the gateway's clock",
        Of::Plant(|seen| seen.status.devices.frames_held.map(Whole)),
    ),
    gauge(
        "link_up",
        Plain,
        "1 while the broker is connected and subscribed",
        Of::Plant(|seen| Some(Whole(u64::from(seen.status.link.up)))),
    ),
    counter(
        "link_subscriptions",
        Plain,
        "Connections with every subscription granted, since the start",
        Of::Plant(|seen| Some(Whole(seen.status.link.counters.subscribed))),
    ),
    counter(
        "link_losses",
        Plain,
        "Connections to the broker lost or not made, since the start",
        Of::Plant(|seen| Some(Whole(seen.status.link.counters.lost))),
    ),
    counter(
        "link_messages_received",
        Plain,
        "Messages taken from the broker since the start",
        Of::Plant(|seen| Some(Whole(seen.status.link.counters.received))),
    ),
    counter(
        "link_messages_published",
        Plain,
        "Messages given to the broker since the start",
        Of::Plant(|seen| Some(Whole(seen.status.link.counters.published))),
    ),
    counter(
        "link_messages_dropped",
        Plain,
        "Messages to or from the broker dropped since the start",
        Of::Many(&["reason"], link_drops),
    ),
    counter(
        "link_intake_full",
        Plain,
        "Times the intake was full, so that nothing more was read from the broker",
        Of::Plant(|seen| Some(Whole(seen.status.link.counters.intake_full))),
    ),
    gauge(
        "alerts_open",
        Plain,
        "Alerts that are open",
        Of::Plant(|seen| Some(Whole(seen.alerts_open))),
    ),
    gauge(
        "books_balanced",
        Plain,
        "1 while every sample is where a counter says",
        Of::Plant(|seen| Some(Whole(u64::from(seen.ledger.balanced)))),
    ),
    gauge(
        "books_unknown",
        Plain,
        "1 while something cannot be known: tidegate ledger says what, and its bound",
        Of::Plant(|seen| Some(Whole(u64::from(seen.ledger.unknown)))),
    ),
    gauge(
        "books_samples",
        Plain,
        "Samples by account: logged, unmatched by any rule, delivered and waiting in records, over all sinks",
        Of::Many(&["account"], books),
    ),
    gauge(
        "month_sent",
        Bytes,
        "Bytes sent in the month, by all attempts; the framing is an estimate",
        Of::Many(&["month", "sink", "part"], month),
    ),
    gauge(
        "month_records",
        Plain,
        "Records confirmed in the month",
        Of::Many(&["month", "sink"], month_records),
    ),
    gauge(
        "month_incomplete",
        Plain,
        "1 where something sent in the month may be missing",
        Of::Many(&["month"], month_incomplete),
    ),
    gauge(
        "budget_used",
        Bytes,
        "Bytes of the month's budget that are used",
        Of::Plant(|seen| {
            seen.status
                .budget
                .as_ref()
                .map(|budget| Whole(budget.used_bytes))
        }),
    ),
    gauge(
        "budget_warning",
        Bytes,
        "Bytes that a warning is due at",
        Of::Plant(|seen| {
            seen.status
                .budget
                .as_ref()
                .map(|budget| Whole(budget.warn_bytes))
        }),
    ),
    gauge(
        "budget_cap",
        Bytes,
        "Bytes that the month may have",
        Of::Plant(|seen| {
            seen.status
                .budget
                .as_ref()
                .map(|budget| Whole(budget.cap_bytes))
        }),
    ),
    gauge(
        "budget_forecast",
        Bytes,
        "Bytes that the month will have at this pace; unknown before a day was seen",
        Of::Plant(|seen| seen.status.budget.as_ref()?.forecast_bytes.map(Whole)),
    ),
    gauge(
        "budget_level",
        Plain,
        "1 for where the budget stands, 0 for the rest",
        Of::Many(&["level"], levels),
    ),
    gauge(
        "limit_used",
        Bytes,
        "How much of a limit in bytes is used",
        Of::Many(&["limit"], limits_used),
    ),
    gauge(
        "limit",
        Bytes,
        "The most that a limit in bytes allows",
        Of::Many(&["limit"], limits),
    ),
    gauge(
        "devices_max",
        Plain,
        "Devices that are admitted at most",
        Of::Many(&[], devices_max),
    ),
    info(
        "configuration",
        Plain,
        "The configuration in force",
        Of::Many(&["file", "hash"], configuration),
    ),
    counter(
        "configuration_reloads",
        Plain,
        "Configurations taken since the start",
        Of::Plant(|seen| {
            seen.status
                .configuration
                .as_ref()
                .map(|one| Whole(one.reloads))
        }),
    ),
    counter(
        "configuration_refusals",
        Plain,
        "Configurations refused since the start",
        Of::Plant(|seen| {
            seen.status
                .configuration
                .as_ref()
                .map(|one| Whole(one.refusals))
        }),
    ),
    gauge(
        "configuration_refused",
        Plain,
        "1 while the file is not in force because it was refused",
        Of::Many(&[], configuration_refused),
    ),
    counter(
        "broker_refused",
        Plain,
        "What the broker inside refused since the start: docs/broker.md",
        Of::Many(&["reason"], broker_refused),
    ),
    counter(
        "commands",
        Plain,
        "Commands on the control socket since the start",
        Of::Many(&["outcome"], commands),
    ),
    gauge(
        "http_connections",
        Plain,
        "Connections to page, API and metrics that are open",
        Of::Plant(|seen| seen.status.http.map(|http| Whole(http.connections))),
    ),
    gauge(
        "http_streams",
        Plain,
        "Streams of events that are open",
        Of::Plant(|seen| seen.status.http.map(|http| Whole(http.streams))),
    ),
    counter(
        "http_answered",
        Plain,
        "Requests answered since the start, refusals among them",
        Of::Plant(|seen| seen.status.http.map(|http| Whole(http.answered))),
    ),
    counter(
        "http_refused",
        Plain,
        "Requests, connections and streams refused or ended since the start",
        Of::Many(&["reason"], http_refused),
    ),
];
