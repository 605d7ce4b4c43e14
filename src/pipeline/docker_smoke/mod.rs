//! Services in containers: what was packaged is installed and run where users are.
//!
//! [`run`] takes a matrix, and gives back a report; beside it, every service has a log. In between, on
//! one screen: connect, sweep what dead runs left, look whether the engine can do it, start every
//! service in a thread of its own, and take everything down whatever happened.

mod board;
mod dockerfile;
mod images;
mod log;
pub mod matrix;
mod preflight;
pub mod report;
mod served;
mod service;
mod sweep;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Digest, Failure};
use crate::world::docker::{Address, Engine, Entry, Patience};
use crate::world::files;
use crate::world::interrupt::{self, Interrupt};
use crate::world::owner::Owner;
use board::{Board, Phase};
use images::Images;
use matrix::{Matrix, Serve, ServiceName};
use report::{Report, Status, Verdict};
use served::Served;
pub use sweep::{OWNER_LABEL, RUN_LABEL, SERVICE_LABEL};

/// What a run needs besides the matrix.
pub struct Options<'a> {
    /// Where an engine may listen.
    pub addresses: &'a [Address],
    /// Where logs and the summary are written.
    pub directory: &'a Utf8Path,
    /// The bundle, for the services that want it.
    pub bundle: Option<&'a Utf8Path>,
    /// Where everybody can fetch it over https; nothing: it is served by the run.
    pub published: Option<&'a str>,
    /// How many services may be at work at once; nothing: what the matrix says.
    pub jobs: Option<usize>,
    /// Whoever hears what happens.
    pub listener: &'a dyn Listener,
}

/// What all services of a run share.
struct Shared<'a> {
    engine: &'a Engine,
    images: Images<'a>,
    board: Board,
    interrupt: &'a Interrupt,
    /// The run's id.
    id: String,
    labels: HashMap<String, String>,
    /// The network of each group of services, by its first name.
    networks: BTreeMap<ServiceName, String>,
    groups: BTreeMap<ServiceName, ServiceName>,
    /// The network of services that stand alone and are served something.
    served_network: Option<String>,
    served: Served,
    bundle: Vec<Entry>,
    directory: &'a Utf8Path,
}

/// How long making a network may take.
const NETWORK_TIME: Duration = Duration::from_secs(60);

/// Runs every service of the matrix. That services fail is a report; a failure means that there is none.
pub fn run(matrix: &Matrix, options: &Options<'_>) -> Result<Report> {
    let begun = Instant::now();
    let _lock = lock(options.directory)?;
    let watch = interrupt::watch()?;
    let engine = Engine::connect(options.addresses, watch.interrupt())?;
    if options.published.is_none() {
        preflight::require_nearness(&engine, matrix)?;
    }
    sweep::dead(&engine, options.listener)?;
    let mut matrix = matrix.clone();
    let skipped = preflight::require(&engine, &mut matrix, &preflight::is_emulated_here)?;
    let owner = Owner::this();
    let id = run_id(&owner);
    let verdicts = attend(&engine, &matrix, &id, &owner, watch.interrupt(), options);
    sweep::own(&engine, &id, options.listener)?;
    let services = verdicts?;
    let failed = services.iter().filter(|verdict| verdict.status == Status::Failed).count();
    let report = Report {
        kind: "consign.docker-smoke/v1",
        status: Status::of(failed == 0),
        run: id,
        engine: engine.about().clone(),
        duration_ms: millis(begun),
        passed: services.len() - failed,
        failed,
        services,
        skipped,
    };
    report::write(&report, options.directory)?;
    watch.interrupt().check()?;
    Ok(report)
}

/// Whether an engine answers that can run the matrix: asked before an hour of building.
pub fn look(matrix: &Matrix, addresses: &[Address]) -> Result<()> {
    let engine = Engine::connect(addresses, &Interrupt::default())?;
    preflight::require_nearness(&engine, matrix)?;
    preflight::require(&engine, &mut matrix.clone(), &preflight::is_emulated_here).map(drop)
}

/// The failure of a stage whose services did not all pass.
pub fn require(report: &Report, directory: &Utf8Path) -> Result<()> {
    let Some(verdict) = report.services.iter().find(|verdict| verdict.status == Status::Failed) else { return Ok(()) };
    let cause = verdict.cause().map_or_else(String::new, |check| format!(": {}: {}", check.name, check.detail));
    Err(Failure::new(Code::SmokeFailed, format!("`{}` failed in its container{cause}", verdict.service))
        .subject(verdict.service.as_str())
        .hint(format!("its whole log is `{}`", directory.join(format!("{}.log", verdict.service)))))
}

fn attend(
    engine: &Engine,
    matrix: &Matrix,
    id: &str,
    owner: &Owner,
    interrupt: &Interrupt,
    options: &Options<'_>,
) -> Result<Vec<Verdict>> {
    let labels = sweep::labels(id, owner);
    let groups = matrix.groups();
    let network = |name: &str| {
        let patience = Patience::of(NETWORK_TIME, interrupt);
        engine.create_network(&format!("consign-{id}{name}"), &labels, &patience)
    };
    let mut networks = BTreeMap::new();
    for leader in groups.values() {
        if !networks.contains_key(leader) {
            networks.insert(leader.clone(), network(&format!("-{leader}"))?);
        }
    }
    let serves = |service: &matrix::Service| service.serve == Some(Serve::Bundle) && options.published.is_none();
    let is_served_alone = matrix.services.iter().any(|(name, service)| serves(service) && !groups.contains_key(name));
    let (served, bundle) = release(matrix, options)?;
    let shared = Shared {
        engine,
        images: Images::new(engine, labels.clone()),
        board: Board::new(matrix.services.keys(), jobs(matrix, options)),
        interrupt,
        id: id.to_owned(),
        labels: labels.clone(),
        networks,
        groups,
        // No service can have a name that would give its network this one.
        served_network: if is_served_alone { Some(network("_bundle")?) } else { None },
        served,
        bundle,
        directory: options.directory,
    };
    side_by_side(&shared, matrix, options.listener)
}

/// Every service in a thread of its own.
fn side_by_side(shared: &Shared<'_>, matrix: &Matrix, listener: &dyn Listener) -> Result<Vec<Verdict>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = matrix
            .services
            .iter()
            .map(|(name, service)| {
                let dependents: Vec<_> = matrix
                    .services
                    .iter()
                    .filter(|(_, other)| other.needs.contains(name))
                    .map(|(name, _)| name)
                    .collect();
                (name, scope.spawn(move || one(shared, name, service, &dependents, listener)))
            })
            .collect();
        threads
            .into_iter()
            .map(|(name, thread)| {
                thread.join().unwrap_or_else(|_| {
                    Err(Failure::new(Code::SmokeFailed, format!("the thread of `{name}` panicked")))
                })
            })
            .collect()
    })
}

/// One service from its first event to its last.
fn one(
    shared: &Shared<'_>,
    name: &ServiceName,
    service: &matrix::Service,
    dependents: &[&ServiceName],
    listener: &dyn Listener,
) -> Result<Verdict> {
    let begun = Instant::now();
    listener.hear(&Event::TaskStarted { stage: Stage::Smoke, task: name.to_string() });
    // Whatever happens here, nobody waits for this service for ever.
    let ending = Ending { board: &shared.board, name, phase: std::cell::Cell::new(Phase::Failed) };
    let verdict = service::attend(shared, name, service, dependents)?;
    if verdict.status == Status::Passed {
        ending.phase.set(Phase::Passed);
    }
    listener.hear(&Event::TaskFinished {
        stage: Stage::Smoke,
        task: name.to_string(),
        bytes: 0,
        duration: begun.elapsed(),
    });
    Ok(verdict)
}

/// Says how a service ended, also when its thread panics.
struct Ending<'a> {
    board: &'a Board,
    name: &'a ServiceName,
    phase: std::cell::Cell<Phase>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.board.set(self.name, self.phase.get());
    }
}

fn jobs(matrix: &Matrix, options: &Options<'_>) -> usize {
    let processors = || std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    // Containers mostly wait: for the network, for each other, for their own disk.
    options.jobs.or(matrix.jobs).unwrap_or_else(|| (4 * processors()).max(8))
}

/// What is served, and what is put into containers.
fn release(matrix: &Matrix, options: &Options<'_>) -> Result<(Served, Vec<Entry>)> {
    let services = || matrix.services.values();
    if !services().any(matrix::Service::wants_bundle) {
        return Ok((Served::default(), Vec::new()));
    }
    let bundle = bundle_of(options)?;
    let serves = services().any(|service| service.serve.is_some());
    let served = if serves { Served::new(bundle, options.published)? } else { Served::default() };
    let has_bundle = services().any(|service| service.has_bundle);
    Ok((served, if has_bundle { bundle_entries(bundle)? } else { Vec::new() }))
}

/// The bundle that services want.
fn bundle_of<'a>(options: &Options<'a>) -> Result<&'a Utf8Path> {
    options.bundle.filter(|bundle| bundle.is_dir()).ok_or_else(|| {
        Failure::new(Code::BundleMissing, "a service wants the bundle, and there is none")
            .hint("make one with `package`, or name one with `--bundle DIR`")
    })
}

/// The files of the bundle, as they are put into containers.
fn bundle_entries(bundle: &Utf8Path) -> Result<Vec<Entry>> {
    let files = files::list(bundle)?.into_iter().filter(|(_, is_file)| *is_file);
    let files = files.map(|(name, _)| Entry::file(format!("bundle/{name}"), bundle.join(&name)));
    Ok(std::iter::once(Entry::directory("bundle")).chain(files).collect())
}

/// A word that no other run has: of its process, and of the moment.
fn run_id(owner: &Owner) -> String {
    let moment = format!("{:?}", std::time::Instant::now());
    Digest::of(format!("{owner} {moment}").as_bytes()).to_string().chars().take(12).collect()
}

/// One run at a time in a directory of logs.
fn lock(directory: &Utf8Path) -> Result<fs_err::File> {
    files::create_directory(directory)?;
    let path: Utf8PathBuf = directory.join(".lock");
    let file = fs_err::File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| files::failed("open", &path, error))?;
    match file.file().try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Failure::new(Code::Busy, format!("another run writes its logs to `{directory}`"))
                .subject(path.as_str())
                .hint("wait for it to end, or use another directory with `--dist`"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(files::failed("lock", &path, error)),
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
