//! What a config repository says of releases: what is where, and how it came there.
//!
//! The main item is [`History`]. It reads the copy as it was last fetched, whoever wrote it, while other things
//! go on; it never asks the remote. Who asks twice is told what is there the second time. The first question reads
//! every commit once; what is asked later does not become slower with the length of the history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::model::artifact::{Artifact, Person, import};
use crate::model::failure::Result;
use crate::model::release_commit::{Message, ReleaseCommit};
use crate::world::process::Program;

use super::checks;
use super::commits::RELEASE_ID;
use super::index::{Index, split, unreadable};
use super::landing::Place;
use super::objects::{self, Id, Kind, Object};
use super::prepared::{ARTIFACT_FILE, releases};
use super::repository::git;
use super::tree::{Mode, Tree};

/// How many commits are taken from git at most at first; where more are needed, it is four times as many each time.
const PAGE: usize = 64;

/// How many commits are looked through for those that somebody has come to.
const MOST_BELOW: &str = "10000";

/// The history of a config repository.
#[derive(Clone, Debug)]
pub struct History {
    directory: Utf8PathBuf,
    /// What leads to the last commit.
    name: String,
    index: Arc<Mutex<Option<Arc<Index>>>>,
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
    /// The directory with the manifests and the record.
    pub tree: Id,
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
    /// The id that whoever released it gave it, if it was one like this server.
    pub release_id: Option<String>,
}

/// What has become of a place since a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The commit is none of the place's releases: the copy does not know it yet, or it is no longer there.
    Unknown,
    /// The place is as it was.
    Same,
    /// Its files are others.
    Changed,
}

/// A commit that changed a place, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The commit.
    pub commit: Id,
    /// When it was committed.
    pub at: Timestamp,
    /// Who wrote it.
    pub author: Person,
}

impl Released {
    /// The artifact's record as ours, where it is there and can be read.
    pub fn artifact(&self) -> Option<Artifact> {
        import::read(self.artifact_json.as_deref()?, None).ok()
    }
}

impl History {
    pub(super) fn of(directory: Utf8PathBuf, name: String) -> Self {
        Self { directory, name, index: Arc::default() }
    }

    /// The commit that the copy was last fetched at.
    pub fn tip(&self) -> Result<Option<Id>> {
        let program = self.git().args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        Ok(program.arg(format!("{}^{{commit}}", self.name)).output()?.text().parse().ok())
    }

    /// Reads what is new, so that the next question need not.
    pub fn warm(&self) -> Result<()> {
        self.index().map(drop)
    }

    /// What is where: of one service or all, sorted by place. Each directory at the root that has releases in it
    /// is an environment.
    pub fn status(&self, service: Option<&str>, namespaces: Namespaces<'_>) -> Result<Vec<Standing>> {
        self.standings(&|name| service.is_none_or(|only| name == only), namespaces)
    }

    /// Every service that is somewhere.
    pub fn services(&self) -> Result<BTreeSet<String>> {
        let spaces = self.spaces(Namespaces::Every)?;
        Ok(self.open(spaces)?.into_iter().flat_map(|(_, tree)| names(&tree, Mode::Directory)).collect())
    }

    /// What is where, of the services that are meant.
    pub fn standings(&self, is_meant: &dyn Fn(&str) -> bool, namespaces: Namespaces<'_>) -> Result<Vec<Standing>> {
        let spaces = self.spaces(namespaces)?;
        let services = self.open(spaces)?.into_iter().flat_map(|(place, tree)| {
            let services = directories(&tree).into_iter().filter(|(name, _)| is_meant(name));
            services.map(|(service, id)| (Place { service, ..place.clone() }, id)).collect::<Vec<_>>()
        });
        let services: Vec<_> = services.collect();
        let trees: BTreeMap<_, _> = services.iter().cloned().collect();
        let records = self.open(services)?.into_iter().filter_map(|(place, tree)| {
            let entry = tree.get(ARTIFACT_FILE).filter(|entry| matches!(entry.mode, Mode::File | Mode::Program))?;
            Some((place, entry.id.to_string()))
        });
        let (places, ids): (Vec<_>, Vec<_>) = records.unzip();
        let records = places.into_iter().zip(objects::read(self.git(), &ids)?);
        let mut standings: Vec<_> = records
            .filter_map(|(place, object)| {
                let tree = *trees.get(&place)?;
                Some(Standing { tree, artifact_json: into_blob(object?)?, place })
            })
            .collect();
        standings.sort_by(|one, other| one.place.cmp(&other.place));
        Ok(standings)
    }

    /// The namespaces of every environment, as directories.
    fn spaces(&self, namespaces: Namespaces<'_>) -> Result<Vec<(Place, Id)>> {
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
        Ok(found)
    }

    /// Releases of a service to an environment, the latest first. A rollback is a release too.
    pub fn releases(&self, query: &Query<'_>) -> Result<Vec<Released>> {
        // Where every commit counts, none has to be read to be left out.
        let (from, skip) = if query.namespace.is_none() { (query.skip, 0) } else { (0, query.skip) };
        let mut found = Vec::new();
        if query.count == 0 {
            return Ok(found);
        }
        self.walk(query, from, &mut |released| {
            found.push(released);
            found.len() < skip.saturating_add(query.count)
        })?;
        found.drain(..skip.min(found.len()));
        found.truncate(query.count);
        Ok(found)
    }

    /// Every environment that a service was ever released to, in small letters.
    pub fn environments_of(&self, service: &str) -> Result<Vec<String>> {
        Ok(self.index()?.map(|index| index.environments(service)).unwrap_or_default())
    }

    /// The release that each of these places was written by last, without its record.
    pub fn latest(&self, places: &[Place]) -> Result<Vec<Option<Released>>> {
        let Some(index) = self.index()? else { return Ok(vec![None; places.len()]) };
        let last = |place: &Place| index.releases(&place.environment, &place.service).last().copied();
        let ids: BTreeSet<_> = places.iter().filter_map(last).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let commits: HashMap<_, _> =
            self.commits(&ids)?.into_iter().map(|released| (released.commit, released)).collect();
        let touched = self.touched(&ids)?;
        let latest = places.iter().map(|place| {
            let Some(id) = last(place) else { return Ok(None) };
            let paths = touched.get(&id).map(Vec::as_slice).unwrap_or_default();
            if let Some(released) = commits.get(&id).filter(|_| paths.contains(place)) {
                return Ok(Some(Released { namespace: Some(place.namespace.clone()), ..released.clone() }));
            }
            // The service is in several namespaces, or the last commit has not changed the record.
            let Place { environment, namespace, service } = place;
            let query = Query { environment, service, namespace: Some(namespace), skip: 0, count: 1 };
            Ok(self.releases(&query)?.pop())
        });
        latest.collect()
    }

    /// What has become of each place since one of its releases, which is named by its commit.
    pub fn since(&self, asked: &[(Place, String)]) -> Result<Vec<Since>> {
        let Some(index) = self.index()? else { return Ok(vec![Since::Unknown; asked.len()]) };
        let tip = index.tip.to_string();
        let is_known = |(place, commit): &(Place, String)| {
            let known = index.releases(&place.environment, &place.service);
            commit.parse().is_ok_and(|id: Id| known.contains(&id))
        };
        let known: Vec<_> = asked.iter().map(is_known).collect();
        let questions = asked.iter().zip(&known).filter(|(_, known)| **known).flat_map(|((place, commit), _)| {
            let at = |commit: &str| paths(place).map(|path| format!("{commit}:{path}"));
            [at(commit), at(&tip)].concat()
        });
        let ids = self.ids(&questions.collect::<Vec<_>>())?;
        let mut answers = ids.chunks(4).map(|ids| match ids {
            [one, other, one_now, other_now] if (one, other) == (one_now, other_now) => Since::Same,
            _ => Since::Changed,
        });
        let answer = |known: bool| if known { answers.next().unwrap_or(Since::Unknown) } else { Since::Unknown };
        Ok(known.into_iter().map(answer).collect())
    }

    /// A commit and those that it stands on, the latest ones: none, where there is no such commit.
    pub fn below(&self, commit: &str) -> Result<BTreeSet<String>> {
        let Ok(commit) = commit.parse::<Id>() else { return Ok(BTreeSet::new()) };
        let program = self.git().args(["rev-list", "--ignore-missing", "--max-count", MOST_BELOW]);
        let output = program.arg(commit.to_string()).output()?;
        if !output.status.success() {
            return Err(unreadable().because(output.complaint()));
        }
        Ok(output.text().lines().map(str::to_owned).collect())
    }

    /// The last commit after another one that changed a place.
    pub fn last_edit(&self, place: &Place, since: &str) -> Result<Option<Edit>> {
        let (Some(tip), Ok(since)) = (self.tip()?, since.parse::<Id>()) else { return Ok(None) };
        let program = self.git().env("GIT_LITERAL_PATHSPECS", "1").args(["log", "--max-count=1"]);
        let program =
            program.arg("--format=%H%n%ct%n%an%n%ae").arg(format!("{since}..{tip}")).arg("--").args(paths(place));
        let output = program.output()?;
        if !output.status.success() {
            return Err(unreadable().because(output.complaint()));
        }
        let text = output.text();
        let mut lines = text.lines();
        let mut edit = || {
            let (commit, at) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
            let at = Timestamp::from_second(at).ok()?;
            let author = Person { name: lines.next()?.to_owned(), email: lines.next().unwrap_or_default().to_owned() };
            Some(Edit { commit, at, author })
        };
        Ok(edit())
    }

    /// What going back to an artifact would take away: the releases since it was last there, the latest first,
    /// and that one at the end. Nothing, where it was never there before what is there now.
    pub fn releases_since(&self, query: &Query<'_>, artifact_id: &str) -> Result<Option<Vec<Released>>> {
        let mut found: Vec<Released> = Vec::new();
        let mut is_there = false;
        self.walk(query, 0, &mut |released| {
            is_there = !found.is_empty() && released.record.is_of(artifact_id);
            found.push(released);
            !is_there
        })?;
        Ok(is_there.then_some(found))
    }

    /// Hands on one release after the other, from one on, until it is told that this is enough.
    fn walk(&self, query: &Query<'_>, from: usize, hear: &mut dyn FnMut(Released) -> bool) -> Result<()> {
        let Some(index) = self.index()? else { return Ok(()) };
        let mut left = index.releases(query.environment, query.service).iter().rev().skip(from);
        let mut page = query.skip.saturating_add(query.count).clamp(1, PAGE);
        loop {
            let ids: Vec<_> = left.by_ref().take(page).copied().collect();
            if ids.is_empty() {
                return Ok(());
            }
            for released in self.complete(query, self.commits(&ids)?)? {
                if !hear(released) {
                    return Ok(());
                }
            }
            page = (page * 4).min(PAGE * PAGE);
        }
    }

    /// What commits of releases say.
    fn commits(&self, ids: &[Id]) -> Result<Vec<Released>> {
        let names: Vec<_> = ids.iter().map(Id::to_string).collect();
        let commits = ids.iter().zip(objects::read(self.git(), &names)?).filter_map(|(id, object)| {
            let (header, message) = split(&object?.bytes)?;
            let committer = header.lines().find(|line| line.starts_with("committer "))?;
            let seconds = committer.rsplit(' ').nth(1)?.parse().ok()?;
            Some(Released {
                commit: *id,
                at: Timestamp::from_second(seconds).ok()?,
                record: ReleaseCommit::parse(&message)?,
                namespace: None,
                artifact_json: None,
                release_id: Message::parse(&message).get(RELEASE_ID).map(str::to_owned),
            })
        });
        Ok(commits.collect())
    }

    /// The places whose record each commit has changed.
    fn touched(&self, ids: &[Id]) -> Result<HashMap<Id, Vec<Place>>> {
        let program = self.git().args(["diff-tree", "--stdin", "--root", "-r", "-z", "--no-renames", "--name-only"]);
        let questions: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let program = program.input(questions.into_bytes());
        let output = program.output()?;
        if !output.status.success() {
            return Err(unreadable().because(output.complaint()));
        }
        let (mut touched, mut current) = (HashMap::<Id, Vec<Place>>::new(), None);
        for token in output.stdout.split(|byte| *byte == 0) {
            let Ok(token) = std::str::from_utf8(token) else { continue };
            if let Ok(id) = token.parse::<Id>() {
                current = Some(id);
            } else if let (Some(id), Some(place)) = (current, recorded(token)) {
                touched.entry(id).or_default().push(place);
            }
        }
        Ok(touched)
    }

    /// What each name leads to.
    fn ids(&self, names: &[String]) -> Result<Vec<Option<Id>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let program = self.git().args(["cat-file", "--batch-check=%(objectname)", "--buffer"]);
        let program = program.input((names.join("\n") + "\n").into_bytes());
        let output = program.output()?;
        if !output.status.success() {
            return Err(program.ended(&output));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut ids: Vec<_> = text.lines().map(|line| line.parse().ok()).collect();
        ids.resize(names.len(), None);
        Ok(ids)
    }

    /// Adds namespace and record, and leaves out what was released to another namespace.
    fn complete(&self, query: &Query<'_>, commits: Vec<Released>) -> Result<Vec<Released>> {
        let touched = self.touched(&commits.iter().map(|released| released.commit).collect::<Vec<_>>())?;
        let touched = |released: &Released| -> Vec<Place> {
            let places = touched.get(&released.commit).map(Vec::as_slice).unwrap_or_default().iter();
            places.filter(|place| released.record.concerns(&place.environment, &place.service)).cloned().collect()
        };
        let spaces = self.namespaces(query, &commits)?;
        let mut candidates = Vec::new();
        for (number, (released, namespaces)) in commits.iter().zip(spaces).enumerate() {
            // What it has changed is what it is about. Where the record was the same before, all are looked at.
            let changed = touched(released);
            let is_sure = !changed.is_empty();
            let ReleaseCommit { environment, service, .. } = released.record.clone();
            let guess = |namespace| Place { environment: environment.clone(), namespace, service: service.clone() };
            let places = if is_sure { changed } else { namespaces.into_iter().map(guess).collect() };
            for place in places.into_iter().filter(|place| query.namespace.is_none_or(|only| place.namespace == only)) {
                let name = format!("{}:{}/{}/{ARTIFACT_FILE}", released.commit, releases(&place), place.service);
                candidates.push((number, is_sure, place.namespace, name));
            }
        }
        let names: Vec<_> = candidates.iter().map(|(.., name)| name.clone()).collect();
        let mut commits: Vec<_> = commits.into_iter().map(|released| (released, 0)).collect();
        for ((number, is_sure, namespace, _), object) in candidates.into_iter().zip(objects::read(self.git(), &names)?)
        {
            let Some(bytes) = object.and_then(into_blob) else { continue };
            let (released, certainty) = &mut commits[number];
            // A service may be in several namespaces; the commit is about the one that has its artifact.
            let is_its = import::read(&bytes, None).is_ok_and(|artifact| released.record.is_of(artifact.id.as_ref()));
            let better = 1 + i32::from(is_its) + 2 * i32::from(is_sure);
            if better > *certainty {
                *certainty = better;
                released.namespace = Some(namespace);
                released.artifact_json = Some(bytes);
            }
        }
        let is_wanted = |certainty: i32| query.namespace.is_none() || certainty >= 2;
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
        let Some(tip) = self.tip()? else { return Ok(None) };
        let root = objects::read(self.git(), &[format!("{tip}^{{tree}}")])?.into_iter().next().flatten();
        Ok(root.and_then(into_tree).map(|root| (tip, root)))
    }

    /// Where the releases are in what was last fetched. Whoever asks at the same time waits for it.
    fn index(&self) -> Result<Option<Arc<Index>>> {
        let Some(tip) = self.tip()? else { return Ok(None) };
        let mut kept = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = kept.as_ref().filter(|index| index.tip == tip) {
            return Ok(Some(index.clone()));
        }
        let index = Arc::new(Index::of(&self.git(), tip, kept.as_deref())?);
        *kept = Some(index.clone());
        Ok(Some(index))
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

/// Where everything lies that a release to a place writes.
fn paths(place: &Place) -> [String; 2] {
    let Place { environment, namespace, service } = place;
    [format!("{}/{service}", releases(place)), format!("clusters/{environment}/{namespace}/{service}.yaml")]
}

/// The place that a path is the record of, if it is one's.
fn recorded(path: &str) -> Option<Place> {
    let parts: Vec<_> = path.split('/').collect();
    let &[environment, "releases", namespace, service, ARTIFACT_FILE] = parts.as_slice() else { return None };
    let [environment, namespace, service] = [environment, namespace, service].map(str::to_owned);
    Some(Place { environment, namespace, service })
}

/// A name that can be part of a question. Others are nobody's environment, namespace or service.
fn plain(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    checks::name("it", name).is_ok().then(|| name.to_owned())
}
