//! What is written into a configuration repository besides releases, through the real server: what goes with its
//! branch, and copies of policies. And what is counted meanwhile.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;
use std::time::Duration;

use camino::Utf8Path;
use consign::model::Digest;
use data_encoding::HEXLOWER;
use ring::hmac;
use serde_json::{Value, json};

use crate::place::{Kind, Place, Running, record};
use crate::support::{clean, succeed};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const LISTEN: &str = "127.0.0.1:0";

/// A server over a configuration repository with copies of policies.
struct Scene {
    place: Place,
    server: Running,
    token: String,
}

impl Scene {
    fn new(kind: Kind) -> Option<Self> {
        let mut place = Place::new(kind, &[])?;
        place.variable("CONSIGN_WEBHOOK_GITHUB_SECRET", SECRET);
        git(place.scratch.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "config.git"]);
        let file = place.scratch.path().join("environments.toml");
        let environments = "[deployer.config]\nrepository = \"config.git\"\npolicies = true\n\
             [[environment]]\nname = \"dev\"\n[[environment]]\nname = \"prod\"\n";
        fs_err::write(&file, environments).unwrap();
        place.option("--manage", file.as_str());
        let server = place.start_on(LISTEN);
        let token = server.admin.clone().unwrap();
        Some(Self { place, server, token })
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.server
            .ask_with(method, path, Some(&self.token), &[("content-type", "application/json")], body.to_string())
            .is(200)
            .json()
    }

    fn push(&self, id: &str, branch: &str) {
        use consign::archive::{Options, Writer};
        let date = "1980-01-01T00:00:00Z".parse().unwrap();
        let options = Options { format: consign::model::index::ArchiveFormat::TarGz, level: None, date };
        let mut writer = Writer::new(&"payload".parse().unwrap(), options);
        for environment in ["dev", "prod"] {
            let text = format!("image: web:{id}\n");
            writer.append(&format!("{environment}/a.yaml"), false, text.len() as u64, &mut text.as_bytes()).unwrap();
        }
        let packed = writer.finish().unwrap();
        let blob = format!("/api/v1/blobs/{}", Digest::of(&packed.bytes));
        let mut record = record("web", id);
        record["source"]["branch"] = branch.into();
        record["source"]["repository"] = "https://github.com/example/web.git".into();
        record["payload"] = json!({
            "sha256": Digest::of(&packed.bytes),
            "size_bytes": packed.bytes.len(),
            "unpacked_size_bytes": packed.unpacked_size_bytes,
            "environments": ["dev", "prod"],
        });
        self.server.ask("PUT", &blob, Some(&self.token), packed.bytes);
        self.server.ask("POST", "/api/v1/artifacts", Some(&self.token), record.to_string()).is(201);
    }

    fn release(&self, id: &str, environment: &str) {
        let request =
            json!({ "service": "web", "environments": [environment], "what": { "kind": "artifact", "id": id } });
        let granted = self.ask("POST", "/api/v1/releases", &request);
        assert_eq!(granted["results"][0]["result"], "accepted", "{granted}");
    }

    fn clean_up(&self, environment: &str) {
        let policy = json!({ "kind": "cleanup", "environment": environment, "branch": "feature/*" });
        self.ask("PUT", "/api/v1/services/web/policies", &policy);
    }

    /// What GitHub sends when a branch is deleted.
    fn branch_deleted(&self, repository: &str, branch: &str, delivery: &str) {
        let body = json!({ "ref": format!("refs/heads/{branch}"), "before": "1".repeat(40), "after": "0".repeat(40),
            "created": false, "deleted": true, "repository": { "full_name": repository }, "commits": [] })
        .to_string();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
        let signature = format!("sha256={}", HEXLOWER.encode(tag.as_ref()));
        let headers = [
            ("x-hub-signature-256", signature.as_str()),
            ("x-github-event", "push"),
            ("x-github-delivery", delivery),
            ("content-type", "application/json"),
        ];
        self.server.ask_with("POST", "/webhook/github", None, &headers, body).is(200);
    }

    fn config(&self, arguments: &[&str]) -> String {
        git(&self.place.scratch.path().join("config.git"), arguments)
    }

    fn subjects(&self) -> Vec<String> {
        self.config(&["log", "--format=%s", "--all"]).lines().map(str::to_owned).collect()
    }

    /// Waits until a commit is there.
    fn until(&self, subject: &str) {
        for _ in 0..600 {
            if self.subjects().iter().any(|there| there.starts_with(subject)) {
                return;
            }
            // Time has to pass for work to be done; there is no event that tells of its end.
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("no commit says `{subject}`: {:?}", self.subjects());
    }

    fn live(&self, environment: &str) -> Value {
        let status = self.ask("GET", "/api/v1/services/web/status", &json!(null));
        let places = status["places"].as_array().unwrap().clone();
        let place = places.into_iter().find(|place| place["environment"] == environment);
        place.map_or(Value::Null, |place| place["live"]["artifact"].clone())
    }
}

fn git(directory: &Utf8Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    clean(&mut command);
    succeed(command.current_dir(directory).args(arguments))
}

#[test]
fn what_was_released_from_a_branch_goes_with_it_and_nothing_else_does() {
    for kind in Kind::ALL {
        let Some(scene) = Scene::new(kind) else { continue };
        scene.push("main-1", "main");
        scene.push("feature-1", "feature/x");
        scene.clean_up("dev");
        scene.clean_up("prod");
        scene.release("feature-1", "dev");
        scene.release("main-1", "prod");
        scene.until("[dev/web] release feature-1");
        scene.until("[prod/web] release main-1");
        scene.branch_deleted("example/other", "feature/x", "0");
        scene.branch_deleted("example/web", "feature/x", "1");
        // A delivery may come twice.
        scene.branch_deleted("example/web", "feature/x", "1");
        scene.until("[dev/web] remove what was released from feature/x");
        // Whatever was queued before this one is done when it is.
        scene.push("main-2", "main");
        scene.release("main-2", "prod");
        scene.until("[prod/web] release main-2");
        let files = scene.config(&["ls-tree", "-r", "--name-only", "main"]);
        assert!(!files.contains("dev/releases"), "{files}");
        assert!(files.contains("prod/releases/prod/web/a.yaml"), "{files}");
        assert_eq!(scene.subjects().iter().filter(|subject| subject.contains("remove what")).count(), 1);
        assert_eq!(scene.live("dev"), Value::Null);
        // It can come back.
        scene.release("feature-1", "dev");
        for _ in 0..600 {
            if scene.live("dev") == "feature-1" {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        assert_eq!(scene.live("dev"), "feature-1");
        scene.place.sound();
    }
}

#[test]
fn the_older_system_s_copy_of_policies_follows_every_change() {
    let Some(scene) = Scene::new(Kind::Sqlite) else { return };
    let path = "/api/v1/services/web/policies";
    let automatic = json!({ "kind": "auto-release", "branch": "main", "environment": "dev" });
    scene.ask("PUT", path, &automatic);
    scene.until("[web] policy update: apply auto-release in 'dev'");
    let copy: Value = serde_json::from_str(&scene.config(&["show", "main:policies/web.json"])).unwrap();
    assert_eq!(copy["autoReleases"][0]["id"], "auto-release-main-dev", "{copy}");
    // The same again is no change, and what the older system does not know is none of its file.
    scene.ask("PUT", path, &automatic);
    scene.clean_up("dev");
    scene.ask("PUT", path, &json!({ "kind": "branch-restriction", "environment": "prod", "branch": "main" }));
    scene.until("[web] policy update: apply branch-restriction in 'prod'");
    let delete = format!("{path}?id=auto-release-main-dev&id=branch-restriction-prod");
    scene.ask("DELETE", &delete, &json!(null));
    scene.until("[web] policy update: delete policies");
    assert_eq!(scene.subjects().len(), 3, "{:?}", scene.subjects());
    assert!(!scene.config(&["ls-tree", "-r", "--name-only", "main"]).contains("web.json"));
}

#[test]
fn releases_are_counted_by_what_became_of_them() {
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    place.option("--metrics", LISTEN);
    git(place.scratch.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "config.git"]);
    let file = place.scratch.path().join("environments.toml");
    let environments = "[deployer.config]\nrepository = \"config.git\"\n[[environment]]\nname = \"dev\"\n\
         [[environment]]\nname = \"prod\"\n[[policy]]\nkind = \"branch-restriction\"\nenvironment = \"prod\"\nbranch = \"main\"\n";
    fs_err::write(&file, environments).unwrap();
    place.option("--manage", file.as_str());
    let server = place.start();
    let token = server.admin.clone().unwrap();
    let scene = Scene { place, server, token };
    scene.push("feature-1", "feature");
    scene.release("feature-1", "dev");
    scene.until("[dev/web] release feature-1");
    let refused = json!({ "service": "web", "environments": ["prod", "nowhere-at-all"], "what": { "kind": "artifact", "id": "feature-1" } });
    assert_eq!(scene.ask("POST", "/api/v1/releases", &refused)["results"][0]["result"], "refused");
    let pushed =
        r#"consign_releases_total{environment="dev",service="web",intent="release-artifact",outcome="pushed"} 1"#;
    for _ in 0..600 {
        if scene.server.counted().contains(pushed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let text = scene.server.counted();
    for line in [
        pushed,
        r#"consign_releases_total{environment="prod",service="web",intent="release-artifact",outcome="refused"} 1"#,
        r#"consign_release_request_to_push_seconds_count{environment="dev"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("nowhere-at-all"), "{text}");
}
