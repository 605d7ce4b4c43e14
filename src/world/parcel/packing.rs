//! Making a parcel: what is put into it, and how it is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::{LIST, List, Listed, TYPE};
use crate::archive::PlainWriter;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, FileName, pretty, text};
use crate::world::files;

/// What is put into a parcel, by its path.
#[derive(Debug, Default)]
pub struct Packing(BTreeMap<String, Packed>);

#[derive(Debug)]
struct Packed {
    size_bytes: u64,
    sha256: Digest,
    content: Kept,
}

#[derive(Debug)]
enum Kept {
    Bytes(Vec<u8>),
    File(Utf8PathBuf),
}

/// A parcel that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

impl Packing {
    /// Adds a document.
    pub fn document(&mut self, path: String, bytes: Vec<u8>) {
        let packed = Packed { size_bytes: bytes.len() as u64, sha256: Digest::of(&bytes), content: Kept::Bytes(bytes) };
        self.0.insert(path, packed);
    }

    /// Adds a file that is on the disk until the parcel is written, and has these bytes.
    pub fn file(&mut self, path: String, at: Utf8PathBuf, size_bytes: u64, sha256: Digest) {
        self.0.insert(path, Packed { size_bytes, sha256, content: Kept::File(at) });
    }

    /// The number of files.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the parcel, whole or not at all. The same files and date give the same bytes.
    pub fn write(mut self, to: &Utf8Path, stem: &FileName, date: Timestamp) -> Result<Written> {
        let listed = |(path, packed): (&String, &Packed)| {
            let Packed { size_bytes, sha256, .. } = packed;
            Listed { path: path.clone(), size_bytes: *size_bytes, sha256: *sha256 }
        };
        let list = List { kind: TYPE.to_owned(), files: self.0.iter().map(listed).collect() };
        self.document(LIST.to_owned(), pretty(&list));
        files::write_with(to, |file| self.fill(file, stem, date))?;
        let (size_bytes, sha256) = files::measure(to)?;
        Ok(Written { size_bytes, sha256 })
    }

    fn fill(&self, file: &mut File, stem: &FileName, date: Timestamp) -> Result<()> {
        let mut writer = PlainWriter::new(BufWriter::new(file), stem, date);
        for (path, packed) in &self.0 {
            let mut content: Box<dyn Read> = match &packed.content {
                Kept::Bytes(bytes) => Box::new(&bytes[..]),
                Kept::File(at) => Box::new(fs_err::File::open(at).map_err(|error| files::failed("read", at, error))?),
            };
            if writer.append(path, packed.size_bytes, &mut content)? != packed.sha256 {
                let message = format!("`{}` was changed while it was packed", text::shown(path));
                return Err(Failure::new(Code::Io, message).subject(text::shown(path)).hint("try again"));
            }
        }
        writer.finish().map(|_| ())
    }
}
