//! Files in a branch of the repository, changed by one commit that comes after what was read, or not at
//! all.
//!
//! [`GitHub::branch`] reads where a branch is, [`Branch::files`] what is in one of its directories, and
//! [`Branch::commit`] adds a commit to it: of two that were made at the same time, one is told that it
//! has to begin anew. No clone is needed. What the files mean is their reader's business.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::documents::Pointer;
use super::wire::{Call, Trouble};
use super::{GitHub, path_of};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};

/// The most files that are read from a directory of a branch.
const MAX_FILES: usize = 4096;
/// The mode of an ordinary file in git.
const MODE: &str = "100644";

/// A branch as it was when it was read.
pub struct Branch<'a> {
    github: &'a GitHub,
    name: String,
    commit: String,
    tree: String,
}

#[derive(Deserialize)]
struct Named {
    sha: String,
}

#[derive(Deserialize)]
struct Commit {
    tree: Named,
}

#[derive(Deserialize)]
struct Tree {
    tree: Vec<Entry>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
}

#[derive(Deserialize)]
struct Blob {
    content: String,
    encoding: String,
}

/// A file of the next tree; without a digest it goes.
#[derive(Serialize)]
struct Change {
    path: String,
    mode: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    sha: Option<String>,
}

impl GitHub {
    /// A branch, if there is one of that name.
    pub fn branch(&self, name: &str) -> Result<Option<Branch<'_>>> {
        let Some(commit) = self.head(name)? else { return Ok(None) };
        let what = format!("the branch `{}`", text::shown(name));
        let answer = self.ask(&Call::get(self.target.route(&format!("/git/commits/{}", path_of(&commit)))))?;
        let Commit { tree } = answer.accept(&what)?;
        Ok(Some(Branch { github: self, name: name.to_owned(), commit, tree: tree.sha }))
    }

    fn head(&self, name: &str) -> Result<Option<String>> {
        let answer = self.ask(&Call::get(self.target.route(&format!("/git/ref/heads/{}", path_of(name)))))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let Pointer { object } = answer.accept(&format!("the branch `{}`", text::shown(name)))?;
        Ok(Some(object.sha))
    }

    /// Makes something in git's store, and gives its name. Making it twice gives the same name.
    fn make(&self, path: &str, document: &impl Serialize, what: &str) -> Result<String> {
        let call = Call::with(Method::POST, self.target.route(path), document);
        let mut tried = 1;
        loop {
            match self.runtime.block_on(self.wire.call(&call)) {
                Ok(answer) => return answer.accept(what).map(|made: Named| made.sha),
                Err(Trouble::Unsure(_)) if tried < self.wire.options().tries => {
                    self.runtime.block_on(self.wire.pause(tried));
                    tried += 1;
                }
                Err(trouble) => return Err(trouble.into_failure()),
            }
        }
    }
}

impl Branch<'_> {
    /// Every file in a directory of the branch, by its path below that.
    pub fn files(&self, directory: &str, max_bytes: usize) -> Result<BTreeMap<String, Vec<u8>>> {
        let what = format!("the files of the branch `{}`", text::shown(&self.name));
        let route = |path: String| self.github.target.route(&path);
        let address = route(format!("/git/trees/{}?recursive=1", path_of(&self.tree)));
        let Tree { tree, truncated } = self.github.ask(&Call::get(address))?.accept(&what)?;
        let prefix = format!("{directory}/");
        let entries: Vec<Entry> =
            tree.into_iter().filter(|entry| entry.kind == "blob" && entry.path.starts_with(&prefix)).collect();
        if truncated || entries.len() > MAX_FILES {
            return Err(Failure::new(Code::FileTooLarge, format!("{what} are more than can be read"))
                .hint("keep nothing but the catalog in that branch"));
        }
        let mut files = BTreeMap::new();
        for entry in entries {
            let answer = self.github.ask(&Call::get(route(format!("/git/blobs/{}", path_of(&entry.sha)))))?;
            let Blob { content, encoding } = answer.accept(&what)?;
            let plain: String = content.split_ascii_whitespace().collect();
            let bytes =
                Some(plain).filter(|_| encoding == "base64").and_then(|text| BASE64.decode(text.as_bytes()).ok());
            let bytes = bytes.filter(|bytes| bytes.len() <= max_bytes).ok_or_else(|| {
                let path = text::shown(&entry.path);
                Failure::new(Code::RemoteUnavailable, format!("GitHub's answer about `{path}` cannot be read"))
                    .subject(path)
            })?;
            files.insert(entry.path[prefix.len()..].to_owned(), bytes);
        }
        Ok(files)
    }

    /// Adds a commit with changed files, and without those that have no content. `false`: somebody else
    /// has changed the branch since it was read, and nothing was done.
    pub fn commit(self, changes: &BTreeMap<String, Option<Vec<u8>>>, message: &str) -> Result<bool> {
        self.github.require_token()?;
        let what = format!("a commit to the branch `{}`", text::shown(&self.name));
        let mut entries = Vec::new();
        for (path, content) in changes {
            let blob = |bytes: &Vec<u8>| {
                let document = serde_json::json!({ "content": BASE64.encode(bytes), "encoding": "base64" });
                self.github.make("/git/blobs", &document, &what)
            };
            let sha = content.as_ref().map(blob).transpose()?;
            entries.push(Change { path: path.clone(), mode: MODE, kind: "blob", sha });
        }
        let tree = serde_json::json!({ "base_tree": self.tree, "tree": entries });
        let tree = self.github.make("/git/trees", &tree, &what)?;
        let commit = serde_json::json!({ "message": message, "tree": tree, "parents": [self.commit] });
        let commit = self.github.make("/git/commits", &commit, &what)?;
        // Without force it is taken only as long as the branch is where it was read.
        let address = self.github.target.route(&format!("/git/refs/heads/{}", path_of(&self.name)));
        let call = Call::with(Method::PATCH, address, &serde_json::json!({ "sha": commit, "force": false }));
        match self.github.runtime.block_on(self.github.wire.call(&call)) {
            Ok(answer) if answer.status.is_success() => Ok(true),
            Ok(answer) if matches!(answer.status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT) => {
                // A branch that is protected refuses in the same way, and stays where it was.
                if self.github.head(&self.name)?.as_deref() == Some(self.commit.as_str()) {
                    return Err(answer.failure(&what));
                }
                Ok(false)
            }
            Ok(answer) => Err(answer.failure(&what)),
            Err(Trouble::Unsure(_)) => Ok(self.github.head(&self.name)?.as_deref() == Some(commit.as_str())),
            Err(Trouble::Failed(failure)) => Err(failure),
        }
    }
}
