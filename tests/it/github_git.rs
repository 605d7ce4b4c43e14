//! The part of the stand-in for GitHub that knows git: blobs, trees, commits and branches.

use std::collections::BTreeMap;

use consign::model::Digest;
use data_encoding::BASE64;
use serde_json::{Value, json};

/// What git knows of a repository.
#[derive(Debug, Default)]
pub struct Git {
    /// The commit of each branch.
    pub branches: BTreeMap<String, String>,
    /// The tree of each commit, and what came before it.
    commits: BTreeMap<String, (String, Vec<String>)>,
    /// The blob of each path.
    trees: BTreeMap<String, BTreeMap<String, String>>,
    blobs: BTreeMap<String, Vec<u8>>,
}

fn name_of(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()[..40].to_owned()
}

impl Git {
    /// Begins a branch with files, as somebody does who pushes it.
    pub fn push(&mut self, branch: &str, files: &BTreeMap<String, Vec<u8>>) {
        let blobs = files.iter().map(|(path, bytes)| (path.clone(), self.blob(bytes))).collect();
        let tree = self.tree(blobs);
        let commit = self.commit(tree, self.branches.get(branch).cloned().into_iter().collect());
        self.branches.insert(branch.to_owned(), commit);
    }

    /// Every file of a branch.
    pub fn files(&self, branch: &str) -> BTreeMap<String, Vec<u8>> {
        let Some((tree, _)) = self.branches.get(branch).and_then(|commit| self.commits.get(commit)) else {
            return BTreeMap::new();
        };
        self.trees[tree].iter().map(|(path, blob)| (path.clone(), self.blobs[blob].clone())).collect()
    }

    /// One file of a branch.
    pub fn file(&self, branch: &str, path: &str) -> Option<&[u8]> {
        let (tree, _) = self.commits.get(self.branches.get(branch)?)?;
        self.blobs.get(self.trees[tree].get(path)?).map(Vec::as_slice)
    }

    /// How many commits lead to a branch.
    pub fn depth(&self, branch: &str) -> usize {
        let mut next = self.branches.get(branch);
        let mut count = 0;
        while let Some(commit) = next {
            count += 1;
            next = self.commits[commit].1.first();
        }
        count
    }

    pub fn read(&self, kind: &str, name: &str) -> Option<Value> {
        Some(match kind {
            "commits" => json!({ "sha": name, "tree": { "sha": self.commits.get(name)?.0 } }),
            "trees" => {
                let entry = |(path, blob): (&String, &String)| json!({ "path": path, "mode": "100644", "type": "blob", "sha": blob });
                json!({ "sha": name, "tree": self.trees.get(name)?.iter().map(entry).collect::<Vec<_>>(), "truncated": false })
            }
            _ => {
                // GitHub breaks the lines.
                let text = BASE64.encode(self.blobs.get(name)?);
                let lines: Vec<&str> =
                    text.as_bytes().chunks(60).map(|line| std::str::from_utf8(line).unwrap()).collect();
                json!({ "sha": name, "encoding": "base64", "content": lines.join("\n") })
            }
        })
    }

    pub fn make(&mut self, kind: &str, document: &Value) -> Option<String> {
        Some(match kind {
            "blobs" => self.blob(&BASE64.decode(document["content"].as_str()?.as_bytes()).ok()?),
            "trees" => {
                let mut paths = self.trees.get(document["base_tree"].as_str()?)?.clone();
                for entry in document["tree"].as_array()? {
                    let path = entry["path"].as_str()?.to_owned();
                    match entry["sha"].as_str() {
                        Some(blob) => {
                            self.blobs.get(blob)?;
                            paths.insert(path, blob.to_owned());
                        }
                        None => drop(paths.remove(&path)?),
                    }
                }
                self.tree(paths)
            }
            _ => {
                let parents = document["parents"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
                let parents: Vec<String> = parents.collect();
                self.commit(document["tree"].as_str()?.to_owned(), parents)
            }
        })
    }

    /// Moves a branch to a commit that comes after the one where it is, and nowhere else.
    pub fn forward(&mut self, branch: &str, to: &str) -> bool {
        let Some(now) = self.branches.get(branch) else { return false };
        let mut open = vec![to.to_owned()];
        while let Some(commit) = open.pop() {
            if commit == *now {
                self.branches.insert(branch.to_owned(), to.to_owned());
                return true;
            }
            open.extend(self.commits.get(&commit).map(|(_, parents)| parents.clone()).unwrap_or_default());
        }
        false
    }

    fn blob(&mut self, bytes: &[u8]) -> String {
        let name = name_of(bytes);
        self.blobs.insert(name.clone(), bytes.to_vec());
        name
    }

    fn tree(&mut self, paths: BTreeMap<String, String>) -> String {
        let name = name_of(format!("{paths:?}").as_bytes());
        self.trees.insert(name.clone(), paths);
        name
    }

    fn commit(&mut self, tree: String, parents: Vec<String>) -> String {
        let name = name_of(format!("{tree} {parents:?} {}", self.commits.len()).as_bytes());
        self.commits.insert(name.clone(), (tree, parents));
        name
    }
}
