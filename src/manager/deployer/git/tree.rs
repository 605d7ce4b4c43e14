//! One directory of a repository, as git keeps it.
//!
//! The main item is [`Tree`]. Its bytes are changed in place and its entries are found by halving, because a
//! directory may have ten thousand entries of which one changes.

use std::cmp::Ordering;

use super::objects::{Id, Kind};

const ID_BYTES: usize = 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    File,
    Program,
    Directory,
    /// A link, a submodule, or what only other programs write.
    Other,
}

impl Mode {
    const fn digits(self) -> &'static str {
        match self {
            // Nothing else is ever written.
            Self::File | Self::Other => "100644",
            Self::Program => "100755",
            Self::Directory => "40000",
        }
    }

    fn of(digits: &[u8]) -> Self {
        match digits {
            b"100644" | b"100664" => Self::File,
            b"100755" => Self::Program,
            b"40000" | b"040000" => Self::Directory,
            _ => Self::Other,
        }
    }
}

/// A directory's entries, in git's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    bytes: Vec<u8>,
    /// Where each entry begins.
    starts: Vec<usize>,
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) mode: Mode,
    pub(super) name: &'a [u8],
    pub(super) id: Id,
}

impl Tree {
    /// Takes the bytes of a tree; nothing where they are not those of one.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            starts.push(at);
            let name = at + memchr::memchr(b' ', &bytes[at..])? + 1;
            let end = name + memchr::memchr(0, &bytes[name..])?;
            at = end + 1 + ID_BYTES;
        }
        (at == bytes.len()).then_some(Self { bytes, starts })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn id(&self) -> Id {
        Id::of(Kind::Tree, &self.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// All entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.starts.len()).map(|number| self.entry(number))
    }

    /// The entry with a name, whatever it is.
    pub(super) fn get(&self, name: &str) -> Option<Entry<'_>> {
        self.position(name).map(|number| self.entry(number))
    }

    /// Puts an entry in the place of the one with its name, or among the others.
    pub(super) fn set(&mut self, name: &str, mode: Mode, id: Id) {
        if let Some(number) = self.position(name) {
            if self.entry(number).mode == mode && mode != Mode::Other {
                let end = self.end(number);
                self.bytes[end - ID_BYTES..end].copy_from_slice(&id.0);
                return;
            }
            self.cut(number);
        }
        let number = self.search(name, mode == Mode::Directory).unwrap_or_else(|number| number);
        let at = self.starts.get(number).copied().unwrap_or(self.bytes.len());
        let mut entry = format!("{} {name}\0", mode.digits()).into_bytes();
        entry.extend(id.0);
        for start in &mut self.starts[number..] {
            *start += entry.len();
        }
        self.starts.insert(number, at);
        self.bytes.splice(at..at, entry);
    }

    /// Takes the entry with a name away, and says whether there was one.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.position(name).map(|number| self.cut(number)).is_some()
    }

    fn cut(&mut self, number: usize) {
        let (at, end) = (self.starts[number], self.end(number));
        self.bytes.drain(at..end);
        self.starts.remove(number);
        for start in &mut self.starts[number..] {
            *start -= end - at;
        }
    }

    /// Git sorts directories as if their names ended with a slash, so that a name has two places to be at.
    fn position(&self, name: &str) -> Option<usize> {
        [false, true].into_iter().find_map(|is_directory| self.search(name, is_directory).ok())
    }

    fn search(&self, name: &str, is_directory: bool) -> Result<usize, usize> {
        self.starts.binary_search_by(|&start| {
            let (mode, there) = self.head(start);
            compare((there, mode == Mode::Directory), (name.as_bytes(), is_directory))
        })
    }

    fn entry(&self, number: usize) -> Entry<'_> {
        let (mode, name) = self.head(self.starts[number]);
        let end = self.end(number);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&self.bytes[end - ID_BYTES..end]);
        Entry { mode, name, id: Id(id) }
    }

    fn head(&self, start: usize) -> (Mode, &[u8]) {
        let entry = &self.bytes[start..];
        // What was parsed, or written here, has both.
        let space = memchr::memchr(b' ', entry).unwrap_or_default();
        let end = memchr::memchr(0, entry).unwrap_or_default();
        (Mode::of(&entry[..space]), &entry[space + 1..end])
    }

    fn end(&self, number: usize) -> usize {
        self.starts.get(number + 1).copied().unwrap_or(self.bytes.len())
    }
}

fn compare(one: (&[u8], bool), other: (&[u8], bool)) -> Ordering {
    let tail = |is_directory: bool| is_directory.then_some(b'/');
    one.0.iter().copied().chain(tail(one.1)).cmp(other.0.iter().copied().chain(tail(other.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tree: &Tree) -> Vec<String> {
        tree.entries().map(|entry| String::from_utf8_lossy(entry.name).into_owned()).collect()
    }

    #[test]
    fn entries_are_in_git_s_order_however_they_came() {
        let id = Id::of(Kind::Blob, b"");
        let mut tree = Tree::default();
        for name in ["b", "a.b", "ä", "a-b", "a0"] {
            tree.set(name, Mode::File, id);
        }
        tree.set("a", Mode::Directory, id);
        // A directory `a` sorts as `a/`, which is behind `a.b` and before `a0`.
        assert_eq!(names(&tree), ["a-b", "a.b", "a", "a0", "b", "ä"]);
        assert_eq!(Tree::parse(tree.bytes().to_vec()), Some(tree.clone()));
        tree.set("a", Mode::File, id);
        assert_eq!(names(&tree), ["a", "a-b", "a.b", "a0", "b", "ä"]);
        let other = Id::of(Kind::Blob, b"x");
        tree.set("a0", Mode::File, other);
        assert_eq!(tree.get("a0").map(|entry| entry.id), Some(other));
        assert!(tree.remove("a-b") && !tree.remove("a-b") && !tree.remove("A"));
        assert_eq!(names(&tree), ["a", "a.b", "a0", "b", "ä"]);
        assert_eq!(Tree::parse(tree.bytes().to_vec()), Some(tree));
    }

    #[test]
    fn what_is_no_tree_is_not_taken_for_one() {
        let whole = {
            let mut tree = Tree::default();
            tree.set("a", Mode::File, Id::of(Kind::Blob, b""));
            tree.bytes().to_vec()
        };
        for length in 1..whole.len() {
            assert_eq!(Tree::parse(whole[..length].to_vec()), None);
        }
        assert!(Tree::parse(Vec::new()).is_some_and(|tree| tree.is_empty()));
    }
}
