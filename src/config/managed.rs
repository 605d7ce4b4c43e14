//! The file that says what a server manages: environments, the repositories that change them, and the
//! policies that stand above those of any service.
//!
//! [`read`] turns it into a [`Plan`]. Paths in it are seen from the directory that it lies in. Secrets are
//! not in it, but in files that it names.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use crate::manager::deployer::git::{Credentials, SigningKey};
use crate::manager::{Deployer, GitSettings, Plan};
use crate::model::artifact::Person;
use crate::model::delivery::Environment;
use crate::model::failure::Result;
use crate::model::policy::{Global, Policy};
use crate::model::{Code, Failure, FileName};
use crate::world::files;
use crate::world::keys::{self, Exposure};

/// The largest file that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    deployer: BTreeMap<FileName, DeployerTable>,
    #[serde(default)]
    environment: Vec<EnvironmentTable>,
    #[serde(default)]
    policy: Vec<Policy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DeployerTable {
    /// The address of a git repository.
    repository: String,
    #[serde(default = "main")]
    branch: String,
    #[serde(default = "committer")]
    committer: Person,
    /// Whether there are copies of policies in it.
    #[serde(default)]
    policies: bool,
    /// The user of an https address.
    user: Option<String>,
    /// The file with the password or token of that user.
    password_file: Option<Utf8PathBuf>,
    /// The private key of an ssh address.
    ssh_key: Option<Utf8PathBuf>,
    /// The hosts that are known.
    known_hosts: Option<Utf8PathBuf>,
    /// The ssh key that commits are signed with.
    signing_key: Option<Utf8PathBuf>,
    /// The key of `GnuPG` that they are signed with.
    gpg_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentTable {
    name: FileName,
    /// The environments that it is promoted from.
    #[serde(default)]
    from: Vec<FileName>,
    /// May be left out where there is only one.
    deployer: Option<FileName>,
    /// Whether a daemon or Flux reports what becomes of releases.
    #[serde(default)]
    observed: bool,
}

fn main() -> String {
    "main".to_owned()
}

fn committer() -> Person {
    Person { name: "Consign".to_owned(), email: "consign@localhost".to_owned() }
}

/// Reads the file.
pub fn read(path: &Utf8Path) -> Result<Plan> {
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    parse(&String::from_utf8_lossy(&bytes), path.parent().unwrap_or(Utf8Path::new(""))).map_err(|failure| {
        // Whoever starts a server has no policy to mend but this file.
        let code = match failure.code() {
            Code::PolicyInvalid | Code::PolicyConflict => Code::ConfigInvalid,
            code => code,
        };
        let hint = failure.way_out().unwrap_or("docs/releasing.md has a table of what can stand there").to_owned();
        Failure::new(code, format!("`{path}` cannot be used")).subject(path.as_str()).because(failure).hint(hint)
    })
}

fn parse(text: &str, directory: &Utf8Path) -> Result<Plan> {
    let document: Document =
        toml::from_str(text).map_err(|error| invalid("the file of environments cannot be read").because(error))?;
    let only = document.deployer.keys().next().filter(|_| document.deployer.len() == 1).cloned();
    let environments = document.environment.into_iter().map(|table| {
        let deployer = table.deployer.or_else(|| only.clone()).ok_or_else(|| {
            invalid(format!("the environment `{}` does not say which deployer it has", table.name))
                .hint("add `deployer = \"NAME\"`, and `[deployer.NAME]` with `repository = …`")
        })?;
        let EnvironmentTable { name, from, observed, .. } = table;
        Ok(Environment { name, from, deployer: deployer.to_string(), is_observed: observed })
    });
    let environments = environments.collect::<Result<_>>()?;
    let deployers = document
        .deployer
        .into_iter()
        .map(|(name, table)| Ok((name.to_string(), Deployer::Git(table.settings(directory)?))))
        .collect::<Result<_>>()?;
    Plan::new(environments, deployers, Global::new(document.policy)?)
}

impl DeployerTable {
    fn settings(self, directory: &Utf8Path) -> Result<GitSettings> {
        let place = |path: Utf8PathBuf| directory.join(path);
        let credentials = match (self.user, self.password_file, self.ssh_key) {
            (None, None, None) => Credentials::None,
            (Some(user), Some(file), None) => {
                let bytes = keys::read_private(&place(file), Exposure::Tolerated)?;
                let password = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                Credentials::Password { user, password }
            }
            (None, None, Some(key)) => {
                Credentials::SshKey { key: place(key), known_hosts: self.known_hosts.map(place) }
            }
            _ => {
                return Err(invalid("a deployer has `user` and `password-file`, or `ssh-key`, or none of them"));
            }
        };
        let signing = match (self.signing_key, self.gpg_key) {
            (None, None) => None,
            (Some(key), None) => Some(SigningKey::Ssh(place(key))),
            (None, Some(id)) => Some(SigningKey::Gpg { id, home: None }),
            (Some(_), Some(_)) => return Err(invalid("a deployer has `signing-key` or `gpg-key`, and not both")),
        };
        // A path is seen from the file; everything else is git's to understand.
        let is_path = !self.repository.contains(':');
        let address = if is_path { directory.join(&self.repository).into_string() } else { self.repository };
        Ok(GitSettings {
            address,
            branch: self.branch,
            committer: self.committer,
            signing,
            credentials,
            has_policies: self.policies,
        })
    }
}

fn invalid(what: impl Into<String>) -> Failure {
    Failure::new(Code::ConfigInvalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[deployer.config]
repository = "config.git"
branch = "master"

[[environment]]
name = "prod"
from = ["dev"]
observed = true

[[environment]]
name = "dev"

[[policy]]
kind = "branch-restriction"
environment = "prod"
branch = "main"
"#;

    #[test]
    fn a_file_becomes_a_plan() {
        let plan = parse(FILE, Utf8Path::new("/etc/consign")).expect("a plan");
        let names: Vec<_> = plan.environments().iter().map(|environment| environment.name.as_str()).collect();
        assert_eq!(names, ["dev", "prod"]);
        assert_eq!(plan.global().policies().len(), 1);
        let Some(Deployer::Git(git)) = plan.deployers().get("config") else { panic!("there is one") };
        assert_eq!((git.address.as_str(), git.branch.as_str()), ("/etc/consign/config.git", "master"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (wrong, why) in [
            ("[[environment]]\nname = \"dev\"\n", "does not say which deployer"),
            ("[[environment]]\nname = \"dev\"\ncolour = \"red\"\n", "cannot be read"),
            ("[deployer.a]\nrepository = \"x\"\nuser = \"u\"\n", "`user` and `password-file`"),
            ("[deployer.a]\nrepository = \"x\"\nsigning-key = \"k\"\ngpg-key = \"k\"\n", "and not both"),
            ("[[policy]]\nkind = \"branch-restriction\"\nenvironment = \"prod\"\nbranch = \"^master(\"\n", "regex"),
        ] {
            let failure = parse(wrong, Utf8Path::new("")).expect_err(why);
            assert!(failure.to_string().contains(why), "{why}: {failure}");
        }
    }
}
