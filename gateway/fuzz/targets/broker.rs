//! The target of [`tidegate_gateway_fuzz::broker`].

#![no_main]

use tidegate_gateway_fuzz::{broker, write_seeds};

libfuzzer_sys::fuzz_target!(init: write_seeds("broker"), |bytes: &[u8]| broker::feed(bytes));
