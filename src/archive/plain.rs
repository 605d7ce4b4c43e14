//! A tar file without compression, written while its content comes.
//!
//! It carries archives, which are compressed already, from one machine to another, and any file in it
//! can be read without those before it. Names, order, date and headers follow the rules of all our
//! archives; [`super::stream::read_plain`] reads nothing else. Nothing in it may be run.

use std::io::{self, Read, Write};

use jiff::Timestamp;

use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, FileName, text};

use super::layout::Layout;
use super::{MAX_BYTES, ustar};

/// Content is read, hashed and written in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// A tar file in the making. After a failure it is of no more use.
pub struct PlainWriter<W> {
    out: W,
    stem: FileName,
    seconds: u64,
    layout: Layout,
    written: u64,
}

impl<W: Write> PlainWriter<W> {
    /// An empty one whose one directory is called `stem`, and in which everything has this date.
    pub fn new(out: W, stem: &FileName, date: Timestamp) -> Self {
        Self { out, stem: stem.clone(), seconds: ustar::seconds(date), layout: Layout::default(), written: 0 }
    }

    /// Adds a file by its path below the stem, and gives back its digest. Paths come sorted by their bytes.
    ///
    /// Content of another size is a failure.
    pub fn append(&mut self, path: &str, size: u64, content: &mut dyn Read) -> Result<Digest> {
        let missing = self.layout.admit(path).map_err(|problem| self.refused(&problem))?;
        for directory in missing {
            self.header(&directory, 0)?;
        }
        self.header(path, size)?;
        let unreadable = |error: io::Error| {
            error.downcast::<Failure>().unwrap_or_else(|error| {
                Failure::new(Code::Io, format!("failed to read `{}`", text::shown(path))).because(error)
            })
        };
        let (mut hasher, mut piece, mut left) = (Hasher::default(), vec![0; PIECE_BYTES], size);
        while left > 0 {
            let part = &mut piece[..usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)];
            content.read_exact(part).map_err(unreadable)?;
            hasher.update(part);
            self.write(part)?;
            left -= part.len() as u64;
        }
        if content.read(&mut [0]).map_err(unreadable)? > 0 {
            return Err(self.refused(&format!("`{}` has more than {size} bytes", text::shown(path))));
        }
        self.write(&[0; ustar::BLOCK][..ustar::padding(size)])?;
        Ok(hasher.finish())
    }

    /// Ends it, and gives back where it was written to.
    pub fn finish(mut self) -> Result<W> {
        self.write(&[0; ustar::END])?;
        self.out.flush().map_err(unwritable)?;
        Ok(self.out)
    }

    fn header(&mut self, path: &str, size: u64) -> Result<()> {
        let path = format!("{}/{path}", self.stem);
        let item = ustar::Item { path: &path, executable: false, size, seconds: self.seconds };
        let header = item.render().ok_or_else(|| self.refused(&format!("the path `{path}` is too long for a tar")))?;
        self.write(header.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        if self.written > MAX_BYTES {
            return Err(self.refused("it is larger than four gigabytes"));
        }
        self.out.write_all(bytes).map_err(unwritable)
    }

    fn refused(&self, problem: &str) -> Failure {
        Failure::new(Code::IncludeRefused, format!("failed to pack `{}`: {problem}", self.stem))
            .subject(self.stem.as_str())
            .hint("choose fewer versions or platforms, or files with plainer names")
    }
}

fn unwritable(error: io::Error) -> Failure {
    Failure::new(Code::Io, "failed to write a tar file").because(error).hint("check the room on the disk")
}

#[cfg(test)]
mod tests {
    use super::super::stream::{self, Plain};
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = PlainWriter::new(Vec::new(), &"stem".parse().expect("a name"), Timestamp::UNIX_EPOCH);
        for (path, content) in [("a", &b""[..]), ("b/c", b"content"), ("b/d/e", &[7; 1500])] {
            let digest = writer.append(path, content.len() as u64, &mut &*content).expect("in order");
            assert_eq!(digest, Digest::of(content));
        }
        writer.finish().expect("memory")
    }

    #[test]
    fn every_file_is_where_it_is_said_to_be() {
        let bytes = written();
        let Plain { accepted, offsets } = stream::read_plain(&mut &*bytes).expect("our own");
        assert_eq!(accepted.stem, "stem");
        let found = accepted.entries.iter().zip(&offsets).map(|(entry, offset)| {
            let offset = usize::try_from(*offset).expect("small");
            let size = usize::try_from(entry.size_bytes).expect("small");
            assert_eq!(Digest::of(&bytes[offset..offset + size]), entry.sha256);
            entry.path.as_str()
        });
        assert_eq!(found.collect::<Vec<_>>(), ["a", "b/c", "b/d/e"]);
        for end in 0..bytes.len() {
            assert!(stream::read_plain(&mut &bytes[..end]).is_err(), "{end}");
        }
        assert!(stream::read_plain(&mut &*[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn what_has_no_place_is_not_written() {
        let writer = || PlainWriter::new(Vec::new(), &"stem".parse().expect("a name"), Timestamp::UNIX_EPOCH);
        for (path, size) in [("../a", 1), ("a", 2), ("a", 0), ("a//b", 1), ("a\\b", 1)] {
            assert!(writer().append(path, size, &mut &b"x"[..]).is_err(), "{path} {size}");
        }
        let mut doubled = writer();
        doubled.append("a", 1, &mut &b"x"[..]).expect("new");
        assert!(doubled.append("A", 1, &mut &b"x"[..]).is_err());
    }
}
