//! A tar stream inside its compression: exactly one gzip member or Zstandard frame.

use zstd::stream::raw::{Decoder, Operation as _};
use zstd::zstd_safe::DParameter;

use super::super::contents::Problem;
use super::super::{GZIP_HEADER, frame};
use super::inflate::Inflate;
use super::source::{Source, cut_off};
use super::{Refused, wrong_frame};

/// What a decompressor gives.
pub(super) trait Plain {
    /// Puts the next bytes into `out`, which has room, and says how many; none at the end, after the
    /// checksum was found right.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Refused>;
}

/// A gzip member: the writer's header, a deflate stream, checksum and size.
pub(super) struct Gzip<'s, 'a> {
    source: &'s mut Source<'a>,
    inflate: Inflate,
    checksum: crc32fast::Hasher,
    size: u64,
    ended: bool,
}

impl<'s, 'a> Gzip<'s, 'a> {
    pub(super) fn open(source: &'s mut Source<'a>) -> Result<Self, Refused> {
        let mut header = [0; GZIP_HEADER.len()];
        source.fill(&mut header)?;
        if header != GZIP_HEADER {
            return Err(Problem::new("its gzip header is not the one that Consign writes").into());
        }
        Ok(Self { source, inflate: Inflate::new(), checksum: crc32fast::Hasher::new(), size: 0, ended: false })
    }

    fn check_trailer(&mut self) -> Result<(), Refused> {
        let mut trailer = [0; 8];
        self.source.fill(&mut trailer)?;
        let (checksum, size) = trailer.split_at(4);
        let checksum_fits = checksum == self.checksum.clone().finalize().to_le_bytes();
        // The size is written modulo four gigabytes.
        if !checksum_fits || size != &self.size.to_le_bytes()[..4] {
            return Err(Problem::new("its content does not have the checksum that follows it").into());
        }
        Ok(())
    }
}

impl Plain for Gzip<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Refused> {
        while !self.ended {
            let step = self.inflate.step(self.source.peek()?, out)?;
            self.source.take(step.taken)?;
            self.checksum.update(&out[..step.filled]);
            self.size += step.filled as u64;
            if step.ended {
                self.check_trailer()?;
                self.ended = true;
            }
            if step.filled > 0 {
                return Ok(step.filled);
            }
        }
        Ok(0)
    }
}

/// A Zstandard frame with the content's size and checksum.
pub(super) struct Zstandard<'s, 'a> {
    source: &'s mut Source<'a>,
    decoder: Decoder<'static>,
    content_bytes: u64,
    ended: bool,
}

impl<'s, 'a> Zstandard<'s, 'a> {
    pub(super) fn open(source: &'s mut Source<'a>) -> Result<Self, Refused> {
        let mut header = [0; frame::MAX_HEADER_BYTES];
        let (start, rest) = header.split_first_chunk_mut::<{ frame::START_BYTES }>().expect("the header is longer");
        source.fill(start)?;
        let length = frame::header_bytes(*start).ok_or_else(wrong_frame)?;
        source.fill(&mut rest[..length - frame::START_BYTES])?;
        let mut header = &header[..length];
        let content_bytes = frame::content_bytes(header).ok_or_else(wrong_frame)?;
        let mut decoder = Decoder::new().map_err(Refused::Source)?;
        decoder.set_parameter(DParameter::WindowLogMax(frame::MAX_WINDOW_LOG)).map_err(Refused::Source)?;
        while !header.is_empty() {
            let status = decoder.run_on_buffers(header, &mut []).map_err(|_| damaged())?;
            if status.bytes_read == 0 {
                return Err(damaged().into());
            }
            header = &header[status.bytes_read..];
        }
        Ok(Self { source, decoder, content_bytes, ended: false })
    }

    /// The content's size as the frame's header gives it; the decoder sees that it is right.
    pub(super) fn content_bytes(&self) -> u64 {
        self.content_bytes
    }
}

impl Plain for Zstandard<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Refused> {
        while !self.ended {
            let status = self.decoder.run_on_buffers(self.source.peek()?, out).map_err(|_| damaged())?;
            self.source.take(status.bytes_read)?;
            self.ended = status.remaining == 0;
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if !self.ended && status.bytes_read == 0 {
                return Err(cut_off().into());
            }
        }
        Ok(0)
    }
}

fn damaged() -> Problem {
    Problem::new("its compressed data is damaged")
}
