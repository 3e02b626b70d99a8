//! Asking: a question a line, its default in brackets, again with the reason when it is unfit.

use std::io::{BufRead, Read};

use super::answers::{Answers, Question};
use crate::cli::failure::Failure;

/// Longest answer: longer than any path or URL that is typed by hand.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Questions on lines.
pub(super) struct Asking<'a, R, T> {
    lines: &'a mut R,
    tell: T,
}

impl<'a, R: BufRead, T: FnMut(&str)> Asking<'a, R, T> {
    pub(super) fn new(lines: &'a mut R, tell: T) -> Self {
        Self { lines, tell }
    }

    /// Asks the questions that are open.
    pub(super) fn all(
        mut self,
        open: impl Iterator<Item = Question>,
        mut answers: Answers,
    ) -> Result<Answers, Failure> {
        let mut has_begun = false;
        for question in open {
            if !answers.needs(question) {
                continue;
            }
            if !has_begun {
                (self.tell)("Enter takes what stands in brackets; ctrl-c ends without a file.\n\n");
                has_begun = true;
            }
            (self.tell)(words(question));
            answers = self.one(question, &answers)?;
        }
        Ok(answers)
    }

    /// Asks until the answer is fit.
    fn one(&mut self, question: Question, answers: &Answers) -> Result<Answers, Failure> {
        loop {
            (self.tell)(&format!("  [{}] > ", answers.default_of(question)));
            let Some(said) = self.line()? else {
                (self.tell)("\n");
                return Err(Failure::AnswersEnded);
            };
            let said = if said.is_empty() {
                answers.default_of(question).to_owned()
            } else {
                said
            };
            match answers.with(question, &said) {
                Ok((answers, odd)) => {
                    for odd in odd {
                        (self.tell)(&format!("  taken, but: {odd}\n"));
                    }
                    return Ok(answers);
                }
                Err(why) => {
                    for why in why.to_string().lines() {
                        (self.tell)(&format!("  not taken: {why}\n"));
                    }
                }
            }
        }
    }

    /// The next line without its end; `None` when there is none, or no end of it in sight.
    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        let most = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        let read = self
            .lines
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut line)
            .map_err(|source| Failure::System { source })?;
        let is_whole = read < ANSWER_BYTES_MAX || line.ends_with(b"\n");
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        Ok((read > 0 && is_whole).then_some(text))
    }
}

/// What is asked.
fn words(question: Question) -> &'static str {
    match question {
        Question::Site => {
            "1. What is the site called? Its name stands in topics and records: A-Z a-z 0-9 . _ -\n"
        }
        Question::Broker => {
            "2. Which MQTT broker do devices send to? The one inside, by the address to listen on\n   \
             (0.0.0.0:1883 for devices in the network), or yours: mqtt://HOST:PORT\n"
        }
        Question::Sink => {
            "3. Where do records go? file, http, influxdb, prometheus, otlp, mqtt, nats or stdout\n"
        }
        Question::To => "   At which address, or in which file?\n",
        Question::Secret => "   Where is its token? env:NAME, file:PATH, or none\n",
        Question::Every => "4. How often is a summary made of each sensor? 10s, 1m, 5m, 1h, ...\n",
    }
}
