//! What is printed: results on standard output, failures and notes on standard error.
//!
//! [`Output::result`] prints the one result of a verb in the format that was asked for. Colours are
//! written as escape codes always and taken out where the stream is not a terminal. A reader that
//! went away (`consign … | head`) is no failure.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use clap::error::{ContextKind, ErrorKind as ClapKind};
use owo_colors::OwoColorize as _;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::Globals;
use crate::config::secrets::Secrets;
use crate::model::failure::Result;
use crate::model::text::shown_json;
use crate::model::{self, Code, Exit, Failure};
use crate::world::process::safe_line;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document, also on failure.
    Json,
    /// One line of JSON per event, then the document on a line.
    Ndjson,
}

/// Prints.
#[derive(Debug)]
pub struct Output {
    format: Format,
    quiet: bool,
    printed: AtomicBool,
}

/// The document of a failure, on standard output.
#[derive(Serialize)]
struct FailureDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: Code,
    message: &'a str,
    subject: Option<String>,
    hint: Option<String>,
    causes: &'a [String],
}

impl Output {
    /// An output as the global options want it.
    pub fn new(globals: &Globals) -> Self {
        Self { format: globals.format, quiet: globals.quiet, printed: AtomicBool::new(false) }
    }

    /// The format of the result.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Prints the result of a verb, once: as the document, or as the text that `text` makes. The
    /// text may hold colours; text from outside in it has to have passed `model::text::shown`.
    pub fn result(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        self.printed.store(true, Ordering::Relaxed);
        match self.format {
            Format::Text => print(ended_by_line_feed(text()).as_bytes()),
            Format::Json => print_plain(&model::pretty(document)),
            Format::Ndjson => print_plain(&json_line(document)),
        }
    }

    /// Prints bytes that are themselves a JSON document, in every format.
    pub fn document(&self, bytes: &[u8]) -> Result<()> {
        self.printed.store(true, Ordering::Relaxed);
        match self.format {
            Format::Text | Format::Json => print_plain(bytes),
            // A line feed inside a JSON text value is written as an escape, so these are only between values.
            Format::Ndjson => {
                let text = String::from_utf8_lossy(bytes);
                print_plain(format!("{}\n", text.lines().map(str::trim_start).collect::<String>()).as_bytes())
            }
        }
    }

    /// Prints a note for people on standard error, unless told to be quiet.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            complain(&format!("{line}\n"));
        }
    }

    /// Prints a failure and gives back the exit code.
    pub fn failure(&self, failure: &Failure) -> Exit {
        let chain: Vec<String> = failure.chain().iter().map(|cause| safe(cause)).collect();
        let (message, causes) = chain.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let hint = failure.way_out().map(safe);
        // Scripts read exactly one document: when a result is out already, the failure is narrative.
        if self.format == Format::Text || self.printed.swap(true, Ordering::Relaxed) {
            complain(&narrative(message, causes, hint.as_deref()));
            return failure.code().exit();
        }
        let document = FailureDocument {
            kind: "consign.error/v1",
            code: failure.code(),
            message,
            subject: failure.about().map(safe),
            hint,
            causes,
        };
        let bytes = if self.format == Format::Json { model::pretty(&document) } else { json_line(&document) };
        match print_plain(&bytes) {
            Ok(()) => failure.code().exit(),
            Err(_) => Exit::Failed,
        }
    }

    /// Prints what clap says of a command line: help and version as data, anything else as a usage failure.
    pub(super) fn usage(&self, error: &clap::Error) -> Exit {
        let rendered = error.render().ansi().to_string();
        match error.kind() {
            ClapKind::DisplayHelp | ClapKind::DisplayVersion => {
                print(rendered.as_bytes()).map_or(Exit::Failed, |()| Exit::Done)
            }
            _ if self.format == Format::Text => {
                complain(&rendered);
                Exit::Usage
            }
            _ => self.failure(&usage_failure(error)),
        }
    }
}

fn usage_failure(error: &clap::Error) -> Failure {
    let rendered = error.render().to_string();
    let first = rendered.lines().next().unwrap_or_default();
    let message = match error.kind() {
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand => "a verb is missing",
        _ => first.strip_prefix("error: ").unwrap_or(first).trim_end_matches(':'),
    };
    let detail = |kind| error.get(kind).map(|value| value.to_string().replace('\'', ""));
    let failure = Failure::new(Code::Usage, message);
    let failure = match detail(ContextKind::InvalidArg).or_else(|| detail(ContextKind::InvalidSubcommand)) {
        Some(subject) => failure.subject(subject),
        None => failure,
    };
    let suggestion = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(detail);
    match suggestion {
        Some(suggestion) => failure.hint(format!("did you mean `{suggestion}`?")),
        None => failure.hint("`--help` lists what there is"),
    }
}

fn narrative(message: &str, causes: &[String], hint: Option<&str>) -> String {
    let mut lines = vec![format!("{} {message}", "error:".red().bold())];
    for cause in causes {
        let leads = std::iter::once("  caused by: ").chain(std::iter::repeat("             "));
        lines.extend(cause.lines().zip(leads).map(|(line, lead)| format!("{}{line}", lead.dimmed())));
    }
    lines.extend(hint.map(|hint| format!("{} {hint}", "hint:".cyan().bold())));
    lines.push(String::new());
    lines.join("\n")
}

/// Lays rows out as columns that are as wide as they are shown, two spaces apart. The first row may
/// be a heading; cells may hold colours.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or_default())
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', wide - width(cell) + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// How many columns a text takes on a terminal, without its colours.
fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

/// A number of bytes as people read it.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// A duration as people read it.
pub fn duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else {
        format!("{:.0}m {:02.0}s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

/// Text of several lines, each safe to show and without credentials.
fn safe(text: &str) -> String {
    text.lines().map(safe_line).collect::<Vec<_>>().join("\n")
}

fn json_line(document: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(document).expect("plain data with text keys always serialises");
    line.push(b'\n');
    line
}

fn ended_by_line_feed(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Prints one line of an event stream; a reader that went away is no failure.
pub(super) fn print_event(event: &impl Serialize) {
    let _ = print_plain(&json_line(event));
}

/// What is never printed. Set once, before the first verb runs; every writer below asks it.
static SECRETS: OnceLock<Secrets> = OnceLock::new();

/// Keeps secrets from being printed by anybody in this process.
pub(super) fn keep(secrets: &Secrets) {
    // A second set can only come from the same environment.
    let _ = SECRETS.set(secrets.clone());
}

fn masked(bytes: &[u8]) -> Vec<u8> {
    match (SECRETS.get(), std::str::from_utf8(bytes)) {
        (Some(secrets), Ok(text)) => secrets.masked(text).into_owned().into_bytes(),
        _ => bytes.to_vec(),
    }
}

/// Writes to standard error at once, so that lines of several threads do not mix.
pub(super) fn complain(text: &str) {
    // Nobody can be told that standard error is gone.
    let _ = anstream::stderr().lock().write_all(&masked(text.as_bytes()));
}

/// A line for a display that writes it by other means.
pub(super) fn discreet(line: &str) -> String {
    SECRETS.get().map_or_else(|| line.to_owned(), |secrets| secrets.masked(line).into_owned())
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut stream = anstream::stdout().lock();
    printed(stream.write_all(&masked(bytes)).and_then(|()| stream.flush()))
}

/// Prints JSON, in which no character that moves a cursor stands as itself.
fn print_plain(bytes: &[u8]) -> Result<()> {
    let mut stream = std::io::stdout().lock();
    let masked = masked(bytes);
    let text = String::from_utf8_lossy(&masked);
    printed(stream.write_all(shown_json(&text).as_bytes()).and_then(|()| stream.flush()))
}

fn printed(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Io, "failed to write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_by_what_is_seen() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rows = [row(&["name", "size"]), row(&["\u{1b}[31mred\u{1b}[0m", "1"]), row(&["日本", "22"]), row(&["x"])];
        assert_eq!(table(&rows), "name  size\n\u{1b}[31mred\u{1b}[0m   1\n日本  22\nx\n");
    }

    #[test]
    fn durations_read_well() {
        let of = |millis| duration(std::time::Duration::from_millis(millis));
        assert_eq!((of(1234), of(61_000)), ("1.2s".to_owned(), "1m 01s".to_owned()));
    }

    #[test]
    fn causes_of_several_lines_stay_below_their_lead() {
        let text = narrative("failed to x", &["one\ntwo".to_owned()], Some("do y"));
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "error: failed to x\n  caused by: one\n             two\nhint: do y\n");
    }
}
