//! What a run tells of itself while it runs.
//!
//! The pipeline emits events; every display (the live view, plain lines, ndjson) only listens.

use std::time::Duration;

use serde::Serialize;

use super::stage::Stage;

/// Something happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A stage began.
    StageStarted {
        /// Which.
        stage: Stage,
    },
    /// A stage ended.
    StageFinished {
        /// Which.
        stage: Stage,
        /// How.
        outcome: Outcome,
        /// How long it took.
        #[serde(rename = "duration_ms", serialize_with = "as_millis")]
        duration: Duration,
        /// One line about the result, or the reason.
        detail: String,
    },
    /// A piece of work inside a stage began: a platform's build, an archive, a file.
    TaskStarted {
        /// The stage.
        stage: Stage,
        /// The platform or file.
        task: String,
    },
    /// A piece of work inside a stage ended.
    TaskFinished {
        /// The stage.
        stage: Stage,
        /// The platform or file.
        task: String,
        /// How many bytes it read or wrote.
        bytes: u64,
        /// How long it took.
        #[serde(rename = "duration_ms", serialize_with = "as_millis")]
        duration: Duration,
    },
    /// So much of a file has come. Told at its beginning, now and then, and at its end.
    Transfer {
        /// The file.
        file: String,
        /// How many bytes have come.
        bytes: u64,
        /// How many there are, where that is known.
        total_bytes: Option<u64>,
        /// Whether it is over.
        ended: bool,
    },
    /// A line that a program printed.
    Output {
        /// The stage.
        stage: Stage,
        /// The line, already safe to show.
        line: String,
    },
    /// Something that the user should know and that stops nothing.
    Warning {
        /// The sentence.
        message: String,
    },
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done.
    Passed,
    /// Left out, on request or because there was nothing to do.
    Skipped,
    /// Failed.
    Failed,
}

/// Whoever wants to hear of events. Called from several threads.
pub trait Listener: Sync {
    /// Takes one event.
    fn hear(&self, event: &Event);
}

/// Hears nothing.
pub struct Silence;

impl Listener for Silence {
    fn hear(&self, _event: &Event) {}
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
