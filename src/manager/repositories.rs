//! Configuration repositories as others see them: read beside whatever is being landed in them.
//!
//! The main item is [`Manager::sight`]. A repository is asked again when somebody wants to know and the last time is more
//! than moments ago; nobody waits long for it. One that is out of reach is told of as it was, and with the reason.
//! Git runs on threads of its own, some at a time. What is made of what was read is decided in [`super::views`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::Manager;
use super::deployer::git::{ConfigRepository, History, Settings};
use super::plan::Deployer;
use crate::model::failure::Result;
use crate::model::found::Repository;
use crate::model::{Code, Failure};

/// How old may be what is answered from without the remote being asked.
const FRESH: SignedDuration = SignedDuration::from_secs(2);
/// The same where the remote was out of reach just before.
const AFTER_TROUBLE: SignedDuration = SignedDuration::from_secs(15);
/// How long somebody waits for the remote; it is gone on asking after that.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many questions are put to copies at once.
const AT_ONCE: usize = 4;

/// What reads every configuration repository.
pub(super) struct Readers {
    readers: BTreeMap<String, Arc<Reader>>,
    slots: Arc<Semaphore>,
}

struct Reader {
    settings: Settings,
    /// Whoever has it asks the remote.
    turn: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Known>,
}

/// What is known of one repository.
#[derive(Clone, Default)]
struct Known {
    history: Option<History>,
    /// The commit that is read.
    commit: Option<String>,
    /// When the remote was asked last.
    asked_at: Option<Timestamp>,
    /// When it was asked last and answered.
    fetched_at: Option<Timestamp>,
    trouble: Option<String>,
}

/// A repository as it was just seen.
pub(super) struct Sight {
    /// How fresh it is.
    pub(super) repository: Repository,
    history: Option<History>,
}

impl Manager {
    /// Lets the configuration repositories be read. Without this only what this server has released is told of.
    pub fn read_repositories(&self) {
        let readers = self.plan().deployers().iter().map(|(name, Deployer::Git(git))| {
            let (settings, known) = (self.settings(name, git), Mutex::default());
            (name.clone(), Arc::new(Reader { settings, turn: Arc::default(), known }))
        });
        let readers = Readers { readers: readers.collect(), slots: Arc::new(Semaphore::new(AT_ONCE)) };
        // Who says it twice has said it.
        let _ = self.0.readers.set(readers);
    }

    /// Reads everything once, so that the first question does not wait for it.
    pub(super) async fn read_ahead(self) {
        for deployer in self.plan().deployers().keys() {
            self.sight(deployer, None).await;
        }
    }

    /// A repository as it is now, and no older than an instant, as far as the remote answers in time. Nothing, where
    /// repositories are not read.
    pub(super) async fn sight(&self, deployer: &str, since: Option<Timestamp>) -> Option<Sight> {
        let reader = self.0.readers.get()?.readers.get(deployer)?.clone();
        let deadline = Instant::now() + PATIENCE;
        // Who waited for somebody else's question may have to put their own.
        for _ in 0..2 {
            let began = self.now();
            if !reader.known().is_due(began, since) || Instant::now() >= deadline {
                break;
            }
            match reader.turn.clone().try_lock_owned() {
                Ok(turn) => {
                    let reader = reader.clone();
                    let asking = tokio::task::spawn_blocking(move || {
                        reader.ask(began);
                        drop(turn);
                    });
                    let _ = timeout_at(deadline, asking).await;
                }
                Err(_) => drop(timeout_at(deadline, reader.turn.lock()).await),
            }
        }
        let Known { history, commit, fetched_at, trouble, .. } = reader.known();
        let is_first = fetched_at.is_none() && trouble.is_none();
        let trouble = if is_first { Some("it is still being fetched for the first time".to_owned()) } else { trouble };
        let repository = Repository { deployer: deployer.to_owned(), commit, fetched_at, trouble };
        Some(Sight { repository, history })
    }

    /// What a copy answers. One that cannot be read is in trouble, and answers nothing.
    pub(super) async fn ask<T: Default + Send + 'static>(
        &self,
        sight: &mut Sight,
        question: impl FnOnce(&History) -> Result<T> + Send + 'static,
    ) -> T {
        let (Some(history), Some(readers)) = (sight.history.clone(), self.0.readers.get()) else { return T::default() };
        let Ok(slot) = readers.slots.clone().acquire_owned().await else { return T::default() };
        let asked = tokio::task::spawn_blocking(move || {
            let answer = question(&history);
            drop(slot);
            answer
        });
        let answer = asked.await.unwrap_or_else(|error| {
            Err(Failure::new(Code::GitUnusable, "reading the configuration repository was interrupted").because(error))
        });
        answer.unwrap_or_else(|failure| {
            tracing::warn!(
                deployer = sight.repository.deployer,
                cause = failure.chain().join(": "),
                "a configuration repository cannot be read"
            );
            sight.repository.trouble = Some(failure.to_string());
            T::default()
        })
    }
}

impl Reader {
    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks the remote, and reads what is new.
    fn ask(&self, began: Timestamp) {
        let asked = self.fetch();
        if let Err(failure) = &asked {
            tracing::warn!(
                address = self.settings.address,
                cause = failure.chain().join(": "),
                "a configuration repository could not be looked at"
            );
        }
        self.note(|known| {
            known.asked_at = Some(began);
            known.trouble = asked.as_ref().err().map(ToString::to_string);
            if asked.is_ok() {
                known.fetched_at = Some(began);
            }
        });
    }

    fn fetch(&self) -> Result<()> {
        let repository = ConfigRepository::open_to_read(self.settings.clone())?;
        let history = self.known().history.unwrap_or_else(|| repository.seen());
        let read = |history: &History| -> Result<()> {
            let commit = history.tip()?.map(|commit| commit.to_string());
            history.warm()?;
            self.note(|known| (known.history, known.commit) = (Some(history.clone()), commit));
            Ok(())
        };
        // What an earlier process has seen counts until the remote has answered.
        if self.known().history.is_none() {
            read(&history)?;
        }
        repository.look()?;
        read(&history)
    }
}

impl Known {
    fn is_due(&self, now: Timestamp, since: Option<Timestamp>) -> bool {
        let Some(asked_at) = self.asked_at else { return true };
        let pause = if self.trouble.is_some() { AFTER_TROUBLE } else { FRESH };
        let is_behind = self.trouble.is_none() && since.is_some_and(|since| since > asked_at);
        now.duration_since(asked_at) >= pause || is_behind
    }
}
