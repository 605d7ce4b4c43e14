//! How often landing is tried, and how long is waited in between.
//!
//! The main item is [`Patience`]. Nothing here waits, and nothing knows what is tried.

use std::time::Duration;

use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// How often somebody else may be faster.
const MAX_RACES: u32 = 20;
/// How often the remote may be out of reach.
const MAX_OUTAGES: u32 = 3;
/// How long is waited after the first failure; it doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// How long is waited at most where somebody else was faster: who waits longer is overtaken by more of them.
const RACE_PAUSE: Duration = Duration::from_millis(80);
/// How long is waited at most where the remote is out of reach.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);

/// What has come of trying so far.
#[derive(Debug, Default)]
pub(super) struct Patience {
    races: u32,
    outages: u32,
}

impl Patience {
    /// How long to wait at most before the next try; where there is none, the failure, as it is.
    pub(super) fn after(&mut self, failure: Failure) -> Result<Duration> {
        let (count, most, longest) = match failure.code() {
            Code::PushRejected => (&mut self.races, MAX_RACES, RACE_PAUSE),
            Code::RemoteUnavailable | Code::CommandTimeout => (&mut self.outages, MAX_OUTAGES, OUTAGE_PAUSE),
            _ => return Err(failure),
        };
        *count += 1;
        if *count >= most {
            return Err(failure);
        }
        Ok(FIRST_PAUSE.saturating_mul(1 << (*count - 1).min(16)).min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries until it comes to something: how often, and with what failure.
    fn tries(mut outcome: impl FnMut(u32) -> Option<Code>) -> (u32, Option<String>) {
        let mut patience = Patience::default();
        for number in 1.. {
            let Some(code) = outcome(number) else { return (number, None) };
            if let Err(failure) = patience.after(Failure::new(code, format!("failure {number}"))) {
                return (number, Some(failure.to_string()));
            }
        }
        unreachable!("it ends")
    }

    #[test]
    fn what_may_pass_is_tried_again_and_the_last_failure_is_told() {
        use Code::{CommandTimeout, KeyInvalid, PushRefused, PushRejected, RemoteForbidden, RemoteUnavailable};
        let until = |last: u32, code: Code| tries(move |number| (number < last).then_some(code));
        for (what, (calls, failure), expected) in [
            ("at once", until(1, PushRejected), (1, None)),
            ("refused by a rule", tries(|_| Some(PushRefused)), (1, Some(1))),
            ("not let in", tries(|_| Some(RemoteForbidden)), (1, Some(1))),
            ("without a key", tries(|_| Some(KeyInvalid)), (1, Some(1))),
            ("at the third", until(3, PushRejected), (3, None)),
            ("at the last", until(20, PushRejected), (20, None)),
            ("others are always faster", tries(|_| Some(PushRejected)), (20, Some(20))),
            ("at the last in reach", until(3, RemoteUnavailable), (3, None)),
            ("never in reach", tries(|_| Some(RemoteUnavailable)), (3, Some(3))),
            ("never in time", tries(|_| Some(CommandTimeout)), (3, Some(3))),
            // An outage in between takes nothing from the races, nor they from it.
            (
                "both",
                tries(|number| Some(if number % 8 == 0 { RemoteUnavailable } else { PushRejected })),
                (22, Some(22)),
            ),
            (
                "one and then the other",
                tries(|number| Some(if number < 3 { PushRejected } else { PushRefused })),
                (3, Some(3)),
            ),
        ] {
            let expected = (expected.0, expected.1.map(|number| format!("failure {number}")));
            assert_eq!((calls, failure), expected, "{what}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = |code: Code| {
            let mut patience = Patience::default();
            std::iter::from_fn(move || patience.after(Failure::new(code, "")).ok())
                .map(|pause| pause.as_millis())
                .collect::<Vec<_>>()
        };
        assert_eq!(pauses(Code::RemoteUnavailable), [20, 40]);
        let races = pauses(Code::PushRejected);
        assert_eq!((races.len(), &races[..4]), (19, &[20, 40, 80, 80][..]));
        assert!(races[4..].iter().all(|pause| *pause == 80));
    }
}
