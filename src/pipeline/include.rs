//! More files for the archives: an allow-list of globs, and a list of what is never packed.
//!
//! A release is public. Whatever the globs say, nothing leaves the workspace that looks like a
//! secret, a repository's insides or a build's leftovers.

use camino::{Utf8Path, Utf8PathBuf};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::plan::Plan;
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::world::files;

/// The largest file that is included, in bytes.
const MAX_BYTES: usize = 256 << 20;

/// The files that the globs choose: where each is, and its path inside an archive.
pub fn find(plan: &Plan) -> Result<Vec<(Utf8PathBuf, String)>> {
    let chosen = matcher(&plan.archive.include)?;
    let mut found = Vec::new();
    if !plan.archive.include.is_empty() {
        walk(plan, &plan.places.root, &chosen, &mut found)?;
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    for (glob, pattern) in plan.archive.include.iter().zip(&single_matchers(&plan.archive.include)?) {
        if !found.iter().any(|(_, path)| pattern.is_match(path)) {
            return Err(Failure::new(Code::ConfigInvalid, format!("no file matches `{}`", text::shown(glob)))
                .subject("archive.include")
                .hint("globs are relative to the workspace's root, a directory's files are `docs/**`, and hidden files are never packed"));
        }
    }
    for (path, _) in plan.places.documents.iter().chain(&found) {
        refuse_secrets(path)?;
    }
    Ok(found)
}

fn single_matchers(globs: &[String]) -> Result<Vec<GlobSet>> {
    globs.iter().map(|glob| matcher(std::slice::from_ref(glob))).collect()
}

fn matcher(globs: &[String]) -> Result<GlobSet> {
    let invalid = |glob: &str, error: globset::Error| {
        Failure::new(Code::ConfigInvalid, format!("`{}` is not a glob", text::shown(glob)))
            .subject("archive.include")
            .because(error)
    };
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(|error| invalid(glob, error))?);
    }
    set.build().map_err(|error| invalid(&globs.join(" "), error))
}

fn walk(plan: &Plan, directory: &Utf8Path, chosen: &GlobSet, found: &mut Vec<(Utf8PathBuf, String)>) -> Result<()> {
    for entry in fs_err::read_dir(directory).map_err(|error| files::failed("list", directory, error))? {
        let entry = entry.map_err(|error| files::failed("list", directory, error))?;
        let kind = entry.file_type().map_err(|error| files::failed("list", directory, error))?;
        let Ok(path) = Utf8PathBuf::from_path_buf(entry.path()) else { continue };
        if is_never_packed(plan, &path) {
            continue;
        }
        let Ok(inside) = path.strip_prefix(&plan.places.root) else { continue };
        if kind.is_dir() {
            walk(plan, &path, chosen, found)?;
        } else if chosen.is_match(inside) {
            if !kind.is_file() {
                return Err(Failure::new(
                    Code::IncludeRefused,
                    format!("`{path}` is a link or something special, and only regular files are packed"),
                )
                .subject(path.as_str())
                .hint("include what it points to"));
            }
            found.push((path.clone(), inside.as_str().replace('\\', "/")));
        }
    }
    Ok(())
}

/// Hidden files (`.git`, `.env`…), cargo's target directories and `dist/`.
fn is_never_packed(plan: &Plan, path: &Utf8Path) -> bool {
    path.file_name().is_none_or(|name| name.starts_with('.') || name == "target")
        || *path == plan.places.target
        || *path == plan.places.dist
}

fn refuse_secrets(path: &Utf8Path) -> Result<()> {
    let refused = |why: &str| {
        Failure::new(Code::IncludeRefused, format!("`{path}` {why}"))
            .subject(path.as_str())
            .hint("leave it out of `archive.include`, and move it out of the workspace")
    };
    if is_named_like_a_secret(path.file_name().unwrap_or_default()) {
        return Err(refused("is named like a file of secrets"));
    }
    if holds_private_key(&files::read_bounded(path, MAX_BYTES)?) {
        return Err(refused("contains a private key"));
    }
    Ok(())
}

/// Names that files of secrets have by custom: environments, key stores, the keys of ssh.
fn is_named_like_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = [".env", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".p8"];
    let ssh = ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"];
    ends.iter().any(|end| name.ends_with(end)) || name.contains(".env.") || ssh.contains(&name.as_str())
}

/// Whether there is a private key in PEM's or PGP's armour, and not only the words that begin one.
fn holds_private_key(bytes: &[u8]) -> bool {
    // A key in UTF-16 is the same text with a zero in every other byte.
    let bytes: Vec<u8> = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        bytes.iter().copied().filter(|byte| *byte != 0).collect()
    } else {
        bytes.to_vec()
    };
    let text = String::from_utf8_lossy(&bytes);
    text.match_indices("-----BEGIN ").any(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let Some((label, body)) = rest.split_once("-----") else { return false };
        let is_private = label.len() < 40 && label.contains("PRIVATE KEY");
        let is_whole = body.contains(&format!("-----END {label}-----"));
        let body = body.split("-----").next().unwrap_or_default();
        let letters = body.bytes().filter(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)).count();
        is_private && (is_whole && letters > 0 || letters >= 40)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_secrets_are_known_by_their_names() {
        for name in ["prod.env", "x.env.local", "ID_RSA", "release.p12"] {
            assert!(is_named_like_a_secret(name), "{name}");
        }
        for name in ["environment.md", "README.md", "LICENSE", "envelope.txt"] {
            assert!(!is_named_like_a_secret(name), "{name}");
        }
    }

    #[test]
    fn a_private_key_is_told_from_words_about_one() {
        let body = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n".repeat(2);
        for label in ["PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"] {
            assert!(
                holds_private_key(format!("x\n-----BEGIN {label}-----\n{body}-----END {label}-----").as_bytes()),
                "{label}"
            );
        }
        assert!(!holds_private_key(b"a file that starts with -----BEGIN PRIVATE KEY----- is a key"));
        assert!(!holds_private_key(format!("-----BEGIN PUBLIC KEY-----\n{body}").as_bytes()));
    }
}
