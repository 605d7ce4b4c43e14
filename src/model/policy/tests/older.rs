//! The files of the older system.

use super::*;
use crate::model::policy::older;

const FILE: &str = r#"{
  "service": "web",
  "autoReleases": [
    {
      "id": "auto-release-master-dev",
      "branch": "master",
      "environment": "dev"
    }
  ],
  "branchRestrictions": [
    {
      "id": "branch-restriction-prod",
      "branchRegex": "^master$",
      "environment": "prod"
    }
  ]
}
"#;

#[test]
fn a_file_is_read_and_written_again_byte_for_byte() {
    let policies = older::read(FILE.as_bytes()).unwrap().unwrap();
    assert_eq!(policies, [automatic("master", "dev"), restricted("^master$", "prod", BranchMatch::Contains)]);
    assert_eq!(String::from_utf8(older::write(&name("web"), &policies).unwrap()).unwrap(), FILE);
}

#[test]
fn files_that_are_none() {
    for empty in ["", "\n", "{}", r#"{"service":"web"}"#, r#"{"service":"web","autoReleases":[]}"#] {
        assert_eq!(older::read(empty.as_bytes()).unwrap(), None, "{empty:?}");
    }
    for (wrong, expected) in [
        ("hello world", "the policy file is not parsable"),
        (r#"{"service":"#, "the policy file is not parsable"),
        (r#"{"unknown":"field"}"#, "the policy file contains unknown fields"),
        (r#"{"autoReleases":[{"branch":"a","environment":"b","more":1}]}"#, "the policy file contains unknown fields"),
        (r#"{"service":1}"#, "the policy file has another form"),
        (
            r#"{"branchRestrictions":[{"branchRegex":"(","environment":"b"}]}"#,
            "branch regex not valid: missing closing ) in `(`",
        ),
    ] {
        assert_eq!(older::read(wrong.as_bytes()).unwrap_err().to_string(), expected, "{wrong}");
    }
}

#[test]
fn no_path_leads_out_of_the_directory() {
    assert_eq!(older::path("web").unwrap(), "policies/web.json");
    for wrong in ["../x", "", "a/b", ".", "/etc/passwd"] {
        assert_eq!(older::path(wrong), None, "{wrong}");
    }
}

#[test]
fn without_policies_of_its_own_a_service_has_those_of_the_configuration() {
    let set = PolicySet::stored(name("web"), Global::new(vec![only("a", "dev")]).unwrap(), Vec::new());
    assert_eq!(set.effective().len(), 1);
    assert_eq!(older::write(&name("web"), set.local()), None);
}

#[test]
fn the_mirror_says_in_the_older_meaning_what_ours_say() {
    let regex = |policy: Policy| {
        let file = older::write(&name("web"), &[policy]).unwrap();
        let read = older::read(&file).unwrap().unwrap();
        let [Policy::BranchRestriction(restriction)] = &read[..] else { panic!("{read:?}") };
        restriction.branch.clone()
    };
    assert_eq!(regex(only("master", "dev")), "^(?:master)$");
    assert_eq!(regex(only("^master$", "dev")), "^master$");
    assert_eq!(regex(only("^a$|^b$", "dev")), "^(?:^a$|^b$)$");
    assert_eq!(regex(only("a|b", "dev")), "^(?:a|b)$");
    assert_eq!(regex(restricted("master", "dev", BranchMatch::Contains)), "master");
    // Only the two kinds that it knows, and the escapes of its encoder.
    let freeze = r#"{"kind":"freeze","name":"x","window":{"once":{"from":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z"}}}"#;
    assert_eq!(older::write(&name("web"), &[written(freeze)]), None);
    let file = older::write(&name("web"), &[automatic("a<b>&c", "dev")]).unwrap();
    assert!(String::from_utf8(file).unwrap().contains(r"a\u003cb\u003e\u0026c"));
}

#[test]
fn the_flag_of_the_older_server_is_read() {
    let read = older::mappings("prod=^master$,dev=^(a|b)$").unwrap();
    assert_eq!(read.iter().map(Policy::id).collect::<Vec<_>>(), ["branch-restriction-prod", "branch-restriction-dev"]);
    assert_eq!(older::mappings("").unwrap(), []);
    for (wrong, expected) in [
        ("prod", "invalid format 'prod'"),
        ("prod=a=b", "invalid format 'prod=a=b'"),
        ("=a", "invalid mapping '=a'"),
        ("prod=", "invalid mapping 'prod='"),
        ("prod=a,prod=b", "conflicting mappings for prod"),
    ] {
        assert_eq!(older::mappings(wrong).unwrap_err().to_string(), expected, "{wrong}");
    }
}
