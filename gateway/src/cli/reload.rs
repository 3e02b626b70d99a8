//! `tidegate reload`: has the running gateway read its configuration again.

use std::fmt::Write;

use super::args::ReloadArgs;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{print, print_as_is};
use crate::control;
use crate::reload::Outcome;

/// Asks the gateway, and tells what became of its configuration.
pub(super) fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    // Mistakes are told here, drawn; the gateway would refuse the file for them.
    let settings = config::load(&args.config, Warnings::Told).map_err(|why| match why {
        Failure::ConfigMistaken { mistakes, file } => Failure::ReloadMistaken { mistakes, file },
        why => why,
    })?;
    let answer = control::ask(&settings.data_dir, &control::Command::Reload)?;
    let outcome: Outcome =
        serde_json::from_value(answer.clone()).map_err(|source| Failure::Failed {
            command: "reload",
            source: source.into(),
        })?;
    if args.json {
        print_as_is(&format!("{answer:#}\n"))?;
    } else {
        print(&render(&outcome))?;
    }
    match outcome {
        Outcome::Taken { .. } | Outcome::Same { .. } => Ok(()),
        Outcome::Refused(_) => Err(Failure::NotTaken),
        Outcome::Pending => Err(Failure::NotTakenYet),
    }
}

/// Lays an outcome out for people.
fn render(outcome: &Outcome) -> String {
    let (head, lines): (String, &[String]) = match outcome {
        Outcome::Taken { hash, changes } => (format!("configuration {hash} is in force"), changes),
        Outcome::Same { hash } => (
            format!("configuration {hash} says what is in force already: nothing changes"),
            &[],
        ),
        Outcome::Refused(refusal) => (refusal.why.clone(), &refusal.places),
        Outcome::Pending => (
            "the configuration is right and waits: the log cannot be written now, or another \
             gateway owns the site"
                .to_owned(),
            &[],
        ),
    };
    let mut out = format!("{head}\n");
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::Refusal;

    #[test]
    fn what_changed_and_why_not_are_told_a_line_each() {
        let taken = Outcome::Taken {
            hash: "00ff".into(),
            changes: vec!["rule minute added".into()],
        };
        assert_eq!(
            render(&taken),
            "configuration 00ff is in force\n  rule minute added\n"
        );
        let refused = Outcome::Refused(Refusal {
            hash: Some("00ff".into()),
            why: "it takes a restart".into(),
            places: vec!["gateway.site changed".into(), "sink.cloud removed".into()],
        });
        assert_eq!(
            render(&refused),
            "it takes a restart\n  gateway.site changed\n  sink.cloud removed\n"
        );
    }

    #[test]
    fn an_outcome_survives_its_json() {
        for (outcome, name) in [
            (Outcome::Same { hash: "1".into() }, "same"),
            (Outcome::Pending, "pending"),
            (
                Outcome::Refused(Refusal {
                    hash: None,
                    why: "gone".into(),
                    places: Vec::new(),
                }),
                "refused",
            ),
        ] {
            let json = serde_json::to_value(&outcome).unwrap();
            assert_eq!(json["outcome"], name);
            assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
        }
    }
}
