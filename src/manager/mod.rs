//! The release manager: brings artifacts into environments, by the rules.
//!
//! A [`Manager`] joins the registry, a [`Plan`] of environments, and deployers. What is asked for is
//! judged in [`request`], waits its turn in the database, is judged again and written by [`queue`], and what
//! becomes of it is noted by [`observe`]. [`auto`] and [`recovery`] ask by themselves, as policies say. Everything that is
//! begun can be begun again by another process: what is known of it is in the database and in the
//! environment itself. Who may ask for what is decided in front of it; here everybody may.

pub mod auto;
pub mod deployer;
mod errands;
mod found;
mod landing;
mod observe;
pub mod plan;
mod policies;
mod queue;
mod recovery;
mod report;
mod repositories;
pub mod request;
mod ruling;
mod views;
mod watch;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::artifacts::Registry;
pub use plan::{Deployer, GitSettings, Plan};
pub use queue::Turn;
pub use watch::{Told, Watcher};

/// How often it is looked for work that nobody told of.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Tells the time. It is handed down, so that it can be another one.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The release manager.
#[derive(Clone)]
pub struct Manager(Arc<Parts>);

struct Parts {
    registry: Registry,
    plan: Plan,
    /// Where deployers keep what they need not fetch again.
    data: Utf8PathBuf,
    /// What this process is called among its replicas.
    owner: String,
    clock: Clock,
    /// Somebody has put something into the queue.
    wake: Notify,
    watcher: OnceLock<Watcher>,
    /// What reads the configuration repositories, where that is wanted.
    readers: OnceLock<repositories::Readers>,
}

impl Manager {
    /// A manager over a registry. Nothing happens by itself before [`Manager::run`].
    pub fn new(registry: Registry, plan: Plan, data: Utf8PathBuf, owner: String, clock: Clock) -> Self {
        Self(Arc::new(Parts {
            registry,
            plan,
            data,
            owner,
            clock,
            wake: Notify::new(),
            watcher: OnceLock::new(),
            readers: OnceLock::new(),
        }))
    }

    /// What there is to manage.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// What rulings stand on at this moment.
    async fn ground(&self) -> ruling::Ground {
        ruling::Ground {
            plan: self.0.plan.clone(),
            // A root that cannot be read is nobody's yes.
            believed: self.0.registry.believed().await.ok(),
            now: self.now(),
        }
    }

    /// Lets those who wait for work look at once.
    pub fn wake(&self) {
        self.0.wake.notify_waiters();
    }

    /// Works until this is dropped: one task for every deployer, and one for what happens by itself.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        for name in self.0.plan.deployers().keys().cloned() {
            tasks.spawn(self.clone().work(name));
        }
        tasks.spawn(self.clone().reconcile());
        tasks.spawn(self.clone().read_ahead());
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the release manager ended");
            }
        }
    }

    /// Does what nobody asks for, again and again.
    async fn reconcile(self) {
        loop {
            if let Err(failure) = self.observe().await {
                tracing::warn!(cause = failure.chain().join(": "), "what was reported could not be noted");
            }
            if let Err(failure) = self.release_by_itself().await {
                tracing::warn!(cause = failure.chain().join(": "), "what is released by itself could not be");
            }
            if let Err(failure) = self.roll_back_by_itself().await {
                tracing::warn!(cause = failure.chain().join(": "), "what is rolled back by itself could not be");
            }
            self.rest().await;
        }
    }

    /// Waits until there may be something to do.
    async fn rest(&self) {
        let _ = tokio::time::timeout(LOOK_EVERY, self.0.wake.notified()).await;
    }
}
