//! A deflate stream whose end is known exactly.

use flate2::{Decompress, FlushDecompress, Status};

use super::super::contents::Problem;

/// A decompressor of raw deflate streams.
pub(super) struct Inflate(Decompress);

/// What one step has done.
pub(super) struct Step {
    pub(super) taken: usize,
    pub(super) filled: usize,
    pub(super) ended: bool,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self(Decompress::new(false))
    }

    /// Makes it ready for the next stream.
    pub(super) fn restart(&mut self) {
        self.0.reset(false);
    }

    /// Unpacks some of the input into some of the output, which has room. Of the input nothing is taken
    /// that is behind the stream's end; where neither moves, the stream is cut off.
    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Problem> {
        let before = (self.0.total_in(), self.0.total_out());
        let status = self
            .0
            .decompress(input, out, FlushDecompress::None)
            .map_err(|_| Problem::new("its compressed data is damaged"))?;
        let moved = |now: u64, then: u64| usize::try_from(now - then).expect("no more than the buffers hold");
        let step = Step {
            taken: moved(self.0.total_in(), before.0),
            filled: moved(self.0.total_out(), before.1),
            ended: status == Status::StreamEnd,
        };
        if !step.ended && step.taken == 0 && step.filled == 0 {
            return Err(super::source::cut_off());
        }
        Ok(step)
    }
}
