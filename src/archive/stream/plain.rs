//! A tar file that is not compressed, as it comes.

use std::cell::Cell;
use std::io;

use super::compressed::Plain;
use super::source::Source;
use super::{Refused, Sink};

/// A source that counts what was taken from it.
pub(super) struct Uncompressed<'s, 'a> {
    pub(super) source: &'s mut Source<'a>,
    pub(super) taken: &'s Cell<u64>,
}

impl Plain for Uncompressed<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Refused> {
        let ready = self.source.peek()?;
        let piece = ready.len().min(out.len());
        out[..piece].copy_from_slice(&ready[..piece]);
        self.source.take(piece)?;
        self.taken.set(self.taken.get() + piece as u64);
        Ok(piece)
    }
}

/// Keeps where each file's content begins, and nothing of the content.
pub(super) struct Places<'s> {
    pub(super) taken: &'s Cell<u64>,
    pub(super) offsets: Vec<u64>,
}

impl Sink for Places<'_> {
    fn begin(&mut self, _size_bytes: u64) -> io::Result<()> {
        self.offsets.push(self.taken.get());
        Ok(())
    }

    fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
