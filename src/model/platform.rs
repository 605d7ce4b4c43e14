//! The platforms that a release is made for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Code, Failure};

/// One platform: an operating system, a processor and, where it matters, a C library.
#[derive(Clone, Copy)]
pub struct Platform(&'static Facts);

#[derive(Debug)]
struct Facts {
    name: &'static str,
    target: &'static str,
}

macro_rules! platforms {
    ($($name:literal = $target:literal;)*) => {
        /// Every platform that has a name, in the order of its documentation.
        static KNOWN: &[Facts] = &[$(Facts { name: $name, target: $target },)*];
    };
}

platforms! {
    "linux-amd64" = "x86_64-unknown-linux-gnu";
    "linux-arm64" = "aarch64-unknown-linux-gnu";
    "linux-armv7" = "armv7-unknown-linux-gnueabihf";
    "linux-386" = "i686-unknown-linux-gnu";
    "linux-riscv64" = "riscv64gc-unknown-linux-gnu";
    "linux-ppc64le" = "powerpc64le-unknown-linux-gnu";
    "linux-s390x" = "s390x-unknown-linux-gnu";
    "linux-loong64" = "loongarch64-unknown-linux-gnu";
    "linux-amd64-musl" = "x86_64-unknown-linux-musl";
    "linux-arm64-musl" = "aarch64-unknown-linux-musl";
    "linux-armv7-musl" = "armv7-unknown-linux-musleabihf";
    "linux-386-musl" = "i686-unknown-linux-musl";
    "macos-amd64" = "x86_64-apple-darwin";
    "macos-arm64" = "aarch64-apple-darwin";
    "windows-amd64" = "x86_64-pc-windows-msvc";
    "windows-arm64" = "aarch64-pc-windows-msvc";
    "windows-386" = "i686-pc-windows-msvc";
    "windows-amd64-gnu" = "x86_64-pc-windows-gnu";
    "freebsd-amd64" = "x86_64-unknown-freebsd";
    "netbsd-amd64" = "x86_64-unknown-netbsd";
    "illumos-amd64" = "x86_64-unknown-illumos";
}

impl Platform {
    /// Every platform that has a name.
    pub fn all() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(Self)
    }

    /// The platform that a Rust target triple stands for.
    pub fn of_target(target: &str) -> Option<Self> {
        Self::all().find(|platform| platform.target() == target)
    }

    /// Its name, `<os>-<arch>` or `<os>-<arch>-<c library>`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The Rust target triple that it is built as, unless the configuration names another.
    pub fn target(self) -> &'static str {
        self.0.target
    }

    /// Whether programs for it end in `.exe` and archives are zip files by default.
    pub fn is_windows(self) -> bool {
        self.0.name.starts_with("windows-")
    }

    /// What the file name of a program ends with.
    pub fn exe_suffix(self) -> &'static str {
        if self.is_windows() { ".exe" } else { "" }
    }
}

impl FromStr for Platform {
    type Err = Failure;

    /// Reads `linux-amd64`, `linux/amd64` or a Rust target triple.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let name = text.replace('/', "-");
        if let Some(known) = Self::all().find(|platform| platform.name() == name || platform.target() == text) {
            return Ok(known);
        }
        let nearest = Self::all()
            .max_by(|a, b| strsim::jaro(a.name(), &name).total_cmp(&strsim::jaro(b.name(), &name)))
            .map_or("linux-amd64", Self::name);
        let text = super::text::shown(text);
        Err(Failure::new(Code::PlatformUnknown, format!("unknown platform `{text}`"))
            .subject(text)
            .hint(format!("did you mean `{nearest}`? `consign plan --list-platforms` prints all of them")))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Platform {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Platform {}

impl PartialOrd for Platform {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Platform {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name().cmp(other.name())
    }
}

impl std::hash::Hash for Platform {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::all()
            .find(|platform| platform.name() == text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("unknown platform {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_platform_is_read() {
        for text in ["linux-arm64", "linux/arm64", "aarch64-unknown-linux-gnu"] {
            assert_eq!(text.parse::<Platform>().expect("known").name(), "linux-arm64");
        }
    }

    #[test]
    fn an_unknown_platform_names_the_nearest() {
        let failure = "linux-amd46".parse::<Platform>().expect_err("unknown");
        assert!(failure.way_out().is_some_and(|hint| hint.contains("`linux-amd64`")), "{failure:?}");
    }
}
