//! What a config repository says of releases: what is where, and how it came there.
//!
//! The main item is [`History`]. It reads the copy as it was last fetched, whoever wrote it, while other things
//! go on; it never asks the remote. Who asks twice is told what is there the second time.

use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::model::artifact::{Artifact, import};
use crate::model::failure::Result;
use crate::model::release_commit::ReleaseCommit;
use crate::model::{Code, Failure};
use crate::world::process::Program;

use super::checks;
use super::landing::Place;
use super::objects::{self, Id, Kind, Object};
use super::prepared::{ARTIFACT_FILE, releases};
use super::repository::{git, tracking};
use super::tree::{Mode, Tree};

/// How many commits are taken from git at least, where there is more to come.
const PAGE: usize = 64;

/// The history of a config repository.
#[derive(Clone, Debug)]
pub struct History {
    directory: Utf8PathBuf,
    branch: String,
}

/// Which namespaces are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaces<'a> {
    /// In each environment the one that is named as it.
    Own,
    /// One.
    Named(&'a str),
    /// All.
    Every,
}

/// What is in one place now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where.
    pub place: Place,
    /// The record beside the manifests, as it is there.
    pub artifact_json: Vec<u8>,
}

impl Standing {
    /// The record as ours; a failure where it cannot be read.
    pub fn artifact(&self) -> Result<Artifact> {
        import::read(&self.artifact_json, None)
    }
}

/// Whose releases are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The environment, in any case.
    pub environment: &'a str,
    /// The service, in any case.
    pub service: &'a str,
    /// The namespace, where the service is in several.
    pub namespace: Option<&'a str>,
    /// How many of the latest are left out.
    pub skip: usize,
    /// How many are wanted at most.
    pub count: usize,
}

/// One release, as the history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The commit.
    pub commit: Id,
    /// When it was committed.
    pub at: Timestamp,
    /// What it says.
    pub record: ReleaseCommit,
    /// The namespace, where it can be told.
    pub namespace: Option<String>,
    /// The artifact's record as it was released, where it is there.
    pub artifact_json: Option<Vec<u8>>,
}

impl Released {
    /// The artifact's record as ours, where it is there and can be read.
    pub fn artifact(&self) -> Option<Artifact> {
        import::read(self.artifact_json.as_deref()?, None).ok()
    }
}

impl History {
    pub(super) fn of(directory: Utf8PathBuf, branch: String) -> Self {
        Self { directory, branch }
    }

    /// What is where: of one service or all, sorted by place. Each directory at the root that has releases in it
    /// is an environment.
    pub fn status(&self, service: Option<&str>, namespaces: Namespaces<'_>) -> Result<Vec<Standing>> {
        let Some((tip, root)) = self.root()? else { return Ok(Vec::new()) };
        let environments = names(&root, Mode::Directory);
        let wanted = environments.iter().map(|environment| format!("{tip}:{environment}/releases")).collect::<Vec<_>>();
        let mut found = Vec::new();
        for (environment, object) in environments.iter().zip(objects::read(self.git(), &wanted)?) {
            let Some(tree) = object.and_then(into_tree) else { continue };
            for (namespace, id) in directories(&tree) {
                let is_wanted = match namespaces {
                    Namespaces::Own => namespace == *environment,
                    Namespaces::Named(name) => namespace == name,
                    Namespaces::Every => true,
                };
                if is_wanted {
                    found.push((Place { environment: environment.clone(), namespace, service: String::new() }, id));
                }
            }
        }
        let services = self.open(found)?.into_iter().flat_map(|(place, tree)| {
            let services = directories(&tree).into_iter().filter(|(name, _)| service.is_none_or(|only| name == only));
            services.map(|(service, id)| (Place { service, ..place.clone() }, id)).collect::<Vec<_>>()
        });
        let records = self.open(services.collect())?.into_iter().filter_map(|(place, tree)| {
            let entry = tree.get(ARTIFACT_FILE).filter(|entry| matches!(entry.mode, Mode::File | Mode::Program))?;
            Some((place, entry.id.to_string()))
        });
        let (places, ids): (Vec<_>, Vec<_>) = records.unzip();
        let records = places.into_iter().zip(objects::read(self.git(), &ids)?);
        let mut standings: Vec<_> = records
            .filter_map(|(place, object)| Some(Standing { place, artifact_json: into_blob(object?)? }))
            .collect();
        standings.sort_by(|one, other| one.place.cmp(&other.place));
        Ok(standings)
    }

    /// Releases of a service to an environment, the latest first. A rollback is a release too.
    pub fn releases(&self, query: &Query<'_>) -> Result<Vec<Released>> {
        let mut found = Vec::new();
        self.walk(query, &mut |released| {
            found.push(released);
            found.len() < query.skip.saturating_add(query.count)
        })?;
        found.drain(..query.skip.min(found.len()));
        found.truncate(query.count);
        Ok(found)
    }

    /// What going back to an artifact would take away: the releases since it was last there, the latest first,
    /// and that one at the end. Nothing, where it was never there before what is there now.
    pub fn releases_since(&self, query: &Query<'_>, artifact_id: &str) -> Result<Option<Vec<Released>>> {
        let mut found: Vec<Released> = Vec::new();
        let mut is_there = false;
        self.walk(query, &mut |released| {
            is_there = !found.is_empty() && released.record.is_of(artifact_id);
            found.push(released);
            !is_there
        })?;
        Ok(is_there.then_some(found))
    }

    /// Hands on one release after the other, until it is told that this is enough.
    fn walk(&self, query: &Query<'_>, hear: &mut dyn FnMut(Released) -> bool) -> Result<()> {
        if query.environment.is_empty() || query.service.is_empty() {
            return Ok(());
        }
        let mut page = query.skip.saturating_add(query.count).clamp(1, PAGE);
        let mut skip = 0;
        loop {
            let (seen, commits) = self.page(query, skip, page)?;
            for released in self.complete(query, commits)? {
                if !hear(released) {
                    return Ok(());
                }
            }
            if seen < page {
                return Ok(());
            }
            skip += seen;
            page = (page * 4).min(PAGE * PAGE);
        }
    }

    /// Some of the commits whose message has the place in it; how many there were, and those that are releases.
    fn page(&self, query: &Query<'_>, skip: usize, count: usize) -> Result<(usize, Vec<Released>)> {
        let Some((tip, _)) = self.root()? else { return Ok((0, Vec::new())) };
        let grep = format!("--grep=[{}/{}]", query.environment, query.service);
        let program = self.git().args(["log", "--fixed-strings", "--regexp-ignore-case", &grep]);
        let program = program.args([format!("--skip={skip}"), format!("--max-count={count}")]);
        let program = program.args(["--format=%H%n%ct%n%B%x00", tip.to_string().as_str(), "--"]);
        let output = program.output()?;
        if !output.status.success() {
            return Err(Failure::new(Code::GitUnusable, "the history of the config repository cannot be read")
                .because(output.complaint()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let commits: Vec<_> = text.split('\0').map(|commit| commit.trim_start_matches('\n')).collect();
        let commits = commits.iter().filter(|commit| !commit.is_empty());
        let seen = commits.clone().count();
        let releases = commits.filter_map(|commit| {
            let mut parts = commit.splitn(3, '\n');
            let commit = parts.next()?.parse().ok()?;
            let at = Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
            let record = ReleaseCommit::parse(parts.next()?)?;
            let is_wanted = record.concerns(query.environment, query.service);
            is_wanted.then_some(Released { commit, at, record, namespace: None, artifact_json: None })
        });
        Ok((seen, releases.collect()))
    }

    /// Adds namespace and record, and leaves out what was released to another namespace.
    fn complete(&self, query: &Query<'_>, commits: Vec<Released>) -> Result<Vec<Released>> {
        let spaces = self.namespaces(query, &commits)?;
        let mut candidates = Vec::new();
        for (number, (released, namespaces)) in commits.iter().zip(spaces).enumerate() {
            for namespace in namespaces {
                let ReleaseCommit { environment, service, .. } = released.record.clone();
                let directory = releases(&Place { environment, namespace: namespace.clone(), service: String::new() });
                let name = format!("{}:{directory}/{service}/{ARTIFACT_FILE}", released.commit);
                candidates.push((number, namespace, name));
            }
        }
        let names: Vec<_> = candidates.iter().map(|(.., name)| name.clone()).collect();
        let mut commits: Vec<_> = commits.into_iter().map(|released| (released, 0)).collect();
        for ((number, namespace, _), object) in candidates.into_iter().zip(objects::read(self.git(), &names)?) {
            let Some(bytes) = object.and_then(into_blob) else { continue };
            let (released, certainty) = &mut commits[number];
            // A service may be in several namespaces; the commit is about the one that has its artifact.
            let is_its = import::read(&bytes, None).is_ok_and(|artifact| released.record.is_of(artifact.id.as_ref()));
            let better = if is_its { 2 } else { 1 };
            if better > *certainty {
                *certainty = better;
                released.namespace = Some(namespace);
                released.artifact_json = Some(bytes);
            }
        }
        let is_wanted = |certainty: i32| query.namespace.is_none() || certainty == 2;
        Ok(commits.into_iter().filter(|(_, certainty)| is_wanted(*certainty)).map(|(released, _)| released).collect())
    }

    /// The namespaces that each release may have been to.
    fn namespaces(&self, query: &Query<'_>, commits: &[Released]) -> Result<Vec<Vec<String>>> {
        let is_path = |text: &str| checks::name("it", text).is_ok();
        // Names in messages are anybody's.
        let is_plain = |record: &ReleaseCommit| is_path(&record.environment) && is_path(&record.service);
        if let Some(namespace) = query.namespace {
            let one = |plain: bool| if plain && is_path(namespace) { vec![namespace.to_owned()] } else { Vec::new() };
            return Ok(commits.iter().map(|released| one(is_plain(&released.record))).collect());
        }
        let name = |released: &Released| {
            if is_plain(&released.record) {
                format!("{}:{}/releases", released.commit, released.record.environment)
            } else {
                "nothing".to_owned()
            }
        };
        let trees = objects::read(self.git(), &commits.iter().map(name).collect::<Vec<_>>())?.into_iter();
        Ok(trees
            .map(|tree| tree.and_then(into_tree).map_or_else(Vec::new, |tree| names(&tree, Mode::Directory)))
            .collect())
    }

    /// Opens directories, and leaves out those that are none.
    fn open(&self, found: Vec<(Place, Id)>) -> Result<Vec<(Place, Tree)>> {
        let ids: Vec<_> = found.iter().map(|(_, id)| id.to_string()).collect();
        let trees = found.into_iter().zip(objects::read(self.git(), &ids)?);
        Ok(trees.filter_map(|((place, _), object)| Some((place, into_tree(object?)?))).collect())
    }

    /// The commit that the copy was last fetched at, and its root.
    fn root(&self) -> Result<Option<(Id, Tree)>> {
        let program = self.git().args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        let tip = program.arg(format!("{}^{{commit}}", tracking(&self.branch))).output()?;
        let Ok(tip) = tip.text().parse::<Id>() else { return Ok(None) };
        let root = objects::read(self.git(), &[format!("{tip}^{{tree}}")])?.into_iter().next().flatten();
        Ok(root.and_then(into_tree).map(|root| (tip, root)))
    }

    fn git(&self) -> Program {
        git(&self.directory)
    }
}

fn into_tree(object: Object) -> Option<Tree> {
    if object.kind == Kind::Tree { Tree::parse(object.bytes) } else { None }
}

fn into_blob(object: Object) -> Option<Vec<u8>> {
    (object.kind == Kind::Blob).then_some(object.bytes)
}

fn directories(tree: &Tree) -> Vec<(String, Id)> {
    let directories = tree.entries().filter(|entry| entry.mode == Mode::Directory);
    directories.filter_map(|entry| Some((plain(entry.name)?, entry.id))).collect()
}

fn names(tree: &Tree, mode: Mode) -> Vec<String> {
    tree.entries().filter(|entry| entry.mode == mode).filter_map(|entry| plain(entry.name)).collect()
}

/// A name that can be part of a question. Others are nobody's environment, namespace or service.
fn plain(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    checks::name("it", name).is_ok().then(|| name.to_owned())
}
