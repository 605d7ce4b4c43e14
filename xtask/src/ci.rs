//! `cargo xtask ci`: the fast gate to run before a push.
//!
//! It runs what is installed and says what it leaves out; `.ci/run` installs everything first and
//! leaves nothing out.

use std::time::Instant;

use anyhow::{Context as _, Result};
use consign::model::Code;
use consign::world::process::{Line, Program};

use crate::repository;

/// What is run, in order: the program that has to be there, and the command.
const STEPS: &[(&str, &[&str])] = &[
    ("cargo", &["cargo", "fmt", "--all", "--check"]),
    ("cargo", &["cargo", "clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ("typos", &["typos"]),
    ("cargo-deny", &["cargo", "deny", "--log-level", "error", "check", "bans", "licenses", "sources"]),
    ("cargo", &["cargo", "test", "--quiet", "--workspace"]),
];

/// Runs every step and tells whether all passed; a failed step does not stop the next.
pub(crate) fn run() -> Result<bool> {
    let mut passed = crate::tidy::run()?;
    for (needs, argv) in STEPS {
        if !is_installed(needs)? {
            eprintln!("ci: `{needs}` is not installed; left out: {}", argv.join(" "));
            continue;
        }
        passed &= step(argv)?;
    }
    eprintln!("ci: {}", if passed { "passed" } else { "failed" });
    Ok(passed)
}

fn step(argv: &[&str]) -> Result<bool> {
    let shown = argv.join(" ");
    eprintln!("ci: {shown}");
    let started = Instant::now();
    let argv: Vec<_> = argv.iter().map(|&word| word.to_owned()).collect();
    let program = Program::of(&argv).context("a step has no program")?.directory(repository::root());
    let status = program.stream(&|line| match line {
        Line::Output(line) => println!("{line}"),
        Line::Error(line) => eprintln!("{line}"),
    })?;
    let word = if status.success() { "passed" } else { "FAILED" };
    eprintln!("ci: {shown}: {word} after {:.1} s", started.elapsed().as_secs_f64());
    Ok(status.success())
}

fn is_installed(program: &str) -> Result<bool> {
    match Program::new(program).arg("--version").output() {
        Ok(_) => Ok(true),
        Err(failure) if failure.code() == Code::ToolMissing => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}
