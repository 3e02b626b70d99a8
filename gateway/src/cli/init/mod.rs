//! `tidegate init`: four questions, and a configuration that works as it is.
//!
//! ```text
//! flags ─┐
//! lines ─┼─► Answers ─► text ─► the configuration's own checks ─► file (0600, whole or not at all)
//! --yes ─┘      ▲                        │
//!               └── asked again, why ◄───┘
//! ```
//! Each answer is checked at once, by putting it into the configuration and reading that. Nothing
//! is written before the last one. Secrets are never asked for, only where they stand.

mod answers;
mod asking;
mod hostname;
mod shell;
mod writing;

#[cfg(test)]
mod tests;

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use clap::Args;

use self::answers::{Answers, Kind, Question};
use self::asking::Asking;
use super::failure::Failure;
use super::output::{print, print_as_is, say};
use super::{check, signal};
use crate::rules::parse;
use crate::rules::settings::{MqttSettings, ServeSettings, Settings};

/// Arguments of `init`. What a flag says is not asked.
#[derive(Debug, Clone, Default, Args)]
pub struct InitArgs {
    /// The file to write
    #[arg(value_name = "FILE", default_value = "tidegate.toml")]
    pub file: PathBuf,
    /// Name of the site
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
    /// Address that the broker inside listens on, or mqtt://HOST:PORT of one of your own
    #[arg(long, value_name = "ADDRESS|URL")]
    pub broker: Option<String>,
    /// Where records go
    #[arg(long, value_enum, value_name = "TYPE")]
    pub sink: Option<Kind>,
    /// The file or URL that records go to
    #[arg(long, value_name = "FILE|URL")]
    pub to: Option<String>,
    /// Where the sink's token stands
    #[arg(long, value_name = "env:NAME|file:PATH")]
    pub secret: Option<String>,
    /// How often records summarise samples
    #[arg(long, value_name = "DURATION")]
    pub every: Option<String>,
    /// Ask nothing: the defaults for what no flag says
    #[arg(long)]
    pub yes: bool,
    /// Replace a file that is there
    #[arg(long, conflicts_with = "stdout")]
    pub force: bool,
    /// Print the configuration instead of writing a file
    #[arg(long)]
    pub stdout: bool,
}

impl InitArgs {
    /// What was answered by a flag.
    fn said(&self, question: Question) -> Option<&str> {
        match question {
            Question::Site => self.site.as_deref(),
            Question::Broker => self.broker.as_deref(),
            Question::Sink => self.sink.map(Kind::name),
            Question::To => self.to.as_deref(),
            Question::Secret => self.secret.as_deref(),
            Question::Every => self.every.as_deref(),
        }
    }
}

/// Asks, writes and says what to do next.
pub(super) fn init(args: &InitArgs) -> Result<(), Failure> {
    if !args.stdout && !args.force {
        writing::refuse_existing(&args.file)?;
    }
    let interrupts = signal::Courtesy::begin("\nnothing was written\n");
    let answers = answered(args, &hostname::site(), &mut io::stdin().lock(), say)?;
    interrupts.end();
    let name = args.file.display().to_string();
    let text = answers.text(&name);
    if args.stdout {
        return print_as_is(&text);
    }
    writing::write(&args.file, &text, args.force)?;
    // It was read after the last answer: only an error of this program's own could be here.
    let Ok((settings, _)) = parse(&text, &name) else {
        return Ok(());
    };
    print(&next(&args.file, &settings, &answers))
}

/// All answers: by flag, by line, by default; each checked.
fn answered(
    args: &InitArgs,
    site: &str,
    lines: &mut impl BufRead,
    tell: impl FnMut(&str),
) -> Result<Answers, Failure> {
    let mut answers = Answers::of_site(site);
    for question in Question::ALL {
        if let Some(said) = args.said(question) {
            answers = answers
                .with(question, said)
                .map_err(|why| Failure::AnswerMistaken {
                    flag: question.flag(),
                    why: why.to_string(),
                })?
                .0;
        }
    }
    if args.yes {
        return Ok(answers);
    }
    let open = Question::ALL
        .into_iter()
        .filter(|question| args.said(*question).is_none());
    Asking::new(lines, tell).all(open, answers)
}

/// What was written, and the commands that use it.
fn next(file: &Path, settings: &Settings, answers: &Answers) -> String {
    let name = file.display().to_string();
    let summary = check::summary(&name, settings).replacen("is right", "is written", 1);
    let config = if name == "tidegate.toml" {
        String::new()
    } else {
        format!(" --config {}", shell::file(&name))
    };
    let broker = match &settings.mqtt {
        MqttSettings::Embedded { listen, .. } if listen.ip().is_unspecified() => {
            format!("127.0.0.1:{}", listen.port())
        }
        MqttSettings::Embedded { listen, .. } => listen.to_string(),
        MqttSettings::External { host, port, .. } if host.contains(':') => {
            format!("[{host}]:{port}")
        }
        MqttSettings::External { host, port, .. } => format!("{host}:{port}"),
    };
    let scheme = match &settings.mqtt {
        MqttSettings::External { tls: Some(_), .. } => "mqtts",
        MqttSettings::External { .. } | MqttSettings::Embedded { .. } => "mqtt",
    };
    let broker = shell::word(&format!("{scheme}://{broker}"));
    format!(
        "{summary}\n\
         \n\
         Next, each in a terminal of its own:\n\
         \x20 tidegate run{config}\n\
         \x20 tidegate simulate --device pump-1 --site {} --broker {broker} --speed 60\n\
         \x20 tidegate status{config}\n\
         Records come {}, the first after about {} of samples. The page is at http://{}\n",
        shell::word(settings.site.as_str()),
        answers.place(),
        answers.every(),
        ServeSettings::LISTEN,
    )
}
