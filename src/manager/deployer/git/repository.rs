//! The bare repository that a server keeps of a config repository, and how git is run in it.
//!
//! The main item is [`ConfigRepository`]. It is a copy: everything in it can be had from the remote again, so
//! that a damaged one may be deleted while nothing uses it.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::artifact::Person;
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::files;
use crate::world::lock::Lock;
use crate::world::process::Program;

use super::history::History;
use super::objects::Id;
use super::remote::{self, Credentials};
use super::signing::SigningKey;

/// Where a copy keeps what whoever only reads has seen of the remote's branch. Whoever lands has another name for it, so
/// that neither waits for the other one.
const SEEN: &str = "refs/consign/seen";
/// How many packs there may be before they become one.
const MAX_PACKS: usize = 50;

/// What a config repository needs to know, as plain values.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the copy is kept.
    pub directory: Utf8PathBuf,
    /// The remote: an https, ssh or git address, or a path. It has no password in it.
    pub address: String,
    /// The branch that the clusters follow.
    pub branch: String,
    /// Who commits.
    pub committer: Person,
    /// What commits are signed with, if they are.
    pub signing: Option<SigningKey>,
    /// How the server proves to the remote who it is.
    pub credentials: Credentials,
}

/// The copy of a config repository, and the way to the remote.
#[derive(Debug)]
pub struct ConfigRepository {
    pub(super) settings: Settings,
    /// What the remote was last known to be at; nothing where it has no commit yet.
    pub(super) tip: Option<Id>,
    /// Whether there is no reason to believe that it is somewhere else by now.
    pub(super) is_current: bool,
    /// What the last landing has left, with which the next one most often begins.
    pub(super) warm: Warm,
}

/// Directories that are known without asking git.
#[derive(Debug, Default)]
pub(super) struct Warm {
    /// The uppermost one of a commit.
    pub(super) root: Option<(Id, Id)>,
    pub(super) trees: HashMap<Id, Vec<u8>>,
}

impl ConfigRepository {
    /// Opens the copy, or makes an empty one. The remote is not asked yet.
    pub fn open(settings: Settings) -> Result<Self> {
        let mut repository = Self::open_to_read(settings)?;
        let turn = repository.turn()?;
        // What a killed process left of files that it was writing.
        files::sweep(&repository.settings.directory.join("objects/pack"))?;
        drop(turn);
        repository.tip = repository.resolve(&repository.tracking())?;
        Ok(repository)
    }

    /// The same, for nothing but [`look`](Self::look): somebody else may be landing meanwhile.
    pub fn open_to_read(settings: Settings) -> Result<Self> {
        remote::check_address(&settings.address)?;
        check_branch(&settings.branch)?;
        let is_plain = settings.address.starts_with("http://");
        if is_plain && matches!(settings.credentials, Credentials::Password { .. }) {
            return Err(Failure::new(Code::ConfigInvalid, "a password is never sent over plain http")
                .subject(settings.address)
                .hint("use the repository's https address"));
        }
        let repository = Self { settings, tip: None, is_current: false, warm: Warm::default() };
        let directory = &repository.settings.directory;
        // It is among the last things that git makes.
        let is_made = || directory.join("objects/info").exists();
        if !is_made() {
            files::create_directory(directory)?;
            let _turn = repository.turn()?;
            if !is_made() {
                let init = git(directory)
                    .args(["init", "--quiet", "--bare", "--template=", "--object-format=sha1"])
                    .arg("--initial-branch=main");
                init.read()?;
            }
        }
        Ok(repository)
    }

    /// Brings the copy to where the remote is.
    pub fn refresh(&mut self) -> Result<()> {
        let _turn = self.turn()?;
        self.fetch()
    }

    /// What the repository says of releases, as the copy knows it. It can be asked while something is landed.
    pub fn history(&self) -> History {
        History::of(self.settings.directory.clone(), self.tracking())
    }

    /// Asks the remote for what others have brought there, while something may be landed.
    pub fn look(&self) -> Result<()> {
        self.fetch_into(SEEN)
    }

    /// What the repository says of releases, as it was at the last [`look`](Self::look), by whichever process.
    pub fn seen(&self) -> History {
        History::of(self.settings.directory.clone(), SEEN.to_owned())
    }

    /// Puts what many landings have left together, if there is much of it.
    pub fn tidy(&mut self) -> Result<()> {
        let packs = files::list(&self.settings.directory.join("objects/pack"))?;
        if packs.iter().filter(|(name, _)| Utf8Path::new(name).extension() == Some("pack")).count() < MAX_PACKS {
            return Ok(());
        }
        let _turn = self.turn()?;
        self.git().args(["repack", "--quiet", "-d", "-l", "--geometric=2"]).read()?;
        self.git().args(["commit-graph", "write", "--reachable", "--split", "--no-progress"]).read().map(drop)
    }

    /// One process at a time changes the copy.
    pub(super) fn turn(&self) -> Result<Option<Lock>> {
        let path = self.settings.directory.join("consign.lock");
        Lock::take(&path, &|_| ()).map_err(|error| files::failed("lock", &path, error))
    }

    /// Git in the copy, without a way to anywhere else.
    pub(super) fn git(&self) -> Program {
        git(&self.settings.directory)
    }

    /// Where the copy keeps what it knows of the remote's branch.
    pub(super) fn tracking(&self) -> String {
        tracking(&self.settings.branch)
    }
}

/// Where a copy keeps what it knows of the remote's branch.
pub(super) fn tracking(branch: &str) -> String {
    format!("refs/remotes/origin/{branch}")
}

/// Git in a bare repository, without any configuration of the user or the machine, and without a way to
/// anywhere else.
pub(super) fn git(directory: &Utf8Path) -> Program {
    const FOREIGN: [&str; 10] = [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_CONFIG_PARAMETERS",
        "GIT_TRACE_CURL",
        "GIT_ASKPASS",
    ];
    let program = FOREIGN.into_iter().fold(Program::new("git").directory(directory), Program::env_remove);
    program
        .env("GIT_DIR", ".")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_COUNT", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_ALLOW_PROTOCOL", "none")
        .env("LC_ALL", "C")
}

/// A branch's name becomes part of commands and of refs.
fn check_branch(branch: &str) -> Result<()> {
    let is_good = !branch.is_empty()
        && branch.len() <= 200
        && !branch.starts_with('-')
        && !branch.contains("..")
        && !branch.contains("@{")
        && branch
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && Utf8Path::new(part).extension() != Some("lock"))
        && !branch.ends_with('.')
        && !branch.chars().any(|letter| letter.is_control() || " ~^:?*[\\".contains(letter));
    if is_good {
        return Ok(());
    }
    Err(Failure::new(Code::ConfigInvalid, format!("{branch:?} is not the name of a branch")).subject(branch))
}
