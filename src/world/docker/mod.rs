//! The container engine: Docker from 20.10 on, or Podman's Docker socket.
//!
//! [`Engine::connect`] finds it and agrees on a version of the API; the methods in the files beside
//! this one are its verbs. Inside, everything is asynchronous; outside, nothing is: every call blocks
//! its thread, and threads may call at the same time. [`Patience`] says how long a call may take and
//! whether a request to stop ends it, for cleaning up goes on after one.
//!
//! What is run in which order, and what its output means, is not this module's business.

mod address;
mod archive;
mod authority;
mod containers;
mod images;
mod leftovers;
mod output;
mod probe;
mod serving;
mod trouble;

use std::future::Future;
use std::time::{Duration, Instant};

use bollard::{ClientVersion, Docker};
use camino::Utf8PathBuf;
use tokio::runtime::{Builder, Runtime};

pub use address::{Address, candidates};
pub use archive::{Content, Entry};
pub use containers::{Container, Exec, State};
pub use images::{Build, Image};
pub use leftovers::{Kind, Leftover};
pub use output::{Output, Stream};
pub use probe::Answer;
pub use serving::{Gateway, Server};

use super::interrupt::Interrupt;
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// The newest version of the API that is spoken; an older engine is spoken to in its own.
const NEWEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 53 };
/// The API of Docker 20.10.
const OLDEST: (usize, usize) = (1, 41);
/// How long an answer may take when nothing else is said; a build's answer ends with the build.
const CLIENT_TIMEOUT_S: u64 = 3600;
/// How often a waiting call looks whether it should stop.
const TICK: Duration = Duration::from_millis(50);
/// How long an engine may take to say who it is.
const GREETING: Duration = Duration::from_secs(20);

/// A connection to an engine.
pub struct Engine {
    docker: Docker,
    runtime: Runtime,
    address: Address,
    about: About,
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct About {
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// The version of the API that was agreed on.
    pub api: String,
    /// The operating system of its containers.
    pub os: String,
    /// The architecture, in Docker's words: `amd64`, `arm64`.
    pub architecture: String,
    /// The system that it runs on, in its own words.
    pub system: String,
    /// Where it keeps images.
    #[serde(skip)]
    pub root: Option<Utf8PathBuf>,
}

/// How long a call may take, and whether a request to stop ends it.
#[derive(Clone, Debug)]
pub struct Patience {
    until: Instant,
    interrupt: Option<Interrupt>,
}

impl Patience {
    /// Until an instant, or until it is asked to stop.
    pub fn until(until: Instant, interrupt: &Interrupt) -> Self {
        Self { until, interrupt: Some(interrupt.clone()) }
    }

    /// For a time, or until it is asked to stop.
    pub fn of(time: Duration, interrupt: &Interrupt) -> Self {
        Self::until(Instant::now() + time, interrupt)
    }

    /// For a time, whatever is asked: to clean up.
    pub fn stubborn(time: Duration) -> Self {
        Self { until: Instant::now() + time, interrupt: None }
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// The same, but no longer than a time from now.
    #[must_use]
    pub fn at_most(&self, time: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + time), interrupt: self.interrupt.clone() }
    }

    /// Sleeps, if there is time left; wakes up and fails when it is asked to stop.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        let until = self.until.min(Instant::now() + time);
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
    }

    /// Fails when it is asked to stop.
    pub fn check(&self) -> Result<()> {
        self.interrupt.as_ref().map_or(Ok(()), Interrupt::check)
    }
}

impl Engine {
    /// Connects to the first of the addresses where somebody answers.
    pub fn connect(addresses: &[Address], interrupt: &Interrupt) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("engine")
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Code::Io, "failed to start a thread for the engine").because(error))?;
        let mut first = None;
        for address in addresses {
            match runtime.block_on(greet(address, interrupt)) {
                Ok((docker, about)) => return Ok(Self { docker, runtime, address: address.clone(), about }),
                // One that is there and shut says more than one that is not there.
                Err(Greeting::Nobody(failure)) if failure.code() == Code::EngineForbidden => {
                    if first.as_ref().is_none_or(|first: &Failure| first.code() != Code::EngineForbidden) {
                        first = Some(failure);
                    }
                }
                Err(Greeting::Nobody(failure)) => first = first.or(Some(failure)),
                Err(Greeting::Failed(failure)) => return Err(failure),
            }
        }
        Err(first.unwrap_or_else(|| Failure::new(Code::EngineMissing, "there is no place to look for an engine")))
    }

    /// What it says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for an answer.
    fn call<T>(
        &self,
        deed: &str,
        patience: &Patience,
        work: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T> {
        self.attempt(deed, patience, work)?.map_err(|error| trouble::failure(deed, error))
    }

    /// The same, with what the engine refuses as a value.
    fn attempt<T>(&self, deed: &str, patience: &Patience, work: impl Future<Output = T>) -> Result<T> {
        self.runtime.block_on(bounded(deed, patience, work))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("address", &self.address).field("about", &self.about).finish_non_exhaustive()
    }
}

/// Waits for something until the patience is over.
async fn bounded<T>(deed: &str, patience: &Patience, work: impl Future<Output = T>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        patience.check()?;
        let left = patience.until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left.min(TICK), &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) if patience.is_over() => {
                patience.check()?;
                return Err(Failure::new(
                    Code::EngineFailed,
                    format!("failed to {deed}: the engine did not answer in time"),
                ));
            }
            Err(_) => {}
        }
    }
}

/// Why an address is not the one.
enum Greeting {
    Nobody(Failure),
    Failed(Failure),
}

async fn greet(address: &Address, interrupt: &Interrupt) -> Result<(Docker, About), Greeting> {
    let patience = Patience::of(GREETING, interrupt);
    let connected = match address {
        Address::Socket(path) => Docker::connect_with_socket(path.as_str(), CLIENT_TIMEOUT_S, &NEWEST),
        Address::Tcp(host) => Docker::connect_with_http(host, CLIENT_TIMEOUT_S, &NEWEST),
    };
    let refused = |error: bollard::errors::Error| {
        let failure = trouble::unreachable(address, &error);
        if trouble::is_nobody_there(&error) { Greeting::Nobody(failure) } else { Greeting::Failed(failure) }
    };
    let deed = format!("speak with the engine at `{address}`");
    let docker = connected.map_err(refused)?;
    let docker =
        bounded(&deed, &patience, docker.negotiate_version()).await.map_err(Greeting::Failed)?.map_err(refused)?;
    let ClientVersion { major_version, minor_version } = docker.client_version();
    let api = format!("{major_version}.{minor_version}");
    if (major_version, minor_version) < OLDEST {
        let (major, minor) = OLDEST;
        return Err(Greeting::Failed(
            Failure::new(Code::EngineFailed, format!("the engine at `{address}` is too old: it speaks API {api}"))
                .hint(format!("Docker 20.10 (API {major}.{minor}) or later is needed")),
        ));
    }
    let info = bounded(&deed, &patience, docker.info()).await.map_err(Greeting::Failed)?.map_err(refused)?;
    let about = About {
        version: info.server_version.unwrap_or_default(),
        api,
        os: info.os_type.unwrap_or_else(|| "linux".to_owned()),
        architecture: architecture(&info.architecture.unwrap_or_default()).to_owned(),
        system: info.operating_system.unwrap_or_default(),
        root: info.docker_root_dir.map(Utf8PathBuf::from),
    };
    Ok((docker, about))
}

/// The kernel's word for a processor in Docker's words.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i386" | "i686" => "386",
        other => other,
    }
}
