//! Several machines' bundles become the one that a single machine would have made.
//!
//! [`find`] looks for the parts, [`open`] verifies one, [`merge`] joins them. The archives are taken as
//! they are; every document is written anew by [`describe`](super::describe), from what the parts say of
//! their builders, compilers and crates. Nothing is believed: the same code has to give each part's own
//! documents again, byte for byte, before the joint ones are written. Signatures of parts are not taken
//! along, for they are over other documents.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::build::{Built, BuiltPlatform};
use super::package::{self, Packed};
use super::plan::Plan;
use super::verify::{self, Requirements};
use super::{describe, merge_checks};
use crate::model::events::{Event, Listener, Silence};
use crate::model::failure::Result;
use crate::model::index::Package;
use crate::model::metadata::BuildMetadata;
use crate::model::provenance::{self, Statement};
use crate::model::sbom::{self, ComponentKey, Product, Resolved};
use crate::model::{Code, Digest, Failure, FileName, Platform, checksums, index};
use crate::trust::{Bundle, Verified, documents};
use crate::world::{files, resolve};

/// The bundle of one machine, verified.
#[derive(Debug)]
pub struct Part {
    /// Where it is.
    pub directory: Utf8PathBuf,
    /// What the verifier found.
    pub bundle: Verified<Bundle>,
    /// How it was made.
    pub statement: Statement,
    /// Its SBOMs: SPDX, then CycloneDX.
    sboms: [Vec<u8>; 2],
}

/// How many directories a part may lie below one that was named, as downloads of a workflow do.
const MAX_DEPTH: usize = 3;

/// The directories of all bundles at or below the ones that are named, sorted.
pub fn find(places: &[Utf8PathBuf]) -> Result<Vec<Utf8PathBuf>> {
    let mut found = BTreeSet::new();
    for place in places {
        let before = found.len();
        if place.is_dir() {
            look(place, MAX_DEPTH, &mut found)?;
        }
        if found.len() == before && !found.contains(place) {
            return Err(Failure::new(Code::BundleMissing, format!("there is no bundle in `{place}`"))
                .subject(place.as_str())
                .hint("name what `consign package` made on each machine: a directory with an index.json"));
        }
    }
    Ok(found.into_iter().collect())
}

fn look(place: &Utf8Path, depth: usize, found: &mut BTreeSet<Utf8PathBuf>) -> Result<()> {
    // A bundle that lacks one of these is one all the same: the verifier says what is missing.
    let documents = [index::FILE_NAME, checksums::FILE_NAME, provenance::FILE_NAME];
    if documents.iter().any(|name| place.join(name).symlink_metadata().is_ok()) {
        found.insert(place.to_owned());
        return Ok(());
    }
    for (name, _) in files::list(place)? {
        let below = place.join(name);
        let is_directory = below.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if is_directory && depth > 0 {
            look(&below, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Verifies a part and reads what the joint documents are made from.
pub fn open(directory: &Utf8Path, listener: &dyn Listener) -> Result<Part> {
    let report = verify::verify(directory, None, &Requirements::default(), listener)?;
    let bundle = report.accept()?;
    if let Some(evidence) = bundle.evidence.first() {
        let message = format!("`{}` of `{directory}` is not taken along: sign what comes of merging", evidence.name);
        listener.hear(&Event::Warning { message });
    }
    let read = |name: &str| read(directory, &bundle, name);
    let statement = documents::read_provenance(&read(provenance::FILE_NAME)?).map_err(|problem| {
        Failure::new(Code::DocumentInvalid, format!("failed to read the provenance in `{directory}`"))
            .subject(provenance::FILE_NAME)
            .because(problem)
    })?;
    let sboms = [read(sbom::SPDX_FILE_NAME)?, read(sbom::CYCLONEDX_FILE_NAME)?];
    Ok(Part { directory: directory.to_owned(), statement, sboms, bundle })
}

/// Reads an asset of a bundle, which has to be what was verified.
fn read(directory: &Utf8Path, bundle: &Bundle, name: &str) -> Result<Vec<u8>> {
    let path = directory.join(name);
    let Some(asset) = bundle.assets.iter().find(|asset| asset.name.as_str() == name) else {
        return Err(Failure::new(Code::FileMissing, format!("there is no `{path}`")).subject(name));
    };
    let bytes = files::read_bounded(&path, usize::try_from(asset.size_bytes).unwrap_or(usize::MAX))?;
    if Digest::of(&bytes) == asset.sha256 {
        return Ok(bytes);
    }
    Err(Failure::new(Code::DigestMismatch, format!("`{path}` was changed after it was verified"))
        .subject(name)
        .hint("see who else works in the directory, and merge again"))
}

/// Joins the parts to the bundle of the plan. `of` makes the same plan for some of its platforms, as the
/// machine did that made a part.
pub fn merge(
    plan: &Plan,
    of: &dyn Fn(Vec<Platform>) -> Result<Plan>,
    parts: &[Part],
    listener: &dyn Listener,
) -> Result<Packed> {
    parts.iter().try_for_each(|part| merge_checks::belongs(plan, part))?;
    let sources = merge_checks::sources(plan, parts)?;
    let lock = plan.places.root.join("Cargo.lock");
    if !lock.is_file() {
        return Err(Failure::new(Code::LockMissing, "Cargo.lock is missing, and the crates of the parts are in none")
            .subject(lock.as_str())
            .hint(
                "run `cargo generate-lockfile` and commit Cargo.lock, so that every machine builds the same crates",
            ));
    }
    let known = resolve::lock::crates(&lock)?;
    let mut pieces = Vec::new();
    for part in parts {
        let all = part.pieces(plan, &known)?;
        check_documents(&of(platforms(&all))?, part, &all)?;
        // Of a platform that several parts have alike, the first is as good as any.
        pieces.extend(all.into_iter().filter(|piece| sources.get(&piece.package.platform) == Some(&&*part.directory)));
    }
    pieces.sort_by_key(|piece| piece.package.platform);
    package::place(plan, |staging| {
        for (piece, part) in pieces.iter().filter_map(|piece| Some((piece, piece.part(parts)?))) {
            let archive = piece.package.archive.as_str();
            files::write(&staging.join(archive), &read(&part.directory, &part.bundle, archive)?)?;
        }
        write(plan, &pieces, staging, listener)?;
        verify::verify(staging, Some(&plan.release), &Requirements::default(), listener)?.accept()?;
        Ok(pieces.iter().map(|piece| piece.package.clone()).collect())
    })
}

/// What is known of one platform.
#[derive(Clone)]
struct Piece {
    directory: Utf8PathBuf,
    package: Package,
    built: BuiltPlatform,
    resolved: Resolved,
}

impl Piece {
    fn part<'a>(&self, parts: &'a [Part]) -> Option<&'a Part> {
        parts.iter().find(|part| part.directory == self.directory)
    }
}

impl Part {
    fn pieces(&self, plan: &Plan, known: &[ComponentKey]) -> Result<Vec<Piece>> {
        let product = Product {
            name: plan.name.clone(),
            version: plan.release.version.clone(),
            created: plan.source.date,
            repository: plan.source.repository.clone(),
            commit: plan.source.commit.clone(),
        };
        let [spdx, cyclonedx] = &self.sboms;
        let mut resolved =
            sbom::cyclonedx::recover(cyclonedx, spdx, &product, known).map_err(|problem| self.disagrees(problem))?;
        let piece = |package: &Package| {
            let resolved = resolved.remove(&package.archive).unwrap_or_default();
            let built = BuiltPlatform { directory: self.directory.clone(), metadata: self.metadata(plan, package)? };
            Ok(Piece { directory: self.directory.clone(), package: package.clone(), built, resolved })
        };
        self.bundle.index.packages.iter().map(piece).collect()
    }

    /// What the provenance says of the build of a package.
    fn metadata(&self, plan: &Plan, package: &Package) -> Result<BuildMetadata> {
        let build = &self.statement.predicate.build_definition;
        let (external, internal) = (&build.external_parameters, &build.internal_parameters);
        let key = package.platform.to_string();
        let platform = external
            .platforms
            .iter()
            .find(|parameters| parameters.platform == package.platform)
            .ok_or_else(|| self.disagrees(format!("its provenance does not say how {key} was built")))?;
        Ok(BuildMetadata {
            kind: BuildMetadata::TYPE.to_owned(),
            name: plan.name.clone(),
            version: plan.release.version.clone(),
            tag: plan.release.tag.clone(),
            platform: package.platform,
            target: package.target.clone(),
            commit: plan.source.commit.clone(),
            dirty: false,
            builder: platform.builder.clone(),
            profile: external.profile.clone(),
            features: platform.features.clone(),
            arguments: platform.arguments.clone(),
            rustflags: internal.rustflags.get(&key).cloned().unwrap_or_default(),
            cargo_profile: internal.cargo_profile.get(&key).cloned().unwrap_or_default(),
            compiler: internal.compilers.get(&key).cloned(),
            binaries: Vec::new(),
        })
    }

    /// The failure of a part that is not what this workspace would have made of its archives.
    pub(super) fn disagrees(&self, problem: impl std::fmt::Display) -> Failure {
        let message = format!("the part in `{}` does not fit this workspace: {problem}", self.directory);
        Failure::new(Code::PartsDisagree, message)
            .subject(self.directory.as_str())
            .hint("build and merge with the same commit, consign.toml, settings and version of Consign")
    }
}

fn platforms(pieces: &[Piece]) -> Vec<Platform> {
    pieces.iter().map(|piece| piece.package.platform).collect()
}

/// Writes every document of the plan's platforms into a directory.
fn write(plan: &Plan, pieces: &[Piece], place: &Utf8Path, listener: &dyn Listener) -> Result<()> {
    let built = Built { platforms: pieces.iter().map(|piece| piece.built.clone()).collect() };
    let packages: Vec<_> = pieces.iter().map(|piece| piece.package.clone()).collect();
    let resolved = pieces.iter().map(|piece| piece.resolved.clone()).collect();
    describe::describe(plan, &built, &packages, resolved, place, listener)
}

/// Writes the documents of a part again; they have to be those that it came with.
fn check_documents(plan: &Plan, part: &Part, pieces: &[Piece]) -> Result<()> {
    let parent = plan.places.bundle.parent().unwrap_or(&plan.places.dist);
    let again = package::staging(parent)?;
    let place = files::utf8(again.path().to_owned())?;
    write(plan, pieces, &place, &Silence)?;
    let archives: BTreeSet<&FileName> = pieces.iter().map(|piece| &piece.package.archive).collect();
    let theirs = part.bundle.assets.iter().filter(|asset| !archives.contains(&asset.name));
    let mut theirs: BTreeMap<String, Digest> = theirs.map(|asset| (asset.name.to_string(), asset.sha256)).collect();
    // Whatever pins others comes after them, so that the cause is named and not its consequence.
    let pins = |name: &str| {
        [index::FILE_NAME, provenance::FILE_NAME, checksums::FILE_NAME].iter().position(|pin| *pin == name)
    };
    let mut ours: Vec<_> = files::list(&place)?.into_iter().map(|(name, _)| name).collect();
    ours.sort_by_key(|name| pins(name));
    for name in ours {
        let bytes = files::read_bounded(&place.join(&name), sbom::MAX_BYTES)?;
        if theirs.remove(&name) != Some(Digest::of(&bytes)) {
            let what = merge_checks::difference(part, &name, &bytes);
            return Err(part.disagrees(format!("its `{name}` is another one than would be written here{what}")));
        }
    }
    match theirs.pop_first() {
        Some((name, _)) => Err(part.disagrees(format!("its `{name}` would not be written here"))),
        None => Ok(()),
    }
}
