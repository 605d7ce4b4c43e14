//! The release manager over a clock and a remote that do as a seed says: whatever comes between whatever, what must
//! hold holds after every step.
//!
//! `CONSIGN_TEST_SEED` says which seed is run alone, `CONSIGN_TEST_SEEDS` how many are, where 2,000 are not enough.

#![expect(clippy::disallowed_methods, reason = "tests read their own environment")]

mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use consign::artifacts::{Belief, Registry};
use consign::manager::deployer::git::Credentials;
use consign::manager::{Deployer, GitSettings, Manager, Plan};
use consign::model::artifact::{Artifact, Blob, Person};
use consign::model::delivery::{Actor, Environment, Release, ReleaseRequest, Selector, State};
use consign::model::management::ApprovalGiven;
use consign::model::policy::{self, ActorKind, Global, Policy};
use consign::model::{Digest, FileName};
use consign::store::blobs::Blobs;
use consign::store::{Place, ReleaseFilter, Store, Target};
use consign::trust::key::Algorithm;
use consign::trust::private::PrivateKey;
use jiff::Timestamp;
use serde_json::json;

use remote::{Commit, Memory, Remote, Trouble, caller, restrict};

/// How many seeds are run, if nobody says otherwise.
const SEEDS: u64 = 2000;
/// How many steps each has.
const STEPS: usize = 16;
/// How many run beside each other.
const THREADS: u64 = 4;
const ENVIRONMENTS: [&str; 2] = ["dev", "prod"];
/// When it begins, in seconds.
const BEGIN: i64 = 1_767_225_600;

struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// A service of its own in a world that it shares with those of other seeds.
struct Simulation {
    manager: Manager,
    remote: Arc<Mutex<Remote>>,
    clock: Arc<AtomicI64>,
    service: FileName,
    deployer: String,
    pushed: u64,
    /// What happened, for whoever looks for what went wrong.
    story: Vec<String>,
    accepted: BTreeSet<String>,
}

/// A database, blobs, and a clock.
struct World {
    registry: Registry,
    payload: serde_json::Value,
    clock: Arc<AtomicI64>,
    _scratch: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        use consign::archive::{Options, Writer};
        // What never meets a disk is not waited for.
        let memory = std::path::Path::new("/dev/shm");
        let mut named = tempfile::Builder::new();
        named.prefix("consign-simulation-");
        let scratch = if memory.is_dir() { named.tempdir_in(memory) } else { named.tempdir() }.unwrap();
        let path = camino::Utf8Path::from_path(scratch.path()).unwrap();
        let store = Store::open(&Place::Sqlite(path.join("test.sqlite"))).await.unwrap();
        let blobs = Blobs::in_directory(&path.join("blobs")).unwrap();
        let date = "1980-01-01T00:00:00Z".parse().unwrap();
        let options = Options { format: consign::model::index::ArchiveFormat::TarGz, level: None, date };
        let mut writer = Writer::new(&"payload".parse().unwrap(), options);
        for environment in ENVIRONMENTS {
            writer.append(&format!("{environment}/a.yaml"), false, 5, &mut b"a: 1\n".as_slice()).unwrap();
        }
        let packed = writer.finish().unwrap();
        let blob = Blob { sha256: Digest::of(&packed.bytes), size_bytes: packed.bytes.len() as u64 };
        let mut incoming = blobs.receive(blob).await.unwrap();
        incoming.write(&packed.bytes).await.unwrap();
        incoming.finish().await.unwrap();
        let payload = json!({
            "sha256": blob.sha256,
            "size_bytes": blob.size_bytes,
            "unpacked_size_bytes": packed.unpacked_size_bytes,
            "environments": ENVIRONMENTS,
        });
        let signer = Arc::new(PrivateKey::generate(Algorithm::Ed25519).unwrap());
        let registry = Registry::new(store, blobs, Belief::Nobody, signer);
        Self { registry, payload, clock: Arc::new(AtomicI64::new(BEGIN)), _scratch: scratch }
    }

    fn simulation(&self, seed: u64) -> Simulation {
        let (deployer, clock) = (format!("d{seed}"), Arc::clone(&self.clock));
        Simulation {
            manager: self.manager(&deployer),
            remote: Arc::default(),
            clock,
            service: format!("s{seed}").parse().unwrap(),
            deployer,
            pushed: 0,
            story: Vec::new(),
            accepted: BTreeSet::new(),
        }
    }

    fn manager(&self, deployer: &str) -> Manager {
        let environments = ENVIRONMENTS.map(|name| Environment {
            name: name.parse().unwrap(),
            from: if name == "prod" { vec!["dev".parse().unwrap()] } else { Vec::new() },
            deployer: deployer.to_owned(),
            is_observed: false,
        });
        let git = GitSettings {
            address: "/nowhere.git".to_owned(),
            branch: "main".to_owned(),
            committer: Person { name: "Consign".to_owned(), email: "consign@example.com".to_owned() },
            signing: None,
            credentials: Credentials::None,
            has_policies: false,
        };
        let deployers = BTreeMap::from([(deployer.to_owned(), Deployer::Git(git))]);
        let plan = Plan::new(environments.into(), deployers, Global::default()).unwrap();
        let clock = Arc::clone(&self.clock);
        let now = Arc::new(move || Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap());
        Manager::new(self.registry.clone(), plan, "/nowhere".into(), "one".to_owned(), now)
    }
}

impl Simulation {
    fn now(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    async fn step(&mut self, world: &World, random: &mut Seeded) {
        let environment = random.one(&ENVIRONMENTS);
        match random.below(20) {
            0 | 1 => {
                self.pushed += 1;
                let branch = random.one(&["main", "main", "feature"]);
                let id = format!("{branch}-{}", self.pushed);
                self.story.push(format!("push {id}"));
                let mut record = crate::place::record(self.service.as_str(), &id);
                record["source"]["branch"] = branch.into();
                record["payload"] = world.payload.clone();
                let artifact = Artifact::read(record.to_string().as_bytes()).unwrap();
                self.manager.registry().push(artifact, None, &caller(&self.clock, "ci")).await.unwrap();
                self.manager.release_by_itself().await.unwrap();
            }
            2..=5 if self.pushed > 0 => {
                let id = 1 + random.below(self.pushed);
                let is_over_freeze = random.below(4) == 0;
                for branch in ["main", "feature"] {
                    let id = format!("{branch}-{id}").parse().unwrap();
                    self.request(environment, Selector::Artifact { id }, is_over_freeze).await;
                }
            }
            6 => self.request("prod", Selector::Promote { from: None }, random.below(4) == 0).await,
            7 => self.request(environment, Selector::Rollback { artifact: None }, random.below(4) == 0).await,
            8 => {
                self.story.push(format!("resume {environment}"));
                let place = self.place(environment);
                self.manager.resume(&place, &caller(&self.clock, "operator")).await.unwrap();
            }
            9 => {
                self.story.push(format!("hold {environment}"));
                let place = self.place(environment);
                self.manager.hold(&place, "for a while", &caller(&self.clock, "operator")).await.unwrap();
            }
            10 => self.change_policies(environment, random).await,
            11 | 12 => self.approve(random).await,
            13 => {
                let seconds = [1, 5, 90, 4000][usize::try_from(random.below(4)).unwrap()];
                self.story.push(format!("{seconds} seconds pass"));
                self.clock.fetch_add(seconds, Ordering::Relaxed);
            }
            14 | 15 => {
                let troubles = [
                    Trouble::Unreachable,
                    Trouble::Unheard,
                    Trouble::Refusing,
                    Trouble::CrashBefore,
                    Trouble::CrashAfter,
                    Trouble::Overtaken,
                ];
                let trouble = troubles[usize::try_from(random.below(6)).unwrap()];
                self.remote.lock().unwrap().trouble = Some(trouble);
                self.turn(world).await;
                self.remote.lock().unwrap().trouble = None;
                // What has arrived unheard of is judged by rules that are new.
                if trouble == Trouble::Unheard && random.below(2) == 0 {
                    self.story.push(format!("restrict {environment}"));
                    restrict(&self.manager, &self.service, environment, &self.remote, &self.clock).await;
                    self.clock.fetch_add(100, Ordering::Relaxed);
                    self.turn(world).await;
                }
            }
            _ => self.turn(world).await,
        }
    }

    fn place(&self, environment: &str) -> Target {
        Target {
            service: self.service.to_string(),
            namespace: environment.to_owned(),
            environment: environment.to_owned(),
            artifact: String::new(),
        }
    }

    async fn request(&mut self, environment: &str, what: Selector, is_over_freeze: bool) {
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
            service: self.service.clone(),
            namespace: None,
            environments: vec![environment.parse().unwrap()],
            what,
            person: None,
            override_reason: is_over_freeze.then(|| "it burns".to_owned()),
            dry_run: false,
        };
        let granted = self.manager.request(&request, &actor, None).await.unwrap();
        for granting in granted.results {
            self.story.push(format!(
                "request {:?} for {environment}, {is_over_freeze}: {:?} {:?}",
                request.what, granting.result, granting.release
            ));
            if matches!(format!("{:?}", granting.result).as_str(), "Accepted" | "NeedsApproval") {
                let id = granting.release.unwrap();
                if is_over_freeze {
                    self.remote.lock().unwrap().over_freeze.insert(id.clone());
                }
                self.accepted.insert(id);
            }
        }
    }

    async fn approve(&mut self, random: &mut Seeded) {
        if self.pushed == 0 {
            return;
        }
        let id = format!("{}-{}", random.one(&["main", "feature"]), 1 + random.below(self.pushed));
        self.approve_this(&id).await;
    }

    async fn approve_this(&mut self, id: &str) {
        let given = ApprovalGiven {
            environment: "prod".parse().unwrap(),
            artifact: id.parse().unwrap(),
            approve: true,
            comment: None,
        };
        let voter = policy::Actor {
            subject: "bo".to_owned(),
            kind: ActorKind::User,
            groups: [].into(),
            roles: ["approve".to_owned()].into(),
            on_behalf_of: None,
        };
        if self.manager.approve(&self.service, &given, &voter, &caller(&self.clock, "bo")).await.is_ok() {
            self.story.push(format!("approve {id}"));
            self.remote.lock().unwrap().approved.insert(id.to_owned());
        }
    }

    async fn change_policies(&mut self, environment: &str, random: &mut Seeded) {
        let kind = random.below(5);
        let operator = caller(&self.clock, "operator");
        let policy = match kind {
            0 => {
                let branch = random.one(&["main", "feature"]);
                json!({ "kind": "auto-release", "branch": branch, "environment": environment })
            }
            1 => {
                self.story.push(format!("restrict {environment}"));
                return restrict(&self.manager, &self.service, environment, &self.remote, &self.clock).await;
            }
            2 => {
                let (from, until) = (self.now(), self.now() + 1 + i64::try_from(random.below(3000)).unwrap());
                let instant = |second| Timestamp::from_second(second).unwrap().to_string();
                json!({ "kind": "freeze", "name": "pause",
                    "window": { "once": { "from": instant(from), "until": instant(until) } } })
            }
            3 => {
                json!({ "kind": "approval", "environment": "prod", "minimum": 1, "approvers": [{ "role": "approve" }] })
            }
            _ => {
                let listed = self.manager.policies(&self.service).await.unwrap();
                let ids: Vec<_> = listed.policies.iter().filter_map(|standing| standing.id.clone()).collect();
                self.story.push(format!("delete {ids:?}"));
                if !ids.is_empty() {
                    self.manager.delete_policies(&self.service, &ids, &operator).await.unwrap();
                    let mut remote = self.remote.lock().unwrap();
                    remote.restricted.clear();
                    remote.frozen_until = 0;
                    remote.is_approval_needed = false;
                }
                return;
            }
        };
        self.story.push(format!("apply {policy}"));
        let read: Policy = serde_json::from_value(policy.clone()).unwrap();
        if self.manager.apply_policy(&self.service, read, &operator).await.is_ok() {
            let mut remote = self.remote.lock().unwrap();
            match kind {
                2 => {
                    let until: Timestamp = policy["window"]["once"]["until"].as_str().unwrap().parse().unwrap();
                    remote.frozen_until = until.as_second();
                }
                3 => remote.is_approval_needed = true,
                _ => {}
            }
        }
    }

    /// One pass over the queue, by a process that may end in it; another one goes on.
    async fn turn(&mut self, world: &World) {
        let trouble = self.remote.lock().unwrap().trouble;
        let holds = self.manager.registry().store.holds(self.service.as_str()).await.unwrap();
        self.remote.lock().unwrap().held = holds.into_iter().map(|hold| (hold.environment, hold.namespace)).collect();
        let mut memory = Memory {
            remote: Arc::clone(&self.remote),
            clock: Arc::clone(&self.clock),
            manager: self.manager.clone(),
            service: self.service.clone(),
        };
        let (manager, deployer) = (self.manager.clone(), self.deployer.clone());
        let turned = tokio::spawn(async move { manager.turn(&deployer, &mut memory).await.unwrap() }).await;
        self.story.push(format!("turn with {trouble:?}: {:?}", turned.as_ref().ok()));
        match turned {
            Ok(_) => {}
            Err(ended) => match ended.into_panic().downcast::<&str>() {
                Ok(crash) if *crash == "a crash" => self.manager = world.manager(&self.deployer),
                Ok(other) => panic!("{other}"),
                Err(other) => resume_unwind(other),
            },
        }
    }

    async fn releases(&self) -> Vec<Release> {
        let filter =
            ReleaseFilter { services: Some(vec![self.service.to_string()]), most: 1000, ..ReleaseFilter::default() };
        let (mut releases, _) = self.manager.releases(&filter).await.unwrap();
        releases.reverse();
        releases
    }

    /// What holds after every step.
    async fn check(&self) {
        let releases = self.releases().await;
        let commits = self.remote.lock().unwrap().commits.clone();
        let mut live = BTreeSet::new();
        for release in &releases {
            let place = (release.order.environment.to_string(), release.order.namespace.to_string());
            let commit = commits.iter().find(|commit| commit.release == release.order.id);
            if release.state.is_live() {
                assert!(live.insert(place), "two are live: {release:?}");
            }
            if release.state == State::Failed {
                assert!(commit.is_none(), "it was refused and is committed: {release:?}");
            }
            if release.pushed_at.is_some() {
                assert!(commit.is_some(), "it is not committed: {release:?}");
            }
            if release.state == State::Superseded && release.pushed_at.is_none() {
                assert!(commit.is_none(), "it was overtaken and is committed: {release:?}");
            }
        }
        for id in &self.accepted {
            assert!(releases.iter().any(|release| release.order.id == *id), "{id} is lost");
        }
        // Whatever waited for a freeze or for votes: nothing goes where something is live that was asked for later.
        for environment in ENVIRONMENTS {
            let place = |commit: &&Commit| commit.place.0 == environment;
            let order = commits
                .iter()
                .filter(place)
                .filter_map(|commit| releases.iter().position(|release| release.order.id == commit.release));
            let order: Vec<_> = order.collect();
            assert!(order.is_sorted(), "{environment} is not in its order: {order:?}");
        }
    }

    /// When nothing is in the way any more, everything comes to its end.
    async fn settle(&mut self, world: &World) {
        self.clock.fetch_add(10_000, Ordering::Relaxed);
        for _ in 0..40 {
            self.clock.fetch_add(100, Ordering::Relaxed);
            self.manager.release_by_itself().await.unwrap();
            self.turn(world).await;
            let releases = self.releases().await;
            let waiting: Vec<_> = releases.iter().filter(|release| release.state == State::Requested).collect();
            for release in &waiting {
                self.approve_this(release.order.artifact.as_str()).await;
            }
            if releases.iter().all(|release| !release.state.is_waiting()) {
                break;
            }
        }
        self.check().await;
        let releases = self.releases().await;
        for release in &releases {
            assert!(!release.state.is_waiting(), "it never ends: {release:?}");
        }
        let commits = self.remote.lock().unwrap().commits.clone();
        for environment in ENVIRONMENTS {
            let there = commits.iter().rfind(|commit| commit.place.0 == environment);
            let live = releases
                .iter()
                .find(|release| release.state.is_live() && release.order.environment.as_str() == environment);
            assert_eq!(
                live.map(|release| release.order.id.as_str()),
                there.map(|commit| commit.release.as_str()),
                "what {environment} has is not what is said to be live there"
            );
        }
    }
}

fn run(world: &World, runtime: &tokio::runtime::Runtime, seed: u64) {
    let mut simulation = world.simulation(seed);
    let done = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut random = Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            simulation.manager.release_by_itself().await.unwrap();
            for _ in 0..STEPS {
                let told = simulation.story.len();
                simulation.step(world, &mut random).await;
                let is_of_releases = |line: &String| line.starts_with("turn") || line.starts_with("request");
                if simulation.story[told..].iter().any(is_of_releases) {
                    simulation.check().await;
                }
            }
            simulation.settle(world).await;
        });
    }));
    if let Err(cause) = done {
        let story = simulation.story.join("\n");
        eprintln!("seed {seed} fails; CONSIGN_TEST_SEED={seed} runs it alone:\n{story}");
        resume_unwind(cause);
    }
}

#[test]
fn whatever_comes_between_what_must_hold_holds() {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let (first, count) = match number("CONSIGN_TEST_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("CONSIGN_TEST_SEEDS").unwrap_or(SEEDS)),
    };
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(count) {
            scope.spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                let mut world = runtime.block_on(World::new());
                let mut of_this_world = 0;
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    // A world that has seen much is slow.
                    of_this_world += 1;
                    if of_this_world % 50 == 0 {
                        world = runtime.block_on(World::new());
                    }
                    run(&world, &runtime, seed);
                }
            });
        }
    });
    eprintln!("{count} seeds");
}
