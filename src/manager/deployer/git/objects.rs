//! Git's objects: what they are called, and how they are read from a repository.
//!
//! The main items are [`Id`] and [`read`]. Reading is done by one `git cat-file --batch` for everything that
//! is asked for; nothing here writes.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest as _, Sha1};

use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::process::Program;

/// The name of an object: the SHA-1 of its header and its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(super) [u8; 20]);

/// The kinds of objects that a config repository is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }
}

impl Id {
    /// The name of an object.
    pub(super) fn of(kind: Kind, bytes: &[u8]) -> Self {
        let mut hash = Sha1::new();
        hash.update(format!("{} {}\0", kind.as_str(), bytes.len()));
        hash.update(bytes);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the name of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not 40 hexadecimal digits")]
pub struct NotAnId;

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| NotAnId)?;
        bytes.try_into().map(Self).map_err(|_| NotAnId)
    }
}

/// An object as it was found.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// Reads objects by their names, or by expressions that lead to them; nothing for each that is not there.
///
/// `git` is the command, told where the repository is.
pub(super) fn read(git: Program, names: &[String]) -> Result<Vec<Option<Object>>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // A name from outside never has a control character in it, so that one line is one question.
    let mut questions = names.join("\n").into_bytes();
    questions.push(b'\n');
    let program = git.args(["cat-file", "--batch", "--buffer"]).input(questions);
    let output = program.output()?;
    if !output.status.success() {
        return Err(program.ended(&output));
    }
    let mut rest = output.stdout.as_slice();
    names.iter().map(|_| answer(&mut rest)).collect()
}

/// One answer: a line with name, kind and size, the bytes, and a line feed.
fn answer(rest: &mut &[u8]) -> Result<Option<Object>> {
    let end = memchr::memchr(b'\n', rest).ok_or_else(cut_short)?;
    let line = String::from_utf8_lossy(&rest[..end]);
    let words: Vec<_> = line.rsplit(' ').take(2).collect();
    let (kind, size) = match *words {
        [size, "commit"] => (Kind::Commit, size),
        [size, "tree"] => (Kind::Tree, size),
        [size, "blob"] => (Kind::Blob, size),
        _ => {
            *rest = &rest[end + 1..];
            return Ok(None);
        }
    };
    let size: usize = size.parse().map_err(|_| cut_short())?;
    let from = end + 1;
    let bytes = rest.get(from..from + size).ok_or_else(cut_short)?.to_vec();
    *rest = rest.get(from + size + 1..).ok_or_else(cut_short)?;
    Ok(Some(Object { kind, bytes }))
}

fn cut_short() -> Failure {
    Failure::new(Code::CommandFailed, "what git says of the objects of the config repository ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_git_s() {
        // `git hash-object -t blob --stdin` and `git mktree` with nothing to read.
        assert_eq!(Id::of(Kind::Blob, b"").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(Id::of(Kind::Tree, b"").to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        let id = Id::of(Kind::Blob, b"x");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "e69de29", "HEAD", "4b825dc642cb6eb9a060e54bf8d69288fbee490g"] {
            assert_eq!(wrong.parse::<Id>(), Err(NotAnId));
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let mut rest: &[u8] = b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 blob 0\n\nx:a b missing\nff tree 2\nab\n";
        assert!(answer(&mut rest).expect("a blob").is_some_and(|object| object.bytes.is_empty()));
        assert!(answer(&mut rest).expect("nothing").is_none());
        assert!(answer(&mut rest).expect("a tree").is_some_and(|object| object.kind == Kind::Tree));
        assert!(answer(&mut rest).is_err(), "there is no fourth");
        assert!(answer(&mut b"ff blob 9\nab\n".as_slice()).is_err());
    }
}
