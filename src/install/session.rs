//! One installation, from what is wanted to what can be run.
//!
//! [`install`] decides whether there is anything to do before it fetches an archive, and changes
//! nothing that can be seen before its last step.

use std::time::Duration;

use camino::Utf8PathBuf;
use semver::Version;
use serde::Serialize;

use super::activate::{self, Activated, activate};
use super::host::Host;
use super::installed::{self, Installed};
use super::lock::{Turn, lock};
use super::prefix::Prefix;
use super::receipt::{self, Origin, Receipt, Trust};
use super::resolve::{Resolved, Wish};
use super::staging::Staging;
use super::unpack;
use crate::model::failure::Result;
use crate::model::index::{Index, Package};
use crate::model::{Code, Digest, Failure, FileName, Platform, text};
use crate::pipeline::events::{Event, Listener};
use crate::world::http::Client;
use crate::world::process::Program;

/// The document type of an [`Installation`].
pub const TYPE: &str = "consign.installation/v1";
/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How the version is put in use.
    pub activation: activate::Options,
    /// Whether an older version may take the place of a newer one.
    pub allow_downgrade: bool,
    /// Whether each program is run once before it is used.
    pub run: bool,
    /// Whether everything is done but the installation itself.
    pub dry_run: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It is there now, for the first time.
    Installed,
    /// It took the place of another version.
    Replaced,
    /// It was there.
    Unchanged,
    /// It would be installed.
    Planned,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Installation {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How it ended.
    pub status: Ending,
    /// The product.
    pub name: FileName,
    /// Its version.
    pub version: Version,
    /// The version that was in use before.
    pub previous: Option<Version>,
    /// The platform.
    pub platform: Platform,
    /// The archive.
    pub archive: FileName,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Where it came from.
    pub origin: Origin,
    /// How far it was verified.
    pub trust: Trust,
    /// Why the publisher withdrew it, if that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
    /// Where its programs can be run from.
    pub programs: Vec<Utf8PathBuf>,
    /// Foreign files that were in the way, and are kept here.
    pub backups: Vec<Utf8PathBuf>,
    /// Old versions that were removed.
    pub removed: Vec<Version>,
}

/// Installs a release.
pub fn install(
    resolved: &Resolved,
    wish: &Wish,
    host: &Host,
    prefix: &Prefix,
    client: &Client,
    options: &Options,
    listener: &dyn Listener,
) -> Result<Installation> {
    let packages = resolved.packages(wish, host)?;
    let name = &resolved.index.name;
    let there = installed::product(prefix, name)?;
    let before = there.as_ref().and_then(Installed::used);
    if let Some(before) = before {
        allow(before, resolved, options)?;
        let whole = installed::intact(prefix, name, &before.version)?;
        let same = |package: &&&Package| whole.as_ref().is_some_and(|whole| is_the_same(whole, resolved, package));
        if let Some(package) = packages.iter().find(same) {
            return Ok(Installation::of(resolved, package, prefix, Some(before), Ending::Unchanged));
        }
    }
    let ending = if before.is_some() { Ending::Replaced } else { Ending::Installed };
    if options.dry_run {
        return Ok(Installation::of(resolved, packages[0], prefix, before, Ending::Planned));
    }
    let turn = turn(prefix, name, listener)?;
    let mut rest = packages.into_iter().peekable();
    let (package, staging, receipt) = loop {
        let package = rest.next().expect("there is one package at least, and the last one ends the loop");
        match stage(resolved, package, host, &turn, client, options) {
            Ok((staging, receipt)) => break (package, staging, receipt),
            Err(failure) if failure.code() == Code::ProgramUnusable && rest.peek().is_some() => {
                let message = format!("{failure}: the next platform is tried");
                listener.hear(&Event::Warning { message });
            }
            Err(failure) => return Err(failure),
        }
    };
    let mut done = Installation::of(resolved, package, prefix, before, ending);
    let Activated { backups, pruned, .. } = activate(&turn, staging, &receipt, options.activation)?;
    done.backups = backups;
    done.removed = pruned;
    Ok(done)
}

/// Fetches, checks, unpacks and tries a package beside the versions that are there.
fn stage(
    resolved: &Resolved,
    package: &Package,
    host: &Host,
    turn: &Turn,
    client: &Client,
    options: &Options,
) -> Result<(Staging, Receipt)> {
    let staging = Staging::new(turn)?;
    let source = resolved.place.open(client, package.archive.as_str(), package.size_bytes)?;
    let files = unpack::unpack(source, package, Index::stem(package), staging.path())?;
    if options.run && host.platforms().contains(&package.platform) {
        try_out(&staging, package)?;
    }
    let receipt = Receipt {
        kind: receipt::TYPE.to_owned(),
        name: resolved.index.name.clone(),
        version: resolved.index.version.clone(),
        tag: Some(resolved.index.tag.clone()),
        platform: Some(package.platform),
        origin: resolved.origin.clone(),
        trust: resolved.trust.clone(),
        index: Some(resolved.digest),
        archive: Some(package.sha256),
        programs: programs(package),
        files,
        installed_at: options.activation.now,
        installed_by: concat!("consign ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    Ok((staging, receipt))
}

/// The right to change a product's installation.
pub fn turn(prefix: &Prefix, name: &FileName, listener: &dyn Listener) -> Result<Turn> {
    lock(prefix, name, &|who| {
        let who = who.map(|process| format!(" (process {process})")).unwrap_or_default();
        listener.hear(&Event::Warning { message: format!("waiting for another installation of {name}{who}") });
    })
}

impl Installation {
    fn of(resolved: &Resolved, package: &Package, prefix: &Prefix, before: Option<&Receipt>, status: Ending) -> Self {
        Self {
            kind: TYPE,
            status,
            name: resolved.index.name.clone(),
            version: resolved.index.version.clone(),
            previous: before.map(|before| before.version.clone()),
            platform: package.platform,
            archive: package.archive.clone(),
            size_bytes: package.size_bytes,
            sha256: package.sha256,
            origin: resolved.origin.clone(),
            trust: resolved.trust.clone(),
            withdrawn: resolved.withdrawn.clone(),
            programs: programs(package).iter().map(|program| prefix.bin().join(program.as_str())).collect(),
            backups: Vec::new(),
            removed: Vec::new(),
        }
    }
}

/// The file names of a package's programs.
fn programs(package: &Package) -> Vec<FileName> {
    package.binaries.iter().filter_map(|binary| binary.path.rsplit('/').next()?.parse().ok()).collect()
}

/// Whether it is this very package, verified by no less.
fn is_the_same(before: &Receipt, resolved: &Resolved, package: &Package) -> bool {
    let is_same = before.index == Some(resolved.digest) && before.archive == Some(package.sha256);
    is_same && before.trust.rank() >= resolved.trust.rank()
}

/// Nothing older and nothing less verified takes the place of what is there.
fn allow(before: &Receipt, resolved: &Resolved, options: &Options) -> Result<()> {
    let (name, version) = (&resolved.index.name, &resolved.index.version);
    if *version < before.version && !options.allow_downgrade {
        let message = format!("{name} {} is installed, and {version} is older", before.version);
        return Err(Failure::new(Code::DowngradeRefused, message)
            .subject(version.to_string())
            .hint("add `--allow-downgrade`, or go back to a version that is kept with `consign revert`"));
    }
    if resolved.trust.rank() < before.trust.rank() {
        let message = format!("{name} {} was verified by more than this release is", before.version);
        return Err(Failure::new(Code::TrustLowered, message)
            .subject(name.as_str())
            .hint("name the key or the root with `--pubkey FILE` or `--catalog URL --trust-root FILE`"));
    }
    Ok(())
}

/// Runs each program once, where it lies before anybody uses it.
fn try_out(staging: &Staging, package: &Package) -> Result<()> {
    for binary in &package.binaries {
        let path = staging.path().join(&binary.path);
        let output = Program::new(path.as_str()).arg("--version").contained(PATIENCE).output().map_err(|problem| {
            Failure::new(Code::ProgramUnusable, format!("`{}` cannot be run on this machine", binary.path))
                .subject(text::shown(&binary.path))
                .because(problem)
                .hint("choose another platform with `--platform`, or leave this check out with `--no-run`")
        })?;
        if output.status.code().is_none() || !output.status.success() && is_loader(&output.complaint()) {
            return Err(Failure::new(
                Code::ProgramUnusable,
                format!("`{}` does not start on this machine", binary.path),
            )
            .subject(text::shown(&binary.path))
            .because(output.complaint())
            .hint("choose another platform with `--platform`, such as one with `-musl` on Linux"));
        }
    }
    Ok(())
}

/// Whether it is the system that complains, and not the program, which may not know `--version`.
fn is_loader(complaint: &str) -> bool {
    ["error while loading shared libraries", "GLIBC_", "Error relocating", "Library not loaded"]
        .iter()
        .any(|sign| complaint.contains(sign))
}
