//! Arguments of the commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::rules::duration_us;

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

/// Arguments of `ledger`.
#[derive(Debug, Clone, Args)]
pub struct LedgerArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
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
    /// Print the summary as JSON lines instead of drawing it
    #[arg(long)]
    pub json: bool,
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
    fn times_are_seconds_or_durations() {
        assert_eq!(duration("12"), Ok(Duration::from_secs(12)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        for text in ["", "0", "0s", "-1", "1y", "367d", "99999999999"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
