//! The artifact registry, seen from outside: through its store on both databases, and through the real
//! programs. It is a target of its own, so that the ordinary tests need no database and no web server.

#![expect(unreachable_pub, reason = "what the modules share is public to each other and to nobody else")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says what it skips"
)]

mod access;
mod audit;
mod blobs;
mod browse;
mod bucket;
mod cases_automation;
mod cases_lists;
mod cases_policies;
mod cases_releases;
mod completions;
mod container;
mod crash;
mod deployer_conflicts;
mod deployer_git;
mod deployer_remotes;
mod deployer_scene;
mod deployer_signing;
mod door;
mod federation;
#[path = "../it/fixture.rs"]
#[expect(dead_code, reason = "the bundles of the other tests, of which fewer are needed here")]
mod fixture;
mod login;
mod manager;
mod manager_crash;
mod manager_errands;
mod manager_evidence;
mod manager_foreign;
mod manager_rules;
mod manager_simulation;
mod openapi;
mod outage;
mod place;
mod postgres;
mod register;
mod retention;
mod schema;
mod store;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "what the other tests share, of which less is needed here")]
mod support;
mod tls;
mod tokens;
mod tour;
mod traces;
mod verdict;
mod webhooks;
