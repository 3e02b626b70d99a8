//! Failures: why a command ended, told with its causes and with what to try.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::remedy;
use crate::control::AskError;
use crate::plain;

/// An error of any room.
pub(super) type AnyError = Box<dyn Error + Send + Sync>;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The configuration cannot be read.
    #[error("the configuration {} cannot be read", path.display())]
    ConfigUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration has mistakes, which were told already.
    #[error("{}", mistaken(*mistakes, file))]
    ConfigMistaken {
        /// How many.
        mistakes: usize,
        /// Where.
        file: String,
    },
    /// A configuration was to be written where something is.
    #[error("{} is there already; nothing was changed", path.display())]
    ConfigExists {
        /// The file.
        path: PathBuf,
    },
    /// A configuration could not be written.
    #[error("{} cannot be written; nothing was changed", path.display())]
    ConfigUnwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No answers came any more.
    #[error("the answers ended before the last question; nothing was written")]
    AnswersEnded,
    /// An answer that was given by a flag.
    #[error("{flag} is not taken; nothing was written\n  because: {why}")]
    AnswerMistaken {
        /// The flag.
        flag: &'static str,
        /// Why.
        why: String,
    },
    /// Tests ran, and some do not hold.
    #[error("{failed} of {run} tests failed; what differs is told above")]
    TestsFailed {
        /// How many.
        failed: usize,
        /// Of how many that ran.
        run: usize,
    },
    /// Files are no tests that can run.
    #[error("{mistaken} of {files} files cannot be run as a test; every other one was run")]
    TestsMistaken {
        /// How many.
        mistaken: usize,
        /// Of how many.
        files: usize,
    },
    /// The log level cannot be read.
    #[error("\"{text}\" is not a log level")]
    LogLevel {
        /// What was given.
        text: String,
    },
    /// There is nothing to show.
    #[error("there is no data directory {}; nothing was changed", whole(path).display())]
    NoData {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is no bill of a month.
    #[error("{why}")]
    NotBilled {
        /// Why.
        why: String,
    },
    /// The books do not balance.
    #[error(
        "the books do not balance: some samples were counted wrongly; none was lost by looking"
    )]
    Unbalanced,
    /// Something is unknown, and that was asked not to be.
    #[error("the books balance, but something is unknown")]
    Unknown,
    /// Explain has answered, but not what was asked.
    #[error("the fate of a sample at that time cannot be told: {why}")]
    FateUnknown {
        /// Why.
        why: &'static str,
    },
    /// The running gateway could not be asked.
    #[error("the running gateway could not be asked")]
    Ask(#[from] AskError),
    /// The system gave no threads, signals or output.
    #[error("the system refused what every command needs")]
    System {
        /// What it said.
        source: io::Error,
    },
    /// The gateway runs, but not as usual.
    #[error("the gateway does not work as usual; what that means for the data is told first")]
    Unusual,
    /// The running gateway does not take its configuration.
    #[error(
        "the configuration is not taken: nothing changed, the gateway runs on with the one in force"
    )]
    NotTaken,
    /// The running gateway will take its configuration later.
    #[error("the configuration is not in force yet; tidegate status says when it is")]
    NotTakenYet,
    /// The configuration of a running gateway has mistakes, which were told already.
    #[error("{}", mistaken_and_kept(*mistakes, file))]
    ReloadMistaken {
        /// How many.
        mistakes: usize,
        /// Where.
        file: String,
    },
    /// A tap ended before what was asked for.
    #[error(
        "the gateway stopped, or closed the tap because nothing was read for long; what flows goes its way as before"
    )]
    TapEnded,
    /// There is no terminal to draw on.
    #[error("tidegate top draws on a terminal, and this is none")]
    NoTerminal,
    /// Something durable is damaged.
    #[error("something durable is damaged; it is told above")]
    Damaged,
    /// The audit log, or a proof of it, is not what it should be.
    #[error("it does not verify; nothing was changed")]
    NotVerified {
        /// The first thing that is wrong.
        source: AnyError,
    },
    /// This witness does not cosign.
    #[error("not cosigned; what this witness knows is as it was")]
    NotCosigned {
        /// Why.
        source: AnyError,
    },
    /// A file that was named cannot be read.
    #[error("{} cannot be read; nothing was changed", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret's file is not to be used.
    #[error("the secret in {} is not used: {why}", path.display())]
    SeedUnusable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no such entry or file.
    #[error("there is no {what} in {}", path.display())]
    NoSuch {
        /// What was asked for.
        what: String,
        /// The data directory.
        path: PathBuf,
    },
    /// A file that was to be made was not.
    #[error("{} cannot be written; nothing was changed", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was made could not be written.
    #[error("{} could not be written, so what was to be in it is nowhere", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not known where a device finds its broker.
    #[error(
        "the configuration's broker listens where only this machine, or nobody in particular, finds it; nothing was changed"
    )]
    NoBroker,
    /// A gateway runs on the data directory.
    #[error("{} is in use by {holder}: nothing was changed", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// Who.
        holder: String,
    },
    /// A sink did not take the probe; what it said was told already.
    #[error("sink `{sink}` did not take the probe; none of the gateway's records was touched")]
    ProbeNotTaken {
        /// The sink.
        sink: String,
    },
    /// Some dead letters could not be handled, which was told already.
    #[error("dead letters that could not be handled and are as they were: {left} of {letters}")]
    LettersLeft {
        /// How many.
        left: usize,
        /// Of how many.
        letters: usize,
    },
    /// A drop that was not confirmed.
    #[error("dead letters that would be given up for good: {letters}; nothing was dropped")]
    NotDropped {
        /// How many.
        letters: usize,
    },
    /// A part of the gateway failed.
    #[error("{command} failed")]
    Failed {
        /// The command.
        command: &'static str,
        /// Why.
        source: AnyError,
    },
}

/// A path from the root on, where that can be told.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn mistaken(mistakes: usize, file: &str) -> String {
    match mistakes {
        1 => format!("{file} has a mistake; nothing was started"),
        _ => format!("{file} has {mistakes} mistakes; nothing was started"),
    }
}

fn mistaken_and_kept(mistakes: usize, file: &str) -> String {
    let many = match mistakes {
        1 => "a mistake".to_owned(),
        many => format!("{many} mistakes"),
    };
    format!("{file} has {many}; a running gateway keeps the configuration in force")
}

impl Failure {
    /// Fails when there is no data directory to look at.
    pub(super) fn need_data(data_dir: &Path) -> Result<(), Self> {
        if data_dir.is_dir() {
            return Ok(());
        }
        Err(Self::NoData {
            path: data_dir.to_owned(),
        })
    }

    /// What to try.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::ConfigUnreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("tidegate init writes one; --config FILE names one that is elsewhere")
            }
            Self::ConfigUnreadable { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("run as the user that the file belongs to, or let this one read it")
            }
            Self::ConfigUnreadable { .. } => {
                Some("name it with --config FILE; examples/tidegate.toml shows every key")
            }
            Self::ConfigExists { .. } => Some(
                "--force replaces it, --stdout shows what would be written, or name another file",
            ),
            Self::ConfigUnwritable { source, .. } => remedy::of_making(source.kind()).or(Some(
                "name a file in a folder that is there and may be written",
            )),
            Self::AnswersEnded => Some("tidegate init --yes asks nothing and takes the defaults"),
            Self::AnswerMistaken { .. } => {
                Some("tidegate init --help names every flag; without the flag it is asked for")
            }
            Self::ConfigMistaken { .. } => {
                Some("correct what is told above; tidegate check tells it again without a start")
            }
            Self::Failed { source, .. } => remedy::of(&**source),
            Self::System { source } => remedy::of_system(source.kind()),
            Self::Unreadable { source, .. } => remedy::of_reading(source.kind()),
            Self::Ask(AskError::NotRunning { .. }) => Some(
                "tidegate run --config FILE starts it, with the FILE of this command; a relative data_dir is taken from the working directory",
            ),
            Self::LogLevel { .. } => Some(
                "error, warn, info, debug or trace, or a filter such as tidegate_gateway::session=debug",
            ),
            Self::NoData { .. } => Some(
                "start the gateway once; a relative data_dir is taken from the working directory",
            ),
            Self::Unusual => Some(
                "it goes on by itself once the cause is gone; docs/status.md says what helps in each state",
            ),
            Self::Unbalanced => Some(
                "the rows named above show where; keep a copy of the data directory and report it",
            ),
            Self::Damaged => Some(
                "a start goes on without what is lost and says so; tidegate log repair moves damaged files aside",
            ),
            Self::NotVerified { .. } => Some(
                "keep this copy as evidence, and compare it with another one and with what its witnesses have; docs/audit.md says what each finding means",
            ),
            Self::SeedUnusable { .. } => {
                Some("write 64 random hex digits into a file of mode 0600: openssl rand -hex 32")
            }
            Self::NoSuch { .. } => {
                Some("tidegate log check --json names every file; positions are those of the log")
            }
            Self::InUse { .. } => Some("stop that gateway first"),
            Self::Unwritable { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                Some("name a file that is not there yet, outside the data directory")
            }
            Self::Unwritable { source, .. } => remedy::of_making(source.kind()),
            Self::NotKept { .. } => Some(
                "give the order again with an --out on another disk; of a device, tidegate device rotate NAME makes another key",
            ),
            Self::NoBroker => {
                Some("--broker HOST:PORT says where the device finds it, such as 192.168.1.10:1883")
            }
            Self::NotDropped { .. } => {
                Some("--yes drops them; tidegate sink dead-letter resend sends them once more")
            }
            Self::NotBilled { .. } => {
                Some("tidegate bill without --month shows the newest month there is")
            }
            Self::NoTerminal => Some(
                "tidegate top --once prints one picture; tidegate status and tap serve scripts",
            ),
            Self::TestsMistaken { .. } => Some("docs/rules-tests.md says how tests are written"),
            Self::ReloadMistaken { .. }
            | Self::NotTaken
            | Self::NotTakenYet
            | Self::Unknown
            | Self::FateUnknown { .. }
            | Self::TapEnded
            | Self::Ask(_)
            | Self::TestsFailed { .. }
            | Self::ProbeNotTaken { .. }
            | Self::NotCosigned { .. }
            | Self::LettersLeft { .. } => None,
        }
    }

    /// The process' exit code.
    fn code(&self) -> u8 {
        match self {
            Self::ConfigUnreadable { .. }
            | Self::ConfigMistaken { .. }
            | Self::ReloadMistaken { .. }
            | Self::TestsMistaken { .. }
            | Self::AnswerMistaken { .. }
            | Self::LogLevel { .. } => 2,
            Self::Unbalanced
            | Self::Unusual
            | Self::NotTaken
            | Self::NotTakenYet
            | Self::FateUnknown { .. }
            | Self::NotVerified { .. }
            | Self::NotCosigned { .. }
            | Self::Damaged => 3,
            Self::Unknown => 4,
            Self::NoData { .. }
            | Self::ConfigExists { .. }
            | Self::ConfigUnwritable { .. }
            | Self::AnswersEnded
            | Self::NotBilled { .. }
            | Self::NoSuch { .. }
            | Self::InUse { .. }
            | Self::TapEnded
            | Self::NoTerminal
            | Self::Unwritable { .. }
            | Self::Unreadable { .. }
            | Self::NotKept { .. }
            | Self::NoBroker
            | Self::SeedUnusable { .. }
            | Self::Ask(_)
            | Self::System { .. }
            | Self::TestsFailed { .. }
            | Self::ProbeNotTaken { .. }
            | Self::LettersLeft { .. }
            | Self::NotDropped { .. }
            | Self::Failed { .. } => 1,
        }
    }

    /// Tells the failure on stderr and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let told = self.told();
        super::output::say_at(tracing::Level::ERROR, &plain::lines(&told));
        ExitCode::from(self.code())
    }

    /// The failure with its causes and what to try.
    pub(super) fn told(&self) -> String {
        let mut told = format!("error: {self}\n");
        let mut last = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors repeat their cause in their own words already.
            if !last.contains(&text) {
                told.push_str("  because: ");
                told.push_str(&text.replace('\n', "\n    "));
                told.push('\n');
            }
            last = text;
            cause = error.source();
        }
        if let Some(advice) = self.advice() {
            told.push_str("  try: ");
            told.push_str(advice);
            told.push('\n');
        }
        told
    }
}
