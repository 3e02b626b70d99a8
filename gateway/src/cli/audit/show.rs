//! `tidegate audit show`: what was done, by whom and when.

use std::collections::VecDeque;
use std::fmt::Write;

use super::args::ShowArgs;
use super::{data_dir, with_newest};
use crate::audit::{Act, Entry};
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is};
use crate::record::rfc3339;

/// Shows entries, oldest first.
pub(super) fn show(args: &ShowArgs) -> Result<(), Failure> {
    let told = lines(args)?;
    if args.json {
        print_as_is(&told)
    } else {
        print(&told)
    }
}

pub(super) fn lines(args: &ShowArgs) -> Result<String, Failure> {
    let data_dir = data_dir(&args.config)?;
    let last = args.last.unwrap_or(usize::MAX);
    let (lines, size) = with_newest(&data_dir, |snapshot, _| {
        let mut lines = VecDeque::new();
        let size = snapshot.size();
        let first = match &args.device {
            None => size.saturating_sub(last as u64),
            Some(_) => 0,
        };
        snapshot.for_each(first..size, |index, bytes| {
            let entry = Entry::parse(index, bytes).ok();
            if is_about(entry.as_ref(), args.device.as_deref()) {
                lines.push_back(if args.json {
                    json(index, bytes)
                } else {
                    line(index, bytes, entry.as_ref())
                });
                if lines.len() > last {
                    lines.pop_front();
                }
            }
            Ok(())
        })?;
        Ok((lines, size))
    })?;
    let mut text: String = lines.into_iter().collect();
    if !args.json {
        let _ = writeln!(text, "entries in the audit log: {size}");
    }
    Ok(text)
}

fn is_about(entry: Option<&Entry>, device: Option<&str>) -> bool {
    let Some(device) = device else {
        return true;
    };
    entry.is_some_and(|entry| entry.act.devices().contains(&device))
}

fn json(index: u64, bytes: &[u8]) -> String {
    let entry = String::from_utf8_lossy(bytes);
    format!("{{\"index\":{index},\"entry\":{entry}}}\n")
}

/// An entry in words; one that this version does not know, as it stands.
fn line(index: u64, bytes: &[u8], entry: Option<&Entry>) -> String {
    let Some(entry) = entry else {
        return format!("{index:>6}  {}\n", String::from_utf8_lossy(bytes));
    };
    let trust = if entry.clock_trusted {
        ""
    } else {
        " (clock not trusted)"
    };
    let (at, who, act) = (rfc3339(entry.at_us), &entry.who, &entry.act);
    let mut text = format!("{index:>6}  {at}{trust}  {who} {act}\n");
    if let Act::RulesChanged { diff, .. } = act {
        for line in diff.text.lines() {
            let _ = writeln!(text, "          {line}");
        }
    }
    text
}
