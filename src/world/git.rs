//! The git repository that a workspace lies in, read through the `git` command.
//!
//! The main item is [`Repository`]. Every command runs with hooks, the file system monitor, pagers,
//! signature programs and every network transport switched off, and never takes an operand that
//! could be read as an option. It deliberately never writes to the user's repository, not even to
//! refresh its index.
//!
//! One thing of a repository's own configuration does run: where `.gitattributes` names a clean
//! filter (git-lfs, for example) and the user has configured that filter, `git status` asks it
//! whether a file has changed, because without it the answer would be wrong.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use crate::model::artifact::Person;
use crate::model::failure::Result;
use crate::model::source::{EARLIEST_SECONDS, MAX_CHANGES, Source};
use crate::model::{Code, Failure, Release, address, text};

use super::files;
use super::process::{Output, Program};

/// How many commits are read at most.
const MAX_COMMITS: usize = 10_000;
/// How long a clone over the network may take.
const CLONE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A git repository with a working tree.
#[derive(Clone, Debug)]
pub struct Repository {
    root: Utf8PathBuf,
}

/// One commit of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The full id.
    pub id: String,
    /// The first paragraph of its message, on one line, as it was written.
    pub subject: String,
    /// The rest of its message.
    pub body: String,
    /// The author's name, through `.mailmap`.
    pub author_name: String,
}

/// What a commit says of those who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Who wrote it.
    pub author: Person,
    /// Who committed it.
    pub committer: Person,
    /// Its message.
    pub message: String,
}

/// Who makes commits in a directory: what git is told of its user, if it is.
pub fn user(directory: &Utf8Path) -> Result<Option<Person>> {
    let told = |key: &str| -> Result<Option<String>> {
        let output = local(directory).args(["config", "--get", key]).output()?;
        Ok(output.status.success().then(|| output.text()).filter(|text| !text.is_empty()))
    };
    Ok(told("user.name")?.zip(told("user.email")?).map(|(name, email)| Person { name, email }))
}

impl Repository {
    /// The repository whose working tree holds a directory, if there is one.
    ///
    /// Without git, a directory that is in no repository is still fine.
    pub fn discover(directory: &Utf8Path) -> Result<Option<Self>> {
        let command = local(directory).args(["rev-parse", "--is-inside-work-tree", "--show-toplevel"]);
        let output = match command.output() {
            Ok(output) => output,
            Err(failure) if failure.code() == Code::ToolMissing => return without_the_command(directory, failure),
            Err(failure) => return Err(failure),
        };
        if output.status.success() {
            let said = output.text();
            let root = said.split_once('\n').map(|(_, root)| Utf8PathBuf::from(root));
            return Ok(root.map(|root| Self { root }));
        }
        // In a bare repository, or inside `.git`, there is no working tree that a workspace could be in.
        if output.stdout.starts_with(b"false") {
            return Ok(None);
        }
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        if complaint.contains("not a git repository (or any") {
            return Ok(None);
        }
        Err(unusable(directory, &complaint, &output))
    }

    /// The top directory of the working tree.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// What the source tree is: where it comes from, which commit, and whether it has changes.
    ///
    /// `ignored` are directories that a release writes to itself (`dist`, `target`): files in them
    /// that git does not track are no changes. The ref is the highest release tag at this commit,
    /// else the branch, else whatever tag there is.
    pub fn source(&self, ignored: &[&Utf8Path], source_date_epoch: Option<i64>) -> Result<Source> {
        let (status, hidden) = std::thread::scope(|scope| {
            let hidden = scope.spawn(|| self.hidden());
            let status = self.status(ignored);
            let ended_early = |_| Err(Failure::new(Code::Io, "a thread that runs git ended early"));
            Ok((status?, hidden.join().unwrap_or_else(ended_early)?))
        })?;
        let (date, tags) = match &status.commit {
            Some(_) => self.commit_time_and_tags()?,
            None => (None, Vec::new()),
        };
        let date = match (source_date_epoch, date) {
            (Some(epoch), _) => dated("SOURCE_DATE_EPOCH", epoch)?,
            (None, Some(seconds)) => dated("the commit's time", seconds)?,
            (None, None) => earliest(),
        };
        let reference = reference(&tags, status.branch.as_deref());
        let mut changes = [status.changes, hidden].concat();
        let dirty = !changes.is_empty();
        changes.truncate(MAX_CHANGES);
        Ok(Source { repository: self.address()?, commit: status.commit, reference, dirty, date, tags, changes })
    }

    /// The full id of the commit that is checked out; none before the first commit.
    pub fn head(&self) -> Result<Option<String>> {
        self.resolve("HEAD^{commit}")
    }

    /// The branch that is checked out; none where it is a commit by itself.
    pub fn branch(&self) -> Result<Option<String>> {
        let output = self.git().args(["symbolic-ref", "--short", "--quiet", "HEAD"]).output()?;
        Ok(output.status.success().then(|| output.text()).filter(|branch| !branch.is_empty()))
    }

    /// Who wrote and who committed a commit, and its message; nothing where it is not here.
    pub fn written(&self, commit: &str) -> Result<Option<Written>> {
        check_commit(commit)?;
        if self.resolve(&format!("{commit}^{{commit}}"))?.is_none() {
            return Ok(None);
        }
        let format = "--format=%an%x00%ae%x00%cn%x00%ce%x00%B";
        let output = self.run(&self.git().args(["show", "--no-patch", "--no-show-signature", format, commit, "--"]))?;
        let fields: Vec<_> = output.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let [name, email, committer, committer_email, message] = fields.as_slice() else { return Ok(None) };
        let person = |name: &str, email: &str| Person { name: name.to_owned(), email: email.to_owned() };
        Ok(Some(Written {
            author: person(name, email),
            committer: person(committer, committer_email),
            message: message.trim_end().to_owned(),
        }))
    }

    /// The commit that a tag points at; none when there is no such tag.
    pub fn tag_commit(&self, tag: &str) -> Result<Option<String>> {
        self.resolve(&format!("refs/tags/{tag}^{{commit}}"))
    }

    /// The tags at the commit that is checked out, sorted.
    pub fn tags_at_head(&self) -> Result<Vec<String>> {
        if self.head()?.is_none() {
            return Ok(Vec::new());
        }
        Ok(self.commit_time_and_tags()?.1)
    }

    /// Whether the history is cut off (`git clone --depth`).
    pub fn is_shallow(&self) -> Result<bool> {
        Ok(self.read(["rev-parse", "--is-shallow-repository"])? == "true")
    }

    /// Whether a commit is part of a branch, here or at origin; none when there is no such branch.
    pub fn is_ancestor(&self, commit: &str, branch: &str) -> Result<Option<bool>> {
        check_commit(commit)?;
        let names = [format!("refs/heads/{branch}"), format!("refs/remotes/origin/{branch}")];
        // A pattern would also match what lies below the name, so the answer is compared again.
        let found = |said: String| said.lines().any(|line| names.iter().any(|name| name == line));
        let all = ["for-each-ref", "--format=%(refname)"];
        if found(self.read(all.into_iter().chain([&*format!("--contains={commit}"), &names[0], &names[1]]))?) {
            return Ok(Some(true));
        }
        let exists = found(self.read(all.into_iter().chain([&*names[0], &*names[1]]))?);
        Ok(exists.then_some(false))
    }

    /// The tag of the release before this one: the highest lower version of the same package that
    /// is part of the history.
    pub fn previous_tag(&self, release: &Release) -> Result<Option<String>> {
        if self.head()?.is_none() {
            return Ok(None);
        }
        let tags = self.read(["for-each-ref", "--merged=HEAD", "--format=%(refname:strip=2)", "refs/tags"])?;
        let earlier = tags
            .lines()
            .filter_map(|tag| Release::parse(tag).ok())
            .filter(|other| other.package == release.package)
            .filter(|other| other.version.cmp_precedence(&release.version).is_lt())
            .max_by(|a, b| a.version.cmp(&b.version).then_with(|| a.tag.cmp(&b.tag)));
        Ok(earlier.map(|release| release.tag))
    }

    /// The commits after a tag, newest first and without merges; all of them when no tag is given,
    /// and only those that touch a path (below the root) when one is given.
    pub fn commits(&self, since: Option<&str>, path: Option<&Utf8Path>) -> Result<Vec<Commit>> {
        if self.head()?.is_none() {
            return Ok(Vec::new());
        }
        let range = since.map_or_else(|| "HEAD".to_owned(), |tag| format!("refs/tags/{tag}..HEAD"));
        let mut command = self
            .git()
            .args(["log", "-z", "--no-merges", "--format=%H%x00%aN%x00%s%x00%b", "--no-color", "--no-show-signature"])
            .args([&format!("--max-count={MAX_COMMITS}"), &range, "--"]);
        if let Some(path) = path.filter(|path| !path.as_str().is_empty() && *path != ".") {
            command = command.arg(format!(":(top,literal){path}"));
        }
        let output = self.run(&command)?;
        let fields: Vec<_> = output.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let commits = fields.chunks_exact(4).map(|fields| Commit {
            id: fields[0].clone().into_owned(),
            author_name: fields[1].clone().into_owned(),
            subject: fields[2].clone().into_owned(),
            body: fields[3].trim_end().to_owned(),
        });
        Ok(commits.collect())
    }

    /// Makes a clean copy of one commit in a directory that does not exist yet or is empty.
    ///
    /// The copy has the same tags and the same address, shares the objects of this repository, and
    /// is written without any configuration of the user or the machine: exactly the bytes that are
    /// in the commit. Submodules are left empty, and files kept by git-lfs stay pointers.
    pub fn checkout_into(&self, commit: &str, directory: &Utf8Path) -> Result<()> {
        check_commit(commit)?;
        let command = apart(program(&self.root), "file")
            .args(["clone", "--quiet", "--shared", "--no-checkout", "--template=", "--"])
            .args([&self.root, directory]);
        run(&command)?;
        if let Some(address) = self.address()? {
            run(&apart(program(directory), "none").args(["config", "remote.origin.url", &address]))?;
        }
        checkout(directory, commit)
    }

    fn resolve(&self, name: &str) -> Result<Option<String>> {
        let command = self.git().args(["rev-parse", "--verify", "--quiet", name]);
        let output = command.output()?;
        match output.status.code() {
            Some(0) => Ok(Some(output.text())),
            Some(1) => Ok(None),
            _ => Err(unusable(&self.root, &String::from_utf8_lossy(&output.stderr), &output)),
        }
    }

    fn status(&self, ignored: &[&Utf8Path]) -> Result<Status> {
        let output = self.run(&self.git().args(STATUS))?;
        let ignored: Vec<_> = ignored.iter().flat_map(|path| self.below_root(path)).collect();
        let mut status = Status::default();
        let mut holding_ignored = Vec::new();
        for entry in entries(&output) {
            if let Some(commit) = entry.strip_prefix("# branch.oid ") {
                status.commit = Some(commit.to_owned()).filter(|commit| commit != "(initial)");
            } else if let Some(branch) = entry.strip_prefix("# branch.head ") {
                status.branch = Some(branch.to_owned()).filter(|branch| branch != "(detached)");
            } else if let Some(path) = entry.strip_prefix("? ") {
                let path = path.trim_end_matches('/');
                if ignored.iter().any(|ignored| ignored.starts_with(path) && ignored != path) {
                    holding_ignored.push(path.to_owned());
                } else if !ignored.iter().any(|ignored| Utf8Path::new(path).starts_with(ignored)) {
                    status.changes.push(path.to_owned());
                }
            } else if !entry.starts_with("# ") {
                status.changes.push(changed_path(&entry).to_owned());
            }
        }
        if status.changes.is_empty() && !holding_ignored.is_empty() {
            status.changes = self.untracked_beside(&holding_ignored, &ignored)?;
        }
        Ok(status)
    }

    /// The tracked files that git was told not to look at (`update-index --assume-unchanged`,
    /// `--skip-worktree`). Nobody can say that they are as committed, so they count as changes. A file
    /// that a sparse checkout has left out is not there to be built from, and is none.
    fn hidden(&self) -> Result<Vec<String>> {
        let listed = self.run(&self.git().args(["ls-files", "-v", "-z", "--full-name"]))?;
        let hidden = entries(&listed).into_iter().filter_map(|entry| {
            let (tag, path) = entry.split_once(' ')?;
            let assumed = tag.bytes().all(|byte| byte.is_ascii_lowercase());
            let skipped = tag.eq_ignore_ascii_case("S");
            let is_hidden = if skipped { fs_err::symlink_metadata(self.root.join(path)).is_ok() } else { assumed };
            is_hidden.then(|| path.to_owned())
        });
        Ok(hidden.collect())
    }

    /// What directories without a tracked file hold besides the ignored ones.
    fn untracked_beside(&self, directories: &[String], ignored: &[Utf8PathBuf]) -> Result<Vec<String>> {
        let command = self
            .git()
            .args(STATUS)
            .arg("--")
            .args(directories.iter().map(|path| format!(":(top,literal){path}")))
            .args(ignored.iter().map(|path| format!(":(top,exclude,literal){path}")));
        let found = entries(&self.run(&command)?);
        Ok(found.iter().filter_map(|entry| entry.strip_prefix("? ")).map(str::to_owned).collect())
    }

    /// A directory that exists, as a path below the root, and the link that leads to it, if it is
    /// one; nothing for the root itself, which cannot be ignored without ignoring the source.
    fn below_root(&self, path: &Utf8Path) -> Vec<Utf8PathBuf> {
        let path = self.root.join(path);
        let Ok(root) = self.root.canonicalize_utf8() else { return Vec::new() };
        let place = path.parent().and_then(|parent| Some(parent.canonicalize_utf8().ok()?.join(path.file_name()?)));
        let mut found: Vec<_> = [path.canonicalize_utf8().ok(), place]
            .into_iter()
            .flatten()
            .filter_map(|path| Some(path.strip_prefix(&root).ok()?.to_owned()))
            // Git writes its paths with forward slashes everywhere.
            .map(|below| Utf8PathBuf::from(below.as_str().replace('\\', "/")))
            .filter(|below| !below.as_str().is_empty())
            .collect();
        found.dedup();
        found
    }

    fn commit_time_and_tags(&self) -> Result<(Option<i64>, Vec<String>)> {
        let said = self.read([
            "log",
            "-1",
            "--no-color",
            "--no-show-signature",
            "--decorate=full",
            "--decorate-refs=refs/tags/*",
            "--format=%ct%x00%D",
        ])?;
        let (seconds, decoration) = said.split_once('\0').unwrap_or((&said, ""));
        // A ref's name cannot hold a space, so the separator is safe.
        let mut tags: Vec<_> =
            decoration.split(", ").filter_map(|name| name.strip_prefix("tag: refs/tags/")).map(str::to_owned).collect();
        tags.sort();
        Ok((seconds.parse().ok(), tags))
    }

    /// The address of `origin`, or of the only remote, as it may be written down.
    fn address(&self) -> Result<Option<String>> {
        let command = self.git().args(["config", "--null", "--get-regexp", r"^remote\..*\.url$"]);
        let output = command.output()?;
        let remotes: Vec<_> = entries(&output)
            .into_iter()
            .filter_map(|entry| {
                let (key, url) = entry.split_once('\n')?;
                let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
                Some((name.to_owned(), url.to_owned()))
            })
            .collect();
        let chosen = remotes.iter().find(|(name, _)| name == "origin").or(match &remotes[..] {
            [only] => Some(only),
            _ => None,
        });
        Ok(chosen.and_then(|(_, url)| address::recorded(url)))
    }

    fn git(&self) -> Program {
        local(&self.root)
    }

    fn run(&self, command: &Program) -> Result<Output> {
        run(command).map_err(|failure| failure.subject(self.root.as_str()))
    }

    fn read<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        Ok(self.run(&self.git().args(arguments))?.text())
    }
}

/// Clones a repository and checks out one commit of it, in a directory that does not exist yet.
///
/// Only `https`, `ssh` and local repositories are cloned. The user's configuration is in force for
/// the transfer, for it may be needed to reach the place, but not for what is written.
pub fn clone(url: &str, commit: &str, directory: &Utf8Path) -> Result<()> {
    check_commit(commit)?;
    let shown = text::shown(&text::without_credentials(url)).into_owned();
    if !is_cloneable(url) {
        return Err(Failure::new(Code::RemoteRefused, format!("`{shown}` is not an address that is cloned"))
            .subject(shown)
            .hint("give an https or ssh address, or the path of a local repository"));
    }
    let command = apart(program(Utf8Path::new(".")), "https:ssh:file")
        .args(["clone", "--quiet", "--no-checkout", "--template=", "--", url])
        .arg(directory)
        .timeout(CLONE_TIMEOUT);
    let output = command.output()?;
    if !output.status.success() {
        return Err(Failure::new(Code::RemoteUnavailable, format!("failed to clone `{shown}`"))
            .subject(shown)
            .because(output.complaint()));
    }
    checkout(directory, commit)
}

/// The source of a workspace that is in no repository.
pub fn source_without_git(source_date_epoch: Option<i64>) -> Result<Source> {
    let date = match source_date_epoch {
        Some(epoch) => dated("SOURCE_DATE_EPOCH", epoch)?,
        None => earliest(),
    };
    let (tags, changes) = (Vec::new(), Vec::new());
    Ok(Source { repository: None, commit: None, reference: None, dirty: false, date, tags, changes })
}

const STATUS: [&str; 7] = [
    "status",
    "--porcelain=v2",
    "--branch",
    "-z",
    "--untracked-files=normal",
    "--ignore-submodules=none",
    "--no-renames",
];

#[derive(Default)]
struct Status {
    commit: Option<String>,
    branch: Option<String>,
    changes: Vec<String>,
}

/// The path in an entry of `git status`: behind eight fields, or ten where a merge is unfinished.
fn changed_path(entry: &str) -> &str {
    let fields = if entry.starts_with("u ") { 10 } else { 8 };
    entry.splitn(fields + 1, ' ').last().unwrap_or(entry)
}

/// The ref that names what is checked out.
fn reference(tags: &[String], branch: Option<&str>) -> Option<String> {
    let release = tags
        .iter()
        .filter_map(|tag| Release::parse(tag).ok())
        .max_by(|a, b| a.version.cmp(&b.version).then_with(|| b.tag.cmp(&a.tag)));
    match (release, branch, tags.first()) {
        (Some(release), _, _) => Some(format!("refs/tags/{}", release.tag)),
        (None, Some(branch), _) => Some(format!("refs/heads/{branch}")),
        (None, None, tag) => tag.map(|tag| format!("refs/tags/{tag}")),
    }
}

fn earliest() -> Timestamp {
    Timestamp::from_second(EARLIEST_SECONDS).expect("1980 is a time that can be told")
}

fn dated(what: &str, seconds: i64) -> Result<Timestamp> {
    Timestamp::from_second(seconds).map_err(|error| {
        Failure::new(Code::ConfigInvalid, format!("{what} is {seconds}, which is not a usable time"))
            .subject(what)
            .hint("it is a number of seconds since 1970-01-01 UTC")
            .because(error)
    })
}

/// Git in a directory, with everything switched off that would run a program or change what is printed.
fn program(directory: &Utf8Path) -> Program {
    const SETTINGS: [&str; 9] = [
        "core.fsmonitor=false",
        "core.hooksPath=/dev/null",
        "core.pager=cat",
        "core.quotePath=false",
        "log.showSignature=false",
        "log.mailmap=true",
        "i18n.logOutputEncoding=UTF-8",
        "submodule.recurse=false",
        "advice.detachedHead=false",
    ];
    let mut program = Program::new("git").arg("--no-pager");
    for setting in SETTINGS {
        program = program.args(["-c", setting]);
    }
    for name in ["LITERAL", "GLOB", "NOGLOB", "ICASE"] {
        program = program.env_remove(format!("GIT_{name}_PATHSPECS"));
    }
    program
        .directory(directory)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("LC_ALL", "C")
}

/// Git that reads a repository of the user's and reaches nothing else: no transport is allowed, so
/// that a partial clone cannot fetch what it lacks through a configured command.
fn local(directory: &Utf8Path) -> Program {
    program(directory).env("GIT_NO_LAZY_FETCH", "1").env("GIT_ALLOW_PROTOCOL", "none")
}

/// Git that works on another repository than the one that the environment may name.
fn apart(program: Program, protocols: &str) -> Program {
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"]
        .into_iter()
        .fold(program, Program::env_remove)
        .env("GIT_ALLOW_PROTOCOL", protocols)
}

/// Writes the files of one commit, without any configuration of the user or the machine.
fn checkout(directory: &Utf8Path, commit: &str) -> Result<()> {
    let plain = |directory| {
        apart(program(directory), "none").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1")
    };
    let known = plain(directory).args(["cat-file", "-e", &format!("{commit}^{{commit}}")]).output()?;
    if !known.status.success() {
        return Err(Failure::new(Code::SourceUnknown, format!("the commit {commit} is not in the repository"))
            .subject(commit)
            .hint("push the commit, or its tag, to the repository that the release names"));
    }
    let head = plain(directory).args(["rev-parse", "--verify", "--quiet", "HEAD"]).output()?;
    let checkout = plain(directory).args(["checkout", "--quiet", "--force"]);
    // Where the copy's branch is at the commit already, it stays checked out, as it was in the original.
    let checkout = if head.text() == commit { checkout } else { checkout.args(["--detach", commit]) };
    run(&checkout).map(drop)
}

fn run(command: &Program) -> Result<Output> {
    let output = command.output()?;
    if output.status.success() { Ok(output) } else { Err(command.ended(&output)) }
}

fn entries(output: &Output) -> Vec<String> {
    let pieces = output.stdout.split(|byte| *byte == 0).filter(|piece| !piece.is_empty());
    pieces.map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

fn check_commit(commit: &str) -> Result<()> {
    let hex = commit.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if hex && (commit.len() == 40 || commit.len() == 64) {
        return Ok(());
    }
    let shown = text::shown(commit).into_owned();
    Err(Failure::new(Code::SourceUnknown, format!("{shown:?} is not a full commit id")).subject(shown))
}

fn is_cloneable(url: &str) -> bool {
    let plain = !url.is_empty() && !url.starts_with('-') && url == text::shown(url);
    let helper = url.split('/').next().is_some_and(|start| start.contains("::"));
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    plain && !helper && matches!(scheme, None | Some("https" | "ssh" | "file"))
}

/// What it means that git is not installed: nothing, outside of a repository.
fn without_the_command(directory: &Utf8Path, failure: Failure) -> Result<Option<Repository>> {
    let directory = fs_err::canonicalize(directory).map_err(|error| files::failed("open", directory, error))?;
    if !directory.ancestors().any(|above| above.join(".git").exists()) {
        return Ok(None);
    }
    Err(Failure::new(Code::GitUnusable, "this is a git repository, and git is not installed")
        .subject("git")
        .hint("install git, for the commit and the tag are part of a release")
        .because(failure))
}

/// The failure of a repository that git refuses to read.
fn unusable(directory: &Utf8Path, complaint: &str, output: &Output) -> Failure {
    let way_out = complaint.lines().map(str::trim).find(|line| line.starts_with("git config --global --add safe."));
    let failure = Failure::new(Code::GitUnusable, format!("git refuses to read the repository at `{directory}`"))
        .subject(directory.as_str())
        .because(output.complaint());
    match way_out {
        Some(command) => failure.hint(format!("if you trust it, run `{}`", text::shown(command))),
        None => failure.hint("see whether `git status` works there"),
    }
}
