//! Who agreed to what.

use super::*;

const QA_AND_LEADS: &str = r#"{"kind":"approval","environment":"prod","minimum":2,
    "approvers":[{"group":"qa","required":true},{"role":"lead"}]}"#;

fn qa(subject: &str) -> Actor {
    Actor { groups: BTreeSet::from(["qa".to_owned()]), ..user(subject) }
}

fn lead(subject: &str) -> Actor {
    Actor { roles: BTreeSet::from(["lead".to_owned()]), ..user(subject) }
}

/// Votes on what ann asks for, each a minute after the one before.
fn votes(votes: &[(Actor, Vote)]) -> Request {
    let mut asked = request("main", "prod");
    asked.history.votes = (0..)
        .zip(votes)
        .map(|(minute, (by, vote))| Voted {
            by: by.clone(),
            digest: asked.artifact.digest,
            environment: name("prod"),
            vote: *vote,
            at: at("2026-11-18T10:00:00Z") + jiff::SignedDuration::from_mins(minute),
        })
        .collect();
    asked
}

fn outcome(asked: &Request) -> Outcome {
    decide(&set([written(QA_AND_LEADS)]), asked).outcome
}

#[test]
fn the_rows_of_approving() {
    use Outcome::{Allowed, Refused, Waiting};
    use Vote::{Approve, Reject};
    for (what, given, expected) in [
        ("nobody", vec![], Waiting),
        ("one is not two", vec![(qa("bob"), Approve)], Waiting),
        ("two leads lack the required one", vec![(lead("bob"), Approve), (lead("eve"), Approve)], Waiting),
        ("one of each", vec![(qa("bob"), Approve), (lead("eve"), Approve)], Allowed),
        ("two of the required", vec![(qa("bob"), Approve), (qa("eve"), Approve)], Allowed),
        ("the same twice", vec![(qa("bob"), Approve), (qa("bob"), Approve)], Waiting),
        ("the same in two circles", vec![(qa("bob"), Approve), (lead("bob"), Approve)], Waiting),
        ("a stranger", vec![(qa("bob"), Approve), (user("eve"), Approve)], Waiting),
        ("a stranger against it", vec![(qa("bob"), Approve), (lead("eve"), Approve), (user("joe"), Reject)], Allowed),
        ("one against it", vec![(qa("bob"), Approve), (lead("eve"), Approve), (lead("joe"), Reject)], Refused),
        ("one who thought again", vec![(qa("bob"), Reject), (lead("eve"), Approve), (qa("bob"), Approve)], Allowed),
        ("one who had doubts", vec![(qa("bob"), Approve), (lead("eve"), Approve), (qa("bob"), Reject)], Refused),
        ("whoever asks", vec![(qa("ann"), Approve), (lead("eve"), Approve)], Waiting),
        (
            "a program",
            vec![(Actor { kind: ActorKind::Automation, ..qa("ci") }, Approve), (lead("eve"), Approve)],
            Waiting,
        ),
    ] {
        assert_eq!(outcome(&votes(&given)), expected, "{what}");
    }
}

#[test]
fn a_vote_is_about_one_artifact_and_one_environment_and_was_cast_by_then() {
    let good = votes(&[(qa("bob"), Vote::Approve), (lead("eve"), Vote::Approve)]);
    assert_eq!(outcome(&good), Outcome::Allowed);

    // The tag leads to other bytes now.
    let mut moved = good.clone();
    moved.artifact.digest = Digest::of(b"other bytes");
    assert_eq!(outcome(&moved), Outcome::Waiting);

    let mut elsewhere = good.clone();
    elsewhere.history.votes[0].environment = name("dev");
    assert_eq!(outcome(&elsewhere), Outcome::Waiting);

    let mut before = good;
    before.at = at("2026-11-18T10:00:59Z");
    assert_eq!(outcome(&before), Outcome::Waiting);
    before.at = at("2026-11-18T10:01:00Z");
    assert_eq!(outcome(&before), Outcome::Allowed);
}

#[test]
fn nobody_approves_through_automation_what_they_pushed() {
    let mut asked = votes(&[(qa("bob"), Vote::Approve), (lead("eve"), Vote::Approve)]);
    asked.actor = Actor { on_behalf_of: Some("bob".to_owned()), ..robot("ci") };
    assert_eq!(outcome(&asked), Outcome::Waiting);
    asked.actor.on_behalf_of = Some("joe".to_owned());
    assert_eq!(outcome(&asked), Outcome::Allowed);
}

#[test]
fn the_answer_says_who_is_missing() {
    let decision = decide(&set([written(QA_AND_LEADS)]), &votes(&[(lead("eve"), Vote::Approve)]));
    let [reason] = &decision.reasons[..] else { panic!("{decision:?}") };
    assert_eq!(reason.policy.as_deref(), Some("approval-prod"));
    assert_eq!(reason.code, ReasonCode::ApprovalMissing);
    assert_eq!(reason.sentence, "the release to `prod` has 1 of 2 approvals");
    assert_eq!(reason.needs, "1 more of group `qa` or role `lead` approves, and somebody of group `qa` approves");
    assert_eq!((reason.at, decision.earliest), (None, None));

    let decision = decide(&set([written(QA_AND_LEADS)]), &votes(&[(lead("eve"), Vote::Reject)]));
    assert_eq!(codes(&decision), [ReasonCode::Rejected]);
    assert_eq!(decision.reasons[0].needs, "`eve` approves");
}

#[test]
fn a_vote_that_would_not_count_is_refused() {
    let set = set([written(QA_AND_LEADS)]);
    let check = |voter: &Actor| set.check_vote(&name("prod"), voter, &user("ann"));
    assert!(check(&qa("bob")).is_ok());
    assert!(check(&lead("bob")).is_ok());
    for voter in [user("bob"), qa("ann"), Actor { kind: ActorKind::Automation, ..qa("ci") }] {
        assert_eq!(check(&voter).unwrap_err().code(), Code::ApprovalRefused, "{voter:?}");
    }
    assert!(set.check_vote(&name("dev"), &qa("bob"), &user("ann")).is_err());
}

#[test]
fn going_back_needs_votes_too_unless_that_is_said() {
    let exempt = QA_AND_LEADS.replace("\"minimum\"", "\"rollbacks\":\"exempt\",\"minimum\"");
    let mut asked = Request { intent: rollback(), ..votes(&[]) };
    for (policy, live_before, expected) in [
        (QA_AND_LEADS, true, Outcome::Waiting),
        (&exempt, true, Outcome::Allowed),
        // What never was there is nothing to go back to.
        (&exempt, false, Outcome::Waiting),
    ] {
        asked.history.live_before = live_before;
        assert_eq!(decide(&set([written(policy)]), &asked).outcome, expected, "{policy} {live_before}");
    }
}

#[test]
fn every_approval_of_an_environment_has_to_be_met() {
    let more = r#"{"kind":"approval","environment":"prod","name":"board","minimum":1,"approvers":[{"subject":"zoe"}]}"#;
    let set = over(vec![written(QA_AND_LEADS)], [written(more)]);
    let mut given = vec![(qa("bob"), Vote::Approve), (lead("eve"), Vote::Approve)];
    let decision = decide(&set, &votes(&given));
    assert_eq!(decision.reasons[0].policy.as_deref(), Some("approval-prod-board"));
    given.push((user("zoe"), Vote::Approve));
    assert!(decide(&set, &votes(&given)).is_allowed());
}
