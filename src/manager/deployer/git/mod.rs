//! Environments as directories of one git repository, which an operator in each cluster follows.
//!
//! [`ConfigRepository::land`] turns everything that is queued into one commit each and pushes them at once.
//! Objects are written straight into a bare repository: there is no checkout, and of what is there
//! already only the directories on the way are read, so that a release costs the same whatever else the
//! repository holds. Whatever needs the network is done by the `git` command. [`History`] reads such a
//! repository, also one that another system has written.
//!
//! The layout, and what commits say, are those of lunarway's release manager. Nothing here decides what may be
//! released, waits in a queue or knows a database.

mod checks;
mod commits;
mod directories;
mod history;
mod index;
mod kustomization;
mod land;
mod landing;
mod objects;
mod pack;
mod patience;
mod prepared;
mod remote;
mod repository;
mod signing;
mod tree;

pub use history::{Edit, History, Namespaces, Query, Released, Since, Standing};
pub use landing::{Change, Decision, Landed, Landing, PayloadFile, Place};
pub use objects::{Id, NotAnId};
pub use remote::Credentials;
pub use repository::{ConfigRepository, Settings};
pub use signing::SigningKey;
