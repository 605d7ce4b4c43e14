//! Config repositories on this disk, and what is landed in them.

use camino::{Utf8Path, Utf8PathBuf};
use consign::manager::deployer::git::{
    Change, ConfigRepository, Credentials, Decision, Landed, Landing, PayloadFile, Place, Settings,
};
use consign::model::Failure;
use consign::model::artifact::Person;
use consign::model::intent::Intent;
use consign::model::release_commit::ReleaseCommit;
use jiff::Timestamp;

use crate::support::{self, Scratch};

/// A remote, and the copies that servers keep of it.
pub struct Scene {
    pub scratch: Scratch,
}

impl Scene {
    pub fn new() -> Self {
        let scene = Self { scratch: Scratch::new() };
        git(scene.scratch.path(), &["init", "-q", "--bare", "--initial-branch=main", "remote.git"]);
        scene
    }

    pub fn remote(&self) -> Utf8PathBuf {
        self.scratch.path().join("remote.git")
    }

    pub fn settings(&self, copy: &str) -> Settings {
        Settings {
            directory: self.scratch.path().join(copy),
            address: self.remote().to_string(),
            branch: "main".to_owned(),
            committer: person("Consign", "consign@example.com"),
            signing: None,
            credentials: Credentials::None,
        }
    }

    pub fn open(&self, copy: &str) -> ConfigRepository {
        ConfigRepository::open(self.settings(copy)).unwrap()
    }

    /// What is in the remote.
    pub fn files(&self) -> Vec<String> {
        git(&self.remote(), &["-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", "main"])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub fn show(&self, path: &str) -> String {
        git(&self.remote(), &["show", &format!("main:{path}")])
    }

    /// The subjects in the remote, the latest first.
    pub fn subjects(&self) -> Vec<String> {
        git(&self.remote(), &["log", "--format=%s", "main"]).lines().map(str::to_owned).collect()
    }

    /// Somebody else pushes something.
    pub fn stranger(&self, name: &str) {
        let work = self.scratch.path().join(format!("stranger-{name}"));
        git(self.scratch.path(), &["clone", "-q", self.remote().as_str(), work.as_str()]);
        fs_err::write(work.join(name), name).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", name]);
        git(&work, &["push", "-q", "origin", "HEAD:main"]);
    }

    /// Somebody else is faster, at no cost to speak of.
    pub fn overtake(&self) {
        let remote = self.remote();
        let commit = git(&remote, &["commit-tree", "main^{tree}", "-p", "main", "-m", "faster"]);
        git(&remote, &["update-ref", "refs/heads/main", &commit]);
    }

    /// What the host runs before it takes a push.
    pub fn hook(&self, script: &str) {
        self.hook_named("pre-receive", script);
    }

    /// What the host runs then or then.
    pub fn hook_named(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.scratch.write(&format!("remote.git/hooks/{name}"), format!("#!/bin/sh\n{script}\n"));
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Remote and copies are as git wants them, and every release is there once.
    pub fn is_sound(&self, copies: &[&str]) {
        let judged = copies.iter().map(|copy| self.scratch.path().join(copy)).chain([self.remote()]);
        for repository in judged {
            git(&repository, &["fsck", "--strict", "--full", "--no-dangling"]);
        }
        let format = "--format=%(trailers:key=Release-ID,valueonly,separator=%x2C)";
        let named = git(&self.remote(), &["log", format, "main"]);
        let mut releases: Vec<_> = named.lines().filter(|line| !line.is_empty()).collect();
        let count = releases.len();
        releases.sort_unstable();
        releases.dedup();
        assert_eq!(releases.len(), count, "a release was committed twice: {named}");
    }
}

pub fn git(directory: &Utf8Path, arguments: &[&str]) -> String {
    support::git(directory, arguments)
}

pub fn person(name: &str, email: &str) -> Person {
    Person { name: name.to_owned(), email: email.to_owned() }
}

pub fn place(environment: &str, service: &str) -> Place {
    Place { environment: environment.to_owned(), namespace: "team".to_owned(), service: service.to_owned() }
}

pub fn file(path: &str, content: &str) -> PayloadFile {
    PayloadFile { path: path.to_owned(), bytes: content.as_bytes().to_vec(), is_executable: false }
}

pub fn record(place: &Place, artifact_id: &str, intent: Intent) -> ReleaseCommit {
    ReleaseCommit {
        environment: place.environment.clone(),
        service: place.service.clone(),
        artifact_id: artifact_id.to_owned(),
        released_by: person("Åse Ødegård", "ase@example.com"),
        created_by: person("日本語 名前", "dev@example.com"),
        intent,
    }
}

pub fn artifact_json(place: &Place, artifact_id: &str) -> Vec<u8> {
    serde_json::to_vec_pretty(&serde_json::json!({
        "id": artifact_id,
        "service": place.service,
        "application": { "branch": "main", "sha": "0123456789abcdef0123456789abcdef01234567", "message": "feat: x" },
        "ci": { "start": "2025-01-02T03:04:05Z", "end": "2025-01-02T03:04:06Z" },
        "stages": [],
    }))
    .unwrap()
}

pub fn release_of(id: &str, place: &Place, artifact_id: &str, files: &[(&str, &str)]) -> Landing {
    Landing {
        release_id: id.to_owned(),
        tried_before: false,
        change: Change::Release {
            place: place.clone(),
            artifact_json: artifact_json(place, artifact_id),
            files: files.iter().map(|(path, content)| file(path, content)).collect(),
        },
        message: record(place, artifact_id, Intent::ReleaseArtifact).message(),
        author: Some(person("Åse Ødegård", "ase@example.com")),
    }
}

/// A release with one manifest.
pub fn release(id: &str, service: &str) -> Landing {
    release_of(id, &place("dev", service), &format!("main-{id}"), &[("app.yaml", &format!("kind: X # {id}\n"))])
}

pub fn land(repository: &mut ConfigRepository, landings: &[Landing]) -> Vec<Landed> {
    try_land(repository, landings).unwrap()
}

pub fn try_land(repository: &mut ConfigRepository, landings: &[Landing]) -> Result<Vec<Landed>, Failure> {
    repository.land(landings, now(), &mut |_| Decision::Commit)
}

pub fn now() -> Timestamp {
    "2025-01-02T03:04:05Z".parse().unwrap()
}

pub fn is_pushed(landed: &[Landed]) -> bool {
    landed.iter().all(|landed| matches!(landed, Landed::Pushed(_)))
}
