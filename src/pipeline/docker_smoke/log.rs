//! The log of one service, written while it runs.
//!
//! What containers print is never trusted: every line of it begins with `out| `, `err| ` or `bld| `
//! (`out+ ` where a long line goes on), control characters are written as escapes and secrets as
//! `***`. Our own lines begin with `--- `, and the last one is the verdict: the only line of the file
//! that begins with a brace. Memory is bounded by [`PIECE_BYTES`] for each output, whatever is printed.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use regex::Regex;

use super::report::Verdict;
use crate::model::failure::Result;
use crate::model::text::{shown, shown_json};
use crate::world::files;

/// How much of a line is held until its end comes, in bytes.
const PIECE_BYTES: usize = 32 << 10;
/// What a secret is replaced by.
const MASK: &str = "***";

/// Who printed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// A container's standard output.
    Output,
    /// A container's standard error.
    Error,
    /// The build of an image.
    Build,
}

impl Voice {
    const fn word(self) -> &'static str {
        match self {
            Self::Output => "out",
            Self::Error => "err",
            Self::Build => "bld",
        }
    }
}

/// What has to be printed, and whether it was.
#[derive(Debug, Default)]
pub(super) struct Expected {
    texts: Vec<(String, bool)>,
    patterns: Vec<(Regex, bool)>,
}

impl Expected {
    /// Nothing of it has been seen yet.
    pub(super) fn new(texts: &[String], patterns: &[Regex]) -> Self {
        Self {
            texts: texts.iter().map(|text| (text.clone(), false)).collect(),
            patterns: patterns.iter().map(|pattern| (pattern.clone(), false)).collect(),
        }
    }

    fn see(&mut self, line: &str) {
        for (text, seen) in &mut self.texts {
            *seen = *seen || line.contains(text.as_str());
        }
        for (pattern, seen) in &mut self.patterns {
            *seen = *seen || pattern.is_match(line);
        }
    }

    /// Each expectation with its name and whether it was met.
    pub(super) fn met(&self) -> Vec<(String, bool)> {
        let texts = self.texts.iter().map(|(text, seen)| (format!("output {:?}", shown(text)), *seen));
        let patterns =
            self.patterns.iter().map(|(pattern, seen)| (format!("output /{}/", shown(pattern.as_str())), *seen));
        texts.chain(patterns).collect()
    }
}

/// A log that is being written. Several threads may write.
#[derive(Debug)]
pub(super) struct Log {
    path: Utf8PathBuf,
    secrets: Secrets,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    lines: [Line; 3],
    expected: Expected,
    is_listening: bool,
    left_bytes: u64,
    dropped_bytes: u64,
    /// That the file cannot be written is told once, in the end.
    trouble: Option<std::io::Error>,
}

/// The line that one voice has begun.
#[derive(Debug, Default)]
struct Line {
    held: Vec<u8>,
    /// Whether the beginning of the line is in the file already.
    is_begun: bool,
}

/// Values that are replaced wherever they are printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn new(values: &[String]) -> Self {
        Self(values.to_vec())
    }

    /// The text with every secret replaced.
    pub(super) fn masked(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    /// The length of the longest, in bytes.
    fn longest(&self) -> usize {
        self.0.iter().map(String::len).max().unwrap_or(0)
    }

    /// Where to cut bytes so that no secret is cut: at the place, or after the secret that lies across it.
    fn cut(&self, bytes: &[u8], at: usize) -> usize {
        let mut at = at;
        loop {
            let across = self.0.iter().filter_map(|secret| {
                let from = at.saturating_sub(secret.len() - 1);
                let to = (at + secret.len() - 1).min(bytes.len());
                let found = memchr::memmem::find(&bytes[from..to], secret.as_bytes())? + from;
                (found < at && found + secret.len() > at).then_some(found + secret.len())
            });
            match across.max() {
                Some(after) => at = after,
                None => return at,
            }
        }
    }
}

impl Log {
    /// Starts a log, in the place of an older one.
    pub(super) fn create(path: &Utf8Path, secrets: Secrets, expected: Expected, max_bytes: u64) -> Result<Self> {
        if let Some(directory) = path.parent() {
            files::create_directory(directory)?;
        }
        let file = File::create(path).map_err(|error| files::failed("write", path, error))?;
        let inner = Inner {
            file,
            lines: Default::default(),
            expected,
            is_listening: false,
            left_bytes: max_bytes,
            dropped_bytes: 0,
            trouble: None,
        };
        Ok(Self { path: path.to_owned(), secrets, inner: Mutex::new(inner) })
    }

    /// From here on, what is printed counts as the output that is expected.
    pub(super) fn listen(&self) {
        self.inner().is_listening = true;
    }

    /// Takes a piece of what somebody prints.
    pub(super) fn hear(&self, voice: Voice, bytes: &[u8]) {
        let mut text = String::new();
        let mut inner = self.inner();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (part, ends) = match part.strip_suffix(b"\n") {
                Some(part) => (part, true),
                None => (part, false),
            };
            for piece in part.chunks(PIECE_BYTES) {
                inner.lines[voice as usize].held.extend_from_slice(piece);
                self.shorten(&mut inner, voice, &mut text);
            }
            if ends {
                self.end_line(&mut inner, voice, &mut text);
            }
        }
        inner.write(&text);
    }

    /// Writes a line of our own.
    pub(super) fn note(&self, line: &str) {
        let line = format!("--- {}\n", shown(&self.secrets.masked(line)));
        self.inner().write_always(&line);
    }

    /// The text as it may be shown: without secrets, and on one line.
    pub(super) fn safe(&self, text: &str) -> String {
        shown(&self.secrets.masked(text)).into_owned()
    }

    /// What was expected, and whether it came; lines that have not been ended count.
    pub(super) fn met(&self) -> Vec<(String, bool)> {
        let mut inner = self.inner();
        self.end_lines(&mut inner);
        inner.expected.met()
    }

    /// Ends the log with the verdict as its last line.
    pub(super) fn end(self, verdict: &Verdict) -> Result<()> {
        let mut inner = self.inner();
        self.end_lines(&mut inner);
        if inner.dropped_bytes > 0 {
            let line = format!("--- {} bytes of output are left out: more than the limit\n", inner.dropped_bytes);
            inner.write_always(&line);
        }
        let line = serde_json::to_string(verdict).unwrap_or_default();
        inner.write_always(&format!("{}\n", shown_json(&line)));
        if inner.trouble.is_none() {
            inner.trouble = inner.file.sync_all().err();
        }
        match inner.trouble.take() {
            Some(error) => Err(files::failed("write", &self.path, error)),
            None => Ok(()),
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the beginning of a line that is too long to be held.
    fn shorten(&self, inner: &mut Inner, voice: Voice, text: &mut String) {
        // Whatever begins before the cut is held whole, and one more behind it.
        while inner.lines[voice as usize].held.len() > PIECE_BYTES + 2 * self.secrets.longest() {
            let line = &mut inner.lines[voice as usize];
            let cut = self.secrets.cut(&line.held, whole_characters(&line.held, PIECE_BYTES));
            let piece: Vec<u8> = line.held.drain(..cut).collect();
            let is_begun = std::mem::replace(&mut line.is_begun, true);
            self.say(inner, voice, &piece, is_begun, text);
        }
    }

    fn end_line(&self, inner: &mut Inner, voice: Voice, text: &mut String) {
        let Line { mut held, is_begun } = std::mem::take(&mut inner.lines[voice as usize]);
        if held.last() == Some(&b'\r') {
            held.pop();
        }
        self.say(inner, voice, &held, is_begun, text);
    }

    fn end_lines(&self, inner: &mut Inner) {
        let mut text = String::new();
        for voice in [Voice::Output, Voice::Error, Voice::Build] {
            let line = &inner.lines[voice as usize];
            if line.is_begun || !line.held.is_empty() {
                self.end_line(inner, voice, &mut text);
            }
        }
        inner.write(&text);
    }

    fn say(&self, inner: &mut Inner, voice: Voice, bytes: &[u8], goes_on: bool, text: &mut String) {
        let raw = String::from_utf8_lossy(bytes);
        if inner.is_listening && voice != Voice::Build {
            inner.expected.see(&raw);
        }
        let mark = if goes_on { '+' } else { '|' };
        text.push_str(voice.word());
        text.push(mark);
        text.push(' ');
        text.push_str(&shown(&self.secrets.masked(&raw)));
        text.push('\n');
    }
}

impl Inner {
    /// Writes what a container printed, as long as there is room for it.
    fn write(&mut self, text: &str) {
        let size = text.len() as u64;
        if size > self.left_bytes {
            self.left_bytes = 0;
            self.dropped_bytes += size;
            return;
        }
        self.left_bytes -= size;
        self.write_always(text);
    }

    fn write_always(&mut self, text: &str) {
        if self.trouble.is_none() {
            self.trouble = self.file.write_all(text.as_bytes()).err();
        }
    }
}

/// The nearest place at or before this one that is not inside of a character.
fn whole_characters(bytes: &[u8], at: usize) -> usize {
    let is_inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|at| !is_inside(*at)).filter(|at| *at > 0).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::docker_smoke::report::{Status, Verdict};

    fn log(secrets: &[&str], max_bytes: u64, speak: impl FnOnce(&Log)) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().join("x.log")).expect("UTF-8");
        let secrets: Vec<_> = secrets.iter().map(|&secret| secret.to_owned()).collect();
        let log = Log::create(&path, Secrets::new(&secrets), Expected::default(), max_bytes).expect("a log");
        speak(&log);
        let verdict = Verdict::new("x".parse().expect("a name"), Status::Failed);
        log.end(&verdict).expect("written");
        fs_err::read_to_string(&path).expect("read").lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_looks_like_a_verdict_is_none() {
        let fake = r#"{"service":"x","status":"passed"}"#;
        let lines = log(&[], 1 << 20, |log| {
            log.hear(Voice::Output, format!("a\r\n{fake}\n\u{1b}[2J{fake}\r{fake}").as_bytes());
            log.note(&format!("ran\n{fake}"));
            log.hear(Voice::Error, b"\xff\n--- not ours\n");
        });
        let expected = [
            "out| a".to_owned(),
            format!("out| {fake}"),
            format!("--- ran\\u{{a}}{fake}"),
            "err| \u{fffd}".to_owned(),
            "err| --- not ours".to_owned(),
            format!("out| \\u{{1b}}[2J{fake}\\u{{d}}{fake}"),
        ];
        assert_eq!(lines[..6], expected);
        let braces: Vec<_> = lines.iter().filter(|line| line.starts_with('{')).collect();
        assert_eq!(braces, [&lines[6]]);
        assert!(lines[6].contains(r#""status":"failed""#));
    }

    #[test]
    fn a_secret_is_masked_wherever_a_long_line_is_cut() {
        let secret = "hunter2hunter3";
        for at in PIECE_BYTES - secret.len() - 1..PIECE_BYTES + 2 {
            let printed = format!("{}{secret}{secret}{}", "x".repeat(at), "y".repeat(PIECE_BYTES));
            for step in [printed.len(), 4096, 7] {
                let lines = log(&[secret], 1 << 24, |log| {
                    printed.as_bytes().chunks(step).for_each(|piece| log.hear(Voice::Output, piece));
                });
                let text: String = lines[..lines.len() - 1].iter().map(|line| &line[5..]).collect();
                assert_eq!(text, format!("{}******{}", "x".repeat(at), "y".repeat(PIECE_BYTES)), "{at} {step}");
            }
        }
    }

    #[test]
    fn a_line_without_an_end_is_written_in_pieces_and_characters_stay_whole() {
        let printed = "ä".repeat(PIECE_BYTES);
        let lines = log(&[], 1 << 24, |log| log.hear(Voice::Output, &[b"x", printed.as_bytes()].concat()));
        assert!(lines[0].starts_with("out| xä") && lines[1].starts_with("out+ ä"), "{:.9} {:.9}", lines[0], lines[1]);
        let text: String = lines[..lines.len() - 1].iter().map(|line| &line[5..]).collect();
        assert_eq!(text, format!("x{printed}"));
    }

    #[test]
    fn more_than_the_limit_is_left_out_and_told() {
        let lines = log(&[], 100, |log| {
            for _ in 0..20 {
                log.hear(Voice::Output, b"0123456789\n");
            }
        });
        assert_eq!(lines.len(), 6 + 2, "{lines:?}");
        assert_eq!(lines[6], "--- 224 bytes of output are left out: more than the limit");
    }

    #[test]
    fn only_what_is_printed_after_listening_meets_an_expectation() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().join("x.log")).expect("UTF-8");
        let texts = ["ready".to_owned(), "early".to_owned()];
        let expected = Expected::new(&texts, &[Regex::new("^v[0-9]+$").expect("a pattern")]);
        let log = Log::create(&path, Secrets::default(), expected, 1 << 20).expect("a log");
        log.hear(Voice::Output, b"early\n");
        log.listen();
        log.hear(Voice::Error, b"it is rea");
        log.hear(Voice::Output, b"x\nv12");
        log.hear(Voice::Error, b"dy\n");
        let met: Vec<_> = log.met().into_iter().map(|(_, met)| met).collect();
        assert_eq!(met, [true, false, true]);
    }
}
