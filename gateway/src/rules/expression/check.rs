//! Check: from what was written to the typed tree, or to every mistake of names and types.
//!
//! A part in which something is mistaken gives `None`; what is around it is checked all the same,
//! and no further mistake is made of it.

mod calls;
mod operators;

use std::ops::Range;

use super::node::{Condition, Number, Text, Tree};
use super::syntax::{Kind, Syntax, too_deep};
use super::{DEPTH_MAX, ExpressionMistake, Scope, Type};
use crate::rules::mistake::nearest;
use crate::rules::tree::short;

/// Longest part of an expression that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// Types and lowers a whole expression.
pub(super) fn check(
    text: &str,
    syntax: &Syntax,
    wanted: Type,
    scope: &Scope<'_>,
) -> Result<Tree, Vec<ExpressionMistake>> {
    let mut checker = Checker {
        text,
        scope,
        mistakes: Vec::new(),
        depth: 0,
    };
    let tree = checker.tree(syntax).filter(|tree| {
        let right = kind_of(tree) == wanted;
        if !right {
            let shown = checker.shown(syntax);
            let message = format!("{shown} is {}", kind_of(tree));
            let help = (wanted == Type::Bool && kind_of(tree) == Type::Number)
                .then(|| "compare it with a number, such as `value > 4.5`".to_owned());
            checker.mistake::<Tree>(
                syntax.span.clone(),
                message,
                format!("expected {wanted}"),
                help,
            );
        }
        right
    });
    let mut mistakes = checker.mistakes;
    mistakes.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
    match tree {
        Some(tree) if mistakes.is_empty() => Ok(tree),
        _ => Err(mistakes),
    }
}

fn kind_of(tree: &Tree) -> Type {
    match tree {
        Tree::Number(_) => Type::Number,
        Tree::Condition(_) => Type::Bool,
        Tree::Text(_) => Type::Text,
    }
}

struct Checker<'a> {
    text: &'a str,
    scope: &'a Scope<'a>,
    mistakes: Vec<ExpressionMistake>,
    depth: usize,
}

impl Checker<'_> {
    /// Any part that gives a value.
    fn tree(&mut self, syntax: &Syntax) -> Option<Tree> {
        if self.depth == DEPTH_MAX {
            self.mistakes.push(too_deep(syntax.span.clone()));
            return None;
        }
        self.depth += 1;
        let tree = self.tree_here(syntax);
        self.depth -= 1;
        tree
    }

    fn tree_here(&mut self, syntax: &Syntax) -> Option<Tree> {
        let span = &syntax.span;
        match &syntax.kind {
            Kind::Number(number) => Some(Tree::Number(Number::Literal(*number))),
            Kind::Bool(holds) => Some(Tree::Condition(Condition::Literal(*holds))),
            Kind::Text(text) => Some(Tree::Text(Text::Literal(text.clone()))),
            Kind::Name(name) => self.name(span, name),
            Kind::Field { of, name } => self.field(span, of, name),
            Kind::Index { of, index } => self.index(span, of, index),
            Kind::Negative(of) => self.number(of).map(negative).map(Tree::Number),
            Kind::Not(of) => {
                let of = self.condition(of)?;
                Some(Tree::Condition(Condition::Not(Box::new(of))))
            }
            Kind::All(parts) => {
                let parts = self.each(parts, Self::condition)?;
                Some(Tree::Condition(Condition::All(parts)))
            }
            Kind::Any(parts) => {
                let parts = self.each(parts, Self::condition)?;
                Some(Tree::Condition(Condition::Any(parts)))
            }
            Kind::Choice(parts) => self.choice(span, parts),
            Kind::Binary {
                operator,
                left,
                right,
            } => self.binary(span, operator, left, right),
            Kind::Call {
                on: None,
                name,
                name_span,
                arguments,
            } => self.function(span, name, name_span, arguments),
            Kind::Call {
                on: Some(on),
                name,
                name_span,
                arguments,
            } => self.method(span, on, name, name_span, arguments),
            Kind::List(_) => {
                let message = "a list stands to the right of `in` only";
                self.mistake(
                    span.clone(),
                    message,
                    "such as `unit in [\"C\", \"K\"]`",
                    None,
                )
            }
            Kind::Null => {
                let help = "a tag that is not there is an empty text, a number that is not there \
                            makes the expression undefined";
                self.mistake(span.clone(), "there is no null", "", Some(help.to_owned()))
            }
        }
    }

    fn number(&mut self, syntax: &Syntax) -> Option<Number> {
        match self.tree(syntax)? {
            Tree::Number(number) => Some(number),
            other => self.wrong_type(syntax, &other, Type::Number),
        }
    }

    fn condition(&mut self, syntax: &Syntax) -> Option<Condition> {
        match self.tree(syntax)? {
            Tree::Condition(condition) => Some(condition),
            other => self.wrong_type(syntax, &other, Type::Bool),
        }
    }

    fn words(&mut self, syntax: &Syntax) -> Option<Text> {
        match self.tree(syntax)? {
            Tree::Text(text) => Some(text),
            other => self.wrong_type(syntax, &other, Type::Text),
        }
    }

    /// All of them, and all their mistakes.
    fn each<T>(
        &mut self,
        parts: &[Syntax],
        read: fn(&mut Self, &Syntax) -> Option<T>,
    ) -> Option<Vec<T>> {
        let read: Vec<Option<T>> = parts.iter().map(|part| read(self, part)).collect();
        read.into_iter().collect()
    }

    fn name(&mut self, span: &Range<usize>, name: &str) -> Option<Tree> {
        if let Some(at) = self.scope.numbers.iter().position(|known| *known == name) {
            return Some(Tree::Number(Number::Input(u16::try_from(at).ok()?)));
        }
        let constant = self.scope.texts.iter().find(|known| known.name() == name);
        if let Some(constant) = constant {
            return Some(Tree::Text(Text::Constant(*constant)));
        }
        if name == "tags" && self.scope.tags {
            let help = Some("write `tags.name` or `tags[\"name\"]`".to_owned());
            return self.mistake(span.clone(), "`tags` is no value by itself", "", help);
        }
        let known = self.known_names();
        let help =
            nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let message = format!("there is no `{}` here", short(name));
        let expected = match known.as_slice() {
            [] => "expected literals only".to_owned(),
            names => format!("expected {}", or_list(names)),
        };
        self.mistake(span.clone(), message, expected, help)
    }

    fn known_names(&self) -> Vec<&str> {
        let numbers = self.scope.numbers.iter().copied();
        let texts = self.scope.texts.iter().map(|constant| constant.name());
        let tags = self.scope.tags.then_some("tags.NAME");
        numbers.chain(texts).chain(tags).collect()
    }

    fn field(&mut self, span: &Range<usize>, of: &Syntax, name: &str) -> Option<Tree> {
        if self.is_tags(of) {
            return Some(Tree::Text(Text::Tag(name.to_owned())));
        }
        self.no_parts(span, of)
    }

    fn index(&mut self, span: &Range<usize>, of: &Syntax, index: &Syntax) -> Option<Tree> {
        if !self.is_tags(of) {
            return self.no_parts(span, of);
        }
        if let Kind::Text(name) = &index.kind {
            return Some(Tree::Text(Text::Tag(name.clone())));
        }
        let message = "a tag is named by a text in quotes";
        self.mistake(
            index.span.clone(),
            message,
            "such as `tags[\"line\"]`",
            None,
        )
    }

    fn is_tags(&self, syntax: &Syntax) -> bool {
        self.scope.tags && matches!(&syntax.kind, Kind::Name(name) if name == "tags")
    }

    /// `.name` or `[…]` on what has no parts. What it is on is looked at for mistakes of its own.
    fn no_parts(&mut self, span: &Range<usize>, of: &Syntax) -> Option<Tree> {
        self.tree(of)?;
        let message = format!("{} has no parts", self.shown(of));
        let help = self
            .scope
            .tags
            .then(|| "only tags have: `tags.name` or `tags[\"name\"]`".to_owned());
        self.mistake(span.clone(), message, "", help)
    }

    fn choice(&mut self, span: &Range<usize>, parts: &[Syntax; 3]) -> Option<Tree> {
        let [condition, then, otherwise] = parts;
        let chosen = (
            self.condition(condition),
            self.tree(then),
            self.tree(otherwise),
        );
        let (Some(condition), Some(then_is), Some(otherwise_is)) = chosen else {
            return None;
        };
        let condition = Box::new(condition);
        match (then_is, otherwise_is) {
            (Tree::Number(then), Tree::Number(otherwise)) => Some(Tree::Number(Number::Choice {
                condition,
                then: Box::new(then),
                otherwise: Box::new(otherwise),
            })),
            (Tree::Condition(then), Tree::Condition(otherwise)) => {
                Some(Tree::Condition(Condition::Choice {
                    condition,
                    then: Box::new(then),
                    otherwise: Box::new(otherwise),
                }))
            }
            (Tree::Text(_), Tree::Text(_)) => {
                let message = "`?:` does not choose between texts";
                let expected = "expected two numbers or two conditions";
                self.mistake(span.clone(), message, expected, None)
            }
            (then_is, otherwise_is) => {
                let message = format!(
                    "{} is {}, {} {}: `?:` gives one or the other",
                    self.shown(then),
                    kind_of(&then_is),
                    self.shown(otherwise),
                    kind_of(&otherwise_is),
                );
                self.mistake(span.clone(), message, "expected two of one type", None)
            }
        }
    }

    fn wrong_type<T>(&mut self, syntax: &Syntax, is: &Tree, wanted: Type) -> Option<T> {
        let message = format!("{} is {}", self.shown(syntax), kind_of(is));
        self.mistake(
            syntax.span.clone(),
            message,
            format!("expected {wanted} here"),
            None,
        )
    }

    /// A part as it was written, short.
    fn shown(&self, syntax: &Syntax) -> String {
        quoted(self.text.get(syntax.span.clone()).unwrap_or(""))
    }

    fn mistake<T>(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
        help: Option<String>,
    ) -> Option<T> {
        self.mistakes
            .push(ExpressionMistake::new(span, message, expected, help));
        None
    }
}

/// A part of an expression in a message: one line, short, and as it was written.
pub(super) fn quoted(written: &str) -> String {
    let mut shown: String = written
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|shown| if shown.is_control() { ' ' } else { shown })
        .collect();
    if written.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The number with the other sign; a literal stays one.
fn negative(number: Number) -> Number {
    match number {
        Number::Literal(number) => Number::Literal(-number),
        other => Number::Negative(Box::new(other)),
    }
}

/// `a, b or c`.
fn or_list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
