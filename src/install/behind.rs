//! Files that are written, and brought to the disk, while their next bytes are unpacked.
//!
//! [`Behind`] has a thread of its own, which opens nothing and names nothing. What goes wrong there comes out
//! of the next call, or of [`Behind::finish`].

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

/// How many pieces wait at most; each is as large as what is unpacked at once.
const QUEUE: usize = 32;
/// After how many bytes the disk is asked to take what it has got.
const SYNC_BYTES: usize = 2 << 20;

/// One thing after the other for the thread.
enum Job {
    Begin(File),
    Write(Vec<u8>),
}

/// A thread that writes.
pub(super) struct Behind {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Behind {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, todo) = mpsc::sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("writing".to_owned()).spawn(move || {
            let (mut file, mut unsynced) = (None::<File>, 0);
            for job in todo {
                match (job, &mut file) {
                    (Job::Begin(next), file) => (*file, unsynced) = (Some(next), 0),
                    (Job::Write(bytes), Some(file)) => {
                        file.write_all(&bytes)?;
                        unsynced += bytes.len();
                        if unsynced >= SYNC_BYTES {
                            // Whoever has unpacked all of it has less to wait for.
                            file.sync_data()?;
                            unsynced = 0;
                        }
                    }
                    (Job::Write(_), None) => return Err(io::ErrorKind::NotFound.into()),
                }
            }
            Ok(())
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// What is written next goes to this file.
    pub(super) fn begin(&mut self, file: File) -> io::Result<()> {
        self.give(Job::Begin(file))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.give(Job::Write(bytes.to_vec()))
    }

    /// Waits until all is written, and closes the last file.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(written)) => written,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }

    fn give(&mut self, job: Job) -> io::Result<()> {
        match self.jobs.as_ref().map(|jobs| jobs.send(job)) {
            Some(Ok(())) => Ok(()),
            // It has ended, and says why.
            _ => self.finish().and(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // Nothing may be written any more when the directory is removed; there is a failure already.
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there_when_it_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut behind = Behind::start().unwrap();
        for (name, pieces) in [("one", 400), ("two", 0), ("three", 3)] {
            behind.begin(File::create_new(path(name)).unwrap()).unwrap();
            for piece in 0..pieces {
                behind.write(&vec![u8::try_from(piece % 251).unwrap(); 60_000]).unwrap();
            }
        }
        behind.finish().unwrap();
        for (name, pieces) in [("one", 400), ("two", 0), ("three", 3)] {
            let expected: Vec<u8> =
                (0..pieces).flat_map(|piece| vec![u8::try_from(piece % 251).unwrap(); 60_000]).collect();
            assert!(fs_err::read(path(name)).unwrap() == expected, "{name}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_takes_nothing_is_told_in_the_end_at_least() {
        let mut behind = Behind::start().unwrap();
        behind.begin(File::options().write(true).open("/dev/full").unwrap()).unwrap();
        let told = (0..1000).try_for_each(|_| behind.write(b"x")).and_then(|()| behind.finish());
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(behind.write(b"x").is_err());
    }
}
