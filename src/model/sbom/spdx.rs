//! Reads what a document says of the release.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Described;
use crate::model::{Digest, FileName};

#[derive(Deserialize)]
struct Document {
    name: FileName,
    version: semver::Version,
    archives: BTreeMap<FileName, Digest>,
}

/// Reads what a document says of the release.
pub fn described(bytes: &[u8]) -> Result<Described, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(Described { name: document.name, version: document.version, archives: document.archives })
}
