//! Everything outside the process: one file per thing we touch.

pub mod cargo;
pub mod files;
pub mod process;
