//! `cargo xtask bench`: Consign beside the programs that one would use instead.
//!
//! Both do the same work on the same files on this machine, in turns, so that whatever else the
//! machine does meets both. [`run`] prints medians, the median of the ratios pair by pair, and
//! whether the limits are kept; `docs/benchmarks.md` says what the numbers mean.

#![expect(clippy::cast_precision_loss, reason = "sizes are shown as rounded numbers")]

mod beside;
mod forge;
mod install;
mod installer;
mod link;
mod measure;
mod publish;
mod registry;
#[cfg(feature = "server")]
mod release;
#[cfg(not(feature = "server"))]
#[path = "release_elsewhere.rs"]
mod release;
mod scene;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, ValueEnum};
use consign::model::pretty;
use consign::world::process::{Line, Program};
use serde::Serialize;

use crate::repository;
use measure::{Contender, Measured};
use scene::{Extent, Scene};

/// The arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure [default: all]
    #[arg(value_name = "WHAT")]
    subjects: Vec<Subject>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value = "7")]
    runs: std::num::NonZeroUsize,
    /// The `consign` to measure [default: it is built as it is released]
    #[arg(long, value_name = "FILE")]
    consign: Option<Utf8PathBuf>,
    /// The `consign-install` to measure [default: it is built as it is released]
    #[arg(long, value_name = "FILE")]
    installer: Option<Utf8PathBuf>,
    /// The `consign-server` to measure [default: it is built as it is released]
    #[arg(long, value_name = "FILE")]
    server: Option<Utf8PathBuf>,
    /// Also write the numbers to this file
    #[arg(long, value_name = "FILE")]
    json: Option<Utf8PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// `consign package` against libdeflate-gzip and sha256sum
    Package,
    /// `consign verify` against openssl and libdeflate-gunzip
    Verify,
    /// `consign verify` of a signed bundle of twelve packages against the same without signatures
    VerifySigned,
    /// `consign install` against curl over a slow link, and against what a careful user types
    Install,
    /// `consign publish` against five parallel curl over a link that loses packets
    Publish,
    /// The size of `consign-install`, and the time until it says its version
    Installer,
    /// `consign-server` on both databases against plain rows by `sqlite3` and `psql`
    Registry,
    /// Releases into a config repository against `git fast-import`, over a slow link, and among strangers
    Release,
}

/// What is measured beside programs that do the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Comparison {
    Package,
    Verify,
    VerifySigned,
}

impl Comparison {
    /// The largest ratio of Consign's time to the others' that is accepted.
    const fn limit(self) -> f64 {
        match self {
            Self::Package => 1.15,
            Self::Verify => 0.8,
            Self::VerifySigned => 1.25,
        }
    }
}

/// One subject's numbers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Numbers {
    Compared(Report),
    Install(install::Report),
    Publish(publish::Report),
    Installer(installer::Report),
    Registry(Vec<registry::Report>),
    Release(release::Report),
}

impl Numbers {
    fn passed(&self) -> bool {
        match self {
            Self::Compared(report) => report.passed,
            Self::Install(report) => report.passed,
            Self::Publish(report) => report.passed,
            Self::Installer(report) => report.passed,
            Self::Registry(reports) => reports.iter().all(|report| report.passed),
            Self::Release(report) => report.passed(),
        }
    }
}

/// The programs that Consign is compared with: their names, and Debian's package.
const TOOLS: [(&str, &str); 4] = [
    ("libdeflate-gzip", "libdeflate-tools"),
    ("libdeflate-gunzip", "libdeflate-tools"),
    ("openssl", "openssl"),
    ("pigz", "pigz"),
];

/// One subject's numbers.
#[derive(Debug, Serialize)]
struct Report {
    subject: Comparison,
    runs: usize,
    workers: usize,
    ours: Measured,
    reference: Measured,
    /// What has no limit and is good to know.
    others: Vec<Measured>,
    /// The median of the ratios of ours to the reference, run by run.
    ratio: f64,
    limit: f64,
    /// The same of the processor time, which tells more where the machine is busy with something else.
    cpu_ratio: Option<f64>,
    /// The size of all archives.
    ours_bytes: u64,
    reference_bytes: u64,
    memory_budget_bytes: u64,
    passed: bool,
}

/// Measures and tells whether every limit is kept.
pub(crate) fn run(arguments: &BenchArgs) -> Result<bool> {
    let subjects = if arguments.subjects.is_empty() { Subject::value_variants() } else { &arguments.subjects };
    let runs = arguments.runs.get();
    let mut ground = Ground { given: arguments.consign.clone(), consign: None, scene: None };
    let mut all = Vec::new();
    for subject in subjects {
        all.push(match subject {
            Subject::Package => compare(&mut ground, Comparison::Package, runs)?,
            Subject::Verify => compare(&mut ground, Comparison::Verify, runs)?,
            Subject::VerifySigned => compare(&mut ground, Comparison::VerifySigned, runs)?,
            Subject::Install => {
                let report = install::measure(ground.consign(&install::TOOLS)?, runs)?;
                install::print(&report);
                Numbers::Install(report)
            }
            Subject::Publish => {
                let consign = ground.consign(&publish::TOOLS)?.to_owned();
                let report = publish::measure(ground.scene(&consign, Extent::UPLOAD)?, runs)?;
                publish::print(&report);
                Numbers::Publish(report)
            }
            Subject::Installer => Numbers::Installer(installer::measure(arguments.installer.as_deref(), runs)?),
            Subject::Registry => Numbers::Registry(registry::measure(arguments.server.as_deref(), runs)?),
            Subject::Release => {
                let report = release::measure(arguments.server.as_deref(), runs)?;
                release::print(&report);
                Numbers::Release(report)
            }
        });
    }
    if let Some(path) = &arguments.json {
        fs_err::write(path, pretty(&all))?;
    }
    Ok(all.iter().all(Numbers::passed))
}

/// What comparisons need: the command, and the scene that was set last.
struct Ground {
    given: Option<Utf8PathBuf>,
    consign: Option<Utf8PathBuf>,
    scene: Option<(Extent, Scene)>,
}

impl Ground {
    /// The command to measure, where the programs to compare it with are there.
    fn consign(&mut self, tools: &[(&str, &str)]) -> Result<&Utf8Path> {
        for (tool, package) in tools {
            ensure!(
                Program::new(*tool).arg("-h").output().is_ok(),
                "`{tool}` is not installed: `apt-get install {package}`"
            );
        }
        if self.consign.is_none() {
            self.consign = Some(self.given.clone().map_or_else(build, |given| Ok(given.canonicalize_utf8()?))?);
        }
        self.consign.as_deref().context("it was built just now")
    }

    /// A scene of that extent: the one that is set, or another.
    fn scene(&mut self, consign: &Utf8Path, extent: Extent) -> Result<&Scene> {
        if self.scene.as_ref().is_none_or(|(known, _)| *known != extent) {
            // The scene before goes first: two of them need a lot of space.
            drop(self.scene.take());
            self.scene = Some((extent, Scene::set(consign, extent)?));
        }
        self.scene.as_ref().map(|(_, scene)| scene).context("there is no scene")
    }
}

fn compare(ground: &mut Ground, comparison: Comparison, runs: usize) -> Result<Numbers> {
    let consign = ground.consign(&TOOLS)?.to_owned();
    let extent = if comparison == Comparison::VerifySigned { Extent::LARGE } else { Extent::USUAL };
    let scene = ground.scene(&consign, extent)?;
    let report = measure(scene, comparison, runs)?;
    print(&report);
    Ok(Numbers::Compared(report))
}

/// Builds the command as it is released, and gives back its path.
fn build() -> Result<Utf8PathBuf> {
    let root = repository::root();
    let program = Program::new("cargo").args(["build", "--release", "--bin", "consign"]).directory(&root);
    let status = program.stream(&|line| match line {
        Line::Output(line) | Line::Error(line) => eprintln!("{line}"),
    })?;
    ensure!(status.success(), "`{}` failed", program.shown());
    let workspace = consign::world::cargo::workspace("cargo", &root)?;
    Ok(workspace.target_directory.join("release").join(format!("consign{}", std::env::consts::EXE_SUFFIX)))
}

fn measure(scene: &Scene, subject: Comparison, runs: usize) -> Result<Report> {
    let workers = std::thread::available_parallelism()?.get();
    let contenders = contenders(scene, subject, workers);
    let mut measured = measure::in_turns(&contenders, runs)?.into_iter();
    let ours = measured.next().context("nothing was measured")?;
    let reference = measured.next().context("nothing was measured")?;
    let ratio = measure::median(ours.wall_ms.iter().zip(&reference.wall_ms).map(|(ours, other)| ours / other));
    let cpu_ratio = ours.cpu_ms.zip(reference.cpu_ms).map(|(ours, other)| ours / other);
    let (ours_bytes, reference_bytes) = scene.sizes()?;
    let memory_budget_bytes = scene.largest_pair()? * workers as u64 + (32 << 20);
    let passed = ratio <= subject.limit()
        && ours_bytes <= reference_bytes
        && ours.peak_bytes.is_none_or(|peak| peak <= memory_budget_bytes);
    Ok(Report {
        subject,
        runs,
        workers,
        ours,
        reference,
        others: measured.collect(),
        ratio,
        limit: subject.limit(),
        cpu_ratio,
        ours_bytes,
        reference_bytes,
        memory_budget_bytes,
        passed,
    })
}

/// Consign first, then what it is held against, then what is good to know.
fn contenders(scene: &Scene, subject: Comparison, workers: usize) -> Vec<Contender> {
    let reference = match subject {
        Comparison::VerifySigned => String::new(),
        Comparison::Package => parallel(workers, "ls *.tar", "libdeflate-gzip -6 -k \"$0\""),
        Comparison::Verify => parallel(
            workers,
            "ls *.tar.gz",
            "openssl dgst -sha256 \"$0\" && libdeflate-gunzip -c \"$0\" | openssl dgst -sha256",
        ),
    };
    match subject {
        Comparison::Package => vec![
            Contender::new("consign package", scene.package()).clearing(scene.packages()),
            Contender::new("libdeflate-gzip -6; sha256sum", scene.compress(&reference)).clearing(scene.compressed()),
            Contender::new("pigz -6; sha256sum", scene.compress(&format!("pigz -6 -k -n -p {workers} *.tar")))
                .clearing(scene.compressed()),
            Contender::new("consign package --binaries", scene.take_in()).clearing(scene.packages()),
        ],
        Comparison::Verify => vec![
            Contender::new("consign verify", scene.verify()),
            Contender::new("openssl; libdeflate-gunzip, openssl", scene.check(&reference)),
        ],
        Comparison::VerifySigned => vec![
            Contender::new("consign verify --pubkey", scene.verify_signed()),
            Contender::new("consign verify", scene.verify()),
        ],
    }
}

/// A shell's line that runs another for every name, as many at once as there are processors.
fn parallel(workers: usize, names: &str, line: &str) -> String {
    format!("{names} | xargs -P {workers} -n 1 sh -c '{line}'")
}

fn print(report: &Report) {
    println!("{:?}, {} runs, {} workers", report.subject, report.runs, report.workers);
    for measured in [&report.ours, &report.reference].into_iter().chain(&report.others) {
        let cpu = measured
            .cpu_ms
            .map_or("processor time not measured".to_owned(), |cpu| format!("{cpu:7.0} ms of processors"));
        println!("  {:<36} {:7.0} ms  {cpu}", measured.name, measured.median_ms);
    }
    let cpu = report.cpu_ratio.map_or(String::new(), |ratio| format!("; of the processor time {ratio:.3}"));
    println!("  ratio {:.3}, at most {:.2}{cpu}", report.ratio, report.limit);
    if report.subject == Comparison::Package {
        let percent = report.ours_bytes as f64 / report.reference_bytes as f64 * 100.0;
        println!("  archives {} bytes, {percent:.3} % of {}", report.ours_bytes, report.reference_bytes);
    }
    let peak = report.ours.peak_bytes.map_or("not measured: /usr/bin/time is not installed".to_owned(), megabytes);
    println!("  peak memory {peak}, at most {}", megabytes(report.memory_budget_bytes));
    println!("  {}", if report.passed { "passed" } else { "FAILED" });
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A directory's files with this ending, sorted.
fn files_in(directory: &Utf8Path, ending: &str) -> Result<Vec<Utf8PathBuf>> {
    let names = consign::world::files::list(directory)?;
    Ok(names.into_iter().filter(|(name, _)| name.ends_with(ending)).map(|(name, _)| directory.join(name)).collect())
}
