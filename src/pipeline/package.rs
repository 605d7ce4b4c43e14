//! From built programs to a bundle: archives first, then every document about them.
//!
//! [`package`] makes the archives of all platforms in parallel, lets [`describe`](super::describe)
//! write the documents, and puts the whole directory in place at once. A run that is killed leaves
//! the old bundle or the new one, and litter that the next run removes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;

use super::build::{Built, BuiltPlatform};
use super::describe;
use super::plan::{Plan, PlatformPlan};
use super::request::Mode;
use crate::archive;
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::index::{self, Index, Package, PackagedBinary};
use crate::model::metadata::{FILE_NAME, PackageMetadata};
use crate::model::sbom::Resolved;
use crate::model::stage::Stage;
use crate::model::{Code, Digest, Failure, pretty};
use crate::world::{files, resolve};

/// A bundle that has been written and not yet verified.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its directory.
    pub directory: Utf8PathBuf,
    /// Its packages, sorted by platform.
    pub packages: Vec<Package>,
}

/// Makes the bundle.
pub fn package(plan: &Plan, built: &Built, listener: &dyn Listener) -> Result<Packed> {
    let extra = super::include::find(plan)?;
    place(plan, |place| {
        // Asking cargo takes about as long as compressing a small program, and needs little of a core.
        let (packages, resolved) = std::thread::scope(|scope| {
            let resolved = scope.spawn(|| resolve_all(plan));
            let packages = archives(plan, built, &extra, place, listener);
            (packages, resolved.join())
        });
        let packages = packages?;
        let resolved = resolved.map_err(|_| unresolved())??;
        describe::describe(plan, built, &packages, resolved, place, listener)?;
        Ok(packages)
    })
}

/// Fills a directory beside the bundle's and puts it in the bundle's place, whole or not at all.
pub(super) fn place(plan: &Plan, fill: impl FnOnce(&Utf8Path) -> Result<Vec<Package>>) -> Result<Packed> {
    let staging = staging(plan.places.bundle.parent().unwrap_or(&plan.places.dist))?;
    let place = files::utf8(staging.path().to_owned())?;
    let packages = fill(&place)?;
    files::sync_directory(&place)?;
    files::replace_directory(&place, &plan.places.bundle)?;
    Ok(Packed { directory: plan.places.bundle.clone(), packages })
}

/// A directory to make a bundle in, which the next run removes should this one be killed.
pub(super) fn staging(parent: &Utf8Path) -> Result<tempfile::TempDir> {
    files::create_directory(parent)?;
    tempfile::Builder::new()
        .prefix(files::STAGING_BUNDLE)
        .tempdir_in(parent)
        .map_err(|error| files::failed("create a directory in", parent, error))
}

fn unresolved() -> Failure {
    Failure::new(Code::WorkspaceInvalid, "failed to read the dependencies of the workspace")
}

fn resolve_all(plan: &Plan) -> Result<Vec<Resolved>> {
    let query = |platform: &PlatformPlan| resolve::Query {
        manifest_path: plan.places.root.join("Cargo.toml"),
        packages: plan.packages.clone(),
        target: platform.target.clone(),
        host: plan.host.clone(),
        features: platform.features.iter().filter(|feature| *feature != "default").cloned().collect(),
        all_features: false,
        no_default_features: !platform.features.iter().any(|feature| feature == "default"),
        locked: plan.build.locked,
    };
    // Each is two commands that wait for each other's locks more than for the processor.
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            plan.platforms.iter().map(|platform| scope.spawn(|| resolve::resolve(&query(platform)))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(unresolved()))).collect()
    })
}

/// Writes the archives of all platforms, as many at once as there are cores.
fn archives(
    plan: &Plan,
    built: &Built,
    extra: &[(Utf8PathBuf, String)],
    place: &Utf8Path,
    listener: &dyn Listener,
) -> Result<Vec<Package>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(built.platforms.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut memory = archive::Memory::default();
                while let Some(platform) = built.platforms.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let made = archive(plan, platform, extra, place, &mut memory, listener);
                    let failed = made.is_err();
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(made);
                    if failed {
                        // Nobody starts another archive of a bundle that will not be.
                        next.store(built.platforms.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut packages = done.into_inner().unwrap_or_default().into_iter().collect::<Result<Vec<Package>>>()?;
    if packages.len() != built.platforms.len() {
        return Err(Failure::new(Code::Io, "a thread that makes archives ended early"));
    }
    packages.sort_by_key(|package| package.platform);
    Ok(packages)
}

/// One file on its way into an archive.
struct Entry {
    path: String,
    executable: bool,
    content: Content,
}

enum Content {
    Bytes(Vec<u8>),
    File(Utf8PathBuf),
    Program(Utf8PathBuf, Digest),
}

fn archive(
    plan: &Plan,
    built: &BuiltPlatform,
    extra: &[(Utf8PathBuf, String)],
    place: &Utf8Path,
    memory: &mut archive::Memory,
    listener: &dyn Listener,
) -> Result<Package> {
    let begun = Instant::now();
    let platform =
        plan.platforms.iter().find(|platform| platform.platform == built.metadata.platform).ok_or_else(|| {
            Failure::new(Code::BuildStale, format!("{} was built and is not planned", built.metadata.platform))
        })?;
    listener.hear(&Event::TaskStarted { stage: Stage::Package, task: platform.archive.to_string() });
    let options = archive::Options { format: platform.format, level: plan.archive.level, date: plan.source.date };
    let mut writer = archive::Writer::within(&platform.stem, options, memory);
    let mut binaries = Vec::new();
    for entry in entries(plan, platform, built, extra)? {
        let (sha256, size_bytes) = append(&mut writer, &entry)?;
        if let Content::Program(source, expected) = &entry.content {
            if sha256 != *expected {
                return Err(Failure::new(Code::BuildStale, format!("`{source}` is not what was built"))
                    .subject(source.as_str())
                    .hint(format!("run `consign build --platform {}`", platform.platform)));
            }
            binaries.push(PackagedBinary { path: entry.path, sha256, size_bytes });
        }
    }
    let packed = writer.seal(memory)?;
    let package = Package {
        platform: platform.platform,
        target: platform.target.clone(),
        archive: platform.archive.clone(),
        format: platform.format,
        size_bytes: packed.bytes.len() as u64,
        unpacked_size_bytes: packed.unpacked_size_bytes,
        sha256: Digest::of(packed.bytes),
        binaries,
    };
    files::write(&place.join(platform.archive.as_str()), packed.bytes)?;
    listener.hear(&Event::TaskFinished {
        stage: Stage::Package,
        task: platform.archive.to_string(),
        bytes: package.size_bytes,
        duration: begun.elapsed(),
    });
    Ok(package)
}

/// Everything that goes into one archive, sorted by path.
fn entries(
    plan: &Plan,
    platform: &PlatformPlan,
    built: &BuiltPlatform,
    extra: &[(Utf8PathBuf, String)],
) -> Result<Vec<Entry>> {
    let mut entries = BTreeMap::new();
    for binary in &built.metadata.binaries {
        let content = Content::Program(built.directory.join(binary.file.as_str()), binary.sha256);
        entries.insert(format!("bin/{}", binary.file), (true, content));
    }
    entries.insert(FILE_NAME.to_owned(), (false, Content::Bytes(pretty(&metadata(plan, platform, built)))));
    let mut taken: BTreeSet<String> = entries.keys().map(|path| path.to_ascii_lowercase()).collect();
    for (source, path) in plan.places.documents.iter().chain(extra) {
        if taken.insert(path.to_ascii_lowercase()) {
            entries.insert(path.clone(), (is_executable(source)?, Content::File(source.clone())));
        } else if path.starts_with("bin/") || path == FILE_NAME {
            return Err(Failure::new(
                Code::IncludeRefused,
                format!("`{source}` would take the place of `{path}` in the archive"),
            )
            .subject(source.as_str())
            .hint("narrow `archive.include` in consign.toml"));
        }
    }
    Ok(entries.into_iter().map(|(path, (executable, content))| Entry { path, executable, content }).collect())
}

fn metadata(plan: &Plan, platform: &PlatformPlan, built: &BuiltPlatform) -> PackageMetadata {
    PackageMetadata {
        kind: PackageMetadata::TYPE.to_owned(),
        name: plan.name.clone(),
        version: plan.release.version.clone(),
        platform: platform.platform,
        target: platform.target.clone(),
        commit: plan.source.commit.clone(),
        compiler: built.metadata.compiler.as_ref().map(|compiler| compiler.version.clone()),
    }
}

fn append(writer: &mut archive::Writer, entry: &Entry) -> Result<(Digest, u64)> {
    let path = match &entry.content {
        Content::Bytes(bytes) => {
            let size = bytes.len() as u64;
            return Ok((writer.append(&entry.path, entry.executable, size, &mut bytes.as_slice())?, size));
        }
        Content::File(path) | Content::Program(path, _) => path,
    };
    let mut file = File::open(path).map_err(|error| files::failed("read", path, error))?;
    let size = file.metadata().map_err(|error| files::failed("read", path, error))?.len();
    Ok((writer.append(&entry.path, entry.executable, size, &mut file)?, size))
}

#[cfg(unix)]
fn is_executable(path: &Utf8Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs_err::metadata(path).map_err(|error| files::failed("read", path, error))?;
    Ok(metadata.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn is_executable(_path: &Utf8Path) -> Result<bool> {
    Ok(false)
}

/// The bundle that an earlier run left behind, if it is of this release and this commit. Whether it
/// is whole is the verifier's business.
pub fn recall(plan: &Plan) -> Result<Packed> {
    let directory = plan.places.bundle.clone();
    let path = directory.join(index::FILE_NAME);
    let missing = |why: &str| {
        Failure::new(Code::BuildMissing, format!("there is no bundle in `{directory}`{why}"))
            .subject(directory.as_str())
            .hint("run `consign package`")
    };
    if !path.is_file() {
        return Err(missing(""));
    }
    let index: Index = serde_json::from_slice(&files::read_bounded(&path, index::MAX_BYTES)?)
        .map_err(|error| missing(" that can be read").because(error))?;
    check_recalled(plan, &index)?;
    Ok(Packed { directory, packages: index.packages })
}

/// A bundle of another release or commit is not gone on with, and one of uncommitted changes is not released.
fn check_recalled(plan: &Plan, index: &Index) -> Result<()> {
    let refused = |code: Code, message: String| {
        Err(Failure::new(code, message)
            .subject(plan.places.bundle.as_str())
            .hint("make it again with `consign build` and `consign package`"))
    };
    let (source, bundle) = (&index.source, &plan.places.bundle);
    if index.name != plan.name || index.tag != plan.release.tag {
        return refused(Code::BuildStale, format!("the bundle in `{bundle}` is {} {}", index.name, index.tag));
    }
    if plan.mode == Mode::Release && source.dirty {
        return refused(
            Code::TreeDirty,
            format!("the bundle in `{bundle}` was made from changes that are in no commit"),
        );
    }
    let Some(commit) = &source.commit else {
        return match plan.mode {
            Mode::Release => refused(Code::SourceUnknown, format!("the bundle in `{bundle}` was made from no commit")),
            Mode::Validate => Ok(()),
        };
    };
    if plan.source.commit.as_ref() != Some(commit) {
        let here = plan.source.commit.as_deref().unwrap_or("no commit");
        return refused(
            Code::BuildStale,
            format!("the bundle in `{bundle}` was made from {commit}, and this is {here}"),
        );
    }
    Ok(())
}
