//! Tables of numbers.
