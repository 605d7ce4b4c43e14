//! A small, valid bundle in memory, made by the crate's own renderers, and ways to spoil it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use camino::Utf8Path;
use consign::archive::{Options, Packed, Writer};
use consign::model::checksums::{self, Checksums};
use consign::model::index::{self, ArchiveFormat, Index, IndexSource, ListedFile, Package, PackagedBinary};
use consign::model::metadata::PackageMetadata;
use consign::model::provenance::{self, *};
use consign::model::sbom::{self, Component, ComponentKey, Inventory, Resolved, Role};
use consign::model::{Digest, Platform, pretty};
use consign::trust::Anchor;
use consign::trust::bundle::{Case, Documents, Examiner, Verdict};
use consign::trust::key::Signer;

pub const DATE: &str = "2025-01-02T03:04:05Z";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The files of a bundle by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a bundle is made from. Change it, then [`Recipe::bake`].
pub struct Recipe {
    pub index: Index,
    pub statement: Statement,
    pub archives: Files,
    /// What the SBOMs say, if not the truth.
    pub described: Option<(String, String, BTreeMap<String, Digest>)>,
    /// What is changed in what the SBOMs (SPDX, then CycloneDX) are made from.
    pub inventories: fn(&mut [Inventory; 2]),
}

/// A small valid bundle of three platforms, one archive of each format.
pub fn bundle_fixture() -> Files {
    recipe().bake()
}

pub fn recipe() -> Recipe {
    let rows = [
        ("linux-amd64", ArchiveFormat::TarGz),
        ("linux-arm64", ArchiveFormat::TarZst),
        ("windows-amd64", ArchiveFormat::Zip),
    ];
    let mut archives = Files::new();
    let mut packages = Vec::new();
    for (platform, format) in rows {
        let platform: Platform = platform.parse().unwrap();
        let program = format!("program of {platform}\n").repeat(40).into_bytes();
        let packed = archive(platform, format, &program, &metadata(platform));
        let name = format!("{}.{}", stem(platform), format.extension());
        packages.push(package(platform, format, &packed, &program));
        archives.insert(name, packed.bytes);
    }
    let index = Index {
        kind: index::TYPE.to_owned(),
        name: "tool".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        tag: "v1.0.0".to_owned(),
        channel: "stable".to_owned(),
        created_at: DATE.to_owned(),
        source: IndexSource {
            repository: Some("https://github.com/example/tool".to_owned()),
            commit: Some(COMMIT.to_owned()),
            reference: Some("refs/tags/v1.0.0".to_owned()),
            dirty: false,
        },
        packages,
        files: Vec::new(),
    };
    let statement = statement(&index);
    Recipe { index, statement, archives, described: None, inventories: |_| {} }
}

pub fn stem(platform: Platform) -> String {
    format!("tool-1.0.0-{platform}")
}

pub fn program_path(platform: Platform) -> String {
    format!("bin/tool{}", platform.exe_suffix())
}

pub fn metadata(platform: Platform) -> PackageMetadata {
    PackageMetadata {
        kind: PackageMetadata::TYPE.to_owned(),
        name: "tool".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        platform,
        target: platform.target().to_owned(),
        commit: Some(COMMIT.to_owned()),
        compiler: None,
    }
}

pub fn archive(platform: Platform, format: ArchiveFormat, program: &[u8], metadata: &PackageMetadata) -> Packed {
    let options = Options { format, level: None, date: DATE.parse().unwrap() };
    let mut writer = Writer::new(&stem(platform).parse().unwrap(), options);
    let metadata = pretty(metadata);
    for (path, executable, mut content) in [
        ("README.md", false, b"# tool\n".as_slice()),
        (program_path(platform).as_str(), true, program),
        ("metadata.json", false, metadata.as_slice()),
    ] {
        writer.append(path, executable, content.len() as u64, &mut content).unwrap();
    }
    writer.finish().unwrap()
}

pub fn package(platform: Platform, format: ArchiveFormat, packed: &Packed, program: &[u8]) -> Package {
    Package {
        platform,
        target: platform.target().to_owned(),
        archive: format!("{}.{}", stem(platform), format.extension()).parse().unwrap(),
        format,
        size_bytes: 0,
        unpacked_size_bytes: packed.unpacked_size_bytes,
        sha256: Digest::of(b""),
        binaries: vec![PackagedBinary {
            path: program_path(platform),
            sha256: Digest::of(program),
            size_bytes: program.len() as u64,
        }],
    }
}

fn statement(index: &Index) -> Statement {
    let platforms = index.packages.iter().map(|package| PlatformParameters {
        platform: package.platform,
        target: package.target.clone(),
        builder: "cargo".to_owned(),
        features: vec!["default".to_owned()],
        arguments: Vec::new(),
        format: package.format,
    });
    Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: Vec::new(),
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: ExternalParameters {
                    name: index.name.clone(),
                    version: index.version.clone(),
                    tag: index.tag.clone(),
                    mode: "release".to_owned(),
                    workspace: String::new(),
                    packages: vec!["tool".to_owned()],
                    profile: "release".to_owned(),
                    platforms: platforms.collect(),
                    level: None,
                    include: Vec::new(),
                    installer: None,
                    binaries: vec!["tool".to_owned()],
                    hooks: BTreeMap::new(),
                },
                internal_parameters: InternalParameters {
                    rustflags: BTreeMap::new(),
                    cargo_profile: BTreeMap::new(),
                    source_date_epoch: 1_735_787_045,
                    compilers: BTreeMap::new(),
                    dirty: false,
                },
                resolved_dependencies: vec![ResolvedDependency::source(index.source.repository.as_deref(), COMMIT)],
            },
            run_details: RunDetails {
                builder: Builder { id: format!("{}-release", provenance::BUILDER_ID), version: BTreeMap::new() },
                metadata: RunMetadata { invocation_id: String::new() },
            },
        },
    }
}

impl Recipe {
    pub fn bake(self) -> Files {
        self.bake_spoiled(|_| {}, |_| {}, |_| {})
    }

    /// Puts a platform's archive in the place of another one, with all digests right.
    pub fn replace_archive(&mut self, platform: &str, bytes: Vec<u8>, unpacked_size_bytes: u64) {
        let package = self.index.packages.iter_mut().find(|package| package.platform.name() == platform).unwrap();
        package.unpacked_size_bytes = unpacked_size_bytes;
        self.archives.insert(package.archive.to_string(), bytes);
    }

    /// Makes the documents in their order; each can be spoiled before those that pin it are made.
    pub fn bake_spoiled(
        self,
        index: impl Fn(&mut Index),
        statement: impl Fn(&mut Statement),
        checksums: impl Fn(&mut Checksums),
    ) -> Files {
        let Self {
            index: mut listed,
            statement: mut stated,
            archives: mut files,
            described,
            inventories: described_otherwise,
        } = self;
        for package in &mut listed.packages {
            let bytes = &files[package.archive.as_str()];
            (package.size_bytes, package.sha256) = (bytes.len() as u64, Digest::of(bytes));
        }
        let mut described = inventories(&listed, described);
        described_otherwise(&mut described);
        let [spdx, cyclonedx] = described;
        for (name, kind, bytes) in [
            (sbom::SPDX_FILE_NAME, "sbom-spdx", sbom::spdx::render(&spdx)),
            (sbom::CYCLONEDX_FILE_NAME, "sbom-cyclonedx", sbom::cyclonedx::render(&cyclonedx)),
        ] {
            let (size_bytes, sha256) = (bytes.len() as u64, Digest::of(&bytes));
            listed.files.push(ListedFile { name: name.parse().unwrap(), kind: kind.to_owned(), size_bytes, sha256 });
            files.insert(name.to_owned(), bytes);
        }
        listed.files.sort_by(|a, b| a.name.cmp(&b.name));
        index(&mut listed);
        files.insert(index::FILE_NAME.to_owned(), listed.render());
        stated.subject = digests(&files)
            .map(|(name, sha256)| Subject { name: name.parse().unwrap(), digest: Sha256 { sha256 } })
            .collect();
        statement(&mut stated);
        let Predicate { build_definition: build, run_details: run } = &mut stated.predicate;
        if run.metadata.invocation_id.is_empty() {
            run.metadata.invocation_id = build.external_parameters.invocation_id(listed.source.commit.as_deref());
        }
        files.insert(provenance::FILE_NAME.to_owned(), stated.render());
        let mut list = Checksums(digests(&files).map(|(name, digest)| (name.parse().unwrap(), digest)).collect());
        checksums(&mut list);
        files.insert(checksums::FILE_NAME.to_owned(), list.render());
        files
    }
}

fn digests(files: &Files) -> impl Iterator<Item = (&String, Digest)> {
    files.iter().map(|(name, bytes)| (name, Digest::of(bytes)))
}

/// What both SBOMs are made from: the truth, or something else.
fn inventories(index: &Index, described: Option<(String, String, BTreeMap<String, Digest>)>) -> [Inventory; 2] {
    let truth = || {
        let archives = index.packages.iter().map(|package| (package.archive.to_string(), package.sha256));
        (index.name.to_string(), index.version.to_string(), archives.collect())
    };
    let (name, version, archives) = described.unwrap_or_else(truth);
    let product = sbom::Product {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        created: DATE.parse().unwrap(),
        repository: None,
        commit: Some(COMMIT.to_owned()),
    };
    let packed = archives.into_iter().zip(Platform::all()).map(|((name, sha256), platform)| {
        let package = index.packages.iter().find(|package| package.archive.as_str() == name);
        let binaries = package.into_iter().flat_map(|package| &package.binaries);
        sbom::Packed {
            name: name.parse().unwrap(),
            platform: package.map_or(platform, |package| package.platform),
            sha256,
            binaries: binaries.map(|binary| (binary.path.clone(), binary.sha256)).collect(),
            resolved: resolved(),
        }
    });
    let inventory = Inventory::assemble(product, packed.collect());
    [inventory.clone(), inventory]
}

/// One crate without dependencies.
fn resolved() -> Resolved {
    let key = ComponentKey { name: "tool".to_owned(), version: "1.0.0".parse().unwrap(), source: String::new() };
    let component = Component {
        licence: Some("MIT".to_owned()),
        authors: Vec::new(),
        description: None,
        repository: None,
        checksum: None,
        role: Role::Runtime,
        depends_on: BTreeMap::new(),
    };
    Resolved { components: BTreeMap::from([(key.clone(), component)]), roots: [key].into() }
}

/// Judges a bundle in memory by its integrity alone.
pub fn judge(files: &Files) -> Verdict {
    judge_with(files, &Anchor::Unchecked)
}

/// The documents and the evidence, read as a verifier reads them.
pub fn gather(files: &Files) -> (Vec<(String, bool)>, Documents) {
    let listing: Vec<_> = files.keys().map(|name| (name.clone(), true)).collect();
    let read =
        |name: &str, max: usize| Ok::<_, ()>(files.get(name).map(|bytes| bytes[..bytes.len().min(max)].to_vec()));
    let documents = Documents::gather(&listing, read).unwrap();
    (listing, documents)
}

/// Judges a bundle in memory.
pub fn judge_with(files: &Files, anchor: &Anchor) -> Verdict {
    let (listing, documents) = gather(files);
    let case = Case::open(&listing, &documents, anchor);
    let mut examiner = Examiner::default();
    let exhibits = case.tasks().iter().map(|task| {
        let bytes = &files[task.name.as_str()];
        let readable = bytes.len().min(usize::try_from(task.max_bytes).unwrap() + 1);
        case.examine(&mut examiner, task, &bytes[..readable])
    });
    let exhibits = exhibits.collect();
    case.judge(exhibits, Vec::new())
}

/// Writes a bundle into a directory.
pub fn write(files: &Files, directory: &Utf8Path) {
    for (name, bytes) in files {
        fs_err::write(directory.join(name), bytes).unwrap();
    }
}

/// Reads a directory back.
pub fn read_directory(directory: &Utf8Path) -> Files {
    let names = consign::world::files::list(directory).unwrap();
    names.into_iter().map(|(name, _)| (name.clone(), fs_err::read(directory.join(name)).unwrap())).collect()
}

/// A bundle signed with these keys, one after another.
pub fn signed_with(files: &Files, signers: &[Box<dyn Signer>]) -> Files {
    let scratch = crate::support::Scratch::new();
    write(files, scratch.path());
    consign::pipeline::sign::sign(
        scratch.path(),
        None,
        consign::pipeline::sign::Hand::of(signers),
        &consign::model::events::Silence,
    )
    .unwrap();
    read_directory(scratch.path())
}
