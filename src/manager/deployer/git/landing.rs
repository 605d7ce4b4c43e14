//! What is to be landed in a config repository, and what came of it, as plain values.
//!
//! The main items are [`Landing`] and [`Landed`]. Nothing here touches a repository.

use crate::model::Failure;
use crate::model::artifact::Person;
use crate::model::release_commit::Message;

use super::objects::Id;

/// One commit that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// The release, or whatever else it is made for. It becomes the last trailer of the commit, and no two
    /// commits with the same one are ever made.
    pub release_id: String,
    /// Whether an earlier attempt may have reached the repository without anybody having heard of it. The
    /// whole history is searched for the release then.
    pub tried_before: bool,
    /// What changes.
    pub change: Change,
    /// What the commit says.
    pub message: Message,
    /// Who wrote it; without one it is the committer.
    pub author: Option<Person>,
}

/// What changes in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A service's files in an environment are replaced as a whole.
    Release {
        /// Where.
        place: Place,
        /// The record, in the older system's form.
        artifact_json: Vec<u8>,
        /// The manifests of this environment.
        files: Vec<PayloadFile>,
    },
    /// A service's files in an environment are removed, and what leads there.
    Removal {
        /// Where.
        place: Place,
    },
    /// The copy of a service's policies that the older system reads is replaced; without bytes it is removed.
    Policies {
        /// Whose.
        service: String,
        /// The document.
        document: Option<Vec<u8>>,
    },
}

/// A service in an environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The environment.
    pub environment: String,
    /// The namespace, which is often named as the environment.
    pub namespace: String,
    /// The service.
    pub service: String,
}

/// One manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFile {
    /// Where it lies below the service's directory, with slashes.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether it is a program.
    pub is_executable: bool,
}

/// What is said to a landing just before it is pushed.
#[derive(Debug)]
pub enum Decision {
    /// It may go.
    Commit,
    /// It may not; the others go without it.
    LeaveOut(Failure),
}

/// What came of one landing.
#[derive(Debug)]
pub enum Landed {
    /// The remote has it, by this commit.
    Pushed(Id),
    /// The remote had it before: an earlier attempt made this commit.
    Before(Id),
    /// Nothing would have changed, so that there is no commit. The repository was at this one, if it had any.
    AlreadyUpToDate(Option<Id>),
    /// It was left out, by the decision or because it cannot be landed at all. The remote has nothing of it.
    LeftOut(Failure),
}
