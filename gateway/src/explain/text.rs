//! Text: an answer for people.

use std::fmt::{self, Display, Formatter, Write};

use super::answer::{
    Answer, Batch, Delivery, Fate, Lost, Number, Record, Rule, Sample, State, Unknown,
};
use crate::plain;
use crate::rules::show_duration;

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} / {} at {}", self.device, self.sensor, self.time)?;
        match &self.sample {
            Some(sample) => sample_lines(f, sample)?,
            None => writeln!(f, "  no sample of this sensor is in the log")?,
        }
        for rule in &self.rules {
            rule_lines(f, rule)?;
        }
        if let Some(sample) = &self.sample
            && self.rules.is_empty()
            && sample.rejected.is_none()
        {
            writeln!(f, "  unmatched      no rule matched it")?;
        }
        if let Some(around) = &self.around {
            writeln!(
                f,
                "  the device     counted around it (boot {}): {} taken, {} suppressed by its gate, {} failed, {} evicted",
                around.boot, around.taken, around.suppressed, around.failed, around.evicted
            )?;
        }
        for lost in &self.lost {
            lost_line(f, lost)?;
        }
        if self.lost_more > 0 {
            writeln!(f, "  lost           and {} more", self.lost_more)?;
        }
        if self.frames_waiting > 0 {
            writeln!(
                f,
                "  waiting        {} frames of the device wait for their catalog",
                self.frames_waiting
            )?;
        }
        for (reason, count) in &self.frames_rejected {
            writeln!(
                f,
                "  rejected       {count} frames of the device: {}",
                word(reason)
            )?;
        }
        if let Some(until) = &self.complete_until {
            writeln!(f, "  complete until {until}")?;
        }
        let since = self.reach.from_time.as_deref().unwrap_or("its first entry");
        writeln!(
            f,
            "  replayed       positions {} to {}, from {since} on",
            self.reach.from_position, self.reach.until_position
        )?;
        match self.unknown {
            Some(why) => writeln!(f, "  unknown        {}", why.told()),
            None => Ok(()),
        }
    }
}

impl Unknown {
    /// Why, in a sentence.
    pub fn told(self) -> &'static str {
        match self {
            Self::NoSamples => "the log has no sample of this sensor; check both names",
            Self::Lost => {
                "frames or entries were lost where this time lies: a sample may have been in them"
            }
            Self::UnusedFrames => {
                "frames of the device wait for their catalog or could not be used: a sample of this time may be in them"
            }
            Self::BeforeReach => "the log does not reach back to this time",
            Self::NotYet => "nothing of the device is complete up to this time yet",
        }
    }
}

fn sample_lines(f: &mut Formatter<'_>, sample: &Sample) -> fmt::Result {
    let distance = show_duration(sample.distance_us.saturating_abs());
    let off = match sample.distance_us {
        0 => "at that time".to_owned(),
        1.. => format!("{distance} later"),
        _ => format!("{distance} earlier"),
    };
    let value = sample
        .value
        .map_or("bad".to_owned(), |value| value.to_string());
    writeln!(
        f,
        "  nearest        {}, {off}: {} (raw {})",
        sample.time,
        [value.as_str(), &*plain::in_line(&sample.unit)]
            .join(" ")
            .trim_end(),
        sample.raw
    )?;
    if sample.equally_near > 1 {
        writeln!(
            f,
            "                 {} samples are as near; this one came last",
            sample.equally_near
        )?;
    }
    writeln!(
        f,
        "  time           epoch {}, clock {}, uptime {}",
        sample.epoch,
        word(&sample.clock),
        show_duration(i64::try_from(sample.uptime_us).unwrap_or(i64::MAX))
    )?;
    let frame = &sample.frame;
    writeln!(
        f,
        "  frame          incarnation {:08x}, boot {}, sequence {}, block {}, sample {}",
        frame.incarnation, frame.boot, frame.sequence, frame.block, frame.index
    )?;
    let mut logged = String::from("  logged         ");
    match (frame.position, frame.start) {
        (Some(position), Some(start)) => write!(logged, "at position {position}, start {start}, ")?,
        _ => logged.push_str("before the replayed part of the log, "),
    }
    write!(logged, "{}", frame.logged)?;
    if !frame.logged_trusted {
        logged.push_str(" by a clock that was not to be trusted");
    }
    if frame.position.is_some_and(|at| at != frame.folded_position) {
        write!(
            logged,
            "; waited for its catalog until position {}",
            frame.folded_position
        )?;
    }
    writeln!(f, "{logged}")?;
    if let Some(reason) = &sample.rejected {
        writeln!(f, "  rejected       {}", word(reason))?;
    }
    Ok(())
}

fn rule_lines(f: &mut Formatter<'_>, rule: &Rule) -> fmt::Result {
    writeln!(
        f,
        "  rule           {}, version {}",
        rule.rule, rule.version
    )?;
    if let (Some(start), Some(end)) = (&rule.window_start, &rule.window_end) {
        writeln!(f, "    window       {start} to {end}")?;
    }
    match rule.fate {
        Fate::FilteredByKeep
        | Fate::FilteredByDeadband
        | Fate::FilteredByRate
        | Fate::FilteredAsUndefined
        | Fate::FilteredByWhen
        | Fate::FilteredByOnChange
        | Fate::FilteredByDecimate
        | Fate::FilteredByMaxError => writeln!(f, "    filtered     {}", rule.why)?,
        Fate::Examined => writeln!(f, "    examined     {}", rule.why)?,
        Fate::Late => writeln!(f, "    late         {}", rule.why)?,
        Fate::Waiting => writeln!(f, "    waiting      in the open window: no record yet")?,
        Fate::Folded => match rule.records.len() {
            1 => writeln!(f, "    folded       into a record")?,
            count => writeln!(f, "    folded       into {count} records, a revision each")?,
        },
        Fate::Passed => writeln!(f, "    passed       {}", rule.why)?,
    }
    for record in &rule.records {
        record_lines(f, record)?;
    }
    Ok(())
}

fn record_lines(f: &mut Formatter<'_>, record: &Record) -> fmt::Result {
    writeln!(
        f,
        "    record       {}, revision {}, from entry {}: {} samples, {} fresh",
        record.id, record.revision, record.position, record.samples, record.fresh
    )?;
    let values: Vec<String> = record
        .values
        .iter()
        .map(|(name, value)| match value {
            Number::Count(count) => format!("{name} {count}"),
            Number::Number(number) => format!("{name} {number}"),
            Number::Counts(counts) => format!("{name} {counts:?}"),
        })
        .collect();
    writeln!(f, "      values     {}", values.join(", "))?;
    for delivery in &record.deliveries {
        delivery_line(f, delivery)?;
    }
    Ok(())
}

fn delivery_line(f: &mut Formatter<'_>, delivery: &Delivery) -> fmt::Result {
    let state = match delivery.state {
        State::Delivered => "delivered",
        State::Refused => "refused: the sink will never take it",
        State::Evicted => "evicted to make room",
        State::Dropped => "dropped: it found no room",
        State::Waiting => "waiting",
        State::NotSpooled => "not in its queue yet",
        State::Unknown => "unknown: the journal does not reach back so far, or the disk lost it",
    };
    write!(f, "      {:<10} {state}", delivery.sink)?;
    if let Some(at) = &delivery.at {
        write!(f, " {at}")?;
    }
    if let Some(batch) = &delivery.batch {
        batch_words(f, batch)?;
    }
    writeln!(f)
}

fn batch_words(f: &mut Formatter<'_>, batch: &Batch) -> fmt::Result {
    write!(
        f,
        ", with {} records ({} to {} of the queue)",
        batch.records, batch.first, batch.last
    )?;
    let sent = batch.bytes_after + batch.header_bytes;
    if sent == 0 {
        return Ok(());
    }
    let about = if batch.share_is_even { "about " } else { "" };
    let times = match batch.attempts {
        1 => "once".to_owned(),
        attempts => format!("{attempts} times"),
    };
    write!(
        f,
        ", sent {times}; cost {about}{} of {sent} bytes",
        batch.share_bytes
    )
}

fn lost_line(f: &mut Formatter<'_>, lost: &Lost) -> fmt::Result {
    let (what, after, before) = match lost {
        Lost::Frames {
            incarnation,
            boot,
            from,
            through,
            lost_by_gateway_through,
            after,
            before,
            ..
        } => {
            let through = through.map_or("its unknown end".to_owned(), |last| last.to_string());
            let whose = match lost_by_gateway_through {
                Some(last) => format!("up to {last} by the gateway's disk, the rest on the device"),
                None => "on the device".to_owned(),
            };
            (
                format!(
                    "frames {from} to {through} of boot {boot} (incarnation {incarnation:08x}), {whose}"
                ),
                after,
                before,
            )
        }
        Lost::Entries {
            from_position,
            until_position,
            after,
            before,
        } => (
            format!(
                "{} log entries from position {from_position} on, by the gateway's disk",
                until_position - from_position
            ),
            after,
            before,
        ),
    };
    let open = |end: &Option<String>| end.clone().unwrap_or_else(|| "unknown".to_owned());
    writeln!(
        f,
        "  lost           {what}; between {} and {}",
        open(after),
        open(before)
    )
}

/// A word of an answer as JSON has it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}
