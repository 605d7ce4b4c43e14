//! The artifact record: what was built from which commit, with what evidence, for which environments.
//!
//! An [`Artifact`] is immutable once a registry has it. Its identity is its service and an opaque id
//! that continuous integration gives; branch, commit and digests are fields and never parsed out of
//! the id. [`Artifact::read`] takes one from outside, [`Artifact::render`] writes the one form that its
//! digest is made over. [`import`] reads the records of older systems. Whether a bundle deserves
//! trust is not decided here.

pub mod export;
pub mod import;
mod unique;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::failure::Result;
use super::{Code, Digest, Failure, FileName, pretty};

/// The document type.
pub const TYPE: &str = "consign.artifact/v1";
/// The file that a build keeps its record in.
pub const FILE_NAME: &str = "artifact.json";
/// The largest record that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The most stages of a record.
const MAX_STAGES: usize = 64;
/// The most items of a record.
const MAX_ITEMS: usize = 256;
/// The most digests of a record, and the most files of its bundle.
const MAX_DIGESTS: usize = 2000;
/// The longest name of a branch or a tag, in bytes.
const MAX_REF_BYTES: usize = 255;

/// The whole record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Artifact {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", schema(pattern = "^consign\\.artifact/v1$"))]
    pub kind: String,
    /// What it is called, within its service. Nothing is read out of it.
    #[cfg_attr(feature = "server", schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$"))]
    pub id: FileName,
    /// What is released.
    #[cfg_attr(feature = "server", schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$"))]
    pub service: FileName,
    /// The namespace that it runs in, where that is not the environment's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub namespace: Option<FileName>,
    /// The commit that it was built from.
    pub source: Source,
    /// The run that built it.
    #[serde(default)]
    pub ci: Ci,
    /// What the run did, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// Whatever else the run has to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<Object>))]
    pub items: Vec<Map<String, Value>>,
    /// Texts by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
    /// Files and images by their digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "server", schema(value_type = BTreeMap<String, String>))]
    pub digests: BTreeMap<String, Digest>,
    /// The bundle of a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleFiles>,
    /// The manifests of the environments, as an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
}

/// The commit that an artifact was built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Source {
    /// The repository: an address, or a name that its forge knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The commit, in lower-case hexadecimal digits.
    #[cfg_attr(feature = "server", schema(pattern = "^[0-9a-f]{4,64}$"))]
    pub sha: String,
    /// The branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What made the run start.
    #[serde(default)]
    pub event: Event,
    /// The tag, where one made it start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Where a pull request comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_branch: Option<String>,
    /// Where a pull request leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
    /// Who wrote the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
    /// Who committed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committer: Option<Person>,
    /// The commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The page of the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What made a run start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Event {
    /// A push to a branch.
    #[default]
    Push,
    /// A pull request.
    Pr,
    /// A tag.
    Tag,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::Push, Self::Pr, Self::Tag];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pr => "pr",
            Self::Tag => "tag",
        }
    }
}

impl std::str::FromStr for Event {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|event| event.as_str() == word);
        known.ok_or_else(|| "it is none of push, pr and tag".to_owned())
    }
}

/// A person, as git knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Person {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

/// The run that built an artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Ci {
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_url: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub start: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub end: Option<Timestamp>,
}

/// One thing that the run did. The kinds that are known have counts that are checked; others are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Stage {
    /// Its kind: `build`, `push`, `test`, `snyk-code`… A record has each once.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it says.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(value_type = Object))]
    pub data: Map<String, Value>,
}

/// The counts of a run of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestResults {
    /// How many passed.
    pub passed: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were not run.
    pub skipped: u64,
}

/// The counts of a security scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vulnerabilities {
    /// Grave ones.
    pub high: u64,
    /// Middling ones.
    pub medium: u64,
    /// Slight ones.
    pub low: u64,
}

/// The files of a release's bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct BundleFiles {
    /// Where its index is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_url: Option<String>,
    /// Every file by its name.
    #[cfg_attr(feature = "server", schema(value_type = BTreeMap<String, Blob>))]
    pub files: BTreeMap<FileName, Blob>,
}

/// Bytes by their digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Blob {
    /// Their digest.
    #[cfg_attr(feature = "server", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Digest,
    /// How many there are.
    pub size_bytes: u64,
}

/// The manifests of the environments: a `tar.gz` in the form of release archives, whose one directory
/// `payload/` holds a directory per environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Payload {
    /// The archive's digest.
    #[cfg_attr(feature = "server", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// The size of what it unpacks to.
    pub unpacked_size_bytes: u64,
    /// The environments that it has manifests for, sorted.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub environments: Vec<FileName>,
}

/// The stages with counts of tests.
const TEST: &str = "test";
/// Where a stage keeps the counts of tests.
const RESULTS: &str = "results";
/// Where a stage keeps the counts of a scan.
const VULNERABILITIES: &str = "vulnerabilities";

impl Artifact {
    /// Reads a record, strictly: no unknown field, nothing twice, everything within bounds.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(invalid(format!("it is larger than {MAX_BYTES} bytes")));
        }
        unique::check(bytes).map_err(|error| invalid("it cannot be read").because(error))?;
        let artifact: Self =
            serde_json::from_slice(bytes).map_err(|error| invalid("it cannot be read").because(error))?;
        artifact.check()?;
        Ok(artifact)
    }

    /// Writes the one form: two spaces of indentation, the fields in their order, maps sorted.
    pub fn render(&self) -> Vec<u8> {
        pretty(self)
    }

    /// The digest of the one form.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.render())
    }

    /// Puts a stage in the place of the one of its kind, or behind the others.
    pub fn put_stage(&mut self, stage: Stage) {
        match self.stages.iter_mut().find(|there| there.id == stage.id) {
            Some(there) => *there = stage,
            None => self.stages.push(stage),
        }
    }

    /// The counts of its tests, where it was tested.
    pub fn tests(&self) -> Option<TestResults> {
        self.stages.iter().find(|stage| stage.id == TEST)?.counts(RESULTS)?.ok()
    }

    /// What its scans found together, where it was scanned.
    pub fn vulnerabilities(&self) -> Option<Vulnerabilities> {
        let counts = self.stages.iter().filter_map(|stage| stage.counts::<Vulnerabilities>(VULNERABILITIES)?.ok());
        counts.reduce(|one, other| Vulnerabilities {
            high: one.high.saturating_add(other.high),
            medium: one.medium.saturating_add(other.medium),
            low: one.low.saturating_add(other.low),
        })
    }

    /// Every blob that it names, by the name under which it can be fetched again.
    pub fn blobs(&self) -> BTreeMap<String, Blob> {
        let bundle = self.bundle.iter().flat_map(|bundle| &bundle.files);
        let mut blobs: BTreeMap<_, _> = bundle.map(|(name, blob)| (name.to_string(), *blob)).collect();
        if let Some(Payload { sha256, size_bytes, .. }) = self.payload {
            // No file of a bundle has a slash in its name.
            blobs.insert(Payload::FILE.to_owned(), Blob { sha256, size_bytes });
        }
        blobs
    }

    /// Whether it is one that a registry may keep.
    pub fn check(&self) -> Result<()> {
        if self.kind != TYPE {
            return Err(invalid(format!("its type is not `{TYPE}`"))
                .hint("a record of an older system is read with `consign artifact import`"));
        }
        // Some databases cannot hold it, in whatever field it is.
        if memchr::memmem::find(&self.render(), br"\u0000").is_some() {
            return Err(invalid("there is a NUL in it"));
        }
        self.source.check()?;
        let bounded = [
            ("stages", self.stages.len(), MAX_STAGES),
            ("items", self.items.len(), MAX_ITEMS),
            ("digests", self.digests.len(), MAX_DIGESTS),
            ("files in its bundle", self.bundle.as_ref().map_or(0, |bundle| bundle.files.len()), MAX_DIGESTS),
        ];
        if let Some((what, count, most)) = bounded.into_iter().find(|(_, count, most)| count > most) {
            return Err(invalid(format!("it has {count} {what}, and {most} is the most")));
        }
        for (number, stage) in self.stages.iter().enumerate() {
            stage.check()?;
            if self.stages[..number].iter().any(|before| before.id == stage.id) {
                return Err(invalid(format!("it has the stage `{}` twice", stage.id)));
            }
        }
        if let Some(payload) = &self.payload
            && (payload.environments.is_empty() || !payload.environments.is_sorted_by(|one, other| one < other))
        {
            return Err(invalid("the environments of its payload are none, or not sorted"));
        }
        if self.bundle.as_ref().is_some_and(|bundle| bundle.files.is_empty()) {
            return Err(invalid("its bundle has no files"));
        }
        Ok(())
    }
}

impl Payload {
    /// The name under which the archive can be fetched again.
    pub const FILE: &'static str = "payload.tar.gz";
    /// The one directory in the archive.
    pub const STEM: &'static str = "payload";
}

impl Source {
    fn check(&self) -> Result<()> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !(4..=64).contains(&self.sha.len()) || !self.sha.bytes().all(hexadecimal) {
            return Err(invalid("its commit is not between 4 and 64 lower-case hexadecimal digits"));
        }
        let refs = [
            ("branch", &self.branch),
            ("tag", &self.tag),
            ("source branch", &self.source_branch),
            ("target branch", &self.target_branch),
        ];
        for (what, name) in refs {
            let Some(name) = name else { continue };
            if name.is_empty() || name.len() > MAX_REF_BYTES || name.chars().any(char::is_control) {
                return Err(invalid(format!("its {what} is empty, too long, or has control characters in it")));
            }
        }
        Ok(())
    }
}

impl Stage {
    /// A stage with counts of tests.
    pub fn test(results: TestResults, url: Option<&str>) -> Self {
        let mut data = Map::from_iter([(RESULTS.to_owned(), value(&results))]);
        data.extend(url.map(|url| ("url".to_owned(), url.into())));
        Self { id: TEST.to_owned(), name: "Test".to_owned(), data }
    }

    /// A stage with counts of a security scan, and whatever else it says.
    pub fn scan(id: &str, found: Vulnerabilities, more: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut data: Map<String, Value> = more.into_iter().map(|(name, text)| (name, text.into())).collect();
        data.insert(VULNERABILITIES.to_owned(), value(&found));
        Self { id: id.to_owned(), name: "Security Scan".to_owned(), data }
    }

    /// A stage with texts only.
    pub fn of_texts(id: &str, name: &str, texts: impl IntoIterator<Item = (String, String)>) -> Self {
        let data = texts.into_iter().map(|(name, text)| (name, text.into())).collect();
        Self { id: id.to_owned(), name: name.to_owned(), data }
    }

    fn counts<T: serde::de::DeserializeOwned>(&self, field: &str) -> Option<serde_json::Result<T>> {
        self.data.get(field).map(|counts| serde_json::from_value(counts.clone()))
    }

    fn check(&self) -> Result<()> {
        let _: FileName = self.id.parse().map_err(|error| invalid("a stage has an id that is none").because(error))?;
        let wrong = |what: &str, error| {
            invalid(format!("the stage `{}` has {what} that cannot be counted", self.id)).because(error)
        };
        if self.id == TEST {
            self.counts::<TestResults>(RESULTS)
                .unwrap_or_else(|| serde_json::from_str("null"))
                .map_err(|error| wrong("results", error))?;
        }
        match self.counts::<Vulnerabilities>(VULNERABILITIES) {
            Some(Err(error)) => Err(wrong("vulnerabilities", error)),
            _ => Ok(()),
        }
    }
}

fn value(plain: &impl Serialize) -> Value {
    serde_json::to_value(plain).expect("plain numbers always serialise")
}

/// The failure of a record that is none.
fn invalid(why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::ArtifactInvalid, format!("the artifact record is refused: {why}"))
        .hint("write it with `consign artifact create` and `consign artifact add`")
}

#[cfg(test)]
mod tests;
