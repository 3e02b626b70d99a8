//! `tidegate completions` and `tidegate man`: what shells complete, and a man page of each command.
//!
//! Both come from the commands as they are parsed, so neither can fall behind. What clap does not
//! know (exit codes, files, variables) stands here, beside the names of the commands.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::failure::Failure;
use super::output::print_as_is;
use super::{COMMANDS_END_CODES, Cli};

/// Arguments of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// The folder, which is made if missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    print_as_is(&String::from_utf8_lossy(&script))
}

/// Writes a man page of each command.
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let failed = |source: std::io::Error| Failure::Failed {
        command: "man",
        source: source.into(),
    };
    fs::create_dir_all(&args.dir).map_err(failed)?;
    for (name, page) in pages().map_err(failed)? {
        fs::write(args.dir.join(name), page).map_err(failed)?;
    }
    Ok(())
}

/// Each page's file name and text.
pub(super) fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    // The codes of all commands stand in a section of their own.
    root = root.after_help(None::<&str>);
    root.build();
    let mut pages = Vec::new();
    add_pages(&root, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    let of = Man::new(command.clone())
        .source(format!("tidegate {}", env!("CARGO_PKG_VERSION")))
        .manual("Tidegate");
    let mut page = Vec::new();
    of.render(&mut page)?;
    page.extend_from_slice(more(command).as_bytes());
    pages.push((of.get_filename(), page));
    for inner in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        add_pages(inner, pages)?;
    }
    Ok(())
}

/// The sections that clap does not know.
fn more(command: &clap::Command) -> String {
    // `tidegate-log-check`: the name of the page.
    let page = command.get_display_name().unwrap_or(command.get_name());
    let name = page.strip_prefix("tidegate-");
    let mut text = String::new();
    section(&mut text, "EXIT STATUS", &exit_codes(name));
    let variables = [(
        "TIDEGATE_LOG",
        "what is logged, as \\fB\\-\\-log\\-level\\fR says it",
    )];
    section(&mut text, "ENVIRONMENT", &variables);
    section(&mut text, "FILES", FILES);
    let _ = writeln!(text, ".SH \"SEE ALSO\"");
    let others = match name {
        Some(_) => "\\fBtidegate\\fR(1)",
        None => "The page of each command, such as \\fBtidegate\\-run\\fR(1)",
    };
    let _ = writeln!(text, "{others}; the documentation in {DOCUMENTATION}");
    text
}

/// Where packages put the documentation.
const DOCUMENTATION: &str = "\\fI/usr/share/doc/tidegate\\fR";

/// Files that commands read and write.
const FILES: &[(&str, &str)] = &[
    (
        "/etc/tidegate/tidegate.toml",
        "the configuration of the service; commands read \\fItidegate.toml\\fR of the working \
         directory unless they are given another",
    ),
    (
        "/var/lib/tidegate",
        "the data directory of the service: log, spool, journal, dead letters and the socket \
         that commands ask at; elsewhere it is what \\fBgateway.data_dir\\fR says, and \
         \\fI./tidegate\\-data\\fR when that says nothing",
    ),
    (
        "/usr/share/doc/tidegate/examples",
        "configurations with their tests, and the JSON Schema for editors",
    ),
];

/// The exit codes that a command has; of no command, all there are.
fn exit_codes(name: Option<&str>) -> Vec<(&'static str, &'static str)> {
    let concerns = |of: &str| match name {
        // Codes of `log` are those of its commands too.
        Some(name) => of.is_empty() || name == of || name.starts_with(&format!("{of}-")),
        None => true,
    };
    let codes = COMMANDS_END_CODES.iter();
    codes
        .filter(|(_, of, _)| concerns(of))
        .map(|(code, _, means)| (*code, *means))
        .collect()
}

fn section(text: &mut String, title: &str, rows: &[(&str, &str)]) {
    let _ = writeln!(text, ".SH \"{title}\"");
    for (term, says) in rows {
        let _ = writeln!(text, ".TP\n\\fB{}\\fR\n{says}", term.replace('-', "\\-"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(name: &str) -> String {
        let pages = pages().unwrap();
        let found = pages.into_iter().find(|(file, _)| file == name);
        String::from_utf8(found.expect("there is such a page").1).unwrap()
    }

    #[test]
    fn every_command_has_a_page_with_its_codes_and_files() {
        let pages = pages().unwrap();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in [
            "tidegate.1",
            "tidegate-run.1",
            "tidegate-log-check.1",
            "tidegate-sink-dead-letter-resend.1",
        ] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
        let visible = Cli::command();
        let visible = visible.get_subcommands().filter(|one| !one.is_hide_set());
        for command in visible {
            let name = format!("tidegate-{}.1", command.get_name());
            assert!(names.contains(&name.as_str()), "{name} of {names:?}");
        }
        for (name, text) in &pages {
            let text = String::from_utf8_lossy(text);
            for title in ["NAME", "SYNOPSIS", "EXIT STATUS", "FILES", "SEE ALSO"] {
                assert!(
                    text.contains(&format!(".SH \"{title}\""))
                        || text.contains(&format!(".SH {title}")),
                    "{name} has no {title}"
                );
            }
            assert!(text.contains("\n\\fB0\\fR\n"), "{name}");
        }
    }

    #[test]
    fn a_page_has_the_codes_of_its_command_and_no_other() {
        assert!(page("tidegate-log-check.1").contains("something durable is damaged"));
        assert!(!page("tidegate-log-export.1").contains("something durable is damaged"));
        assert!(page("tidegate-sink-dead-letter-drop.1").contains("could not be handled"));
        let whole = page("tidegate.1");
        for (code, _, means) in COMMANDS_END_CODES {
            assert!(
                whole.contains(&format!("\\fB{code}\\fR\n{means}")),
                "{code}"
            );
        }
    }

    #[test]
    fn shells_complete_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["dead-letter", "completions", "--new-identity"] {
                let word = if shell == Shell::Fish {
                    word.trim_start_matches('-')
                } else {
                    word
                };
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
