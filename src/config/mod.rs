//! Settings: `consign.toml`, the environment and flags become one request.
//!
//! [`Settings::load`] finds and reads the file; [`Settings::resolve`] puts flags over environment
//! over file over default and says of every value where it comes from. No other module reads the
//! file or the environment, and this one looks at nothing else: whether a package or a tool is
//! there is the plan's business. An installer has no file: its settings are flags and the environment.

#[cfg(feature = "toolchain")]
mod document;
pub mod environment;
#[cfg(feature = "toolchain")]
mod file;
#[cfg(feature = "server")]
pub mod managed;
#[cfg(feature = "toolchain")]
mod resolve;
pub mod secrets;
#[cfg(feature = "toolchain")]
mod settings;
#[cfg(feature = "toolchain")]
pub mod smoke_matrix;
#[cfg(feature = "toolchain")]
pub mod template;
#[cfg(feature = "toolchain")]
pub(crate) mod values;

#[cfg(feature = "toolchain")]
pub use file::schema;
#[cfg(feature = "toolchain")]
pub use resolve::{Origin, Overrides, Resolved, Row};
#[cfg(feature = "toolchain")]
pub use settings::Settings;
#[cfg(feature = "toolchain")]
use settings::{find_above, nearest};

/// The name of the file.
pub const FILE_NAME: &str = "consign.toml";
