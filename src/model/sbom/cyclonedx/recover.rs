//! Back from the documents to what they were made from, so that those of several machines can be joined.
//!
//! [`recover`] gives, for every archive, the crates that were compiled for it. What a manifest said is
//! gone where the documents only keep what could be made of it; that makes no difference, for the same
//! is made of it again. Whoever uses it renders the documents once more and compares.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::{Component, ComponentKey, Inventory, Product, Resolved, Role, identity, spdx};
use super::{Document, Kind, Part, Scope};
use crate::model::FileName;

/// The start of the name of the property that says for which platform a crate was compiled.
const OF_PLATFORM: &str = "consign:platform:";

/// What was compiled for each archive, out of both documents of a bundle. A document names a crate's
/// source only as far as strangers can use it; the exact one is among `known`, the crates of the lock file.
pub fn recover(
    cyclonedx: &[u8],
    spdx: &[u8],
    product: &Product,
    known: &[ComponentKey],
) -> Result<BTreeMap<FileName, Resolved>, String> {
    let document: Document = super::super::read(cyclonedx)?;
    let while_compiled = spdx::build_dependencies(spdx)?;
    let keys = keys(&document, product, known)?;
    let below: HashMap<&str, &[String]> =
        document.dependencies.iter().map(|row| (row.reference.as_str(), row.depends_on.as_slice())).collect();
    let named = |reference: &str| below.get(reference).copied().unwrap_or_default();
    let crates = document.components.iter().filter(|part| part.kind != Kind::File);
    let crates: Vec<_> = crates
        .map(|part| {
            let reference = part.reference.as_deref().unwrap_or_default();
            let edge = |below: &String| {
                let is_build = while_compiled.contains(&(reference.to_owned(), below.clone()));
                Some((keys.get(below.as_str())?.clone(), if is_build { Role::Build } else { Role::Runtime }))
            };
            (part, &keys[reference], named(reference).iter().filter_map(edge).collect::<BTreeMap<_, _>>())
        })
        .collect();
    let archives = document.components.iter().filter(|part| part.kind == Kind::File).map(|archive| {
        let name: FileName = archive.name.parse().map_err(|_| "an archive's name is not a plain file name")?;
        let platform = archive.properties.first().ok_or("an archive has no platform")?;
        let property = format!("{OF_PLATFORM}{}", platform.value);
        let mut resolved = Resolved { roots: roots(archive, &keys, named), ..Resolved::default() };
        for (part, key, depends_on) in &crates {
            let Some(role) = part.properties.iter().find(|row| row.name == property) else { continue };
            let role = if role.value == Role::Build.as_str() { Role::Build } else { Role::Runtime };
            let component = Component { role, depends_on: depends_on.clone(), ..component(part) };
            resolved.components.insert((*key).clone(), component);
        }
        Ok((name, resolved))
    });
    archives.collect()
}

/// The key of every crate by its reference.
fn keys<'a>(
    document: &'a Document,
    product: &Product,
    known: &[ComponentKey],
) -> Result<HashMap<&'a str, ComponentKey>, String> {
    let own = Inventory::assemble(product.clone(), Vec::new());
    let mut keys = HashMap::new();
    let mut taken = BTreeSet::new();
    for part in document.components.iter().filter(|part| part.kind != Kind::File) {
        let (reference, version) = part.reference.as_deref().zip(part.version.as_deref()).unwrap_or_default();
        let is_it = |key: &&ComponentKey| {
            identity::one_line(&key.name) == part.name
                && key.version.to_string() == version
                && Some(identity::package_url(key, &own)) == part.purl
                && !taken.contains(*key)
        };
        let key = known
            .iter()
            .find(is_it)
            .ok_or_else(|| format!("Cargo.lock does not list the crate `{} {version}` that it describes", part.name))?;
        taken.insert(key);
        keys.insert(reference, key.clone());
    }
    Ok(keys)
}

fn roots<'a>(
    archive: &Part,
    keys: &HashMap<&str, ComponentKey>,
    named: impl Fn(&str) -> &'a [String],
) -> BTreeSet<ComponentKey> {
    let reference = archive.reference.as_deref().unwrap_or_default();
    named(reference).iter().filter_map(|root| keys.get(root.as_str())).cloned().collect()
}

/// What a document says of a crate on any platform.
fn component(part: &Part) -> Component {
    let licence = part.licenses.first();
    let original = licence.and_then(|licence| licence.license.as_ref()).map(|named| named.name.clone());
    Component {
        licence: licence.and_then(|licence| licence.expression.clone()).or(original),
        authors: part.authors.iter().map(|author| author.name.clone()).collect(),
        description: part.description.clone(),
        repository: part.references.first().map(|reference| reference.url.clone()),
        checksum: part.hashes.first().map(|hash| hash.content),
        role: match part.scope {
            Some(Scope::Excluded) => Role::Build,
            Some(Scope::Required) | None => Role::Runtime,
        },
        depends_on: BTreeMap::new(),
    }
}
