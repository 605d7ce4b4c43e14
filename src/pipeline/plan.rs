//! Everything that a run will do, decided before anything is done.
//!
//! [`plan`] is a pure function of a [`Request`] and the [`Surroundings`]. `--dry-run` and
//! `consign plan` print what it returns, and the stages do exactly that.

mod stages;

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use semver::Version;
use serde::Serialize;

use super::interop::{About, Interop};
use super::matrix::Matrix;
use super::request::{
    Builder, Containers, Job, Mode, NAME_PATTERN, Publish, Register, Request, Smoke, SmokePlace,
};
use super::surroundings::Surroundings;
use super::{choice, docker_smoke};
use crate::catalog::lifetimes::Lifetimes;
use crate::model::address::Pages;
use crate::model::failure::Result;
use crate::model::index::ArchiveFormat;
use crate::model::source::Source;
use crate::model::stage::Stage;
use crate::model::{
    Code, Failure, FileName, Platform, Release, address, checksums, index, installer, provenance, sbom, text,
};
use crate::world::cargo::Member;
pub use stages::StagePlan;
use stages::stages;

/// The plan of one release.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Always `consign.plan/v1`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The product's name.
    pub name: FileName,
    /// The tag and the version.
    #[serde(flatten)]
    pub release: Release,
    /// The version that the workspace's manifests give.
    pub workspace_version: Version,
    /// `stable`, or the first word of the prerelease.
    pub channel: String,
    /// A rehearsal or the release.
    pub mode: Mode,
    /// The cargo packages, sorted.
    pub packages: Vec<String>,
    /// The programs, sorted.
    pub binaries: Vec<String>,
    /// The source's state.
    pub source: Source,
    /// How cargo builds.
    pub build: BuildPlan,
    /// One package each, sorted by platform.
    pub platforms: Vec<PlatformPlan>,
    /// How archives are packed.
    pub archive: ArchivePlan,
    /// Which installers are rendered, and what they know.
    pub installer: InstallerPlan,
    /// What cargo says of the product.
    #[serde(skip)]
    pub about: About,
    /// The files of the bundle, sorted.
    pub files: Vec<FileName>,
    /// The stages, in order.
    pub stages: Vec<StagePlan>,
    /// The same platforms in the form that a CI matrix takes.
    pub matrix: Matrix,
    /// The target triple of this host.
    pub host: String,
    /// What the user should know before it starts.
    pub warnings: Vec<String>,
    /// Where things are on this machine.
    #[serde(skip)]
    pub places: Places,
    /// What the stage `test` runs.
    #[serde(skip)]
    pub test: Vec<String>,
    /// What the stage `smoke` runs.
    #[serde(skip)]
    pub smoke: Smoke,
    /// Where to publish to.
    #[serde(skip)]
    pub publish: Option<Publish>,
    /// Where what was published can be fetched from, if it is not where it was published.
    #[serde(skip)]
    pub remote_base_url: Option<String>,
    /// The registry that what was published becomes an artifact of.
    #[serde(skip)]
    pub register: Option<Register>,
    /// What the environment says of the run of a build server.
    #[serde(skip)]
    pub job: Job,
    /// How long the documents of the catalog are good for.
    #[serde(skip)]
    pub catalog: Lifetimes,
    /// What other installers are given to read.
    #[serde(skip)]
    pub interop: Interop,
    /// The user's own template of the release notes.
    #[serde(skip)]
    pub notes_template: Option<Utf8PathBuf>,
    /// The variables that bear on a build.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
    /// The names of variables that look like secrets.
    #[serde(skip)]
    pub withheld: Vec<String>,
}

/// Where things are on this machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// The workspace's root.
    pub root: Utf8PathBuf,
    /// The same below the repository's root; empty when it is the root or there is no repository.
    pub below_repository: Utf8PathBuf,
    /// Cargo's target directory.
    pub target: Utf8PathBuf,
    /// `dist/`.
    pub dist: Utf8PathBuf,
    /// `dist/releases/<version>/`: what was built, and every report.
    pub releases: Utf8PathBuf,
    /// `dist/packages/<version>/`: the bundle.
    pub bundle: Utf8PathBuf,
    /// The files that every archive takes along: README, licences; and the path inside the archive.
    pub documents: Vec<(Utf8PathBuf, String)>,
}

/// How cargo builds.
#[derive(Clone, Debug, Serialize)]
pub struct BuildPlan {
    /// The profile.
    pub profile: String,
    /// Whether `Cargo.lock` is there and has to fit.
    pub locked: bool,
    /// The oldest compiler that the packages work with.
    pub rust_version: Option<Version>,
}

/// How one platform is built and packed.
#[derive(Clone, Debug, Serialize)]
pub struct PlatformPlan {
    /// The platform.
    pub platform: Platform,
    /// The Rust target triple.
    pub target: String,
    /// What is given to the builder as the target: the triple, with a glibc version for zig.
    pub build_target: String,
    /// The builder.
    pub builder: Builder,
    /// The command.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub command: Vec<String>,
    /// The linker, if the configuration names one.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub linker: Option<String>,
    /// The program that runs these binaries on this host.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub runner: Vec<String>,
    /// The features that are switched on, `default` among them unless it is off.
    pub features: Vec<String>,
    /// More arguments for cargo.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub arguments: Vec<String>,
    /// More variables for the build.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub environment: BTreeMap<String, String>,
    /// The archive.
    pub archive: FileName,
    /// The archive's name without its ending: the one directory inside it.
    #[serde(skip)]
    pub stem: FileName,
    /// The archive's format.
    pub format: ArchiveFormat,
}

/// How archives are packed.
#[derive(Clone, Debug, Serialize)]
pub struct ArchivePlan {
    /// The compression level, if it is not the format's default.
    pub level: Option<u8>,
    /// Globs of more files to pack.
    pub include: Vec<String>,
}

/// Which installers are rendered, and what they know.
#[derive(Clone, Debug, Serialize)]
pub struct InstallerPlan {
    /// Their names, and those of documents for other installers, sorted.
    pub files: Vec<FileName>,
    /// Where they fetch the release from, with `{tag}` and `{version}`.
    pub base_url: Option<String>,
    /// The catalog's root that they carry: a path below the workspace's root.
    pub root: Option<String>,
}

impl Plan {
    /// The services that run once more on what was published, if any.
    pub fn smoke_on_published(&self) -> Option<(&docker_smoke::matrix::Matrix, &Containers)> {
        let runs = self.stages.iter().any(|planned| planned.stage == Stage::Smoke && planned.runs);
        let containers = self.smoke.containers.as_ref().filter(|_| runs)?;
        containers.published.as_ref().map(|matrix| (matrix, containers))
    }
}

/// Which stages to run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Start here; what earlier stages left behind is taken as it is.
    pub from: Option<Stage>,
    /// Leave these out.
    pub skip: BTreeSet<Stage>,
    /// Whether there is a key to sign with.
    pub signs: bool,
    /// Where the stage `smoke` runs something, if not where the settings say.
    pub smoke: Option<Vec<SmokePlace>>,
    /// Images, or tar files, in the place of bases of the services in containers.
    pub smoke_bases: BTreeMap<String, String>,
    /// The registry, if not the one that the settings name.
    pub register: Option<String>,
}

/// Decides everything.
pub fn plan(request: &Request, around: &Surroundings, selection: &Selection) -> Result<Plan> {
    let given = request.version.as_deref().map(Release::parse).transpose()?;
    let members = choice::packages(request, given.as_ref(), &around.workspace)?;
    let workspace_version = members[0].version.clone();
    let release = given
        .unwrap_or_else(|| Release::of_version(choice::own_package(request, &around.workspace), &workspace_version));
    let directory = release.directory()?;
    let name = choice::name(request, &members)?;
    let platforms = platforms(request, around, &members, &name, &release)?;
    check_names(request, &platforms)?;
    let features: Vec<_> = platforms.iter().flat_map(|platform| platform.features.iter().cloned()).collect();
    let binaries = choice::programs(request, &members, &features)?;
    let dist = choice::output_directory(&around.workspace, &request.dist)?;
    let places = Places {
        root: around.workspace.root.clone(),
        below_repository: around.below_repository(),
        target: around.workspace.target_directory.clone(),
        releases: dist.join("releases").join(directory.as_str()),
        bundle: dist.join("packages").join(directory.as_str()),
        dist,
        documents: around.documents(&members),
    };
    let source = source(request, around, &members);
    let installer = installer(request, &name, &platforms, source.repository.as_deref())?;
    let files = files(&platforms, &installer)?;
    let platforms: Vec<_> = platforms
        .into_iter()
        .map(|mut platform| {
            platform.command = command(request, around, &members, &binaries, &platform);
            platform
        })
        .collect();
    Ok(Plan {
        kind: "consign.plan/v1",
        channel: release.channel(),
        mode: request.mode,
        packages: members.iter().map(|member| member.name.clone()).collect(),
        about: About::of(&members),
        installer,
        source,
        build: BuildPlan {
            profile: profile(request),
            locked: around.workspace.has_lock,
            rust_version: members.iter().filter_map(|member| member.rust_version.clone()).max(),
        },
        archive: ArchivePlan { level: request.archive.level, include: request.archive.include.clone() },
        files,
        stages: stages(request, around, selection)?,
        matrix: Matrix::of(&platforms),
        host: around.compiler.host.clone(),
        warnings: warnings(request, around),
        test: choice::test_command(request, around),
        smoke: request.smoke.clone(),
        publish: request.publish.clone(),
        remote_base_url: request.remote_base_url.clone(),
        register: request.register.clone(),
        job: request.job.clone(),
        catalog: request.catalog.clone(),
        interop: request.interop,
        notes_template: request.notes_template.clone(),
        environment: request.environment.clone(),
        withheld: request.withheld.clone(),
        name,
        release,
        workspace_version,
        binaries,
        platforms,
        places,
    })
}

fn platforms(
    request: &Request,
    around: &Surroundings,
    members: &[&Member],
    name: &FileName,
    release: &Release,
) -> Result<Vec<PlatformPlan>> {
    let mut wanted = request.platforms.clone();
    if wanted.is_empty() {
        wanted.push(around.host_platform()?);
    }
    wanted.sort();
    wanted.dedup();
    let mut stems = BTreeSet::new();
    let mut out = Vec::new();
    for platform in wanted {
        let own = request.platform.get(&platform).cloned().unwrap_or_default();
        let build_target = own.target.clone().unwrap_or_else(|| platform.target().to_owned());
        let target = without_glibc(&build_target).to_owned();
        let builder = own.builder.unwrap_or(request.build.builder);
        check_target(platform, builder, &build_target)?;
        let format = own.format.or(request.archive.format).unwrap_or(if platform.is_windows() {
            ArchiveFormat::Zip
        } else {
            ArchiveFormat::TarGz
        });
        let pattern = request.archive.name_pattern.as_deref().unwrap_or(NAME_PATTERN);
        let stem = stem(pattern, name, release, platform, &target)?;
        let archive = file_name(&format!("{stem}.{}", format.extension()))?;
        if !stems.insert(stem.clone()) {
            return Err(Failure::new(Code::NameInvalid, format!("two platforms would be packed as `{archive}`"))
                .subject("archive.name-pattern")
                .hint("put `{platform}` or `{target}` into `archive.name-pattern`"));
        }
        out.push(PlatformPlan {
            platform,
            target,
            build_target,
            builder,
            command: if own.command.is_empty() { request.build.command.clone() } else { own.command },
            linker: own.linker,
            runner: own.runner,
            features: features(request, &own.features, members),
            arguments: own.arguments,
            environment: own.environment,
            archive,
            stem,
            format,
        });
    }
    Ok(out)
}

fn stem(pattern: &str, name: &FileName, release: &Release, platform: Platform, target: &str) -> Result<FileName> {
    let filled = pattern
        .replace("{name}", name.as_str())
        .replace("{version}", &release.version.to_string())
        .replace("{tag}", &release.tag.replace('/', "-"))
        .replace("{platform}", platform.name())
        .replace("{target}", target);
    file_name(&filled)
}

fn file_name(text: &str) -> Result<FileName> {
    text.parse().map_err(|error| {
        Failure::new(Code::NameInvalid, "an archive's name would not be a plain file name")
            .because(error)
            .hint("`archive.name-pattern` takes `{name}`, `{version}`, `{tag}`, `{platform}` and `{target}`")
    })
}

/// Only zig takes a glibc version behind the triple.
fn check_target(platform: Platform, builder: Builder, build_target: &str) -> Result<()> {
    let (triple, version) = build_target.split_once('.').unwrap_or((build_target, "0"));
    let is_triple = triple.starts_with(|c: char| c.is_ascii_alphanumeric())
        && triple.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let is_version = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let refused = |message: String| {
        Err(Failure::new(Code::ConfigInvalid, message).subject(format!("platform.{platform}.target")))
    };
    if !is_triple || !is_version {
        return refused(format!("{:?} is not a target triple", text::shown(build_target)));
    }
    if triple != build_target && builder != Builder::Zigbuild {
        return refused(format!("`{build_target}` names a glibc version, which only zig knows how to link"))
            .map_err(|failure| failure.hint("set `builder = \"zigbuild\"`, or leave the version out"));
    }
    Ok(())
}

/// Names that cargo would take for an option, or for several names, are none.
fn check_names(request: &Request, platforms: &[PlatformPlan]) -> Result<()> {
    let is_word = |name: &str| {
        let starts = name.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        starts && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',')
    };
    let refused = |what: &str, name: &str, subject: &str| {
        let name = text::shown(name);
        Failure::new(Code::ConfigInvalid, format!("{name:?} is not the name of a {what}")).subject(subject)
    };
    if let Some(profile) = &request.build.profile
        && !(is_word(profile) && profile.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-'))
    {
        return Err(
            refused("profile", profile, "build.profile").hint("a profile is `release`, or one of `[profile.…]`")
        );
    }
    match platforms.iter().flat_map(|platform| &platform.features).find(|feature| !is_word(feature)) {
        Some(feature) => Err(refused("feature", feature, "build.features").hint("each feature is a name of its own")),
        None => Ok(()),
    }
}

/// zig takes a glibc version behind the triple, which nothing else knows.
fn without_glibc(target: &str) -> &str {
    target.split_once('.').map_or(target, |(triple, _)| triple)
}

fn features(request: &Request, own: &[String], members: &[&Member]) -> Vec<String> {
    let mut on: BTreeSet<String> = request.build.features.iter().chain(own).cloned().collect();
    if request.build.all_features {
        on.extend(members.iter().flat_map(|member| member.features.keys().cloned()));
    } else if !request.build.no_default_features {
        on.insert("default".to_owned());
    }
    on.into_iter().collect()
}

fn profile(request: &Request) -> String {
    request.build.profile.clone().unwrap_or_else(|| "release".to_owned())
}

/// The command that builds one platform.
fn command(
    request: &Request,
    around: &Surroundings,
    members: &[&Member],
    binaries: &[String],
    platform: &PlatformPlan,
) -> Vec<String> {
    let mut argv: Vec<String> = match platform.builder {
        Builder::Command => return platform.command.clone(),
        Builder::Cargo => vec![request.cargo().to_owned(), "build".into()],
        Builder::Zigbuild => vec![request.cargo().to_owned(), "zigbuild".into()],
        Builder::Cross => vec!["cross".into(), "build".into()],
    };
    argv.extend(["--profile".into(), profile(request), "--target".into(), platform.build_target.clone()]);
    if around.workspace.has_lock {
        argv.push("--locked".into());
    }
    argv.extend(members.iter().flat_map(|member| ["--package".into(), member.name.clone()]));
    argv.extend(binaries.iter().flat_map(|name| ["--bin".into(), name.clone()]));
    let named: Vec<_> = platform.features.iter().filter(|feature| *feature != "default").map(String::as_str).collect();
    if request.build.all_features {
        argv.push("--all-features".into());
    } else {
        if request.build.no_default_features {
            argv.push("--no-default-features".into());
        }
        if !named.is_empty() {
            argv.extend(["--features".into(), named.join(",")]);
        }
    }
    argv.extend(platform.arguments.iter().cloned());
    argv
}

fn source(request: &Request, around: &Surroundings, members: &[&Member]) -> Source {
    let mut source = around.source.clone();
    // The manifest is part of the commit; where a clone was made from is not.
    let named = members.iter().find_map(|member| address::canonical(member.repository.as_deref()?));
    source.repository = named.or_else(|| address::canonical(source.repository.as_deref()?));
    if let Some(seconds) = request.source_date_epoch
        && let Ok(date) = jiff::Timestamp::from_second(seconds)
    {
        source.date = date;
    }
    source
}

/// Which installers there are, and where they fetch from: where nobody says so, from the page of a repository
/// at a GitHub, which keeps releases at addresses that are known.
fn installer(
    request: &Request,
    name: &FileName,
    platforms: &[PlatformPlan],
    repository: Option<&str>,
) -> Result<InstallerPlan> {
    let asked = &request.installer;
    let ps1 = asked.ps1.unwrap_or_else(|| platforms.iter().any(|platform| platform.platform.is_windows()));
    let names = [(ps1, installer::PS1.0), (asked.sh, installer::SH.0)];
    let files = names.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| file_name(name));
    let found = || Pages::of(repository?)?.downloads("{tag}").filter(|url| installer::is_base_url(url));
    let mut files = files.collect::<Result<Vec<_>>>()?;
    let base_url = asked.base_url.clone().or_else(found);
    files.extend(request.interop.files(name, base_url.as_deref())?);
    files.sort();
    Ok(InstallerPlan { files, base_url, root: asked.root.clone() })
}

fn files(platforms: &[PlatformPlan], installer: &InstallerPlan) -> Result<Vec<FileName>> {
    let fixed = [
        sbom::SPDX_FILE_NAME,
        sbom::CYCLONEDX_FILE_NAME,
        index::FILE_NAME,
        provenance::FILE_NAME,
        checksums::FILE_NAME,
    ];
    let mut all = BTreeSet::new();
    for name in fixed {
        all.insert(file_name(name)?);
    }
    all.extend(installer.files.iter().cloned());
    all.extend(platforms.iter().map(|platform| platform.archive.clone()));
    Ok(all.into_iter().collect())
}

fn warnings(request: &Request, around: &Surroundings) -> Vec<String> {
    let mut out = Vec::new();
    if around.source.commit.is_none() {
        out.push("there is no commit: the bundle cannot say which source it was made from".into());
    }
    if around.source.dirty {
        out.push("the working tree has changes that are not committed: the bundle is marked as dirty".into());
    }
    if !around.workspace.has_lock {
        out.push("there is no Cargo.lock: cargo chooses the versions of the dependencies now".into());
    }
    out.extend(around.path_warning());
    if request.mode == Mode::Release && request.publish.is_none() {
        out.push("no provider is named: nothing will be published".into());
    }
    out
}
