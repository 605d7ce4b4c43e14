//! The documents for other installers that a bundle may hold: how they are called, and of which kind they are.

/// The manifest of dist.
pub const DIST: &str = "dist-manifest";
/// A Homebrew formula.
pub const HOMEBREW: &str = "homebrew-formula";
/// A Scoop manifest.
pub const SCOOP: &str = "scoop-manifest";
/// A line of a list of versions.
pub const VERSIONS: &str = "version-line";

/// The name and the kind of each, for a product.
pub fn documents(product: &str) -> [(String, &'static str); 4] {
    [
        ("dist-manifest.json".to_owned(), DIST),
        (format!("{product}.rb"), HOMEBREW),
        (format!("{product}.json"), SCOOP),
        (format!("{product}.ndjson"), VERSIONS),
    ]
}
