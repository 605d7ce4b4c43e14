//! The name of a release: a tag and the version in it.

use semver::Version;
use serde::Serialize;

use super::{Code, Failure, FileName, text};

/// Which release this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// The tag as it was given: `v1.2.3`, `1.2.3`, `tool-v1.2.3` or `tool/v1.2.3`.
    pub tag: String,
    /// The package that the tag names, when packages are released independently.
    pub package: Option<String>,
    /// The bare semantic version.
    pub version: Version,
}

impl Release {
    /// The default tag of a version: `v1.2.3`, or `tool-v1.2.3` for a package of its own.
    pub fn of_version(package: Option<&str>, version: &Version) -> Self {
        let tag = match package {
            Some(package) => format!("{package}-v{version}"),
            None => format!("v{version}"),
        };
        Self { tag, package: package.map(str::to_owned), version: version.clone() }
    }

    /// Reads a version or tag, with or without `refs/tags/` before it.
    pub fn parse(given: &str) -> Result<Self, Failure> {
        let tag = given.strip_prefix("refs/tags/").unwrap_or(given);
        Self::split(tag).filter(|release| release.directory().is_ok()).ok_or_else(|| Self::not_a_version(given))
    }

    fn split(tag: &str) -> Option<Self> {
        let bare = tag.strip_prefix('v').unwrap_or(tag);
        if let Ok(version) = Version::parse(bare) {
            return Some(Self { tag: tag.to_owned(), package: None, version });
        }
        // `-v` may also stand inside a package's name or a prerelease, so every place is tried.
        tag.match_indices("-v").chain(tag.match_indices("/v")).find_map(|(at, mark)| {
            let package = &tag[..at];
            let version = Version::parse(&tag[at + mark.len()..]).ok()?;
            is_package_name(package).then(|| Self { tag: tag.to_owned(), package: Some(package.to_owned()), version })
        })
    }

    /// The name of the release's directory: the tag, with `/` written as `-`.
    pub fn directory(&self) -> Result<FileName, Failure> {
        self.tag.replace('/', "-").parse().map_err(|_| Self::not_a_version(&self.tag))
    }

    /// Whether the tag, after the package's name, starts with `v`.
    pub fn has_v_prefix(&self) -> bool {
        match &self.package {
            Some(_) => true,
            None => self.tag.starts_with('v'),
        }
    }

    /// The channel: the first word of the prerelease, else `stable`.
    pub fn channel(&self) -> String {
        let first = self.version.pre.split(['.', '-']).next().unwrap_or_default();
        let word = first.trim_end_matches(|digit: char| digit.is_ascii_digit());
        match (word, self.version.pre.is_empty()) {
            (_, true) => "stable".to_owned(),
            ("", false) => "prerelease".to_owned(),
            (word, false) => word.to_ascii_lowercase(),
        }
    }

    fn not_a_version(given: &str) -> Failure {
        let given = text::shown(given);
        Failure::new(Code::VersionInvalid, format!("`{given}` is not a release version"))
            .subject(given)
            .hint("a release version is a semantic version such as `v1.2.3`, or `<package>-v1.2.3`")
    }
}

fn is_package_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_every_shape_are_read() {
        for (given, package, version, directory) in [
            ("v1.2.3", None, "1.2.3", "v1.2.3"),
            ("1.2.3", None, "1.2.3", "1.2.3"),
            ("refs/tags/v1.2.3", None, "1.2.3", "v1.2.3"),
            ("v1.0.0-rc.1+b.5", None, "1.0.0-rc.1+b.5", "v1.0.0-rc.1+b.5"),
            ("v1.0.0-v2", None, "1.0.0-v2", "v1.0.0-v2"),
            ("tool-v1.2.3", Some("tool"), "1.2.3", "tool-v1.2.3"),
            ("my-v2-v1.2.3", Some("my-v2"), "1.2.3", "my-v2-v1.2.3"),
            ("tool/v1.2.3-rc-v.1", Some("tool"), "1.2.3-rc-v.1", "tool-v1.2.3-rc-v.1"),
        ] {
            let release = Release::parse(given).expect(given);
            assert_eq!(release.package.as_deref(), package, "{given}");
            assert_eq!(release.version.to_string(), version, "{given}");
            assert_eq!(release.directory().expect(given).as_str(), directory, "{given}");
        }
    }

    #[test]
    fn nothing_else_is_a_version() {
        for wrong in [
            "",
            "v",
            "1.2",
            "v01.2.3",
            "v1.0.0; rm -rf",
            "--upload-pack=x",
            "-v1.0.0",
            "v1.0.0\n",
            "\nv1.0.0",
            "$(id)",
            "`id`",
            "v1.0.0/../..",
            "a/b/v1.0.0",
            "../v1.0.0",
            "V1.0.0",
            " v1.0.0",
            "refs/heads/v1.0.0",
            "v1.0.0 ",
        ] {
            let failure = Release::parse(wrong).expect_err(wrong);
            assert_eq!(failure.code(), Code::VersionInvalid);
            assert!(!failure.to_string().contains('\n'));
        }
        let long = format!("v1.0.0-{}", "a".repeat(300));
        assert!(Release::parse(&long).is_err());
    }

    #[test]
    fn the_channel_is_the_first_word_of_the_prerelease() {
        for (tag, channel) in
            [("v1.0.0", "stable"), ("v1.0.0-rc.1", "rc"), ("v1.0.0-beta2", "beta"), ("v1.0.0-1", "prerelease")]
        {
            assert_eq!(Release::parse(tag).expect(tag).channel(), channel);
        }
    }
}
