//! What a user asked for: every setting resolved, nothing looked up yet.
//!
//! The command line and `consign.toml` end here. [`super::plan`] turns a request, a workspace and a
//! source state into a plan.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::docker_smoke::matrix::Matrix;
use super::interop::Interop;
use crate::catalog::lifetimes::Lifetimes;
use crate::model::index::ArchiveFormat;
use crate::model::{FileName, Platform};
use crate::provider::{ProviderKind, Target};
use crate::world::docker::Address;

/// Every setting that the pipeline reads.
#[derive(Clone, Debug)]
pub struct Request {
    /// The directory from which the workspace is looked for.
    pub directory: Utf8PathBuf,
    /// Where everything is written: `dist/`, below the workspace's root unless absolute.
    pub dist: Utf8PathBuf,
    /// The release version or tag as it was given.
    pub version: Option<String>,
    /// Whether this is a rehearsal or the release.
    pub mode: Mode,
    /// The product's name, if it is not the package's.
    pub name: Option<String>,
    /// The cargo packages to release; empty: found in the workspace.
    pub packages: Vec<String>,
    /// The binaries to release; empty: all of the packages'.
    pub binaries: Vec<String>,
    /// The platforms; empty: the host.
    pub platforms: Vec<Platform>,
    /// How to build where a platform says nothing else.
    pub build: Build,
    /// What is different for a platform.
    pub platform: BTreeMap<Platform, PlatformBuild>,
    /// How archives are made.
    pub archive: ArchiveOptions,
    /// Which installers are rendered, and what they know.
    pub installer: Installer,
    /// Commands around the stages: `before-build` → one or more argument lists.
    pub hooks: BTreeMap<String, Vec<Vec<String>>>,
    /// What the stage `test` runs.
    pub test: Vec<String>,
    /// What the stage `smoke` runs.
    pub smoke: Smoke,
    /// A template of the user's own for the release notes.
    pub notes_template: Option<Utf8PathBuf>,
    /// Where to publish to, if anywhere.
    pub publish: Option<Publish>,
    /// Where what was published can be fetched from; default: the provider's own address.
    pub remote_base_url: Option<String>,
    /// The registry that what was published becomes an artifact of, if any.
    pub register: Option<Register>,
    /// What the environment says of the run of a build server.
    pub job: Job,
    /// How long the documents of the catalog are good for.
    pub catalog: Lifetimes,
    /// What the rendered workflows do.
    pub workflows: Workflows,
    /// What other installers are given to read.
    pub interop: Interop,
    /// `SOURCE_DATE_EPOCH`, if it is set.
    pub source_date_epoch: Option<i64>,
    /// The variables of the environment that bear on a build: where cargo and rustc are, and the
    /// user's own compiler flags.
    pub environment: BTreeMap<String, String>,
    /// The names of variables that look like secrets: programs that are only tried out get none.
    pub withheld: Vec<String>,
}

impl Request {
    /// The cargo to run.
    pub fn cargo(&self) -> &str {
        self.environment.get("CARGO").map_or("cargo", String::as_str)
    }

    /// The compiler that cargo runs.
    pub fn rustc(&self) -> &str {
        self.environment.get("RUSTC").map_or("rustc", String::as_str)
    }
}

/// Whether a run may publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A rehearsal: everything but publishing.
    #[default]
    Validate,
    /// The release: a clean tree, a commit, and every check.
    Release,
}

impl Mode {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Release => "release",
        }
    }
}

/// How to build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The builder.
    pub builder: Builder,
    /// The argument list of [`Builder::Command`].
    pub command: Vec<String>,
    /// The cargo profile; `release` unless named.
    pub profile: Option<String>,
    /// Features to switch on.
    pub features: Vec<String>,
    /// Switch on every feature.
    pub all_features: bool,
    /// Leave the default features off.
    pub no_default_features: bool,
}

/// What is different for one platform. Absent values are those of [`Build`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlatformBuild {
    /// Another Rust target triple (`x86_64-unknown-linux-gnu.2.17` where the builder is zigbuild).
    pub target: Option<String>,
    /// Another builder.
    pub builder: Option<Builder>,
    /// Another argument list of [`Builder::Command`].
    pub command: Vec<String>,
    /// The linker, for [`Builder::Cargo`].
    pub linker: Option<String>,
    /// The program that runs this platform's binaries on this host, such as qemu.
    pub runner: Vec<String>,
    /// More features.
    pub features: Vec<String>,
    /// More arguments for cargo.
    pub arguments: Vec<String>,
    /// Variables for the build: `RUSTC`, `CC`…
    pub environment: BTreeMap<String, String>,
    /// Another archive format.
    pub format: Option<ArchiveFormat>,
}

/// What turns source code into binaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Builder {
    /// `cargo build`, with a linker for the target where it needs one.
    #[default]
    Cargo,
    /// `cargo zigbuild`: zig is the linker and the C compiler.
    Zigbuild,
    /// `cross build`: a container with everything in it.
    Cross,
    /// Any command, told by its environment what to make and where.
    Command,
}

impl Builder {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Zigbuild => "zigbuild",
            Self::Cross => "cross",
            Self::Command => "command",
        }
    }
}

/// How archives are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// The format; default: zip for Windows, tar.gz elsewhere.
    pub format: Option<ArchiveFormat>,
    /// The file name without its ending, with `{name}`, `{version}`, `{platform}` and `{target}`.
    pub name_pattern: Option<String>,
    /// More files to pack: globs below the workspace's root.
    pub include: Vec<String>,
    /// The compression level; default: 6 for gzip and zip, 19 for zstd.
    pub level: Option<u8>,
}

/// Which installers are rendered, and what they know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installer {
    /// Whether there is one for POSIX shells.
    pub sh: bool,
    /// Whether there is one for Windows; default: if the release is for Windows too.
    pub ps1: Option<bool>,
    /// Where a release is fetched from, with `{tag}` and `{version}`; default: the releases of a GitHub
    /// repository.
    pub base_url: Option<String>,
    /// The catalog's root that they carry: a path below the workspace's root.
    pub root: Option<String>,
}

/// What the stage `smoke` runs.
#[derive(Clone, Debug)]
pub struct Smoke {
    /// Whether the programs are run on this host.
    pub on_host: bool,
    /// The services to run in containers, if any.
    pub containers: Option<Containers>,
    /// Whether the user chose the commands; the default ones may be refused by a program.
    pub is_configured: bool,
    /// Argument lists, given to each binary.
    pub commands: Vec<Vec<String>>,
    /// How long one may take.
    pub timeout: Duration,
}

/// What the rendered workflows do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workflows {
    /// The environment of the forge that guards publishing and holds its secrets.
    pub environment: String,
    /// Whether the forge attests every release.
    pub attestations: bool,
    /// The branch that a released commit has to be part of.
    pub branch: Option<String>,
    /// The platforms, if they are not those of the settings.
    pub platforms: Vec<Platform>,
}

/// Services in containers.
#[derive(Clone, Debug)]
pub struct Containers {
    /// The services.
    pub matrix: Matrix,
    /// Those of them that run once more, on what was published.
    pub published: Option<Matrix>,
    /// Where an engine may listen.
    pub addresses: Vec<Address>,
}

/// Where the stage `smoke` runs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SmokePlace {
    /// The programs of this host's platform, here.
    Host,
    /// The services of docker/smoke.toml, in containers.
    Docker,
}

/// Where to publish to.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The provider.
    pub provider: ProviderKind,
    /// The place as it was given: a directory, or a repository.
    pub target: String,
    /// The same with everything that is needed to reach it.
    pub place: Target,
}

/// A registry of artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Its address.
    pub address: String,
    /// What the artifact is one of; default: the product's name.
    pub service: Option<FileName>,
}

/// The run of a build server, as far as its environment tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Its page.
    pub url: Option<String>,
    /// The full ref that it was started for.
    pub reference: Option<String>,
}

/// The product's default name pattern.
pub const NAME_PATTERN: &str = "{name}-{version}-{platform}";
