//! Explaining small logs made by hand.
