//! What targets metadata says about other targets metadata: who may speak about which paths.
//!
//! [`Delegations::responsible_for`] gives the roles to be asked about a path, in their order. Whether
//! their documents can be believed is decided by [`super::trusted`]. Roles that are described
//! succinctly (TAP 15) are no part of the specification and not followed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::roles::{Invalid, Key, RoleKeys, RoleName, usable_keys};
use crate::model::Digest;

/// Who else may say which files there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegations {
    /// Every key that can be used, by the id that it has here.
    #[serde(deserialize_with = "usable_keys")]
    pub keys: BTreeMap<String, Key>,
    /// The roles, the most trusted first.
    #[serde(default)]
    pub roles: Vec<DelegatedRole>,
}

/// A role that another one trusts with some paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedRole {
    /// Its name, which anybody may have chosen.
    pub name: String,
    /// Its keys.
    #[serde(flatten)]
    pub appointed: RoleKeys,
    /// The paths that it may speak about, as patterns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// The same, as beginnings of the paths' SHA-256 digests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hash_prefixes: Option<Vec<String>>,
    /// Whether nobody after it is asked about its paths.
    pub terminating: bool,
}

impl Delegations {
    /// The roles to be asked about a path, in their order. Nobody is asked after one that terminates,
    /// which is said by the second value.
    pub fn responsible_for(&self, path: &str) -> (Vec<&DelegatedRole>, bool) {
        let mut roles = Vec::new();
        for role in self.roles.iter().filter(|role| role.speaks_about(path)) {
            roles.push(role);
            if role.terminating {
                return (roles, true);
            }
        }
        (roles, false)
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        let mut names = BTreeSet::new();
        for role in &self.roles {
            role.appointed.check(&role.name)?;
            if !names.insert(&role.name) {
                return Err(Invalid(format!("it delegates to {:?} twice", role.name)));
            }
            if RoleName::ALL.iter().any(|name| name.as_str() == role.name) {
                return Err(Invalid(format!("it delegates to the top-level role {:?}", role.name)));
            }
            if role.paths.is_some() && role.path_hash_prefixes.is_some() {
                return Err(Invalid(format!("it delegates to {:?} by paths and by their digests", role.name)));
            }
        }
        Ok(())
    }
}

impl DelegatedRole {
    /// Whether it may speak about a path.
    pub fn speaks_about(&self, path: &str) -> bool {
        if let Some(patterns) = &self.paths {
            return patterns.iter().any(|pattern| matches_path(pattern, path));
        }
        let digest = Digest::of(path.as_bytes()).to_string();
        self.path_hash_prefixes.iter().flatten().any(|prefix| digest.starts_with(prefix.as_str()))
    }
}

/// Whether a pattern of the shell matches a path; nothing but a slash matches a slash.
fn matches_path(pattern: &str, path: &str) -> bool {
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| matches_part(pattern, part))
}

/// One piece of a pattern: `*` is any text, `?` any character, `[a-z]` and `[!a-z]` one of a set.
fn matches_part(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut next) = (0, 0);
    // Where the last star stands, and the first character that it does not swallow yet.
    let mut star: Option<(usize, usize)> = None;
    while next < text.len() {
        let step = pattern.get(at).map(|_| Piece::at(&pattern[at..]));
        match step {
            Some(Piece::Star) => {
                star = Some((at, next));
                at += 1;
                continue;
            }
            Some(Piece::One { length, set }) if set.is_none_or(|set| set_holds(set, text[next])) => {
                (at, next) = (at + length, next + 1);
                continue;
            }
            Some(Piece::Literal(character)) if character == text[next] => {
                (at, next) = (at + 1, next + 1);
                continue;
            }
            _ => {}
        }
        let Some((place, swallowed)) = star else { return false };
        star = Some((place, swallowed + 1));
        (at, next) = (place + 1, swallowed + 1);
    }
    pattern[at..].iter().all(|character| *character == '*')
}

/// What a pattern begins with.
enum Piece<'a> {
    Star,
    /// One character, out of a set if there is one.
    One {
        length: usize,
        set: Option<&'a [char]>,
    },
    Literal(char),
}

impl<'a> Piece<'a> {
    /// The first piece of a pattern that is not empty.
    fn at(pattern: &'a [char]) -> Self {
        match pattern[0] {
            '*' => Self::Star,
            '?' => Self::One { length: 1, set: None },
            // A closing bracket that comes first is one of the set; a set without an end is none.
            '[' => {
                let first = if pattern.get(1) == Some(&'!') { 3 } else { 2 };
                match pattern.iter().skip(first).position(|character| *character == ']') {
                    Some(end) => Self::One { length: first + end + 1, set: Some(&pattern[1..first + end]) },
                    None => Self::Literal('['),
                }
            }
            character => Self::Literal(character),
        }
    }
}

fn set_holds(set: &[char], character: char) -> bool {
    let (negated, set) = match set {
        ['!', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut rest = set;
    let mut found = false;
    while let Some(first) = rest.first() {
        if let [from, '-', to, ..] = rest {
            found |= (*from..=*to).contains(&character);
            rest = &rest[3..];
        } else {
            found |= *first == character;
            rest = &rest[1..];
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_shell_s_do_and_never_across_a_slash() {
        for (pattern, path, expected) in [
            ("*", "foo.tgz", true),
            ("*", "a/foo.tgz", false),
            ("targets/*.tgz", "targets/foo.tgz", true),
            ("targets/*.tgz", "targets/foo.txt", false),
            ("foo-version-?.tgz", "foo-version-2.tgz", true),
            ("foo-version-?.tgz", "foo-version-alpha.tgz", false),
            ("*.doc", "README.DOC", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a*", "a", true),
            ("", "", true),
            ("", "a", false),
            ("v[0-9].tgz", "v7.tgz", true),
            ("v[!0-9].tgz", "v7.tgz", false),
            ("v[!0-9].tgz", "vx.tgz", true),
            ("[]x]", "]", true),
            ("[!]x]", "y", true),
            ("[!]x]", "]", false),
            ("[a]b", "ab", true),
            ("[", "[", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            ("**", "a/b", false),
            ("\\*", "\\x", true),
            ("{a,b}", "a", false),
            ("?", "\u{e9}", true),
        ] {
            assert_eq!(matches_path(pattern, path), expected, "{pattern:?} {path:?}");
        }
        // A pattern full of stars takes no exponential time.
        assert!(!matches_part(&"*a".repeat(200), &"a".repeat(5_000).replace("aaaaaaaaaa", "aaaaab")));
    }

    #[test]
    fn digests_of_paths_share_the_work_out() {
        let role = |prefix: &str| DelegatedRole {
            name: "bin".to_owned(),
            appointed: RoleKeys { keyids: Vec::new(), threshold: 1 },
            paths: None,
            path_hash_prefixes: Some(vec![prefix.to_owned()]),
            terminating: false,
        };
        let digest = Digest::of(b"file1.txt").to_string();
        assert!(role(&digest[..2]).speaks_about("file1.txt"));
        assert!(!role(&digest[..2].to_uppercase().replace(char::is_numeric, "x")).speaks_about("file1.txt"));
        assert!(!DelegatedRole { path_hash_prefixes: None, ..role("") }.speaks_about("file1.txt"));
    }
}
