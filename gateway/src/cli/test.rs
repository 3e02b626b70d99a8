//! `tidegate test`: tests of rules, run on virtual time, and where they do not hold.

use std::path::Path;

use serde_json::{Value, json};

use super::args::TestArgs;
use super::config::read;
use super::failure::Failure;
use super::output::{look, look_out, print, print_as_is, say};
use crate::rehearsal::{Difference, Outcome, Test, rehearse, tell};
use crate::rules::{Mistake, Ruled, draw, parse, parse_test};

/// What came of one file.
enum Ran {
    /// It ran.
    Through(Box<Test>, Outcome),
    /// It did not: mistakes in it or in its configuration.
    Mistaken(Vec<Mistake>),
    /// It cannot be read.
    Unreadable(Failure),
}

/// Runs the tests of every file.
pub(super) fn test(args: &TestArgs) -> Result<(), Failure> {
    let (mut failed, mut mistaken) = (0, 0);
    let mut values = Vec::new();
    for path in &args.files {
        let file = path.to_string_lossy();
        let ran = run(path, &file, args.json);
        match &ran {
            Ran::Through(_, outcome) => failed += usize::from(!outcome.holds()),
            Ran::Mistaken(_) | Ran::Unreadable(_) => mistaken += 1,
        }
        if args.json {
            values.push(as_json(&file, &ran));
        } else {
            show(&file, &ran)?;
        }
    }
    if args.json {
        let ok = failed == 0 && mistaken == 0;
        print(&format!("{:#}\n", json!({ "ok": ok, "tests": values })))?;
    }
    let files = args.files.len();
    if mistaken > 0 {
        return Err(Failure::TestsMistaken { mistaken, files });
    }
    if failed > 0 {
        return Err(Failure::TestsFailed { failed, run: files });
    }
    Ok(())
}

/// Runs a file; its mistakes are drawn beside the text that has them, unless they go into JSON.
fn run(path: &Path, file: &str, quiet: bool) -> Ran {
    let text = match read(path) {
        Ok(text) => text,
        Err(failure) => return Ran::Unreadable(failure),
    };
    let tell_mistakes = |mistakes: &[Mistake], text: &str| {
        if !quiet {
            say(&draw(mistakes, text, look()));
        }
    };
    let mut of_config = Vec::new();
    let parsed = parse_test(&text, file, |name| {
        // As people mean it: from the file that says it.
        let config = path.parent().unwrap_or(Path::new("")).join(name);
        let config_text = read(&config).map_err(|failure| cause(&failure))?;
        match parse(&config_text, &config.to_string_lossy()) {
            Ok((settings, _)) => Ok(Ruled::from(settings)),
            Err(mistakes) => {
                tell_mistakes(&mistakes, &config_text);
                of_config.extend(mistakes);
                Err("it has mistakes of its own, which are told with it".to_owned())
            }
        }
    });
    match parsed {
        Ok(test) => {
            let outcome = rehearse(&test);
            Ran::Through(Box::new(test), outcome)
        }
        Err(mistakes) => {
            tell_mistakes(&mistakes, &text);
            of_config.extend(mistakes);
            Ran::Mistaken(of_config)
        }
    }
}

/// Why a configuration cannot be read, in a line.
fn cause(failure: &Failure) -> String {
    match failure {
        Failure::ConfigUnreadable { path, source } => {
            format!("{} cannot be read: {source}", path.display())
        }
        other => other.to_string(),
    }
}

fn show(file: &str, ran: &Ran) -> Result<(), Failure> {
    match ran {
        Ran::Through(test, outcome) => print_as_is(&tell(test, outcome, file, look_out())),
        Ran::Mistaken(_) => Ok(()),
        Ran::Unreadable(failure) => {
            say(&format!("{}\n", why_unreadable(file, failure)));
            Ok(())
        }
    }
}

fn why_unreadable(file: &str, failure: &Failure) -> String {
    match failure {
        Failure::ConfigUnreadable { source, .. } => format!("{file} cannot be read: {source}"),
        other => format!("{file} cannot be read: {other}"),
    }
}

fn as_json(file: &str, ran: &Ran) -> Value {
    match ran {
        Ran::Through(test, outcome) => {
            let differences = outcome.differences.iter();
            json!({
                "file": file,
                "about": test.about,
                "ok": outcome.holds(),
                "records": outcome.records.len(),
                "differences": differences.map(Difference::to_json).collect::<Vec<_>>(),
            })
        }
        Ran::Mistaken(mistakes) => json!({ "file": file, "ok": false, "mistakes": mistakes }),
        Ran::Unreadable(failure) => json!({
            "file": file,
            "ok": false,
            "unreadable": why_unreadable(file, failure),
        }),
    }
}
