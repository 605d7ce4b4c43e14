//! Measuring whole processes in turns.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::world::files;
use consign::world::process::Program;
use serde::Serialize;

/// Something that is measured.
pub(super) struct Contender {
    name: String,
    argv: Vec<String>,
    directory: Utf8PathBuf,
    /// A directory that is emptied before each run.
    cleared: Option<(Utf8PathBuf, &'static str)>,
}

/// A command with the directory that it runs in.
pub(super) struct Command {
    pub(super) argv: Vec<String>,
    pub(super) directory: Utf8PathBuf,
}

impl Contender {
    /// A command by the name that it is shown with.
    pub(super) fn new(name: &str, command: Command) -> Self {
        Self { name: name.to_owned(), argv: command.argv, directory: command.directory, cleared: None }
    }

    /// Removes a directory's files with this ending (empty: the whole directory) before each run.
    pub(super) fn clearing(self, cleared: (Utf8PathBuf, &'static str)) -> Self {
        Self { cleared: Some(cleared), ..self }
    }

    fn clear(&self) -> Result<()> {
        match &self.cleared {
            Some((directory, "")) => Ok(files::remove_directory(directory)?),
            Some((directory, ending)) => {
                super::files_in(directory, ending)?.iter().try_for_each(|path| Ok(fs_err::remove_file(path)?))
            }
            None => Ok(()),
        }
    }
}

/// What came of one contender.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) name: String,
    /// The time of each run.
    pub(super) wall_ms: Vec<f64>,
    pub(super) median_ms: f64,
    /// The median time of all processors, children included.
    pub(super) cpu_ms: Option<f64>,
    /// The most memory that one process ever had.
    pub(super) peak_bytes: Option<u64>,
}

/// What one run took.
pub(super) struct Sample {
    wall_ms: f64,
    /// Processor time in milliseconds, and memory in bytes.
    used: Option<(f64, u64)>,
}

/// Runs each once to warm up, and then all of them in turns.
pub(super) fn in_turns(contenders: &[Contender], runs: usize) -> Result<Vec<Measured>> {
    let mut samples: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
    for run in 0..=runs {
        for (contender, samples) in contenders.iter().zip(&mut samples) {
            let sample = once(contender)?;
            if run > 0 {
                samples.push(sample);
            }
        }
    }
    Ok(contenders.iter().zip(samples).map(|(contender, samples)| summed_up(contender, &samples)).collect())
}

/// Runs it once.
pub(super) fn once(contender: &Contender) -> Result<Sample> {
    let notes = tempfile::NamedTempFile::new()?;
    let notes = Utf8Path::from_path(notes.path()).context("the temporary directory is not UTF-8")?;
    contender.clear()?;
    // What earlier runs wrote is not to be written while this one is measured.
    Program::new("sync").output()?;
    let timed = Utf8Path::new(TIME).is_file();
    let wrapper = [TIME, "--quiet", "--format=%U %S %M", "--output", notes.as_str()].map(str::to_owned);
    let wrapper = if timed { wrapper.to_vec() } else { Vec::new() };
    let argv: Vec<String> = wrapper.into_iter().chain(contender.argv.iter().cloned()).collect();
    let program = Program::of(&argv).context("there is nothing to run")?.directory(&contender.directory);
    let program = SETTINGS.iter().fold(program, Program::env_remove);
    let begun = Instant::now();
    let output = program.output()?;
    let wall_ms = begun.elapsed().as_secs_f64() * 1e3;
    ensure!(output.status.success(), "{} failed:\n{}", contender.name, output.complaint());
    let used = if timed { Some(read_notes(&fs_err::read_to_string(notes)?)?) } else { None };
    Ok(Sample { wall_ms, used })
}

/// GNU time, which asks the system what a process and its children used.
const TIME: &str = "/usr/bin/time";

/// What this run of cargo, or a CI system, would change for the programs that are measured.
const SETTINGS: &[&str] = &["CARGO", "CARGO_TARGET_DIR", "RUSTUP_TOOLCHAIN", "SOURCE_DATE_EPOCH", "GITHUB_REF_NAME"];

fn read_notes(notes: &str) -> Result<(f64, u64)> {
    let mut words = notes.split_whitespace();
    let mut next = || words.next().with_context(|| format!("`{TIME}` wrote {notes:?}"));
    let seconds = next()?.parse::<f64>()? + next()?.parse::<f64>()?;
    Ok((seconds * 1e3, next()?.parse::<u64>()? << 10))
}

/// The numbers of all its runs.
pub(super) fn summed_up(contender: &Contender, samples: &[Sample]) -> Measured {
    let used: Option<Vec<_>> = samples.iter().map(|sample| sample.used).collect();
    Measured {
        name: contender.name.clone(),
        wall_ms: samples.iter().map(|sample| sample.wall_ms).collect(),
        median_ms: median(samples.iter().map(|sample| sample.wall_ms)),
        cpu_ms: used.as_ref().map(|used| median(used.iter().map(|(cpu_ms, _)| *cpu_ms))),
        peak_bytes: used.as_ref().and_then(|used| used.iter().map(|(_, peak)| *peak).max()),
    }
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < 1e-9);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn what_gnu_time_writes_is_read() {
        assert_eq!(read_notes("1.50 0.25 2048\n").unwrap(), (1750.0, 2 << 20));
        assert!(read_notes("1.50\n").is_err());
    }
}
