//! The repository as its chores see it: every file that git would commit, with its text.
//!
//! The main type is [`Repository`]. It is a plain list in memory, so that a test can plant a
//! violation without a disk. It does not look into `target/`, `dist/` or anything else that git
//! ignores.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use consign::world::process::Program;

/// The directory of the workspace, which is the parent of this package's.
pub(crate) fn root() -> Utf8PathBuf {
    let package = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The files of the repository, sorted by path.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    files: Vec<File>,
}

/// A text file. Files that are not UTF-8 are left out: no check has a rule for them.
#[derive(Debug)]
pub(crate) struct File {
    /// The path below the root, with slashes.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

impl Repository {
    /// Reads the files that are committed, and the new ones that are not ignored.
    pub(crate) fn read(root: &Utf8Path) -> Result<Self> {
        let listing = Program::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .directory(root)
            .read()
            .context("failed to list the repository's files")?;
        let mut files = Vec::new();
        for path in listing.split('\0').filter(|path| !path.is_empty()) {
            // What is staged but deleted from the tree is listed as well.
            let Ok(bytes) = fs_err::read(root.join(path)) else { continue };
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path: path.to_owned(), text });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(Self { files })
    }

    /// A repository of the given files.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { files: files.iter().map(file).collect() }
    }

    /// Every file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The files below a directory (named with its slash) whose names end so.
    pub(crate) fn under(&self, directory: &str, ending: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.path.starts_with(directory) && file.path.ends_with(ending))
    }

    /// One file by its path.
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}
