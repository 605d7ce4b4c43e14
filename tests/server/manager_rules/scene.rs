//! A manager over a clock that stands still and a repository in memory; and once the real server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use consign::artifacts::{Belief, Caller, Registry};
use consign::manager::deployer::Land;
use consign::manager::deployer::git::{Change, Credentials, Decision, Landed, Landing};
use consign::manager::{Deployer, GitSettings, Manager, Plan};
use consign::model::artifact::{Artifact, Blob, Person};
use consign::model::delivery::{Actor, Environment, Granting, Release, ReleaseRequest, Selector, State, Verdict};
use consign::model::hint::{Deployed, Failing, Hint, Trouble};
use consign::model::management::ApprovalGiven;
use consign::model::management::Numbers;
use consign::model::policy::{self, ActorKind, Global, Policy};
use consign::model::{Code, Digest, Failure, FileName};
use consign::store::blobs::Blobs;
use consign::store::{self, NewEvent, ReleaseFilter, Store};
use consign::trust::key::Algorithm;
use consign::trust::private::PrivateKey;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::place::{Kind, Place, record};

/// In the order in which archives have their files.
const ENVIRONMENTS: [&str; 3] = ["dev", "live", "prod"];
/// When it begins, in seconds.
const BEGIN: i64 = 1_767_225_600;
/// The commit that everything is written with.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A service `web` in three environments: `prod` comes behind `dev` and is watched, `live` comes behind that.
pub struct Scene {
    manager: Manager,
    config: Config,
    clock: Arc<AtomicI64>,
    payload: Value,
    /// It is there as long as somebody needs it.
    _place: Place,
}

/// What was written, in its order.
#[derive(Clone, Default)]
struct Config {
    taken: Arc<Mutex<Vec<String>>>,
    is_closed: Arc<Mutex<bool>>,
}

impl Land for Config {
    fn land(
        &mut self,
        landings: &[Landing],
        _now: Timestamp,
        before_commit: &mut dyn FnMut(&Landing) -> Decision,
    ) -> Result<Vec<Landed>, Failure> {
        if *self.is_closed.lock().unwrap() {
            return Err(Failure::new(Code::PushRefused, "not today"));
        }
        let landed = landings.iter().map(|landing| match before_commit(landing) {
            Decision::LeaveOut(failure) => Landed::LeftOut(failure),
            Decision::Commit => {
                let Change::Release { place, .. } = &landing.change else { panic!("nothing else is written") };
                let artifact = landing.message.get("Artifact-ID").unwrap();
                self.taken.lock().unwrap().push(format!("{} {artifact}", place.environment));
                Landed::Pushed(COMMIT.parse().unwrap())
            }
        });
        Ok(landed.collect())
    }

    fn tidy(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Runs a story on each database that is there.
pub fn on_both(story: impl AsyncFn(Scene)) {
    for kind in Kind::ALL {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let Some(scene) = Scene::new(kind).await else { return };
            let store = scene.manager.registry().store.clone();
            story(scene).await;
            store.close().await;
        });
    }
}

pub fn artifact(id: &str) -> Selector {
    Selector::Artifact { id: id.parse().unwrap() }
}

pub fn rollback() -> Selector {
    Selector::Rollback { artifact: None }
}

fn manager(registry: Registry, clock: &Arc<AtomicI64>) -> Manager {
    let environment = |name: &str, from: &[&str]| Environment {
        name: name.parse().unwrap(),
        from: from.iter().map(|from| from.parse().unwrap()).collect(),
        deployer: "config".to_owned(),
        is_observed: name == "prod",
    };
    let environments = vec![environment("dev", &[]), environment("prod", &["dev"]), environment("live", &["prod"])];
    let git = GitSettings {
        address: "/nowhere.git".to_owned(),
        branch: "main".to_owned(),
        committer: Person { name: "Consign".to_owned(), email: "consign@example.com".to_owned() },
        signing: None,
        credentials: Credentials::None,
        has_policies: false,
    };
    let plan = Plan::new(environments, BTreeMap::from([("config".to_owned(), Deployer::Git(git))]), Global::default())
        .unwrap();
    let clock = Arc::clone(clock);
    let now = Arc::new(move || Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap());
    Manager::new(registry, plan, "/nowhere".into(), "one".to_owned(), now)
}

impl Scene {
    async fn new(kind: Kind) -> Option<Self> {
        let place = Place::new(kind, &[])?;
        let store = Store::open(&place.store()).await.unwrap();
        let blobs = Blobs::in_directory(&place.scratch.path().join("blobs")).unwrap();
        let (packed, payload) = payload(&ENVIRONMENTS);
        let mut incoming =
            blobs.receive(Blob { sha256: Digest::of(&packed), size_bytes: packed.len() as u64 }).await.unwrap();
        incoming.write(&packed).await.unwrap();
        incoming.finish().await.unwrap();
        let signer = Arc::new(PrivateKey::generate(Algorithm::Ed25519).unwrap());
        let registry = Registry::new(store, blobs, Belief::Nobody, signer);
        let clock = Arc::new(AtomicI64::new(BEGIN));
        let manager = manager(registry, &clock);
        manager.release_by_itself().await.unwrap();
        Some(Self { manager, config: Config::default(), clock, payload, _place: place })
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// So many seconds from now.
    pub fn instant(&self, seconds: i64) -> String {
        Timestamp::from_second(self.clock.load(Ordering::Relaxed) + seconds).unwrap().to_string()
    }

    fn caller(&self, subject: &str) -> Caller {
        Caller { subject: subject.to_owned(), at: self.instant(0).parse().unwrap() }
    }

    /// The process is another one from here on.
    pub fn crash(&mut self) {
        self.manager = manager(self.manager.registry().clone(), &self.clock);
    }

    pub fn close(&self, is_closed: bool) {
        *self.config.is_closed.lock().unwrap() = is_closed;
    }

    pub fn taken(&self) -> Vec<String> {
        self.config.taken.lock().unwrap().clone()
    }

    pub async fn push(&self, id: &str, branch: &str) {
        let mut record = record("web", id);
        record["source"]["branch"] = branch.into();
        record["payload"] = self.payload.clone();
        let artifact = Artifact::read(record.to_string().as_bytes()).unwrap();
        self.manager.registry().push(artifact, None, &self.caller("ci")).await.unwrap();
        self.manager.release_by_itself().await.unwrap();
    }

    pub async fn request(&self, environment: &str, what: Selector, over_freeze: Option<&str>) -> Granting {
        let actor = Actor {
            subject: "asa".to_owned(),
            name: "Asa".to_owned(),
            email: "asa@example.com".to_owned(),
            is_automation: false,
            groups: [].into(),
            roles: [].into(),
            on_behalf_of: None,
        };
        let request = ReleaseRequest {
            service: "web".parse().unwrap(),
            namespace: None,
            environments: vec![environment.parse().unwrap()],
            what,
            person: None,
            override_reason: over_freeze.map(str::to_owned),
            dry_run: false,
        };
        self.manager.request(&request, &actor, None).await.unwrap().results.remove(0)
    }

    /// A request that is accepted.
    pub async fn accepted(&self, environment: &str, what: Selector) -> String {
        let granting = self.request(environment, what, None).await;
        assert_eq!(granting.result, Verdict::Accepted, "{granting:?}");
        granting.release.unwrap()
    }

    /// Brings an artifact to an environment.
    pub async fn release(&self, environment: &str, id: &str) {
        self.accepted(environment, artifact(id)).await;
        self.turn().await;
        assert_eq!(*self.taken().last().unwrap(), format!("{environment} {id}"));
    }

    /// One pass over the queue; says how much there was to look at.
    pub async fn turn(&self) -> usize {
        let (manager, mut config) = (self.manager.clone(), self.config.clone());
        tokio::spawn(async move { manager.turn("config", &mut config).await.unwrap().looked_at }).await.unwrap()
    }

    pub async fn recover(&self) {
        self.manager.roll_back_by_itself().await.unwrap();
    }

    pub async fn apply(&self, policy: Value) {
        let policy: Policy = serde_json::from_value(policy).unwrap();
        self.manager.apply_policy(&"web".parse().unwrap(), policy, &self.caller("operator")).await.unwrap();
    }

    pub async fn delete(&self, id: &str) {
        let service: FileName = "web".parse().unwrap();
        self.manager.delete_policies(&service, &[id.to_owned()], &self.caller("operator")).await.unwrap();
    }

    pub async fn approve(
        &self,
        environment: &str,
        id: &str,
        group: &str,
        who: &str,
        approve: bool,
    ) -> Result<(), Failure> {
        // Of two votes within one instant nobody knows the order.
        self.pass(1);
        let (environment, artifact) = (environment.parse().unwrap(), id.parse().unwrap());
        let given = ApprovalGiven { environment, artifact, approve, comment: None };
        let voter = policy::Actor {
            subject: who.to_owned(),
            kind: ActorKind::User,
            groups: [group.to_owned()].into(),
            roles: [].into(),
            on_behalf_of: None,
        };
        self.manager.approve(&"web".parse().unwrap(), &given, &voter, &self.caller(who)).await
    }

    pub async fn state(&self, id: &str) -> (State, String) {
        let release = self.manager.release(id).await.unwrap().unwrap();
        (release.state, release.reason.unwrap_or_default())
    }

    /// What was asked for last in an environment.
    pub async fn last(&self, environment: &str) -> Release {
        let filter = ReleaseFilter { environment: Some(environment.to_owned()), most: 1, ..ReleaseFilter::default() };
        self.manager.releases(&filter).await.unwrap().0.remove(0)
    }

    /// How releasing to an environment went from an instant until now.
    pub async fn report(&self, environment: &str, since: &str) -> Numbers {
        let until = self.instant(1).parse().unwrap();
        let report = self.manager.report(None, since.parse().unwrap(), until).await.unwrap();
        report.environments.into_iter().find(|numbers| numbers.environment.as_str() == environment).unwrap()
    }

    /// The artifact that is held off, or nothing of it, where there is a hold.
    pub async fn hold(&self, environment: &str) -> Option<String> {
        let holds = self.manager.registry().store.holds("web").await.unwrap();
        let hold = holds.into_iter().find(|hold| hold.environment == environment)?;
        Some(hold.candidate.unwrap_or_default())
    }

    /// The verbs and notes of the audit log.
    pub async fn log(&self) -> Vec<String> {
        let leaves = self.manager.registry().store.audit_leaves(0, 1000).await.unwrap();
        let line = |leaf: &String| {
            let leaf: Value = serde_json::from_str(leaf).unwrap();
            format!("{} {}", leaf["verb"].as_str().unwrap(), leaf["note"].as_str().unwrap_or_default())
        };
        leaves.iter().map(line).collect()
    }

    pub async fn runs(&self, environment: &str, id: &str) {
        let text = str::to_owned;
        self.hears(&Hint::Deployed(Deployed {
            environment: text(environment),
            namespace: text(environment),
            name: text("web"),
            resource: text("Deployment"),
            artifact: text(id),
            available: 1,
            wanted: 1,
        }))
        .await;
    }

    pub async fn fails(&self, environment: &str, id: &str) {
        let text = str::to_owned;
        self.hears(&Hint::PodFailed(Failing {
            environment: text(environment),
            namespace: text(environment),
            name: text("web-1"),
            artifact: text(id),
            errors: vec![Trouble { name: text("web"), reason: text("CrashLoopBackOff"), message: text("it ends") }],
        }))
        .await;
        let release = self.last_pushed(environment).await;
        assert!(release.order.artifact.as_str() != id || release.state == State::Failed, "{release:?}");
    }

    pub async fn flux_says(&self, environment: &str, severity: &str, reason: &str) {
        let text = str::to_owned;
        self.hears(&Hint::Flux {
            object: text("Kustomization"),
            namespace: text("flux-system"),
            name: text("web"),
            severity: text(severity),
            reason: text(reason),
            message: text("so it is"),
            revision: Some(format!("main@sha1:{COMMIT}")),
            environment: Some(text(environment)),
        })
        .await;
        assert_eq!(self.last_pushed(environment).await.state, State::Failed);
    }

    async fn last_pushed(&self, environment: &str) -> Release {
        let filter = ReleaseFilter {
            environment: Some(environment.to_owned()),
            was_pushed: true,
            most: 1,
            ..ReleaseFilter::default()
        };
        self.manager.releases(&filter).await.unwrap().0.remove(0)
    }

    async fn hears(&self, hint: &Hint) {
        let event = NewEvent {
            source: "daemon",
            delivery: None,
            sha256: None,
            kind: hint.kind(),
            service: None,
            payload: hint.render(),
        };
        let Caller { subject, at } = self.caller("webhook:daemon");
        let change =
            store::Change { at, subject, verb: "event.receive", object: "x".to_owned(), sha256: None, note: None };
        assert!(self.manager.registry().store.add_event(&event, &change).await.unwrap());
        self.manager.observe().await.unwrap();
    }
}

/// A payload with a manifest for each environment, and what a record says of it.
fn payload(environments: &[&str]) -> (Vec<u8>, Value) {
    use consign::archive::{Options, Writer};
    let date = "1980-01-01T00:00:00Z".parse().unwrap();
    let options = Options { format: consign::model::index::ArchiveFormat::TarGz, level: None, date };
    let mut writer = Writer::new(&"payload".parse().unwrap(), options);
    for environment in environments {
        writer.append(&format!("{environment}/a.yaml"), false, 5, &mut b"a: 1\n".as_slice()).unwrap();
    }
    let packed = writer.finish().unwrap();
    let said = json!({
        "sha256": Digest::of(&packed.bytes),
        "size_bytes": packed.bytes.len(),
        "unpacked_size_bytes": packed.unpacked_size_bytes,
        "environments": environments,
    });
    (packed.bytes, said)
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The real server: a daemon says that a release fails, and what was well before is released again.
pub fn real(kind: Kind) {
    let Some(mut place) = Place::new(kind, &[]) else { return };
    place.variable("CONSIGN_WEBHOOK_DAEMON_SECRET", SECRET);
    let config = place.scratch.path().join("config.git");
    git(place.scratch.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "config.git"]);
    let file = place.scratch.path().join("environments.toml");
    let environments = "[deployer.config]\nrepository = \"config.git\"\n[[environment]]\nname = \"dev\"\n\
         [[environment]]\nname = \"prod\"\nfrom = [\"dev\"]\nobserved = true\n\
         [[policy]]\nkind = \"auto-rollback\"\nenvironment = \"prod\"\n";
    fs_err::write(&file, environments).unwrap();
    place.option("--manage", file.as_str());
    let server = place.start();
    let token = server.admin.clone().unwrap();
    let ask = |method: &str, path: &str, body: &Value| {
        server
            .ask_with(method, path, Some(&token), &[("content-type", "application/json")], body.to_string())
            .is(200)
            .json()
    };
    let (packed, said) = payload(&["dev", "prod"]);
    server.ask("PUT", &format!("/api/v1/blobs/{}", Digest::of(&packed)), Some(&token), packed);
    for id in ["main-1", "main-2"] {
        let mut record = record("web", id);
        record["payload"] = said.clone();
        server.ask("POST", "/api/v1/artifacts", Some(&token), record.to_string()).is(201);
    }
    let release = |id: &str, environment: &str, more: &Value| {
        let mut request =
            json!({ "service": "web", "environments": [environment], "what": { "kind": "artifact", "id": id } });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask("POST", "/api/v1/releases", &request)["results"][0]["result"].as_str().unwrap().to_owned()
    };
    let until = |what: &str, is_there: &dyn Fn(&Value) -> bool| {
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_secs(60) {
            if is_there(&ask("GET", "/api/v1/releases", &json!(null))["releases"]) {
                return;
            }
            // Time has to pass for work to be done; there is no event that tells of its end.
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("{what}: {}", ask("GET", "/api/v1/releases", &json!(null)));
    };
    let bearer = format!("Bearer {SECRET}");
    let daemon = |path: &str, body: &Value| {
        server.ask_with("POST", path, None, &[("authorization", bearer.as_str())], body.to_string()).is(200);
    };

    assert_eq!(release("main-1", "prod", &json!({})), "accepted");
    until("main-1 comes", &|releases| releases[0]["state"] == "pushed");
    daemon(
        "/webhook/daemon/k8s/deploy",
        &json!({ "name": "web", "namespace": "prod", "resourceType": "Deployment", "availablePods": 1, "replicas": 1,
            "artifactId": "main-1", "environment": "prod" }),
    );
    until("main-1 runs", &|releases| releases[0]["state"] == "healthy");
    assert_eq!(release("main-2", "prod", &json!({})), "accepted");
    until("main-2 comes", &|releases| releases[0]["state"] == "pushed");
    daemon(
        "/webhook/daemon/k8s/error",
        &json!({ "podName": "web-1", "namespace": "prod", "environment": "prod", "artifactId": "main-2",
            "errors": [{ "name": "web", "message": "it ends", "type": "CrashLoopBackOff" }] }),
    );
    until("main-1 comes back", &|releases| releases[0]["artifact"] == "main-1" && releases[0]["state"] == "pushed");
    let releases = ask("GET", "/api/v1/releases", &json!(null))["releases"].clone();
    assert_eq!(releases.as_array().unwrap().len(), 3, "{releases}");
    assert_eq!(releases[0]["actor"]["subject"], "policy:auto-rollback-prod");
    assert_eq!((&releases[1]["state"], &releases[1]["code"]), (&json!("failed"), &json!("release_failed")));
    let subjects = git(&config, &["log", "--format=%s", "main"]);
    assert!(subjects.starts_with("[prod/web] rollback main-1"), "{subjects}");
    let status = ask("GET", "/api/v1/services/web/status", &json!(null));
    assert_eq!(status["places"][0]["hold"]["reason"], "rolled back to main-1", "{status}");

    // A freeze is passed by whoever may and says why, and the log has it.
    let year = json!({ "kind": "freeze", "name": "long", "environments": ["dev"],
        "window": { "once": { "from": "2020-01-01T00:00:00Z", "until": "2120-01-01T00:00:00Z" } } });
    ask("PUT", "/api/v1/services/web/policies", &year);
    assert_eq!(release("main-1", "dev", &json!({})), "refused");
    assert_eq!(release("main-1", "dev", &json!({ "override_reason": "it burns" })), "accepted");
    until("it passes the freeze", &|releases| releases[0]["environment"] == "dev" && releases[0]["state"] == "pushed");
    let leaves = ask("GET", "/api/v1/audit/leaves?limit=1000", &json!(null))["leaves"].clone();
    let over =
        leaves.as_array().unwrap().iter().filter(|leaf| leaf.as_str().unwrap().contains("over freeze-long: it burns"));
    assert_eq!(over.count(), 2, "the request and the push: {leaves}");
    server.stop();
    place.sound();
}

#[expect(clippy::disallowed_methods, reason = "tests run programs")]
fn git(directory: &camino::Utf8Path, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new("git");
    crate::support::clean(&mut command);
    crate::support::succeed(command.current_dir(directory).args(arguments))
}
