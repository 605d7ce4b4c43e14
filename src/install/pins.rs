//! Whom a product's first installation was verified by, kept for the next one.
//!
//! A [`Pins`] is written after an installation that somebody vouched for, and read by the next one of
//! the same product that names nobody. So an index without its signatures, or a catalog with another
//! root, is noticed although the user does not name a key every time.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::receipt::Trust;
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName, pretty};
use crate::trust::Anchor;
use crate::trust::key::PublicKey;
use crate::world::files;

/// The document type.
pub const TYPE: &str = "consign.pins/v1";
/// The largest document that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Whom to believe about one product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The keys that were named, in PEM.
    pub keys: Vec<String>,
    /// The root that was named, as it is written.
    pub root: Option<String>,
}

impl Pins {
    /// The keys that were named.
    pub fn of_keys(keys: &[PublicKey]) -> Self {
        Self { kind: TYPE.to_owned(), keys: keys.iter().map(PublicKey::to_pem).collect(), root: None }
    }

    /// The root that was named.
    pub fn of_root(root: &[u8]) -> Self {
        Self { kind: TYPE.to_owned(), keys: Vec::new(), root: Some(String::from_utf8_lossy(root).into_owned()) }
    }

    /// How much they are worth: the rank of what was verified by them.
    pub fn rank(&self) -> u8 {
        match (&self.root, self.keys.as_slice()) {
            (Some(_), _) => Trust::Catalog { root_version: 0, judged_at: None }.rank(),
            (None, []) => Trust::Unchecked.rank(),
            (None, _) => Trust::Keys { keys: Vec::new() }.rank(),
        }
    }

    /// Whom to believe, where keys were named.
    pub fn anchor(&self) -> Result<Option<Anchor>> {
        let keys: Vec<_> =
            self.keys.iter().map(|key| PublicKey::from_pem(key.as_bytes())).collect::<Result<_, _>>().map_err(
                |problem| Failure::new(Code::KeyInvalid, "a pinned key cannot be read").because(problem.to_string()),
            )?;
        Ok(if keys.is_empty() { None } else { Some(Anchor::Keys(keys)) })
    }

    /// Those of a product, if there are any.
    pub fn read(state: &Utf8Path, name: &FileName) -> Result<Option<Self>> {
        let path = place(state, name);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = files::read_bounded(&path, MAX_BYTES)?;
        let pins: Option<Self> = serde_json::from_slice(&bytes).ok().filter(|pins: &Self| pins.kind == TYPE);
        pins.map(Some).ok_or_else(|| {
            Failure::new(Code::DocumentInvalid, format!("`{path}` cannot be read"))
                .subject(path.as_str())
                .hint("it says whom this product's releases are verified by: restore it, or remove it and name the key")
        })
    }

    /// Keeps them.
    pub fn write(&self, state: &Utf8Path, name: &FileName) -> Result<()> {
        let (path, bytes) = (place(state, name), pretty(self));
        let known = if path.exists() { files::read_bounded(&path, MAX_BYTES)? } else { Vec::new() };
        if known == bytes { Ok(()) } else { files::write(&path, &bytes) }
    }

    /// Forgets those of a product.
    pub fn forget(state: &Utf8Path, name: &FileName) -> Result<()> {
        let path = place(state, name);
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(files::failed("remove", &path, error)),
            _ => Ok(()),
        }
    }
}

fn place(state: &Utf8Path, name: &FileName) -> Utf8PathBuf {
    state.join("pins").join(format!("{name}.json"))
}
