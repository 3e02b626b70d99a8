//! Arguments of the commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::inspection::Room;
use crate::rules::duration_us;
use crate::spool::bill::Month;
use crate::time::{Clock, SystemClock};

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
}

/// Arguments of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(value_name = "FILE", default_value = "tidegate.toml")]
    pub file: PathBuf,
    /// Print the findings as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `test`.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// Tests of rules; docs/rules-tests.md says how they are written
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Print what came of them as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ledger`.
#[derive(Debug, Clone, Args)]
pub struct LedgerArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Balance only the time since: UTC such as 2020-02-08T13:30:00Z, or a duration back such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Fail also when something is unknown (exit code 4)
    #[arg(long)]
    pub strict: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bill`.
#[derive(Debug, Clone, Args)]
pub struct BillArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Which month, such as 2026-11, or `unknown` for what was sent while the clock was not to be
    /// trusted; the newest that something was sent in when left out
    #[arg(long, value_name = "MONTH")]
    pub month: Option<Month>,
    /// Only this sink
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// Only this rule
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// A row for each sensor, where the month still has them
    #[arg(long)]
    pub sensors: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one picture as text and end; needs no terminal
    #[arg(long)]
    pub once: bool,
}

/// Arguments of `tap`.
#[derive(Debug, Clone, Args)]
pub struct TapArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Only devices whose name matches, such as pump-*
    #[arg(long, value_name = "GLOB")]
    pub device: Option<String>,
    /// Only sensors whose name matches
    #[arg(long, value_name = "GLOB")]
    pub sensor: Option<String>,
    /// Only records of this rule, and no samples
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// How long: seconds, or a duration such as 2m; until ctrl-c when left out
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub run_for: Option<Duration>,
    /// How many samples and records
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print a JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `reload`.
#[derive(Debug, Clone, Args)]
pub struct ReloadArgs {
    /// The configuration that names the data directory; the gateway reads the file that it was
    /// started with
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// A moment as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// UTC in µs.
    At(i64),
    /// So many µs ago.
    Back(i64),
}

impl Moment {
    /// UTC in µs, by the machine's clock now.
    pub fn us(self) -> i64 {
        match self {
            Self::At(us) => us,
            Self::Back(us) => SystemClock::new().now().wall_us.saturating_sub(us),
        }
    }
}

/// Reads a UTC time or a duration back.
fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(us) = duration_us(text) {
        return Ok(Moment::Back(us));
    }
    time(text)
        .map(Moment::At)
        .map_err(|why| format!("{why}, or a duration back such as 2h"))
}

/// Arguments of `replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// The configuration that names the data directory, and whose rules are tried
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// From an entry on: when it was written, such as 2026-01-31T12:00:00Z, its log position, or
    /// `base` for the newest base; from as far back as the log reaches when left out
    #[arg(long, value_name = "TIME|POSITION|base", value_parser = from)]
    pub from: Option<From>,
    /// Up to before an entry written at a time, or a log position
    #[arg(long, alias = "until", value_name = "TIME|POSITION", value_parser = bound)]
    pub to: Option<Bound>,
    /// Save the records that the rules tried give, as NDJSON, in a file that is not there yet
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Try nothing: print the records that the log's own rules gave, as NDJSON
    #[arg(long, conflicts_with = "write")]
    pub as_logged: bool,
    /// Print one JSON object instead of tables; with --as-logged, tell the summary on stderr as one
    #[arg(long)]
    pub json: bool,
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the newest base.
    Base,
    /// At a position or a time.
    Bound(Bound),
}

/// Arguments of `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The device
    pub device: String,
    /// The sensor
    pub sensor: String,
    /// When the sample was taken: 2026-03-01T12:30:00Z, or another RFC 3339 time; UTC without an
    /// offset
    #[arg(value_parser = time)]
    pub time: i64,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print the answer as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Reads a position, a time or `base`.
fn from(text: &str) -> Result<From, String> {
    if text == "base" {
        return Ok(From::Base);
    }
    let found = bound(text).map(From::Bound);
    found.map_err(|why| format!("{why}, or base"))
}

/// Reads a time as UTC in µs.
fn time(text: &str) -> Result<i64, String> {
    let zoned = text.parse::<jiff::Timestamp>();
    let civil = || {
        text.parse::<jiff::civil::DateTime>()?
            .to_zoned(jiff::tz::TimeZone::UTC)
    };
    zoned
        .or_else(|_| civil().map(|zoned| zoned.timestamp()))
        .map(jiff::Timestamp::as_microsecond)
        .map_err(|why| format!("{why}: write a time such as 2026-03-01T12:30:00Z"))
}

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Simulated devices
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub devices: u32,
    /// How long: seconds, or a duration such as 2m; until ctrl-c when left out
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub run_for: Option<Duration>,
    /// Where log, spool and records are kept
    #[arg(long, value_name = "DIR", default_value = "tidegate-demo")]
    pub data_dir: PathBuf,
    /// Where the page is served, on this machine only; 127.0.0.1:8380, or a free port where that is
    /// taken, when left out
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub listen: Option<SocketAddr>,
    /// Serve no page
    #[arg(long, conflicts_with = "listen")]
    pub no_page: bool,
    /// Print the summary as JSON lines instead of drawing it
    #[arg(long)]
    pub json: bool,
}

/// Reads an address of this machine alone: the demo asks nobody for a password.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err(
            "the demo's page is for this machine: expected an address such as 127.0.0.1:8380"
                .to_owned(),
        ),
        Err(_) => Err("expected an address and a port such as 127.0.0.1:8380".to_owned()),
    }
}

/// What `log` does.
#[derive(Debug, Clone, Subcommand)]
pub enum LogCommand {
    /// Read every file of log, spool and journal, and tell what is damaged or missing
    Check(LogCheckArgs),
    /// Show entries in words, one entry whole, or the batches of one file
    Inspect(LogInspectArgs),
    /// Print entries as JSON, one a line; of the spool, the records that wait, as a sink gets them
    Export(LogExportArgs),
    /// Move damaged files aside and go on without what is lost; tells what it would do, unless
    /// --apply is given
    Repair(LogRepairArgs),
}

/// Arguments of `log check`.
#[derive(Debug, Clone, Args)]
pub struct LogCheckArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Which entries.
#[derive(Debug, Clone, Args)]
pub struct EntryFilter {
    /// Of which files: log, spool or journal
    #[arg(long = "of", value_name = "ROOM", default_value = "log")]
    pub room: Room,
    /// From a position, or a time such as 2026-01-31T12:00:00Z, on
    #[arg(long, value_name = "WHERE", value_parser = bound)]
    pub from: Option<Bound>,
    /// Up to before a position or a time
    #[arg(long, value_name = "WHERE", value_parser = bound)]
    pub until: Option<Bound>,
    /// Only entries of the log of this kind
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(crate::inspection::entries::KINDS))]
    pub kind: Option<String>,
}

/// Where entries begin or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// At a position.
    Position(u64),
    /// At a time, UTC in µs.
    Time(i64),
}

/// Arguments of `log inspect`.
#[derive(Debug, Clone, Args)]
pub struct LogInspectArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// A position, or a file such as `log/stop-a`, relative to the data directory
    #[arg(value_name = "POSITION|FILE")]
    pub what: Option<String>,
    /// Which entries
    #[command(flatten)]
    pub filter: EntryFilter,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `log export`.
#[derive(Debug, Clone, Args)]
pub struct LogExportArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Which entries
    #[command(flatten)]
    pub filter: EntryFilter,
}

/// Arguments of `log repair`.
#[derive(Debug, Clone, Args)]
pub struct LogRepairArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Do it; without this only what would be done is told
    #[arg(long)]
    pub apply: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Where the copy is written: a tar
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The copy that `backup` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration that names the data directory, which must be empty
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Become another gateway: for a copy that runs while the original does
    #[arg(long)]
    pub new_identity: bool,
    /// Print one JSON object instead of a line
    #[arg(long)]
    pub json: bool,
}

/// Reads a position or a time.
fn bound(text: &str) -> Result<Bound, String> {
    if let Ok(position) = text.parse() {
        return Ok(Bound::Position(position));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Bound::Time(time.as_microsecond()))
        .map_err(|_| "write a position, or a time such as 2026-01-31T12:00:00Z".to_owned())
}

/// Reads whole seconds or a duration such as `2m`; at most a year, not zero.
fn duration(text: &str) -> Result<Duration, String> {
    const YEAR_US: i64 = 366 * 86_400 * 1_000_000;
    let seconds = text.parse::<u32>();
    let us = seconds
        .map(|seconds| i64::from(seconds) * 1_000_000)
        .or_else(|_| duration_us(text))
        .map_err(|why| format!("{why}: write seconds, or a duration such as 30s or 2m"))?;
    if !(1..=YEAR_US).contains(&us) {
        return Err("write a time above 0, at most 366d".to_owned());
    }
    Ok(Duration::from_micros(us.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_utc_or_back_from_now() {
        let noon = Ok(Moment::At(1_581_168_600_000_000));
        assert_eq!(moment("2020-02-08T13:30:00Z"), noon);
        assert_eq!(moment("2020-02-08 13:30"), noon);
        assert_eq!(moment("2020-02-08T14:30:00+01:00"), noon);
        assert_eq!(moment("2h"), Ok(Moment::Back(7_200_000_000)));
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn moments_are_utc_unless_they_say_otherwise() {
        let wanted = 1_581_168_607_250_000;
        for text in [
            "2020-02-08T13:30:07.25Z",
            "2020-02-08T13:30:07.25",
            "2020-02-08 13:30:07.250",
            "2020-02-08T15:30:07.25+02:00",
        ] {
            assert_eq!(time(text), Ok(wanted), "{text}");
        }
        assert_eq!(time("2020-02-08"), Ok(1_581_120_000_000_000));
        for text in ["", "noon", "2020-13-01", "1581168607"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_replay_begins_at_a_position_a_time_or_the_newest_base() {
        assert_eq!(from("base"), Ok(From::Base));
        assert_eq!(from("1200"), Ok(From::Bound(Bound::Position(1_200))));
        let second = Bound::Time(1_000_000);
        assert_eq!(from("1970-01-01T00:00:01Z"), Ok(From::Bound(second)));
        assert!(from("-1").is_err() && from("first").is_err());
    }

    #[test]
    fn bounds_are_positions_or_times() {
        assert_eq!(bound("12"), Ok(Bound::Position(12)));
        assert_eq!(bound("1970-01-01T00:00:01Z"), Ok(Bound::Time(1_000_000)));
        assert!(bound("yesterday").is_err());
    }

    #[test]
    fn times_are_seconds_or_durations() {
        assert_eq!(duration("12"), Ok(Duration::from_secs(12)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        for text in ["", "0", "0s", "-1", "1y", "367d", "99999999999"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
