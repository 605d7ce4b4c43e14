//! File names that may appear in a bundle.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A plain file name: `[A-Za-z0-9][A-Za-z0-9._+-]{0,199}`.
///
/// It cannot be a path, start with a dot or a hyphen, or hold anything that a shell, a terminal or
/// a file system reads in its own way. Every name from outside becomes one before it is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FileName(String);

/// The longest file name, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

impl FileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text cannot be a file name of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a plain file name: it must match [A-Za-z0-9][A-Za-z0-9._+-]{{0,199}}")]
pub struct NotAFileName(pub String);

impl FromStr for FileName {
    type Err = NotAFileName;

    fn from_str(text: &str) -> Result<Self, NotAFileName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        let good = text.len() <= MAX_NAME_BYTES
            && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && text.bytes().all(allowed);
        if good { Ok(Self(text.to_owned())) } else { Err(NotAFileName(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for FileName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for FileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_more_than_a_name_are_refused() {
        let long = "a".repeat(201);
        for wrong in ["", ".", "..", ".env", "-x", "a/b", "a\\b", "a b", "a\n", "ä", "C:", "+x", &long] {
            assert!(wrong.parse::<FileName>().is_err(), "{wrong:?}");
        }
        assert!("consign-1.0.0+b.1-linux-amd64.tar.gz".parse::<FileName>().is_ok());
    }
}
