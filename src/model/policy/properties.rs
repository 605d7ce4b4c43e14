//! What holds for any policies and any requests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::tests::{artifact, name, user, written};
use super::*;
use crate::model::artifact::Event;
use crate::model::intent::Intent;

const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];
const BRANCHES: [&str; 4] = ["main", "master", "feature/x", "b-c"];
const PATTERNS: [&str; 8] = ["main", "^master$", "feature/.*", "main|b-c", "(", "a)|(b", ".*", "x{1,3}"];
const GLOBS: [&str; 8] = ["main", "!main", "feature/*", "!{main,master}", "*", "[", "b-c", "!"];
const ZONES: [&str; 5] = ["UTC", "Europe/Copenhagen", "America/New_York", "Pacific/Apia", "Nowhere"];

fn environment() -> impl Strategy<Value = FileName> {
    select(&ENVIRONMENTS[..]).prop_map(name)
}

fn week_time() -> impl Strategy<Value = WeekTime> {
    (0_i8..7, 0_i8..24, select(vec![0_i8, 30])).prop_map(|(day, hour, minute)| WeekTime {
        day: jiff::civil::Weekday::from_monday_zero_offset(day).unwrap(),
        time: jiff::civil::Time::new(hour, minute, 0, 0).unwrap(),
    })
}

/// Instants around changes of clocks, and from one end of time to the other.
fn instant() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        8 => (1_772_000_000_i64..1_794_000_000).prop_map(|second| Timestamp::from_second(second).unwrap()),
        1 => (Timestamp::MIN.as_second()..=Timestamp::MAX.as_second()).prop_map(|second| Timestamp::from_second(second).unwrap()),
        1 => select(vec![Timestamp::MIN, Timestamp::MAX]),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    let spans = prop::collection::vec((week_time(), week_time()).prop_map(|(from, until)| Span { from, until }), 0..4);
    prop_oneof![
        (instant(), instant()).prop_map(|(from, until)| Window::Once { from, until }),
        (select(&ZONES[..]), spans).prop_map(|(zone, spans)| Window::Weekly { time_zone: zone.to_owned(), spans }),
    ]
}

fn freeze() -> impl Strategy<Value = Policy> {
    let environments = subsequence(&ENVIRONMENTS[..], 0..=2);
    (select(vec!["one", "two"]), environments, window()).prop_map(|(called, environments, window)| {
        Policy::Freeze(Freeze {
            name: name(called),
            environments: environments.into_iter().map(name).collect(),
            window,
            actions: Vec::new(),
            actors: Vec::new(),
            reason: None,
        })
    })
}

fn approver() -> impl Strategy<Value = Approver> {
    (select(vec!["ann", "bob", "eve"]), any::<bool>(), any::<bool>()).prop_map(|(who, is_group, required)| Approver {
        subject: (!is_group).then(|| who.to_owned()),
        group: is_group.then(|| "qa".to_owned()),
        role: None,
        required,
    })
}

/// Any policy, usable or not.
fn policy() -> impl Strategy<Value = Policy> {
    let automatic = (select(&BRANCHES[..]), environment())
        .prop_map(|(branch, environment)| Policy::AutoRelease(AutoRelease { branch: branch.to_owned(), environment }));
    let matching = select(vec![BranchMatch::Anchored, BranchMatch::Contains]);
    let restriction = (select(&PATTERNS[..]), environment(), matching).prop_map(|(branch, environment, matching)| {
        Policy::BranchRestriction(BranchRestriction { environment, branch: branch.to_owned(), matching })
    });
    let event = prop::option::of(select(&Event::ALL[..]));
    let glob = || prop::option::of(select(&GLOBS[..]).prop_map(str::to_owned));
    let trigger = (environment(), glob(), glob(), event).prop_map(|(environment, branch, tag, event)| {
        Policy::DeployTrigger(DeployTrigger {
            environment,
            name: None,
            branch,
            tag,
            event,
            commit_message_patterns: Vec::new(),
            app: None,
        })
    });
    let approval = (environment(), 0_u32..4, prop::collection::vec(approver(), 0..4)).prop_map(
        |(environment, minimum, approvers)| {
            Policy::Approval(Approval { environment, name: None, minimum, approvers, rollbacks: Rollbacks::Included })
        },
    );
    let upstream = subsequence(&ENVIRONMENTS[..], 0..=2);
    let soak = (environment(), upstream, any::<bool>(), -1_i64..100_000_000).prop_map(
        |(environment, upstream, all, seconds)| {
            Policy::Soak(Soak {
                environment,
                upstream: upstream.into_iter().map(name).collect(),
                needs: if all { Upstream::All } else { Upstream::Any },
                duration: jiff::SignedDuration::from_secs(seconds),
                waived_by: Vec::new(),
            })
        },
    );
    let hold = (environment(), any::<bool>())
        .prop_map(|(environment, hold)| Policy::HoldAfterRollback(HoldAfterRollback { environment, hold }));
    let evidence = environment().prop_map(|environment| {
        written(&format!(r#"{{"kind":"evidence","environment":"{environment}","tests_passed":true}}"#))
    });
    let after = subsequence(&ENVIRONMENTS[..], 0..=2);
    let progression = (environment(), after).prop_map(|(environment, after)| {
        let after = after.into_iter().map(name).collect();
        Policy::Progression(Progression { environment, after, needs: Upstream::Any })
    });
    let block = (select(&BRANCHES[..]), select(vec!["", "it leaks"])).prop_map(|(branch, reason)| {
        Policy::Block(Block { artifact: name(&artifact(branch).id), reason: reason.to_owned() })
    });
    let recovery = (environment(), any::<bool>())
        .prop_map(|(environment, on_error)| Policy::AutoRollback(AutoRollback { environment, on_error }));
    let moving = prop_oneof![progression, block, recovery];
    prop_oneof![automatic, restriction, trigger, approval, soak, hold, evidence, freeze(), moving]
}

fn intent() -> impl Strategy<Value = Intent> {
    select(vec![
        Intent::ReleaseArtifact,
        Intent::ReleaseBranch { branch: "main".to_owned() },
        Intent::Promote { from_environment: "dev".to_owned() },
        super::tests::rollback(),
        Intent::AutoRelease,
    ])
}

fn request() -> impl Strategy<Value = Request> {
    let kind = select(vec![ActorKind::User, ActorKind::Automation]);
    let running = prop::collection::vec((environment(), instant()), 0..3);
    let votes = prop::collection::vec((select(vec!["ann", "bob", "eve"]), any::<bool>(), instant()), 0..4);
    let came = (environment(), select(vec![Came::Well, Came::Open, Came::ToNothing]));
    let came = prop::collection::btree_map(came.0, came.1, 0..3);
    let history = (running, votes, any::<bool>(), any::<bool>(), came);
    let over = prop::option::of((select(vec!["", "why"]), any::<bool>()));
    (select(&BRANCHES[..]), environment(), intent(), kind, instant(), history, over).prop_map(
        |(branch, environment, intent, kind, at, (running, votes, live_before, held, came), over)| {
            let artifact = artifact(branch);
            let voted = votes.into_iter().map(|(by, yes, at)| Voted {
                by: Actor { groups: BTreeSet::from(["qa".to_owned()]), ..user(by) },
                digest: artifact.digest,
                environment: environment.clone(),
                vote: if yes { Vote::Approve } else { Vote::Reject },
                at,
            });
            let history = History {
                running_since: running.into_iter().collect::<BTreeMap<_, _>>(),
                live_before,
                stage: Stage { from: came.keys().cloned().collect(), beside: Vec::new() },
                came,
                votes: voted.collect(),
                hold: held.then(|| Hold { by: "bob".to_owned(), since: at, candidate: None, reason: None }),
                candidate: None,
            };
            let over_freeze = over.map(|(reason, permitted)| Override { reason: reason.to_owned(), permitted });
            Request { environment, artifact, actor: Actor { kind, ..user("ann") }, intent, at, history, over_freeze }
        },
    )
}

/// A set that came about by writing whatever could be written.
fn applied(policies: &[Policy]) -> PolicySet {
    let (configured, local) = policies.split_at(policies.len().min(2));
    let global = configured.iter().filter(|policy| policy.check().is_ok()).take(1).cloned().collect();
    let mut set = PolicySet::new(name("web"), Global::new(global).unwrap());
    for policy in local {
        // What is refused is not in it.
        drop(set.apply(policy.clone()));
    }
    set
}

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    prop::collection::vec(policy(), 0..10)
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn there_is_an_answer_to_everything(policies in policies(), request in request()) {
        // Policies that nobody checked included.
        let set = PolicySet::stored(name("web"), Global::default(), policies);
        let decision = decide(&set, &request);
        prop_assert_eq!(decision.is_allowed(), decision.reasons.is_empty());
        prop_assert_eq!(decision.is_allowed(), decision.earliest == Some(request.at));
        prop_assert_eq!(&decision, &decide(&set, &request));
    }

    #[test]
    fn at_the_instant_that_was_told_the_reason_is_gone(policies in policies(), request in request()) {
        let set = applied(&policies);
        let decision = decide(&set, &request);
        for reason in decision.reasons {
            let Some(at) = reason.at else { continue };
            prop_assert!(at > request.at);
            let later = decide(&set, &Request { at, ..request.clone() });
            let is_same = |other: &Reason| (&other.policy, other.scope, other.code) == (&reason.policy, reason.scope, reason.code);
            prop_assert!(!later.reasons.iter().any(is_same), "{:?}", reason);
        }
        if let Some(at) = decision.earliest {
            let later = decide(&set, &Request { at, ..request });
            prop_assert!(later.is_allowed());
        }
    }

    #[test]
    fn nothing_is_allowed_before_the_earliest_instant(policies in policies(), request in request(), part in 0.0..1.0_f64) {
        let set = applied(&policies);
        let Some(earliest) = decide(&set, &request).earliest else { return Ok(()) };
        let seconds = earliest.as_second().saturating_sub(request.at.as_second());
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any instant between will do")]
        let between = Timestamp::from_second(request.at.as_second() + (seconds as f64 * part) as i64).unwrap();
        // Between instants that the reasons name, votes could be cast and another freeze begin.
        let told = decide(&set, &request).reasons.iter().all(|reason| reason.at == Some(earliest));
        if told && request.at <= between && between < earliest && request.history.votes.is_empty() {
            let decision = decide(&set, &Request { at: between, ..request });
            prop_assert!(!decision.is_allowed());
        }
    }

    #[test]
    fn the_order_in_which_independent_policies_are_written_does_not_matter(
        policies in policies(), request in request(), swaps in prop::collection::vec((0_usize..10, 0_usize..10), 0..10),
    ) {
        // Those that all stand beside each other, whichever comes first.
        let kept = applied(&policies);
        let mut shuffled = kept.local().to_vec();
        let count = shuffled.len();
        for (one, other) in swaps {
            if count > 0 {
                shuffled.swap(one % count, other % count);
            }
        }
        let global = kept.effective().iter().filter(|standing| standing.scope == Scope::Global).map(|standing| standing.policy.clone()).collect();
        let mut other = PolicySet::new(name("web"), Global::new(global).unwrap());
        for policy in shuffled {
            other.apply(policy).unwrap();
        }
        prop_assert_eq!(kept.digest(), other.digest());
        prop_assert_eq!(decide(&kept, &request), decide(&other, &request));
    }

    #[test]
    fn writing_a_policy_twice_is_writing_it_once(policies in policies(), policy in policy()) {
        let mut set = applied(&policies);
        let first = set.apply(policy.clone()).ok();
        let before = set.clone();
        prop_assert_eq!(set.apply(policy).ok(), first);
        prop_assert_eq!(set, before);
    }

    #[test]
    fn no_way_of_writing_leads_to_a_conflict(policies in policies()) {
        let set = applied(&policies);
        prop_assert!(set.dropped().is_empty());
        let ids: BTreeSet<_> = set.local().iter().map(Policy::id).collect();
        prop_assert_eq!(ids.len(), set.local().len());
        for standing in set.effective() {
            prop_assert!(standing.policy.check().is_ok());
            // Whatever goes by itself may go.
            let Policy::AutoRelease(policy) = standing.policy else { continue };
            let mut asked = super::tests::request(&policy.branch, policy.environment.as_str());
            asked.intent = Intent::AutoRelease;
            let decision = decide(&set, &asked);
            prop_assert!(!decision.reasons.iter().any(|reason| reason.code == ReasonCode::BranchRestricted));
        }
    }

    #[test]
    fn what_is_written_down_is_read_again(policies in policies()) {
        let set = applied(&policies);
        let document = Document::new(set.local().to_vec());
        let read = Document::read(&document.render()).unwrap();
        prop_assert_eq!(&read, &document);
        // And the mirror means the same to whoever searches.
        if let Some(file) = older::write(set.service(), set.local()) {
            for policy in older::read(&file).unwrap().unwrap() {
                let Policy::BranchRestriction(theirs) = policy else { continue };
                let ours = set.local().iter().find_map(|policy| match policy {
                    Policy::BranchRestriction(ours) if ours.environment == theirs.environment => Some(ours),
                    _ => None,
                });
                for branch in BRANCHES {
                    prop_assert_eq!(ours.unwrap().matches(branch), theirs.matches(branch));
                }
            }
        }
    }

    #[test]
    fn automation_never_passes_a_hold(policies in policies(), mut request in request()) {
        request.history.hold = Some(Hold { by: "bob".to_owned(), since: request.at, candidate: None, reason: None });
        request.intent = Intent::AutoRelease;
        prop_assert!(!decide(&applied(&policies), &request).is_allowed());
    }

    #[test]
    fn names_for_dns_are_names_for_dns(text in ".{0,100}", limit in 0_usize..70) {
        let sane = sanitize_dns_name(&text, limit);
        prop_assert!(sane.len() <= limit);
        prop_assert!(sane.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        prop_assert!(!sane.starts_with('-') && !sane.ends_with('-'));
        prop_assert_eq!(sanitize_dns_name(&sane, limit), sane);
    }

    #[test]
    fn any_pattern_is_refused_or_works(pattern in "[a-c!*?{}\\[\\],()|^$\\\\ -]{0,12}", branch in "[a-c/]{0,6}") {
        let cleanup = Cleanup { environment: name("dev"), name: None, branch: pattern.clone(), app: Some(pattern.clone()) };
        let _ = (cleanup.check(), cleanup.matches(&branch), cleanup.app(&branch));
        for matching in [BranchMatch::Anchored, BranchMatch::Contains] {
            let restriction = BranchRestriction { environment: name("dev"), branch: pattern.clone(), matching };
            if restriction.check().is_err() && !pattern.trim().is_empty() {
                prop_assert!(!restriction.matches(&branch));
            }
        }
    }
}
