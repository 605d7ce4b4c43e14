//! A landing as objects and as changes of directories, before anybody knows what it will be put on.
//!
//! The main item is [`Prepared`]. It is made once, however often its commit has to be made anew.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::model::failure::Result;
use crate::model::{Code, Failure};

use super::landing::{Change, Landing, PayloadFile, Place};
use super::objects::{Id, Kind};
use super::tree::{Mode, Tree};
use super::{checks, kustomization};

/// The record of what is there, beside the manifests.
pub(super) const ARTIFACT_FILE: &str = "artifact.json";

/// A landing, ready to be put on any commit.
pub(super) struct Prepared<'a> {
    /// Objects that the repository needs to have.
    pub(super) objects: Vec<(Kind, Id, Cow<'a, [u8]>)>,
    /// What changes.
    pub(super) edits: Vec<Edit>,
}

/// One entry of one directory, as it has to be.
#[derive(Debug)]
pub(super) struct Edit {
    /// The directory, from the root, with slashes.
    pub(super) directory: String,
    pub(super) name: String,
    /// Nothing where there may be no such entry.
    pub(super) entry: Option<(Mode, Id)>,
}

impl<'a> Prepared<'a> {
    /// Prepares a landing, or says why it can never be landed.
    pub(super) fn of(landing: &'a Landing) -> Result<Self> {
        let mut prepared = Self { objects: Vec::new(), edits: Vec::new() };
        let refuse = |why: String| {
            Failure::new(Code::RequestInvalid, format!("what is to be landed is refused: {why}"))
                .subject(landing.release_id.clone())
        };
        checks::release_id(&landing.release_id).map_err(refuse)?;
        match &landing.change {
            Change::Release { place, artifact_json, files } => {
                checks::place(place).and_then(|()| prepared.release(place, artifact_json, files)).map_err(refuse)?;
            }
            Change::Removal { place } => {
                checks::place(place).map_err(refuse)?;
                prepared.edit(releases(place), place.service.clone(), None);
                prepared.edit(clusters(place), format!("{}.yaml", place.service), None);
            }
            Change::Policies { service, document } => {
                checks::name("the service", service).map_err(refuse)?;
                let entry = document.as_ref().map(|bytes| (Mode::File, prepared.object(Kind::Blob, bytes.into())));
                prepared.edit("policies".to_owned(), format!("{service}.json"), entry);
            }
        }
        Ok(prepared)
    }

    fn release(&mut self, place: &Place, artifact_json: &'a [u8], files: &'a [PayloadFile]) -> Result<(), String> {
        let mut sorted: Vec<_> = files.iter().collect();
        // As somebody meets them who walks through the directories.
        sorted.sort_by(|one, other| one.path.split('/').cmp(other.path.split('/')));
        for file in &sorted {
            checks::path(&file.path)?;
        }
        let flux = sorted.iter().position(|file| kustomization::is_flux(&file.path, &file.bytes));
        let flux = flux.map(|number| sorted.remove(number));
        let mut directory = Directory::default();
        for file in sorted {
            let mode = if file.is_executable { Mode::Program } else { Mode::File };
            let id = self.object(Kind::Blob, Cow::Borrowed(&file.bytes));
            directory.put(&file.path, (mode, id)).ok_or_else(|| twice(&file.path))?;
        }
        let id = self.object(Kind::Blob, Cow::Borrowed(artifact_json));
        directory.put(ARTIFACT_FILE, (Mode::File, id)).ok_or_else(|| twice(ARTIFACT_FILE))?;
        let tree = self.directory(directory);
        self.edit(releases(place), place.service.clone(), Some((Mode::Directory, tree)));
        if let Some(file) = flux {
            let id = self.object(Kind::Blob, Cow::Borrowed(&file.bytes));
            self.edit(clusters(place), format!("{}.yaml", place.service), Some((Mode::File, id)));
        }
        Ok(())
    }

    fn directory(&mut self, directory: Directory<'_>) -> Id {
        let mut tree = Tree::default();
        for (name, node) in directory.0 {
            match node {
                Node::File(mode, id) => tree.set(name, mode, id),
                Node::Directory(below) => {
                    let id = self.directory(below);
                    tree.set(name, Mode::Directory, id);
                }
            }
        }
        self.object(Kind::Tree, Cow::Owned(tree.bytes().to_vec()))
    }

    fn object(&mut self, kind: Kind, bytes: Cow<'a, [u8]>) -> Id {
        let id = Id::of(kind, &bytes);
        self.objects.push((kind, id, bytes));
        id
    }

    fn edit(&mut self, directory: String, name: String, entry: Option<(Mode, Id)>) {
        self.edits.push(Edit { directory, name, entry });
    }
}

/// Where the manifests of a namespace's services lie.
pub(super) fn releases(place: &Place) -> String {
    format!("{}/releases/{}", place.environment, place.namespace)
}

/// Where that lies which tells Flux of a namespace's services.
fn clusters(place: &Place) -> String {
    format!("clusters/{}/{}", place.environment, place.namespace)
}

fn twice(path: &str) -> String {
    format!("there would be two of {path:?}")
}

#[derive(Default)]
struct Directory<'p>(BTreeMap<&'p str, Node<'p>>);

enum Node<'p> {
    File(Mode, Id),
    Directory(Directory<'p>),
}

impl<'p> Directory<'p> {
    /// Puts a file where nothing is yet.
    fn put(&mut self, path: &'p str, file: (Mode, Id)) -> Option<()> {
        let Some((first, rest)) = path.split_once('/') else {
            let is_new = !self.0.contains_key(path);
            return is_new.then(|| drop(self.0.insert(path, Node::File(file.0, file.1))));
        };
        match self.0.entry(first).or_insert_with(|| Node::Directory(Directory::default())) {
            Node::Directory(below) => below.put(rest, file),
            Node::File(..) => None,
        }
    }
}
