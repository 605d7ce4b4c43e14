//! The plan's platforms in the form that a CI matrix takes.

use serde::Serialize;

use super::plan::PlatformPlan;
use super::request::Builder;
use crate::model::Platform;

/// A CI matrix.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// One job per platform.
    pub include: Vec<MatrixJob>,
}

/// One job of a CI matrix.
#[derive(Clone, Debug, Serialize)]
pub struct MatrixJob {
    /// The platform.
    pub platform: Platform,
    /// The Rust target triple.
    pub target: String,
    /// The builder.
    pub builder: Builder,
    /// The label of the machine that can build it.
    pub runner: &'static str,
}

impl Matrix {
    /// One job for each platform, on a machine that can build it.
    pub(super) fn of(platforms: &[PlatformPlan]) -> Self {
        let job = |platform: &PlatformPlan| MatrixJob {
            platform: platform.platform,
            target: platform.target.clone(),
            builder: platform.builder,
            runner: match (platform.builder, platform.platform.name()) {
                (Builder::Cargo, "linux-arm64" | "linux-arm64-musl") => "ubuntu-24.04-arm",
                (Builder::Cargo, "macos-arm64") => "macos-15",
                (Builder::Cargo, "macos-amd64") => "macos-15-intel",
                (Builder::Cargo, "windows-arm64") => "windows-11-arm",
                (Builder::Cargo, name) if name.starts_with("windows-") => "windows-2025",
                _ => "ubuntu-24.04",
            },
        };
        Self { include: platforms.iter().map(job).collect() }
    }
}
