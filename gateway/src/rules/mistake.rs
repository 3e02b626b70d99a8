//! Mistakes: what is wrong in a configuration, where, and what would be right.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// Mistakes of one file that are told; the rest is counted in the last one.
pub const MISTAKES_MAX: usize = 100;

/// What sort of mistake, for programs that read the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Not TOML.
    Syntax,
    /// A key that does not exist.
    UnknownKey,
    /// A key that later versions will know.
    NotInThisVersion,
    /// A key or section that must be there.
    Missing,
    /// A value of another type.
    WrongType,
    /// A text that does not read as what it should be.
    Malformed,
    /// A value outside its bounds.
    OutOfRange,
    /// A name out of a fixed list that is not on it.
    UnknownName,
    /// A name that is already taken.
    Duplicate,
    /// Two keys that exclude each other.
    Conflict,
    /// Something that has no effect.
    Unused,
    /// Something that never happens, or always.
    Never,
    /// Something that will hardly do what was wanted.
    Doubtful,
    /// Something that opens the gateway to others.
    Exposed,
    /// More mistakes than are told.
    TooMany,
}

/// Whether the configuration can run with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It cannot.
    Mistake,
    /// It can.
    Warning,
}

/// One mistake or warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Whether the configuration can run with it.
    pub severity: Severity,
    /// What sort.
    pub kind: Kind,
    /// The file's name as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Column behind the last character that is underlined, on the same line.
    pub end_column: usize,
    /// What is wrong, in a sentence without its stop.
    pub message: String,
    /// What was expected, in a few words.
    pub expected: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The offending text: bytes of the file.
    #[serde(skip)]
    pub span: Range<usize>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Mistake => "mistake",
            Severity::Warning => "warning",
        };
        write!(
            f,
            "{}:{}:{}: {severity}: {}",
            self.file, self.line, self.column, self.message
        )?;
        if !self.expected.is_empty() {
            write!(f, ": {}", self.expected)?;
        }
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// What is found while a text is read; places are worked out at the end.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Found>,
    mistakes: usize,
}

/// One finding before its place is known.
#[derive(Debug)]
pub(super) struct Found {
    severity: Severity,
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
    message: String,
    expected: String,
    help: Option<String>,
}

impl Findings {
    /// Notes a mistake.
    pub(super) fn mistake(
        &mut self,
        kind: Kind,
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> &mut Found {
        self.note(
            Severity::Mistake,
            kind,
            span,
            message.into(),
            expected.into(),
        )
    }

    /// Notes a warning.
    pub(super) fn warning(
        &mut self,
        kind: Kind,
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> &mut Found {
        self.note(
            Severity::Warning,
            kind,
            span,
            message.into(),
            expected.into(),
        )
    }

    fn note(
        &mut self,
        severity: Severity,
        kind: Kind,
        span: Range<usize>,
        message: String,
        expected: String,
    ) -> &mut Found {
        let at = self.found.len();
        self.mistakes += usize::from(severity == Severity::Mistake);
        self.found.push(Found {
            severity,
            kind,
            span,
            message,
            expected,
            help: None,
        });
        &mut self.found[at]
    }

    /// Leaves out findings that `keep` refuses.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Found) -> bool) {
        self.found.retain(keep);
        let of_mistakes = |found: &&Found| found.severity == Severity::Mistake;
        self.mistakes = self.found.iter().filter(of_mistakes).count();
    }

    /// Whether any of them is a mistake.
    pub(super) fn any_mistake(&self) -> bool {
        self.mistakes > 0
    }

    /// Mistakes noted so far: a part that notes none is right.
    pub(super) fn mistakes(&self) -> usize {
        self.mistakes
    }

    /// In the order of the text, each with its place; at most [`MISTAKES_MAX`] and one that
    /// counts the rest.
    pub(super) fn placed(mut self, text: &str, file: &str) -> Vec<Mistake> {
        self.found
            .sort_by_key(|found| (found.span.start, found.span.end));
        let left_out = self.found.len().saturating_sub(MISTAKES_MAX);
        self.found.truncate(MISTAKES_MAX);
        if left_out > 0 {
            self.mistake(
                Kind::TooMany,
                text.len()..text.len(),
                format!("{left_out} more mistakes and warnings are not shown"),
                "",
            )
            .help("mend the first ones and check again");
        }
        self.found
            .into_iter()
            .map(|found| found.placed(text, file))
            .collect()
    }
}

impl Found {
    /// Says what to write instead.
    pub(super) fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }

    /// Says what to write instead, if that is known.
    pub(super) fn help_maybe(&mut self, help: Option<String>) {
        self.help = help;
    }

    fn placed(self, text: &str, file: &str) -> Mistake {
        let span = within(text, self.span);
        let before = text.get(..span.start).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before
            .get(line_start..)
            .map_or(0, |line| line.chars().count())
            + 1;
        let underlined = text.get(span.clone()).unwrap_or_default();
        Mistake {
            severity: self.severity,
            kind: self.kind,
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            end_column: column + underlined.chars().count(),
            message: self.message,
            expected: self.expected,
            help: self.help,
            span,
        }
    }
}

/// The span cut to the text, to whole characters and to its first line.
fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    let end = floor(span.end.max(start));
    let first_line = text
        .get(start..end)
        .and_then(|inside| inside.find(['\r', '\n']))
        .unwrap_or(end - start);
    start..start + first_line
}

/// The nearest of `names`, when it is near enough to be what was meant.
pub(crate) fn nearest<'n>(
    typed: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    // Longer texts are no slips of a finger, and the comparison costs their product.
    if typed.len() > 64 {
        return None;
    }
    let lower = typed.to_lowercase();
    names
        .into_iter()
        .map(|name| {
            let likeness = strsim::jaro_winkler(&lower, &name.to_lowercase());
            (likeness, name)
        })
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, name)| name)
}
