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

use crate::model::Digest;
use crate::model::index::ArchiveFormat;

use super::contents::{Date, Entry, Gathered, Gathering, Problem, Stamp};
use super::zip::{self, Method, Moment, Record};
use super::{GZIP_HEADER, MAX_BYTES, frame, ustar};

/// What an archive holds.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Every file, sorted by path.
    pub entries: Vec<Entry>,
    /// The one time that every entry carries.
    pub date: Date,
    /// Where each file's content is in the unpacked bytes.
    places: Vec<Range<usize>>,
    unpacked: &'a [u8],
}

impl Contents<'_> {
    /// The content of one file, by its path below the stem.
    pub fn read(&self, path: &str) -> Option<&[u8]> {
        let number = self.entries.iter().position(|entry| entry.path == path)?;
        self.unpacked.get(self.places.get(number)?.clone())
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
            return Err(Problem::too_large());
        }
        let size = usize::try_from(unpacked_size_bytes).map_err(|_| Problem::new("it does not fit into memory"))?;
        if self.unpacked.len() < size {
            // A new zeroed buffer costs nothing until it is written to; a grown one would be filled.
            self.unpacked = Vec::new();
            self.unpacked = vec![0; size];
        }
        let out = &mut self.unpacked[..size];
        let (Gathered { entries, date, .. }, places) = match format {
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
        Ok(Contents { entries, date, places, unpacked: &self.unpacked[..size] })
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
    let header = bytes.first_chunk().and_then(|start| bytes.get(..frame::header_bytes(*start)?));
    let plain = header.and_then(frame::content_bytes) == Some(out.len() as u64)
        && zstd_safe::find_frame_compressed_size(bytes) == Ok(bytes.len());
    if !plain {
        return Err(Problem::new("it is not one Zstandard frame of the size that the index gives, with a checksum"));
    }
    let unpacked = ZstdDecompressor::new().and_then(|mut unpack| unpack.decompress_to_buffer(bytes, out));
    match unpacked {
        Ok(size) if size == out.len() => Ok(()),
        _ => Err(Problem::new("it does not unpack to the size that the index gives, or is damaged")),
    }
}

/// What was gathered, and where each file's content is in the unpacked bytes.
type Found = (Gathered, Vec<Range<usize>>);

/// A file whose content is at a place in the unpacked bytes.
fn entry(path: String, executable: bool, content: &[u8]) -> Entry {
    Entry { path, executable, size_bytes: content.len() as u64, sha256: Digest::of(content) }
}

fn read_tar(stream: &[u8], stem: &str) -> Result<Found, Problem> {
    let mut gathering = Gathering::new(Some(stem));
    let mut places = Vec::new();
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
        let start = at + ustar::BLOCK;
        let cut_off = || Problem::at(item.path, "it is cut off");
        let end = usize::try_from(item.size).ok().and_then(|size| start.checked_add(size)).ok_or_else(cut_off)?;
        at = end.checked_add(ustar::padding(item.size)).ok_or_else(cut_off)?;
        let padding = stream.get(end..at).ok_or_else(cut_off)?;
        if !is_zero(padding) {
            return Err(Problem::at(item.path, "something stands between it and the next"));
        }
        if let Some(path) = gathering.admit(item.path, Stamp::Tar(item.seconds))? {
            gathering.push(entry(path, item.executable, &stream[start..end]));
            places.push(start..end);
        }
    }
    let end = &stream[at..];
    if end.len() != ustar::END || !is_zero(end) {
        return Err(Problem::new("it does not end with two blocks of zeros and nothing after them"));
    }
    Ok((gathering.finish()?, places))
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
) -> Result<Found, Problem> {
    let mut records: Vec<Record> = Vec::new();
    let mut moment = None;
    let mut at = 0;
    let refused = |at: usize, problem: &str| Problem::new(format!("the entry at byte {at} is refused: {problem}"));
    while let Some(length) = bytes[at..].first_chunk().and_then(zip::local_bytes) {
        let header = bytes.get(at..at + length).ok_or_else(|| refused(at, "its header is cut off"))?;
        let (record, time) = Record::read_local(header, at as u64).map_err(|problem| refused(at, problem))?;
        if *moment.get_or_insert(time) != time {
            return Err(Problem::at(&record.path, "its time is not that of the entries before it"));
        }
        if records.len() >= super::MAX_ENTRIES {
            return Err(Problem::new("it has more entries than an archive may have"));
        }
        at += length + record.packed_size as usize;
        if at > bytes.len() {
            return Err(Problem::at(&record.path, "it is cut off"));
        }
        records.push(record);
    }
    let Some(moment) = moment else {
        return Err(Problem::new("it is cut off, or not a zip file"));
    };
    read_directory(&mut records, moment, &bytes[at..]).map_err(Problem::new)?;
    let mut gathering = Gathering::new(Some(stem));
    let mut places = Vec::new();
    let mut filled = 0;
    for record in &records {
        let end = filled + record.size as usize;
        let place = out.get_mut(filled..end).ok_or_else(|| Problem::new("it unpacks to more than the index says"))?;
        unzip(inflate, member, record, bytes, place).map_err(|problem| Problem::at(&record.path, problem))?;
        if let Some(path) = gathering.admit(&record.path, Stamp::Zip(moment))? {
            gathering.push(entry(path, record.executable, place));
            places.push(filled..end);
        }
        filled = end;
    }
    if filled != out.len() {
        return Err(Problem::new("it unpacks to less than the index says"));
    }
    Ok((gathering.finish()?, places))
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
    record.check_sizes()?;
    match record.method {
        Method::Stored => {
            if libdeflater::crc32(packed) != record.crc {
                return Err("it is damaged");
            }
            out.copy_from_slice(packed);
            Ok(())
        }
        // As a gzip member its end can be checked, which zip alone does not allow.
        Method::Deflated => {
            member.clear();
            member.reserve_exact(GZIP_HEADER.len() + packed.len() + 8);
            member.extend_from_slice(&GZIP_HEADER);
            member.extend_from_slice(packed);
            member.extend(record.crc.to_le_bytes());
            member.extend(record.size.to_le_bytes());
            gunzip(inflate, member, out).map_err(|_| "it is damaged, or something follows its compressed data")
        }
    }
}

/// Reads the directory at the end, or says that it is not the one that belongs to these records.
fn read_directory(records: &mut [Record], moment: Moment, bytes: &[u8]) -> Result<(), &'static str> {
    let mut rest = bytes;
    for record in records.iter_mut() {
        let (header, more) = rest.split_at_checked(record.central_bytes()).ok_or(zip::WRONG_DIRECTORY)?;
        if !record.read_central(moment, header) {
            return Err(zip::WRONG_DIRECTORY);
        }
        rest = more;
    }
    if rest == zip::end_record(records) { Ok(()) } else { Err(zip::WRONG_DIRECTORY) }
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
