//! Places that must not be named: directories of one machine, and hosts of package registries.
//!
//! A registry is reached through its ordinary client, which may have been pointed at a mirror; a
//! host name in the repository would go past it.

use super::{Finding, line_of};
use crate::repository::Repository;

const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
/// People who live in examples only.
const EXAMPLE_HOMES: &[&str] = &["user", "you", "alice", "bob", "someone"];
/// `github.com/rust-lang/…-index` is how cargo itself names its registry in lock files and is no host.
const REGISTRIES: &[&str] = &[
    concat!("static.crates", ".io"),
    concat!("index.crates", ".io"),
    concat!("://crates", ".io"),
    concat!("www.crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
];

/// Absolute paths into somebody's machine.
pub(super) fn no_machine_is_named(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.files() {
        for place in MACHINE {
            for (offset, _) in file.text.match_indices(place) {
                let rest = &file.text[offset + place.len()..];
                if starts_a_path(&file.text, offset) && names_somebody(place, rest) {
                    let message =
                        format!("names a directory of one machine (`{place}…`): write it relative to the repository");
                    findings.push(Finding::new(&file.path, line_of(&file.text, offset), message));
                }
            }
        }
    }
    findings
}

/// Host names of package registries.
pub(super) fn no_registry_is_named(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.files() {
        for host in REGISTRIES {
            for (offset, _) in file.text.match_indices(host) {
                let message = format!(
                    "names the package registry `{host}`: its client knows where it is, or was told another place"
                );
                findings.push(Finding::new(&file.path, line_of(&file.text, offset), message));
            }
        }
    }
    findings
}

/// Whether the slash is a path's first, and not one further down (`dist/work/`, `{root}/work/`).
fn starts_a_path(text: &str, offset: usize) -> bool {
    let before = text[..offset].chars().next_back();
    !before.is_some_and(|character| {
        character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '}' | ')' | '/' | '*' | '~')
    })
}

/// Homes are somebody's only when a name follows that is not an example's; the other places always are.
fn names_somebody(place: &str, rest: &str) -> bool {
    if !(place.ends_with(concat!("ho", "me/")) || place.ends_with(concat!("Us", "ers/"))) {
        return true;
    }
    let name: String = rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
    !name.is_empty() && !EXAMPLE_HOMES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_s_directory_is_found() {
        for text in [concat!("see /wo", "rk/x"), concat!("\"/ro", "ot/.cargo\""), concat!("=/ho", "me/carol/x")] {
            assert_eq!(no_machine_is_named(&Repository::of(&[("README.md", text)])).len(), 1, "{text}");
        }
    }

    #[test]
    fn other_paths_are_not() {
        for text in ["frame/work/x", "{root}/work/x", concat!("/ho", "me/alice/x"), concat!("`/ho", "me/…`")] {
            assert!(no_machine_is_named(&Repository::of(&[("README.md", text)])).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_registry_s_host_is_found() {
        let text = concat!("curl https://static.crates", ".io/crates/x");
        assert_eq!(no_registry_is_named(&Repository::of(&[(".ci/run", text)])).len(), 1);
        let lock = concat!("registry+https://github.com/rust-lang/crates", ".io-index");
        assert!(no_registry_is_named(&Repository::of(&[("Cargo.lock", lock)])).is_empty());
    }
}
