//! Logs: what the program says about itself, on stderr.
//!
//! Levels go by what an operator does. ERROR: data was lost or a person is needed. WARN: odd, but
//! nothing was lost. INFO: the lifecycle. DEBUG and TRACE: for whoever reads the code beside it.
//!
//! What repeats is held back and counted ([`ration`]); where stderr is the journal, lines have
//! their priority and no time ([`journal`]). docs/logs.md says all of it to operators.

pub(super) mod journal;
mod line;
mod ration;

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use self::line::{Held, Rationed, Style};

use super::failure::Failure;
use super::output::look;
use crate::rules::Look;
use crate::time::SystemClock;

/// The variable that says what is logged.
const VARIABLE: &str = "TIDEGATE_LOG";

/// Where help shows these arguments.
const LOGGING: &str = "Logging";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    // For people.
    Text,
    // One JSON object a line.
    Json,
}

/// Arguments that every command takes.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// How log lines on stderr look
    #[arg(long, global = true, value_name = "FORMAT", help_heading = LOGGING, display_order = 100)]
    #[arg(value_enum, default_value_t = Format::Text)]
    log: Format,
    /// error, warn, info, debug, trace or a filter such as `tidegate_gateway::session=debug`
    #[arg(long, global = true, value_name = "LEVEL", help_heading = LOGGING, display_order = 101)]
    log_level: Option<String>,
}

/// How often held lines are looked after.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is held back in this process.
static HELD: OnceLock<Held> = OnceLock::new();

/// Begins to log.
pub(super) fn begin(args: &LogArgs, default: &str) -> Result<(), Failure> {
    let variable = std::env::var(VARIABLE).ok();
    let asked = args.log_level.as_deref().or(variable.as_deref());
    let asked = asked.filter(|text| !text.is_empty()).unwrap_or(default);
    let filter = filter(asked)?;
    let style = Style {
        json: args.log == Format::Json,
        journal: journal::listens(),
    };
    let held = HELD.get_or_init(|| Held::new(Arc::new(SystemClock::new()), style));
    let ansi = look() == Look::Fancy;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(ansi);
    let begun = if style.json {
        let builder = builder.json().flatten_event(true);
        let rationed = builder.map_event_format(|format| Rationed::new(format, held.clone()));
        rationed.try_init()
    } else if style.journal {
        let builder = builder.with_target(false).without_time();
        let rationed = builder.map_event_format(|format| Rationed::new(format, held.clone()));
        rationed.try_init()
    } else {
        let builder = builder.with_target(false);
        let rationed =
            builder.map_event_format(|format| Rationed::new(format.with_ansi(ansi), held.clone()));
        rationed.try_init()
    };
    // Only a program that logs elsewhere already, a test, refuses a second logger.
    begun.or(Ok(()))
}

/// Has held lines looked after from now on: for commands that run for long.
pub(super) fn look_after() {
    let Some(held) = HELD.get() else { return };
    let looking = thread::Builder::new().name("logs".into()).spawn(move || {
        loop {
            thread::sleep(LOOK_EVERY);
            held.write_due(&mut io::stderr().lock());
        }
    });
    if let Err(error) = looking {
        tracing::warn!(%error, "lines that repeat are held back until the next of their sort or the end");
    }
}

/// Shows what is still held back: the process ends.
pub(super) fn end() {
    if let Some(held) = HELD.get() {
        held.write_all(&mut io::stderr().lock());
    }
}

/// The filter of a text. A bare level is about Tidegate: libraries speak from WARN on.
fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let bare = ["off", "error", "warn", "info", "debug", "trace"]
        .into_iter()
        .find(|level| text.eq_ignore_ascii_case(level));
    let directives = match bare {
        Some("off") => "off".to_owned(),
        Some("error") => "error".to_owned(),
        Some(level) => ["tidegate", "tidegate_gateway", "tidegate_firmware"]
            .into_iter()
            .fold("warn".to_owned(), |all, part| {
                format!("{all},{part}={level}")
            }),
        None => text.to_owned(),
    };
    EnvFilter::try_new(directives).map_err(|_| Failure::LogLevel {
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn levels_and_filters_are_taken() {
        for text in [
            "info",
            "DEBUG",
            "off",
            "error",
            "tidegate_gateway::session=debug,warn",
        ] {
            assert!(filter(text).is_ok(), "{text}");
        }
        assert_eq!(
            filter("debug").unwrap().to_string(),
            "tidegate_firmware=debug,tidegate_gateway=debug,tidegate=debug,warn"
        );
    }

    #[test]
    fn a_filter_with_a_level_that_does_not_exist_is_refused() {
        assert!(filter("tidegate_gateway=loud").is_err());
    }
}
