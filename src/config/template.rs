//! The `consign.toml` that `consign init` writes: every key, explained and commented out.

/// The text of the file. As it stands it says nothing, so every setting keeps its default.
pub fn render() -> &'static str {
    include_str!("../../templates/consign.toml")
}
