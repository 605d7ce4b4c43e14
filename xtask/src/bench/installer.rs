//! `consign-install`: how large it is, and how soon it answers.

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;
use serde::Serialize;

use super::measure::{self, Command, Contender, Measured};
use crate::installer;

/// The largest size that is accepted.
const MAX_BYTES: u64 = 3_000_000;
/// The longest time to its own version.
const MAX_MS: f64 = 5.0;
/// How often it is run for every run that was asked for: one is over in no time.
const TIMES: usize = 5;

/// The numbers of the installer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    size_bytes: u64,
    limit_bytes: u64,
    /// Whether it needs nothing of the machine but its kernel.
    is_static: bool,
    ours: Measured,
    limit_ms: f64,
    /// What starting any program costs here, and what another one takes to say its version.
    others: Vec<Measured>,
    pub(super) passed: bool,
}

/// Measures a program, or the one that it builds.
pub(super) fn measure(given: Option<&Utf8Path>, runs: usize) -> Result<Report> {
    let program = given.map_or_else(installer::build, |given| Ok(given.canonicalize_utf8()?))?;
    let bytes = fs_err::read(&program)?;
    let is_static = is_static(&bytes).with_context(|| format!("`{program}` is no program for Linux"))?;
    let command = |argv: &[&str]| Command {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        directory: program.parent().unwrap_or(Utf8Path::new("/")).to_owned(),
    };
    let contenders = [
        Contender::new("consign-install --version", command(&[program.as_str(), "--version"])),
        Contender::new("true", command(&["/bin/true"])),
        Contender::new("curl --version", command(&["curl", "--version"])),
    ];
    let mut measured = measure::in_turns(&contenders, runs * TIMES)?.into_iter();
    let ours = measured.next().context("nothing was measured")?;
    let size_bytes = bytes.len() as u64;
    let passed = size_bytes < MAX_BYTES && ours.median_ms < MAX_MS && is_static;
    let report = Report {
        subject: "installer",
        size_bytes,
        limit_bytes: MAX_BYTES,
        is_static,
        ours,
        limit_ms: MAX_MS,
        others: measured.collect(),
        passed,
    };
    print(&report);
    Ok(report)
}

fn print(report: &Report) {
    println!("Installer, {} runs", report.ours.wall_ms.len());
    let linked = if report.is_static { "static" } else { "NOT static" };
    println!("  {} bytes, {linked}, less than {}", report.size_bytes, report.limit_bytes);
    for measured in std::iter::once(&report.ours).chain(&report.others) {
        println!("  {:<36} {:7.1} ms", measured.name, measured.median_ms);
    }
    println!("  less than {:.1} ms", report.limit_ms);
    println!("  {}", if report.passed { "passed" } else { "FAILED" });
}

/// Whether an ELF file of 64 bits names no other program that would have to load it.
fn is_static(bytes: &[u8]) -> Result<bool> {
    const LOADER: usize = 3;
    let number = |at: usize, length: usize| -> Result<usize> {
        let field = bytes.get(at..at + length).context("it is cut off")?;
        Ok(field.iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte)))
    };
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        bail!("it is no ELF file of 64 bits, little end first");
    }
    let (table, length, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for row in 0..count {
        if number(table + row * length, 4)? == LOADER {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one row of a kind.
    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, kind);
        bytes
    }

    #[test]
    fn a_program_that_has_to_be_loaded_by_another_is_not_static() {
        assert!(!is_static(&elf(3)).unwrap());
        assert!(is_static(&elf(1)).unwrap());
        assert!(is_static(b"#!/bin/sh").is_err());
        assert!(is_static(&elf(1)[..60]).is_err());
    }
}
