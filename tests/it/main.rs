//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

#![expect(unreachable_pub, reason = "what the modules share is public to each other and to nobody else")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says what it skips"
)]

#[cfg(unix)]
mod activate;
#[cfg(unix)]
mod activate_kill;
mod airgap;
mod archive;
mod attacked;
mod attacks_catalog;
mod attacks_documents;
mod attacks_install;
mod attacks_keys;
mod attacks_trust;
mod catalog;
mod cli;
mod config;
mod corpus;
mod cross;
#[cfg(unix)]
mod docker;
#[cfg(unix)]
mod docker_bundle;
#[cfg(unix)]
mod docker_engine;
#[cfg(unix)]
mod docker_hostile;
#[cfg(unix)]
mod docker_life;
mod docker_matrix;
#[cfg(unix)]
mod docker_scale;
mod docker_scene;
mod docker_served;
mod docs_trust;
mod download;
mod fixture;
mod git;
mod github;
mod github_catalog;
mod github_emulator;
mod github_git;
mod github_release;
mod github_server;
mod guard;
mod hostile;
mod hostile_formats;
mod hostile_workspaces;
mod http;
mod install;
#[cfg(unix)]
mod install_edges;
#[cfg(unix)]
mod installer;
#[cfg(unix)]
mod installer_kill;
#[cfg(unix)]
mod installer_refusals;
mod interop;
mod key_life;
mod key_shapes;
mod keys;
mod kill;
mod merge;
mod minisign;
mod notes;
mod pipeline;
mod processor;
mod provider_contract;
mod publish;
mod published_crates;
mod rebuild;
#[cfg(unix)]
mod register;
mod remote_verify;
mod reproducible;
mod rules;
#[cfg(unix)]
mod runner;
mod sbom;
mod secrets;
mod servers;
mod sign;
mod signed_verify;
mod sigstore;
mod slim;
mod stream;
mod support;
mod trust;
mod trust_edges;
mod tuf_client;
mod unpack;
mod verify;
#[cfg(unix)]
mod workflows;
mod workspaces;
mod wycheproof;
