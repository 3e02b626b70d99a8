//! Arguments of `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What is done with the audit log.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Show what was done, by whom and when
    ///
    /// Reads the data directory, also beside a running gateway. Entries are held against the newest
    /// checkpoint; whether that one is to be trusted is what verify tells.
    Show(ShowArgs),
    /// Verify a whole log, or one entry by its proof, offline: with nothing but the log's key
    Verify(VerifyArgs),
    /// Write a proof that an entry is in the log, which needs no other file of it
    Prove(ProveArgs),
    /// Write what a witness is asked: the newest checkpoint, and that the log has grown into it
    Request(RequestArgs),
    /// Be a witness: cosign another log's checkpoint if it continues what was cosigned before
    Witness(WitnessArgs),
    /// Keep what a witness answered
    Cosign(CosignArgs),
}

/// Arguments of `audit show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Only what was done about this device
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Only the last ones
    #[arg(long, value_name = "N")]
    pub last: Option<usize>,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print a JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `audit verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The log's folder, or a data directory, or a copy of either
    #[arg(
        value_name = "DIR",
        required_unless_present_any = ["proof", "upstream"],
        conflicts_with = "proof"
    )]
    pub dir: Option<PathBuf>,
    /// The log's key as somebody you trust gave it to you: its text, or a file that has it
    #[arg(long, value_name = "FILE|TEXT")]
    pub key: String,
    /// The key of a witness who must have cosigned
    #[arg(long, value_name = "FILE|TEXT")]
    pub witness: Vec<String>,
    /// A checkpoint kept from before: the log must continue it
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    pub from: Option<PathBuf>,
    /// What a sink received, - for stdin: records or checkpoints, each of which the log must
    /// continue. Without a log they are held against each other
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    pub upstream: Option<PathBuf>,
    /// Instead of a log, a proof that prove wrote
    #[arg(long, value_name = "FILE", requires = "entry")]
    pub proof: Option<PathBuf>,
    /// The entry that the proof is about
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub entry: Option<PathBuf>,
    /// Print what was verified as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `audit prove`.
#[derive(Debug, Clone, Args)]
pub struct ProveArgs {
    /// The entry's number, as show tells it
    #[arg(value_name = "ENTRY")]
    pub index: u64,
    /// Where the proof is written; to stdout when left out
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where the entry itself is written, byte for byte as it was logged
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
}

/// Arguments of `audit request`.
#[derive(Debug, Clone, Args)]
pub struct RequestArgs {
    /// How many entries the witness has cosigned already; its refusal tells. Left out: as many as
    /// is known here where one witness has cosigned, else 0
    #[arg(long, value_name = "N")]
    pub old: Option<u64>,
    /// Where the request is written; to stdout when left out
    #[arg(long, value_name = "FILE", conflicts_with = "ask")]
    pub out: Option<PathBuf>,
    /// Ask the witness of this name in the configuration now, and keep its answer as cosign does; a
    /// running gateway does so by itself
    #[arg(long, value_name = "NAME", conflicts_with = "old")]
    pub ask: Option<String>,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
}

/// Arguments of `audit witness`.
#[derive(Debug, Clone, Args)]
pub struct WitnessArgs {
    /// The request; - for stdin. Without one, watch only remembers whom to watch
    #[arg(long, value_name = "FILE", required_unless_present_any = ["show_key", "watch"])]
    pub request: Option<PathBuf>,
    /// Watch the log of this key from now on: its text, or a file that has it
    #[arg(long, value_name = "FILE|TEXT")]
    pub watch: Option<String>,
    /// A secret that this witness had before, 64 hex digits in a file that only its owner may read:
    /// it is kept sealed from now on, and the file is not needed any more
    #[arg(long, value_name = "FILE")]
    pub seed: Option<PathBuf>,
    /// Print this witness's key, for those who verify
    #[arg(long, conflicts_with_all = ["request", "watch"])]
    pub show_key: bool,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
}

/// Arguments of `audit cosign`.
#[derive(Debug, Clone, Args)]
pub struct CosignArgs {
    /// What the witness answered
    #[arg(value_name = "FILE")]
    pub answer: PathBuf,
    /// The request that it answered
    #[arg(long, value_name = "FILE")]
    pub request: PathBuf,
    /// The witness's key: its text, or a file that has it
    #[arg(long, value_name = "FILE|TEXT")]
    pub witness: String,
    /// The configuration that names the data directory
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
}
