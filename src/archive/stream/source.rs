//! The archive's bytes as they come.

use std::io::{self, Read};
use std::ops::Range;

use super::super::MAX_BYTES;
use super::super::contents::Problem;
use super::{PIECE_BYTES, Refused};

/// A source that counts, and tells an end that comes too early from one that cannot be reached.
pub(super) struct Source<'a> {
    inner: &'a mut dyn Read,
    buffer: Vec<u8>,
    /// What of the buffer was read and not yet taken.
    ready: Range<usize>,
    taken: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(inner: &'a mut dyn Read) -> Self {
        Self { inner, buffer: vec![0; PIECE_BYTES], ready: 0..0, taken: 0 }
    }

    /// How many bytes were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The next bytes, as many as there are at once; none at the end.
    pub(super) fn peek(&mut self) -> Result<&[u8], Refused> {
        while self.ready.is_empty() {
            match self.inner.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => self.ready = 0..read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Refused::Source(error)),
            }
        }
        Ok(&self.buffer[self.ready.clone()])
    }

    /// Takes bytes that were peeked at.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        self.ready.start += bytes;
        self.taken += bytes as u64;
        if self.taken > MAX_BYTES { Err(Problem::too_large()) } else { Ok(()) }
    }

    /// Takes exactly so many bytes.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<(), Refused> {
        let mut filled = 0;
        while filled < out.len() {
            let bytes = self.peek()?;
            if bytes.is_empty() {
                return Err(cut_off().into());
            }
            let piece = bytes.len().min(out.len() - filled);
            out[filled..filled + piece].copy_from_slice(&bytes[..piece]);
            filled += piece;
            self.take(piece)?;
        }
        Ok(())
    }

    /// Sees that nothing is left.
    pub(super) fn end(&mut self) -> Result<(), Refused> {
        if self.peek()?.is_empty() { Ok(()) } else { Err(Problem::new("something follows its end").into()) }
    }
}

pub(super) fn cut_off() -> Problem {
    Problem::new("it is cut off")
}
