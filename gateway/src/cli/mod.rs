//! The command line: parses, loads the configuration, wires the parts and runs them.
//!
//! What was asked for goes to stdout; logs, mistakes and errors go to stderr. Exit codes:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; of `run`: stopped cleanly when asked to |
//! | 1 | failed: the message says what happened to the data and what to try; of `init`: the answers ended early, or there is such a file; of `test`: a test does not hold; of `sink test`: the sink did not take the probe; of `sink dead-letter`: some could not be handled |
//! | 2 | not begun: the command line, an answer by a flag or the configuration is mistaken; of `test`: a file cannot be read or is mistaken |
//! | 3 | of `ledger`: the books do not balance; of `explain`: answered, but the fate of a sample at that time cannot be told; of `log check`: something durable is damaged; of `status`: the gateway runs, but not as usual; of `reload`: the configuration is not taken; of `audit verify`: it does not verify; of `audit witness`: not cosigned |
//! | 4 | of `ledger --strict`: the books balance, but something is unknown |
//! | 130 | ended at once by a second ctrl-c or SIGTERM; of `init`: by the first ctrl-c |

mod args;
mod audit;
mod backup;
mod bill;
mod books;
mod check;
mod config;
mod device;
mod explain;
mod failure;
mod init;
mod ledger;
mod log_tools;
mod logs;
mod output;
mod pages;
mod progress;
mod reload;
mod remedy;
mod replay;
mod schema;
mod signal;
mod sink;
mod status;
mod table;
mod tap;
mod test;
mod top;
mod wiring;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use self::args::{
    BackupArgs, BillArgs, CheckArgs, DemoArgs, ExplainArgs, LedgerArgs, LogCommand, ReloadArgs,
    ReplayArgs, RestoreArgs, RunArgs, StatusArgs, TapArgs, TestArgs, TopArgs,
};
pub use self::audit::AuditCommand;
use self::config::Warnings;
pub use self::device::DeviceCommand;
use self::failure::Failure;
pub use self::init::InitArgs;
use self::logs::LogArgs;
pub use self::pages::{CompletionsArgs, ManArgs};
pub use self::sink::SinkCommand;

/// What help says about exit codes.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed; the message says what happened to the data and what to try;
       init: the answers ended early, or there is such a file;
       test: a test does not hold; sink test: the sink did not take the probe;
       sink dead-letter: some could not be handled
  2    not begun: the command line or the configuration is mistaken;
       test: a file cannot be read or is mistaken
  3    ledger: the books do not balance; explain: the fate of a sample at that time
       cannot be told; log check: something durable is damaged; status: the
       gateway runs, but not as usual; reload: the configuration is not taken;
       audit verify: it does not verify; audit witness: not cosigned
  4    ledger --strict: the books balance, but something is unknown
  130  ended at once by a second ctrl-c or SIGTERM; init: by the first ctrl-c

Environment:
  TIDEGATE_LOG  what is logged, as --log-level says it";

/// Exit codes as man pages tell them: the code, the command that has it (none: each), its meaning.
const COMMANDS_END_CODES: &[(&str, &str, &str)] = &[
    ("0", "", "done; of run: stopped cleanly when asked to"),
    (
        "1",
        "",
        "failed; the message says what happened to the data and what to try",
    ),
    (
        "1",
        "init",
        "init: the answers ended early, or there is such a file",
    ),
    ("1", "test", "test: a test does not hold"),
    (
        "1",
        "sink-test",
        "sink test: the sink did not take the probe",
    ),
    (
        "1",
        "sink-dead-letter",
        "sink dead\\-letter: some could not be handled",
    ),
    (
        "2",
        "",
        "not begun: the command line or the configuration is mistaken",
    ),
    ("2", "test", "test: a file cannot be read or is mistaken"),
    ("3", "ledger", "ledger: the books do not balance"),
    (
        "3",
        "explain",
        "explain: the fate of a sample at that time cannot be told",
    ),
    ("3", "log-check", "log check: something durable is damaged"),
    ("3", "status", "status: the gateway runs, but not as usual"),
    ("3", "reload", "reload: the configuration is not taken"),
    ("3", "audit-verify", "audit verify: it does not verify"),
    ("3", "audit-witness", "audit witness: not cosigned"),
    (
        "4",
        "ledger",
        "ledger \\-\\-strict: the books balance, but something is unknown",
    ),
    ("130", "", "ended at once by a second ctrl\\-c or SIGTERM"),
];

/// Edge telemetry: device frames over MQTT in, filtered and aggregated records out.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    logs: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it all on this machine: broker, simulated plant, gateway and a file of records
    Demo(DemoArgs),
    /// Ask four questions and write a configuration that works
    ///
    /// Each answer is checked at once; nothing is written before the last one, and no file that
    /// is there is written over. With --yes it asks nothing.
    Init(InitArgs),
    /// Run the gateway until it is asked to stop (ctrl-c or SIGTERM)
    Run(RunArgs),
    /// Check a configuration: tells every mistake at once, each with its place
    Check(CheckArgs),
    /// Print the JSON Schema of tidegate.toml, for editors
    Schema,
    /// Test rules on virtual time: timelines of devices, and the records that have to come
    ///
    /// Starts nothing and waits for nothing: a day of samples takes a moment.
    Test(TestArgs),
    /// Be devices: the device library on this machine, sending a CSV trace or a model of a plant
    Simulate(Box<crate::simulate::SimulateArgs>),
    /// Show whether the running gateway works as usual, its sinks, and its limits with their use
    Status(StatusArgs),
    /// Watch the plant in the terminal: devices, sensors, rules, sinks and alerts, each second
    ///
    /// Keys: 1 to 4 or tab for the views, / to filter devices, ? for all of them, q to leave.
    Top(TopArgs),
    /// Watch samples and records as they flow, a line each
    Tap(TapArgs),
    /// See to the devices: register them, rotate and revoke their keys, move them to another gateway
    #[command(subcommand)]
    Device(DeviceCommand),
    /// See to the sinks: list them, handle what they refused, resume or test one
    #[command(subcommand)]
    Sink(SinkCommand),
    /// Have the running gateway read its configuration again, and tell what changed or why not
    Reload(ReloadArgs),
    /// Show where every sample went: the three balances, then each counter by reason
    Ledger(LedgerArgs),
    /// Show what was sent to which sink for which rule, month by month, and the month's budget
    ///
    /// Bodies are counted, the framing around them is an estimate: docs/bill.md says how good it
    /// is.
    Bill(BillArgs),
    /// Try a configuration's rules on what the log holds, and tell what would be different
    ///
    /// Records, samples, bytes upstream, and how near a curve redrawn from the records is to the
    /// samples, beside what the log's own rules gave. With --as-logged it prints the records of
    /// the latter, as NDJSON: {"position":…,"ordinal":…,"record":{…}}. Reads only: nothing in the
    /// data directory changes, and a gateway may run on it.
    Replay(ReplayArgs),
    /// Tell what became of the sample of a sensor nearest to a time
    ///
    /// Rejected, filtered, late, in which records, and when they were delivered and at what
    /// cost. Derives the log again from a base before that time. Reads only: nothing in the
    /// data directory changes, and a gateway may run on it.
    Explain(ExplainArgs),
    /// Look into log, spool and journal, and rescue what is left of damaged ones
    #[command(subcommand)]
    Log(LogCommand),
    /// See who did what, in a log that nobody can change unseen, and prove it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Copy a data directory into one file, also beside a running gateway
    Backup(BackupArgs),
    /// Unpack a backup into an empty data directory
    Restore(RestoreArgs),
    /// Print what a shell needs to complete commands and options
    ///
    /// Packages bring it along. Elsewhere, in bash: source <(tidegate completions bash)
    Completions(CompletionsArgs),
    /// Write a man page of each command into a folder: for packages
    #[command(hide = true)]
    Man(ManArgs),
}

/// Runs the command that this process was called with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let run = cli.run();
    logs::end();
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

impl Cli {
    fn run(self) -> Result<(), Failure> {
        // A gateway's log is what an operator reads; the others' output is their result.
        let default = match self.command {
            Command::Run(_) => "info",
            _ => "warn",
        };
        logs::begin(&self.logs, default)?;
        if let Command::Run(_) | Command::Demo(_) | Command::Simulate(_) = self.command {
            logs::look_after();
        }
        match self.command {
            Command::Demo(args) => wiring::demo(args),
            Command::Init(args) => init::init(&args),
            Command::Run(args) => {
                let text = config::read(&args.config)?;
                let settings = config::settings_of(&text, &args.config, Warnings::Told)?;
                wiring::run(settings, args.config, text)
            }
            Command::Check(args) => check::check(&args),
            Command::Schema => schema::show(),
            Command::Test(args) => test::test(&args),
            Command::Simulate(args) => wiring::simulate(*args),
            Command::Status(args) => status::show(&args),
            Command::Top(args) => top::show(&args),
            Command::Tap(args) => tap::show(&args),
            Command::Sink(command) => sink::run(&command),
            Command::Device(command) => device::run(&command),
            Command::Reload(args) => reload::reload(&args),
            Command::Ledger(args) => ledger::show(&args),
            Command::Bill(args) => bill::show(&args),
            Command::Replay(args) => replay::replay(&args),
            Command::Explain(args) => explain::show(&args),
            Command::Log(command) => log_tools::run(&command),
            Command::Audit(command) => audit::run(&command),
            Command::Backup(args) => backup::back_up(&args),
            Command::Restore(args) => backup::restore(&args),
            Command::Completions(args) => pages::completions(&args),
            Command::Man(args) => pages::man(&args),
        }
    }
}

#[cfg(test)]
mod tests;
