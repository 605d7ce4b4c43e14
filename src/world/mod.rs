//! Everything outside the process: one file per thing we touch.

pub mod files;
pub mod http;
pub mod process;
