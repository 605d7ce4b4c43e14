//! `sbom.spdx.json`: SPDX 2.3, <https://spdx.github.io/spdx-spec/v2.3/>.
//!
//! The document describes the archives. An archive `CONTAINS` its programs and every crate whose code
//! is in them; a crate that only ran while they were built is a `BUILD_DEPENDENCY_OF` the archive; and
//! the archive is `GENERATED_FROM` the released packages. A crate `DEPENDS_ON` crates,
//! and what it needs only while it is compiled is its `BUILD_DEPENDENCY_OF` besides.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::identity::{self, Supplier};
use super::licence::{self, NO_ASSERTION};
use super::{Archive, Component, ComponentKey, Described, Inventory, Role};
use crate::model::{Digest, FileName};

const DOCUMENT_ID: &str = "SPDXRef-DOCUMENT";

/// Writes the document.
pub fn render(inventory: &Inventory) -> Vec<u8> {
    seal(&mut document(inventory))
}

/// Writes the document with its namespace, which has to be unique to this content: it is made of the
/// digest of the rest.
fn seal(document: &mut Document) -> Vec<u8> {
    document.namespace.clear();
    let digest = Digest::of(&super::rows::render(document));
    document.namespace = format!("https://spdx.org/spdxdocs/{}-{digest}", document.name);
    super::rows::render(document)
}

/// Reads a document back, which has to be as [`render`] writes it, and says what it describes.
pub fn described(bytes: &[u8]) -> Result<Described, String> {
    let mut document: Document = super::read(bytes)?;
    if seal(&mut document) != bytes {
        return Err(super::OTHER_FORM.to_owned());
    }
    let mut archives = BTreeMap::new();
    let mut identifiers = BTreeMap::new();
    let mut product: Option<(FileName, Version)> = None;
    for package in document.packages.iter().filter(|package| package.purpose == Some(Purpose::Archive)) {
        let (name, version, file, digest) = package.as_archive()?;
        if product.as_ref().is_some_and(|known| *known != (name.clone(), version.clone())) {
            return Err("it describes archives of different releases".to_owned());
        }
        product = Some((name, version));
        identifiers.insert(package.id.as_str(), file.clone());
        if archives.insert(file, digest).is_some() {
            return Err("it describes an archive twice".to_owned());
        }
    }
    let from_document = |link: &&Relationship| link.kind == Kind::Describes && link.from == DOCUMENT_ID;
    let subjects: BTreeSet<_> = document.relationships.iter().filter(from_document).map(|link| &*link.to).collect();
    if subjects != identifiers.keys().copied().collect() {
        return Err("what it describes is not its archives".to_owned());
    }
    check_references(&document)?;
    let (name, version) = product.ok_or("it describes no archive")?;
    let programs = programs(&document, &identifiers)?;
    let crates = crates(&document)?;
    Ok(Described { name, version, created: document.creation_info.created, archives, programs, crates })
}

/// Every identifier is given once, and every relationship is between what there is.
fn check_references(document: &Document) -> Result<(), String> {
    let mut known = HashSet::from([DOCUMENT_ID]);
    if !document.packages.iter().all(|package| known.insert(&package.id)) {
        return Err("it gives an identifier twice".to_owned());
    }
    let is_known = |link: &Relationship| known.contains(&*link.from) && known.contains(&*link.to);
    if document.relationships.iter().all(is_known) {
        Ok(())
    } else {
        Err("it relates something that it does not describe".to_owned())
    }
}

/// The programs, each of which is in exactly one archive. They have a file name, and crates have none.
fn programs(
    document: &Document,
    archives: &BTreeMap<&str, FileName>,
) -> Result<BTreeMap<(FileName, String), Digest>, String> {
    let is_program = |package: &&Package| package.file_name.is_some() && package.purpose == Some(Purpose::Application);
    let mut packages: BTreeMap<&str, &Package> =
        document.packages.iter().filter(is_program).map(|package| (&*package.id, package)).collect();
    let mut programs = BTreeMap::new();
    for link in document.relationships.iter().filter(|link| link.kind == Kind::Contains) {
        let Some(archive) = archives.get(&*link.from) else { continue };
        let Some(Package { file_name: Some(path), checksums, .. }) = packages.remove(&*link.to) else { continue };
        let [Checksum { algorithm, value }] = checksums.as_slice() else {
            return Err("a program has not exactly one digest".to_owned());
        };
        if algorithm != "SHA256" || programs.insert((archive.clone(), path.clone()), *value).is_some() {
            return Err("a program has no SHA-256 digest, or is described twice".to_owned());
        }
    }
    if packages.is_empty() { Ok(programs) } else { Err("a program is in no archive".to_owned()) }
}

fn crates(document: &Document) -> Result<Vec<(String, Option<Digest>)>, String> {
    let mut crates = Vec::new();
    for package in document.packages.iter().filter(|package| package.file_name.is_none()) {
        let [ExternalReference { kind, locator, .. }] = package.external_refs.as_slice() else {
            return Err("a crate has not exactly one package URL".to_owned());
        };
        if kind != "purl" {
            return Err("a crate has no package URL".to_owned());
        }
        crates.push((locator.clone(), package.checksums.first().map(|checksum| checksum.value)));
    }
    crates.sort_unstable();
    Ok(crates)
}

/// Which crates another one needed only while it was compiled: the identifiers of both, the one that
/// needed it first.
pub fn build_dependencies(bytes: &[u8]) -> Result<BTreeSet<(String, String)>, String> {
    let document: Document = super::read(bytes)?;
    let name = |id: &str| id.strip_prefix("SPDXRef-").filter(|name| name.starts_with("crate-")).map(str::to_owned);
    let links = document.relationships.iter().filter(|link| link.kind == Kind::BuildDependencyOf);
    Ok(links.filter_map(|link| Some((name(&link.to)?, name(&link.from)?))).collect())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    spdx_version: String,
    data_license: String,
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(rename = "documentNamespace")]
    namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
    license_list_version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: String,
    #[serde(rename = "packageFileName", default, skip_serializing_if = "Option::is_none")]
    file_name: Option<String>,
    supplier: String,
    download_location: String,
    files_analyzed: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    license_concluded: String,
    license_declared: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    license_comments: Option<String>,
    copyright_text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalReference>,
    #[serde(rename = "primaryPackagePurpose", default, skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Purpose {
    Archive,
    Application,
    Library,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checksum {
    algorithm: String,
    #[serde(rename = "checksumValue")]
    value: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExternalReference {
    #[serde(rename = "referenceCategory")]
    category: String,
    #[serde(rename = "referenceType")]
    kind: String,
    #[serde(rename = "referenceLocator")]
    locator: String,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Relationship {
    #[serde(rename = "spdxElementId")]
    from: String,
    #[serde(rename = "relationshipType")]
    kind: Kind,
    #[serde(rename = "relatedSpdxElement")]
    to: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    Describes,
    GeneratedFrom,
    Contains,
    DependsOn,
    BuildDependencyOf,
}

fn document(inventory: &Inventory) -> Document {
    let identifiers = identity::identifiers(inventory);
    let mut packages = Vec::new();
    let mut relationships = Vec::new();
    for archive in &inventory.archives {
        describe_archive(inventory, archive, &identifiers, &mut packages, &mut relationships);
    }
    for (key, component) in &inventory.components {
        packages.push(crate_package(inventory, key, component, &identifiers));
        relationships.extend(dependencies(key, component, &identifiers));
    }
    Document {
        spdx_version: "SPDX-2.3".to_owned(),
        data_license: "CC0-1.0".to_owned(),
        id: DOCUMENT_ID.to_owned(),
        name: format!("{}-{}", inventory.name, inventory.version),
        namespace: String::new(),
        creation_info: CreationInfo {
            created: super::seconds(inventory.created),
            creators: vec![format!("Tool: consign-{}", env!("CARGO_PKG_VERSION"))],
            license_list_version: list_version(),
        },
        packages,
        relationships,
    }
}

/// The licence list's version as SPDX wants it: two numbers.
fn list_version() -> String {
    let mut numbers = spdx::license_version().trim_start_matches('v').split('.');
    let mut next = || numbers.next().unwrap_or("0");
    format!("{}.{}", next(), next())
}

type Identifiers<'a> = BTreeMap<&'a ComponentKey, String>;

fn describe_archive(
    inventory: &Inventory,
    archive: &Archive,
    identifiers: &Identifiers<'_>,
    packages: &mut Vec<Package>,
    relationships: &mut Vec<Relationship>,
) {
    let id = format!("SPDXRef-archive-{}", identity::identifier(archive.name.as_str()));
    relationships.push(relationship(DOCUMENT_ID, Kind::Describes, &id));
    let base = product_package(inventory, archive);
    packages.push(Package {
        id: id.clone(),
        file_name: Some(archive.name.to_string()),
        checksums: sha256(archive.sha256),
        purpose: Some(Purpose::Archive),
        ..base
    });
    for (number, (path, digest)) in archive.binaries.iter().enumerate() {
        let binary = format!("SPDXRef-binary-{number}-of-{}", identity::identifier(archive.name.as_str()));
        relationships.push(relationship(&id, Kind::Contains, &binary));
        packages.push(Package {
            id: binary,
            file_name: Some(identity::one_line(path)),
            checksums: sha256(*digest),
            purpose: Some(Purpose::Application),
            ..product_package(inventory, archive)
        });
    }
    for root in archive.roots.iter().filter_map(|root| identifiers.get(root)) {
        relationships.push(relationship(&id, Kind::GeneratedFrom, &of_crate(root)));
    }
    for (key, role) in &archive.components {
        let Some(component) = identifiers.get(key).map(|name| of_crate(name)) else { continue };
        relationships.push(match role {
            Role::Runtime => relationship(&id, Kind::Contains, &component),
            Role::Build => relationship(&component, Kind::BuildDependencyOf, &id),
        });
    }
}

/// What archives and programs have in common: the product's name, version, supplier and licence.
fn product_package(inventory: &Inventory, archive: &Archive) -> Package {
    let roots: Vec<_> = archive.roots.iter().filter_map(|key| Some((key, inventory.components.get(key)?))).collect();
    let licences: BTreeSet<_> =
        roots.iter().map(|(_, root)| licence::declared(root.licence.as_deref()).as_spdx().to_owned()).collect();
    let supplier = roots.first().map(|(key, root)| identity::supplier(key, root, inventory));
    let fallback = || Supplier { name: format!("the authors of {}", inventory.name), is_person: false };
    Package {
        id: String::new(),
        name: inventory.name.to_string(),
        version_info: inventory.version.to_string(),
        file_name: None,
        supplier: actor(&supplier.unwrap_or_else(fallback)),
        download_location: NO_ASSERTION.to_owned(),
        files_analyzed: false,
        checksums: Vec::new(),
        license_concluded: NO_ASSERTION.to_owned(),
        license_declared: match licences.len() {
            1 => licences.into_iter().collect(),
            _ => NO_ASSERTION.to_owned(),
        },
        license_comments: None,
        copyright_text: NO_ASSERTION.to_owned(),
        summary: None,
        external_refs: Vec::new(),
        purpose: None,
    }
}

fn crate_package(
    inventory: &Inventory,
    key: &ComponentKey,
    component: &Component,
    identifiers: &Identifiers<'_>,
) -> Package {
    let licence = licence::declared(component.licence.as_deref());
    let summary = component.description.as_deref().map(identity::one_line).filter(|line| !line.is_empty());
    Package {
        id: of_crate(&identifiers[key]),
        name: identity::one_line(&key.name),
        version_info: key.version.to_string(),
        file_name: None,
        supplier: actor(&identity::supplier(key, component, inventory)),
        download_location: identity::download_location(key, inventory).unwrap_or_else(|| NO_ASSERTION.to_owned()),
        files_analyzed: false,
        checksums: component.checksum.map(sha256).unwrap_or_default(),
        license_concluded: NO_ASSERTION.to_owned(),
        license_declared: licence.as_spdx().to_owned(),
        license_comments: licence.original.map(|original| format!("The manifest says: {original}")),
        copyright_text: NO_ASSERTION.to_owned(),
        summary,
        external_refs: vec![ExternalReference {
            category: "PACKAGE-MANAGER".to_owned(),
            kind: "purl".to_owned(),
            locator: identity::package_url(key, inventory),
        }],
        purpose: Some(if inventory.roots.contains(key) { Purpose::Application } else { Purpose::Library }),
    }
}

fn dependencies(key: &ComponentKey, component: &Component, identifiers: &Identifiers<'_>) -> Vec<Relationship> {
    let from = of_crate(&identifiers[key]);
    let mut links = Vec::new();
    for (to, role) in &component.depends_on {
        let Some(to) = identifiers.get(to).map(|name| of_crate(name)) else { continue };
        // The general relationship comes first, because not every reader follows the other one,
        // which points backwards; it would leave the crates of the build hanging in the air.
        links.push(relationship(&from, Kind::DependsOn, &to));
        if *role == Role::Build {
            links.push(relationship(&to, Kind::BuildDependencyOf, &from));
        }
    }
    links
}

fn of_crate(name: &str) -> String {
    format!("SPDXRef-{name}")
}

fn relationship(from: &str, kind: Kind, to: &str) -> Relationship {
    Relationship { from: from.to_owned(), kind, to: to.to_owned() }
}

fn sha256(digest: Digest) -> Vec<Checksum> {
    vec![Checksum { algorithm: "SHA256".to_owned(), value: digest }]
}

fn actor(supplier: &Supplier) -> String {
    format!("{}: {}", if supplier.is_person { "Person" } else { "Organization" }, supplier.name)
}

impl Package {
    fn as_archive(&self) -> Result<(FileName, Version, FileName, Digest), String> {
        let file = self.file_name.as_deref().ok_or("an archive has no file name")?;
        let file: FileName = file.parse().map_err(|_| "an archive's file name is not a plain one")?;
        let name = self.name.parse().map_err(|_| "the product's name is not a plain one")?;
        let version = self.version_info.parse().map_err(|_| "the product's version is not a semantic one")?;
        match self.checksums.as_slice() {
            [only] if only.algorithm == "SHA256" => Ok((name, version, file, only.value)),
            _ => Err(format!("`{file}` has not exactly one SHA-256 digest")),
        }
    }
}
