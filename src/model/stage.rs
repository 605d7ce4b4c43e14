//! The stages of a release, in their one order.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{Code, Failure, text};

/// A stage of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The version is one that may be released.
    Guard,
    /// Tools, compilers and places are there.
    Preflight,
    /// The workspace's own tests.
    Test,
    /// One release build per platform.
    Build,
    /// Archives, SBOMs, index, provenance and checksums.
    Package,
    /// Detached signatures over every file of the bundle.
    Sign,
    /// Everything agrees with everything.
    Verify,
    /// The release notes.
    Notes,
    /// The binaries run.
    Smoke,
    /// The bundle becomes visible.
    Publish,
    /// Fetched again as a stranger would, and verified.
    RemoteVerify,
    /// Expected against published assets.
    Summary,
    /// The published bundle becomes an artifact of the registry.
    Register,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 13] = [
        Self::Guard,
        Self::Preflight,
        Self::Test,
        Self::Build,
        Self::Package,
        Self::Sign,
        Self::Verify,
        Self::Notes,
        Self::Smoke,
        Self::Publish,
        Self::RemoteVerify,
        Self::Summary,
        Self::Register,
    ];

    /// The stage's name on the command line and in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Preflight => "preflight",
            Self::Test => "test",
            Self::Build => "build",
            Self::Package => "package",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Notes => "notes",
            Self::Smoke => "smoke",
            Self::Publish => "publish",
            Self::RemoteVerify => "remote-verify",
            Self::Summary => "summary",
            Self::Register => "register",
        }
    }

    /// Whether a release may be made without it.
    pub const fn can_be_skipped_in_release(self) -> bool {
        !matches!(self, Self::Guard | Self::Preflight | Self::Build | Self::Package | Self::Verify)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = Failure;

    fn from_str(given: &str) -> Result<Self, Failure> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == given).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|stage| stage.as_str()).collect();
            Failure::new(Code::Usage, format!("unknown stage {:?}", text::shown(given)))
                .hint(format!("the stages are {}", names.join(", ")))
        })
    }
}
