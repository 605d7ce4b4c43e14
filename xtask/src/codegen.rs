//! `cargo xtask codegen`: documents that are written from the code.
//!
//! [`write`] writes them, [`stale`] names those that are not what the code says. Nobody edits them
//! by hand, so each opens by saying where it comes from.

use std::fmt::Write as _;

use anyhow::Result;
use camino::Utf8Path;
use consign::model::{Code, Exit};
use consign::world::files;

/// A document and what it should be.
struct Generated {
    path: &'static str,
    content: String,
}

/// Writes every document that is not current and gives back their paths.
pub(crate) fn write(root: &Utf8Path) -> Result<Vec<&'static str>> {
    let mut written = Vec::new();
    for document in documents() {
        if !is_current(root, &document) {
            files::write(&root.join(document.path), document.content.as_bytes())?;
            written.push(document.path);
        }
    }
    Ok(written)
}

/// The documents that are not what the code says.
pub(crate) fn stale(root: &Utf8Path) -> Vec<&'static str> {
    documents().into_iter().filter(|document| !is_current(root, document)).map(|document| document.path).collect()
}

fn documents() -> Vec<Generated> {
    vec![Generated { path: "docs/codes.md", content: codes() }]
}

fn is_current(root: &Utf8Path, document: &Generated) -> bool {
    fs_err::read(root.join(document.path)).is_ok_and(|bytes| bytes == document.content.as_bytes())
}

fn opening(title: &str, home: &str) -> String {
    format!("# {title}\n\n<!-- Written by `cargo xtask codegen` from {home}; do not edit. -->\n\n")
}

fn codes() -> String {
    let mut page = opening("Exit codes and error codes", "src/model/code.rs");
    page.push_str(
        "Every command ends with one of these exit codes. The error code is in the JSON document that\n\
         `--format json` prints on failure, and in every finding of the verifier. An error code never changes\n\
         its meaning; new ones may be added.\n",
    );
    for (exit, title) in EXITS {
        let _ = writeln!(page, "\n## {} – {title}\n", *exit as u8);
        let mut codes = Code::ALL.iter().filter(|code| code.exit() == *exit).peekable();
        if codes.peek().is_none() {
            page.push_str("No error code leads here.\n");
            continue;
        }
        page.push_str("| code | when |\n|---|---|\n");
        for code in codes {
            let _ = writeln!(page, "| `{code}` | {} |", code.meaning());
        }
    }
    page
}

const EXITS: &[(Exit, &str)] = &[
    (Exit::Done, "done; nothing to do is done too"),
    (Exit::Failed, "failed here: disk, permission, a build or a test that fails"),
    (Exit::Usage, "the command line is wrong"),
    (Exit::Configuration, "the configuration or a tool is wrong or missing"),
    (Exit::Verification, "something did not verify"),
    (Exit::Remote, "something outside is unavailable"),
    (Exit::Refused, "refused by a rule"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_on_its_page_once() {
        let page = codes();
        for code in Code::ALL {
            assert_eq!(page.matches(&format!("| `{code}` |")).count(), 1, "{code}");
        }
    }
}
