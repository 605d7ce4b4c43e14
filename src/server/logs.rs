//! The log: one line per request and per thing that an operator should know, on standard error.
//!
//! Requests are logged in [`super::wrap`]. Tokens, queries and bodies are in no line.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Logs {
    /// For people.
    #[default]
    Text,
    /// One JSON document per line.
    Json,
    /// No lines.
    Off,
}

/// Sends the log of this process to standard error. Only the first call counts.
pub fn log_to(logs: Logs) {
    let lines = fmt().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    // A log that is there already stays.
    let _ = match logs {
        Logs::Text => tracing::subscriber::set_global_default(lines.with_max_level(LevelFilter::INFO).finish()),
        Logs::Json => {
            let lines = lines.json().flatten_event(true).with_max_level(LevelFilter::INFO);
            tracing::subscriber::set_global_default(lines.finish())
        }
        Logs::Off => return,
    };
}
