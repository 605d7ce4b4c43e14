//! The directories on the way to what changes, from commit to commit.
//!
//! The main item is [`Directories`]. Nothing else of the repository is read, however much there is.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::failure::Result;
use crate::model::{Code, Failure};

use super::objects::{self, Id, Kind};
use super::pack::Pack;
use super::prepared::Edit;
use super::repository::{ConfigRepository, Warm};
use super::tree::{Mode, Tree};

/// How many bytes of directories are kept from one landing to the next.
const MAX_WARM_BYTES: usize = 8 << 20;

/// Directories by their paths; the root has none.
#[derive(Clone, Default)]
pub(super) struct Directories {
    known: HashMap<String, Directory>,
    /// Where something else lies than a directory.
    blocked: HashSet<String>,
    changed: BTreeSet<String>,
}

#[derive(Clone, Default)]
struct Directory {
    tree: Tree,
    /// Its last form that was put into a pack.
    packed: Option<(Id, Vec<u8>)>,
}

/// What came of changing something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Changed,
    Unchanged,
    /// Something lies here that is no directory.
    Blocked(String),
}

impl Directories {
    /// Reads the directories that edits are about, and those above them, of the last known commit.
    pub(super) fn read<'e>(repository: &ConfigRepository, edits: impl Iterator<Item = &'e Edit>) -> Result<Self> {
        let mut directories = Self::default();
        let Some(tip) = repository.tip else {
            directories.known.insert(String::new(), Directory::default());
            return Ok(directories);
        };
        let warm = &repository.warm;
        let root = match warm.root {
            Some((commit, root)) if commit == tip => root.to_string(),
            _ => format!("{tip}^{{tree}}"),
        };
        let wanted: BTreeSet<_> = edits.flat_map(|edit| ancestors(&edit.directory)).collect();
        let mut level = vec![(String::new(), root)];
        while !level.is_empty() {
            directories.take(repository, warm, &level)?;
            let depth = level[0].0.split('/').filter(|part| !part.is_empty()).count() + 1;
            level = directories.below(wanted.iter().filter(|path| path.split('/').count() == depth));
        }
        Ok(directories)
    }

    fn take(&mut self, repository: &ConfigRepository, warm: &Warm, level: &[(String, String)]) -> Result<()> {
        let is_warm = |name: &str| name.parse().ok().and_then(|id: Id| warm.trees.get(&id));
        let cold: Vec<_> = level.iter().map(|(_, name)| name.clone()).filter(|name| is_warm(name).is_none()).collect();
        let mut cold = objects::read(repository.git(), &cold)?.into_iter();
        for (path, name) in level {
            let bytes = match is_warm(name) {
                Some(bytes) => bytes.clone(),
                None => match cold.next().flatten() {
                    Some(object) if object.kind == Kind::Tree => object.bytes,
                    _ => return Err(damaged(name)),
                },
            };
            let tree = Tree::parse(bytes).ok_or_else(|| damaged(name))?;
            self.known.insert(path.clone(), Directory { tree, packed: None });
        }
        Ok(())
    }

    /// Those of some paths that are there, with their names as objects.
    fn below<'p>(&mut self, paths: impl Iterator<Item = &'p String>) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for path in paths {
            let (above, name) = split(path);
            match self.known.get(above).and_then(|above| above.tree.get(name)) {
                Some(entry) if entry.mode == Mode::Directory => found.push((path.clone(), entry.id.to_string())),
                Some(_) => drop(self.blocked.insert(path.clone())),
                None => drop(self.known.insert(path.clone(), Directory::default())),
            }
        }
        found
    }

    /// Makes changes: all of them, or none.
    pub(super) fn apply(&mut self, edits: &[Edit]) -> Applied {
        let mut paths = edits.iter().flat_map(|edit| ancestors(&edit.directory));
        if let Some(path) = paths.find(|path| self.blocked.contains(path)) {
            return Applied::Blocked(path);
        }
        let mut applied = Applied::Unchanged;
        for Edit { directory: path, name, entry } in edits {
            let directory = self.known.entry(path.clone()).or_default();
            if directory.tree.get(name).map(|there| (there.mode, there.id)) == *entry {
                continue;
            }
            match entry {
                Some((mode, id)) => directory.tree.set(name, *mode, *id),
                None => drop(directory.tree.remove(name)),
            }
            applied = Applied::Changed;
            self.changed.extend(ancestors(path));
            self.changed.insert(String::new());
        }
        applied
    }

    /// Puts every directory that has changed into a pack, and gives the name of the root.
    pub(super) fn put(&mut self, pack: &mut Pack) -> Id {
        let mut root = None;
        // What lies below sorts behind.
        for path in std::mem::take(&mut self.changed).into_iter().rev() {
            let directory = self.known.entry(path.clone()).or_default();
            let id = directory.tree.id();
            let is_gone = directory.tree.is_empty();
            if !is_gone || path.is_empty() {
                let earlier = directory.packed.as_ref().map(|(id, bytes)| (*id, bytes.as_slice()));
                pack.put_tree_after(earlier, id, directory.tree.bytes());
                directory.packed = Some((id, directory.tree.bytes().to_vec()));
            }
            if path.is_empty() {
                root = Some(id);
                continue;
            }
            let (above, name) = split(&path);
            let above = &mut self.known.entry(above.to_owned()).or_default().tree;
            if is_gone {
                above.remove(name);
            } else {
                above.set(name, Mode::Directory, id);
            }
        }
        root.unwrap_or_else(|| self.root())
    }

    fn root(&self) -> Id {
        self.known.get("").map_or_else(|| Tree::default().id(), |directory| directory.tree.id())
    }

    /// What is worth keeping for whoever goes on from a commit that these are the directories of, with as much of
    /// what was kept before as there is room for: the next release is often one of a neighbour.
    pub(super) fn into_warm(self, commit: Id, earlier: Warm) -> Warm {
        let root = Some((commit, self.root()));
        let mut room = MAX_WARM_BYTES;
        let mut trees = HashMap::new();
        let known = self.known.into_values().map(|directory| (directory.tree.id(), directory.tree.into_bytes()));
        for (id, bytes) in known.chain(earlier.trees) {
            if bytes.len() <= room && !trees.contains_key(&id) {
                room -= bytes.len();
                trees.insert(id, bytes);
            }
        }
        Warm { root, trees }
    }
}

/// A path and all above it, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = String> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.map(|end| path[..end].to_owned())
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn damaged(name: &str) -> Failure {
    Failure::new(Code::GitUnusable, format!("the copy of the config repository has no directory {name}"))
        .hint("stop the server, remove the copy, and start it again: it is fetched anew")
}
