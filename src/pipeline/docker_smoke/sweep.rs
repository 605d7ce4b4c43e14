//! What stands at the engine because of us: the labels that say so, and taking it away.
//!
//! A run takes its own things away in the end. What a killed run left goes with the next one: only
//! what has our labels, and only if the process that they name has surely ended.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::world::docker::{Engine, Patience};
use crate::world::owner::{Life, Owner};

/// The label that holds the run's id.
pub const RUN_LABEL: &str = "consign.smoke.run";
/// The label that holds the process that owns the run.
pub const OWNER_LABEL: &str = "consign.smoke.owner";
/// The label that holds the service's name.
pub const SERVICE_LABEL: &str = "consign.smoke.service";

/// How long taking everything away may take.
const TIME: Duration = Duration::from_secs(120);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(50);
/// Images can be removed only after those that are made of them.
const MAX_ROUNDS: usize = 40;

/// The labels of a run.
pub(super) fn labels(run: &str, owner: &Owner) -> HashMap<String, String> {
    HashMap::from([(RUN_LABEL.to_owned(), run.to_owned()), (OWNER_LABEL.to_owned(), owner.to_string())])
}

/// Takes away what a run of ours has left, and says what it could not.
pub(super) fn own(engine: &Engine, run: &str, listener: &dyn Listener) -> Result<()> {
    remove(engine, &format!("{RUN_LABEL}={run}"), |_| true, listener)
}

/// Takes away what runs have left whose process has ended.
pub(super) fn dead(engine: &Engine, listener: &dyn Listener) -> Result<()> {
    let has_ended = |labels: &HashMap<String, String>| {
        let owner = labels.get(OWNER_LABEL).and_then(|owner| owner.parse::<Owner>().ok());
        labels.contains_key(RUN_LABEL) && owner.is_some_and(|owner| owner.life() == Life::Ended)
    };
    remove(engine, OWNER_LABEL, has_ended, listener)
}

fn remove(
    engine: &Engine,
    label: &str,
    is_ours: impl Fn(&HashMap<String, String>) -> bool,
    listener: &dyn Listener,
) -> Result<()> {
    let patience = Patience::stubborn(TIME);
    let mut failures = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let found = engine.labelled(label, &patience)?;
        let found: Vec<_> = found.into_iter().filter(|leftover| is_ours(&leftover.labels)).collect();
        if found.is_empty() {
            return Ok(());
        }
        let before = found.len();
        failures.clear();
        for leftover in &found {
            if let Err(failure) = engine.remove(leftover, &patience) {
                failures.push(failure.chain().join(": "));
            }
        }
        // Nothing moves any more: somebody else uses what is left.
        if failures.len() == before {
            break;
        }
        // What the engine is removing itself takes a moment.
        patience.sleep(PAUSE)?;
    }
    for failure in failures {
        listener.hear(&Event::Warning { message: failure });
    }
    Ok(())
}
