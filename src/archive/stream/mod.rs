//! Reading an archive strictly in one pass and in bounded memory.
//!
//! [`read`] accepts what [`super::Inspector`] accepts, but sees each byte once and keeps none: files go
//! to a [`Sink`] as they come. The sink is told sizes and bytes and no names, because whether the
//! archive is accepted is only known when it has ended; the names are in what [`read`] gives back.
//!
//! Memory is for one piece of content, for the decompressor's window (32 kilobytes, or up to eight
//! megabytes for Zstandard) and for the list of entries, whose number is bounded.
//!
//! There is one difference to the inspector: some descriptions of a deflate block, which no
//! compressor writes, are refused by this decompressor and not by that one.

mod compressed;
mod inflate;
mod plain;
mod source;
mod tar;
mod zip;

use std::cell::Cell;
use std::io::{self, Read};

use crate::model::index::ArchiveFormat;

use super::contents::{Date, Entry, Gathered, Problem};
use super::{MAX_BYTES, frame};
use compressed::{Gzip, Zstandard};
use plain::{Places, Uncompressed};
use source::Source;

/// Content is read and hashed in pieces of at most this size.
const PIECE_BYTES: usize = 64 << 10;

/// Where the files of an archive go, one after the other.
pub trait Sink {
    /// The next file begins, and has so many bytes.
    fn begin(&mut self, size_bytes: u64) -> io::Result<()>;
    /// The next bytes of the file that began last.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// What is known of an archive before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// Its one directory; any plain name where it is not known.
    pub stem: Option<&'a str>,
    /// The size of what the decompressor gives; at most [`MAX_BYTES`] where it is not known.
    pub unpacked_size_bytes: Option<u64>,
}

/// An accepted archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its one directory.
    pub stem: String,
    /// Every file, sorted by path; the sink got them in this order.
    pub entries: Vec<Entry>,
    /// The one time that every entry carries.
    pub date: Date,
}

/// Why an archive was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not in the form that Consign writes.
    #[error(transparent)]
    Archive(#[from] Problem),
    /// It could not be read.
    #[error("the archive could not be read")]
    Source(#[source] io::Error),
    /// What it holds could not be written.
    #[error("what the archive holds could not be written")]
    Sink(#[source] io::Error),
}

/// Reads an archive to its end, and the source to its own: nothing may follow.
///
/// Until that has succeeded nothing that the sink got may be used.
pub fn read(
    format: ArchiveFormat,
    source: &mut dyn Read,
    expected: &Expected<'_>,
    sink: &mut dyn Sink,
) -> Result<Accepted, Refused> {
    let mut source = Source::new(source);
    let mut budget = Budget::new(expected.unpacked_size_bytes)?;
    let gathered = match format {
        ArchiveFormat::TarGz => tar::read(&mut Gzip::open(&mut source)?, &mut budget, expected.stem, sink)?,
        ArchiveFormat::TarZst => {
            let mut plain = Zstandard::open(&mut source)?;
            if expected.unpacked_size_bytes.is_some_and(|size| size != plain.content_bytes()) {
                return Err(wrong_frame());
            }
            tar::read(&mut plain, &mut budget, expected.stem, sink)?
        }
        ArchiveFormat::Zip => zip::read(&mut source, &mut budget, expected.stem, sink)?,
    };
    source.end()?;
    budget.finish()?;
    let Gathered { stem, entries, date } = gathered;
    Ok(Accepted { stem, entries, date })
}

/// An accepted tar file that is not compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// What is in it.
    pub accepted: Accepted,
    /// Where in it the content of each file begins, in the order of the entries.
    pub offsets: Vec<u64>,
}

/// The same for a tar file that is not compressed, as [`super::PlainWriter`] writes it.
pub fn read_plain(source: &mut dyn Read) -> Result<Plain, Refused> {
    let (mut source, taken) = (Source::new(source), Cell::new(0));
    let mut places = Places { taken: &taken, offsets: Vec::new() };
    let mut plain = Uncompressed { source: &mut source, taken: &taken };
    let Gathered { stem, entries, date } = tar::read(&mut plain, &mut Budget::new(None)?, None, &mut places)?;
    Ok(Plain { accepted: Accepted { stem, entries, date }, offsets: places.offsets })
}

/// How much an archive may unpack to.
struct Budget {
    limit: u64,
    exact: bool,
    spent: u64,
}

impl Budget {
    fn new(exactly: Option<u64>) -> Result<Self, Problem> {
        let limit = exactly.unwrap_or(MAX_BYTES);
        if limit > MAX_BYTES {
            return Err(Problem::too_large());
        }
        Ok(Self { limit, exact: exactly.is_some(), spent: 0 })
    }

    fn left(&self) -> u64 {
        self.limit - self.spent
    }

    /// Counts bytes that were unpacked, or are going to be.
    fn spend(&mut self, bytes: u64) -> Result<(), Problem> {
        if bytes <= self.left() {
            self.spent += bytes;
            return Ok(());
        }
        Err(Problem::new(if self.exact {
            "it unpacks to more than the index says"
        } else {
            "it unpacks to more than an archive may"
        }))
    }

    fn finish(&self) -> Result<(), Problem> {
        if self.exact && self.left() > 0 {
            return Err(Problem::new("it unpacks to less than the index says"));
        }
        Ok(())
    }
}

fn wrong_frame() -> Refused {
    let megabytes = (1_u64 << frame::MAX_WINDOW_LOG) >> 20;
    Problem::new(format!(
        "it is not one Zstandard frame of the size that the index gives, with a checksum and a window of at most {megabytes} megabytes"
    ))
    .into()
}
