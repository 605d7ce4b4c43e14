//! Soaking, evidence, holds, and what is said about them.

use super::*;

const SOAK: &str = r#"{"kind":"soak","environment":"prod","upstream":["staging"],"duration":"1h"}"#;

fn soaked(policy: &str, asked: &Request) -> Decision {
    decide(&set([written(policy)]), asked)
}

fn running(environments: &[(&str, &str)]) -> Request {
    let mut asked = request("main", "prod");
    asked.history.running_since =
        environments.iter().map(|(environment, since)| (name(environment), at(since))).collect();
    asked
}

#[test]
fn soaking_takes_its_time_to_the_minute() {
    let decision = soaked(SOAK, &running(&[("staging", "2026-11-18T11:01:00Z")]));
    let [reason] = &decision.reasons[..] else { panic!("{decision:?}") };
    assert_eq!((decision.outcome, reason.code), (Outcome::Waiting, ReasonCode::Soaking));
    assert_eq!(reason.sentence, "the artifact has to run in `staging` for 1h, and 1m of that are left");
    assert_eq!(reason.needs, "it stays there until 2026-11-18T12:01:00Z");
    assert_eq!((reason.at, decision.earliest), (Some(at("2026-11-18T12:01:00Z")), Some(at("2026-11-18T12:01:00Z"))));

    assert!(soaked(SOAK, &running(&[("staging", "2026-11-18T11:00:00Z")])).is_allowed());
    assert!(!soaked(SOAK, &running(&[("staging", "2026-11-18T11:00:00.000000001Z")])).is_allowed());
}

#[test]
fn what_left_upstream_soaks_no_longer() {
    let decision = soaked(SOAK, &running(&[("dev", "2026-11-01T00:00:00Z")]));
    assert_eq!(codes(&decision), [ReasonCode::NotUpstream]);
    assert_eq!((decision.outcome, decision.earliest), (Outcome::Waiting, None));
    // A clock that is ahead does not make it shorter.
    assert!(!soaked(SOAK, &running(&[("staging", "2026-11-18T13:00:00Z")])).is_allowed());
    let decision = soaked(SOAK, &running(&[("staging", "9999-12-30T22:00:00.999999999Z")]));
    assert_eq!((codes(&decision), decision.earliest), (vec![ReasonCode::NotUpstream], None));
}

#[test]
fn one_upstream_environment_is_enough_unless_all_are_asked_for() {
    let any = SOAK.replace(r#"["staging"]"#, r#"["eu","us"]"#);
    let all = any.replace("\"duration\"", "\"needs\":\"all\",\"duration\"");
    let long = "2026-11-18T08:00:00Z";
    let short = "2026-11-18T11:30:00Z";
    let end = Some(at("2026-11-18T12:30:00Z"));
    for (running_in, policy, allowed, earliest) in [
        (&[("eu", long), ("us", short)][..], &any, true, Some(at(NOON))),
        (&[("eu", long), ("us", short)], &all, false, end),
        (&[("eu", long)], &any, true, Some(at(NOON))),
        (&[("eu", long)], &all, false, None),
        (&[("us", short)], &any, false, end),
        (&[("eu", long), ("us", long)], &all, true, Some(at(NOON))),
    ] {
        let decision = soaked(policy, &running(running_in));
        assert_eq!((decision.is_allowed(), decision.earliest), (allowed, earliest), "{running_in:?} {policy}");
    }
}

#[test]
fn approval_makes_soaking_unnecessary_for_those_who_may() {
    let waived = SOAK.replace("\"duration\"", r#""waived_by":[{"subject":"bob"}],"duration""#);
    let mut asked = running(&[]);
    let vote = |by: &str, vote: Vote, asked: &Request| Voted {
        by: user(by),
        digest: asked.artifact.digest,
        environment: name("prod"),
        vote,
        at: at("2026-11-18T10:00:00Z"),
    };
    for (by, said, policy, allowed) in [
        ("bob", Vote::Approve, waived.as_str(), true),
        ("bob", Vote::Reject, &waived, false),
        ("eve", Vote::Approve, &waived, false),
        ("bob", Vote::Approve, SOAK, false),
    ] {
        asked.history.votes = vec![vote(by, said, &asked)];
        assert_eq!(soaked(policy, &asked).is_allowed(), allowed, "{by} {said:?} {policy}");
    }
    asked.history.votes = vec![vote("bob", Vote::Approve, &asked)];
    asked.actor = user("bob");
    assert!(!soaked(&waived, &asked).is_allowed());
}

#[test]
fn what_was_there_before_may_return_without_soaking() {
    let mut asked = Request { intent: rollback(), ..running(&[]) };
    assert!(!soaked(SOAK, &asked).is_allowed());
    asked.history.live_before = true;
    assert!(soaked(SOAK, &asked).is_allowed());
    asked.intent = Intent::ReleaseArtifact;
    assert!(!soaked(SOAK, &asked).is_allowed());
}

#[test]
fn durations_are_written_as_people_write_them() {
    for (text, canonical) in [("1h", "1h"), ("PT90M", "1h 30m"), ("2d", "48h"), ("90 minutes", "1h 30m")] {
        let policy = written(&SOAK.replace("1h", text));
        let json = serde_json::to_string(&policy).unwrap();
        assert!(json.contains(&format!(r#""duration":"{canonical}""#)), "{text}: {json}");
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
    }
}

type Change = fn(&mut ArtifactFacts);

#[test]
fn evidence_that_is_missing_is_none() {
    let policy = r#"{"kind":"evidence","environment":"prod","verified_bundle":true,"tests_passed":true,
        "max_high_vulnerabilities":0}"#;
    let set = set([written(policy)]);
    let rows: [(Change, &[ReasonCode]); 9] = [
        (|_| {}, &[]),
        (|artifact| artifact.verdict = Verdict::Unchecked, &[ReasonCode::Unverified]),
        (|artifact| artifact.verdict = Verdict::None, &[ReasonCode::Unverified]),
        (|artifact| artifact.tests = None, &[ReasonCode::TestsMissing]),
        (|artifact| artifact.tests = Some(TestResults::default()), &[ReasonCode::TestsMissing]),
        (|artifact| artifact.tests.as_mut().unwrap().failed = 1, &[ReasonCode::TestsFailed]),
        (|artifact| artifact.vulnerabilities = None, &[ReasonCode::ScanMissing]),
        (|artifact| artifact.vulnerabilities.as_mut().unwrap().high = 1, &[ReasonCode::Vulnerable]),
        (
            |artifact| (artifact.verdict, artifact.tests, artifact.vulnerabilities) = (Verdict::None, None, None),
            &[ReasonCode::Unverified, ReasonCode::TestsMissing, ReasonCode::ScanMissing],
        ),
    ];
    for (change, expected) in rows {
        // Not even the way back leads past it.
        for intent in [Intent::ReleaseArtifact, rollback()] {
            let mut asked = Request { intent, ..request("main", "prod") };
            asked.history.live_before = true;
            change(&mut asked.artifact);
            let decision = decide(&set, &asked);
            assert_eq!(codes(&decision), expected);
            assert_eq!(decision.outcome, if expected.is_empty() { Outcome::Allowed } else { Outcome::Refused });
            change(&mut asked.artifact);
            asked.environment = name("dev");
            assert!(decide(&set, &asked).is_allowed());
        }
    }
    assert_eq!(
        ["passed", "unchecked", "none", "PASSED", ""].map(Verdict::of_word),
        [Verdict::Passed, Verdict::Unchecked, Verdict::None, Verdict::None, Verdict::None]
    );
}

fn held(candidate: &str) -> Hold {
    Hold {
        by: "bob".to_owned(),
        since: at("2026-11-18T09:00:00Z"),
        candidate: Some(candidate.to_owned()),
        reason: None,
    }
}

#[test]
fn automation_does_not_pass_a_hold_and_people_do() {
    let set = set([automatic("main", "prod")]);
    let abc = artifact("main").id;
    let automatic = Request { intent: Intent::AutoRelease, actor: robot("ci"), ..request("main", "prod") };
    assert!(decide(&set, &automatic).is_allowed());

    let mut held_off = automatic.clone();
    held_off.history.hold = Some(held(&abc));
    let decision = decide(&set, &held_off);
    assert_eq!((codes(&decision), decision.outcome), (vec![ReasonCode::Held], Outcome::Waiting));
    assert_eq!(decision.hold, HoldChange::Stays);
    assert!(decision.reasons[0].needs.contains(&abc), "{decision:?}");
    // By whatever name it comes.
    for (actor, intent) in [(robot("ci"), Intent::ReleaseArtifact), (user("ann"), Intent::AutoRelease)] {
        assert!(!decide(&set, &Request { actor, intent, ..held_off.clone() }).is_allowed());
    }

    // Somebody releases what was held off: automation goes on. Somebody releases another one: it does not.
    let mut person = request("main", "prod");
    person.history.hold = Some(held(&abc));
    let decision = decide(&set, &person);
    assert_eq!((decision.is_allowed(), decision.hold), (true, HoldChange::Lifts));
    person.history.hold = Some(held("another"));
    assert_eq!(decide(&set, &person).hold, HoldChange::Stays);
}

#[test]
fn a_person_who_chooses_another_one_than_automation_holds_it_off() {
    let mut asked = request("main", "prod");
    assert_eq!(decide(&set([]), &asked).hold, HoldChange::Stays);
    asked.history.candidate = Some("newer".to_owned());
    assert_eq!(decide(&set([]), &asked).hold, HoldChange::Sets);
    asked.history.candidate = Some(asked.artifact.id.clone());
    assert_eq!(decide(&set([]), &asked).hold, HoldChange::Stays);
    asked.history.candidate = Some("newer".to_owned());
    asked.actor = robot("ci");
    assert_eq!(decide(&set([]), &asked).hold, HoldChange::Stays);
}

#[test]
fn a_rollback_holds_automation_off_unless_a_policy_says_otherwise() {
    let never = r#"{"kind":"hold-after-rollback","environment":"dev","hold":false}"#;
    let asked = Request { intent: rollback(), ..request("main", "dev") };
    assert_eq!(decide(&set([]), &asked).hold, HoldChange::Sets);
    assert_eq!(decide(&set([written(never)]), &asked).hold, HoldChange::Stays);
    let prod = Request { environment: name("prod"), ..asked.clone() };
    assert_eq!(decide(&set([written(never)]), &prod).hold, HoldChange::Sets);
    let mut strict = over(vec![written(&never.replace("false", "true"))], []);
    assert!(strict.apply(written(never)).is_err());
    assert_eq!(decide(&strict, &asked).hold, HoldChange::Sets);
}

#[test]
fn what_goes_by_itself_has_to_be_asked_for_until_it_is_done() {
    let mut set = set([automatic("main", "dev")]);
    let asked = Request { intent: Intent::AutoRelease, actor: robot("ci"), ..request("main", "dev") };
    assert!(decide(&set, &asked).is_allowed());
    let before = set.digest();
    set.delete(&["auto-release-main-dev".to_owned()]).unwrap();
    let decision = decide(&set, &asked);
    assert_eq!((codes(&decision), decision.outcome), (vec![ReasonCode::NotAutomated], Outcome::Refused));
    assert_ne!(decision.policy_digest, before);
    // People need no policy that asks for it.
    assert!(decide(&set, &request("main", "dev")).is_allowed());
}

#[test]
fn a_restriction_that_was_written_meanwhile_stops_what_is_queued() {
    let mut set = set([]);
    let asked = request("feature", "prod");
    assert!(decide(&set, &asked).is_allowed());
    set.apply(only("main", "prod")).unwrap();
    let decision = decide(&set, &asked);
    assert_eq!(decision.outcome, Outcome::Refused);
    let [reason] = &decision.reasons[..] else { panic!("{decision:?}") };
    assert_eq!((reason.policy.as_deref(), reason.scope), (Some("branch-restriction-prod"), Some(Scope::Service)));
    assert_eq!(reason.sentence, "branch `feature` may not be released to `prod`");
    assert_eq!(reason.needs, "an artifact is released whose branch matches `main`");
    assert_eq!(decision.policy_digest, set.digest());
}

#[test]
fn a_policy_that_was_kept_and_cannot_be_used_lets_nothing_pass() {
    let freeze = r#"{"kind":"freeze","name":"x","window":{"weekly":{"time_zone":"Europe/Nowhere","spans":[]}}}"#;
    for (policy, open) in [(only("(", "prod"), true), (written(freeze), false)] {
        let set = PolicySet::stored(name("web"), Global::default(), vec![policy]);
        assert_eq!(codes(&decide(&set, &request("main", "prod"))), [ReasonCode::PolicyInvalid]);
        assert_eq!(decide(&set, &request("main", "dev")).is_allowed(), open);
    }
}

#[test]
fn nothing_from_outside_is_shown_as_it_came() {
    let mut asked = request("main", "prod");
    asked.artifact.branch = Some("\u{1b}[2J".to_owned());
    let decision = decide(&set([only("main", "prod")]), &asked);
    assert!(!decision.reasons[0].sentence.contains('\u{1b}'));
}

#[test]
fn a_decision_reads_as_it_was_written() {
    let decision = decide(&set([only("main", "prod")]), &request("feature", "prod"));
    let json = serde_json::to_string(&decision).unwrap();
    assert!(json.contains(r#""code":"branch_restricted""#) && json.contains(r#""outcome":"refused""#), "{json}");
    assert_eq!(serde_json::from_str::<Decision>(&json).unwrap(), decision);
}
