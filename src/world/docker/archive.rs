//! Files on their way to the engine: a tar stream that is made while it is sent.
//!
//! Nothing of a file is in memory but the piece that is being sent.

use std::collections::VecDeque;
use std::io::{Error, Read as _, Result};

use bytes::Bytes;
use camino::Utf8PathBuf;
use fs_err::File;
use tar::{Builder, EntryType, Header};

/// How much is sent at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// What a tar file is filled up to.
const BLOCK_BYTES: u64 = 512;

/// One file to send.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path at the other side, without a slash at the beginning.
    pub path: String,
    /// What it is.
    pub content: Content,
    /// Whether it can be run.
    pub is_executable: bool,
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Content {
    /// A directory.
    Directory,
    /// A symbolic link and where it leads.
    Link(String),
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of a file here.
    File(Utf8PathBuf),
}

impl Entry {
    /// A file with these bytes.
    pub fn bytes(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: Content::Bytes(bytes.into()), is_executable: false }
    }

    /// A directory.
    pub fn directory(path: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Directory, is_executable: true }
    }

    /// A symbolic link.
    pub fn link(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Link(target.into()), is_executable: true }
    }

    /// A file from here.
    pub fn file(path: impl Into<String>, from: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into(), content: Content::File(from.into()), is_executable: false }
    }

    /// The same, to be run.
    #[must_use]
    pub fn executable(mut self) -> Self {
        self.is_executable = true;
        self
    }
}

/// The pieces of a tar file.
pub(super) struct Pieces {
    entries: VecDeque<Entry>,
    open: Option<(File, u64)>,
    is_over: bool,
}

/// The pieces of a tar file with these entries.
pub(super) fn pieces(entries: Vec<Entry>) -> Pieces {
    Pieces { entries: entries.into(), open: None, is_over: false }
}

/// The pieces of a file as it is.
pub(super) fn pieces_of_file(file: File) -> impl Iterator<Item = Result<Bytes>> {
    let mut file = Some(file);
    std::iter::from_fn(move || {
        let piece = read_piece(file.as_mut()?, PIECE_BYTES as u64);
        if !matches!(&piece, Ok(bytes) if !bytes.is_empty()) {
            file = None;
        }
        piece.map(|bytes| (!bytes.is_empty()).then_some(bytes)).transpose()
    })
}

impl Iterator for Pieces {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Result<Bytes>> {
        if let Some((file, left)) = &mut self.open {
            let piece = read_piece(file, *left);
            return Some(piece.and_then(|bytes| self.sent(bytes)));
        }
        if let Some(entry) = self.entries.pop_front() {
            return Some(self.begin(entry));
        }
        if self.is_over {
            return None;
        }
        self.is_over = true;
        Some(Ok(Bytes::from(vec![0; 1024])))
    }
}

impl Pieces {
    /// The head of an entry, and its content where that is in memory.
    fn begin(&mut self, entry: Entry) -> Result<Bytes> {
        let mut header = Header::new_gnu();
        header.set_mode(if entry.is_executable { 0o755 } else { 0o644 });
        let mut bytes = Builder::new(Vec::new());
        match entry.content {
            Content::Directory => {
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
                bytes.append_data(&mut header, &entry.path, std::io::empty())?;
            }
            Content::Link(target) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                bytes.append_link(&mut header, &entry.path, target)?;
            }
            Content::Bytes(content) => {
                header.set_size(content.len() as u64);
                bytes.append_data(&mut header, &entry.path, content.as_slice())?;
            }
            Content::File(path) => {
                let file = File::open(&path)?;
                let size = file.metadata()?.len();
                header.set_size(size);
                // Only the head: the content follows piece by piece.
                bytes.append_data(&mut header, &entry.path, std::io::empty())?;
                self.open = (size > 0).then_some((file, size));
            }
        }
        Ok(without_end(bytes)?.into())
    }

    /// Counts a piece, and fills the file up to a whole block after its last one.
    fn sent(&mut self, piece: Bytes) -> Result<Bytes> {
        let Some((file, left)) = &mut self.open else { return Ok(piece) };
        if piece.is_empty() {
            return Err(Error::other(format!("`{}` became shorter while it was read", file.path().display())));
        }
        *left -= piece.len() as u64;
        if *left > 0 {
            return Ok(piece);
        }
        let size = file.metadata()?.len();
        self.open = None;
        let padding = usize::try_from((BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES).unwrap_or(0);
        Ok([piece.as_ref(), &vec![0; padding]].concat().into())
    }
}

/// What a builder has written, without the blocks that end an archive.
fn without_end(builder: Builder<Vec<u8>>) -> Result<Vec<u8>> {
    let mut bytes = builder.into_inner()?;
    bytes.truncate(bytes.len().saturating_sub(1024));
    Ok(bytes)
}

fn read_piece(file: &mut File, left: u64) -> Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    file.take(left.min(PIECE_BYTES as u64)).read_to_end(&mut piece)?;
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_file_is_made_piece_by_piece() {
        let mut content = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut content, &vec![7; 200_001]).expect("written");
        let long = format!("{}/name", "directory".repeat(20));
        let entries = vec![
            Entry::directory("bundle"),
            Entry::bytes("bundle/small", "text").executable(),
            Entry::file(&long, Utf8PathBuf::from_path_buf(content.path().to_owned()).expect("UTF-8")),
            Entry::bytes("last", ""),
        ];
        let all: Vec<u8> = pieces(entries).flat_map(|piece| piece.expect("read").to_vec()).collect();
        let mut archive = tar::Archive::new(all.as_slice());
        let found: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("an entry");
                (
                    entry.path().expect("a path").display().to_string(),
                    entry.size(),
                    entry.header().mode().expect("a mode"),
                )
            })
            .collect();
        let row = |path: &str, size, mode| (path.to_owned(), size, mode);
        let expected =
            [row("bundle", 0, 0o755), row("bundle/small", 4, 0o755), row(&long, 200_001, 0o644), row("last", 0, 0o644)];
        assert_eq!(found, expected);
    }
}
