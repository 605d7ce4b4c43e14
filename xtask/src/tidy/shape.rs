//! The shape of source files: length, opening words, names.
//!
//! It says nothing about what the code does.

use super::Finding;
use crate::repository::{File, Repository};

const PRODUCT_LINES: usize = 600;
const TEST_LINES: usize = 900;
/// Names for drawers: a reader cannot guess what is in them.
const DRAWERS: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "imp", "stuff"];

/// A file that does not fit in a head is two files.
pub(super) fn files_are_short(repository: &Repository) -> Vec<Finding> {
    rust_files(repository)
        .filter_map(|file| {
            let bound = if file.path.starts_with("tests/") { TEST_LINES } else { PRODUCT_LINES };
            let lines = file.text.lines().count();
            (lines > bound).then(|| {
                Finding::new(
                    &file.path,
                    bound,
                    format!("{lines} lines, more than {bound}: split it along its subjects"),
                )
            })
        })
        .collect()
}

/// Every module opens with what it is for.
pub(super) fn modules_say_what_they_are_for(repository: &Repository) -> Vec<Finding> {
    rust_files(repository)
        .filter(|file| !says_something(&file.text))
        .map(|file| {
            let message = "does not open with `//!`: say what it is for, its main item, and what it does not do";
            Finding::new(&file.path, 1, message)
        })
        .collect()
}

/// A file's name tells what is in it.
pub(super) fn names_say_something(repository: &Repository) -> Vec<Finding> {
    rust_files(repository)
        .filter_map(|file| {
            let drawer = file.path.trim_end_matches(".rs").split('/').find(|part| DRAWERS.contains(part))?;
            Some(Finding::new(&file.path, 1, format!("`{drawer}` says nothing: name it after what is in it")))
        })
        .collect()
}

fn rust_files(repository: &Repository) -> impl Iterator<Item = &File> {
    ["src/", "xtask/", "tests/"].into_iter().flat_map(|directory| repository.under(directory, ".rs")).filter(|file| {
        // Workspaces that the tests build are not ours to shape.
        !file.path.contains("/fixtures/")
    })
}

fn says_something(text: &str) -> bool {
    text.lines().next().and_then(|line| line.strip_prefix("//!")).is_some_and(|words| !words.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_a_test_may_be_longer() {
        let long = "//! Long.\n".repeat(700);
        let repository = Repository::of(&[("src/model/a.rs", &long), ("tests/it/a.rs", &long), ("README.md", &long)]);
        let found = files_are_short(&repository);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("src/model/a.rs:600: 700 lines"), "{}", found[0]);
    }

    #[test]
    fn a_module_without_an_opening_is_found() {
        let repository =
            Repository::of(&[("src/a.rs", "//! Fine.\n"), ("src/b.rs", "fn main() {}\n"), ("src/c.rs", "//!\n")]);
        let found: Vec<_> =
            modules_say_what_they_are_for(&repository).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["src/b.rs", "src/c.rs"]);
    }

    #[test]
    fn a_drawer_is_found_as_a_file_and_as_a_directory() {
        let repository =
            Repository::of(&[("src/utils.rs", ""), ("tests/it/common/mod.rs", ""), ("src/model/text.rs", "")]);
        assert_eq!(names_say_something(&repository).len(), 2);
    }
}
