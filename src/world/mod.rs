//! Everything outside the process: one file per thing we touch.

pub mod clock;
pub mod files;
pub mod git;
pub mod process;
