//! The policy files of the older system, read and written.
//!
//! That system keeps `policies/<service>.json` in its config repository and knows two kinds of policy. Its reader
//! refuses unknown fields, so [`write`] writes its schema and nothing else. Its patterns are searched for
//! anywhere in a branch: [`read`] keeps that meaning, and [`write`] puts anchors where ours are anchored.

use serde::{Deserialize, Serialize};

use super::{AutoRelease, BranchMatch, BranchRestriction, Policy, invalid};
use crate::model::failure::Result;
use crate::model::{FileName, pretty};

/// The largest file that is read, in bytes.
const MAX_BYTES: usize = super::MAX_BYTES;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    #[serde(skip_serializing_if = "String::is_empty")]
    service: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    auto_releases: Vec<Automatic>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    branch_restrictions: Vec<Restriction>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Automatic {
    #[serde(default)]
    id: String,
    branch: String,
    environment: FileName,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Restriction {
    #[serde(default)]
    id: String,
    branch_regex: String,
    environment: FileName,
}

/// The path of a service's file in the config repository. What is not a name has none.
pub fn path(service: &str) -> Option<String> {
    service.parse::<FileName>().ok().map(|service| format!("policies/{service}.json"))
}

/// Reads a file. Nothing is `None`: an empty file, and one without policies, are as good as none.
pub fn read(bytes: &[u8]) -> Result<Option<Vec<Policy>>> {
    if bytes.len() > MAX_BYTES {
        return Err(invalid(format!("the policy file is larger than {MAX_BYTES} bytes")));
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let file: File = serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data if error.to_string().starts_with("unknown field") => {
                "the policy file contains unknown fields"
            }
            serde_json::error::Category::Data => "the policy file has another form",
            _ => "the policy file is not parsable",
        };
        invalid(what).because(error)
    })?;
    let automatic = file
        .auto_releases
        .into_iter()
        .map(|policy| Policy::AutoRelease(AutoRelease { branch: policy.branch, environment: policy.environment }));
    let restrictions = file.branch_restrictions.into_iter().map(|policy| {
        Policy::BranchRestriction(BranchRestriction {
            environment: policy.environment,
            branch: policy.branch_regex,
            matching: BranchMatch::Contains,
        })
    });
    let policies: Vec<_> = automatic.chain(restrictions).collect();
    policies.iter().try_for_each(Policy::check)?;
    Ok((!policies.is_empty()).then_some(policies))
}

/// Writes the file of a service out of its own policies. Without any of the two kinds there is none.
pub fn write(service: &FileName, local: &[Policy]) -> Option<Vec<u8>> {
    let mut file = File { service: service.to_string(), ..File::default() };
    for policy in local {
        match policy {
            Policy::AutoRelease(AutoRelease { branch, environment }) => file.auto_releases.push(Automatic {
                id: policy.id(),
                branch: branch.clone(),
                environment: environment.clone(),
            }),
            Policy::BranchRestriction(restriction) => file.branch_restrictions.push(Restriction {
                id: policy.id(),
                branch_regex: restriction.as_search(),
                environment: restriction.environment.clone(),
            }),
            _ => {}
        }
    }
    let is_empty = file.auto_releases.is_empty() && file.branch_restrictions.is_empty();
    (!is_empty).then(|| as_go_writes(&pretty(&file)))
}

/// Reads the flag by which that system's server has global restrictions: `prod=^master$,dev=^(a|b)$`.
pub fn mappings(flag: &str) -> Result<Vec<Policy>> {
    let mut policies: Vec<Policy> = Vec::new();
    for mapping in flag.split(',').filter(|_| !flag.is_empty()) {
        let (environment, regex) =
            mapping.split_once('=').ok_or_else(|| invalid(format!("invalid format '{mapping}'")))?;
        if regex.contains('=') {
            return Err(invalid(format!("invalid format '{mapping}'")));
        }
        let mapped = environment.parse().ok().filter(|_| !regex.is_empty());
        let environment: FileName = mapped.ok_or_else(|| invalid(format!("invalid mapping '{mapping}'")))?;
        let is_there =
            |policy: &Policy| matches!(policy, Policy::BranchRestriction(there) if there.environment == environment);
        if policies.iter().any(is_there) {
            return Err(invalid(format!("conflicting mappings for {environment}")));
        }
        let policy = Policy::BranchRestriction(BranchRestriction {
            environment,
            branch: regex.to_owned(),
            matching: BranchMatch::Contains,
        });
        policy.check()?;
        policies.push(policy);
    }
    Ok(policies)
}

/// The encoder of the older system escapes what a browser could take for markup. These stand in texts only.
fn as_go_writes(json: &[u8]) -> Vec<u8> {
    let json = String::from_utf8_lossy(json);
    let escaped = ['<', '>', '&', '\u{2028}', '\u{2029}'].iter().fold(json.into_owned(), |json, character| {
        json.replace(*character, &format!("\\u{:04x}", u32::from(*character)))
    });
    escaped.into_bytes()
}
