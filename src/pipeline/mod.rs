//! From a commit to a published, verified bundle: the whole story on one screen.
//!
//! Each stage takes what the stage before it made, so that no other order compiles. What is left
//! out by the plan is taken from what an earlier run left in `dist/`, after looking at it again.

pub mod build;
pub mod describe;
pub mod events;
pub mod include;
pub mod linker;
pub mod package;
pub mod plan;
pub mod preflight;
pub mod remap;
pub mod guard;
pub mod request;
pub mod run;
pub mod smoke;
pub mod stage;
pub mod surroundings;
pub mod verify;

