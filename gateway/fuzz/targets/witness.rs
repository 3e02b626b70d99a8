//! The target of [`tidegate_gateway_fuzz::witness`].

#![no_main]

use tidegate_gateway_fuzz::{witness, write_seeds};

libfuzzer_sys::fuzz_target!(init: write_seeds("witness"), |bytes: &[u8]| witness::feed(bytes));
