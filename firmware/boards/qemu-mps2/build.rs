//! Puts the linker's files where it looks for them.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for file in ["memory.x", "device.x"] {
        fs::copy(file, out.join(file)).expect("a folder that can be written");
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=build.rs");
}
