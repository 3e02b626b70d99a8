//! The target of [`tidegate_gateway_fuzz::control`].

#![no_main]

use tidegate_gateway_fuzz::{control, write_seeds};

libfuzzer_sys::fuzz_target!(init: write_seeds("control"), |bytes: &[u8]| control::feed(bytes));
