//! The cargo workspace and the compiler, as `cargo metadata` and `rustc -vV` tell of them.
//!
//! Reading a workspace runs no code of the workspace, downloads nothing and needs no lock file.
//! Which crates a build really takes in is asked in [`super::resolve`].

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use semver::Version;

use super::process::Program;
use crate::model::failure::Result;
use crate::model::metadata::Compiler;
use crate::model::{Code, Failure, text};

/// A cargo workspace.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its root directory.
    pub root: Utf8PathBuf,
    /// Where cargo puts what it builds.
    pub target_directory: Utf8PathBuf,
    /// Its members, sorted by name.
    pub members: Vec<Member>,
    /// Whether there is a `Cargo.lock`.
    pub has_lock: bool,
    /// The path dependencies of its members that are outside of its root, sorted by name.
    pub outside: Vec<String>,
}

/// One package of a workspace.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The directory of its manifest.
    pub directory: Utf8PathBuf,
    /// Whether its manifest is the workspace's root manifest.
    pub is_root: bool,
    /// Whether cargo takes it when none is named.
    pub is_default: bool,
    /// Whether it may be published to some registry. Chores such as an `xtask` usually may not.
    pub is_publishable: bool,
    /// Its programs, sorted by name.
    pub binaries: Vec<BinaryTarget>,
    /// The program that `cargo run` starts.
    pub default_run: Option<String>,
    /// Its features and what each switches on.
    pub features: BTreeMap<String, Vec<String>>,
    /// The oldest compiler that it says it works with.
    pub rust_version: Option<Version>,
    /// Its repository's address, without credentials.
    pub repository: Option<String>,
    /// One line about it.
    pub description: Option<String>,
    /// Its own page, without credentials.
    pub homepage: Option<String>,
    /// Its licence expression.
    pub licence: Option<String>,
    /// Its README, below its directory.
    pub readme: Option<Utf8PathBuf>,
    /// Its licence file, if its manifest names one, below its directory.
    pub licence_file: Option<Utf8PathBuf>,
}

/// One program of a package.
#[derive(Clone, Debug)]
pub struct BinaryTarget {
    /// Its name, without any suffix.
    pub name: String,
    /// The features without which cargo leaves it out.
    pub required_features: Vec<String>,
}

impl Member {
    /// The programs that are built with a choice of features.
    pub fn binaries_with(&self, choice: &FeatureChoice<'_>) -> Vec<&str> {
        let on = choice.closure(&self.name, &self.features);
        self.binaries
            .iter()
            .filter(|binary| choice.all || binary.required_features.iter().all(|feature| on.contains(feature.as_str())))
            .map(|binary| binary.name.as_str())
            .collect()
    }
}

/// Which features are switched on.
#[derive(Clone, Copy, Debug)]
pub struct FeatureChoice<'a> {
    /// The named ones: `feature` or `package/feature`.
    pub named: &'a [String],
    /// All of them.
    pub all: bool,
    /// The default ones too.
    pub with_default: bool,
}

impl FeatureChoice<'_> {
    fn closure<'a>(&'a self, package: &str, features: &'a BTreeMap<String, Vec<String>>) -> BTreeSet<&'a str> {
        let named = self.named.iter().filter_map(|name| match name.split_once('/') {
            Some((of, feature)) => (of == package).then_some(feature),
            None => Some(name.as_str()),
        });
        let mut open: Vec<&str> = named.chain(self.with_default.then_some("default")).collect();
        let mut on = BTreeSet::new();
        while let Some(feature) = open.pop() {
            if on.insert(feature) {
                open.extend(features.get(feature).into_iter().flatten().map(String::as_str));
            }
        }
        on
    }
}

/// Reads the workspace that a directory belongs to.
pub fn workspace(cargo: &str, directory: &Utf8Path) -> Result<Workspace> {
    let program = Program::new(cargo).args(["metadata", "--format-version", "1", "--no-deps"]).directory(directory);
    let output = program.output()?;
    if !output.status.success() {
        return Err(unreadable(&output.complaint(), directory));
    }
    let metadata = MetadataCommand::parse(output.text()).map_err(|error| {
        Failure::new(Code::WorkspaceInvalid, "failed to read the answer of `cargo metadata`").because(error)
    })?;
    Ok(from_metadata(&metadata))
}

fn unreadable(complaint: &str, directory: &Utf8Path) -> Failure {
    if complaint.contains("could not find `Cargo.toml`") {
        return Failure::new(
            Code::WorkspaceMissing,
            format!("there is no cargo workspace in `{directory}` or above it"),
        )
        .subject(directory.as_str())
        .hint("change to a directory with a Cargo.toml, or name one with `--directory`");
    }
    if complaint.contains("toolchain '") && complaint.contains("is not installed") {
        let message = format!("the Rust toolchain that `{directory}` asks for is not installed");
        return Failure::new(Code::ToolMissing, message)
            .subject(directory.as_str())
            .because(complaint.lines().next().unwrap_or_default().to_owned())
            .hint("run `rustup toolchain install` there, or choose another with the variable RUSTUP_TOOLCHAIN");
    }
    Failure::new(Code::WorkspaceInvalid, format!("cargo cannot read the workspace in `{directory}`"))
        .subject(directory.as_str())
        .because(complaint.to_owned())
        .hint("`cargo metadata --no-deps` shows the same error")
}

fn from_metadata(metadata: &Metadata) -> Workspace {
    let root_manifest = metadata.workspace_root.join("Cargo.toml");
    let defaults: BTreeSet<_> = if metadata.workspace_default_members.is_available() {
        metadata.workspace_default_members.iter().cloned().collect()
    } else {
        metadata.workspace_members.iter().cloned().collect()
    };
    let mut members: Vec<_> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let mut binaries: Vec<_> = package
                .targets
                .iter()
                .filter(|target| target.is_bin())
                .map(|target| BinaryTarget {
                    name: target.name.clone(),
                    required_features: target.required_features.clone(),
                })
                .collect();
            binaries.sort_by(|a, b| a.name.cmp(&b.name));
            Member {
                name: package.name.to_string(),
                version: package.version.clone(),
                directory: package.manifest_path.parent().unwrap_or(&metadata.workspace_root).to_owned(),
                is_root: package.manifest_path == root_manifest,
                is_default: defaults.contains(&package.id),
                is_publishable: package.publish.as_ref().is_none_or(|registries| !registries.is_empty()),
                binaries,
                default_run: package.default_run.clone(),
                features: package.features.clone(),
                rust_version: package.rust_version.clone(),
                repository: package.repository.as_deref().map(|url| text::without_credentials(url).into_owned()),
                description: package.description.clone(),
                homepage: package.homepage.as_deref().map(|url| text::without_credentials(url).into_owned()),
                licence: package.license.clone(),
                readme: package.readme.clone(),
                licence_file: package.license_file.clone(),
            }
        })
        .collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let outside: BTreeSet<_> = metadata
        .workspace_packages()
        .into_iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .filter(|dependency| dependency.path.as_ref().is_some_and(|path| !path.starts_with(&metadata.workspace_root)))
        .map(|dependency| dependency.name.clone())
        .collect();
    Workspace {
        outside: outside.into_iter().collect(),
        root: metadata.workspace_root.clone(),
        target_directory: metadata.target_directory.clone(),
        has_lock: metadata.workspace_root.join("Cargo.lock").is_file(),
        members,
    }
}

/// Whether `Cargo.lock` fits the manifests.
pub fn check_lock(cargo: &str, directory: &Utf8Path) -> Result<()> {
    // `--locked` makes cargo resolve and compare without writing; nothing else is of interest here.
    let output =
        Program::new(cargo).args(["metadata", "--format-version", "1", "--locked"]).directory(directory).output()?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = output.complaint();
    if complaint.contains("--locked") {
        return Err(Failure::new(Code::LockOutdated, "Cargo.lock does not fit the manifests")
            .subject("Cargo.lock")
            .hint("run `cargo update --workspace` and commit Cargo.lock"));
    }
    Err(unreadable(&complaint, directory))
}

/// The compiler that cargo uses in a directory.
pub fn compiler(rustc: &str, directory: &Utf8Path) -> Result<Compiler> {
    let told = Program::new(rustc).arg("-vV").directory(directory).read().map_err(|failure| match failure.code() {
        Code::ToolMissing => failure.hint("install Rust with rustup, or with your system's packages"),
        _ => failure,
    })?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
    Ok(Compiler { version: told.lines().next().unwrap_or_default().to_owned(), host })
}

/// The version number in `rustc 1.95.0 (59807616e 2026-04-14)`.
pub fn compiler_number(compiler: &Compiler) -> Option<Version> {
    compiler.version.split_whitespace().nth(1).and_then(|number| Version::parse(number).ok())
}

/// Whether the standard library of a target is installed.
pub fn has_standard_library(rustc: &str, directory: &Utf8Path, target: &str) -> Result<bool> {
    let output =
        Program::new(rustc).args(["--print", "target-libdir", "--target", target]).directory(directory).output()?;
    if !output.status.success() {
        return Err(Failure::new(Code::TargetMissing, format!("the compiler does not know the target `{target}`"))
            .subject(target)
            .because(output.complaint())
            .hint("`rustc --print target-list` prints what it knows"));
    }
    let directory = Utf8PathBuf::from(output.text());
    Ok(super::files::list(&directory)
        .is_ok_and(|names| names.iter().any(|(name, _)| name.starts_with("libstd-") || name.starts_with("libcore-"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_switch_on_other_features() {
        let features = BTreeMap::from([
            ("default".to_owned(), vec!["a".to_owned()]),
            ("a".to_owned(), vec!["b".to_owned(), "dep:x".to_owned()]),
            ("c".to_owned(), vec![]),
        ]);
        let named = ["other/c".to_owned()];
        let choice = FeatureChoice { named: &named, all: false, with_default: true };
        let on = choice.closure("tool", &features);
        assert!(on.contains("b") && !on.contains("c"));
        assert!(choice.closure("other", &features).contains("c"));
    }
}
