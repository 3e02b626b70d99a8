//! Expressions: conditions and computed values of rules.

use serde::{Deserialize, Serialize};

/// An expression that was read and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expression {
    /// As typed.
    pub text: String,
}
