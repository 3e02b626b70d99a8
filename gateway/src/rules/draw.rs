//! Draw: mistakes with the lines that they are in.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use super::mistake::{Mistake, Severity};
use super::secret;

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

/// Bytes of a line that are shown before a mistake, and of all of it: a line may be a whole file.
const BEFORE_BYTES: usize = 200;
const LINE_BYTES: usize = 400;

/// The nearest place at or before an offset where a character begins.
fn floor(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
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
            line_start.max(floor(self.text, span.offset().saturating_sub(BEFORE_BYTES)))
        };
        let rest = self.text.get(start..).ok_or(MietteError::OutOfBounds)?;
        let shown = rest.split(['\r', '\n']).next().unwrap_or(rest);
        let shown = &shown[..floor(shown, LINE_BYTES)];
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.to_owned(),
            shown.as_bytes(),
            (start, shown.len()).into(),
            line,
            before.get(line_start..).map_or(0, |left| {
                let shown = start.saturating_sub(line_start);
                left.get(..shown).map_or(0, |left| left.chars().count())
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
