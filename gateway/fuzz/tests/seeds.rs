//! What fuzzing begins from holds, and is what it says it is.

use tidegate_gateway_fuzz::http::{Way, ask};
use tidegate_gateway_fuzz::{TARGETS, holds};

/// Something that only the plant has in its answers.
const TELLTALE: &[u8] = b"vibration.rms";

#[test]
fn every_seed_holds() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(seeds.len() > 8, "{}", target.name);
        for seed in seeds {
            (target.feed)(&seed);
        }
    }
}

#[test]
fn the_token_alone_opens_and_then_the_plant_is_told() {
    let told = |shown: &str| holds(&ask(Way::Authorization, shown.as_bytes()), TELLTALE);
    assert!(told("Bearer sesame") && told("Basic bWU6c2VzYW1l"));
    assert!(!told("Bearer sesam") && !told("Basic sesame"));
}

#[test]
fn every_byte_of_a_target_reaches_the_gateway() {
    let heard = ask(Way::Target, b"api/v1/devices?\xff \r\n=1");
    assert!(holds(&heard, b"unknown parameter"));
}
