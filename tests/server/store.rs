//! The store: one suite, run on both databases.

use std::collections::BTreeSet;

use consign::model::Digest;
use consign::model::artifact::{Artifact, Event};
use consign::store::{Change, Filter, NewArtifact, NewToken, Place, Pushed, Store};
use consign::trust::transparency::verify_consistency;
use consign::trust::tree::consistency;
use jiff::{SignedDuration, Timestamp};

use crate::place::{Kind, record};
use crate::postgres;
use crate::support::Scratch;

/// A database, and a way to spoil it.
struct Database {
    place: Place,
    _scratch: Scratch,
}

impl Database {
    fn new(kind: Kind) -> Option<Self> {
        let scratch = Scratch::new();
        let place = match kind {
            Kind::Sqlite => Place::Sqlite(scratch.path().join("test.sqlite")),
            Kind::Postgres => Place::Postgres(postgres::database()?),
        };
        Some(Self { place, _scratch: scratch })
    }

    async fn spoil(&self, sql: &'static str) {
        match &self.place {
            Place::Postgres(address) => postgres::statement(address, sql),
            Place::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
                sqlx::query(sql).execute(&pool).await.unwrap();
                pool.close().await;
            }
        }
    }
}

/// Runs a test on every database that is here.
#[expect(clippy::needless_pass_by_value, reason = "a closure reads better where it is written")]
fn on_both(test: impl AsyncFn(&Database, Store)) {
    for kind in Kind::ALL {
        let Some(database) = Database::new(kind) else { continue };
        eprintln!("on {kind:?}");
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
            let store = Store::open(&database.place).await.unwrap();
            test(&database, store.clone()).await;
            store.close().await;
        });
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap() + SignedDuration::from_secs(second)
}

fn change(verb: &'static str, object: &str, second: i64) -> Change {
    Change { at: at(second), subject: "test".to_owned(), verb, object: object.to_owned(), sha256: None, note: None }
}

async fn push(store: &Store, artifact: &Artifact, second: i64) -> Pushed {
    push_named(store, artifact, second, None).await
}

async fn push_named(store: &Store, artifact: &Artifact, second: i64, name: Option<&str>) -> Pushed {
    let record = String::from_utf8(artifact.render()).unwrap();
    let sha256 = artifact.digest();
    let new = NewArtifact {
        artifact,
        record: &record,
        sha256,
        verdict: "none",
        policy: Digest::of(b"nobody"),
        summary: None,
        idempotency: name.map(|name| (name.to_owned(), sha256)),
        sweeps: store.sweeps().await.unwrap(),
    };
    store.push(&new, &change("artifact.push", artifact.id.as_str(), second)).await.unwrap()
}

fn artifact(service: &str, id: &str) -> Artifact {
    Artifact::read(record(service, id).to_string().as_bytes()).unwrap()
}

fn on_branch(service: &str, id: &str, branch: &str) -> Artifact {
    let mut artifact = artifact(service, id);
    artifact.source.branch = Some(branch.to_owned());
    artifact
}

async fn ids(store: &Store, filter: Filter) -> Vec<String> {
    let filter = Filter { most: if filter.most == 0 { 100 } else { filter.most }, ..filter };
    let rows = store.artifacts(&filter).await.unwrap();
    rows.iter().map(|row| consign::artifacts::read(row).unwrap().id.to_string()).collect()
}

fn of(service: &str) -> Filter {
    Filter { services: Some(vec![service.to_owned()]), ..Filter::default() }
}

#[test]
fn an_artifact_is_pushed_once_and_never_changes() {
    on_both(async |_, store| {
        let first = artifact("web", "one");
        assert_eq!(push(&store, &first, 0).await, Pushed::New);
        assert_eq!(push(&store, &first, 1).await, Pushed::There(first.digest()));
        let other = on_branch("web", "one", "other");
        assert_eq!(push(&store, &other, 2).await, Pushed::There(first.digest()));
        // The id of another service is another artifact's.
        assert_eq!(push(&store, &artifact("api", "one"), 3).await, Pushed::New);
        let row = store.artifact("web", "one").await.unwrap().unwrap();
        assert_eq!((row.sha256, row.created_at), (first.digest(), at(0)));
        assert!(store.artifact("web", "two").await.unwrap().is_none());
        assert_eq!(store.audit_head().await.unwrap().size(), 2);
    });
}

#[test]
fn of_many_who_push_the_same_at_once_one_is_first() {
    on_both(async |_, store| {
        let pushes = (0..16).map(|number| {
            let store = store.clone();
            let artifact = on_branch("web", "same", &format!("branch-{number}"));
            tokio::spawn(async move { push(&store, &artifact, number).await })
        });
        let pushes: Vec<_> = pushes.collect();
        let mut new = 0;
        for push in pushes {
            new += usize::from(push.await.unwrap() == Pushed::New);
        }
        assert_eq!(new, 1);
        assert_eq!(store.audit_head().await.unwrap().size(), 1);
        assert_eq!(store.audit_damage().await.unwrap(), None);
    });
}

#[test]
fn a_branch_is_exactly_itself() {
    on_both(async |_, store| {
        for (second, (id, branch)) in [
            ("master-1-2", "master"),
            ("feature_awesome-1-2", "feature/awesome"),
            ("master-2-3", "master"),
            ("x", "master-update"),
            ("master-3-4", "master"),
        ]
        .into_iter()
        .enumerate()
        {
            push(&store, &on_branch("foo", id, branch), i64::try_from(second).unwrap()).await;
        }
        push(&store, &on_branch("foo-bar", "other", "master"), 9).await;
        let branch = |name: &str, most| Filter { branch: Some(name.to_owned()), most, ..of("foo") };
        assert_eq!(ids(&store, branch("master", 2)).await, ["master-3-4", "master-2-3"]);
        assert_eq!(ids(&store, branch("master", 0)).await, ["master-3-4", "master-2-3", "master-1-2"]);
        assert_eq!(ids(&store, branch("feature/awesome", 0)).await, ["feature_awesome-1-2"]);
        assert_eq!(ids(&store, branch("feature_awesome", 0)).await, Vec::<String>::new());
        assert_eq!(ids(&store, Filter { most: 1, ..of("foo") }).await, ["master-3-4"]);
        assert_eq!(ids(&store, of("bar")).await, Vec::<String>::new());
        assert_eq!(ids(&store, of("foo' OR '1'='1")).await, Vec::<String>::new());
        assert_eq!(ids(&store, Filter { branch: Some("%".to_owned()), ..of("foo") }).await, Vec::<String>::new());
    });
}

#[test]
fn events_commits_and_times_choose() {
    on_both(async |_, store| {
        for (number, event) in [Event::Push, Event::Pr, Event::Tag, Event::Push].into_iter().enumerate() {
            let mut artifact = artifact("web", &format!("a{number}"));
            artifact.source.event = event;
            artifact.source.sha = format!("{number}").repeat(40);
            push(&store, &artifact, i64::try_from(number).unwrap() * 10).await;
        }
        let all = Filter::default;
        assert_eq!(ids(&store, Filter { event: Some(Event::Push), ..all() }).await, ["a3", "a0"]);
        let shas = vec!["1".repeat(40), "3".repeat(40), "9".repeat(40)];
        assert_eq!(ids(&store, Filter { shas, ..all() }).await, ["a3", "a1"]);
        assert_eq!(ids(&store, Filter { since: Some(at(10)), ..all() }).await, ["a3", "a2", "a1"]);
        assert_eq!(ids(&store, Filter { until: Some(at(10)), ..all() }).await, ["a0"]);
        assert_eq!(ids(&store, Filter { since: Some(at(10)), until: Some(at(30)), ..all() }).await, ["a2", "a1"]);
        assert_eq!(
            ids(&store, Filter { services: Some(vec!["web".to_owned(), "x".to_owned()]), ..all() }).await.len(),
            4
        );
        assert_eq!(ids(&store, Filter { services: Some(Vec::new()), ..all() }).await.len(), 0);
    });
}

#[test]
fn pages_stay_where_they_are_while_more_is_pushed() {
    on_both(async |_, store| {
        for number in 0..25 {
            push(&store, &artifact("web", &format!("a{number:02}")), number).await;
        }
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let rows = store.artifacts(&Filter { before, most: 7, ..of("web") }).await.unwrap();
            let Some(last) = rows.last() else { break };
            before = Some(last.sequence);
            seen.extend(rows.iter().map(|row| consign::artifacts::read(row).unwrap().id.to_string()));
            push(&store, &artifact("web", &format!("later{}", seen.len())), 1000).await;
        }
        let expected: Vec<_> = (0..25).rev().map(|number| format!("a{number:02}")).collect();
        assert_eq!(seen, expected);
    });
}

#[test]
fn the_name_of_a_request_belongs_to_one_request() {
    on_both(async |_, store| {
        let (one, two) = (artifact("web", "one"), artifact("web", "two"));
        assert_eq!(push_named(&store, &one, 0, Some("job-1")).await, Pushed::New);
        assert_eq!(push_named(&store, &one, 1, Some("job-1")).await, Pushed::There(one.digest()));
        assert_eq!(push_named(&store, &two, 2, Some("job-1")).await, Pushed::OtherRequest);
        assert!(store.artifact("web", "two").await.unwrap().is_none());
        assert_eq!(push_named(&store, &two, 3, Some("job-2")).await, Pushed::New);
    });
}

#[test]
fn the_log_proves_that_it_only_grew() {
    on_both(async |_, store| {
        let mut heads = Vec::new();
        for number in 0..20 {
            push(&store, &artifact("web", &format!("a{number}")), number).await;
            heads.push(store.audit_head().await.unwrap());
        }
        let last = heads.last().unwrap();
        for old in &heads {
            let proof = store.audit_proof(consistency(old.size(), last.size())).await.unwrap();
            verify_consistency((old.size(), last.size()), &proof, (&old.root(), &last.root())).unwrap();
        }
        assert_eq!(store.audit_damage().await.unwrap(), None);
        assert_eq!(store.audit_leaves(18, 100).await.unwrap().len(), 2);
    });
}

#[test]
fn whoever_edits_the_log_is_found_at_the_first_line() {
    let deeds = [
        ("UPDATE audit_leaf SET leaf = REPLACE(leaf, 'a4', 'a5') WHERE number = 4", 4),
        ("DELETE FROM audit_leaf WHERE number = 3", 3),
        ("UPDATE audit_leaf SET number = number + 100 WHERE number = 9", 9),
        (
            "UPDATE audit_head SET size = 9, roots = (SELECT hash FROM audit_node WHERE level = 3 AND number = 0) || ' ' || (SELECT hash FROM audit_node WHERE level = 0 AND number = 9)",
            9,
        ),
        ("UPDATE audit_leaf SET leaf = (SELECT leaf FROM audit_leaf WHERE number = 2) WHERE number = 1", 1),
    ];
    for (deed, number) in deeds {
        on_both(async |database, store| {
            for number in 0..10 {
                push(&store, &artifact("web", &format!("a{number}")), number).await;
            }
            database.spoil(deed).await;
            let damage = store.audit_damage().await.unwrap().expect(deed);
            assert_eq!(damage.number, number, "{deed}: {damage:?}");
        });
    }
}

#[test]
fn of_many_servers_that_start_at_once_one_makes_the_first_token() {
    on_both(async |database, store| {
        let opened = (0..4).map(|number| {
            let place = database.place.clone();
            tokio::spawn(async move {
                let store = Store::open(&place).await.unwrap();
                let token = token(&format!("tok-{number}"));
                let is_first = store.add_first_token(&token, &change("token.create", &token.id, 0)).await.unwrap();
                store.close().await;
                is_first
            })
        });
        let mut first = 0;
        for opened in opened.collect::<Vec<_>>() {
            first += usize::from(opened.await.unwrap());
        }
        assert_eq!((first, store.tokens().await.unwrap().len()), (1, 1));
    });
}

fn token(id: &str) -> NewToken {
    NewToken {
        id: id.to_owned(),
        sha256: Digest::of(id.as_bytes()),
        name: "test".to_owned(),
        grants: "read:*".to_owned(),
        created_at: at(0),
        expires_at: Some(at(100)),
    }
}

#[test]
fn a_token_is_known_by_its_digest_and_revoked_once() {
    on_both(async |_, store| {
        for id in ["a", "b"] {
            store.add_token(&token(id), &change("token.create", id, 0)).await.unwrap();
        }
        let known = async |text: &str| store.token(&Digest::of(text.as_bytes())).await.unwrap();
        assert_eq!(known("a").await.unwrap().id, "a");
        assert!(known("c").await.is_none());
        assert!(store.revoke_token("a", &change("token.revoke", "a", 5)).await.unwrap());
        assert!(!store.revoke_token("a", &change("token.revoke", "a", 6)).await.unwrap());
        assert_eq!(known("a").await.unwrap().revoked_at, Some(at(5)));
        assert_eq!(known("b").await.unwrap().revoked_at, None);
        store.touch_token("b", at(7)).await.unwrap();
        assert_eq!(known("b").await.unwrap().last_used_at, Some(at(7)));
        let verbs: BTreeSet<_> =
            store.audit_leaves(0, 10).await.unwrap().into_iter().map(|leaf| leaf.contains("revoke")).collect();
        assert_eq!((store.audit_head().await.unwrap().size(), verbs.len()), (3, 2));
    });
}
