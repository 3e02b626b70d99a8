//! Arguments of `sink`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What is done with sinks.
#[derive(Debug, Clone, Subcommand)]
pub enum SinkCommand {
    /// List the sinks: what each is doing, what waits for it, its dead letters, its last error
    List(SinkListArgs),
    /// Handle the records that a sink refused for good
    #[command(subcommand)]
    DeadLetter(DeadLetterCommand),
    /// Tell the running gateway that a sink's receiver was mended: what waits for its next attempt
    /// goes at once
    Resume(ResumeArgs),
    /// Send a marked record to a sink, and tell what it said
    ///
    /// The record's device, sensor and rule are tidegate-probe, its value is 1. It goes from this
    /// process, not from the gateway, which may run or not; a file sink is probed in a folder
    /// beside its file.
    Test(SinkTestArgs),
}

/// Arguments of `sink list`.
#[derive(Debug, Clone, Args)]
pub struct SinkListArgs {
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What is done with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub enum DeadLetterCommand {
    /// List them: when and why each was refused
    List(LettersArgs),
    /// Show one: its record and what the sink said
    Show(LetterArgs),
    /// Send them to the sink once more
    Resend(LettersToArgs),
    /// Give them up: their samples stay counted as dead-lettered
    Drop(DropArgs),
}

/// Arguments of `sink dead-letter list`.
#[derive(Debug, Clone, Args)]
pub struct LettersArgs {
    /// The sink
    pub sink: String,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sink dead-letter show`.
#[derive(Debug, Clone, Args)]
pub struct LetterArgs {
    /// The sink
    pub sink: String,
    /// The record's id, or digits that begin only this one
    pub id: String,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sink dead-letter resend`.
#[derive(Debug, Clone, Args)]
pub struct LettersToArgs {
    /// The sink
    pub sink: String,
    /// Ids of records, or digits that begin only one
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub ids: Vec<String>,
    /// All that the sink has
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sink dead-letter drop`.
#[derive(Debug, Clone, Args)]
pub struct DropArgs {
    /// Which
    #[command(flatten)]
    pub letters: LettersToArgs,
    /// Do it; without this nothing is dropped
    #[arg(long)]
    pub yes: bool,
}

/// Arguments of `sink resume`.
#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// The sink
    pub sink: String,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print what the sink was doing until then, as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sink test`.
#[derive(Debug, Clone, Args)]
pub struct SinkTestArgs {
    /// The sink
    pub sink: String,
    /// The configuration that has the sink
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print what came of it as one JSON object
    #[arg(long)]
    pub json: bool,
}
