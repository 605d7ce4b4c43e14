//! The documents of a bundle: SBOMs and installers, then the index, then the provenance, then the checksums.
//!
//! The order is the order in which one pins the other: the SBOMs and the installers name the archives, the
//! index names all of those, the provenance names the index too, and the checksums name everything. Whatever
//! else the index is to list is added in [`listed`].

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use super::build::Built;
use super::installer;
use super::interop;
use super::plan::Plan;
use crate::model::checksums::{self, Checksums};
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::index::{self, Index, IndexSource, ListedFile, Package};
use crate::model::provenance::{
    self, BuildDefinition, Builder, ExternalParameters, InternalParameters, PlatformParameters, Predicate,
    ResolvedDependency, RunDetails, RunMetadata, Sha256, Statement, Subject,
};
use crate::model::sbom::{self, Inventory, Resolved};
use crate::model::{Digest, Failure, FileName, code::Code};
use crate::world::files;

/// A document that the index lists.
struct Document {
    name: String,
    kind: &'static str,
    bytes: Vec<u8>,
}

/// A document that has been written.
struct Written {
    name: FileName,
    sha256: Digest,
    size_bytes: u64,
}

/// Writes every document of the bundle into a directory that holds its archives.
pub fn describe(
    plan: &Plan,
    built: &Built,
    packages: &[Package],
    resolved: Vec<Resolved>,
    place: &Utf8Path,
    listener: &dyn Listener,
) -> Result<()> {
    let inventory = inventory(plan, packages, resolved);
    for message in inventory.warnings() {
        listener.hear(&Event::Warning { message });
    }
    let mut files = Vec::new();
    for Document { name, kind, bytes } in listed(plan, packages, &inventory)? {
        let Written { name, sha256, size_bytes } = write(place, &name, &bytes)?;
        files.push(ListedFile { name, kind: kind.to_owned(), size_bytes, sha256 });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let mut pinned: BTreeMap<FileName, Digest> =
        packages.iter().map(|package| (package.archive.clone(), package.sha256)).collect();
    pinned.extend(files.iter().map(|file| (file.name.clone(), file.sha256)));
    let index = write(place, index::FILE_NAME, &index(plan, packages, files).render())?;
    pinned.insert(index.name, index.sha256);
    let provenance = write(place, provenance::FILE_NAME, &statement(plan, built, &pinned)?.render())?;
    pinned.insert(provenance.name, provenance.sha256);
    write(place, checksums::FILE_NAME, &Checksums(pinned).render())?;
    Ok(())
}

/// Every document that the index lists, with its kind.
fn listed(plan: &Plan, packages: &[Package], inventory: &Inventory) -> Result<Vec<Document>> {
    let mut documents = vec![
        Document { name: sbom::SPDX_FILE_NAME.to_owned(), kind: "sbom-spdx", bytes: sbom::spdx::render(inventory) },
        Document {
            name: sbom::CYCLONEDX_FILE_NAME.to_owned(),
            kind: "sbom-cyclonedx",
            bytes: sbom::cyclonedx::render(inventory),
        },
    ];
    for ((name, kind), bytes) in installer::render(plan, packages)? {
        documents.push(Document { name: name.to_owned(), kind, bytes });
    }
    for interop::Document { name, kind, bytes } in interop::of(plan, packages)? {
        documents.push(Document { name: name.to_string(), kind, bytes });
    }
    Ok(documents)
}

fn write(place: &Utf8Path, name: &str, bytes: &[u8]) -> Result<Written> {
    files::write(&place.join(name), bytes)?;
    let name = name
        .parse()
        .map_err(|error| Failure::new(Code::NameInvalid, "a document's name is not a file name").because(error))?;
    Ok(Written { name, sha256: Digest::of(bytes), size_bytes: bytes.len() as u64 })
}

fn inventory(plan: &Plan, packages: &[Package], resolved: Vec<Resolved>) -> Inventory {
    let packed = packages
        .iter()
        .zip(resolved)
        .map(|(package, resolved)| sbom::Packed {
            name: package.archive.clone(),
            platform: package.platform,
            sha256: package.sha256,
            binaries: package.binaries.iter().map(|binary| (binary.path.clone(), binary.sha256)).collect(),
            resolved,
        })
        .collect();
    let product = sbom::Product {
        name: plan.name.clone(),
        version: plan.release.version.clone(),
        created: plan.source.date,
        repository: plan.source.repository.clone(),
        commit: plan.source.commit.clone(),
    };
    Inventory::assemble(product, packed)
}

fn index(plan: &Plan, packages: &[Package], files: Vec<ListedFile>) -> Index {
    Index {
        kind: index::TYPE.to_owned(),
        name: plan.name.clone(),
        version: plan.release.version.clone(),
        tag: plan.release.tag.clone(),
        channel: plan.channel.clone(),
        created_at: plan.source.date.to_string(),
        source: IndexSource {
            repository: plan.source.repository.clone(),
            commit: plan.source.commit.clone(),
            // The branch that happens to be checked out is no property of the source; the release's tag
            // is, once it is there.
            reference: plan.source.tags.contains(&plan.release.tag).then(|| format!("refs/tags/{}", plan.release.tag)),
            dirty: plan.source.dirty,
        },
        packages: packages.to_vec(),
        files,
    }
}

fn statement(plan: &Plan, built: &Built, pinned: &BTreeMap<FileName, Digest>) -> Result<Statement> {
    let external = external(plan, built);
    let invocation_id = external.invocation_id(plan.source.commit.as_deref());
    Ok(Statement {
        kind: provenance::STATEMENT_TYPE.to_owned(),
        subject: pinned
            .iter()
            .map(|(name, digest)| Subject { name: name.clone(), digest: Sha256 { sha256: *digest } })
            .collect(),
        predicate_type: provenance::PREDICATE_TYPE.to_owned(),
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: provenance::BUILD_TYPE.to_owned(),
                external_parameters: external,
                internal_parameters: internal(plan, built),
                resolved_dependencies: dependencies(plan, built)?,
            },
            run_details: RunDetails {
                builder: Builder {
                    id: format!("{}-{}", provenance::BUILDER_ID, plan.mode.as_str()),
                    version: BTreeMap::from([("consign".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
                },
                metadata: RunMetadata { invocation_id },
            },
        },
    })
}

fn external(plan: &Plan, built: &Built) -> ExternalParameters {
    let hooks = plan.stages.iter().flat_map(|stage| {
        let named = |when: &str, commands: &Vec<Vec<String>>| (format!("{when}-{}", stage.stage), commands.clone());
        [named("before", &stage.before), named("after", &stage.after)]
    });
    ExternalParameters {
        name: plan.name.clone(),
        version: plan.release.version.clone(),
        tag: plan.release.tag.clone(),
        mode: plan.mode.as_str().to_owned(),
        workspace: plan.places.below_repository.components().map(|part| part.as_str()).collect::<Vec<_>>().join("/"),
        packages: plan.packages.clone(),
        profile: plan.build.profile.clone(),
        platforms: plan
            .platforms
            .iter()
            .zip(&built.platforms)
            .map(|(platform, built)| PlatformParameters {
                platform: platform.platform,
                target: platform.build_target.clone(),
                builder: built.metadata.builder.clone(),
                features: platform.features.clone(),
                arguments: platform.arguments.clone(),
                format: platform.format,
            })
            .collect(),
        level: plan.archive.level,
        include: plan.archive.include.clone(),
        installer: installer::parameters(&plan.installer),
        binaries: plan.binaries.clone(),
        hooks: hooks.filter(|(_, commands)| !commands.is_empty()).collect(),
    }
}

fn internal(plan: &Plan, built: &Built) -> InternalParameters {
    let compilers = built.platforms.iter().filter_map(|platform| {
        let compiler = platform.metadata.compiler.clone()?;
        Some((platform.metadata.platform.to_string(), compiler))
    });
    let all = built.platforms.iter().map(|built| (built.metadata.platform.to_string(), &built.metadata));
    let flags = all.clone().filter(|(_, metadata)| !metadata.rustflags.is_empty());
    let flags = flags.map(|(platform, metadata)| (platform, metadata.rustflags.clone()));
    let profiles = all.filter(|(_, metadata)| !metadata.cargo_profile.is_empty());
    let profiles = profiles.map(|(platform, metadata)| (platform, metadata.cargo_profile.clone()));
    InternalParameters {
        source_date_epoch: plan.source.date.as_second(),
        compilers: compilers.collect(),
        rustflags: flags.collect(),
        cargo_profile: profiles.collect(),
        dirty: plan.source.dirty,
    }
}

/// The commit, the lock file and the compilers.
fn dependencies(plan: &Plan, built: &Built) -> Result<Vec<ResolvedDependency>> {
    let mut all = Vec::new();
    if let Some(commit) = &plan.source.commit {
        all.push(ResolvedDependency::source(plan.source.repository.as_deref(), commit));
    }
    let lock = plan.places.root.join("Cargo.lock");
    if lock.is_file() {
        let bytes = files::read_bounded(&lock, 64 << 20)?;
        all.push(ResolvedDependency {
            name: "Cargo.lock".to_owned(),
            uri: None,
            digest: BTreeMap::from([("sha256".to_owned(), Digest::of(&bytes).to_string())]),
        });
    }
    let compilers: BTreeSet<_> = built
        .platforms
        .iter()
        .filter_map(|platform| platform.metadata.compiler.as_ref())
        .map(|compiler| &compiler.version)
        .collect();
    all.extend(compilers.into_iter().map(|version| ResolvedDependency {
        name: version.clone(),
        uri: Some("https://www.rust-lang.org/".to_owned()),
        digest: BTreeMap::new(),
    }));
    Ok(all)
}
