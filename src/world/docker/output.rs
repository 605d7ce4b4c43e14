//! What runs in a container prints: a stream that is handed on piece by piece and kept nowhere.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use futures_util::{Stream as _, StreamExt as _};

use super::{Engine, Patience, TICK};
use crate::model::failure::Result;

type Pieces = Pin<Box<dyn futures_util::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What a process in a container is going to print.
pub struct Output(pub(super) Pieces);

impl Output {
    /// Hands every piece on as it comes, until the process has closed both outputs or the patience is
    /// over. Pieces end anywhere. That the connection breaks off is no failure: how the process ended
    /// is asked elsewhere.
    ///
    /// Gives back whether the end was reached.
    pub fn follow(
        &mut self,
        engine: &Engine,
        patience: &Patience,
        hear: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<bool> {
        engine.runtime.block_on(async {
            loop {
                patience.check()?;
                if patience.is_over() {
                    return Ok(false);
                }
                match tokio::time::timeout(TICK, self.0.next()).await {
                    Ok(Some(Ok(LogOutput::StdErr { message }))) => hear(Stream::Error, &message),
                    Ok(Some(Ok(other))) => hear(Stream::Output, other.as_ref()),
                    Ok(Some(Err(_)) | None) => return Ok(true),
                    Err(_) => {}
                }
            }
        })
    }

    /// Hands on what is there already.
    pub fn drain(&mut self, engine: &Engine, time: Duration, hear: &mut dyn FnMut(Stream, &[u8])) {
        // Without a request to stop there is nothing that could fail.
        let _ = self.follow(engine, &Patience::stubborn(time), hear);
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Output({:?})", self.0.size_hint())
    }
}
