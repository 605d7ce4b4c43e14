//! The release manager through the real programs: from an artifact to a commit in a configuration repository.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use camino::Utf8Path;
use serde_json::Value;

use crate::place::{Kind, Place, Running, consign};
use crate::support::{Scratch, both, clean, succeed};

/// What everybody signs with who tells the server something.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A server that manages two environments in a configuration repository of its own.
pub struct Managed {
    pub place: Place,
    pub server: Running,
    pub home: Scratch,
}

impl Managed {
    /// With further lines of the file of environments; nothing, where the database is not installed.
    pub fn new(kind: Kind, more: &str) -> Option<Self> {
        let place = Place::new(kind, &[])?;
        git(place.scratch.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "config.git"]);
        Some(Self::over(place, "repository = \"config.git\"\n", more))
    }

    /// Over a repository that is somewhere else: the lines of its table say where.
    pub fn over(mut place: Place, repository: &str, more: &str) -> Self {
        for sender in ["GITHUB", "FLUX", "DAEMON"] {
            place.variable(&format!("CONSIGN_WEBHOOK_{sender}_SECRET"), SECRET);
        }
        let file = place.scratch.path().join("environments.toml");
        let environments = format!(
            "[deployer.config]\n{repository}\
             [[environment]]\nname = \"dev\"\n[[environment]]\nname = \"prod\"\nfrom = [\"dev\"]\n"
        );
        fs_err::write(&file, format!("{environments}{more}")).unwrap();
        place.option("--manage", file.as_str());
        let server = place.start();
        let managed = Self { home: Scratch::new(), server, place };
        managed.log_in(&managed.place.token("admin:*"));
        managed
    }

    pub fn log_in(&self, token: &str) {
        let mut child = consign(self.home.path(), &self.server, &["login"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    pub fn run(&self, arguments: &[&str]) -> Command {
        let mut command = consign(self.home.path(), &self.server, arguments);
        command.current_dir(self.home.path());
        command
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&succeed(self.run(arguments).args(["--format", "json"]))).unwrap()
    }

    /// What a command that is refused says, and its exit code.
    pub fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}: {}", both(&output));
        (output.status.code().unwrap(), both(&output))
    }

    /// Pushes an artifact of the service `web` with manifests for both environments.
    pub fn push(&self, id: &str, branch: &str) {
        self.push_of("web", id, branch, &["dev", "prod"]);
    }

    /// Pushes an artifact with manifests for these environments.
    pub fn push_of(&self, service: &str, id: &str, branch: &str, environments: &[&str]) {
        self.push_with(service, id, environments, |record| record["source"]["branch"] = branch.into());
    }

    /// The same with a record of one's own.
    pub fn push_with(&self, service: &str, id: &str, environments: &[&str], change: impl FnOnce(&mut Value)) {
        let deploy = self.home.path().join(id);
        for environment in environments {
            let directory = deploy.join(environment);
            fs_err::create_dir_all(&directory).unwrap();
            fs_err::write(directory.join("deployment.yaml"), format!("image: {service}:{id}\n")).unwrap();
        }
        let file = self.home.path().join(format!("{id}.json"));
        let mut record = crate::place::record(service, id);
        record["source"]["message"] = format!("Change {id}").into();
        record["source"]["author"] = serde_json::json!({ "name": "Åsa", "email": "asa@example.com" });
        change(&mut record);
        fs_err::write(&file, record.to_string()).unwrap();
        succeed(&mut self.run(&["artifact", "push", "--file", file.as_str(), "--payload", deploy.as_str()]));
    }

    /// What `git` says in the configuration repository.
    pub fn config(&self, arguments: &[&str]) -> String {
        git(&self.place.scratch.path().join("config.git"), arguments)
    }

    /// The subjects of its commits, the last one first.
    pub fn subjects(&self) -> Vec<String> {
        self.config(&["log", "--format=%s", "main"]).lines().map(str::to_owned).collect()
    }

    /// Waits until an environment has an artifact.
    pub fn until(&self, environment: &str, artifact: &str) {
        let is_there = |status: &Value| {
            status["places"]
                .as_array()
                .unwrap()
                .iter()
                .any(|place| place["environment"] == environment && place["live"]["artifact"] == artifact)
        };
        for _ in 0..600 {
            if is_there(&self.json(&["status", "--service", "web"])) {
                return;
            }
            std::thread::yield_now();
        }
        panic!("{artifact} does not come to {environment}: {}", self.json(&["status", "--service", "web"]));
    }
}

fn git(directory: &Utf8Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    clean(&mut command);
    succeed(command.current_dir(directory).args(arguments))
}

#[test]
fn an_artifact_is_released_promoted_and_rolled_back_and_the_history_tells() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, "") else { continue };
        managed.push("main-1", "main");
        let on = ["--service", "web"];
        let run = |arguments: &[&str]| succeed(&mut managed.run(&[arguments, &on].concat()));
        run(&["policy", "apply", "branch-restriction", "--branch-regex", "main", "--env", "prod"]);
        let released = run(&["release", "--env", "dev", "--branch", "main", "--wait"]);
        assert!(released.contains("[✓] Release of main-1 to dev initialized"), "{released}");
        run(&["promote", "--env", "prod", "--wait"]);
        let again = run(&["promote", "--env", "prod", "--wait"]);
        assert!(again.contains("[✓] Environment prod is already up-to-date"), "{again}");
        managed.push("main-2", "main");
        run(&["release", "--env", "dev,prod", "--artifact", "main-2", "--wait"]);
        run(&["rollback", "--env", "prod", "--wait"]);
        let subjects = managed.subjects();
        let expected = [
            "[prod/web] rollback main-1 by test",
            "[prod/web] release main-2 by test",
            "[dev/web] release main-2 by test",
            "[prod/web] release main-1 by test",
            "[dev/web] release main-1 by test",
        ];
        assert_eq!(subjects, expected);
        let file = "main:prod/releases/prod/web/deployment.yaml";
        assert_eq!(managed.config(&["show", file]), "image: web:main-1\n");
        let status = managed.json(&["status", "--service", "web"]);
        let live: Vec<_> =
            status["places"].as_array().unwrap().iter().map(|place| &place["live"]["artifact"]).collect();
        assert_eq!(live, ["main-2", "main-1"]);
        assert_eq!(status["places"][1]["hold"]["reason"], "rolled back to main-1");
        assert!(managed.config(&["fsck", "--strict", "--no-dangling"]).is_empty());
        managed.place.sound();
    }
}

#[test]
fn automation_does_not_undo_a_rollback_until_it_is_resumed() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    let on = ["--service", "web"];
    let run = |arguments: &[&str]| succeed(&mut managed.run(&[arguments, &on].concat()));
    run(&["policy", "apply", "auto-release", "--branch", "main", "--env", "dev"]);
    managed.push("main-1", "main");
    managed.until("dev", "main-1");
    managed.push("main-2", "main");
    managed.until("dev", "main-2");
    run(&["rollback", "--env", "dev", "--wait"]);
    managed.push("main-3", "main");
    // Whatever is pushed after it was looked at once this one is: another environment tells.
    run(&["release", "--env", "prod", "--artifact", "main-3", "--wait"]);
    managed.until("dev", "main-1");
    let resumed = managed.json(&["resume", "--env", "dev", "--service", "web"]);
    assert_eq!(resumed["was_held"], true);
    managed.until("dev", "main-3");
}

#[test]
fn what_policies_refuse_is_refused_and_explained() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    let on = ["--service", "web"];
    let run = |arguments: &[&str]| succeed(&mut managed.run(&[arguments, &on].concat()));
    run(&["policy", "apply", "branch-restriction", "--branch-regex", "main", "--env", "prod"]);
    managed.push("feature-1", "feature");
    let (code, said) =
        managed.refused(&["release", "--service", "web", "--env", "dev,prod", "--artifact", "feature-1", "--wait"]);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("[✓] Release of feature-1 to dev"), "{said}");
    assert!(said.contains("[X] Release of feature-1 to prod refused"), "{said}");
    let explained = run(&["explain", "--artifact", "feature-1", "--env", "prod"]);
    assert!(explained.contains("branch-restriction-prod"), "{explained}");
    let (code, said) = managed.refused(&["release", "--service", "web", "--env", "qa", "--artifact", "feature-1"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("unknown environment: qa"), "{said}");
}

#[test]
fn a_restriction_that_comes_while_a_release_waits_stops_it() {
    let approval = "[[policy]]\nkind = \"approval\"\nenvironment = \"prod\"\nminimum = 1\n\
         [[policy.approvers]]\nrole = \"approve\"\n";
    let managed = Managed::new(Kind::Sqlite, approval).unwrap();
    managed.push("feature-1", "feature");
    let request = ["release", "--service", "web", "--env", "prod", "--artifact", "feature-1"];
    let waiting = managed.json(&request);
    assert_eq!(waiting["results"][0]["result"], "needs-approval");
    let id = waiting["results"][0]["release"].as_str().unwrap();
    succeed(&mut managed.run(&[
        "policy",
        "apply",
        "branch-restriction",
        "--service",
        "web",
        "--branch-regex",
        "main",
        "--env",
        "prod",
    ]));
    let release = managed.json(&["describe", "release", "--service", "web", "--id", id]);
    assert_eq!((release["state"].as_str(), release["code"].as_str()), (Some("failed"), Some("policy_refused")));
    assert!(managed.config(&["for-each-ref"]).is_empty());
}

#[test]
fn nobody_approves_what_they_asked_for() {
    let approval = "[[policy]]\nkind = \"approval\"\nenvironment = \"prod\"\nminimum = 1\n\
         [[policy.approvers]]\nrole = \"approve\"\n";
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, approval) else { continue };
        managed.push("main-1", "main");
        let request = ["release", "--service", "web", "--env", "prod", "--artifact", "main-1"];
        let id = managed.json(&request)["results"][0]["release"].as_str().unwrap().to_owned();
        let vote = ["approve", "--service", "web", "--env", "prod", "--artifact", "main-1"];
        let (code, said) = managed.refused(&vote);
        assert_eq!(code, 6, "{said}");
        managed.log_in(&managed.place.token("approve:web@prod"));
        succeed(&mut managed.run(&vote));
        for _ in 0..600 {
            if managed.json(&["describe", "release", "--service", "web", "--id", &id])["state"] == "pushed" {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(managed.subjects().len(), 1);
    }
}

#[test]
fn each_environment_has_a_line_of_its_own_and_one_that_is_refused_stops_no_other() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    let on = ["--service", "web"];
    let run = |arguments: &[&str]| succeed(&mut managed.run(&[arguments, &on].concat()));
    managed.push("main-1", "main");
    let both = run(&["release", "--env", "dev,prod", "--branch", "main", "--wait"]);
    let lines: Vec<_> = both.lines().collect();
    assert_eq!(lines[0], "Release of service web using branch main");
    assert!(lines[1].starts_with("[✓] Release of main-1 to dev initialized"), "{both}");
    assert!(lines[2].starts_with("[✓] Release of main-1 to prod initialized"), "{both}");
    let again = run(&["release", "--env", "prod", "--env", "dev", "--artifact", "main-1"]);
    let lines: Vec<_> = again.lines().collect();
    assert_eq!(lines[0], "Release of service: web");
    assert!(lines[1].starts_with("[✓] Environment prod is already up-to-date"), "{again}");
    assert!(lines[2].starts_with("[✓] Environment dev is already up-to-date"), "{again}");
    assert_eq!(managed.subjects().len(), 2, "nothing was written again");

    run(&["policy", "apply", "branch-restriction", "--branch-regex", "main", "--env", "dev"]);
    managed.push("feature-1", "feature");
    let (code, said) =
        managed.refused(&["release", "--service", "web", "--env", "dev,prod", "--branch", "feature", "--wait"]);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("[X] Release of feature-1 to dev refused"), "{said}");
    assert!(said.contains("(branch-restriction-dev)"), "the policy is named: {said}");
    assert!(said.contains("[✓] Release of feature-1 to prod initialized"), "{said}");
    managed.until("prod", "feature-1");
    managed.until("dev", "main-1");

    for nothing in [&["--env", ""][..], &["--env", ","], &[]] {
        let (code, said) =
            managed.refused(&[&["release", "--service", "web", "--artifact", "main-1"], nothing].concat());
        assert_eq!(code, 2, "{said}");
    }
}

#[test]
fn what_is_checked_out_says_which_branch_is_released() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    managed.push("main-1", "main");
    managed.push("feature-1", "feature/awesome");
    let checkout = managed.home.path().join("checkout");
    git(managed.home.path(), &["init", "--quiet", "--initial-branch=feature/awesome", "checkout"]);
    let commit =
        ["-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "--quiet", "--allow-empty", "-m", "A"];
    git(&checkout, &commit);
    let released = succeed(managed.run(&["release", "--service", "web", "--env", "dev", "-c"]).current_dir(&checkout));
    assert!(released.starts_with("Release of service web using branch feature/awesome\n"), "{released}");
    managed.until("dev", "feature-1");
    git(&checkout, &["checkout", "--quiet", "--detach"]);
    let output =
        managed.run(&["release", "--service", "web", "--env", "dev", "-c"]).current_dir(&checkout).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    assert!(both(&output).contains("Could not determine current branch"), "{}", both(&output));
}
