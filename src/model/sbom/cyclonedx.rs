//! `sbom.cdx.json`: CycloneDX 1.6, <https://cyclonedx.org/docs/1.6/json/>.
//!
//! The product consists of archives (with their programs inside) and crates. A crate's properties
//! `consign:platform:<platform>` say for which archives it was compiled, and whether its code is in
//! them (`runtime`) or only ran while they were built (`build`).

mod recover;

use std::collections::{BTreeMap, HashSet};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::identity;
use super::licence;
use super::{Archive, Component, ComponentKey, Described, Inventory, Role};
use crate::model::{Digest, FileName};
pub use recover::recover;

const PRODUCT: &str = "product";

/// Writes the document.
pub fn render(inventory: &Inventory) -> Vec<u8> {
    seal(&mut document(inventory))
}

/// Writes the document with its serial number, which is made of the digest of the rest.
fn seal(document: &mut Document) -> Vec<u8> {
    document.serial_number = None;
    let digest = Digest::of(&super::rows::render(document));
    document.serial_number = Some(serial_number(&digest));
    super::rows::render(document)
}

/// Reads a document back, which has to be as [`render`] writes it, and says what it describes.
pub fn described(bytes: &[u8]) -> Result<Described, String> {
    let mut document: Document = super::read(bytes)?;
    if seal(&mut document) != bytes {
        return Err(super::OTHER_FORM.to_owned());
    }
    check_references(&document)?;
    let (mut archives, mut programs) = (BTreeMap::new(), BTreeMap::new());
    for part in document.components.iter().filter(|part| part.kind == Kind::File) {
        let name: FileName = part.name.parse().map_err(|_| "an archive's name is not a plain file name")?;
        for program in &part.components {
            if programs.insert((name.clone(), program.name.clone()), program.sha256()?).is_some() {
                return Err("it describes a program twice".to_owned());
            }
        }
        if archives.insert(name, part.sha256()?).is_some() {
            return Err("it describes an archive twice".to_owned());
        }
    }
    if archives.is_empty() {
        return Err("it describes no archive".to_owned());
    }
    let crates = crates(&document)?;
    let Metadata { timestamp: created, component: product, .. } = document.metadata;
    let name = product.name.parse().map_err(|_| "the product's name is not a plain one")?;
    let version: Version = product
        .version
        .and_then(|version| version.parse().ok())
        .ok_or("the product's version is not a semantic one")?;
    Ok(Described { name, version, created, archives, programs, crates })
}

/// Every reference is given once, and every dependency is between what there is.
fn check_references(document: &Document) -> Result<(), String> {
    let mut known = HashSet::new();
    let parts = document.components.iter().flat_map(|part| std::iter::once(part).chain(&part.components));
    for part in std::iter::once(&document.metadata.component).chain(parts) {
        let Some(reference) = &part.reference else { return Err("a component has no reference".to_owned()) };
        if !known.insert(reference.as_str()) {
            return Err("it gives a reference twice".to_owned());
        }
    }
    let mut named = document.dependencies.iter().flat_map(|row| std::iter::once(&row.reference).chain(&row.depends_on));
    if named.all(|reference| known.contains(reference.as_str())) {
        Ok(())
    } else {
        Err("it relates something that it does not describe".to_owned())
    }
}

fn crates(document: &Document) -> Result<Vec<(String, Option<Digest>)>, String> {
    let rows = document.components.iter().filter(|part| part.kind != Kind::File).map(|part| {
        let address = part.purl.clone().ok_or("a crate has no package URL")?;
        Ok((address, part.hashes.first().map(|hash| hash.content)))
    });
    let mut crates = rows.collect::<Result<Vec<_>, String>>()?;
    crates.sort_unstable();
    Ok(crates)
}

impl Part {
    /// The one digest of a file.
    fn sha256(&self) -> Result<Digest, String> {
        match self.hashes.as_slice() {
            [Hash { algorithm, content }] if algorithm == "SHA-256" => Ok(*content),
            _ => Err("a file has not exactly one SHA-256 digest".to_owned()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "$schema")]
    schema: String,
    bom_format: String,
    spec_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    version: u32,
    metadata: Metadata,
    components: Vec<Part>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Part,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tools {
    components: Vec<Part>,
}

/// A component. It is called a part here, because a [`Component`] is a crate in this module's input.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(rename = "bom-ref", default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    supplier: Option<Named>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    authors: Vec<Named>,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(rename = "externalReferences", default, skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    components: Vec<Part>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Application,
    Library,
    File,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Required,
    Excluded,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hash {
    #[serde(rename = "alg")]
    algorithm: String,
    content: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licence {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    license: Option<Named>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    #[serde(rename = "type")]
    kind: String,
    url: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Property {
    name: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

fn document(inventory: &Inventory) -> Document {
    let identifiers = identity::identifiers(inventory);
    let archives = inventory.archives.iter().map(|archive| archive_part(inventory, archive));
    let crates = inventory.components.iter().map(|(key, component)| {
        let reference = identifiers[key].clone();
        crate_part(inventory, key, component, reference)
    });
    Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json".to_owned(),
        bom_format: "CycloneDX".to_owned(),
        spec_version: "1.6".to_owned(),
        serial_number: None,
        version: 1,
        metadata: Metadata {
            timestamp: super::seconds(inventory.created),
            tools: Tools { components: vec![tool()] },
            component: product(inventory),
        },
        components: archives.chain(crates).collect(),
        dependencies: dependencies(inventory, &identifiers),
    }
}

/// A UUID of version 8 (RFC 9562), which is the one for such uses: made of a digest.
fn serial_number(digest: &Digest) -> String {
    let mut raw = [0; 16];
    raw.copy_from_slice(&digest.as_bytes()[..16]);
    raw[6] = 0x80 | raw[6] & 0x0f;
    raw[8] = 0x80 | raw[8] & 0x3f;
    let hex: Vec<_> = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex[range].concat();
    format!("urn:uuid:{}-{}-{}-{}-{}", part(0..4), part(4..6), part(6..8), part(8..10), part(10..16))
}

fn part(kind: Kind, name: String) -> Part {
    Part {
        kind,
        reference: None,
        supplier: None,
        authors: Vec::new(),
        name,
        version: None,
        description: None,
        scope: None,
        hashes: Vec::new(),
        licenses: Vec::new(),
        purl: None,
        references: Vec::new(),
        components: Vec::new(),
        properties: Vec::new(),
    }
}

fn tool() -> Part {
    Part { version: Some(env!("CARGO_PKG_VERSION").to_owned()), ..part(Kind::Application, "consign".to_owned()) }
}

fn product(inventory: &Inventory) -> Part {
    let root = inventory.roots.iter().next().and_then(|key| Some((key, inventory.components.get(key)?)));
    Part {
        reference: Some(PRODUCT.to_owned()),
        supplier: root.map(|(key, root)| Named { name: identity::supplier(key, root, inventory).name }),
        version: Some(inventory.version.to_string()),
        references: vcs(inventory.repository.as_deref()),
        ..part(Kind::Application, inventory.name.to_string())
    }
}

fn archive_part(inventory: &Inventory, archive: &Archive) -> Part {
    let reference = archive_reference(archive);
    let program = |(number, (path, digest)): (usize, &(String, Digest))| Part {
        reference: Some(format!("binary-{number}-of-{}", identity::identifier(archive.name.as_str()))),
        hashes: sha256(*digest),
        ..part(Kind::File, identity::one_line(path))
    };
    Part {
        reference: Some(reference),
        version: Some(inventory.version.to_string()),
        hashes: sha256(archive.sha256),
        components: archive.binaries.iter().enumerate().map(program).collect(),
        properties: vec![property("consign:platform", archive.platform.name())],
        ..part(Kind::File, archive.name.to_string())
    }
}

fn crate_part(inventory: &Inventory, key: &ComponentKey, component: &Component, reference: String) -> Part {
    let kind = if inventory.roots.contains(key) { Kind::Application } else { Kind::Library };
    let platforms = inventory.archives.iter().filter_map(|archive| {
        let role = archive.components.get(key)?;
        Some(property(&format!("consign:platform:{}", archive.platform), role.as_str()))
    });
    Part {
        reference: Some(reference),
        supplier: Some(Named { name: identity::supplier(key, component, inventory).name }),
        authors: identity::authors(component).into_iter().map(|name| Named { name }).collect(),
        version: Some(key.version.to_string()),
        description: component.description.as_deref().map(identity::one_line).filter(|line| !line.is_empty()),
        scope: Some(match component.role {
            Role::Runtime => Scope::Required,
            Role::Build => Scope::Excluded,
        }),
        hashes: component.checksum.map(sha256).unwrap_or_default(),
        licenses: licences(component),
        purl: Some(identity::package_url(key, inventory)),
        references: vcs(component.repository.as_deref()),
        properties: platforms.collect(),
        ..part(kind, identity::one_line(&key.name))
    }
}

fn dependencies(inventory: &Inventory, identifiers: &BTreeMap<&ComponentKey, String>) -> Vec<Dependency> {
    let named = |keys: &mut dyn Iterator<Item = &ComponentKey>| -> Vec<String> {
        keys.filter_map(|key| identifiers.get(key)).cloned().collect()
    };
    let product = Dependency {
        reference: PRODUCT.to_owned(),
        depends_on: inventory.archives.iter().map(archive_reference).collect(),
    };
    let archives = inventory.archives.iter().map(|archive| Dependency {
        reference: archive_reference(archive),
        depends_on: named(&mut archive.roots.iter()),
    });
    let crates = inventory.components.iter().map(|(key, component)| Dependency {
        reference: identifiers[key].clone(),
        depends_on: named(&mut component.depends_on.keys()),
    });
    std::iter::once(product).chain(archives).chain(crates).collect()
}

fn archive_reference(archive: &Archive) -> String {
    format!("archive-{}", identity::identifier(archive.name.as_str()))
}

fn licences(component: &Component) -> Vec<Licence> {
    let declared = licence::declared(component.licence.as_deref());
    match (declared.expression, declared.original) {
        (None, None) => Vec::new(),
        (expression, original) => {
            vec![Licence { expression, license: original.map(|name| Named { name }) }]
        }
    }
}

fn vcs(repository: Option<&str>) -> Vec<Reference> {
    let address = repository.and_then(identity::public_address);
    address.map(|url| Reference { kind: "vcs".to_owned(), url: url.to_owned() }).into_iter().collect()
}

fn sha256(digest: Digest) -> Vec<Hash> {
    vec![Hash { algorithm: "SHA-256".to_owned(), content: digest }]
}

fn property(name: &str, value: &str) -> Property {
    Property { name: name.to_owned(), value: value.to_owned() }
}
