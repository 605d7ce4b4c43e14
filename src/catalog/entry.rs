//! What the catalog says of a version, besides its files: the custom field of its `index.json`.
//!
//! An [`Entry`] is read by clients of other versions, so what is not known in it is ignored.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::model::{FileName, index};
use crate::trust::tuf::json::Json;
use crate::trust::tuf::roles::Target;

/// Whether a version may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It may.
    Active,
    /// It was withdrawn, and is given only to whoever names it.
    Yanked,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Yanked => "yanked",
        }
    }
}

/// What the catalog says of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The product's name.
    pub name: FileName,
    /// The bare version.
    pub version: Version,
    /// `stable`, or the first word of the prerelease.
    pub channel: String,
    /// Whether it may be chosen.
    pub status: Status,
    /// Why it was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The oldest Consign that can install it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_client_version: Option<Version>,
}

impl Entry {
    /// Reads it from a target, if it has one that can be read.
    pub fn of(target: &Target) -> Option<Self> {
        serde_json::from_slice(&serde_json::to_vec(target.custom.as_ref()?).ok()?).ok()
    }

    /// How it is written.
    pub fn to_json(&self) -> Json {
        let text = serde_json::to_vec(self).expect("plain data with text keys always serialises");
        Json::parse(&text).expect("it has no numbers and no doubled keys")
    }

    /// Whether it is chosen by whoever asks for the latest version.
    pub fn is_candidate(&self) -> bool {
        self.status == Status::Active && self.version.pre.is_empty()
    }
}

/// The path of a version's file in the catalog.
pub fn path_of(release: &str, file: &str) -> String {
    format!("{release}/{file}")
}

/// The release whose `index.json` a path is.
pub fn release_of(path: &str) -> Option<&str> {
    path.strip_suffix(index::FILE_NAME)?.strip_suffix('/').filter(|release| !release.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_with_more_in_it() {
        let entry = Entry {
            name: "tool".parse().expect("a name"),
            version: Version::new(1, 0, 0),
            channel: "stable".to_owned(),
            status: Status::Yanked,
            reason: Some("it eats \"files\"".to_owned()),
            minimum_client_version: None,
        };
        let mut custom = entry.to_json();
        let Json::Object(members) = &mut custom else { panic!("an object") };
        members.insert("later".to_owned(), Json::Number(1));
        let target = Target { length: 1, hashes: std::collections::BTreeMap::new(), custom: Some(custom) };
        assert_eq!(Entry::of(&target), Some(entry));
        assert_eq!(release_of("v1.0.0/index.json"), Some("v1.0.0"));
        assert_eq!((release_of("v1.0.0/index.json.sig"), release_of("index.json")), (None, None));
    }
}
