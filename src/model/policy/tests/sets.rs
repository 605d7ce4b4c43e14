//! Restrictions, automation and their conflicts.

use super::*;

fn ids(set: &PolicySet) -> Vec<String> {
    set.local().iter().map(Policy::id).collect()
}

#[test]
fn a_branch_restriction_is_about_its_environment() {
    let rows: [(Vec<Policy>, &str, bool); 8] = [
        (vec![], "branch", true),
        (vec![only("master", "prod")], "branch", true),
        (vec![only("master", "prod"), only("master", "preprod")], "branch", true),
        (vec![only("master", "dev")], "branch", false),
        (vec![only("master", "dev")], "master", true),
        (vec![restricted("master", "dev", BranchMatch::Contains)], "master-update", true),
        (vec![only("master", "dev")], "master-update", false),
        (vec![restricted("^master$", "dev", BranchMatch::Contains)], "master-update", false),
    ];
    for (policies, branch, expected) in rows {
        let decision = decide(&set(policies.clone()), &request(branch, "dev"));
        assert_eq!(decision.is_allowed(), expected, "{policies:?} {branch}");
        assert_eq!(decision.outcome == Outcome::Refused, !expected);
    }
}

#[test]
fn an_anchored_pattern_cannot_get_out_of_its_anchors() {
    for (pattern, branch, expected) in [
        ("a|b", "ab", false),
        ("a|ab", "ab", true),
        ("(?m)main", "x\nmain", false),
        ("main", "main\n", false),
        ("main$", "main\n", false),
        (r"release/\d+", "release/12", true),
        (r"release/\d+", "release/12x", false),
        ("(?i)MAIN", "main", true),
    ] {
        let decision = decide(&set([only(pattern, "dev")]), &request(branch, "dev"));
        assert_eq!(decision.is_allowed(), expected, "{pattern} {branch}");
    }
    for pattern in ["a)|(?:b", "(?x) main # ", "", " ", "main\n", &"a".repeat(1001), "(a{1000}){1000}"] {
        assert_eq!(only(pattern, "dev").check().unwrap_err().code(), Code::PolicyInvalid, "{pattern:?}");
    }
}

#[test]
fn an_artifact_of_no_branch_passes_no_restriction() {
    let mut asked = request("main", "dev");
    asked.artifact.branch = None;
    assert_eq!(codes(&decide(&set([]), &asked)), []);
    assert_eq!(codes(&decide(&set([only(".*", "dev")]), &asked)), [ReasonCode::BranchRestricted]);
}

#[test]
fn an_invalid_pattern_is_refused_in_the_words_of_the_older_system() {
    let mut set = set([]);
    for (pattern, expected) in [
        ("^master(", "branch regex not valid: missing closing ) in `^master(`"),
        ("master)", "branch regex not valid: unexpected ) in `master)`"),
        ("[a", "branch regex not valid: missing closing ] in `[a`"),
        ("*", "branch regex not valid: missing argument to repetition operator in `*`"),
    ] {
        let failure = set.apply(only(pattern, "prod")).unwrap_err();
        assert_eq!((failure.code(), failure.to_string().as_str()), (Code::PolicyInvalid, expected));
    }
    assert!(set.local().is_empty());
}

#[test]
fn conflicts_are_found_in_both_directions_and_in_one_environment_only() {
    let mut one = set([automatic("master", "dev")]);
    let failure = one.apply(only("^dev$", "dev")).unwrap_err();
    assert_eq!(failure.code(), Code::PolicyConflict);
    assert!(failure.to_string().contains("conflict with auto-release-master-dev"), "{failure}");
    assert_eq!(one.apply(only("^dev$", "prod")).unwrap(), "branch-restriction-prod");
    assert_eq!(one.apply(only("^master$", "dev")).unwrap(), "branch-restriction-dev");
    assert_eq!(ids(&one), ["auto-release-master-dev", "branch-restriction-prod", "branch-restriction-dev"]);

    // And the other way round.
    let failure = one.apply(automatic("master", "prod")).unwrap_err();
    assert!(failure.to_string().contains("conflict with branch-restriction-prod"), "{failure}");
    // Replacing is held to the same.
    assert!(one.apply(automatic("feature", "dev")).is_err());
    assert!(one.apply(only("^main$", "dev")).is_err());
    assert_eq!(ids(&one).len(), 3);
}

#[test]
fn a_trigger_for_one_branch_conflicts_like_an_automatic_release() {
    let trigger = |branch: &str| {
        written(&format!(r#"{{"kind":"deploy-trigger","environment":"prod","branch":"{branch}","event":"push"}}"#))
    };
    let mut set = set([only("main", "prod")]);
    assert!(set.apply(trigger("dev")).unwrap_err().to_string().contains("conflict with branch-restriction-prod"));
    // What a pattern will meet is not known beforehand; the restriction decides then.
    assert_eq!(set.apply(trigger("release/*")).unwrap(), "deploy-trigger-prod");
}

#[test]
fn the_configuration_comes_first_and_cannot_be_contradicted() {
    let global = vec![only("^master$", "dev")];
    let mut set = over(global, []);
    let failure = set.apply(only("^dev$", "dev")).unwrap_err();
    assert!(failure.to_string().contains("conflicts with global policy"), "{failure}");
    assert!(set.apply(automatic("feature", "dev")).is_err());
    assert_eq!(set.apply(only("^master$", "prod")).unwrap(), "branch-restriction-prod");
    let listed: Vec<_> = set.effective().iter().map(|standing| (standing.id(), standing.policy.id())).collect();
    let expected = [("", "branch-restriction-dev"), ("branch-restriction-prod", "branch-restriction-prod")];
    assert_eq!(listed, expected.map(|(id, policy)| (id.to_owned(), policy.to_owned())));
    // The same words are no contradiction.
    assert_eq!(set.apply(restricted("^master$", "dev", BranchMatch::Contains)).unwrap(), "branch-restriction-dev");
}

#[test]
fn the_configuration_cannot_be_deleted() {
    let mut set = over(vec![only("^master$", "dev")], [only("x", "prod"), automatic("x", "prod")]);
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let failure = set.delete(&ids(&["branch-restriction-prod", "branch-restriction-dev"])).unwrap_err();
    assert_eq!(failure.code(), Code::PolicyConflict);
    assert_eq!(set.local().len(), 2);
    assert_eq!(set.delete(&[]).unwrap_err().to_string(), "no policy ids supplied");
    assert!(set.delete(&ids(&["", "unknown"])).unwrap().is_empty());
    assert_eq!(set.delete(&ids(&["branch-restriction-prod", "unknown"])).unwrap(), ["branch-restriction-prod"]);
    assert_eq!(set.local().len(), 1);
    assert!(!decide(&set, &request("x", "dev")).is_allowed());
}

#[test]
fn a_configuration_with_a_conflict_is_refused() {
    for wrong in [
        vec![only("a", "dev"), only("a", "dev")],
        vec![only("a", "dev"), automatic("b", "dev")],
        vec![automatic("b", "dev"), only("a", "dev")],
        vec![automatic("a", "dev"), automatic("b", "dev")],
        vec![only("(", "dev")],
    ] {
        assert!(Global::new(wrong.clone()).is_err(), "{wrong:?}");
    }
}

#[test]
fn what_a_later_configuration_contradicts_no_longer_counts() {
    let kept = vec![only("^feature$", "dev"), automatic("feature", "dev"), only("^x$", "prod")];
    let global = Global::new(vec![only("^master$", "dev")]).unwrap();
    let mut set = PolicySet::stored(name("web"), global, kept);
    assert_eq!(set.effective().len(), 2);
    assert_eq!(set.dropped().len(), 2);
    assert!(!decide(&set, &request("feature", "dev")).is_allowed());
    assert!(decide(&set, &request("master", "dev")).is_allowed());
    assert!(set.automation(&artifact("feature")).is_empty());
    // What does not count is in nobody's way.
    assert_eq!(set.apply(automatic("master", "dev")).unwrap(), "auto-release-master-dev");
}

/// What was there, what is written, and what is there then.
type Row<'a> = (&'a [(&'a str, &'a str)], (&'a str, &'a str), &'a [&'a str]);

#[test]
fn an_environment_has_one_automatic_release() {
    let rows: [Row<'_>; 4] = [
        (&[], ("master", "dev"), &["auto-release-master-dev"]),
        (&[("master", "dev")], ("master", "dev"), &["auto-release-master-dev"]),
        (&[("master", "dev")], ("feature", "dev"), &["auto-release-feature-dev"]),
        (&[("master", "dev")], ("feature", "prod"), &["auto-release-master-dev", "auto-release-feature-prod"]),
    ];
    for (before, (branch, environment), after) in rows {
        let mut set = set(before.iter().map(|(branch, environment)| automatic(branch, environment)));
        let id = set.apply(automatic(branch, environment)).unwrap();
        assert_eq!(id, format!("auto-release-{branch}-{environment}"));
        assert_eq!(ids(&set), after);
    }
    // In its place, not behind the others.
    let mut set = set([automatic("a", "dev"), automatic("a", "prod")]);
    set.apply(automatic("b", "dev")).unwrap();
    assert_eq!(ids(&set), ["auto-release-b-dev", "auto-release-a-prod"]);
}

#[test]
fn two_policies_do_not_share_an_id() {
    let mut set = set([automatic("a-b", "c")]);
    let failure = set.apply(automatic("a", "b-c")).unwrap_err();
    assert!(failure.to_string().contains("conflict with auto-release-a-b-c"), "{failure}");
}

#[test]
fn the_digest_is_that_of_what_counts_and_not_of_its_order() {
    let (one, other) = (only("a", "dev"), only("b", "prod"));
    let digest = set([one.clone(), other.clone()]).digest();
    assert_eq!(digest, set([other.clone(), one.clone()]).digest());
    assert_ne!(digest, set([one.clone()]).digest());
    // Whose a policy is belongs to it.
    assert_ne!(digest, over(vec![one], [other]).digest());
    insta::assert_snapshot!(String::from_utf8(set([only("a", "dev")]).render()).unwrap(), @r#"
    {
      "type": "consign.policies/v1",
      "service": "web",
      "policies": [
        {
          "scope": "service",
          "policy": {
            "kind": "branch-restriction",
            "environment": "dev",
            "branch": "a"
          }
        }
      ]
    }
    "#);
}

#[test]
fn a_document_is_read_strictly() {
    let document = |policies: &str| format!(r#"{{"type":"consign.policies/v1","policies":[{policies}]}}"#);
    let good = r#"{"kind":"auto-release","branch":"main","environment":"dev"}"#;
    assert_eq!(Document::read(document(good).as_bytes()).unwrap().policies, [automatic("main", "dev")]);
    for wrong in [
        r#"{"kind":"auto-release","branch":"main","environment":"dev","more":1}"#,
        r#"{"kind":"auto-release","kind":"soak","branch":"main","environment":"dev"}"#,
        r#"{"kind":"auto-release","branch":"main","branch":"x","environment":"dev"}"#,
        r#"{"kind":"auto-release","branch":"main","environment":"../dev"}"#,
        r#"{"kind":"auto-release","branch":"","environment":"dev"}"#,
        r#"{"kind":"auto-Release","branch":"main","environment":"dev"}"#,
        r#"{"branch":"main","environment":"dev"}"#,
        r#"{"kind":"branch-restriction","branch":"(","environment":"dev"}"#,
        r#"{"kind":"branch-restriction","branch":"a","match":"maybe","environment":"dev"}"#,
        r#"{"kind":"evidence","environment":"dev"}"#,
        r#"{"kind":"soak","environment":"dev","upstream":["dev"],"duration":"1h"}"#,
        r#"{"kind":"soak","environment":"prod","upstream":[],"duration":"1h"}"#,
        r#"{"kind":"soak","environment":"prod","upstream":["dev"],"duration":"-1h"}"#,
        r#"{"kind":"soak","environment":"prod","upstream":["dev"],"duration":"0s"}"#,
        r#"{"kind":"soak","environment":"prod","upstream":["dev"],"duration":"9999h"}"#,
        r#"{"kind":"soak","environment":"prod","upstream":["dev"],"duration":"1 month"}"#,
        r#"{"kind":"approval","environment":"prod","minimum":0,"approvers":[{"group":"qa"}]}"#,
        r#"{"kind":"approval","environment":"prod","minimum":1,"approvers":[]}"#,
        r#"{"kind":"approval","environment":"prod","minimum":1,"approvers":[{"group":"qa","role":"lead"}]}"#,
        r#"{"kind":"approval","environment":"prod","minimum":1,"approvers":[{"required":true}]}"#,
        r#"{"kind":"approval","environment":"prod","minimum":2,"approvers":[{"subject":"ann"}]}"#,
        r#"{"kind":"approval","environment":"prod","minimum":2,"approvers":[{"subject":"ann"},{"subject":"ann","required":true}]}"#,
    ] {
        let failure = Document::read(document(wrong).as_bytes()).unwrap_err();
        assert_eq!(failure.code(), Code::PolicyInvalid, "{wrong}");
    }
    assert!(Document::read(br#"{"type":"consign.policies/v2","policies":[]}"#).is_err());
    assert!(Document::read(b"hello world").is_err());
    let rendered = Document::new(vec![automatic("main", "dev")]).render();
    assert_eq!(Document::read(&rendered).unwrap().render(), rendered);
}
