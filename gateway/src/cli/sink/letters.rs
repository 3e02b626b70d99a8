//! `tidegate sink dead-letter`: of the running gateway, or of its files.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::args::{DeadLetterCommand, DropArgs, LetterArgs, LettersArgs, LettersToArgs};
use super::{failed, unanswered};
use crate::cli::config::{self, Warnings};
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is};
use crate::cli::status::number;
use crate::control::{self, AskError};
use crate::dead_letters::{self, Handled, Letter, ORDERED_MAX, Order, Reply, Wish};
use crate::disk::data_dir::DataDir;
use crate::disk::{Disk, RealDisk};
use crate::plain;
use crate::rules::settings::Settings;
use crate::spool::Spool;
use crate::spool::letters::LetterState;
use crate::store;

/// Digits of an id that a list shows: enough for a person to tell thousands apart.
const ID_DIGITS: usize = 12;

/// Runs one of them.
pub(super) fn run(command: &DeadLetterCommand) -> Result<(), Failure> {
    match command {
        DeadLetterCommand::List(args) => list(args),
        DeadLetterCommand::Show(args) => show(args),
        DeadLetterCommand::Resend(args) => handle(args, Wish::Resend),
        DeadLetterCommand::Drop(args) => discard(args),
    }
}

/// Who holds the letters.
enum Holder {
    /// The gateway that runs.
    Gateway,
    /// Nobody: the spool is opened here, held against a gateway's start if it may be changed.
    Files {
        /// The spool.
        spool: Box<Mutex<Spool>>,
        /// What holds it, until this is dropped.
        _held: Option<DataDir>,
    },
}

/// A sink's letters.
struct Desk {
    settings: Settings,
    sink: String,
    holder: Holder,
}

impl Desk {
    /// Asks the gateway first; only when nobody answers are the files opened.
    fn open(config: &std::path::Path, sink: &str, to_change: bool) -> Result<Self, Failure> {
        let settings = config::load(config, Warnings::Untold)?;
        // An order that changes nothing tells who is there.
        let order = Order {
            sink: sink.to_owned(),
            wish: Wish::Resend(Vec::new()),
        };
        let asked = control::ask(&settings.data_dir, &control::Command::DeadLetters(order));
        let holder = match asked {
            Ok(_) => Holder::Gateway,
            Err(AskError::NotRunning { .. }) if to_change => changeable(&settings)?,
            Err(AskError::NotRunning { .. }) => {
                let spool = store::waiting(&super::disk(&settings)?, &settings);
                Holder::Files {
                    spool: Box::new(Mutex::new(spool.map_err(failed)?)),
                    _held: None,
                }
            }
            Err(why) => return Err(unanswered(why)),
        };
        Ok(Self {
            settings,
            sink: sink.to_owned(),
            holder,
        })
    }

    fn ask(&self, wish: Wish) -> Result<Reply, Failure> {
        let order = Order {
            sink: self.sink.clone(),
            wish,
        };
        match &self.holder {
            Holder::Gateway => {
                let command = control::Command::DeadLetters(order);
                let answer = control::ask(&self.settings.data_dir, &command).map_err(unanswered)?;
                serde_json::from_value(answer).map_err(failed)
            }
            Holder::Files { spool, .. } => dead_letters::carry_out(spool, &order).map_err(failed),
        }
    }

    /// Every letter of the sink.
    fn all(&self) -> Result<Vec<Letter>, Failure> {
        let mut all: Vec<Letter> = Vec::new();
        loop {
            let after = all.last().map(|letter| letter.id.clone());
            let Reply::Listed { letters, more } = self.ask(Wish::List(after))? else {
                return Ok(all);
            };
            let is_last = !more || letters.is_empty();
            all.extend(letters);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// When what is to be sent again goes.
    fn when(&self) -> &'static str {
        let mut sinks = self.settings.sinks.iter();
        if !sinks.any(|sink| sink.name == self.sink) {
            return "they go once the sink is in the configuration again";
        }
        match self.holder {
            Holder::Gateway => {
                "they go before anything else; `tidegate sink list` shows how many are left"
            }
            Holder::Files { .. } => "no gateway runs: they go when it starts",
        }
    }
}

/// The spool of a stopped gateway, which cannot start meanwhile.
fn changeable(settings: &Settings) -> Result<Holder, Failure> {
    Failure::need_data(&settings.data_dir)?;
    let held = DataDir::hold(&settings.data_dir).map_err(failed)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(&settings.data_dir).map_err(failed)?);
    let opened = Spool::open(disk, &store::queues(&settings.sinks));
    let (spool, _) = opened.map_err(failed)?;
    Ok(Holder::Files {
        spool: Box::new(Mutex::new(spool)),
        _held: Some(held),
    })
}

fn list(args: &LettersArgs) -> Result<(), Failure> {
    let letters = Desk::open(&args.config, &args.sink, false)?.all()?;
    if args.json {
        let listed = json!({ "sink": args.sink, "dead_letters": letters });
        return print_as_is(&format!("{listed:#}\n"));
    }
    print(&listed(&args.sink, &letters))
}

fn listed(sink: &str, letters: &[Letter]) -> String {
    let mut out = match letters.len() {
        0 => format!("{sink} has no dead letters\n"),
        1 => format!("{sink} has 1 dead letter\n"),
        many => format!("{sink} has {} dead letters\n", number(many as u64)),
    };
    for letter in letters {
        let id = letter.id.get(..ID_DIGITS).unwrap_or(&letter.id);
        let record = &letter.record;
        let said = |field: &str| plain::in_line(record[field].as_str().unwrap_or("?"));
        let _ = writeln!(
            out,
            "  {id}  {} {} {}, {}; refused {}{}\n    {}",
            said("rule"),
            said("device"),
            said("sensor"),
            said("start"),
            letter.at,
            state(letter.state),
            plain::in_line(&letter.why)
        );
    }
    out
}

/// What is to become of a letter, where that is not up to a person.
fn state(state: LetterState) -> &'static str {
    match state {
        LetterState::Dead => "",
        LetterState::Again => "; goes once more",
        LetterState::Sent => "; delivered just now",
        LetterState::Old => "; old: the sink has a newer revision",
    }
}

fn show(args: &LetterArgs) -> Result<(), Failure> {
    let desk = Desk::open(&args.config, &args.sink, false)?;
    let Reply::Shown(letter) = desk.ask(Wish::Show(args.id.clone()))? else {
        return Ok(());
    };
    if args.json {
        let json = serde_json::to_string_pretty(&letter).map_err(failed)?;
        return print_as_is(&format!("{json}\n"));
    }
    print(&shown(&args.sink, &letter))
}

fn shown(sink: &str, letter: &Letter) -> String {
    let trusted = if letter.clock_trusted {
        ""
    } else {
        " by a clock that was not to be trusted"
    };
    format!(
        "{}\n  refused by {sink} at {}{trusted}, after {} attempts at it alone{}\n  the sink said: {}\n{:#}\n",
        letter.id,
        letter.at,
        number(letter.attempts.into()),
        state(letter.state),
        plain::in_line(&letter.why),
        letter.record
    )
}

fn discard(args: &DropArgs) -> Result<(), Failure> {
    if args.yes {
        return handle(&args.letters, Wish::Drop);
    }
    let desk = Desk::open(&args.letters.config, &args.letters.sink, false)?;
    let letters = if args.letters.all {
        desk.all()?.len()
    } else {
        args.letters.ids.len()
    };
    Err(Failure::NotDropped { letters })
}

/// Resends or drops, a few at a time.
fn handle(args: &LettersToArgs, wish: fn(Vec<String>) -> Wish) -> Result<(), Failure> {
    let desk = Desk::open(&args.config, &args.sink, true)?;
    let ids = if args.all {
        desk.all()?.into_iter().map(|letter| letter.id).collect()
    } else {
        args.ids.clone()
    };
    let mut handled = Vec::new();
    for some in ids.chunks(ORDERED_MAX) {
        if let Reply::Handled(done) = desk.ask(wish(some.to_vec()))? {
            handled.extend(done);
        }
    }
    let left = handled.iter().filter(|one| !one.outcome.is_done()).count();
    if args.json {
        let told = json!({ "sink": args.sink, "handled": handled });
        print_as_is(&format!("{told:#}\n"))?;
    } else {
        let is_resend = matches!(wish(Vec::new()), Wish::Resend(_));
        let when = is_resend.then(|| desk.when());
        print(&told(&args.sink, &handled, when))?;
    }
    if left > 0 {
        return Err(Failure::LettersLeft {
            left,
            letters: handled.len(),
        });
    }
    Ok(())
}

/// How many, and which not. `when` is what becomes of those that are sent again.
fn told(sink: &str, handled: &[Handled], when: Option<&str>) -> String {
    let done = handled.iter().filter(|one| one.outcome.is_done()).count();
    let letters = match done {
        1 => "1 dead letter".to_owned(),
        many => format!("{} dead letters", number(many as u64)),
    };
    let mut out = match when {
        Some(_) if done == 0 => format!("{letters} of {sink} to be sent again\n"),
        None if done == 0 => format!("{letters} of {sink} dropped\n"),
        Some(when) => format!("{letters} of {sink} to be sent again; {when}\n"),
        None => {
            format!("{letters} of {sink} dropped; their samples stay counted as dead-lettered\n")
        }
    };
    for one in handled.iter().filter(|one| !one.outcome.is_done()) {
        let why = one
            .why
            .as_ref()
            .map_or_else(String::new, |why| format!(": {}", plain::in_line(why)));
        let _ = writeln!(out, "  not {}: {}{why}", one.id, one.outcome.meaning());
    }
    out
}

#[cfg(test)]
mod tests;
