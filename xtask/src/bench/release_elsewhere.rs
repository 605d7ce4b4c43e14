//! The bench of releases, where the server is not built in: it is built, optimised, and run as another process.

use anyhow::Result;
use camino::Utf8Path;
use consign::world::process::{Line, Program};
use serde::Serialize;

use crate::repository;

/// What is known here of what was measured there.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    passed: bool,
}

impl Report {
    /// Whether every limit is kept.
    pub(super) const fn passed(&self) -> bool {
        self.passed
    }
}

/// Has it measured.
pub(super) fn measure(server: Option<&Utf8Path>, runs: usize) -> Result<Report> {
    let cargo = ["run", "--quiet", "--release", "--package", "xtask", "--features", "server", "--"];
    let bench = ["bench", "release", "--runs", &runs.to_string()].map(str::to_owned);
    let server = server.into_iter().flat_map(|server| ["--server", server.as_str()]);
    let status =
        Program::new("cargo").args(cargo).args(bench).args(server).directory(repository::root()).stream(&|line| {
            match line {
                Line::Output(line) => println!("{line}"),
                Line::Error(line) => eprintln!("{line}"),
            }
        })?;
    Ok(Report { subject: "release", passed: status.success() })
}

/// It has been shown there.
pub(super) const fn print(_report: &Report) {}
