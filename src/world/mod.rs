//! Everything outside the process: one file per thing we touch.

pub mod files;
pub mod process;
pub mod resolve;
