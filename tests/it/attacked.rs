//! A place to attack the command from: it has to refuse, by its exit code and by its word for it, and to
//! leave nothing anywhere.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::Digest;
use serde_json::Value;

use crate::fixture::{self, Files};
use crate::signed_verify::scene;
use crate::support::{self, Scratch, both};

/// A directory to attack, with everything in it that a run may write to.
pub struct Bench {
    pub scratch: Scratch,
}

impl Bench {
    /// With a bundle, and the public keys of the scene's owner and of a stranger.
    pub fn new(files: &Files) -> Self {
        let scratch = Scratch::new();
        for directory in ["bundle", "home", "temporary"] {
            fs_err::create_dir(scratch.path().join(directory)).unwrap();
        }
        fixture::write(files, &scratch.path().join("bundle"));
        scratch.write("key.pub", scene().key.public().to_pem());
        scratch.write("other.pub", scene().other.public().to_pem());
        Self { scratch }
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes a private key as its owner would.
    pub fn key(&self, name: &str, pem: &[u8]) {
        let path = self.scratch.write(name, pem);
        #[cfg(unix)]
        fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        #[cfg(not(unix))]
        drop(path);
    }

    pub fn command(&self, line: &str) -> Command {
        self.command_as("json", line)
    }

    pub fn command_as(&self, format: &str, line: &str) -> Command {
        let mut command = support::consign(self.scratch.path());
        self.surround(&mut command);
        command.args(["--format", format]).args(line.split_whitespace());
        command
    }

    /// Gives a command a home and a place for temporary files that are watched.
    pub fn surround(&self, command: &mut Command) {
        support::clean(command);
        command.env("HOME", self.path("home")).env("XDG_STATE_HOME", self.path("home/state"));
        command.env("TMPDIR", self.path("temporary")).current_dir(self.scratch.path());
    }

    /// Runs a command that has to be refused: by its exit code, by these words and no others, with a
    /// way out, without a character that moves a cursor, and without writing anything.
    #[track_caller]
    pub fn refused(&self, what: &str, command: &mut Command, exit: i32, codes: &[&str]) -> Value {
        let before = litter(self.scratch.path());
        let output = command.output().unwrap();
        let said = serde_json::from_slice(&output.stdout).map_or_else(
            |_| both(&output),
            |told: Value| match &told["findings"] {
                Value::Null => told.to_string(),
                findings => findings.to_string(),
            },
        );
        let what = format!("{what}: {said}");
        assert_eq!(output.status.code(), Some(exit), "{what}");
        assert_plain(&output, &what);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {what}"));
        let findings = told["findings"].as_array().cloned().unwrap_or_else(|| vec![told.clone()]);
        assert!(findings.iter().all(|row| row["hint"].as_str().is_some_and(|hint| !hint.is_empty())), "{what}");
        let found: BTreeSet<&str> = findings.iter().filter_map(|row| row["code"].as_str()).collect();
        assert_eq!(found, codes.iter().copied().collect(), "{what}");
        assert_eq!(litter(self.scratch.path()), before, "{what}");
        told
    }

    /// Runs a command that has to be refused and to leave nothing, whatever it says besides this code.
    #[track_caller]
    pub fn unmoved(&self, what: &str, command: &mut Command, exit: i32, code: &str) -> Output {
        let before = litter(self.scratch.path());
        let output = command.output().unwrap();
        let said = both(&output);
        assert_eq!(output.status.code(), Some(exit), "{what}: {said}");
        assert!(said.contains(code), "{what} is no {code}: {said}");
        assert_plain(&output, what);
        assert_eq!(litter(self.scratch.path()), before, "{what}");
        output
    }

    #[track_caller]
    pub fn passes(&self, line: &str) -> Value {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// That nothing shown moves a cursor or turns text around.
pub fn assert_plain(output: &Output, what: &str) {
    let is_odd = |c: char| c != '\n' && c.is_control() || matches!(c, '\u{202e}' | '\u{2066}' | '\u{61c}' | '\u{feff}');
    for stream in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(stream).contains(is_odd), "{what}: {stream:02x?}");
    }
}

/// Everything below a directory: how large each file is, when it was written and, where it is small, which
/// bytes it has. A directory is only there; what came and went in it is no litter.
pub fn litter(root: &Utf8Path) -> BTreeMap<Utf8PathBuf, Option<(u64, SystemTime, Option<Digest>)>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let seen = path.symlink_metadata().unwrap();
            let is_small = seen.is_file() && seen.len() < 1 << 24;
            let digest = is_small.then(|| Digest::of(&fs_err::read(&path).unwrap()));
            let is_file = !seen.is_dir();
            found.insert(path.clone(), is_file.then(|| (seen.len(), seen.modified().unwrap(), digest)));
            if seen.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

/// Verifies the bundle by its owner's key.
pub const VERIFY: &str = "verify bundle --pubkey key.pub";

/// Every bundle is refused by these words.
pub fn all_refused<'a>(rows: impl IntoIterator<Item = (&'a str, Files, &'a [&'a str])>) {
    for (what, files, codes) in rows {
        let bench = Bench::new(&files);
        bench.refused(what, &mut bench.command(VERIFY), 4, codes);
    }
}

/// A document's text, changed; the change has to be one.
pub fn edited(files: &Files, name: &str, change: impl Fn(&str) -> String) -> Files {
    let text = String::from_utf8(files[name].clone()).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text, "{name}");
    let mut files = files.clone();
    files.insert(name.to_owned(), changed.into_bytes());
    files
}
