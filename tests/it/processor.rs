//! An archive's bytes do not depend on the processor that compressed it.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::path::PathBuf;
use std::process::Command;

use crate::support::{missing_unless, need, succeed};

/// From a processor without any of the newer instructions to one with everything that is emulated.
const PROCESSORS: [&str; 6] = ["qemu64", "Nehalem", "Haswell", "EPYC", "EPYC,-bmi2,-avx2", "max"];

#[test]
fn an_archive_does_not_depend_on_the_processor() {
    let is_x86 = missing_unless(cfg!(all(target_arch = "x86_64", target_os = "linux")), "an x86-64 Linux");
    if !is_x86 || !need("qemu-x86_64-static") {
        return;
    }
    let program = example("pack_digest");
    if !missing_unless(program.is_file(), "the example `pack_digest`, which `cargo test` builds without `--test`") {
        return;
    }
    let native = succeed(&mut Command::new(&program));
    assert_eq!(native.lines().count(), 6, "{native}");
    std::thread::scope(|scope| {
        for processor in PROCESSORS {
            let (program, native) = (&program, &native);
            scope.spawn(move || {
                let mut emulated = Command::new("qemu-x86_64-static");
                assert_eq!(succeed(emulated.args(["-cpu", processor]).arg(program)), *native, "{processor}");
            });
        }
    });
}

/// Cargo puts examples beside the directory that holds the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name)
}
