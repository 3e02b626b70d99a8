//! The typed tree: what of an expression runs, and what the log holds.
//!
//! Each type of value has an enum of its own, so that a tree which cannot be evaluated cannot be
//! written down: whatever is read back from a log is well typed.

use serde::{Deserialize, Serialize};

/// The whole of an expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Tree {
    /// It gives a number.
    Number(Number),
    /// It holds or does not.
    Condition(Condition),
    /// It gives a text.
    Text(Text),
}

/// What gives a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Number {
    /// A finite number.
    Literal(f64),
    /// An input, by its place in the scope's `numbers`.
    Input(u16),
    /// The number with the other sign.
    Negative(Box<Number>),
    /// Two numbers and an operator.
    Arithmetic {
        /// What is done.
        operator: Arithmetic,
        /// On its left.
        left: Box<Number>,
        /// On its right.
        right: Box<Number>,
    },
    /// A function of one number.
    Function {
        /// Which.
        function: Function,
        /// Of what.
        argument: Box<Number>,
    },
    /// The smallest of some.
    Least(Vec<Number>),
    /// The largest of some.
    Greatest(Vec<Number>),
    /// One of two numbers.
    Choice {
        /// Which one.
        condition: Box<Condition>,
        /// When it holds.
        then: Box<Number>,
        /// When it does not.
        otherwise: Box<Number>,
    },
}

/// What holds or does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Condition {
    /// `true` or `false`.
    Literal(bool),
    /// Two numbers compared.
    Compare {
        /// How.
        comparison: Comparison,
        /// On its left.
        left: Box<Number>,
        /// On its right.
        right: Box<Number>,
    },
    /// A number is one of a list.
    NumberIn(Box<Number>, Vec<f64>),
    /// A text is one of a list.
    TextIn(Text, Vec<String>),
    /// Two texts compared.
    Texts {
        /// How.
        relation: Relation,
        /// The text looked at.
        text: Text,
        /// What it is compared with.
        with: Text,
    },
    /// Both conditions hold or neither does.
    Same(Box<Condition>, Box<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// All hold.
    All(Vec<Condition>),
    /// At least one holds.
    Any(Vec<Condition>),
    /// One of two conditions.
    Choice {
        /// Which one.
        condition: Box<Condition>,
        /// When it holds.
        then: Box<Condition>,
        /// When it does not.
        otherwise: Box<Condition>,
    },
}

/// What gives a text: the same for every sample of a sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Text {
    /// A text as it stands.
    Literal(String),
    /// What a sample's sensor is called and is.
    Constant(Constant),
    /// A tag of the sensor; empty when it has none of that name.
    Tag(String),
}

/// A text that every sensor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constant {
    /// The site.
    Site,
    /// The device's name.
    Device,
    /// The sensor's name.
    Sensor,
    /// The sensor's unit.
    Unit,
    /// The sensor's kind.
    Kind,
}

impl Constant {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Site,
        Self::Device,
        Self::Sensor,
        Self::Unit,
        Self::Kind,
    ];

    /// Its name in an expression.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Device => "device",
            Self::Sensor => "sensor",
            Self::Unit => "unit",
            Self::Kind => "kind",
        }
    }
}

/// `+ - * / %`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arithmetic {
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`: what is left of a division towards zero, with the sign of the left side.
    Remainder,
}

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// Without its sign.
    Abs,
    /// Square root.
    Sqrt,
    /// The whole number at or below.
    Floor,
    /// The whole number at or above.
    Ceil,
    /// The nearest whole number, halves away from zero.
    Round,
}

/// `< <= > >= == !=` on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
}

/// How two texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `text.startsWith(with)`.
    StartsWith,
    /// `text.endsWith(with)`.
    EndsWith,
    /// `text.contains(with)`.
    Contains,
}
