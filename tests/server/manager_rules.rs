//! What rules lead to, on both databases: who waits for whom, what holds automation off, how far something goes, what
//! is rolled back by itself, who has to agree. And once through the real server.

mod scene;

use consign::model::delivery::{Selector, State, Verdict};
use consign::model::policy::ReasonCode;
use serde_json::json;

use crate::place::Kind;
use scene::{Scene, artifact, on_both, rollback};

/// A freeze of an hour for everybody.
fn freeze(scene: &Scene) -> serde_json::Value {
    json!({ "kind": "freeze", "name": "pause",
        "window": { "once": { "from": scene.instant(0), "until": scene.instant(3600) } } })
}

#[test]
fn what_waits_for_a_freeze_keeps_nobody_and_is_never_released_behind_a_newer_one() {
    on_both(async |scene| {
        scene.push("main-1", "main").await;
        scene.push("main-2", "main").await;
        scene.push("main-3", "main").await;
        let older = scene.accepted("dev", artifact("main-1")).await;
        scene.apply(freeze(&scene)).await;
        scene.turn().await;
        let (state, reason) = scene.state(&older).await;
        assert_eq!(state, State::Queued);
        assert!(reason.contains("is frozen by `pause`"), "{reason}");
        // Without a word for it the freeze counts for the next one as well.
        let refused = scene.request("dev", artifact("main-2"), None).await;
        assert_eq!(refused.result, Verdict::Refused, "{refused:?}");

        let urgent = scene.request("dev", artifact("main-3"), Some("it burns")).await;
        assert_eq!(urgent.result, Verdict::Accepted, "{urgent:?}");
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev main-3"]);
        let (state, reason) = scene.state(&older).await;
        assert_eq!((state, reason.as_str()), (State::Superseded, "`main-3`, which was asked for later, is live"));
        // The freeze passes, and nothing undoes it.
        scene.pass(4000);
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev main-3"]);
        let log = scene.log().await;
        assert!(
            log.iter().any(|line| line.starts_with("release.request") && line.ends_with("over freeze-pause: it burns"))
        );
        assert!(
            log.iter().any(|line| line.starts_with("release.push") && line.ends_with("over freeze-pause: it burns"))
        );
        assert!(log.iter().any(|line| line.starts_with(&format!("release.supersede {older}"))), "{log:?}");
    });
}

#[test]
fn the_same_artifact_passes_a_freeze_that_it_waits_for() {
    on_both(async |scene| {
        scene.push("main-1", "main").await;
        let older = scene.accepted("dev", artifact("main-1")).await;
        scene.apply(freeze(&scene)).await;
        scene.turn().await;
        let again = scene.request("dev", artifact("main-1"), None).await;
        assert_eq!((again.result, again.release.as_ref()), (Verdict::UpToDate, Some(&older)), "it is on its way");
        let urgent = scene.request("dev", artifact("main-1"), Some("it burns")).await;
        assert_eq!(urgent.result, Verdict::Accepted);
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev main-1"]);
        assert_eq!(scene.state(&older).await.0, State::Superseded);
    });
}

#[test]
fn what_is_tried_again_keeps_its_order() {
    on_both(async |scene| {
        scene.push("main-1", "main").await;
        scene.push("main-2", "main").await;
        scene.accepted("dev", artifact("main-1")).await;
        scene.close(true);
        scene.turn().await;
        scene.close(false);
        scene.accepted("dev", artifact("main-2")).await;
        // The first one is not due yet, and the second one does not go past it.
        scene.turn().await;
        assert!(scene.taken().is_empty(), "{:?}", scene.taken());
        scene.pass(5);
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev main-1", "dev main-2"]);
    });
}

#[test]
fn what_waits_for_votes_is_overtaken_and_votes_do_not_bring_it_back() {
    on_both(async |scene| {
        scene.push("main-1", "main").await;
        scene.push("main-2", "main").await;
        let approval =
            json!({ "kind": "approval", "environment": "dev", "minimum": 1, "approvers": [{ "group": "qa" }] });
        scene.apply(approval).await;
        let older = scene.request("dev", artifact("main-1"), None).await;
        assert_eq!(older.result, Verdict::NeedsApproval);
        let newer = scene.request("dev", artifact("main-2"), None).await;
        scene.approve("dev", "main-2", "qa", "bo", true).await.unwrap();
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev main-2"]);
        assert_eq!(scene.state(newer.release.as_ref().unwrap()).await.0, State::Pushed);
        scene.approve("dev", "main-1", "qa", "bo", true).await.unwrap();
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev main-2"]);
        assert_eq!(scene.state(older.release.as_ref().unwrap()).await.0, State::Superseded);
    });
}

#[test]
fn a_freeze_that_is_lifted_lets_go_at_once() {
    on_both(async |scene| {
        scene.push("main-1", "main").await;
        let release = scene.accepted("dev", artifact("main-1")).await;
        scene.apply(freeze(&scene)).await;
        scene.turn().await;
        assert_eq!(scene.state(&release).await.0, State::Queued);
        assert_eq!(scene.turn().await, 0, "what waits is not looked at again and again");
        scene.delete("freeze-pause").await;
        scene.turn().await;
        assert_eq!(scene.state(&release).await.0, State::Pushed);
    });
}

#[test]
fn a_person_who_promotes_another_one_than_the_candidate_suspends_automation_until_they_promote_it() {
    on_both(async |scene| {
        scene.apply(json!({ "kind": "auto-release", "branch": "main", "environment": "dev" })).await;
        scene.push("xyz", "feature").await;
        scene.push("abc", "main").await;
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev abc"]);

        // One that fails sets no hold.
        scene.apply(json!({ "kind": "evidence", "environment": "dev", "tests_passed": true })).await;
        assert_eq!(scene.request("dev", artifact("xyz"), None).await.result, Verdict::Refused);
        scene.delete("evidence-dev").await;
        scene.accepted("dev", artifact("xyz")).await;
        scene.apply(json!({ "kind": "branch-restriction", "environment": "dev", "branch": "main" })).await;
        scene.turn().await;
        assert_eq!((scene.taken(), scene.hold("dev").await), (vec!["dev abc".to_owned()], None));
        scene.delete("branch-restriction-dev").await;

        // One that succeeds does.
        scene.accepted("dev", artifact("xyz")).await;
        assert_eq!(scene.hold("dev").await, None, "it has not succeeded yet");
        scene.turn().await;
        assert_eq!(scene.hold("dev").await.as_deref(), Some("abc"));
        scene.push("def", "main").await;
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev abc", "dev xyz"], "it is held off");

        // What was the candidate is no longer: that would be another one than automation would choose.
        scene.accepted("dev", artifact("abc")).await;
        scene.turn().await;
        assert!(scene.hold("dev").await.is_some());

        // The candidate lifts it once it has succeeded.
        scene.accepted("dev", artifact("def")).await;
        assert!(scene.hold("dev").await.is_some());
        scene.close(true);
        scene.turn().await;
        assert!(scene.hold("dev").await.is_some());
        scene.close(false);
        scene.pass(100);
        scene.turn().await;
        assert_eq!(scene.hold("dev").await, None);
        scene.push("ghi", "main").await;
        scene.turn().await;
        assert_eq!(scene.taken().last().unwrap(), "dev ghi");
    });
}

#[test]
fn holds_go_with_the_last_policy_by_which_anything_goes_by_itself() {
    on_both(async |scene| {
        scene.apply(json!({ "kind": "auto-release", "branch": "main", "environment": "dev" })).await;
        scene.apply(json!({ "kind": "deploy-trigger", "environment": "dev", "tag": "v*", "event": "tag" })).await;
        scene.push("main-1", "main").await;
        scene.push("other", "feature").await;
        scene.turn().await;
        scene.accepted("dev", artifact("other")).await;
        scene.turn().await;
        assert!(scene.hold("dev").await.is_some());
        scene.delete("auto-release-main-dev").await;
        assert!(scene.hold("dev").await.is_some(), "tags still go by themselves");
        scene.delete("deploy-trigger-dev").await;
        assert_eq!(scene.hold("dev").await, None);
        let log = scene.log().await;
        assert!(log.contains(&"hold.lift nothing goes to dev by itself any more".to_owned()), "{log:?}");
        scene.apply(json!({ "kind": "auto-release", "branch": "main", "environment": "dev" })).await;
        scene.push("main-2", "main").await;
        scene.turn().await;
        assert_eq!(scene.taken().last().unwrap(), "dev main-2");
    });
}

#[test]
fn what_only_failed_in_a_stage_goes_no_further() {
    on_both(async |scene| {
        scene.apply(json!({ "kind": "progression", "environment": "live" })).await;
        scene.push("main-1", "main").await;
        let reason = |granting: &consign::model::delivery::Granting| granting.reason.clone().unwrap_or_default();
        let early = scene.request("live", artifact("main-1"), None).await;
        assert_eq!(early.decision.as_ref().unwrap().reasons[0].code, ReasonCode::NotProgressed);
        assert!(reason(&early).contains("never been in `prod`"), "{early:?}");
        scene.release("prod", "main-1").await;
        let early = scene.request("live", artifact("main-1"), None).await;
        assert!(reason(&early).contains("not come out well in `prod` yet"), "{early:?}");
        scene.fails("prod", "main-1").await;
        let failed = scene.request("live", artifact("main-1"), None).await;
        assert!(reason(&failed).contains("only failed in `prod`"), "{failed:?}");
        scene.push("main-2", "main").await;
        scene.release("prod", "main-2").await;
        scene.runs("prod", "main-2").await;
        scene.release("live", "main-2").await;
        assert_eq!(scene.taken().last().unwrap(), "live main-2");
    });
}

#[test]
fn a_block_stops_what_is_queued_where_it_never_came_out_well() {
    on_both(async |scene| {
        scene.push("main-1", "main").await;
        scene.release("dev", "main-1").await;
        scene.release("prod", "main-1").await;
        scene.runs("prod", "main-1").await;
        let queued = scene.accepted("live", artifact("main-1")).await;
        scene.apply(json!({ "kind": "block", "artifact": "main-1", "reason": "it leaks memory" })).await;
        scene.turn().await;
        let (state, reason) = scene.state(&queued).await;
        assert_eq!(state, State::Failed);
        assert!(reason.contains("it leaks memory (block-main-1)"), "{reason}");
        // Where it came out well it may go again, and into a first stage always.
        scene.push("main-2", "main").await;
        for environment in ["prod", "dev"] {
            scene.release(environment, "main-2").await;
            scene.release(environment, "main-1").await;
        }
        scene.delete("block-main-1").await;
        scene.release("live", "main-1").await;
    });
}

#[test]
fn what_fails_is_rolled_back_once_and_automation_is_held_off() {
    on_both(async |mut scene| {
        scene.apply(json!({ "kind": "auto-rollback", "environment": "prod" })).await;
        scene.apply(json!({ "kind": "auto-release", "branch": "main", "environment": "prod" })).await;
        scene.push("main-1", "main").await;
        scene.turn().await;
        scene.runs("prod", "main-1").await;
        scene.push("main-2", "main").await;
        scene.turn().await;
        // It was there, and nobody has ever said that it runs.
        scene.push("main-3", "main").await;
        scene.turn().await;
        scene.fails("prod", "main-3").await;
        scene.recover().await;
        scene.recover().await;
        scene.crash();
        scene.recover().await;
        scene.turn().await;
        scene.recover().await;
        scene.turn().await;
        assert_eq!(scene.taken(), ["prod main-1", "prod main-2", "prod main-3", "prod main-1"]);
        let release = scene.last("prod").await;
        assert_eq!(
            release.order.intent,
            serde_json::from_value(json!({ "type": "rollback", "previous_artifact_id": "main-3" })).unwrap()
        );
        assert_eq!(release.order.actor.subject, "policy:auto-rollback-prod");
        assert_eq!(scene.hold("prod").await.as_deref(), Some("main-3"));
        scene.push("main-4", "main").await;
        scene.turn().await;
        assert_eq!(scene.taken().len(), 4, "automation is held off");
        // What was put back and fails, too, is somebody's to look at.
        scene.fails("prod", "main-1").await;
        scene.recover().await;
        scene.turn().await;
        assert_eq!(scene.taken().len(), 4);
    });
}

#[test]
fn nothing_is_rolled_back_while_anything_else_is_on_its_way_or_has_come() {
    on_both(async |scene| {
        scene.apply(json!({ "kind": "auto-rollback", "environment": "prod" })).await;
        scene.push("main-1", "main").await;
        scene.push("main-2", "main").await;
        scene.push("main-3", "main").await;
        scene.release("prod", "main-1").await;
        scene.runs("prod", "main-1").await;
        scene.release("prod", "main-2").await;
        let fix = scene.accepted("prod", artifact("main-3")).await;
        scene.fails("prod", "main-2").await;
        scene.recover().await;
        scene.pass(10);
        scene.recover().await;
        // The other one comes to nothing, and then there is something to do.
        scene.apply(json!({ "kind": "block", "artifact": "main-3", "reason": "wrong" })).await;
        scene.turn().await;
        assert_eq!(scene.state(&fix).await.0, State::Failed);
        assert_eq!(scene.taken().len(), 2);
        scene.pass(10);
        scene.recover().await;
        scene.turn().await;
        assert_eq!(scene.taken().last().unwrap(), "prod main-1");
        scene.delete("block-main-3").await;

        // A newer one arrives before anybody looks.
        scene.runs("prod", "main-1").await;
        scene.release("prod", "main-2").await;
        scene.fails("prod", "main-2").await;
        scene.release("prod", "main-3").await;
        scene.pass(10);
        scene.recover().await;
        scene.turn().await;
        assert_eq!(scene.taken().last().unwrap(), "prod main-3");
        // Without the policy nothing happens, and what failed can be rolled back by hand.
        scene.delete("auto-rollback-prod").await;
        scene.fails("prod", "main-3").await;
        scene.recover().await;
        scene.turn().await;
        assert_eq!(scene.taken().last().unwrap(), "prod main-3");
        scene.accepted("prod", rollback()).await;
        scene.turn().await;
        assert_eq!(scene.taken().last().unwrap(), "prod main-1");
    });
}

#[test]
fn errors_that_are_nobody_s_fault_are_rolled_back_where_that_is_asked_for() {
    on_both(async |scene| {
        for (on_error, expected) in [(false, "main-2"), (true, "main-1")] {
            scene.apply(json!({ "kind": "auto-rollback", "environment": "prod", "on_error": on_error })).await;
            for id in ["main-1", "main-2"] {
                let id = format!("{id}-{on_error}");
                scene.push(&id, "main").await;
                scene.release("prod", &id).await;
                if id.starts_with("main-1") {
                    scene.runs("prod", &id).await;
                }
            }
            scene.flux_says("prod", "error", "DependencyNotReady").await;
            scene.recover().await;
            scene.turn().await;
            assert_eq!(*scene.taken().last().unwrap(), format!("prod {expected}-{on_error}"));
        }
    });
}

#[test]
fn the_required_have_to_agree_and_one_no_is_enough() {
    on_both(async |scene| {
        scene
            .apply(json!({ "kind": "approval", "environment": "dev", "minimum": 2,
                "approvers": [{ "group": "qa", "required": true }, { "group": "lead" }] }))
            .await;
        for id in ["main-1", "main-2"] {
            scene.push(id, "main").await;
        }
        let first = scene.request("dev", artifact("main-1"), None).await.release.unwrap();
        scene.approve("dev", "main-1", "lead", "lea", true).await.unwrap();
        scene.approve("dev", "main-1", "lead", "leo", true).await.unwrap();
        assert_eq!(scene.state(&first).await.0, State::Requested, "two leads lack the one who is required");
        assert!(scene.approve("dev", "main-1", "guests", "gus", true).await.is_err());
        assert!(scene.approve("dev", "main-1", "qa", "asa", true).await.is_err(), "nobody agrees with themselves");
        scene.approve("dev", "main-1", "qa", "quinn", true).await.unwrap();
        scene.turn().await;
        assert_eq!(scene.taken(), ["dev main-1"]);

        let second = scene.request("dev", artifact("main-2"), None).await.release.unwrap();
        scene.approve("dev", "main-2", "qa", "quinn", true).await.unwrap();
        scene.approve("dev", "main-2", "qa", "quinn", true).await.unwrap();
        assert_eq!(scene.state(&second).await.0, State::Requested, "the same one twice counts once");
        scene.approve("dev", "main-2", "lead", "lea", false).await.unwrap();
        let (state, reason) = scene.state(&second).await;
        assert_eq!(state, State::Failed);
        assert!(reason.contains("`lea` rejected"), "{reason}");
    });
}

#[test]
fn a_freeze_is_about_what_is_done_and_by_whom() {
    on_both(async |scene| {
        let mut quiet = freeze(&scene);
        quiet["actors"] = json!(["automation"]);
        scene.apply(quiet.clone()).await;
        scene.apply(json!({ "kind": "auto-release", "branch": "main", "environment": "dev" })).await;
        scene.push("main-1", "main").await;
        scene.push("other", "feature").await;
        scene.turn().await;
        assert!(scene.taken().is_empty());
        // A person may; what automation was about to bring is another one, and so it is held off.
        scene.accepted("dev", artifact("other")).await;
        scene.turn().await;
        assert_eq!((scene.taken(), scene.hold("dev").await), (vec!["dev other".to_owned()], Some("main-1".to_owned())));
        quiet["actors"] = json!([]);
        quiet["actions"] = json!(["promote", "release"]);
        scene.apply(quiet).await;
        assert_eq!(scene.request("dev", artifact("main-1"), None).await.result, Verdict::Refused);
        assert_eq!(
            scene.request("prod", Selector::Promote { from: Some("dev".parse().unwrap()) }, None).await.result,
            Verdict::Refused
        );
    });
}

#[test]
fn the_real_server_rolls_back_what_a_daemon_says_fails() {
    for kind in Kind::ALL {
        scene::real(kind);
    }
}

#[test]
fn what_failed_and_was_rolled_back_failed_once() {
    on_both(async |scene| {
        let begin = scene.instant(0);
        scene.push("main-1", "main").await;
        scene.pass(60);
        scene.release("prod", "main-1").await;
        scene.runs("prod", "main-1").await;
        scene.pass(100);
        scene.push("main-2", "main").await;
        scene.pass(40);
        scene.release("prod", "main-2").await;
        scene.pass(10);
        let later = scene.instant(0);
        scene.fails("prod", "main-2").await;
        scene.pass(30);
        scene.accepted("prod", rollback()).await;
        scene.turn().await;
        let numbers = scene.report("prod", &begin).await;
        let expected = (3, Some(60.0), Some(1.0 / 3.0), Some(30.0));
        assert_eq!(
            (numbers.releases, numbers.lead_time_seconds, numbers.failure_rate, numbers.restore_seconds),
            expected
        );
        assert!((numbers.releases_per_day - 3.0 * 86_400.0 / 241.0).abs() < 0.01, "{numbers:?}");
        // What was written before the time that is asked about is in no share of it.
        let numbers = scene.report("prod", &later).await;
        assert_eq!((numbers.releases, numbers.failure_rate, numbers.restore_seconds), (1, Some(0.0), Some(30.0)));
    });
}
