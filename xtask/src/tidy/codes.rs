//! Error codes: none is promised that nothing ever gives.
//!
//! That `docs/codes.md` lists them is the business of `codegen`.

use consign::model::Code;

use super::rust_text::{code, occurrences};
use super::{Finding, line_of};
use crate::repository::Repository;

const HOME: &str = "src/model/code.rs";

/// Codes that appear nowhere but in their own list.
pub(super) fn every_code_is_used(repository: &Repository) -> Vec<Finding> {
    unused(repository, Code::ALL.iter().map(|code| format!("{code:?}")))
}

fn unused(repository: &Repository, names: impl Iterator<Item = String>) -> Vec<Finding> {
    let Some(list) = repository.get(HOME) else { return Vec::new() };
    let sources: Vec<_> =
        repository.under("src/", ".rs").filter(|file| file.path != HOME).map(|file| code(&file.text)).collect();
    names
        .filter(|name| {
            let path = format!("Code::{name}");
            !sources.iter().any(|source| occurrences(source, &path).next().is_some())
        })
        .map(|name| {
            let offset = occurrences(&list.text, &name).next().unwrap_or(0);
            let message =
                format!("`Code::{name}` is used nowhere: a code that is promised has to be given by something");
            Finding::new(HOME, line_of(&list.text, offset), message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_code_is_found_in_its_line() {
        let repository = Repository::of(&[
            (HOME, "//! Codes.\nIo = \"io\";\nIoOther = \"io_other\";"),
            ("src/world/files.rs", "fn f() { Code::Io } // Code::IoOther"),
        ]);
        let found = unused(&repository, ["Io".to_owned(), "IoOther".to_owned()].into_iter());
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("src/model/code.rs:3: `Code::IoOther`"), "{}", found[0]);
    }
}
