//! How far an artifact may go, and what is rolled back by itself.

use super::*;

const PROGRESSION: &str = r#"{"kind":"progression","environment":"prod"}"#;
const BLOCK: &str = r#"{"kind":"block","artifact":"main-0123456789","reason":"it leaks memory"}"#;

/// A request for `prod-eu`, which stands beside `prod-us` behind `staging`.
fn asked(environment: &str, came: &[(&str, Came)]) -> Request {
    let mut asked = request("main", environment);
    asked.history.came = came.iter().map(|(environment, came)| (name(environment), *came)).collect();
    asked.history.stage = match environment {
        "dev" => Stage::default(),
        "staging" => Stage { from: vec![name("dev")], beside: Vec::new() },
        "prod-eu" => Stage { from: vec![name("staging")], beside: vec![name("prod-us")] },
        _ => Stage { from: vec![name("staging")], beside: Vec::new() },
    };
    asked
}

#[test]
fn the_rows_of_a_block() {
    use Came::{Open, ToNothing, Well};
    let blocked = set([written(BLOCK)]);
    for (what, environment, came, expected) in [
        ("the first stage is always allowed", "dev", &[][..], true),
        ("also where it failed", "dev", &[("dev", ToNothing)], true),
        ("never there", "staging", &[("dev", Well)], false),
        ("only failures", "staging", &[("dev", Well), ("staging", ToNothing)], false),
        ("not known yet", "staging", &[("dev", Well), ("staging", Open)], false),
        ("one success", "staging", &[("staging", Well)], true),
        ("one success beside it is one of its stage", "prod-eu", &[("prod-us", Well)], true),
        ("a failure beside it is none", "prod-eu", &[("prod-us", ToNothing)], false),
        ("a success in another stage is none", "prod-eu", &[("staging", Well)], false),
    ] {
        let decision = decide(&blocked, &asked(environment, came));
        assert_eq!(decision.is_allowed(), expected, "{what}: {decision:?}");
        let outcome = if expected { Outcome::Allowed } else { Outcome::Refused };
        assert_eq!(decision.outcome, outcome, "{what}");
    }
    // It is about one artifact.
    let mut other = asked("prod", &[]);
    other.artifact = artifact("feature");
    assert!(decide(&blocked, &other).is_allowed());
}

#[test]
fn a_block_says_why_and_what_would_end_it() {
    let decision = decide(&set([written(BLOCK)]), &asked("prod", &[("staging", Came::Well)]));
    let [reason] = &decision.reasons[..] else { panic!("{decision:?}") };
    assert_eq!((reason.policy.as_deref(), reason.code), (Some("block-main-0123456789"), ReasonCode::Blocked));
    assert_eq!(
        reason.sentence,
        "`main-0123456789` goes no further, and has never been in the stage of `prod`: it leaks memory"
    );
    assert_eq!(reason.needs, "somebody takes the block away, or another artifact is released");
    assert_eq!(decision.earliest, None);
}

#[test]
fn nobody_blocks_without_a_reason() {
    for reason in ["", "  ", "\u{1b}[2J"] {
        let policy = Policy::Block(Block { artifact: name("main-1"), reason: reason.to_owned() });
        assert_eq!(policy.check().unwrap_err().code(), Code::PolicyInvalid, "{reason:?}");
        assert!(set([]).apply(policy).is_err());
    }
    assert!(serde_json::from_str::<Policy>(r#"{"kind":"block","artifact":"main-1"}"#).is_err());
    // Another reason takes the place of the first.
    let mut set = set([written(BLOCK)]);
    set.apply(written(&BLOCK.replace("leaks", "wastes"))).unwrap();
    assert_eq!(set.local().len(), 1);
}

#[test]
fn the_rows_of_progression() {
    use Came::{Open, ToNothing, Well};
    let any = r#"{"kind":"progression","environment":"prod","after":["eu","us"]}"#;
    let all = r#"{"kind":"progression","environment":"prod","after":["eu","us"],"needs":"all"}"#;
    for (what, policy, came, expected) in [
        ("never upstream", PROGRESSION, &[][..], false),
        ("only failed there", PROGRESSION, &[("staging", ToNothing)], false),
        ("nobody knows yet", PROGRESSION, &[("staging", Open)], false),
        ("came out well there", PROGRESSION, &[("staging", Well)], true),
        ("came out well elsewhere", PROGRESSION, &[("dev", Well)], false),
        ("one of two", any, &[("us", Well)], true),
        ("neither of two", any, &[("us", ToNothing), ("eu", Open)], false),
        ("one of two, and both are needed", all, &[("us", Well)], false),
        ("both of two", all, &[("us", Well), ("eu", Well)], true),
    ] {
        let decision = decide(&set([written(policy)]), &asked("prod", came));
        assert_eq!(decision.is_allowed(), expected, "{what}: {decision:?}");
        if !expected {
            assert_eq!((codes(&decision), decision.outcome), (vec![ReasonCode::NotProgressed], Outcome::Waiting));
        }
    }
    // It is about one environment, and a first stage comes after nothing.
    assert!(decide(&set([written(PROGRESSION)]), &asked("staging", &[])).is_allowed());
    let first = PROGRESSION.replace("prod", "dev");
    assert!(decide(&set([written(&first)]), &asked("dev", &[])).is_allowed());
}

#[test]
fn progression_says_what_is_missing_and_lets_go_back() {
    let policy = set([written(PROGRESSION)]);
    let say = |came: &[(&str, Came)]| decide(&policy, &asked("prod", came)).reasons[0].clone();
    assert_eq!(say(&[]).sentence, "the artifact has never been in `staging`");
    assert_eq!(say(&[("staging", Came::ToNothing)]).sentence, "the artifact has only failed in `staging`");
    assert_eq!(say(&[("staging", Came::Open)]).sentence, "the artifact has not come out well in `staging` yet");
    assert_eq!(say(&[]).needs, "a release of it comes out well in `staging`");

    let mut back = Request { intent: rollback(), ..asked("prod", &[]) };
    assert!(!decide(&policy, &back).is_allowed(), "what never was there does not go back");
    back.history.live_before = true;
    assert!(decide(&policy, &back).is_allowed());
}

#[test]
fn what_could_never_begin_is_a_conflict() {
    let (one, other) = (
        r#"{"kind":"progression","environment":"eu","after":["us"]}"#,
        r#"{"kind":"progression","environment":"us","after":["eu"]}"#,
    );
    for (first, second) in [(one, other), (other, one)] {
        let mut set = set([written(first)]);
        assert_eq!(set.apply(written(second)).unwrap_err().code(), Code::PolicyConflict);
        let mut under = over(vec![written(first)], []);
        assert_eq!(under.apply(written(second)).unwrap_err().code(), Code::PolicyConflict);
    }
    // With another way there is none.
    let wide = other.replace(r#"["eu"]"#, r#"["eu","staging"]"#);
    assert!(set([written(one)]).apply(written(&wide)).is_ok());
    let own = one.replace(r#"["us"]"#, r#"["eu"]"#);
    assert_eq!(written(&own).check().unwrap_err().code(), Code::PolicyInvalid);
}

#[test]
fn rolling_back_by_itself_and_no_hold_after_it_contradict_each_other() {
    let back = r#"{"kind":"auto-rollback","environment":"prod"}"#;
    let never = r#"{"kind":"hold-after-rollback","environment":"prod","hold":false}"#;
    for (first, second) in [(back, never), (never, back)] {
        assert_eq!(set([written(first)]).apply(written(second)).unwrap_err().code(), Code::PolicyConflict);
        assert!(over(vec![written(first)], []).apply(written(second)).is_err());
        assert!(set([written(first)]).apply(written(&second.replace("prod", "dev"))).is_ok());
    }
    assert!(set([written(back)]).apply(written(&never.replace("false", "true"))).is_ok());
}

#[test]
fn errors_are_rolled_back_only_where_that_is_asked_for() {
    let policy = |more: &str| set([written(&format!(r#"{{"kind":"auto-rollback","environment":"prod"{more}}}"#))]);
    let (careful, eager) = (policy(""), policy(r#","on_error":true"#));
    let acts = |set: &PolicySet, environment: &str, failing| set.recovery(&name(environment), failing).is_some();
    assert!(acts(&careful, "prod", Failing::Verification));
    assert!(!acts(&careful, "prod", Failing::Error));
    assert!(acts(&eager, "prod", Failing::Error));
    assert!(!acts(&eager, "dev", Failing::Verification));
    assert!(!acts(&set([]), "prod", Failing::Verification), "without a policy nothing is");
}

#[test]
fn a_rollback_by_itself_needs_its_policy_until_it_is_done_and_passes_a_hold() {
    let policy = written(r#"{"kind":"auto-rollback","environment":"prod"}"#);
    let mut asked =
        Request { intent: rollback(), actor: robot("policy:auto-rollback-prod"), ..request("main", "prod") };
    asked.history.live_before = true;
    asked.history.hold =
        Some(Hold { by: "bob".to_owned(), since: at("2026-11-18T09:00:00Z"), candidate: None, reason: None });
    assert!(decide(&set([policy.clone()]), &asked).is_allowed());
    assert_eq!(codes(&decide(&set([]), &asked)), [ReasonCode::NotAutomated]);
    // It holds automation off, so that what failed does not come again.
    asked.history.hold = None;
    assert_eq!(decide(&set([policy.clone()]), &asked).hold, HoldChange::Sets);
    // A freeze of what programs do is one of this, too.
    let freeze = r#"{"kind":"freeze","name":"quiet","window":{"once":{"from":"2026-11-18T00:00:00Z",
        "until":"2026-11-19T00:00:00Z"}},"actors":["automation"]}"#;
    assert_eq!(codes(&decide(&set([policy.clone(), written(freeze)]), &asked)), [ReasonCode::Frozen]);
    let releases = freeze.replace(r#""actors":["automation"]"#, r#""actions":["release","promote","auto-release"]"#);
    assert!(decide(&set([policy, written(&releases)]), &asked).is_allowed());
}
