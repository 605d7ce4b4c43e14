//! Tells how much of a file has come.

use std::io::{Read, Result};

use crate::model::events::{Event, Listener};

/// No more often than this many bytes apart something is told.
const STEP_BYTES: u64 = 64 << 10;
/// No more often than this many times something is told of a file whose size is known.
const STEPS: u64 = 200;

/// A source that somebody watches.
pub struct Watched<'a, R> {
    inner: R,
    file: &'a str,
    total_bytes: Option<u64>,
    listener: &'a dyn Listener,
    come: u64,
    told: u64,
    ended: bool,
}

impl<'a, R: Read> Watched<'a, R> {
    /// Begins, and says so.
    pub fn new(inner: R, file: &'a str, total_bytes: Option<u64>, listener: &'a dyn Listener) -> Self {
        let watched = Self { inner, file, total_bytes, listener, come: 0, told: 0, ended: false };
        watched.tell();
        watched
    }

    fn tell(&self) {
        let Self { file, come, total_bytes, ended, .. } = self;
        let file = (*file).to_owned();
        self.listener.hear(&Event::Transfer { file, bytes: *come, total_bytes: *total_bytes, ended: *ended });
    }

    fn step(&self) -> u64 {
        self.total_bytes.map_or(STEP_BYTES, |total| (total / STEPS).max(STEP_BYTES))
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let read = self.inner.read(out)?;
        self.come += read as u64;
        let ended = !self.ended && !out.is_empty() && read == 0;
        if ended || self.come - self.told >= self.step() {
            (self.told, self.ended) = (self.come, ended);
            self.tell();
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(u64, bool)>>);

    impl Listener for Heard {
        fn hear(&self, event: &Event) {
            let Event::Transfer { bytes, ended, .. } = event else { panic!("nothing else is told") };
            self.0.lock().expect("not poisoned").push((*bytes, *ended));
        }
    }

    #[test]
    fn a_beginning_an_end_and_not_too_much_between_are_told() {
        for (size, at_most) in [(0_u64, 2), (100, 2), (40 << 20, 202)] {
            let heard = Heard::default();
            let mut watched = Watched::new(std::io::repeat(0).take(size), "file", Some(size), &heard);
            std::io::copy(&mut watched, &mut std::io::sink()).expect("memory");
            let heard = heard.0.into_inner().expect("not poisoned");
            assert_eq!((heard.first(), heard.last()), (Some(&(0, false)), Some(&(size, true))));
            assert!(heard.len() <= at_most, "{} times for {size} bytes", heard.len());
            assert!(heard.is_sorted(), "{heard:?}");
        }
    }
}
