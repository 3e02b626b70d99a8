//! Syntax: from tokens to what was written, with its places; precedence as in CEL's grammar.
//!
//! ```text
//! expression = any ["?" any ":" expression]
//! any        = all {"||" all}          all     = relation {"&&" relation}
//! relation   = sum {("<"|"<="|">"|">="|"=="|"!="|"in") sum}
//! sum        = product {("+"|"-") product}
//! product    = unary {("*"|"/"|"%") unary}
//! unary      = ("!"|"-") unary | member
//! member     = primary {"." name ["(" arguments ")"] | "[" expression "]"}
//! primary    = literal | name ["(" arguments ")"] | "(" expression ")" | "[" arguments "]"
//! ```

use std::ops::Range;

use super::check::quoted;
use super::lexer::{Placed, Token, tokens};
use super::{DEPTH_MAX, ExpressionMistake};

/// A part of an expression as it was written.
#[derive(Debug)]
pub(super) struct Syntax {
    /// Bytes of the text, brackets around it left out.
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
}

/// What was written.
#[derive(Debug)]
pub(super) enum Kind {
    Number(f64),
    Text(String),
    Bool(bool),
    Null,
    Name(String),
    Not(Box<Syntax>),
    Negative(Box<Syntax>),
    /// Two sides and the operator between them.
    Binary {
        operator: &'static str,
        left: Box<Syntax>,
        right: Box<Syntax>,
    },
    /// Two or more joined by `&&`.
    All(Vec<Syntax>),
    /// Two or more joined by `||`.
    Any(Vec<Syntax>),
    Choice(Box<[Syntax; 3]>),
    List(Vec<Syntax>),
    /// `name(arguments)` or `on.name(arguments)`.
    Call {
        on: Option<Box<Syntax>>,
        name: String,
        name_span: Range<usize>,
        arguments: Vec<Syntax>,
    },
    /// `of.name`.
    Field {
        of: Box<Syntax>,
        name: String,
    },
    /// `of[index]`.
    Index {
        of: Box<Syntax>,
        index: Box<Syntax>,
    },
}

/// Reads a whole expression.
pub(super) fn read(text: &str) -> Result<Syntax, ExpressionMistake> {
    let mut reader = Reader {
        tokens: tokens(text)?,
        text,
        at: 0,
        depth: 0,
    };
    let syntax = reader.expression()?;
    if reader.peek() == &Token::End {
        Ok(syntax)
    } else {
        Err(reader.unexpected("an operator or the end"))
    }
}

type Read = Result<Syntax, ExpressionMistake>;

struct Reader<'t> {
    text: &'t str,
    /// Ends with `End`, which is never passed.
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn placed(&self) -> &Placed {
        const END: &Placed = &(Token::End, 0..0);
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .unwrap_or(END)
    }

    fn peek(&self) -> &Token {
        &self.placed().0
    }

    fn span(&self) -> Range<usize> {
        self.placed().1.clone()
    }

    /// Where the token before ends.
    fn end(&self) -> usize {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        before.map_or(0, |(_, span)| span.end)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let there = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        self.at += usize::from(there);
        there
    }

    fn take_one(&mut self, symbols: &[&'static str]) -> Option<&'static str> {
        symbols.iter().find(|symbol| self.take(symbol)).copied()
    }

    fn want(&mut self, symbol: &str) -> Result<(), ExpressionMistake> {
        if self.take(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{symbol}`")))
        }
    }

    /// Reads one level deeper, unless that is too deep.
    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Read) -> Read {
        if self.depth == DEPTH_MAX {
            return Err(too_deep(self.span()));
        }
        self.depth += 1;
        let syntax = read(self);
        self.depth -= 1;
        syntax
    }

    fn expression(&mut self) -> Read {
        self.deeper(|reader| {
            let condition = reader.any()?;
            if !reader.take("?") {
                return Ok(condition);
            }
            let then = reader.any()?;
            reader.want(":")?;
            let otherwise = reader.expression()?;
            let span = condition.span.start..otherwise.span.end;
            let kind = Kind::Choice(Box::new([condition, then, otherwise]));
            Ok(Syntax { span, kind })
        })
    }

    fn any(&mut self) -> Read {
        self.joined("||", Self::all, Kind::Any)
    }

    fn all(&mut self) -> Read {
        self.joined("&&", Self::relation, Kind::All)
    }

    fn joined(
        &mut self,
        operator: &str,
        part: fn(&mut Self) -> Read,
        kind: fn(Vec<Syntax>) -> Kind,
    ) -> Read {
        let start = self.span().start;
        let first = part(self)?;
        if !self.take(operator) {
            return Ok(first);
        }
        let mut parts = vec![first, part(self)?];
        while self.take(operator) {
            parts.push(part(self)?);
        }
        let span = start..self.end();
        Ok(Syntax {
            span,
            kind: kind(parts),
        })
    }

    fn relation(&mut self) -> Read {
        let start = self.span().start;
        let mut left = self.sum()?;
        loop {
            let comparison = self.take_one(&["<=", ">=", "==", "!=", "<", ">"]);
            let operator = match (comparison, self.peek()) {
                (Some(comparison), _) => comparison,
                (None, Token::Name(name)) if name == "in" => {
                    self.at += 1;
                    "in"
                }
                _ => return Ok(left),
            };
            let right = self.sum()?;
            left = self.binary(start, operator, left, right);
        }
    }

    fn sum(&mut self) -> Read {
        self.chain(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Read {
        self.chain(&["*", "/", "%"], Self::unary)
    }

    fn chain(&mut self, operators: &[&'static str], part: fn(&mut Self) -> Read) -> Read {
        let start = self.span().start;
        let mut left = part(self)?;
        while let Some(operator) = self.take_one(operators) {
            let right = part(self)?;
            left = self.binary(start, operator, left, right);
        }
        Ok(left)
    }

    fn binary(&self, start: usize, operator: &'static str, left: Syntax, right: Syntax) -> Syntax {
        Syntax {
            span: start..self.end(),
            kind: Kind::Binary {
                operator,
                left: Box::new(left),
                right: Box::new(right),
            },
        }
    }

    fn unary(&mut self) -> Read {
        let start = self.span().start;
        let kind = match self.take_one(&["!", "-"]) {
            Some("!") => Kind::Not,
            Some(_) => Kind::Negative,
            None => return self.member(),
        };
        let operand = self.deeper(Self::unary)?;
        let span = start..operand.span.end.max(self.end());
        Ok(Syntax {
            span,
            kind: kind(Box::new(operand)),
        })
    }

    fn member(&mut self) -> Read {
        let start = self.span().start;
        let mut of = self.primary()?;
        loop {
            let kind = if self.take(".") {
                let name_span = self.span();
                let Token::Name(name) = self.peek().clone() else {
                    return Err(self.unexpected("a name"));
                };
                self.at += 1;
                if self.take("(") {
                    let arguments = self.arguments(")")?;
                    Kind::Call {
                        on: Some(Box::new(of)),
                        name,
                        name_span,
                        arguments,
                    }
                } else {
                    Kind::Field {
                        of: Box::new(of),
                        name,
                    }
                }
            } else if self.take("[") {
                let index = Box::new(self.expression()?);
                self.want("]")?;
                Kind::Index {
                    of: Box::new(of),
                    index,
                }
            } else {
                return Ok(of);
            };
            let span = start..self.end();
            of = Syntax { span, kind };
        }
    }

    fn primary(&mut self) -> Read {
        let span = self.span();
        let kind = match self.peek().clone() {
            Token::Number(number) => Kind::Number(number),
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) if name == "true" => Kind::Bool(true),
            Token::Name(name) if name == "false" => Kind::Bool(false),
            Token::Name(name) if name == "null" => Kind::Null,
            Token::Name(name) if name != "in" => return self.named(name),
            Token::Symbol("(") => return self.bracketed(),
            Token::Symbol("[") => {
                self.at += 1;
                let parts = self.arguments("]")?;
                let span = span.start..self.end();
                return Ok(Syntax {
                    span,
                    kind: Kind::List(parts),
                });
            }
            _ => return Err(self.unexpected("a number, a name, a text or `(`")),
        };
        self.at += 1;
        Ok(Syntax { span, kind })
    }

    /// Reads a name or the call of a function.
    fn named(&mut self, name: String) -> Read {
        let name_span = self.span();
        self.at += 1;
        if !self.take("(") {
            return Ok(Syntax {
                span: name_span,
                kind: Kind::Name(name),
            });
        }
        let arguments = self.arguments(")")?;
        Ok(Syntax {
            span: name_span.start..self.end(),
            kind: Kind::Call {
                on: None,
                name,
                name_span,
                arguments,
            },
        })
    }

    fn bracketed(&mut self) -> Read {
        self.at += 1;
        let inside = self.expression()?;
        self.want(")")?;
        Ok(inside)
    }

    /// Reads expressions with commas between them, and the bracket that ends them.
    fn arguments(&mut self, closing: &'static str) -> Result<Vec<Syntax>, ExpressionMistake> {
        let mut arguments = Vec::new();
        if self.take(closing) {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if self.take(closing) {
                return Ok(arguments);
            }
            if !self.take(",") {
                return Err(self.unexpected(&format!("`,` or `{closing}`")));
            }
        }
    }

    /// What is there is not what could be.
    fn unexpected(&self, expected: &str) -> ExpressionMistake {
        let (token, span) = self.placed();
        let written = self.text.get(span.clone()).unwrap_or("");
        let message = match token {
            Token::End if self.at == 0 => "the expression is empty".to_owned(),
            Token::End => "the expression ends too early".to_owned(),
            _ => format!("{} does not belong here", quoted(written)),
        };
        ExpressionMistake::new(
            span.clone(),
            message,
            format!("expected {expected}"),
            self.slip(token),
        )
    }

    /// What to write instead of what other languages write.
    fn slip(&self, token: &Token) -> Option<String> {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        let after = self.tokens.get(self.at + 1);
        let help = match (before.map(|(before, _)| before), token) {
            (_, Token::Name(name)) if name.eq_ignore_ascii_case("and") => "write `&&`",
            (_, Token::Name(name)) if name.eq_ignore_ascii_case("or") => "write `||`",
            (_, Token::Name(name)) if name.eq_ignore_ascii_case("mod") => "write `%`",
            (Some(Token::Name(name)), _) if name.eq_ignore_ascii_case("not") => "write `!`",
            (Some(Token::Symbol("<")), Token::Symbol(">")) => "write `!=`",
            (Some(Token::Symbol("*")), Token::Symbol("*")) => "there are no powers: write `x * x`",
            (Some(Token::Number(_)), Token::Symbol(","))
                if matches!(after, Some((Token::Number(_), _))) =>
            {
                "decimals are written with a point"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }
}

/// More nesting than is read.
pub(super) fn too_deep(span: Range<usize>) -> ExpressionMistake {
    ExpressionMistake::new(
        span,
        "the expression is nested too deeply here",
        format!("expected at most {DEPTH_MAX} levels"),
        Some("say it in several rules".to_owned()),
    )
}
