//! The proof that a bundle comes from its source: build it again, elsewhere, and compare.
//!
//! [`rebuild`] checks the recorded commit out into a clean directory, makes the reproducible set
//! again with the recorded settings, and compares it byte by byte. Where a file differs it says which
//! part of it, and which of the recorded inputs (source, lock file, compiler, date) is not the same
//! here. The run record (provenance, checksums) is compared through its inputs, never as bytes.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::events::{Event, Listener};
use super::plan::{Plan, Selection};
use super::request::{Builder, Mode, Request};
use super::stage::Stage;
use super::{build, package, plan, surroundings};
use crate::archive::Inspector;
use crate::model::failure::Result;
use crate::model::index::{self, Index, Package};
use crate::model::provenance::{self, ExternalParameters, Statement};
use crate::model::{Code, Digest, Failure, text};
use crate::world::files;
use crate::world::git::{self, Repository};

/// What came of building again.
#[derive(Debug, Serialize)]
pub struct Rebuilt {
    /// Always `consign.rebuild/v1`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The bare version.
    pub version: String,
    /// The commit that was built.
    pub commit: String,
    /// `identical` or `different`.
    pub status: &'static str,
    /// Each file of the reproducible set, sorted by name.
    pub files: Vec<Compared>,
    /// What is not the same here as it was recorded; the likely causes, most telling first.
    pub causes: Vec<Cause>,
}

impl Rebuilt {
    /// Whether the whole reproducible set is the same, byte by byte.
    pub fn is_identical(&self) -> bool {
        self.files.iter().all(|file| file.identical)
    }
}

/// One file of the reproducible set.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// Whether the bytes are the same.
    pub identical: bool,
    /// The digest that was published.
    pub published: Digest,
    /// The digest of what was built now, if it was.
    pub rebuilt: Option<Digest>,
    /// The parts of an archive that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// An input that is not the same.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// `source`, `dependency`, `compiler`, `time`, `hook` or `path`.
    pub kind: &'static str,
    /// What differs, in one sentence.
    pub detail: String,
}

/// Where to build and what to compare with.
pub struct Original {
    /// The published `index.json`, as it was fetched.
    pub index: Vec<u8>,
    /// The published `provenance.json`, as it was fetched.
    pub provenance: Vec<u8>,
    /// The archives that could be fetched, by name, to say which part of one differs.
    pub archives: BTreeMap<String, Vec<u8>>,
    /// Where the source is cloned from; default: the repository that the index records.
    pub source: Option<String>,
}

/// Builds the recorded source again and compares.
pub fn rebuild(
    original: &Original,
    request: &Request,
    workspace: &Utf8Path,
    listener: &dyn Listener,
) -> Result<Rebuilt> {
    let index: Index = read(&original.index, index::FILE_NAME)?;
    let statement: Statement = read(&original.provenance, provenance::FILE_NAME)?;
    let commit = index.source.commit.clone().ok_or_else(|| {
        Failure::new(Code::SourceUnknown, "the bundle records no commit, so there is nothing to build again")
            .subject(index::FILE_NAME)
    })?;
    check_out(original, &index, &commit, workspace)?;
    let directory = workspace.join(below_repository(&statement)?);
    let request = recorded_request(request, &index, &statement, &directory)?;
    let around = surroundings::look(&request)?;
    let plan = plan::plan(&request, &around, &Selection::default())?;
    let built = build::build(&plan, listener)?;
    package::package(&plan, &built, listener)?;
    compare(&plan, original, &index, &statement, commit, listener)
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::new(Code::DocumentInvalid, format!("failed to read `{name}`")).subject(name).because(error)
    })
}

/// Where the workspace is in its repository. It comes from a document, so it may not lead out of it.
fn below_repository(statement: &Statement) -> Result<&Utf8Path> {
    let path = Utf8Path::new(&statement.predicate.build_definition.external_parameters.workspace);
    let inside = path.components().all(|part| matches!(part, camino::Utf8Component::Normal(_)));
    if inside {
        return Ok(path);
    }
    let message = format!("{:?} is no directory of a repository", text::shown(path.as_str()));
    Err(Failure::new(Code::DocumentInvalid, message).subject(provenance::FILE_NAME))
}

fn check_out(original: &Original, index: &Index, commit: &str, workspace: &Utf8Path) -> Result<()> {
    if let Some(source) = &original.source
        && Utf8Path::new(source).is_dir()
        && let Some(repository) = Repository::discover(Utf8Path::new(source))?
    {
        return repository.checkout_into(commit, workspace);
    }
    let recorded = original.source.clone().or_else(|| index.source.repository.clone()).ok_or_else(|| {
        Failure::new(Code::SourceUnknown, "the bundle records no repository")
            .subject(index::FILE_NAME)
            .hint("name one with `--source`")
    })?;
    git::clone(&recorded, commit, workspace)
}

/// The request that the provenance records, with this machine's tools.
fn recorded_request(request: &Request, index: &Index, statement: &Statement, workspace: &Utf8Path) -> Result<Request> {
    let recorded = &statement.predicate.build_definition.external_parameters;
    let mut again = request.clone();
    again.directory = workspace.to_owned();
    again.dist = Utf8PathBuf::from("dist");
    again.version = Some(index.tag.clone());
    again.mode = if recorded.mode == Mode::Release.as_str() { Mode::Release } else { Mode::Validate };
    again.name = Some(recorded.name.to_string());
    again.packages.clone_from(&recorded.packages);
    again.binaries.clone_from(&recorded.binaries);
    again.build.profile = Some(recorded.profile.clone());
    again.build.features.clear();
    again.build.all_features = false;
    again.build.no_default_features =
        recorded.platforms.iter().all(|platform| !platform.features.iter().any(|feature| feature == "default"));
    again.archive.level = recorded.level;
    again.archive.include.clone_from(&recorded.include);
    again.source_date_epoch = Some(statement.predicate.build_definition.internal_parameters.source_date_epoch);
    again.publish = None;
    again.platforms = recorded.platforms.iter().map(|platform| platform.platform).collect();
    for platform in &recorded.platforms {
        let builder = [Builder::Cargo, Builder::Zigbuild, Builder::Cross]
            .into_iter()
            .find(|builder| builder.as_str() == platform.builder);
        let builder = builder.ok_or_else(|| {
            Failure::new(
                Code::ConfigInvalid,
                format!(
                    "{} was built by `{}`, which cannot be repeated",
                    platform.platform,
                    text::shown(&platform.builder)
                ),
            )
            .subject(platform.platform.name())
        })?;
        let own = again.platform.entry(platform.platform).or_default();
        own.builder = Some(builder);
        own.target = Some(platform.target.clone());
        own.features = platform.features.iter().filter(|feature| *feature != "default").cloned().collect();
        own.arguments.clone_from(&platform.arguments);
        own.format = Some(platform.format);
    }
    let stems = index.packages.first().map(|package| stem_pattern(index, package));
    again.archive.name_pattern = stems;
    Ok(again)
}

/// The pattern that gives a package its name, worked out from the name itself.
fn stem_pattern(index: &Index, package: &Package) -> String {
    Index::stem(package)
        .replace(package.platform.name(), "{platform}")
        .replace(&package.target, "{target}")
        .replace(&index.version.to_string(), "{version}")
}

fn compare(
    plan: &Plan,
    original: &Original,
    index: &Index,
    statement: &Statement,
    commit: String,
    listener: &dyn Listener,
) -> Result<Rebuilt> {
    let again: Index =
        read(&files::read_bounded(&plan.places.bundle.join(index::FILE_NAME), index::MAX_BYTES)?, index::FILE_NAME)?;
    let rebuilt: BTreeMap<_, _> = digests(&again).collect();
    let mut compared: Vec<Compared> = digests(index)
        .map(|(name, published)| {
            let now = rebuilt.get(&name).copied();
            let identical = now == Some(published);
            let parts = if identical { Vec::new() } else { differing_parts(plan, original, index, &again, &name) };
            Compared { name, identical, published, rebuilt: now, parts }
        })
        .collect();
    let bytes = again.render();
    compared.push(Compared {
        name: index::FILE_NAME.to_owned(),
        identical: bytes == original.index,
        published: Digest::of(&original.index),
        rebuilt: Some(Digest::of(&bytes)),
        parts: Vec::new(),
    });
    compared.sort_by(|a, b| a.name.cmp(&b.name));
    let identical = compared.iter().all(|file| file.identical);
    let causes = if identical { Vec::new() } else { causes(plan, index, statement)? };
    for cause in &causes {
        listener.hear(&Event::Warning { message: format!("{}: {}", cause.kind, cause.detail) });
    }
    Ok(Rebuilt {
        kind: "consign.rebuild/v1",
        version: index.version.to_string(),
        commit,
        status: if identical { "identical" } else { "different" },
        files: compared,
        causes,
    })
}

fn digests(index: &Index) -> impl Iterator<Item = (String, Digest)> + '_ {
    let packages = index.packages.iter().map(|package| (package.archive.to_string(), package.sha256));
    packages.chain(index.files.iter().map(|file| (file.name.to_string(), file.sha256)))
}

/// Which files inside an archive differ.
fn differing_parts(plan: &Plan, original: &Original, index: &Index, again: &Index, name: &str) -> Vec<String> {
    let find = |index: &Index| index.packages.iter().find(|package| package.archive.as_str() == name).cloned();
    let (Some(then), Some(now)) = (find(index), find(again)) else { return Vec::new() };
    let list = |package: &Package, bytes: &[u8]| -> Option<BTreeMap<String, Digest>> {
        let mut inspector = Inspector::default();
        let contents =
            inspector.inspect(package.format, bytes, Index::stem(package), package.unpacked_size_bytes).ok()?;
        Some(contents.entries.iter().map(|entry| (entry.path.clone(), entry.sha256)).collect())
    };
    let bytes = files::read_bounded(&plan.places.bundle.join(name), build::MAX_BINARY_BYTES).unwrap_or_default();
    let binaries =
        |package: &Package| package.binaries.iter().map(|binary| (binary.path.clone(), binary.sha256)).collect();
    // Without the published archive, the index still tells the programs apart.
    let before: BTreeMap<String, Digest> =
        original.archives.get(name).and_then(|bytes| list(&then, bytes)).unwrap_or_else(|| binaries(&then));
    let after: BTreeMap<String, Digest> = list(&now, &bytes).unwrap_or_else(|| binaries(&now));
    before.iter().filter(|(path, digest)| after.get(*path) != Some(*digest)).map(|(path, _)| path.clone()).collect()
}

/// Every recorded input that is not the same here.
fn causes(plan: &Plan, index: &Index, statement: &Statement) -> Result<Vec<Cause>> {
    let definition = &statement.predicate.build_definition;
    let mut causes = Vec::new();
    if index.source.dirty || definition.internal_parameters.dirty {
        causes.push(Cause {
            kind: "source",
            detail: "the published bundle was made from a working tree with changes that are in no commit".to_owned(),
        });
    }
    for platform in &plan.platforms {
        let recorded = definition.internal_parameters.compilers.get(platform.platform.name());
        let now = build::recall(plan)?.platforms.into_iter().find(|built| built.metadata.platform == platform.platform);
        let now = now.and_then(|built| built.metadata.compiler);
        if recorded != now.as_ref() {
            let name = |compiler: Option<&crate::model::metadata::Compiler>| {
                compiler.map_or_else(
                    || "unknown".to_owned(),
                    |compiler| format!("{} on {}", compiler.version, compiler.host),
                )
            };
            causes.push(Cause {
                kind: "compiler",
                detail: format!(
                    "{} was built with {}, and here with {}",
                    platform.platform,
                    name(recorded),
                    name(now.as_ref())
                ),
            });
        }
    }
    let lock = plan.places.root.join("Cargo.lock");
    let here = if lock.is_file() { Some(Digest::of(&files::read_bounded(&lock, 64 << 20)?).to_string()) } else { None };
    let recorded = definition.resolved_dependencies.iter().find(|dependency| dependency.name == "Cargo.lock");
    let recorded = recorded.and_then(|dependency| dependency.digest.get("sha256").cloned());
    if recorded != here {
        causes.push(Cause { kind: "dependency", detail: "Cargo.lock is not the one that was recorded".to_owned() });
    }
    if statement.predicate.build_definition.internal_parameters.source_date_epoch.to_string()
        != plan.source.date.as_second().to_string()
        || index.created_at != plan.source.date.to_string()
    {
        causes.push(Cause {
            kind: "time",
            detail: format!("the published bundle is dated {}, this one {}", index.created_at, plan.source.date),
        });
    }
    causes.extend(hooks(&definition.external_parameters));
    if causes.is_empty() {
        causes.push(unexplained(plan));
    }
    Ok(causes)
}

/// The hooks that may have changed what was built or packed. They are the user's own commands, written
/// for one machine, so they are not run again.
fn hooks(recorded: &ExternalParameters) -> Option<Cause> {
    let stages = Stage::ALL.into_iter().filter(|stage| *stage <= Stage::Package);
    let names: Vec<_> = stages
        .flat_map(|stage| [format!("before-{stage}"), format!("after-{stage}")])
        .filter(|name| recorded.hooks.contains_key(name))
        .collect();
    (!names.is_empty()).then(|| Cause {
        kind: "hook",
        detail: format!("the release ran hooks of its own, which are not run here: {}", names.join(", ")),
    })
}

/// With every recorded input the same, either a path got into the program, or it was not built from
/// the commit that it names.
fn unexplained(plan: &Plan) -> Cause {
    let root = plan.places.root.as_str().as_bytes();
    let holds_path = plan.platforms.iter().any(|platform| {
        plan.binaries.iter().any(|name| {
            let path = plan
                .places
                .releases
                .join(platform.platform.name())
                .join(format!("{name}{}", platform.platform.exe_suffix()));
            files::read_bounded(&path, build::MAX_BINARY_BYTES).is_ok_and(|bytes| contains(&bytes, root))
        })
    });
    if holds_path {
        Cause {
            kind: "path",
            detail: "the program records the directory that it is built in (as `env!(\"CARGO_MANIFEST_DIR\")` does)"
                .to_owned(),
        }
    } else {
        Cause {
            kind: "source",
            detail: "lock file, compiler and date are as recorded: the published program was not built from the recorded commit alone, or with other compiler flags".to_owned(),
        }
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle)
}
