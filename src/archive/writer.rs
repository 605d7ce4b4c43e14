//! Writing an archive into memory.

use std::io::Read;

use jiff::Timestamp;
use libdeflater::{CompressionLvl, Compressor};
use zstd::bulk::Compressor as ZstdCompressor;
use zstd::zstd_safe;

use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::index::ArchiveFormat;
use crate::model::{Code, Digest, Failure, FileName, text};

use super::layout::Layout;
use super::zip::{self, Method, Moment, Record};
use super::{GZIP_HEADER, MAX_BYTES, frame, ustar};

/// Content is read and hashed in pieces that stay in the processor's cache.
const PIECE_BYTES: u64 = 256 << 10;

/// How an archive is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The format.
    pub format: ArchiveFormat,
    /// The compression level: 1 to 12 for gzip and zip (6 by default), 1 to 22 for Zstandard (19).
    pub level: Option<u8>,
    /// The time that every entry carries.
    pub date: Timestamp,
}

impl Options {
    /// The compression level, if it is one that the format has.
    pub fn checked_level(&self) -> Result<u8> {
        let (default, highest) = match self.format {
            ArchiveFormat::TarGz | ArchiveFormat::Zip => (6, 12),
            ArchiveFormat::TarZst => (19, 22),
        };
        let level = self.level.unwrap_or(default);
        if (1..=highest).contains(&level) {
            return Ok(level);
        }
        let format = self.format.extension();
        Err(Failure::new(Code::ConfigInvalid, format!("{level} is not a compression level of {format}"))
            .subject("level")
            .hint(format!("choose a level from 1 to {highest}, or none for {default}")))
    }
}

/// A finished archive.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The file.
    pub bytes: Vec<u8>,
    /// The size of what the decompressor gives: the tar stream, or the sum of a zip's files.
    pub unpacked_size_bytes: u64,
}

/// A finished archive in the [`Memory`] it was made in.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// The size of what the decompressor gives, as in [`Packed`].
    pub unpacked_size_bytes: u64,
}

/// What one archive leaves to the next.
///
/// The system clears every page of new memory; whoever makes several archives pays for that once by
/// handing the same memory to one after the other.
#[derive(Debug, Default)]
pub struct Memory {
    /// What is compressed: a tar stream, or the content of a zip's entry.
    plain: Vec<u8>,
    /// The archive. It is as long as an archive has ever been, and what is behind the end is litter.
    packed: Vec<u8>,
    /// A compressed entry on its way into a zip; litter too.
    deflated: Vec<u8>,
}

/// An archive in the making.
///
/// Entries come sorted by the bytes of their path; the directories that they need are added. After
/// a failure the writer is of no more use: [`Writer::finish`] fails as well.
pub struct Writer {
    stem: FileName,
    options: Options,
    layout: Layout,
    /// The tar stream, or the zip file so far.
    out: Vec<u8>,
    /// The content of one entry of a zip, before it is compressed.
    content: Vec<u8>,
    /// The same, after that.
    deflated: Vec<u8>,
    records: Vec<Record>,
    unpacked: u64,
    broken: bool,
}

impl Writer {
    /// An empty archive whose one directory is called `stem`.
    pub fn new(stem: &FileName, options: Options) -> Self {
        Self::within(stem, options, &mut Memory::default())
    }

    /// The same in memory that an earlier archive left; it goes back with [`Writer::seal`].
    pub fn within(stem: &FileName, options: Options, memory: &mut Memory) -> Self {
        let mut content = std::mem::take(&mut memory.plain);
        let mut out = Vec::new();
        content.clear();
        if options.format == ArchiveFormat::Zip {
            out = std::mem::take(&mut memory.packed);
            out.clear();
        } else {
            std::mem::swap(&mut out, &mut content);
        }
        Self {
            stem: stem.clone(),
            options,
            layout: Layout::default(),
            out,
            content,
            deflated: std::mem::take(&mut memory.deflated),
            records: Vec::new(),
            unpacked: 0,
            broken: false,
        }
    }

    /// Adds a file by its path below the stem, such as `bin/tool`, and gives back its digest.
    ///
    /// Reads exactly `size` bytes, straight into the archive's buffer, and hashes them there;
    /// content that ends earlier or goes on is a failure, because the file changed meanwhile.
    pub fn append(&mut self, path: &str, executable: bool, size: u64, content: &mut dyn Read) -> Result<Digest> {
        let appended = self.try_append(path, executable, size, content);
        self.broken |= appended.is_err();
        appended
    }

    /// Ends the archive and compresses it.
    pub fn finish(self) -> Result<Packed> {
        let mut memory = Memory::default();
        let Sealed { bytes, unpacked_size_bytes } = self.seal(&mut memory)?;
        let size = bytes.len();
        let mut bytes = memory.packed;
        bytes.truncate(size);
        bytes.shrink_to_fit();
        Ok(Packed { bytes, unpacked_size_bytes })
    }

    /// The same into memory from which the next archive can be made.
    pub fn seal(mut self, memory: &mut Memory) -> Result<Sealed<'_>> {
        if self.broken || self.out.is_empty() {
            return Err(self.refused("the archive is empty, or one of its files could not be added"));
        }
        let level = self.options.checked_level()?;
        memory.deflated = std::mem::take(&mut self.deflated);
        let (size, unpacked_size_bytes) = if self.options.format == ArchiveFormat::Zip {
            render_directory(&self.records, Moment::of(self.options.date), &mut self.out);
            self.bounded(self.out.len())?;
            memory.plain = self.content;
            memory.packed = self.out;
            (memory.packed.len(), self.unpacked)
        } else {
            self.out.reserve_exact(ustar::END);
            self.out.resize(self.out.len() + ustar::END, 0);
            self.bounded(self.out.len())?;
            memory.plain = self.out;
            let compress = if self.options.format == ArchiveFormat::TarGz { gzip } else { zstandard };
            (compress(&memory.plain, level, &mut memory.packed)?, memory.plain.len() as u64)
        };
        Ok(Sealed { bytes: &memory.packed[..size], unpacked_size_bytes })
    }

    fn try_append(&mut self, path: &str, executable: bool, size: u64, content: &mut dyn Read) -> Result<Digest> {
        let missing = self.layout.admit(path).map_err(|problem| self.refused(&problem))?;
        self.unpacked = self.unpacked.saturating_add(size);
        self.bounded(usize::try_from(self.unpacked).unwrap_or(usize::MAX))?;
        if self.options.format == ArchiveFormat::Zip {
            return self.append_to_zip(&missing, path, executable, size, content);
        }
        for directory in missing {
            self.push_header(&directory, false, 0)?;
        }
        self.push_header(path, executable, size)?;
        let digest = read_exactly(content, size, &mut self.out).map_err(|failure| failure.of(path))?;
        let end = self.out.len() + ustar::padding(size);
        self.out.resize(end, 0);
        Ok(digest)
    }

    fn push_header(&mut self, path: &str, executable: bool, size: u64) -> Result<()> {
        let path = format!("{}/{path}", self.stem);
        let item = ustar::Item { path: &path, executable, size, seconds: ustar::seconds(self.options.date) };
        let header = item.render().ok_or_else(|| self.refused(&format!("the path `{path}` is too long for a tar")))?;
        let needed = header.as_bytes().len() + usize::try_from(size).expect("bounded before") + ustar::BLOCK;
        self.out.reserve_exact(needed);
        self.out.extend_from_slice(header.as_bytes());
        Ok(())
    }

    fn append_to_zip(
        &mut self,
        missing: &[String],
        path: &str,
        executable: bool,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<Digest> {
        let moment = Moment::of(self.options.date);
        for directory in missing {
            let record = directory_record(format!("{}/{directory}", self.stem), self.offset()?);
            record.render_local(moment, &mut self.out);
            self.records.push(record);
        }
        self.content.clear();
        self.content.reserve_exact(usize::try_from(size).expect("bounded before"));
        let digest = read_exactly(content, size, &mut self.content).map_err(|failure| failure.of(path))?;
        let narrow = |size: usize| u32::try_from(size).expect("bounded before");
        let mut record = Record {
            path: format!("{}/{path}", self.stem),
            executable,
            method: Method::Stored,
            crc: libdeflater::crc32(&self.content),
            packed_size: narrow(self.content.len()),
            size: narrow(self.content.len()),
            offset: self.offset()?,
        };
        let packed = deflate(&self.content, self.options.checked_level()?, &mut self.deflated)?;
        if let Some(packed) = packed {
            record.method = Method::Deflated;
            record.packed_size = narrow(packed.len());
        }
        let bytes = packed.unwrap_or(&self.content);
        self.out.reserve_exact(zip::LOCAL_BYTES + record.path.len() + bytes.len());
        record.render_local(moment, &mut self.out);
        self.out.extend_from_slice(bytes);
        self.records.push(record);
        Ok(digest)
    }

    fn offset(&self) -> Result<u32> {
        self.bounded(self.out.len())?;
        Ok(u32::try_from(self.out.len()).expect("bounded just now"))
    }

    fn bounded(&self, size: usize) -> Result<()> {
        if size as u64 <= MAX_BYTES { Ok(()) } else { Err(self.refused("the archive is larger than four gigabytes")) }
    }

    fn refused(&self, problem: &str) -> Failure {
        let name = format!("{}.{}", self.stem, self.options.format.extension());
        Failure::new(Code::IncludeRefused, format!("failed to pack `{name}`: {problem}"))
            .subject(name)
            .hint("rename the file or leave it out; an archive has to unpack alike on every system")
    }
}

/// Why content could not be read.
enum Unreadable {
    Io(std::io::Error),
    OtherSize(u64),
}

impl Unreadable {
    fn of(self, path: &str) -> Failure {
        let path = text::shown(path);
        match self {
            Self::Io(error) => {
                Failure::new(Code::Io, format!("failed to read `{path}` while packing it")).because(error)
            }
            Self::OtherSize(size) => {
                Failure::new(Code::Io, format!("`{path}` no longer has the {size} bytes that it had"))
                    .hint("something changed the file while it was packed; build again and leave it alone")
            }
        }
        .subject(path)
    }
}

/// Appends exactly `size` bytes to `out`, hashing them while they are in the processor's cache.
fn read_exactly(content: &mut dyn Read, size: u64, out: &mut Vec<u8>) -> Result<Digest, Unreadable> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Unreadable::OtherSize(size),
        _ => Unreadable::Io(error),
    };
    let mut hasher = Hasher::default();
    let mut left = size;
    while left > 0 {
        let (start, piece) = (out.len(), left.min(PIECE_BYTES));
        out.resize(start + usize::try_from(piece).expect("a piece is small"), 0);
        content.read_exact(&mut out[start..]).map_err(unreadable)?;
        hasher.update(&out[start..]);
        left -= piece;
    }
    match content.take(1).read_to_end(&mut Vec::new()).map_err(Unreadable::Io)? {
        0 => Ok(hasher.finish()),
        _ => Err(Unreadable::OtherSize(size)),
    }
}

/// Makes room for so many bytes, whatever is in them.
fn room(buffer: &mut Vec<u8>, size: usize) -> &mut [u8] {
    if buffer.len() < size {
        // New zeroed memory costs nothing until it is written to; a grown buffer would be filled.
        *buffer = Vec::new();
        *buffer = vec![0; size];
    }
    &mut buffer[..size]
}

/// The record of a directory in a zip file.
fn directory_record(path: String, offset: u32) -> Record {
    Record { path, executable: true, method: Method::Stored, crc: 0, packed_size: 0, size: 0, offset }
}

/// Writes the directory of a zip file and the end record after all the content.
fn render_directory(records: &[Record], moment: Moment, out: &mut Vec<u8>) {
    let start = out.len();
    for record in records {
        record.render_central(moment, out);
    }
    let size = out.len() - start;
    zip::render_end(records.len(), size, start, out);
}

fn gzip(bytes: &[u8], level: u8, out: &mut Vec<u8>) -> Result<usize> {
    let mut compressor = compressor(level);
    let out = room(out, compressor.gzip_compress_bound(bytes.len()));
    let size = compressor.gzip_compress(bytes, out).map_err(too_small)?;
    // The header tells of the level here; ours is one for all: no name, no time, nothing else.
    out[..GZIP_HEADER.len()].copy_from_slice(&GZIP_HEADER);
    Ok(size)
}

fn zstandard(bytes: &[u8], level: u8, out: &mut Vec<u8>) -> Result<usize> {
    let mut compress = || {
        let mut compressor = ZstdCompressor::new(i32::from(level))?;
        compressor.include_contentsize(true)?;
        compressor.include_checksum(true)?;
        compressor.include_dictid(false)?;
        if level > 19 {
            // Only these levels would refer back further than every reader has to support.
            compressor.set_parameter(zstd_safe::CParameter::WindowLog(frame::MAX_WINDOW_LOG))?;
        }
        compressor.compress_to_buffer(bytes, room(out, zstd_safe::compress_bound(bytes.len())))
    };
    compress().map_err(|error: std::io::Error| Failure::new(Code::Io, "failed to compress an archive").because(error))
}

/// The content as a deflate stream, or nothing if that is not smaller.
fn deflate<'a>(content: &[u8], level: u8, out: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>> {
    let mut compressor = compressor(level);
    let out = room(out, compressor.deflate_compress_bound(content.len()));
    let size = compressor.deflate_compress(content, out).map_err(too_small)?;
    Ok((size < content.len()).then_some(&out[..size]))
}

fn compressor(level: u8) -> Compressor {
    Compressor::new(CompressionLvl::new(i32::from(level)).expect("the level was checked"))
}

fn too_small(error: libdeflater::CompressionError) -> Failure {
    Failure::new(Code::Io, "failed to compress an archive").because(error)
}
