//! The examples of the documentation.

use super::*;

const PAGE: &str = include_str!("../../../../docs/policies.md");

fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[test]
fn every_policy_of_the_documentation_can_be_written() {
    let mut set = set([]);
    let mut kinds = BTreeSet::new();
    for block in blocks("json") {
        let policy: Policy = serde_json::from_str(block).unwrap_or_else(|error| panic!("{block}: {error}"));
        let kind = serde_json::to_value(&policy).unwrap()["kind"].as_str().unwrap().to_owned();
        let id = set.apply(policy).unwrap();
        assert!(PAGE.contains(&format!("`{id}`")), "{id} is not named");
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 12, "{kinds:?}");
    for kind in kinds {
        assert!(PAGE.contains(&format!("## `{kind}`")), "{kind} has no section");
    }
}

#[test]
fn the_configuration_of_the_documentation_can_be_used() {
    #[derive(Deserialize)]
    struct Configured {
        policy: Vec<Policy>,
    }
    let [block] = blocks("toml")[..] else { panic!("one example") };
    let configured: Configured = toml::from_str(block).unwrap();
    assert_eq!(Global::new(configured.policy).unwrap().policies().len(), 3);
}

#[test]
fn every_reason_is_documented() {
    use ReasonCode::*;
    let all = [
        BranchRestricted,
        NotAutomated,
        Held,
        Frozen,
        OverrideForbidden,
        OverrideUnexplained,
        Soaking,
        NotUpstream,
        ApprovalMissing,
        NotProgressed,
        Blocked,
        Rejected,
        Unverified,
        TestsMissing,
        TestsFailed,
        ScanMissing,
        Vulnerable,
        PolicyInvalid,
    ];
    for code in all {
        let word = serde_json::to_value(code).unwrap();
        let outcome = if code.is_lasting() { "refused" } else { "waiting" };
        let row = format!("| `{}` | {outcome} |", word.as_str().unwrap());
        assert!(PAGE.contains(&row), "{row}");
    }
}
