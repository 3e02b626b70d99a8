//! Lexer: from text to tokens, each with its place.
//!
//! Tokens are those of CEL's grammar, less bytes, unsigned numbers and texts over several lines.

use std::ops::Range;

use super::ExpressionMistake;
use super::names::{continues_name, starts_name};

/// Largest whole number that every smaller one of is exact in an `f64`.
const WHOLE_MAX: u64 = 1 << 53;
/// Operators and brackets; longer ones first.
const SYMBOLS: &[&str] = &[
    "<=", ">=", "==", "!=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")",
    "[", "]", ".", ",",
];
/// What other languages write, and what to write here.
const SLIPS: &[(&str, &str)] = &[
    ("=", "`==` compares"),
    ("&", "write `&&`"),
    ("|", "write `||`"),
    ("^", "there are no powers: write `x * x`"),
    ("{", "there are no maps and messages"),
    ("}", "there are no maps and messages"),
    (";", "an expression is one formula, without `;`"),
    ("`", "a tag of any name is `tags[\"name\"]`"),
];

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(f64),
    Text(String),
    Name(String),
    Symbol(&'static str),
    End,
}

/// A token with its bytes of the text.
pub(super) type Placed = (Token, Range<usize>);

/// Reads all tokens; the last is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, ExpressionMistake> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let (token, span) = lexer.next()?;
        let end = token == Token::End;
        tokens.push((token, span));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    /// A boundary of characters.
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Result<Placed, ExpressionMistake> {
        self.skip_blanks();
        let start = self.at;
        let token = match self.peek(0) {
            None => Token::End,
            Some(b'0'..=b'9') => self.number()?,
            Some(b'.') if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) => {
                self.number()?
            }
            Some(b'"' | b'\'') => self.quoted(false)?,
            Some(b'r' | b'R') if matches!(self.peek(1), Some(b'"' | b'\'')) => {
                self.at += 1;
                self.quoted(true)?
            }
            Some(byte) if starts_name(byte) => self.name()?,
            Some(_) => self.symbol()?,
        };
        Ok((token, start..self.at))
    }

    /// Goes past white space and comments (`//` to the end of the line).
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest
                .find(|blank| !matches!(blank, ' ' | '\t' | '\n' | '\r' | '\u{c}'))
                .unwrap_or(rest.len());
            self.at += blanks;
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn name(&mut self) -> Result<Token, ExpressionMistake> {
        let start = self.at;
        self.skip_while(continues_name);
        let name = &self.text[start..self.at];
        if matches!(self.peek(0), Some(b'"' | b'\''))
            && name.bytes().all(|prefix| b"bBrR".contains(&prefix))
        {
            return Err(self.mistake(start, "bytes are not supported", "expected a text", None));
        }
        Ok(Token::Name(name.to_owned()))
    }

    fn symbol(&mut self) -> Result<Token, ExpressionMistake> {
        if let Some(symbol) = SYMBOLS
            .iter()
            .find(|symbol| self.rest().starts_with(**symbol))
        {
            self.at += symbol.len();
            return Ok(Token::Symbol(symbol));
        }
        let start = self.at;
        let first = self.rest().chars().next().unwrap_or_default();
        self.at += first.len_utf8();
        let help = SLIPS
            .iter()
            .find(|(slip, _)| slip.starts_with(first))
            .map(|(_, help)| (*help).to_owned());
        let message = format!("`{}` does not belong here", first.escape_debug());
        Err(self.mistake(start, message, "", help))
    }

    fn number(&mut self) -> Result<Token, ExpressionMistake> {
        let start = self.at;
        if self.peek(0) == Some(b'0') && matches!(self.peek(1), Some(b'x' | b'X')) {
            self.at += 2;
            self.skip_while(|byte| byte.is_ascii_hexdigit());
            let whole = u64::from_str_radix(&self.text[start + 2..self.at], 16).ok();
            return self.number_ends(start, whole.map(|whole| whole as f64), whole);
        }
        self.skip_while(|byte| byte.is_ascii_digit());
        let mut whole = true;
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            whole = false;
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
        if matches!(self.peek(0), Some(b'e' | b'E'))
            && self
                .peek(1 + sign)
                .is_some_and(|byte| byte.is_ascii_digit())
        {
            whole = false;
            self.at += 1 + sign;
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        let digits = &self.text[start..self.at];
        let number = digits.parse::<f64>().ok();
        let whole = if whole {
            Some(digits.parse::<u64>().unwrap_or(u64::MAX))
        } else {
            None
        };
        self.number_ends(start, number, whole)
    }

    /// Refuses what follows a number without a gap, and what an `f64` cannot say.
    fn number_ends(
        &mut self,
        start: usize,
        number: Option<f64>,
        whole: Option<u64>,
    ) -> Result<Token, ExpressionMistake> {
        if self
            .peek(0)
            .is_some_and(|next| next == b'.' || continues_name(next))
        {
            self.skip_while(|next| next == b'.' || continues_name(next));
            let written = &self.text[start..self.at];
            let help = written
                .strip_suffix(['u', 'U'])
                .map(|plain| format!("every number is a double here: write {plain}"));
            let message = format!("`{written}` is not a number");
            return Err(self.mistake(start, message, "expected a number such as 4.5", help));
        }
        let written = &self.text[start..self.at];
        if whole.is_some_and(|whole| whole > WHOLE_MAX) {
            let message = format!("{written} is not exact as a double");
            let help = "write it with a point or an exponent, such as 1e16".to_owned();
            return Err(self.mistake(start, message, "", Some(help)));
        }
        match number {
            Some(number) if number.is_finite() => Ok(Token::Number(number)),
            Some(_) => {
                let message = format!("{written} is larger than any double");
                Err(self.mistake(start, message, "expected less than 1.8e308", None))
            }
            None => {
                let message = format!("`{written}` is not a number");
                Err(self.mistake(start, message, "expected a number such as 4.5", None))
            }
        }
    }

    /// Reads a text in `"` or `'`, which both may not span lines.
    fn quoted(&mut self, raw: bool) -> Result<Token, ExpressionMistake> {
        let start = self.at - usize::from(raw);
        let quote = self.rest().chars().next().unwrap_or_default();
        if self.rest().chars().take(3).all(|next| next == quote) && self.rest().len() >= 3 {
            self.at += 3;
            return Err(self.mistake(
                start,
                "texts in three quotes are not supported",
                "expected a text in one pair of quotes",
                None,
            ));
        }
        self.at += quote.len_utf8();
        let mut content = String::new();
        while let Some(next) = self.rest().chars().next() {
            match next {
                '\n' | '\r' => break,
                '\\' if !raw => content.push(self.escaped()?),
                _ => {
                    self.at += next.len_utf8();
                    if next == quote {
                        return Ok(Token::Text(content));
                    }
                    content.push(next);
                }
            }
        }
        let message = format!("the text has no closing {quote}");
        Err(self.mistake(start, message, "", None))
    }

    /// Reads what begins with `\`.
    fn escaped(&mut self) -> Result<char, ExpressionMistake> {
        let start = self.at;
        self.at += 1;
        let kind = self.rest().chars().next().unwrap_or_default();
        self.at += kind.len_utf8().min(self.rest().len());
        let code = match kind {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '"' | '\'' | '\\' | '`' | '?' => Some(kind),
            'x' | 'X' => self.code(2, 16),
            'u' => self.code(4, 16),
            'U' => self.code(8, 16),
            '0'..='3' => {
                self.at -= 1;
                self.code(3, 8)
            }
            _ => None,
        };
        code.ok_or_else(|| {
            let written = self.text[start..self.at].escape_debug();
            self.mistake(
                start,
                format!("`{written}` is no character"),
                "expected \\n, \\t, \\\", \\\\, \\xHH, \\uHHHH …",
                Some("write r\"…\" where no `\\` is to be read".to_owned()),
            )
        })
    }

    /// Reads exactly so many digits.
    fn code(&mut self, digits: usize, radix: u32) -> Option<char> {
        let written = self.text.get(self.at..self.at + digits)?;
        if !written.chars().all(|digit| digit.is_digit(radix)) {
            return None;
        }
        self.at += digits;
        char::from_u32(u32::from_str_radix(written, radix).ok()?)
    }

    fn skip_while(&mut self, mut belongs: impl FnMut(u8) -> bool) {
        while self.peek(0).is_some_and(&mut belongs) {
            self.at += 1;
        }
    }

    fn mistake(
        &self,
        start: usize,
        message: impl Into<String>,
        expected: &str,
        help: Option<String>,
    ) -> ExpressionMistake {
        ExpressionMistake::new(start..self.at, message, expected, help)
    }
}
