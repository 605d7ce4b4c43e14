//! Cargo workspaces of every kind, runs of the command on them, and what they leave behind.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::collections::BTreeMap;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use consign::archive::Inspector;
use consign::model::index::Index;
use serde_json::Value;

use super::support::{Scratch, clean, commit, consign, git, small_workspace, succeed};

/// What a run of the command printed, and how it ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The one document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.out, self.err))
    }

    /// The run had to succeed.
    #[track_caller]
    pub fn passed(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// The run had to fail with an exit code and a stable word; its document is given back.
    #[track_caller]
    pub fn failed(&self, code: i32, word: &str) -> Value {
        let document = self.json();
        assert_eq!((self.code, document["code"].as_str()), (code, Some(word)), "{}{}", self.out, self.err);
        assert_eq!(document["type"], "consign.error/v1");
        document
    }
}

/// Runs a prepared command to its end. Nothing may make it panic.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
    let ran = Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
    assert!(!ran.err.contains("panicked") && !ran.err.contains("RUST_BACKTRACE"), "{}", ran.err);
    ran
}

/// Runs the command in a directory, with its result as JSON.
#[track_caller]
pub fn json(directory: &Utf8Path, arguments: &[&str]) -> Ran {
    run(consign(directory).args(["--format", "json"]).args(arguments))
}

/// A rehearsal without the workspace's own tests.
#[track_caller]
pub fn rehearse(directory: &Utf8Path, arguments: &[&str]) -> Ran {
    json(directory, &[&["release-pipeline", "--skip", "test"], arguments].concat())
}

/// The directory of the one bundle below `dist/`.
pub fn bundle(workspace: &Utf8Path) -> Utf8PathBuf {
    let packages = workspace.join("dist/packages");
    let names: Vec<_> = fs_err::read_dir(&packages).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let [only] = names.as_slice() else { panic!("{packages} holds {names:?}") };
    packages.join(only.to_str().unwrap())
}

/// The index of the one bundle.
pub fn index(workspace: &Utf8Path) -> Index {
    serde_json::from_slice(&fs_err::read(bundle(workspace).join("index.json")).unwrap()).unwrap()
}

/// The provenance of the one bundle.
pub fn provenance(workspace: &Utf8Path) -> Value {
    serde_json::from_slice(&fs_err::read(bundle(workspace).join("provenance.json")).unwrap()).unwrap()
}

/// The paths inside every archive of the bundle, by archive, as the crate's own reader sees them.
pub fn contents(workspace: &Utf8Path) -> BTreeMap<String, Vec<String>> {
    let place = bundle(workspace);
    let listed = index(workspace).packages.into_iter().map(|package| {
        let bytes = fs_err::read(place.join(package.archive.as_str())).unwrap();
        let mut inspector = Inspector::default();
        let read = inspector.inspect(package.format, &bytes, Index::stem(&package), package.unpacked_size_bytes);
        (package.archive.to_string(), read.unwrap().entries.into_iter().map(|entry| entry.path).collect())
    });
    listed.collect()
}

/// The paths inside the one archive of the bundle.
pub fn packed(workspace: &Utf8Path) -> Vec<String> {
    let mut all: Vec<_> = contents(workspace).into_values().collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The program of [`small_workspace`] as a cargo workspace with settings, committed and tagged.
pub fn configured(settings: &str) -> Scratch {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("consign.toml", settings);
    commit(scratch.path(), "chore: settings");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    scratch
}

/// A workspace made of files, with the lock file that cargo writes, committed.
pub fn workspace_of(files: &[(&str, &str)]) -> Scratch {
    let scratch = Scratch::new();
    for (path, content) in files {
        scratch.write(path, content);
    }
    let mut cargo = Command::new("cargo");
    clean(&mut cargo);
    succeed(cargo.current_dir(scratch.path()).args(["generate-lockfile", "--offline"]));
    scratch.write(".gitignore", "/target\n/dist\n");
    git(scratch.path(), &["init", "-q"]);
    commit(scratch.path(), "feat: begin");
    scratch
}

/// Every file below a directory, sorted.
pub fn files_below(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs_err::read_dir(&place).unwrap() {
            let path = Utf8PathBuf::from_path_buf(entry.unwrap().path()).unwrap();
            if path.symlink_metadata().unwrap().is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What is left of work that was interrupted.
pub fn litter(workspace: &Utf8Path) -> Vec<Utf8PathBuf> {
    fn walk(directory: &Utf8Path, found: &mut Vec<Utf8PathBuf>) {
        for entry in fs_err::read_dir(directory).unwrap() {
            let path = Utf8PathBuf::from_path_buf(entry.unwrap().path()).unwrap();
            if path.file_name().is_some_and(|name| name.starts_with('.') && name != ".lock") {
                found.push(path);
            } else if path.symlink_metadata().unwrap().is_dir() {
                walk(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(&workspace.join("dist"), &mut found);
    found
}
