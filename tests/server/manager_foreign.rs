//! Configuration repositories that another system has written, or writes too: what stands there is told.

use camino::{Utf8Path, Utf8PathBuf};
use consign::manager::deployer::git::{ConfigRepository, Credentials, Place as There, Query, Settings, Since};
use consign::model::artifact::Person;
use serde_json::{Value, json};

use crate::manager::Managed;
use crate::place::{Kind, Place};
use crate::support::{Scratch, both, git, succeed};

/// The older system, with a checkout of its own of the configuration repository.
struct Older {
    work: Utf8PathBuf,
}

impl Older {
    fn new(directory: &Utf8Path) -> Self {
        let work = directory.join("older");
        git(directory, &["clone", "--quiet", "config.git", work.as_str()]);
        Self { work }
    }

    /// Writes everything of one service as it does it: the whole directory, with the record in it.
    fn write(&self, place: &str, artifact: &str, branch: &str) {
        let below = self.work.join(place);
        let _ = fs_err::remove_dir_all(&below);
        fs_err::create_dir_all(&below).unwrap();
        fs_err::write(below.join("deployment.yaml"), format!("image: web:{artifact}\n")).unwrap();
        fs_err::write(below.join("artifact.json"), older_record(place, artifact, branch).to_string()).unwrap();
    }

    fn commit(&self, message: &str) -> String {
        git(&self.work, &["add", "--all"]);
        git(&self.work, &["commit", "--quiet", "--message", message]);
        git(&self.work, &["push", "--quiet", "origin", "HEAD:main"]);
        git(&self.work, &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Releases an artifact of `web`, with the trailers that it writes.
    fn release(&self, environment: &str, artifact: &str, intent: &str) -> String {
        git(&self.work, &["pull", "--quiet", "--rebase", "origin", "main"]);
        self.write(&format!("{environment}/releases/{environment}/web"), artifact, "main");
        self.commit(&older_message(environment, "web", artifact, intent))
    }
}

/// A record in the older system's form.
fn older_record(place: &str, artifact: &str, branch: &str) -> Value {
    json!({
        "id": artifact,
        "service": place.rsplit('/').next(),
        "application": {
            "branch": branch, "sha": "0123456789abcdef0123456789abcdef01234567", "authorName": "Dora Dev",
            "authorEmail": "dora@example.com", "committerName": "Dora Dev", "committerEmail": "dora@example.com",
            "message": format!("Change {artifact}\n\nwith more words"), "name": "web",
            "url": "https://git.example.com/web/commit/0123456789", "provider": "github",
        },
        "ci": { "jobUrl": "https://ci.example.com/7", "start": "2025-01-02T03:04:05Z", "end": "2025-01-02T03:05:06Z" },
        "squad": "aura",
        "shuttle": { "plan": { "branch": "main", "sha": "abcd" }, "shuttleVersion": "v0.1" },
        "stages": [{ "id": "test", "name": "Test", "data": { "url": "", "results": { "passed": 3, "failed": 0, "skipped": 0 } } }],
    })
}

/// A commit's message in the older system's form; `intent` is its trailer and what follows it.
fn older_message(environment: &str, service: &str, artifact: &str, intent: &str) -> String {
    let deed = match intent.lines().next() {
        Some("Rollback") => "rollback",
        Some("AutoRelease") => "auto release",
        _ => "release",
    };
    format!(
        "[{environment}/{service}] {deed} {artifact} by ham@example.com\n\nService: {service}\nEnvironment: {environment}\n\
         Artifact-ID: {artifact}\nArtifact-released-by: Ham Astrochimp <ham@example.com>\n\
         Artifact-created-by: Dora Dev <dora@example.com>\nRelease-intent: {intent}\n"
    )
}

/// A server over a configuration repository that another system has made something of, and has never seen; nothing,
/// where the database is not installed.
fn managed_over(kind: Kind, prepare: impl FnOnce(&Utf8Path)) -> Option<Managed> {
    let place = Place::new(kind, &[])?;
    git(place.scratch.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "config.git"]);
    prepare(place.scratch.path());
    Some(Managed::over(place, "repository = \"config.git\"\n", ""))
}

impl Managed {
    /// Ends the server, and starts another one.
    fn restart(&mut self) {
        self.server.end_now();
        self.server.wait();
        self.server = self.place.start();
        self.log_in(&self.place.token("admin:*"));
    }

    fn config_path(&self) -> Utf8PathBuf {
        self.place.scratch.path().join("config.git")
    }

    fn place_of(&self, environment: &str) -> Value {
        let status = self.json(&["status", "--service", "web"]);
        let places = status["places"].as_array().unwrap().iter();
        places.clone().find(|place| place["environment"] == environment).cloned().unwrap_or(Value::Null)
    }

    /// Asks until the repository was read again and says so.
    fn until_place(&self, environment: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let place = self.place_of(environment);
            if is_so(&place) {
                return place;
            }
            std::thread::yield_now();
        }
        panic!("it does not come to that: {}", self.json(&["status", "--service", "web"]));
    }

    /// The same for what is different there.
    fn until_found(&self, environment: &str, difference: &str) -> Value {
        self.until_place(environment, |place| place["found"]["difference"] == difference)["found"].clone()
    }

    fn past(&self, more: &[&str]) -> Value {
        self.json(&[&["describe", "release", "--service", "web"], more].concat())
    }
}

fn artifacts(past: &Value) -> Vec<&str> {
    past["releases"].as_array().unwrap().iter().map(|release| release["artifact"].as_str().unwrap()).collect()
}

#[test]
fn what_the_older_system_released_is_told_by_a_server_that_never_saw_it() {
    for kind in Kind::ALL {
        let mut last = String::new();
        let managed = managed_over(kind, |directory| {
            let older = Older::new(directory);
            older.write("dev/releases/dev/web", "main-1", "main");
            older.commit(&older_message("dev", "web", "main-1", "ReleaseBranch\nRelease-of-branch: main"));
            older.release("dev", "main-2", "AutoRelease");
            older.release("prod", "main-1", "Promote\nPromoted-from-environment: dev");
            last = older.release("dev", "main-1", "Rollback\nRollback-of-artifact-id: main-2");
            // Neither of these is a release.
            fs_err::create_dir_all(older.work.join("policies")).unwrap();
            fs_err::write(older.work.join("policies/web.json"), "{}").unwrap();
            older.commit("[web] policy update: apply auto-release in 'dev'");
            // Nobody has said that the server manages this one.
            older.release("staging", "main-2", "ReleaseArtifact");
        });
        let Some(managed) = managed else { continue };

        let found = managed.until_found("dev", "elsewhere");
        let expected = json!({
            "difference": "elsewhere", "artifact": "main-1", "commit": last, "at": found["at"],
            "by": { "name": "Ham Astrochimp", "email": "ham@example.com" },
            "intent": { "type": "rollback", "previous_artifact_id": "main-2" }, "message": "Change main-1",
        });
        assert_eq!(found, expected);
        let status = managed.json(&["status", "--service", "web"]);
        let places: Vec<_> = status["places"].as_array().unwrap().iter().map(|place| &place["environment"]).collect();
        assert_eq!(places, ["dev", "prod", "staging"]);
        assert_eq!(status["places"][1]["namespace"], "prod");
        assert!(status["places"].as_array().unwrap().iter().all(|place| place["live"].is_null()));
        let repository = &status["repositories"][0];
        assert_eq!(repository["commit"].as_str(), Some(managed.config(&["rev-parse", "main"]).trim()));
        assert!(repository["fetched_at"].is_string() && repository["trouble"].is_null(), "{repository}");
        let table = succeed(&mut managed.run(&["status", "--service", "web"]));
        assert!(table.contains("not released by this server, rollback of main-2, commit "), "{table}");
        assert!(table.contains("Ham Astrochimp") && table.contains("\nRepository of config: at "), "{table}");
        let every = managed.json(&["status"]);
        assert_eq!(every["services"][0]["places"], status["places"]);
        assert!(succeed(&mut managed.run(&["status"])).contains("SERVICE"));

        let past = managed.past(&["--env", "dev", "--count", "10"]);
        assert_eq!(artifacts(&past), ["main-1", "main-2", "main-1"]);
        assert!(past["releases"].as_array().unwrap().iter().all(|release| release["release"].is_null()));
        assert_eq!(past["releases"][0]["commit"], last.as_str());
        assert_eq!(past["releases"][1]["intent"]["type"], "auto-release");
        assert_eq!(past["releases"][2]["record"]["ci"]["end"], "2025-01-02T03:05:06Z");
        let second = managed.past(&["--env", "DEV", "--skip", "1"]);
        assert_eq!((artifacts(&second), &second["releases"][0]["index"]), (vec!["main-2"], &json!(1)));
        let told = succeed(&mut managed.run(&["describe", "release", "--service", "web", "--env", "prod"]));
        for words in [
            "Release       not by this server",
            "Artifact      main-1",
            "Intent        promotion from dev",
            "Released by   Ham Astrochimp <ham@example.com>",
            "Built at      2025-01-02T03:05:06Z",
            "Written by    Dora Dev <dora@example.com>",
            "Message       Change main-1",
        ] {
            assert!(told.lines().any(|line| line == words), "{words:?} is missing in:\n{told}");
        }

        let known = managed.json(&["describe", "artifact", "--service", "web"]);
        let ids: Vec<_> = known["elsewhere"].as_array().unwrap().iter().map(|one| &one["record"]["id"]).collect();
        assert_eq!(ids.len(), 2, "{known}");
        let mut latest = managed.run(&["describe", "latest-artifact", "--service", "web", "--branch", "main"]);
        assert!(succeed(&mut latest).contains("not in the registry"));
        let (code, said) = managed.refused(&["describe", "latest-artifact", "--service", "web", "--branch", "mai"]);
        assert_eq!(code, 5, "{said}");
        let (code, said) = managed.refused(&["describe", "release", "--service", "web", "--env", "ev"]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("no release of service 'web' available in environment 'ev'"), "{said}");
        // Whoever may see another service only sees nothing of this one.
        managed.log_in(&managed.place.token("read:shop"));
        assert_eq!(managed.json(&["status"])["services"], json!([]));
        managed.refused(&["describe", "release", "--service", "web", "--env", "dev"]);
        managed.refused(&["describe", "artifact", "--service", "web"]);
    }
}

#[test]
fn what_the_server_releases_is_its_own_and_what_others_do_behind_its_back_is_not_hidden() {
    let mut older = None;
    let managed = managed_over(Kind::Sqlite, |directory| {
        let other = Older::new(directory);
        other.write("dev/releases/dev/web", "main-1", "main");
        other.commit(&older_message("dev", "web", "main-1", "ReleaseArtifact"));
        older = Some(other);
    });
    let (managed, older) = (managed.unwrap(), older.unwrap());
    managed.until_found("dev", "elsewhere");
    managed.push("main-2", "main");
    let release = ["release", "--service", "web", "--env", "dev", "--artifact", "main-2", "--wait"];
    succeed(&mut managed.run(&release));
    let place = managed.place_of("dev");
    assert_eq!((&place["live"]["artifact"], &place["found"]), (&json!("main-2"), &Value::Null), "{place}");
    let past = managed.past(&["--env", "dev", "--count", "5"]);
    assert_eq!(artifacts(&past), ["main-2", "main-1"]);
    assert_eq!(past["releases"][0]["release"]["state"], "pushed");
    assert!(past["releases"][1]["release"].is_null());

    // The older system goes on with something of its own.
    let commit = older.release("dev", "main-3", "ReleaseArtifact");
    let found = managed.until_found("dev", "replaced");
    assert_eq!((&found["artifact"], &found["commit"]), (&json!("main-3"), &json!(commit)));
    let table = succeed(&mut managed.run(&["status", "--service", "web"]));
    assert!(table.contains("released since, not by this server, artifact release, commit "), "{table}");
    assert_eq!(artifacts(&managed.past(&["--env", "dev", "--count", "5"])), ["main-3", "main-2", "main-1"]);
    // What it has replaced is not up to date, and can be put back.
    let again = succeed(&mut managed.run(&release));
    assert!(again.contains("[✓] Release of main-2 to dev initialized"), "{again}");
    assert_eq!(managed.config(&["show", "main:dev/releases/dev/web/deployment.yaml"]), "image: web:main-2\n");
    managed.until_place("dev", |place| place["found"].is_null() && place["live"]["artifact"] == "main-2");
    let again = succeed(&mut managed.run(&release));
    assert!(again.contains("already up-to-date"), "{again}");

    // Somebody changes a file by hand, and somebody removes everything.
    git(&older.work, &["pull", "--quiet", "--rebase", "origin", "main"]);
    fs_err::write(older.work.join("dev/releases/dev/web/deployment.yaml"), "image: web:evil\n").unwrap();
    let commit = older.commit("a small fix");
    let found = managed.until_found("dev", "edited");
    assert_eq!((&found["artifact"], &found["commit"]), (&json!("main-2"), &json!(commit)));
    git(&older.work, &["rm", "-r", "--quiet", "dev/releases/dev/web"]);
    let commit = older.commit("clean up");
    let found = managed.until_found("dev", "removed");
    assert_eq!((&found["artifact"], &found["commit"]), (&Value::Null, &json!(commit)));
    managed.place.sound();
}

#[test]
fn a_repository_out_of_reach_is_told_of_as_it_was() {
    let managed = managed_over(Kind::Sqlite, |directory| {
        let older = Older::new(directory);
        older.write("dev/releases/dev/web", "main-1", "main");
        older.commit(&older_message("dev", "web", "main-1", "ReleaseArtifact"));
    });
    let mut managed = managed.unwrap();
    managed.until_found("dev", "elsewhere");
    let away = managed.place.scratch.path().join("away.git");
    fs_err::rename(managed.config_path(), &away).unwrap();
    let is_troubled = |status: &Value| status["repositories"][0]["trouble"].is_string();
    let status = (0..600).map(|_| managed.json(&["status", "--service", "web"])).find(is_troubled).unwrap();
    assert_eq!(status["places"][0]["found"]["artifact"], "main-1");
    assert!(status["repositories"][0]["fetched_at"].is_string());
    let table = succeed(&mut managed.run(&["status", "--service", "web"]));
    assert!(table.contains("what came later is not known: "), "{table}");
    // Another server in the same place has never reached it, and tells what the one before has seen.
    managed.restart();
    let status = (0..600).map(|_| managed.json(&["status", "--service", "web"])).find(is_troubled).unwrap();
    assert_eq!(status["places"][0]["found"]["artifact"], "main-1");
    assert!(status["repositories"][0]["fetched_at"].is_null());
    assert_eq!(artifacts(&managed.past(&["--env", "dev"])), ["main-1"]);
}

#[test]
fn promotions_and_rollbacks_begin_with_what_stands_there() {
    let managed = managed_over(Kind::Sqlite, |directory| {
        let older = Older::new(directory);
        for artifact in ["main-0", "main-1", "main-2"] {
            older.write("prod/releases/prod/web", artifact, "main");
            older.commit(&older_message("prod", "web", artifact, "ReleaseArtifact"));
        }
        older.release("dev", "main-3", "ReleaseArtifact");
    });
    let managed = managed.unwrap();
    managed.until_found("dev", "elsewhere");
    for verb in [&["promote", "--env", "prod"][..], &["rollback", "--env", "prod"]] {
        let (code, said) = managed.refused(&[verb, &["--service", "web"]].concat());
        assert_eq!(code, 5, "{said}");
        assert!(said.contains("is in the config repository, but not in the registry"), "{said}");
    }
    managed.push("main-1", "main");
    managed.push("main-3", "main");
    let rolled = managed.run(&["rollback", "--service", "web", "--env", "prod", "--wait"]).output().unwrap();
    assert!(both(&rolled).contains("removes main-2: 0123456789 Change main-2"), "{}", both(&rolled));
    assert!(rolled.status.success(), "{}", both(&rolled));
    assert_eq!(managed.subjects()[0], "[prod/web] rollback main-1 by test");
    let (code, said) = managed.refused(&["rollback", "--service", "web", "--env", "prod", "--artifact", "main-9"]);
    assert_eq!(code, 1, "{said}");
    succeed(&mut managed.run(&["promote", "--service", "web", "--env", "prod", "--wait"]));
    assert_eq!(managed.subjects()[0], "[prod/web] release main-3 by test");
    assert_eq!(
        artifacts(&managed.past(&["--env", "prod", "--count", "9"])),
        ["main-3", "main-1", "main-2", "main-1", "main-0"]
    );
}

#[test]
fn the_nth_release_is_found_by_whole_names_in_any_case() {
    let managed = managed_over(Kind::Sqlite, |directory| {
        let older = Older::new(directory);
        let commit = |artifact: &str, message: &str| {
            older.write("env/releases/team/service-name", artifact, "main");
            older.commit(message);
        };
        commit("master-1234567890-1234567890", "[env/service-name] release master-1234567890-1234567890");
        commit("B", "[env/service-name] release B by hest@x\nArtifact-created-by: Foo Bar <foo@example.com>");
        commit("A", "[env/service-name] rollback B to A by m@example.com");
        commit("C", "[env/service-name] auto release C by m@example.com\n\nRelease-intent: AutoRelease");
        // These match nothing.
        commit("D", "[service-name] artifact D by Foo Bar\n\nArtifact-created-by: Foo Bar <foo@example.com>");
        commit("E", "[product] build something");
        commit("F", "[env/service-name-admin] release F by m@example.com");
        // The same artifact goes to another namespace: the commit is about that one.
        older.write("env/releases/other/service-name", "C", "main");
        older.commit("[env/service-name] release C by m@example.com");
    });
    let managed = managed.unwrap();
    let past = |service: &str, environment: &str, more: &[&str]| {
        let on = ["describe", "release", "--service", service, "--env", environment, "--count", "9"];
        managed.json(&[&on, more].concat())
    };
    let every = past("service-name", "env", &[]);
    assert_eq!(artifacts(&every), ["C", "C", "A", "B", "master-1234567890-1234567890"]);
    assert_eq!(every["releases"][0]["namespace"], "other");
    let team = past("SERVICE-NAME", "ENV", &["--namespace", "team"]);
    assert_eq!(artifacts(&team), ["C", "A", "B", "master-1234567890-1234567890"]);
    assert_eq!(artifacts(&past("service-name", "env", &["--namespace", "other"])), ["C"]);
    assert_eq!(team["releases"][1]["intent"], json!({ "type": "rollback", "previous_artifact_id": "B" }));
    assert_eq!(team["releases"][2]["released_by"], json!({ "name": "", "email": "hest@x" }));
    assert_eq!(team["releases"][2]["intent"]["type"], "release-artifact");
    assert_eq!(
        artifacts(&past("service-name", "env", &["--namespace", "team", "--skip", "3"])),
        ["master-1234567890-1234567890"]
    );
    for (service, environment) in [("service-name", "nv"), ("service", "env"), ("service-nam", "env")] {
        let (code, said) = managed.refused(&["describe", "release", "--service", service, "--env", environment]);
        assert_eq!(code, 1, "{said}");
    }
}

#[test]
fn a_history_that_grows_or_is_written_anew_is_read_as_whoever_comes_new_reads_it() {
    let scratch = Scratch::new();
    git(scratch.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "config.git"]);
    let older = Older::new(scratch.path());
    let settings = Settings {
        directory: scratch.path().join("copy"),
        address: scratch.path().join("config.git").to_string(),
        branch: "main".to_owned(),
        committer: Person { name: "Consign".to_owned(), email: "consign@example.com".to_owned() },
        signing: None,
        credentials: Credentials::None,
    };
    let release = |artifact: &str| {
        older.write("dev/releases/dev/web", artifact, "main");
        older.commit(&older_message("dev", "web", artifact, "ReleaseArtifact"))
    };
    let query = Query { environment: "dev", service: "web", namespace: None, skip: 0, count: 100 };
    let place = There { environment: "dev".to_owned(), namespace: "dev".to_owned(), service: "web".to_owned() };
    let reader = ConfigRepository::open_to_read(settings.clone()).unwrap();
    let standing = reader.seen();
    let is = |expected: &[&str]| {
        reader.look().unwrap();
        for history in [&standing, &reader.seen()] {
            let ids: Vec<_> =
                history.releases(&query).unwrap().iter().map(|one| one.record.artifact_id.clone()).collect();
            assert_eq!(ids, expected);
            let latest = history.latest(std::slice::from_ref(&place)).unwrap().remove(0);
            assert_eq!(latest.map(|one| one.record.artifact_id).as_deref(), expected.first().copied());
        }
    };
    is(&[]);
    let first = release("A");
    is(&["A"]);
    let second = release("B");
    release("C");
    is(&["C", "B", "A"]);
    let since = |commit: &str| standing.since(&[(place.clone(), commit.to_owned())]).unwrap();
    assert_eq!((since(&second), since(&first)), (vec![Since::Changed], vec![Since::Changed]));
    git(&older.work, &["reset", "--quiet", "--hard", &first]);
    git(&older.work, &["push", "--quiet", "--force", "origin", "HEAD:main"]);
    release("D");
    is(&["D", "A"]);
    // What is no longer in the history says nothing.
    assert_eq!(since(&second), [Since::Unknown]);
    // Whoever lands has not heard of any of this: the copy has one name for each of them.
    assert_eq!(git(&settings.directory, &["for-each-ref", "--format=%(refname)"]), "refs/consign/seen");
    git(&scratch.path().join("config.git"), &["update-ref", "-d", "refs/heads/main"]);
    is(&[]);
}
