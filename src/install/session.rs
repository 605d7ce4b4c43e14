//! One installation, from what is wanted to what can be run.
//!
//! [`install`] decides whether there is anything to do before it fetches an archive, and changes
//! nothing that can be seen before its last step.

use std::time::Duration;

use camino::Utf8PathBuf;
use semver::Version;
use serde::Serialize;

use super::activate::{self, Activated, activate, activate_kept};
use super::glibc;
use super::host::{Host, Libc};
use super::installed::{self, Installed};
use super::lock::{Turn, lock};
use super::loose::Loose;
use super::prefix::Prefix;
use super::receipt::{self, InstalledFile, Origin, Receipt, Trust};
use super::resolve::{Request, Resolved};
use super::staging::Staging;
use super::transfer::Watched;
use super::{programs, unpack};
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::index::{Index, Package};
use crate::model::{Code, Digest, Failure, FileName, Platform, metadata, text};
use crate::trust::documents;
use crate::world::files;
use crate::world::http::Client;
use crate::world::process::Program;

/// The document type of an [`Installation`].
pub const TYPE: &str = "consign.installation/v1";
/// The largest description of an archive in itself, in bytes.
pub(super) const MAX_METADATA_BYTES: usize = 1 << 20;
/// How long a program may take to say its version.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

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
    /// The platform, where that is known.
    pub platform: Option<Platform>,
    /// The file that was fetched.
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

/// What a version that is made ready consists of, besides what it is.
#[derive(Debug)]
pub struct Payload {
    /// Every file, sorted by path.
    pub files: Vec<InstalledFile>,
    /// The platform, where that is known.
    pub platform: Option<Platform>,
    /// The digest of the index, where there is one.
    pub index: Option<Digest>,
    /// The digest of what was fetched.
    pub archive: Option<Digest>,
    /// The release's tag, where there is an index.
    pub tag: Option<String>,
}

/// What is to be installed, of which everything is known but its bytes.
struct Candidate<'a> {
    name: &'a FileName,
    version: &'a Version,
    origin: &'a Origin,
    trust: &'a Trust,
}

/// The file that a version comes from.
struct Fetched {
    platform: Option<Platform>,
    archive: FileName,
    size_bytes: u64,
    sha256: Digest,
}

impl Fetched {
    fn of(package: &Package) -> Self {
        let Package { platform, archive, size_bytes, sha256, .. } = package;
        Self { platform: Some(*platform), archive: archive.clone(), size_bytes: *size_bytes, sha256: *sha256 }
    }
}

/// Where, and how.
pub struct Order<'a> {
    /// The prefix.
    pub prefix: &'a Prefix,
    /// The machine.
    pub host: &'a Host,
    /// How.
    pub options: Options,
    /// By how much the product was verified before, wherever: the [rank](Trust::rank) of the pins.
    pub pinned_rank: u8,
    /// Who wants to know.
    pub listener: &'a dyn Listener,
}

/// Installs a release.
pub fn install(resolved: &Resolved, request: &Request, client: &Client, order: &Order<'_>) -> Result<Installation> {
    let packages = resolved.packages(request, order.host)?;
    let Resolved { index, origin, trust, .. } = resolved;
    let candidate = Candidate { name: &index.name, version: &index.version, origin, trust };
    let before = order.before(&candidate)?;
    let done = |package: &Package, status: Ending, before: Option<&Receipt>| {
        let done = Installation::of(&candidate, Fetched::of(package), status, before);
        Installation { withdrawn: resolved.withdrawn.clone(), ..done }
    };
    if let Some(known) = order.kept(&candidate)? {
        let is_same = |package: &&&Package| {
            let bytes = known.index == Some(resolved.digest) && known.archive == Some(package.sha256);
            bytes && known.trust.rank() >= trust.rank()
        };
        if let Some(package) = packages.iter().find(is_same) {
            return order.reuse(&known, &candidate, done(package, Ending::Unchanged, before.as_ref()));
        }
    }
    if order.options.dry_run {
        let programs = programs_of(packages[0]);
        programs::check(order.prefix, &index.name, &programs)?;
        return Ok(done(packages[0], Ending::Planned, before.as_ref()).with_programs(order.prefix, &programs));
    }
    let (turn, before) = order.turn(&candidate)?;
    let mut rest = packages.into_iter().peekable();
    let (package, staging, payload) = loop {
        let package = rest.next().expect("there is one package at least, and the last one ends the loop");
        match stage(resolved, package, &turn, client, order) {
            Ok((staging, payload)) => break (package, staging, payload),
            Err(failure) if failure.code() == Code::ProgramUnusable && rest.peek().is_some() => {
                order.listener.hear(&Event::Warning { message: format!("{failure}: the next platform is tried") });
            }
            Err(failure) => return Err(failure),
        }
    };
    let status = if before.is_some() { Ending::Replaced } else { Ending::Installed };
    order.finish(&turn, staging, &candidate.receipt(payload, &order.options), done(package, status, before.as_ref()))
}

/// Installs a file that has no index.
pub fn install_loose(loose: &Loose, order: &Order<'_>) -> Result<Installation> {
    let Loose { name, version, origin, trust, .. } = loose;
    let candidate = Candidate { name, version, origin, trust };
    let before = order.before(&candidate)?;
    let fetched = |platform| Fetched {
        platform,
        archive: loose.file().clone(),
        size_bytes: loose.size_bytes(),
        sha256: loose.sha256,
    };
    let done =
        |status, platform, before: Option<&Receipt>| Installation::of(&candidate, fetched(platform), status, before);
    if let Some(known) = order.kept(&candidate)?
        && known.archive == Some(loose.sha256)
        && known.trust.rank() >= trust.rank()
    {
        return order.reuse(&known, &candidate, done(Ending::Unchanged, known.platform, before.as_ref()));
    }
    if order.options.dry_run {
        return Ok(done(Ending::Planned, None, before.as_ref()));
    }
    let (turn, before) = order.turn(&candidate)?;
    let (staging, payload) = loose.stage(&turn)?;
    order.try_out(&staging, &payload)?;
    let status = if before.is_some() { Ending::Replaced } else { Ending::Installed };
    let done = done(status, payload.platform, before.as_ref());
    order.finish(&turn, staging, &candidate.receipt(payload, &order.options), done)
}

impl Order<'_> {
    /// The version in use, which may be replaced by this one.
    fn before(&self, candidate: &Candidate<'_>) -> Result<Option<Receipt>> {
        let there = installed::product(self.prefix, candidate.name)?;
        let before = there.as_ref().and_then(Installed::used).cloned();
        before.iter().try_for_each(|before| allow(before, candidate, &self.options))?;
        let kept = there.iter().flat_map(|there| &there.versions).map(|kept| kept.receipt.trust.rank());
        candidate.demand(kept.max().unwrap_or_default().max(self.pinned_rank))?;
        Ok(before)
    }

    /// The right to change the product, and the version in use now: somebody else may have installed a
    /// newer one while this one waited.
    fn turn(&self, candidate: &Candidate<'_>) -> Result<(Turn, Option<Receipt>)> {
        let turn = turn(self.prefix, candidate.name, self.listener)?;
        let before = self.before(candidate)?;
        Ok((turn, before))
    }

    /// The receipt of this version, if it is kept and whole.
    fn kept(&self, candidate: &Candidate<'_>) -> Result<Option<Receipt>> {
        installed::intact(self.prefix, candidate.name, candidate.version)
    }

    /// Puts what is kept in use, and right what somebody has left wrong around it.
    fn reuse(&self, known: &Receipt, candidate: &Candidate<'_>, done: Installation) -> Result<Installation> {
        let done = done.with_programs(self.prefix, &known.programs);
        let status = |before: Option<&Version>, other| {
            if before == Some(&known.version) { Ending::Unchanged } else { other }
        };
        if self.options.dry_run {
            programs::check(self.prefix, &known.name, &known.programs)?;
            return Ok(Installation { status: status(done.previous.as_ref(), Ending::Planned), ..done });
        }
        let (turn, before) = self.turn(candidate)?;
        let Activated { backups, pruned, .. } = activate_kept(&turn, known, self.options.activation)?;
        let previous = before.map(|before| before.version);
        let status = status(previous.as_ref(), Ending::Replaced);
        Ok(Installation { status, previous, backups, removed: pruned, ..done })
    }

    fn finish(&self, turn: &Turn, staging: Staging, receipt: &Receipt, done: Installation) -> Result<Installation> {
        let Activated { backups, pruned, .. } = activate(turn, staging, receipt, self.options.activation)?;
        let done = done.with_programs(self.prefix, &receipt.programs);
        Ok(Installation { backups, removed: pruned, ..done })
    }

    /// Runs each program once, where it lies before anybody uses it.
    fn try_out(&self, staging: &Staging, payload: &Payload) -> Result<()> {
        let is_ours = payload.platform.is_none_or(|platform| self.host.platforms().contains(&platform));
        if !self.options.run || !is_ours {
            return Ok(());
        }
        payload.files.iter().filter(|file| is_program(file)).try_for_each(|file| {
            self.check_library(staging, &file.path)?;
            try_one(staging, &file.path)
        })
    }

    /// Whether the C library of this machine is new enough for a program.
    fn check_library(&self, staging: &Staging, path: &str) -> Result<()> {
        let Libc::Glibc(Some(there)) = self.host.libc else { return Ok(()) };
        match glibc::needed(&staging.path().join(path)) {
            Some(needed) if needed > there => {
                let message = format!("`{path}` needs glibc {needed}, and this machine has {there}");
                Err(Failure::new(Code::ProgramUnusable, message)
                    .subject(text::shown(path))
                    .hint("choose a platform with `-musl`, which needs none, if the release has one"))
            }
            _ => Ok(()),
        }
    }
}

/// Fetches, checks, unpacks and tries a package beside the versions that are there.
fn stage(
    resolved: &Resolved,
    package: &Package,
    turn: &Turn,
    client: &Client,
    order: &Order<'_>,
) -> Result<(Staging, Payload)> {
    let staging = Staging::new(turn)?;
    let source = resolved.place.open(client, package.archive.as_str(), package.size_bytes)?;
    let source = Watched::new(source, package.archive.as_str(), Some(package.size_bytes), order.listener);
    let files = unpack::unpack(source, package, Index::stem(package), staging.path())?;
    check_inside(&staging, package, &resolved.index)?;
    let payload = Payload {
        files,
        platform: Some(package.platform),
        index: Some(resolved.digest),
        archive: Some(package.sha256),
        tag: Some(resolved.index.tag.clone()),
    };
    order.try_out(&staging, &payload)?;
    Ok((staging, payload))
}

/// Whether an archive is, by its own word, what the index says: an index with two rows exchanged is signed
/// as well as another.
fn check_inside(staging: &Staging, package: &Package, index: &Index) -> Result<()> {
    let refuse = |problem: &str| {
        Failure::new(Code::ArchiveMismatch, format!("`{}` {problem}", package.archive))
            .subject(package.archive.as_str())
            .hint("do not use it: ask the publisher")
    };
    let path = staging.path().join(metadata::FILE_NAME);
    let bytes = if path.is_file() { files::read_bounded(&path, MAX_METADATA_BYTES)? } else { Vec::new() };
    let inside = documents::read_metadata(&bytes)
        .map_err(|problem| refuse(&format!("does not say what it is: its `{}`: {problem}", metadata::FILE_NAME)))?;
    let said = (&inside.name, &inside.version, inside.platform, &inside.target, &inside.commit);
    if said == (&index.name, &index.version, package.platform, &package.target, &index.source.commit) {
        return Ok(());
    }
    let (name, version, platform) = (&inside.name, &inside.version, inside.platform);
    Err(refuse(&format!("says that it is {name} {version} for {platform}, and the index says otherwise")))
}

/// The right to change a product's installation.
pub fn turn(prefix: &Prefix, name: &FileName, listener: &dyn Listener) -> Result<Turn> {
    lock(prefix, name, &|who| {
        let who = who.map(|process| format!(" (process {process})")).unwrap_or_default();
        listener.hear(&Event::Warning { message: format!("waiting for another installation of {name}{who}") });
    })
}

impl Candidate<'_> {
    /// Refuses what is verified by less than it was before.
    fn demand(&self, rank: u8) -> Result<()> {
        if self.trust.rank() >= rank {
            return Ok(());
        }
        let name = self.name;
        let message = format!("{name} was verified by more than {name} {} is", self.version);
        Err(Failure::new(Code::TrustLowered, message).subject(name.as_str()).hint(format!(
            "name the key or the root with `--pubkey FILE` or `--catalog URL --trust-root FILE`; \
             `consign uninstall {name}` forgets whom it was verified by"
        )))
    }

    fn receipt(&self, payload: Payload, options: &Options) -> Receipt {
        let programs = payload.files.iter().filter(|file| is_program(file)).filter_map(|file| file_name(&file.path));
        Receipt {
            kind: receipt::TYPE.to_owned(),
            name: self.name.clone(),
            version: self.version.clone(),
            tag: payload.tag,
            platform: payload.platform,
            origin: self.origin.clone(),
            trust: self.trust.clone(),
            index: payload.index,
            archive: payload.archive,
            programs: programs.collect(),
            files: payload.files,
            installed_at: options.activation.now,
            installed_by: concat!("consign ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Installation {
    fn of(candidate: &Candidate<'_>, fetched: Fetched, status: Ending, before: Option<&Receipt>) -> Self {
        let Fetched { platform, archive, size_bytes, sha256 } = fetched;
        Self {
            kind: TYPE,
            status,
            name: candidate.name.clone(),
            version: candidate.version.clone(),
            previous: before.map(|before| before.version.clone()),
            platform,
            archive,
            size_bytes,
            sha256,
            origin: candidate.origin.clone(),
            trust: candidate.trust.clone(),
            withdrawn: None,
            programs: Vec::new(),
            backups: Vec::new(),
            removed: Vec::new(),
        }
    }

    fn with_programs(self, prefix: &Prefix, names: &[FileName]) -> Self {
        Self { programs: names.iter().map(|name| prefix.bin().join(name.as_str())).collect(), ..self }
    }
}

fn is_program(file: &InstalledFile) -> bool {
    file.executable && file.path.starts_with("bin/")
}

fn file_name(path: &str) -> Option<FileName> {
    path.rsplit('/').next()?.parse().ok()
}

/// The file names of a package's programs.
fn programs_of(package: &Package) -> Vec<FileName> {
    package.binaries.iter().filter_map(|binary| file_name(&binary.path)).collect()
}

/// Nothing older takes the place of what is there.
fn allow(before: &Receipt, candidate: &Candidate<'_>, options: &Options) -> Result<()> {
    let Candidate { name, version, .. } = candidate;
    if **version < before.version && !options.allow_downgrade {
        let message = format!("{name} {} is installed, and {version} is older", before.version);
        return Err(Failure::new(Code::DowngradeRefused, message)
            .subject(version.to_string())
            .hint("add `--allow-downgrade`, or go back to a version that is kept with `revert`"));
    }
    Ok(())
}

/// Runs a program once.
fn try_one(staging: &Staging, path: &str) -> Result<()> {
    let program = staging.path().join(path);
    let output = Program::new(program.as_str()).arg("--version").contained(PATIENCE).output().map_err(|problem| {
        Failure::new(Code::ProgramUnusable, format!("`{path}` cannot be run on this machine"))
            .subject(text::shown(path))
            .because(problem)
            .hint("choose another platform with `--platform`, or leave this check out with `--no-run`")
    })?;
    if output.status.code().is_none() || !output.status.success() && is_loader(&output.complaint()) {
        return Err(Failure::new(Code::ProgramUnusable, format!("`{path}` does not start on this machine"))
            .subject(text::shown(path))
            .because(output.complaint())
            .hint("choose another platform with `--platform`, such as one with `-musl` on Linux"));
    }
    Ok(())
}

/// Whether it is the system that complains, and not the program, which may not know `--version`.
fn is_loader(complaint: &str) -> bool {
    ["error while loading shared libraries", "GLIBC_", "Error relocating", "Library not loaded"]
        .iter()
        .any(|sign| complaint.contains(sign))
}
