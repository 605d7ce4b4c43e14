//! Programs that are run: the only place that starts one.
//!
//! No shell is ever involved. What a program prints is bounded, shown only after control characters
//! are escaped and credentials in addresses are taken out, and never part of a message otherwise.

#![expect(clippy::disallowed_methods, reason = "this is the one home of std::process::Command")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::failure::Result;
use crate::model::{Code, Failure, text};

/// How much of a program's output is kept for the caller, in bytes.
const MAX_OUTPUT_BYTES: u64 = 256 << 20;
/// How many lines of a failing program's standard error are part of the failure.
const SHOWN_LINES: usize = 12;

/// A program with its arguments, directory and changes to the environment.
#[derive(Clone, Debug)]
pub struct Program {
    argv: Vec<OsString>,
    directory: Option<Utf8PathBuf>,
    environment: BTreeMap<OsString, Option<OsString>>,
    timeout: Option<Duration>,
    is_contained: bool,
    input: Option<Vec<u8>>,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed to standard output.
    pub stdout: Vec<u8>,
    /// What it printed to standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, without the line feed at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches(['\n', '\r']).to_owned()
    }

    /// The last lines of standard error (or else of standard output), safe to show.
    pub fn complaint(&self) -> String {
        let loud = if self.stderr.trim_ascii().is_empty() { &self.stdout } else { &self.stderr };
        let loud = String::from_utf8_lossy(loud);
        let lines: Vec<_> = loud.lines().filter(|line| !line.trim().is_empty()).collect();
        // What is wrong stands where `error` is said, and a backtrace may follow; else it stands at the end.
        let last = lines.len().saturating_sub(SHOWN_LINES);
        let from = lines.iter().position(|line| line.starts_with("error")).map_or(last, |error| error.min(last));
        lines[from..].iter().take(SHOWN_LINES).map(|line| safe_line(line)).collect::<Vec<_>>().join("\n")
    }
}

/// A line of a program's output, safe to show and without credentials.
pub fn safe_line(line: &str) -> String {
    text::shown(&text::without_credentials(line)).into_owned()
}

impl Program {
    /// A program by name or path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            directory: None,
            environment: BTreeMap::new(),
            timeout: None,
            is_contained: false,
            input: None,
        }
    }

    /// A program with its arguments as one list, which must not be empty.
    pub fn of(argv: &[String]) -> Option<Self> {
        let (program, arguments) = argv.split_first()?;
        Some(Self::new(program).args(arguments))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.argv.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.argv.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// The directory to run in.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Takes an environment variable away.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), None);
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long it may take, with everything that it starts ended too when it ends.
    ///
    /// What a program leaves running would hold its output open, and the time limit would be none.
    /// On systems without process groups this is [`timeout`](Self::timeout).
    #[must_use]
    pub fn contained(mut self, timeout: Duration) -> Self {
        self.is_contained = true;
        self.timeout(timeout)
    }

    /// What it reads from standard input where its [`output`](Self::output) is asked for; without this, nothing.
    #[must_use]
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(bytes);
        self
    }

    /// The program's name, as it is shown.
    pub fn name(&self) -> String {
        safe_line(&self.argv[0].to_string_lossy())
    }

    /// The whole command, as it is shown.
    pub fn shown(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|word| safe_line(&word.to_string_lossy())).collect();
        words.join(" ")
    }

    /// Runs it to its end and gives back what it printed, whatever its exit code.
    pub fn output(&self) -> Result<Output> {
        self.output_with(MAX_OUTPUT_BYTES)
    }

    /// The same, of which no more than a number of bytes of standard output is kept.
    pub fn output_up_to(&self, max_bytes: usize) -> Result<Output> {
        self.output_with(u64::try_from(max_bytes).unwrap_or(u64::MAX))
    }

    fn output_with(&self, max_stdout_bytes: u64) -> Result<Output> {
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            // A program may end without having read everything; that is its own affair.
            scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(self.input.as_deref().unwrap_or_default())));
            let reader = scope.spawn(move || read_bounded(stderr, MAX_OUTPUT_BYTES));
            let out = scope.spawn(move || read_bounded(stdout, max_stdout_bytes));
            let status = self.wait(&mut child)?;
            let collect = |result: std::thread::Result<std::io::Result<Vec<u8>>>| {
                result
                    .unwrap_or_else(|_| Err(std::io::Error::other("the reading thread panicked")))
                    .map_err(|error| self.failed_to("read the output of").because(error))
            };
            Ok(Output { status, stdout: collect(out.join())?, stderr: collect(reader.join())? })
        })
    }

    /// Runs it and gives back its standard output; any exit code but 0 is a failure.
    pub fn read(&self) -> Result<String> {
        let output = self.output()?;
        if output.status.success() { Ok(output.text()) } else { Err(self.ended(&output)) }
    }

    /// Runs it and hands every line of both its outputs to `hear`, as it is printed and safe to show.
    pub fn stream(&self, hear: &(dyn Fn(Line<'_>) + Sync)) -> Result<ExitStatus> {
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            scope.spawn(move || each_line(stderr, |line| hear(Line::Error(&safe_line(line)))));
            scope.spawn(move || each_line(stdout, |line| hear(Line::Output(line))));
            self.wait(&mut child)
        })
    }

    /// The failure of a program that ended with an error.
    pub fn ended(&self, output: &Output) -> Failure {
        let failure = Failure::new(Code::CommandFailed, format!("`{}` failed ({})", self.shown(), output.status))
            .subject(self.name());
        match output.complaint() {
            complaint if complaint.is_empty() => failure,
            complaint => failure.because(complaint),
        }
    }

    fn spawn(&self, stdout: Stdio, stderr: Stdio) -> Result<Child> {
        let mut command = Command::new(&self.argv[0]);
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.args(&self.argv[1..]).stdin(stdin).stdout(stdout).stderr(stderr);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        #[cfg(unix)]
        if self.is_contained {
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.spawn().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound && self.directory.as_deref().is_none_or(Utf8Path::is_dir) {
                Failure::new(Code::ToolMissing, format!("`{}` is not installed, or not on the PATH", self.name()))
                    .subject(self.name())
            } else {
                self.failed_to("start").because(error)
            }
        })
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        let Some(timeout) = self.timeout else {
            return child.wait().map_err(|error| self.failed_to("wait for").because(error));
        };
        let start = Instant::now();
        let deadline = start + timeout;
        loop {
            if has_ended(child).map_err(|error| self.failed_to("wait for").because(error))? {
                self.end_stragglers(child);
                return child.wait().map_err(|error| self.failed_to("wait for").because(error));
            }
            if Instant::now() >= deadline {
                self.end_stragglers(child);
                // The child may have ended in between; then there is nothing to kill.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::new(
                    Code::CommandTimeout,
                    format!("`{}` took longer than {timeout:?}", self.shown()),
                )
                .subject(self.name()));
            }
            // What ends soon is noticed soon: no more than a sixteenth of its time is added.
            let pause = start.elapsed() / 16;
            std::thread::sleep(pause.clamp(Duration::from_millis(1), Duration::from_millis(50)));
        }
    }

    /// Ends what a contained program has started. It has not been waited for yet, so its group is still its own.
    fn end_stragglers(&self, child: &Child) {
        #[cfg(unix)]
        if self.is_contained {
            // There may be nobody left; then there is nothing to end.
            let _ = rustix::process::kill_process_group(
                rustix::process::Pid::from_child(child),
                rustix::process::Signal::KILL,
            );
        }
        #[cfg(not(unix))]
        let _ = child;
    }

    fn failed_to(&self, deed: &str) -> Failure {
        Failure::new(Code::CommandFailed, format!("failed to {deed} `{}`", self.name())).subject(self.name())
    }
}

/// Whether a child has ended, without taking its status: until then its process id stays its own.
#[cfg(unix)]
fn has_ended(child: &mut Child) -> std::io::Result<bool> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), look)?.is_some())
}

#[cfg(not(unix))]
fn has_ended(child: &mut Child) -> std::io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

/// Whether a program is found in one of the directories of a `PATH`. Nothing is started.
pub fn is_on_path(path: &str, program: &str) -> bool {
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(path).any(|directory| directory.join(program).is_file() || directory.join(&file).is_file())
}

/// One line that a program printed.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// To standard output, as it is.
    Output(&'a str),
    /// To standard error, safe to show.
    Error(&'a str),
}

fn read_bounded(stream: Option<impl Read>, max_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.by_ref().take(max_bytes).read_to_end(&mut bytes)?;
        // What is past the bound is read and thrown away, so that the program does not hang.
        std::io::copy(&mut stream, &mut std::io::sink())?;
    }
    Ok(bytes)
}

fn each_line(stream: Option<impl Read>, mut hear: impl FnMut(&str)) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(read) = reader.read_until(b'\n', &mut line) {
        if read == 0 {
            return;
        }
        hear(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
}
