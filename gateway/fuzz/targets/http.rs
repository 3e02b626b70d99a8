//! The target of [`tidegate_gateway_fuzz::http`].

#![no_main]

use tidegate_gateway_fuzz::{http, write_seeds};

libfuzzer_sys::fuzz_target!(init: write_seeds("http"), |bytes: &[u8]| http::feed(bytes));
