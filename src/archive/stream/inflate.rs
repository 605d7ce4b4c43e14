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

#[cfg(test)]
mod tests {
    use super::*;

    /// `aaa` in one block that describes 286 symbols, as many as there are, or 287.
    const RIGHT: &str = "edc081080000000020d6fd25261901";
    const ONE_TOO_MANY: &str = "f5c081080000000020d6fd25361901";

    fn bytes(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_block_that_no_compressor_writes_is_refused_here_alone() {
        for (text, refused) in [(RIGHT, false), (ONE_TOO_MANY, true)] {
            let mut out = [0; 8];
            let step = Inflate::new().step(&bytes(text), &mut out);
            assert_eq!(step.is_err(), refused);
            let mut inspector = libdeflater::Decompressor::new();
            assert_eq!(inspector.deflate_decompress(&bytes(text), &mut out), Ok(3));
        }
    }

    #[test]
    fn nothing_is_taken_from_behind_the_end() {
        let right = bytes(RIGHT);
        let mut inflate = Inflate::new();
        for more in [&b""[..], b"x", &right] {
            inflate.restart();
            let mut out = [0; 8];
            let step = inflate.step(&[&right, more].concat(), &mut out).unwrap();
            assert_eq!((step.taken, step.filled, step.ended), (right.len(), 3, true));
            assert_eq!(&out[..3], b"aaa");
        }
        inflate.restart();
        let mut out = [0; 8];
        assert!(!inflate.step(&right[..right.len() - 1], &mut out).unwrap().ended);
        assert!(inflate.step(b"", &mut out).is_err(), "cut off");
    }
}
