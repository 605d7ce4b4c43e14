//! The checksums in Cargo.lock, in every version of that file.

use std::collections::{BTreeMap, HashMap};

use camino::Utf8Path;
use cargo_metadata::Package;
use serde::Deserialize;

use super::clean_source;
use crate::model::failure::Result;
use crate::model::sbom::ComponentKey;
use crate::model::{Code, Digest, Failure};
use crate::world::files;

/// The largest lock file that is read, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// The digest of each `.crate` file by name, version and source.
#[derive(Debug, Default)]
pub(super) struct Checksums(HashMap<String, Digest>);

impl Checksums {
    /// The digest of a package, if it came from a registry.
    pub(super) fn of(&self, package: &Package) -> Option<Digest> {
        let source = package.source.as_ref()?;
        self.0.get(&identifier(&package.name, &package.version.to_string(), &source.repr)).copied()
    }
}

/// Fields that are not of use here are not looked at: the form of this file belongs to cargo.
#[derive(Deserialize)]
struct LockFile {
    #[serde(default)]
    package: Vec<LockedPackage>,
    /// Where the first version of the format keeps `checksum <name> <version> (<source>)`.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// Reads the lock file.
pub(super) fn read(path: &Utf8Path) -> Result<Checksums> {
    Ok(checksums(load(path)?))
}

/// Every crate that the lock file lists; those without a version that can be read are left out.
pub fn crates(path: &Utf8Path) -> Result<Vec<ComponentKey>> {
    let key = |package: LockedPackage| {
        let source = package.source.as_deref().map(clean_source).unwrap_or_default();
        Some(ComponentKey { name: package.name, version: package.version.parse().ok()?, source })
    };
    Ok(load(path)?.package.into_iter().filter_map(key).collect())
}

fn load(path: &Utf8Path) -> Result<LockFile> {
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    toml::from_str(&String::from_utf8_lossy(&bytes)).map_err(|error| {
        let hint = "`cargo generate-lockfile` writes it anew";
        Failure::new(Code::WorkspaceInvalid, format!("failed to read `{path}`")).hint(hint).because(error.to_string())
    })
}

fn checksums(lock: LockFile) -> Checksums {
    let old = lock.metadata.into_iter().filter_map(|(name, checksum)| {
        let identifier = name.strip_prefix("checksum ")?.to_owned();
        Some((identifier, checksum))
    });
    let new = lock
        .package
        .into_iter()
        .filter_map(|package| Some((identifier(&package.name, &package.version, &package.source?), package.checksum?)));
    // Git packages have `<none>` in old files.
    let known = old.chain(new).filter_map(|(identifier, checksum)| Some((identifier, checksum.parse().ok()?)));
    Checksums(known.collect())
}

fn identifier(name: &str, version: &str, source: &str) -> String {
    format!("{name} {version} ({source})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
    const SOURCE: &str = "registry+https://example.org/index";

    fn checksum(text: &str) -> Option<String> {
        checksums(toml::from_str(text).expect("a lock file"))
            .0
            .get(&identifier("a", "1.0.0", SOURCE))
            .map(ToString::to_string)
    }

    #[test]
    fn checksums_are_read_from_the_first_form_and_from_the_later_ones() {
        let first = format!(
            "[root]\nname = \"x\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"{SOURCE}\"\n\n[metadata]\n\"checksum a 1.0.0 ({SOURCE})\" = \"{DIGEST}\"\n\"checksum b 1.0.0 (git+https://h/b#1)\" = \"<none>\"\n"
        );
        let later = format!(
            "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"{SOURCE}\"\nchecksum = \"{DIGEST}\"\ndependencies = [\"b\"]\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n"
        );
        assert_eq!(checksum(&first).as_deref(), Some(DIGEST));
        assert_eq!(checksum(&later).as_deref(), Some(DIGEST));
    }
}
