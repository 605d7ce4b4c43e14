//! Who may go on: services wait here for a free place, for those that they need, and for those that
//! need them.
//!
//! A place is held while a service is at work, and given back while it waits, so that services that
//! need each other cannot starve each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::matrix::ServiceName;
use crate::model::failure::Result;
use crate::world::interrupt::Interrupt;

/// How often somebody who waits looks whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// How far a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not healthy yet.
    Pending,
    /// Others may use it.
    Healthy,
    /// It has ended as expected.
    Passed,
    /// It has ended otherwise.
    Failed,
}

/// Where everybody looks.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    phases: BTreeMap<ServiceName, Phase>,
    free: usize,
}

/// A place at work. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Board);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.changed.notify_all();
    }
}

impl Board {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a ServiceName>, places: usize) -> Self {
        let phases = names.map(|name| (name.clone(), Phase::Pending)).collect();
        Self { state: Mutex::new(State { phases, free: places.max(1) }), changed: Condvar::new() }
    }

    /// Waits for a place.
    pub(super) fn place(&self, interrupt: &Interrupt) -> Result<Place<'_>> {
        self.wait(interrupt, |state| {
            let free = state.free > 0;
            if free {
                state.free -= 1;
            }
            free.then_some(())
        })?;
        Ok(Place(self))
    }

    /// Says how far a service is.
    pub(super) fn set(&self, name: &ServiceName, phase: Phase) {
        self.state().phases.insert(name.clone(), phase);
        self.changed.notify_all();
    }

    /// Waits until all of these can be used; gives back the first that never will.
    pub(super) fn usable(&self, names: &BTreeSet<ServiceName>, interrupt: &Interrupt) -> Result<Option<ServiceName>> {
        self.wait(interrupt, |state| {
            let phase = |name: &ServiceName| state.phases.get(name).copied().unwrap_or(Phase::Failed);
            if let Some(failed) = names.iter().find(|name| phase(name) == Phase::Failed) {
                return Some(Some(failed.clone()));
            }
            names.iter().all(|name| phase(name) != Phase::Pending).then_some(None)
        })
    }

    /// Waits until all of these have ended.
    pub(super) fn ended(&self, names: &[&ServiceName], interrupt: &Interrupt) -> Result<()> {
        self.wait(interrupt, |state| {
            let has_ended =
                |name: &&ServiceName| matches!(state.phases.get(*name), None | Some(Phase::Passed | Phase::Failed));
            names.iter().all(has_ended).then_some(())
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, interrupt: &Interrupt, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        let mut state = self.state();
        loop {
            interrupt.check()?;
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            state = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
