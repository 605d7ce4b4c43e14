//! What the environment and the file say, before any flag.
//!
//! [`Settings::load`] finds the file and reads both. What becomes of them together with the flags is in
//! `resolve`.

use camino::{Utf8Path, Utf8PathBuf};

use super::FILE_NAME;
use super::environment::{self, Environment};
use super::file::{self, File};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::world::files;

/// What the environment and the file say.
#[derive(Debug)]
pub struct Settings {
    pub(super) directory: Utf8PathBuf,
    pub(super) file: Option<File>,
    pub(super) environment: Environment,
    pub(super) warnings: Vec<String>,
}

impl Settings {
    /// Reads the file that is named, or the one found in the directory and above it up to the root
    /// of the workspace or repository. No file is no failure, unless it was named.
    pub fn load(directory: &Utf8Path, named: Option<&Utf8Path>, environment: &Environment) -> Result<Self> {
        if let Some(name) = environment.unreadable().first() {
            return Err(Failure::new(Code::ConfigInvalid, format!("the value of `{name}` is not UTF-8")).subject(name));
        }
        let path = match named {
            Some(named) => Some(directory.join(named)),
            None => find(directory),
        };
        let file = path.map(|path| file::read(&path, directory)).transpose()?;
        let warnings = environment.unknown().iter().map(|name| unknown_variable(name)).collect();
        Ok(Self { directory: directory.to_owned(), file, environment: environment.clone(), warnings })
    }

    /// Where the file was found, if there is one.
    pub fn path(&self) -> Option<&Utf8Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// What the user should know and what stops nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn unknown_variable(name: &str) -> String {
    let known = environment::ALL.iter().map(|variable| variable.name).filter(|known| known.starts_with("CONSIGN_"));
    let nearest = nearest(name, known).unwrap_or(environment::CONSIGN_VERSION);
    format!("the environment variable {} means nothing; did you mean {nearest}?", text::shown(name))
}

/// The known word that looks most like one that is not known.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &str| strsim::jaro_winkler(known, word);
    known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// The file of a directory.
fn find(directory: &Utf8Path) -> Option<Utf8PathBuf> {
    find_above(directory, FILE_NAME)
}

/// A file of a directory: its own, or the nearest above it that still belongs to the workspace.
pub(super) fn find_above(directory: &Utf8Path, name: &str) -> Option<Utf8PathBuf> {
    let root = directory
        .ancestors()
        .find(|ancestor| is_root(ancestor))
        .or_else(|| directory.ancestors().find(|ancestor| ancestor.join("Cargo.toml").is_file()))
        .unwrap_or(directory);
    directory
        .ancestors()
        .take_while(|ancestor| ancestor.starts_with(root))
        .map(|ancestor| ancestor.join(name))
        .find(|path| path.is_file())
}

/// Whether a directory is the root of a repository or of a cargo workspace.
fn is_root(directory: &Utf8Path) -> bool {
    /// No manifest is this large; one that is cannot make every verb read it all.
    const MAX_MANIFEST_BYTES: usize = 1 << 20;
    if directory.join(".git").exists() {
        return true;
    }
    let Ok(manifest) = files::read_bounded(&directory.join("Cargo.toml"), MAX_MANIFEST_BYTES) else { return false };
    String::from_utf8_lossy(&manifest).lines().any(|line| line.trim_start().starts_with("[workspace"))
}
