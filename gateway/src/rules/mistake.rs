//! Mistakes: what is wrong in a configuration, where, and what would be right.

use std::fmt;
use std::ops::Range;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use serde::Serialize;

use super::secret;

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
    }

    /// Whether any of them is a mistake.
    pub(super) fn any_mistake(&self) -> bool {
        self.found
            .iter()
            .any(|found| found.severity == Severity::Mistake)
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
        Mistake {
            severity: self.severity,
            kind: self.kind,
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .get(line_start..)
                .map_or(0, |line| line.chars().count())
                + 1,
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
pub(super) fn nearest<'n>(
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

/// How mistakes are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Colours and box drawing, for a terminal.
    Fancy,
    /// ASCII without colours, for files and pipes.
    Plain,
}

/// Draws mistakes with the lines that they are in, the offending text underlined and every
/// secret of the text masked.
pub fn draw(mistakes: &[Mistake], text: &str, look: Look) -> String {
    let shown = secret::masked(text);
    let theme = match look {
        Look::Fancy => GraphicalTheme::unicode(),
        Look::Plain => GraphicalTheme::none(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_context_lines(1)
        .without_syntax_highlighting();
    let mut drawn = String::new();
    for mistake in mistakes {
        let begin = drawn.len();
        let report = Drawn {
            mistake,
            source: Lines {
                file: &mistake.file,
                text: &shown,
            },
        };
        if handler.render_report(&mut drawn, &report).is_err() {
            drawn.truncate(begin);
            drawn.push_str(&mistake.to_string());
            drawn.push('\n');
        }
    }
    drawn
}

/// A mistake beside the text it is in, as the drawing library wants it.
#[derive(Debug)]
struct Drawn<'m> {
    mistake: &'m Mistake,
    source: Lines<'m>,
}

/// A text that shows the whole line of a mistake and no other.
#[derive(Debug)]
struct Lines<'m> {
    file: &'m str,
    text: &'m str,
}

impl SourceCode for Lines<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let before = self.text.get(..span.offset());
        let before = before.ok_or(MietteError::OutOfBounds)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count();
        // Without context the library asks for the place alone.
        let start = if lines_before == 0 {
            span.offset()
        } else {
            line_start
        };
        let rest = self.text.get(start..).ok_or(MietteError::OutOfBounds)?;
        let shown = rest.split(['\r', '\n']).next().unwrap_or(rest);
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.to_owned(),
            shown.as_bytes(),
            (start, shown.len()).into(),
            line,
            before.get(line_start..).map_or(0, |left| {
                if lines_before == 0 {
                    left.chars().count()
                } else {
                    0
                }
            }),
            1,
        )))
    }
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistake.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.mistake.severity {
            Severity::Mistake => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.mistake.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = Some(self.mistake.expected.clone()).filter(|label| !label.is_empty());
        let mut span = self.mistake.span.clone();
        let last = self
            .source
            .text
            .get(..span.start)
            .and_then(|before| before.chars().last());
        if let Some(last) = last.filter(|last| span.is_empty() && *last != '\n') {
            // At a line's end there is nothing to underline but the sign before it.
            span.start -= last.len_utf8();
        }
        Some(Box::new(std::iter::once(
            LabeledSpan::new_primary_with_span(label, span),
        )))
    }
}
