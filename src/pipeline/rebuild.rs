//! The proof that a bundle comes from its source: build it again, elsewhere, and compare.
//!
//! [`rebuild`] checks the recorded commit out into a clean directory, makes the reproducible set
//! again with the recorded settings, and compares it byte by byte, both with what the index says and
//! with the published files. Where a file differs it says which part of it, and which of the recorded
//! inputs (source, lock file, compiler, flags, date) is not the same here. The run record (provenance,
//! checksums) is compared through its inputs, never as bytes.
//!
//! Instructions are taken only from a provenance that pins the index, and only such as a manifest
//! could give: no argument for cargo is passed on that could name a program to run, unless the
//! checked-out commit itself asks for it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::arguments::OwnArguments;
use super::interop::Interop;
use super::plan::{Plan, Selection};
use super::request::{Builder, Installer, Mode, Request};
use super::{arguments, build, package, plan, surroundings};
use crate::archive::Inspector;
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::index::{self, Index, IndexSource, Package};
use crate::model::metadata::{BuildMetadata, Compiler};
use crate::model::provenance::{self, ExternalParameters, PlatformParameters, Statement};
use crate::model::source::Source;
use crate::model::stage::Stage;
use crate::model::{Code, Digest, Failure, installer, text};
use crate::trust::documents;
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
    /// Whether the whole reproducible set is there and the same, byte by byte.
    pub fn is_identical(&self) -> bool {
        self.files.iter().all(|file| file.identical)
    }
}

/// One file of the reproducible set.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// What came of the comparison.
    pub status: State,
    /// Whether that is [`State::Same`].
    pub identical: bool,
    /// The digest that was published.
    pub published: Digest,
    /// The digest of what was built now, if it was.
    pub rebuilt: Option<Digest>,
    /// The parts of an archive that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// What came of comparing one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The published file is what the index says, and so is what was built.
    Same,
    /// What was built is not what the index says.
    Differs,
    /// The published file is not what the index says.
    Damaged,
    /// There is no such file beside the index.
    Missing,
}

impl State {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
        }
    }
}

/// A published file as it was fetched.
#[derive(Debug)]
pub enum Fetched {
    /// Its bytes, no more than the index says.
    Bytes(Vec<u8>),
    /// It is larger than the index says.
    TooLarge,
    /// It is not there.
    Missing,
}

/// An input that is not the same.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// `download`, `source`, `repository`, `dependency`, `compiler`, `flags`, `tool`, `time`, `hook` or
    /// `path`.
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
    /// Every file that the index lists, by name, as it was fetched.
    pub files: BTreeMap<String, Fetched>,
    /// Where the source is cloned from; default: the repository that the index records.
    pub source: Option<String>,
}

/// Builds the recorded source again and compares.
pub fn rebuild(
    original: &Original,
    request: &Request,
    workspace: &Utf8Path,
    own_arguments: OwnArguments<'_>,
    listener: &dyn Listener,
) -> Result<Rebuilt> {
    let index = documents::read_index(&original.index).map_err(|problem| unreadable(index::FILE_NAME, problem))?;
    let statement = documents::read_provenance(&original.provenance)
        .map_err(|problem| unreadable(provenance::FILE_NAME, problem))?;
    check_pins(original, &index, &statement)?;
    let commit = index.source.commit.clone().ok_or_else(|| {
        Failure::new(Code::SourceUnknown, "the bundle records no commit, so there is nothing to build again")
            .subject(index::FILE_NAME)
    })?;
    check_out(original, &index, &commit, workspace)?;
    let directory = workspace.join(below_repository(&statement)?);
    let request = recorded_request(request, &index, &statement, &directory)?;
    arguments::check(&request, &directory, own_arguments)?;
    let mut around = surroundings::look(&request)?;
    take_recorded(&mut around.source, &index);
    let plan = plan::plan(&request, &around, &Selection::default())?;
    let built = build::build(&plan, listener)?;
    package::package(&plan, &built, listener)?;
    let path_warning = around.path_warning();
    compare(&Comparison { plan: &plan, original, index: &index, statement: &statement, path_warning }, commit, listener)
}

fn unreadable(name: &str, problem: String) -> Failure {
    Failure::new(Code::DocumentInvalid, format!("failed to read `{name}`")).subject(name).because(problem)
}

/// A provenance gives instructions only for the bundle that it pins.
fn check_pins(original: &Original, index: &Index, statement: &Statement) -> Result<()> {
    let mut expected: BTreeMap<String, Digest> = digests(index).collect();
    expected.insert(index::FILE_NAME.to_owned(), Digest::of(&original.index));
    let subjects: BTreeMap<String, Digest> =
        statement.subject.iter().map(|subject| (subject.name.to_string(), subject.digest.sha256)).collect();
    let names = expected.keys().chain(subjects.keys());
    let Some(name) = names.into_iter().find(|name| expected.get(*name) != subjects.get(*name)) else {
        return Ok(());
    };
    let message = format!("the provenance is of another bundle: it does not pin the `{name}` of this one");
    Err(Failure::new(Code::SubjectMismatch, message)
        .subject(provenance::FILE_NAME)
        .hint("fetch `index.json` and `provenance.json` of the same release again"))
}

/// What a clone cannot know of the place where the release was made. The manifest's repository still
/// counts for more, and another tag than the release's is no tag of it.
fn take_recorded(source: &mut Source, index: &Index) {
    source.repository.clone_from(&index.source.repository);
    let is_tagged = index.source.reference.as_deref() == Some(&format!("refs/tags/{}", index.tag));
    source.tags = if is_tagged { vec![index.tag.clone()] } else { Vec::new() };
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
    again.installer = recorded_installer(recorded);
    again.interop = Interop::of_files(&recorded.name, recorded.installer.as_ref().map_or(&[], |given| &given.files));
    again.source_date_epoch = Some(statement.predicate.build_definition.internal_parameters.source_date_epoch);
    again.publish = None;
    again.platforms = recorded.platforms.iter().map(|platform| platform.platform).collect();
    for platform in &recorded.platforms {
        let builder = repeatable_builder(platform)?;
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

fn recorded_installer(recorded: &ExternalParameters) -> Installer {
    let given = recorded.installer.as_ref();
    let has = |(name, _): (&str, &str)| given.is_some_and(|given| given.files.iter().any(|file| file == name));
    Installer {
        sh: has(installer::SH),
        ps1: Some(has(installer::PS1)),
        base_url: given.and_then(|given| given.base_url.clone()),
        root: given.and_then(|given| given.root.clone()),
    }
}

fn repeatable_builder(platform: &PlatformParameters) -> Result<Builder> {
    let all = [Builder::Cargo, Builder::Zigbuild, Builder::Cross];
    all.into_iter().find(|builder| builder.as_str() == platform.builder).ok_or_else(|| {
        let builder = text::shown(&platform.builder);
        let message = format!("{} was built by `{builder}`, which cannot be repeated", platform.platform);
        Failure::new(Code::ConfigInvalid, message).subject(platform.platform.name())
    })
}

/// The pattern that gives a package its name, worked out from the name itself.
fn stem_pattern(index: &Index, package: &Package) -> String {
    Index::stem(package)
        .replace(package.platform.name(), "{platform}")
        .replace(&package.target, "{target}")
        .replace(&index.version.to_string(), "{version}")
}

/// Both sides of a comparison.
struct Comparison<'a> {
    plan: &'a Plan,
    original: &'a Original,
    index: &'a Index,
    statement: &'a Statement,
    path_warning: Option<String>,
}

fn compare(all: &Comparison<'_>, commit: String, listener: &dyn Listener) -> Result<Rebuilt> {
    let path = all.plan.places.bundle.join(index::FILE_NAME);
    let bytes = files::read_bounded(&path, index::MAX_BYTES)?;
    let again = documents::read_index(&bytes).map_err(|problem| unreadable(index::FILE_NAME, problem))?;
    let rebuilt: BTreeMap<_, _> = digests(&again).collect();
    let mut compared: Vec<Compared> = digests(all.index)
        .map(|(name, published)| {
            let now = rebuilt.get(&name).copied();
            let status = state(all.original.files.get(&name), published, now);
            let parts = if now == Some(published) { Vec::new() } else { differing_parts(all, &again, &name) };
            Compared { name, status, identical: status == State::Same, published, rebuilt: now, parts }
        })
        .collect();
    let is_same = bytes == all.original.index;
    compared.push(Compared {
        name: index::FILE_NAME.to_owned(),
        status: if is_same { State::Same } else { State::Differs },
        identical: is_same,
        published: Digest::of(&all.original.index),
        rebuilt: Some(Digest::of(&bytes)),
        parts: Vec::new(),
    });
    compared.sort_by(|a, b| a.name.cmp(&b.name));
    let identical = compared.iter().all(|file| file.identical);
    let mut causes: Vec<Cause> = compared.iter().filter_map(download).collect();
    if compared.iter().any(|file| file.rebuilt != Some(file.published)) {
        causes.extend(self::causes(all, &again)?);
    }
    for cause in &causes {
        listener.hear(&Event::Warning { message: format!("{}: {}", cause.kind, cause.detail) });
    }
    Ok(Rebuilt {
        kind: "consign.rebuild/v1",
        version: all.index.version.to_string(),
        commit,
        status: if identical { "identical" } else { "different" },
        files: compared,
        causes,
    })
}

/// What is wrong with the published file comes first: it is what a user would download.
fn state(fetched: Option<&Fetched>, published: Digest, rebuilt: Option<Digest>) -> State {
    match fetched {
        None | Some(Fetched::Missing) => State::Missing,
        Some(Fetched::TooLarge) => State::Damaged,
        Some(Fetched::Bytes(bytes)) if Digest::of(bytes) != published => State::Damaged,
        Some(Fetched::Bytes(_)) if rebuilt != Some(published) => State::Differs,
        Some(Fetched::Bytes(_)) => State::Same,
    }
}

fn download(file: &Compared) -> Option<Cause> {
    let detail = match file.status {
        State::Damaged => format!("the published `{}` is damaged: it is not the file that the index lists", file.name),
        State::Missing => format!("the published `{}` is not there, beside the index that lists it", file.name),
        State::Same | State::Differs => return None,
    };
    Some(Cause { kind: "download", detail })
}

fn digests(index: &Index) -> impl Iterator<Item = (String, Digest)> + '_ {
    let packages = index.packages.iter().map(|package| (package.archive.to_string(), package.sha256));
    packages.chain(index.files.iter().map(|file| (file.name.to_string(), file.sha256)))
}

/// Which files inside an archive differ.
fn differing_parts(all: &Comparison<'_>, again: &Index, name: &str) -> Vec<String> {
    let find = |index: &Index| index.packages.iter().find(|package| package.archive.as_str() == name).cloned();
    let (Some(then), Some(now)) = (find(all.index), find(again)) else { return Vec::new() };
    let list = |package: &Package, bytes: &[u8]| -> Option<BTreeMap<String, Digest>> {
        let mut inspector = Inspector::default();
        let contents =
            inspector.inspect(package.format, bytes, Index::stem(package), package.unpacked_size_bytes).ok()?;
        Some(contents.entries.iter().map(|entry| (entry.path.clone(), entry.sha256)).collect())
    };
    let bytes = files::read_bounded(&all.plan.places.bundle.join(name), build::MAX_BINARY_BYTES).unwrap_or_default();
    let binaries =
        |package: &Package| package.binaries.iter().map(|binary| (binary.path.clone(), binary.sha256)).collect();
    let published = match all.original.files.get(name) {
        Some(Fetched::Bytes(bytes)) => list(&then, bytes),
        _ => None,
    };
    // Without the published archive, the index still tells the programs apart.
    let before: BTreeMap<String, Digest> = published.unwrap_or_else(|| binaries(&then));
    let after: BTreeMap<String, Digest> = list(&now, &bytes).unwrap_or_else(|| binaries(&now));
    before.iter().filter(|(path, digest)| after.get(*path) != Some(*digest)).map(|(path, _)| path.clone()).collect()
}

/// Every recorded input that is not the same here.
fn causes(all: &Comparison<'_>, again: &Index) -> Result<Vec<Cause>> {
    let definition = &all.statement.predicate.build_definition;
    let mut causes = Vec::new();
    if all.index.source.dirty || definition.internal_parameters.dirty {
        causes.push(Cause {
            kind: "source",
            detail: "the published bundle was made from a working tree with changes that are in no commit".to_owned(),
        });
    }
    let built = build::recall(all.plan)?;
    for metadata in built.platforms.iter().map(|built| &built.metadata) {
        causes.extend(toolchain(all.statement, metadata));
    }
    causes.extend(lock_file(all)?);
    let now = all.plan.source.date;
    if definition.internal_parameters.source_date_epoch != now.as_second() || all.index.created_at != now.to_string() {
        causes.push(Cause {
            kind: "time",
            detail: format!("the published bundle is dated {}, this one {now}", all.index.created_at),
        });
    }
    causes.extend(hooks(&definition.external_parameters));
    causes.extend(tool(all.statement));
    causes.extend(origin(all.index, again));
    let programs_differ = all.index.packages != again.packages;
    if programs_differ && let Some(warning) = &all.path_warning {
        causes.push(Cause { kind: "path", detail: warning.clone() });
    }
    if causes.is_empty() {
        causes.push(if programs_differ { unexplained(all.plan) } else { undescribed() });
    }
    Ok(causes)
}

/// Another compiler, or other flags for it.
fn toolchain(statement: &Statement, metadata: &BuildMetadata) -> Vec<Cause> {
    let recorded = &statement.predicate.build_definition.internal_parameters;
    let platform = metadata.platform;
    let mut causes = Vec::new();
    let (then, now) = (recorded.compilers.get(platform.name()), metadata.compiler.as_ref());
    if then != now {
        let name = |compiler: Option<&Compiler>| {
            compiler
                .map_or_else(|| "unknown".to_owned(), |compiler| format!("{} on {}", compiler.version, compiler.host))
        };
        let detail = format!("{platform} was built with {}, and here with {}", name(then), name(now));
        causes.push(Cause { kind: "compiler", detail });
    }
    let flags = recorded.rustflags.get(platform.name()).cloned().unwrap_or_default();
    let profile = recorded.cargo_profile.get(platform.name()).cloned().unwrap_or_default();
    let told = |flags: &[String], profile: &BTreeMap<String, String>| {
        let profile = profile.iter().map(|(name, value)| format!("{name}={value}"));
        let words: Vec<_> = flags.iter().cloned().chain(profile).collect();
        // What is recorded has no credentials in it.
        let words = text::without_credentials(&words.join(" ")).into_owned();
        if words.is_empty() { "none".to_owned() } else { format!("`{words}`") }
    };
    let (then, now) = (told(&flags, &profile), told(&metadata.rustflags, &metadata.cargo_profile));
    if then != now {
        let detail = format!("{platform} was built with the flags {then}, and here with {now}");
        causes.push(Cause { kind: "flags", detail });
    }
    causes
}

fn lock_file(all: &Comparison<'_>) -> Result<Option<Cause>> {
    let lock = all.plan.places.root.join("Cargo.lock");
    let here = if lock.is_file() { Some(Digest::of(&files::read_bounded(&lock, 64 << 20)?).to_string()) } else { None };
    let dependencies = &all.statement.predicate.build_definition.resolved_dependencies;
    let recorded = dependencies.iter().find(|dependency| dependency.name == "Cargo.lock");
    let recorded = recorded.and_then(|dependency| dependency.digest.get("sha256").cloned());
    Ok((recorded != here)
        .then(|| Cause { kind: "dependency", detail: "Cargo.lock is not the one that was recorded".to_owned() }))
}

/// The SBOMs name the program that wrote them.
fn tool(statement: &Statement) -> Option<Cause> {
    let here = env!("CARGO_PKG_VERSION");
    let then = statement.predicate.run_details.builder.version.get("consign").map_or("unknown", String::as_str);
    (then != here).then(|| Cause {
        kind: "tool",
        detail: format!("the bundle was made by consign {then}, and this is consign {here}"),
    })
}

/// Where the source comes from, as the index tells it.
fn origin(index: &Index, again: &Index) -> Option<Cause> {
    let (then, now) = (&index.source, &again.source);
    let name = |source: &IndexSource| {
        let repository = source.repository.as_deref().unwrap_or("no repository");
        let reference = source.reference.as_deref().unwrap_or("no tag");
        format!("{} at {}", text::shown(repository), text::shown(reference))
    };
    ((&then.repository, &then.reference) != (&now.repository, &now.reference)).then(|| Cause {
        kind: "repository",
        detail: format!("the index names {}, and the commit gives {}", name(then), name(now)),
    })
}

/// The programs are the same, so nothing is said against them.
fn undescribed() -> Cause {
    Cause {
        kind: "dependency",
        detail: "the archives are the same; what the documents say of the dependencies or the release is not"
            .to_owned(),
    }
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
            detail: "lock file, compiler, flags and date are as recorded: the published program was not built from the recorded commit alone, or with settings that are recorded nowhere".to_owned(),
        }
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle)
}
