//! What there is to manage: environments as a graph, the deployers that change them, policies for all.
//!
//! A [`Plan`] is checked when it is made: every name is known, none stands twice, and nothing is promoted
//! in a circle. It comes from the configuration as plain values.

use std::collections::{BTreeMap, BTreeSet};

use super::deployer::git::{Credentials, SigningKey};
use crate::model::artifact::Person;
use crate::model::delivery::Environment;
use crate::model::failure::Result;
use crate::model::policy::{Global, Stage};
use crate::model::{Code, Failure, FileName};

/// Everything that a manager has to be told.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    environments: Vec<Environment>,
    deployers: BTreeMap<String, Deployer>,
    global: Global,
}

/// How environments are changed.
#[derive(Clone, Debug)]
pub enum Deployer {
    /// By commits in a configuration repository.
    Git(GitSettings),
}

/// A configuration repository.
#[derive(Clone, Debug)]
pub struct GitSettings {
    /// Its address, as git knows it. It has no password in it.
    pub address: String,
    /// The branch that is written.
    pub branch: String,
    /// Who commits.
    pub committer: Person,
    /// What commits are signed with, if they are.
    pub signing: Option<SigningKey>,
    /// How the server proves who it is.
    pub credentials: Credentials,
    /// Whether there are copies of policies in it, for the tools that read them there.
    pub has_policies: bool,
}

impl Plan {
    /// A plan, if it holds together.
    pub fn new(environments: Vec<Environment>, deployers: BTreeMap<String, Deployer>, global: Global) -> Result<Self> {
        let mut known = BTreeSet::new();
        for environment in &environments {
            let name = &environment.name;
            if !known.insert(name) {
                return Err(invalid(format!("the environment `{name}` is there twice")));
            }
            if !deployers.contains_key(&environment.deployer) {
                return Err(invalid(format!(
                    "the environment `{name}` has the deployer `{}`, which is not there",
                    environment.deployer
                ))
                .hint("name one of the deployers of the same file"));
            }
        }
        for environment in &environments {
            if let Some(unknown) = environment.from.iter().find(|from| !known.contains(from)) {
                return Err(invalid(format!(
                    "`{}` is promoted from `{unknown}`, which is no environment",
                    environment.name
                )));
            }
        }
        Ok(Self { environments: in_order(environments)?, deployers, global })
    }

    /// Every environment, none before those that it is promoted from.
    pub fn environments(&self) -> &[Environment] {
        &self.environments
    }

    /// The deployers by name.
    pub fn deployers(&self) -> &BTreeMap<String, Deployer> {
        &self.deployers
    }

    /// The policies that stand above those of any service.
    pub fn global(&self) -> &Global {
        &self.global
    }

    /// One environment.
    pub fn environment(&self, name: &FileName) -> Result<&Environment> {
        let found = self.environments.iter().find(|environment| environment.name == *name);
        found.ok_or_else(|| {
            let known: Vec<_> = self.environments.iter().map(|environment| environment.name.as_str()).collect();
            let unknown =
                Failure::new(Code::EnvironmentUnknown, format!("unknown environment: {name}")).subject(name.as_str());
            if known.is_empty() {
                unknown.hint(
                    "the server manages no environments: name them in the file of `consign-server serve --manage FILE`",
                )
            } else {
                unknown.hint(format!("there are {}", known.join(", ")))
            }
        })
    }

    /// Where an environment stands: those that are promoted from the same ones are one stage.
    pub fn stage(&self, name: &FileName) -> Stage {
        let from = |environment: &Environment| environment.from.iter().cloned().collect::<BTreeSet<_>>();
        let Some(own) = self.environments.iter().find(|environment| environment.name == *name) else {
            return Stage::default();
        };
        let is_beside = |other: &&Environment| other.name != *name && from(other) == from(own);
        let beside = self.environments.iter().filter(is_beside).map(|other| other.name.clone()).collect();
        Stage { from: own.from.clone(), beside }
    }

    /// Whether somebody reports what becomes of releases into an environment.
    pub fn is_observed(&self, name: &FileName) -> bool {
        self.environments.iter().any(|environment| environment.name == *name && environment.is_observed)
    }
}

/// The environments so that none stands before those that it is promoted from, and otherwise as they were.
fn in_order(environments: Vec<Environment>) -> Result<Vec<Environment>> {
    let (mut left, mut sorted) = (environments, Vec::<Environment>::new());
    while !left.is_empty() {
        let is_ready = |environment: &Environment| {
            environment.from.iter().all(|from| sorted.iter().any(|before| before.name == *from))
        };
        let Some(next) = left.iter().position(is_ready) else {
            let names: Vec<_> = left.iter().map(|environment| environment.name.as_str()).collect();
            return Err(invalid(format!("environments are promoted in a circle: {}", names.join(", "))));
        };
        sorted.push(left.remove(next));
    }
    Ok(sorted)
}

fn invalid(what: impl Into<String>) -> Failure {
    Failure::new(Code::ConfigInvalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(environments: &[(&str, &[&str])]) -> Result<Plan> {
        let environments = environments.iter().map(|(name, from)| Environment {
            name: name.parse().expect("a name"),
            from: from.iter().map(|name| name.parse().expect("a name")).collect(),
            deployer: "config".to_owned(),
            is_observed: false,
        });
        let git = GitSettings {
            address: "/config.git".to_owned(),
            branch: "main".to_owned(),
            committer: Person { name: "Consign".to_owned(), email: "consign@example.com".to_owned() },
            signing: None,
            credentials: Credentials::None,
            has_policies: false,
        };
        Plan::new(
            environments.collect(),
            BTreeMap::from([("config".to_owned(), Deployer::Git(git))]),
            Global::default(),
        )
    }

    #[test]
    fn none_stands_before_what_it_is_promoted_from() {
        let plan = plan(&[("prod", &["staging", "dev"]), ("staging", &["dev"]), ("dev", &[])]).expect("a graph");
        let names: Vec<_> = plan.environments().iter().map(|environment| environment.name.as_str()).collect();
        assert_eq!(names, ["dev", "staging", "prod"]);
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        for (wrong, why) in [
            (plan(&[("dev", &["prod"]), ("prod", &["dev"])]), "in a circle: dev, prod"),
            (plan(&[("dev", &["dev"])]), "in a circle: dev"),
            (plan(&[("dev", &[]), ("dev", &[])]), "there twice"),
            (plan(&[("prod", &["dev"])]), "no environment"),
        ] {
            let failure = wrong.expect_err(why);
            assert!(failure.to_string().contains(why), "{failure}");
        }
    }

    #[test]
    fn an_unknown_environment_is_named_with_those_that_there_are() {
        let plan = plan(&[("dev", &[]), ("prod", &["dev"])]).expect("a graph");
        let failure = plan.environment(&"qa".parse().expect("a name")).expect_err("it is unknown");
        assert_eq!(failure.to_string(), "unknown environment: qa");
        assert_eq!(failure.way_out(), Some("there are dev, prod"));
    }
}
