//! What may become part of a path in the repository.
//!
//! The main item is [`path`]. What is refused here would be refused by git later, or would lead out of its
//! place on some machine that checks the repository out.

use super::landing::Place;

/// The longest path of a manifest, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// The deepest that a manifest may lie below its service.
const MAX_DEPTH: usize = 16;
/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// Why an environment, a namespace and a service cannot be a place.
pub(super) fn place(place: &Place) -> Result<(), String> {
    name("the environment", &place.environment)?;
    name("the namespace", &place.namespace)?;
    name("the service", &place.service)?;
    // These are where other things lie.
    if ["clusters", "policies"].contains(&place.environment.as_str()) {
        return Err(format!("no environment can be called {:?} in a config repository", place.environment));
    }
    Ok(())
}

/// Why a name cannot be that of one file or directory.
pub(super) fn name(what: &str, name: &str) -> Result<(), String> {
    component(name).map_err(|why| format!("{what} {name:?} {why}"))
}

/// Why a path cannot be that of a manifest, below the directory of its service.
pub(super) fn path(path: &str) -> Result<(), String> {
    if path.len() > MAX_PATH_BYTES || path.split('/').count() > MAX_DEPTH {
        return Err(format!("the path {path:?} is too long or too deep"));
    }
    path.split('/').try_for_each(component).map_err(|why| format!("the path {path:?} {why}"))
}

/// Why a trailer cannot have this value.
pub(super) fn release_id(id: &str) -> Result<(), String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:+-".contains(&byte);
    if id.is_empty() || id.len() > MAX_NAME_BYTES || !id.bytes().all(is_good) {
        return Err(format!("{id:?} is no id of a release"));
    }
    Ok(())
}

fn component(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty, or has an empty part");
    }
    if name.len() > MAX_NAME_BYTES {
        return Err("is too long");
    }
    if name == "." || name == ".." {
        return Err("leads out of its directory");
    }
    if name.chars().any(|character| character.is_control() || "/\\:".contains(character)) {
        return Err("has a control character, a slash, a backslash or a colon in it");
    }
    if is_git(name) {
        return Err("is git's own");
    }
    Ok(())
}

/// Whether some file system takes a name for `.git`: one that ignores case, characters that are not seen, a dot
/// or a space at the end, or that has short names.
fn is_git(name: &str) -> bool {
    let is_unseen = |character: &char| matches!(character, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let seen: String = name.chars().filter(|character| !is_unseen(character)).collect();
    let seen = seen.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    [".git", "git~1"].contains(&seen.as_str()) || seen.starts_with(".gitmodules") || seen.starts_with("gitmod~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_its_directory() {
        let long = "a".repeat(201);
        let deep = "a/".repeat(16) + "a";
        for wrong in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "a/../b",
            ".",
            "a/./b",
            ".git",
            "a/.GIT/config",
            ".git.",
            ".git ",
            "git~1",
            ".g\u{200c}it",
            "a\\b",
            "C:",
            "a\nb",
            "a\0b",
            "\u{9b}",
            ".gitmodules",
            &long,
            &deep,
        ] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
        for right in ["a.yaml", "nested/a.yaml", ".hidden", "sp ace.yaml", "größe.yaml", "..a", ".github/x"] {
            assert_eq!(path(right), Ok(()), "{right:?}");
        }
        assert!(name("the service", "../x").is_err() && name("the service", "a/b").is_err());
    }
}
