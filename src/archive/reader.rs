//! Reading an archive strictly: only what [`super::Writer`] writes is accepted.
//!
//! Nothing is unpacked. The archive is decompressed into a buffer of exactly the size that the index
//! promises, so a bomb cannot go off; every header is rendered again and compared; every file's
//! content is hashed. Which of the many encodings of deflate the compressor chose is not checked:
//! the archive's own digest pins that.

use std::ops::Range;

use libdeflater::Decompressor;
use zstd::bulk::Decompressor as ZstdDecompressor;
use zstd::zstd_safe;

use crate::model::index::ArchiveFormat;
use crate::model::{Digest, text};

use super::layout::Layout;
use super::writer::GZIP_HEADER;
use super::zip::{self, Method, Record};
use super::{MAX_BYTES, ustar};

/// Why an archive is not accepted: one sentence in lower case, safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    fn at(path: &str, problem: &str) -> Self {
        Self(format!("its entry `{}` is refused: {problem}", text::shown(path)))
    }
}

/// One file inside an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the stem.
    pub path: String,
    /// Whether it may be run.
    pub executable: bool,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Where its content is in the unpacked bytes.
    range: Range<usize>,
}

/// What an archive holds.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Every file, sorted by path.
    pub entries: Vec<Entry>,
    /// The one time that every entry carries.
    pub date: Date,
    unpacked: &'a [u8],
}

/// The time inside an archive, in its own form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date(Stamp);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Tar(u64),
    Zip(zip::Moment),
}

impl Date {
    /// Whether this is how an archive says that time.
    pub fn is(self, date: jiff::Timestamp) -> bool {
        match self.0 {
            Stamp::Tar(seconds) => seconds == ustar::seconds(date),
            Stamp::Zip(moment) => moment == zip::Moment::of(date),
        }
    }
}

impl Contents<'_> {
    /// The content of one file, by its path below the stem.
    pub fn read(&self, path: &str) -> Option<&[u8]> {
        let entry = self.entries.iter().find(|entry| entry.path == path)?;
        self.unpacked.get(entry.range.clone())
    }
}

/// Reads archives, one after the other, in memory that is kept for the next one.
pub struct Inspector {
    inflate: Decompressor,
    unpacked: Vec<u8>,
    /// An entry of a zip file, dressed as a gzip member.
    member: Vec<u8>,
}

impl Default for Inspector {
    fn default() -> Self {
        Self { inflate: Decompressor::new(), unpacked: Vec::new(), member: Vec::new() }
    }
}

impl Inspector {
    /// Reads a whole archive whose one directory is `stem`, and which unpacks to exactly so many bytes.
    pub fn inspect(
        &mut self,
        format: ArchiveFormat,
        bytes: &[u8],
        stem: &str,
        unpacked_size_bytes: u64,
    ) -> Result<Contents<'_>, Problem> {
        if unpacked_size_bytes > MAX_BYTES || bytes.len() as u64 > MAX_BYTES {
            return Err(Problem::new("it is larger than an archive may be"));
        }
        let size = usize::try_from(unpacked_size_bytes).map_err(|_| Problem::new("it does not fit into memory"))?;
        if self.unpacked.len() < size {
            // A new zeroed buffer costs nothing until it is written to; a grown one would be filled.
            self.unpacked = Vec::new();
            self.unpacked = vec![0; size];
        }
        let out = &mut self.unpacked[..size];
        let (entries, date) = match format {
            ArchiveFormat::TarGz => {
                gunzip(&mut self.inflate, bytes, out)?;
                read_tar(out, stem)?
            }
            ArchiveFormat::TarZst => {
                unzstd(bytes, out)?;
                read_tar(out, stem)?
            }
            ArchiveFormat::Zip => read_zip(&mut self.inflate, &mut self.member, bytes, out, stem)?,
        };
        Ok(Contents { entries, date, unpacked: &self.unpacked[..size] })
    }
}

/// Unpacks exactly one gzip member, with nothing before, between or after its parts.
///
/// libdeflate checks that the content's checksum and size follow the stream, but does not say where
/// that was. If these eight bytes are at the end of the file and nowhere else, it was there. Where by
/// chance they are elsewhere too, a member one byte shorter tells: it still unpacks only if the
/// stream ends before.
fn gunzip(inflate: &mut Decompressor, bytes: &[u8], out: &mut [u8]) -> Result<(), Problem> {
    if !bytes.starts_with(&GZIP_HEADER) {
        return Err(Problem::new("its gzip header is not the one that Consign writes"));
    }
    let unpacked = inflate.gzip_decompress(bytes, out);
    if unpacked != Ok(out.len()) {
        return Err(Problem::new("it does not unpack to the size that the index gives, or is damaged"));
    }
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&libdeflater::crc32(out).to_le_bytes());
    trailer[4..].copy_from_slice(&u32::try_from(out.len()).map_err(|_| Problem::new("it is too large"))?.to_le_bytes());
    let first = memchr::memmem::find(bytes, &trailer).map(|at| at + trailer.len());
    if first == Some(bytes.len()) {
        return Ok(());
    }
    if !bytes.ends_with(&trailer) || inflate.gzip_decompress(&bytes[..bytes.len() - 1], out).is_ok() {
        return Err(Problem::new("something follows its compressed data"));
    }
    // The failed attempt may have left its traces in the buffer.
    match inflate.gzip_decompress(bytes, out) {
        Ok(size) if size == out.len() => Ok(()),
        _ => Err(Problem::new("it does not unpack twice alike")),
    }
}

/// Unpacks exactly one Zstandard frame with its size and checksum, and nothing after it.
fn unzstd(bytes: &[u8], out: &mut [u8]) -> Result<(), Problem> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    /// RFC 8878, section 3.1.1.1.1: the checksum has to be there; the dictionary and the unused and
    /// reserved bits must not.
    const CHECKSUM: u8 = 0b100;
    const ABSENT: u8 = 0b1_1011;
    let descriptor = match bytes {
        [magic @ .., _] if !magic.starts_with(&MAGIC) => None,
        _ => bytes.get(MAGIC.len()),
    };
    let plain = descriptor.is_some_and(|descriptor| descriptor & (CHECKSUM | ABSENT) == CHECKSUM)
        && zstd_safe::find_frame_compressed_size(bytes) == Ok(bytes.len())
        && zstd_safe::get_frame_content_size(bytes).is_ok_and(|size| size == Some(out.len() as u64));
    if !plain {
        return Err(Problem::new("it is not one Zstandard frame of the size that the index gives, with a checksum"));
    }
    let unpacked = ZstdDecompressor::new().and_then(|mut unpack| unpack.decompress_to_buffer(bytes, out));
    match unpacked {
        Ok(size) if size == out.len() => Ok(()),
        _ => Err(Problem::new("it does not unpack to the size that the index gives, or is damaged")),
    }
}

/// Collects entries and sees that the directories are where the writer puts them.
struct Gathering<'a> {
    stem: &'a str,
    layout: Layout,
    directories: Vec<String>,
    entries: Vec<Entry>,
}

impl<'a> Gathering<'a> {
    fn new(stem: &'a str) -> Self {
        Self { stem, layout: Layout::default(), directories: Vec::new(), entries: Vec::new() }
    }

    /// Takes the next entry, with its content's place in the unpacked bytes.
    fn take(&mut self, path: &str, executable: bool, range: Range<usize>, unpacked: &[u8]) -> Result<(), Problem> {
        let below = path.strip_prefix(self.stem).and_then(|rest| rest.strip_prefix('/'));
        let below = below.ok_or_else(|| Problem::at(path, "it is not below the archive's one directory"))?;
        if below.is_empty() || below.ends_with('/') {
            if self.directories.len() > super::MAX_DEPTH {
                return Err(Problem::at(path, "nothing is in the directories before it"));
            }
            self.directories.push(below.to_owned());
            return Ok(());
        }
        let expected = self.layout.admit(below).map_err(|problem| Problem::at(path, &problem))?;
        if expected != self.directories {
            return Err(Problem::at(path, "the directories before it are not those that it needs"));
        }
        self.directories.clear();
        let content = unpacked.get(range.clone()).ok_or_else(|| Problem::at(path, "it is cut off"))?;
        self.entries.push(Entry {
            path: below.to_owned(),
            executable,
            size_bytes: content.len() as u64,
            sha256: Digest::of(content),
            range,
        });
        Ok(())
    }

    fn finish(self) -> Result<Vec<Entry>, Problem> {
        if self.entries.is_empty() || !self.directories.is_empty() {
            return Err(Problem::new("it ends with a directory that nothing is in, or is empty"));
        }
        Ok(self.entries)
    }
}

fn read_tar(stream: &[u8], stem: &str) -> Result<(Vec<Entry>, Date), Problem> {
    let mut gathering = Gathering::new(stem);
    let mut date = None;
    let mut path = String::new();
    let mut at = 0;
    loop {
        let rest = &stream[at..];
        let block = rest.first_chunk::<{ ustar::BLOCK }>().ok_or_else(|| Problem::new("its end is missing"))?;
        if is_zero(block) {
            break;
        }
        let item = ustar::Item::read(block, &mut path)
            .map_err(|problem| Problem::new(format!("the entry at byte {at} of its stream is refused: {problem}")))?;
        if *date.get_or_insert(item.seconds) != item.seconds {
            return Err(Problem::at(item.path, "its time is not that of the entries before it"));
        }
        let start = at + ustar::BLOCK;
        let cut_off = || Problem::at(item.path, "it is cut off");
        let end = usize::try_from(item.size).ok().and_then(|size| start.checked_add(size)).ok_or_else(cut_off)?;
        at = end.checked_add(ustar::padding(item.size)).ok_or_else(cut_off)?;
        let padding = stream.get(end..at).ok_or_else(cut_off)?;
        if !is_zero(padding) {
            return Err(Problem::at(item.path, "something stands between it and the next"));
        }
        gathering.take(item.path, item.executable, start..end, stream)?;
    }
    let end = &stream[at..];
    if end.len() != ustar::END || !is_zero(end) {
        return Err(Problem::new("it does not end with two blocks of zeros and nothing after them"));
    }
    Ok((gathering.finish()?, Date(Stamp::Tar(date.unwrap_or_default()))))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn read_zip(
    inflate: &mut Decompressor,
    member: &mut Vec<u8>,
    bytes: &[u8],
    out: &mut [u8],
    stem: &str,
) -> Result<(Vec<Entry>, Date), Problem> {
    let mut records: Vec<Record> = Vec::new();
    let mut moment = None;
    let mut at = 0;
    let refused = |at: usize, problem: &str| Problem::new(format!("the entry at byte {at} is refused: {problem}"));
    while let Some((record, time)) = Record::read_local(bytes, at).map_err(|problem| refused(at, problem))? {
        if *moment.get_or_insert(time) != time {
            return Err(Problem::at(&record.path, "its time is not that of the entries before it"));
        }
        if records.len() >= super::MAX_ENTRIES {
            return Err(Problem::new("it has more entries than an archive may have"));
        }
        at += zip::LOCAL_BYTES + record.path.len() + record.packed_size as usize;
        records.push(record);
    }
    let (Some(moment), Some(directory)) = (moment, bytes.get(at..)) else {
        return Err(Problem::new("it is cut off, or not a zip file"));
    };
    Record::read_directory(&mut records, moment, directory).map_err(Problem::new)?;
    let mut gathering = Gathering::new(stem);
    let mut filled = 0;
    for record in &records {
        let end = filled + record.size as usize;
        let place = out.get_mut(filled..end).ok_or_else(|| Problem::new("it unpacks to more than the index says"))?;
        unzip(inflate, member, record, bytes, place).map_err(|problem| Problem::at(&record.path, problem))?;
        gathering.take(&record.path, record.executable, filled..end, out)?;
        filled = end;
    }
    if filled != out.len() {
        return Err(Problem::new("it unpacks to less than the index says"));
    }
    Ok((gathering.finish()?, Date(Stamp::Zip(moment))))
}

/// Unpacks one entry of a zip file and checks its checksum.
fn unzip(
    inflate: &mut Decompressor,
    member: &mut Vec<u8>,
    record: &Record,
    bytes: &[u8],
    out: &mut [u8],
) -> Result<(), &'static str> {
    let start = record.offset as usize + zip::LOCAL_BYTES + record.path.len();
    let packed = bytes.get(start..start + record.packed_size as usize).ok_or("it is cut off")?;
    if record.is_directory() {
        let empty = packed.is_empty() && out.is_empty() && record.crc == 0 && record.method == Method::Stored;
        return if empty { Ok(()) } else { Err("it is a directory with content") };
    }
    match record.method {
        Method::Stored => {
            if packed.len() != out.len() || libdeflater::crc32(packed) != record.crc {
                return Err("it is damaged");
            }
            out.copy_from_slice(packed);
            Ok(())
        }
        // As a gzip member its end can be checked, which zip alone does not allow.
        Method::Deflated if packed.len() < out.len() => {
            member.clear();
            member.reserve_exact(GZIP_HEADER.len() + packed.len() + 8);
            member.extend_from_slice(&GZIP_HEADER);
            member.extend_from_slice(packed);
            member.extend(record.crc.to_le_bytes());
            member.extend(record.size.to_le_bytes());
            gunzip(inflate, member, out).map_err(|_| "it is damaged, or something follows its compressed data")
        }
        Method::Deflated => Err("it is compressed although that makes it larger"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trailer of a member without content is eight zeros, and so are the bytes one place before
    /// them: the short way to see where the stream ends does not tell, and the long way has to.
    #[test]
    fn a_trailer_that_occurs_twice_is_looked_at_again() {
        let mut member = GZIP_HEADER.to_vec();
        member.extend([3, 0]);
        member.extend([0; 8]);
        let mut inflate = Decompressor::new();
        assert_eq!(gunzip(&mut inflate, &member, &mut []), Ok(()));
        member.push(0);
        assert!(gunzip(&mut inflate, &member, &mut []).is_err());
    }
}
