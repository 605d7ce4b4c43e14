//! Publishing beside `curl -T`, over a link that loses packets.
//!
//! [`measure`] lets the real `consign publish` bring a bundle of twelve archives, 250 MB, to a [`Forge`], and
//! five `curl` at a time bring the same files there, over the same [`link`]. Consign does more in that time:
//! it verifies the bundle, fetches back what was stored and verifies that, and only then makes it visible.

use std::time::Instant;

use anyhow::{Result, ensure};
use consign::world::files;
use consign::world::process::Program;
use serde::Serialize;

use super::forge::{Forge, REPOSITORY};
use super::link::Shape;
use super::measure::{self, Command, Contender, Measured};
use super::megabytes;
use super::scene::Scene;

/// Consign's time by that of `curl`.
const RATIO_LIMIT: f64 = 0.9;
/// How many `curl` there are at a time.
const CURLS: usize = 5;
const LEAST_UPLOADS: usize = 4;
const MEMORY_LIMIT_BYTES: u64 = 64_000_000;
/// From the server's last answer to the end of a run that has nothing to do.
const AGAIN_LIMIT_MS: f64 = 150.0;
/// What the link is made of, for whoever reads the numbers.
const LINK: &str = "a relay in the process of the bench: 20 ms there and back, and of a hundred packets of 1448 bytes \
    one is lost, by chance but the same on every run; what is lost arrives a round trip later (two, where nothing \
    follows it), what follows it waits, and the connection's window is halved, as TCP (RFC 5681) does it; no other limit \
    to the speed";

/// What this needs besides what all of the bench needs: the names, and Debian's package.
pub(super) const TOOLS: [(&str, &str); 2] = [("curl", "curl"), ("libdeflate-gunzip", "libdeflate-tools")];

/// The numbers of publishing.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    runs: usize,
    files: usize,
    bytes: u64,
    link: &'static str,
    ours: Measured,
    reference: Measured,
    /// The median of the ratios of ours to the reference, run by run.
    ratio: f64,
    limit: f64,
    /// The fewest uploads, over all runs, of the most that were under way at a time.
    uploads: usize,
    /// The time of each run that has nothing to do, from the server's last answer to its end.
    again_ms: Vec<f64>,
    /// The most memory that a run with nothing to do ever had.
    again: Measured,
    pub(super) passed: bool,
}

/// Measures all of it on a scene with a large bundle.
pub(super) fn measure(scene: &Scene, runs: usize) -> Result<Report> {
    let commit = Program::new("git").args(["rev-parse", "HEAD"]).directory(scene.workspace()).read()?;
    let forge = Forge::start(&scene.bundle(), commit.trim(), Shape::LOSSY)?;
    let (ours, again, curl) = (ours(scene, &forge), again(scene, &forge), curl(scene, &forge)?);
    let (mut our_samples, mut again_samples, mut curl_samples) = (Vec::new(), Vec::new(), Vec::new());
    let (mut uploads, mut again_ms) = (usize::MAX, Vec::new());
    for _ in 0..runs {
        forge.clear();
        our_samples.push(measure::once(&ours)?);
        ensure!(forge.is_published(), "`consign publish` has published nothing");
        uploads = uploads.min(forge.check()?.most_uploads);
        again_samples.push(measure::once(&again)?);
        again_ms.push(Instant::now().duration_since(forge.check()?.last_answer).as_secs_f64() * 1e3);
        forge.clear();
        curl_samples.push(measure::once(&curl)?);
        forge.check()?;
    }
    let (ours, again) = (measure::summed_up(&ours, &our_samples), measure::summed_up(&again, &again_samples));
    let reference = measure::summed_up(&curl, &curl_samples);
    let ratio = measure::median(ours.wall_ms.iter().zip(&reference.wall_ms).map(|(ours, other)| ours / other));
    let peak = [&ours, &again].into_iter().filter_map(|measured| measured.peak_bytes).max();
    let passed = ratio <= RATIO_LIMIT
        && uploads >= LEAST_UPLOADS
        && peak.is_none_or(|peak| peak < MEMORY_LIMIT_BYTES)
        && again_ms.iter().all(|ms| *ms <= AGAIN_LIMIT_MS);
    let sizes = files::list(&scene.bundle())?.into_iter();
    let sizes: Vec<u64> =
        sizes.map(|(name, _)| Ok(fs_err::metadata(scene.bundle().join(name))?.len())).collect::<Result<_>>()?;
    Ok(Report {
        subject: "publish",
        runs,
        files: sizes.len(),
        bytes: sizes.iter().sum(),
        link: LINK,
        ours,
        reference,
        ratio,
        limit: RATIO_LIMIT,
        uploads,
        again_ms,
        again,
        passed,
    })
}

/// Publishing to the server as a workflow on it does.
fn ours(scene: &Scene, forge: &Forge) -> Contender {
    Contender::new("consign publish", publish(scene, forge))
}

/// The same where it is published already.
fn again(scene: &Scene, forge: &Forge) -> Contender {
    Contender::new("consign publish, once more", publish(scene, forge))
}

fn publish(scene: &Scene, forge: &Forge) -> Command {
    let address = &forge.address;
    let settings = [
        "GH_TOKEN=bench".to_owned(),
        format!("GITHUB_API_URL={address}/api/v3"),
        format!("GITHUB_SERVER_URL={address}"),
    ];
    let words = [scene.command().as_str(), "publish", "--provider", "github", "--target", REPOSITORY];
    let argv = std::iter::once("env".to_owned()).chain(settings).chain(words.map(str::to_owned)).collect();
    Command { argv, directory: scene.workspace() }
}

/// The files one by one, several at a time. `curl` is kept from asking whether it may send.
fn curl(scene: &Scene, forge: &Forge) -> Result<Contender> {
    let names: Vec<String> = files::list(&scene.bundle())?.into_iter().map(|(name, _)| name).collect();
    ensure!(names.iter().all(|name| !name.contains([' ', '\''])), "a name that a shell would take apart");
    let line = format!(
        "printf '%s\\n' {} | xargs -P {CURLS} -I FILE curl --silent --show-error --fail --header 'Expect:' \
         --output /dev/null --upload-file FILE {}/plain/FILE",
        names.join(" "),
        forge.address
    );
    let command = Command { argv: ["sh", "-ec", &line].map(str::to_owned).to_vec(), directory: scene.bundle() };
    Ok(Contender::new("five parallel curl -T", command))
}

/// Shows it.
pub(super) fn print(report: &Report) {
    let Report { runs, files, bytes, link, ours, reference, again, uploads, .. } = report;
    println!("Publish, {runs} runs, {files} files of {bytes} bytes together");
    println!("  the link is {link}");
    for measured in [ours, reference, again] {
        let cpu = measured.cpu_ms.map_or(String::new(), |cpu| format!("  {cpu:7.0} ms of processors"));
        println!("    {:<36} {:7.0} ms{cpu}", measured.name, measured.median_ms);
    }
    println!("  ratio {:.3}, at most {:.2}", report.ratio, report.limit);
    println!("  uploads under way {uploads}, at least {LEAST_UPLOADS}");
    let slowest = report.again_ms.iter().copied().fold(0.0, f64::max);
    println!("  with nothing to do it ends {slowest:.0} ms after the last answer, at most {AGAIN_LIMIT_MS:.0}");
    let peak = [ours, again].into_iter().filter_map(|measured| measured.peak_bytes).max();
    let peak = peak.map_or("not measured: /usr/bin/time is not installed".to_owned(), megabytes);
    println!("  peak memory {peak}, less than {}", megabytes(MEMORY_LIMIT_BYTES));
    println!("  {}", if report.passed { "passed" } else { "FAILED" });
}
