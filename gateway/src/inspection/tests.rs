//! Scripts for inspection and repair.
