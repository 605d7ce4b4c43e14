//! The programs in an archive against those that the index lists.

use std::collections::BTreeMap;

use crate::model::index::PackagedBinary;

use super::Entry;

/// The directory that programs, and nothing else, are in.
pub const DIRECTORY: &str = "bin/";

/// Every difference between the programs among the entries and the listed ones, as a sentence about
/// the archive.
pub fn differences(entries: &[Entry], listed: &[PackagedBinary]) -> Vec<String> {
    let mut listed: BTreeMap<&str, _> = listed.iter().map(|binary| (binary.path.as_str(), binary)).collect();
    let mut differences = Vec::new();
    for entry in entries.iter().filter(|entry| entry.path.starts_with(DIRECTORY)) {
        let path = &entry.path;
        match listed.remove(path.as_str()) {
            None => differences.push(format!("it holds `{path}`, which the index does not list")),
            Some(binary) if (binary.sha256, binary.size_bytes) != (entry.sha256, entry.size_bytes) => {
                differences.push(format!("its `{path}` is not the one that the index lists"));
            }
            Some(_) if !entry.executable => differences.push(format!("its `{path}` cannot be run")),
            Some(_) => {}
        }
    }
    differences.extend(listed.into_keys().map(|path| format!("it does not hold `{path}`, which the index lists")));
    differences
}
