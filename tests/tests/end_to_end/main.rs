//! Tidegate end to end: the release binary, a real broker, real HTTP, killed processes.
//!
//! One binary for all, so that the long tests, which mostly wait, run beside each other. Tests on
//! the documented ports hold `FixedPorts`; the others take free ones.

mod adversary;
mod bad_config;
mod bad_input;
mod beside;
mod bill;
mod bill_tls;
mod budget;
mod claimant;
mod collector;
mod databases;
mod dead_letters;
mod dead_sink;
mod demo;
mod documentation;
mod firmware;
mod firmware_readme;
mod first_minutes;
mod full_disk;
mod idle_writing;
mod killed;
mod logs;
mod many_kills;
mod memory;
mod misbehaviour;
mod passage;
mod power_cut;
mod raw_device;
mod readme;
mod real_input;
mod reload;
mod reload_judge;
mod restart;
mod sink_mqtt;
mod sink_nats;
mod sparkplug;
mod start_errors;
mod throughput;
mod tls;
mod tools;
mod trust;
mod upstream_bytes;
mod watch;
mod whole;
mod wire;
