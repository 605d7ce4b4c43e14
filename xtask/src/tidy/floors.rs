//! The floors of the house: imports point down, and the two wings of the third floor never meet.
//!
//! [`arrows_point_down`] looks at every path into the crate that product code names: `crate::…`,
//! lists in braces, and `super::` chains that reach the root. Test modules may look anywhere.

use super::rust_text::{is_name, product_code};
use super::{Finding, line_of};
use crate::repository::{File, Repository};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wing {
    None,
    Pipeline,
    Manager,
}

/// The plan of the house: module, floor, wing. A module that is not here has no place yet.
const FLOORS: &[(&str, u8, Wing)] = &[
    ("model", 1, Wing::None),
    ("archive", 1, Wing::None),
    ("trust", 1, Wing::None),
    ("world", 2, Wing::None),
    ("provider", 2, Wing::None),
    ("store", 2, Wing::None),
    ("client", 2, Wing::None),
    ("catalog", 3, Wing::Pipeline),
    ("pipeline", 3, Wing::Pipeline),
    ("install", 3, Wing::Pipeline),
    ("artifacts", 3, Wing::Manager),
    ("manager", 3, Wing::Manager),
    ("watch", 3, Wing::Manager),
    ("daemon", 3, Wing::Manager),
    ("notify", 3, Wing::Manager),
    ("cli", 4, Wing::None),
    ("server", 4, Wing::None),
    ("config", 4, Wing::None),
];

/// Who may use whom on the same floor.
const SIBLINGS: &[(&str, &str)] = &[
    ("archive", "model"),
    ("trust", "model"),
    ("trust", "archive"),
    ("provider", "world"),
    ("client", "world"),
    ("store", "world"),
    ("pipeline", "catalog"),
    ("install", "catalog"),
    ("install", "pipeline"),
    ("manager", "artifacts"),
    ("watch", "manager"),
    ("daemon", "manager"),
    ("cli", "config"),
    ("cli", "server"),
    ("server", "config"),
];

/// Every import that goes up, sideways where it may not, or from one wing into the other.
pub(super) fn arrows_point_down(repository: &Repository) -> Vec<Finding> {
    repository.under("src/", ".rs").flat_map(arrows_of).collect()
}

fn arrows_of(file: &File) -> Vec<Finding> {
    let modules = module_path(&file.path);
    let Some(home) = modules.first() else { return Vec::new() };
    let Some(from) = place(home) else {
        let message = format!("module `{home}` has no floor; give it one in xtask/src/tidy/floors.rs");
        return vec![Finding::new(&file.path, 1, message)];
    };
    let code = product_code(&file.text);
    let mut findings = Vec::new();
    for (offset, target) in roots(&code, modules.len()) {
        if let Some(to) = place(&target)
            && let Some(reason) = refusal(from, to)
        {
            findings.push(Finding::new(&file.path, line_of(&code, offset), reason));
        }
    }
    findings
}

type Place = &'static (&'static str, u8, Wing);

fn place(module: &str) -> Option<Place> {
    FLOORS.iter().find(|(name, ..)| *name == module)
}

fn refusal(from: Place, to: Place) -> Option<String> {
    let ((from, from_floor, from_wing), (to, to_floor, to_wing)) = (*from, *to);
    if from == to {
        return None;
    }
    if to_floor > from_floor {
        return Some(format!(
            "`{from}` (floor {from_floor}) uses `{to}` (floor {to_floor}): arrows point down; hand the value in as a parameter"
        ));
    }
    if to_floor < from_floor {
        return None;
    }
    if from_wing != to_wing && from_wing != Wing::None && to_wing != Wing::None {
        return Some(format!(
            "`{from}` uses `{to}`: the pipeline wing and the manager wing meet only through the floors below"
        ));
    }
    (!SIBLINGS.contains(&(from, to))).then(|| {
        format!(
            "`{from}` uses `{to}` on the same floor: move what they share down, or allow it in xtask/src/tidy/floors.rs"
        )
    })
}

/// `src/model/sbom/spdx.rs` is `[model, sbom, spdx]`; the roots of the crate and of binaries are empty.
fn module_path(path: &str) -> Vec<&str> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" | "main" => Vec::new(),
        path if path.starts_with("bin/") => Vec::new(),
        path => path.split('/').collect(),
    }
}

/// Every top-level name that the code reaches through `crate::` or enough `super::`s.
fn roots(code: &str, depth: usize) -> Vec<(usize, String)> {
    let supers = "super::".repeat(depth);
    let mut roots = Vec::new();
    for prefix in ["crate::", supers.as_str()] {
        let mut from = 0;
        while let Some(found) = code[from..].find(prefix) {
            let start = from + found;
            from = start + prefix.len();
            let joined = start > 0 && (is_name(code.as_bytes()[start - 1]) || code[..start].ends_with("::"));
            if !joined {
                roots.extend(names_after(&code[from..]).into_iter().map(|(offset, name)| (from + offset, name)));
            }
        }
    }
    roots
}

/// The name that follows, or the first name of each path in a list in braces.
fn names_after(rest: &str) -> Vec<(usize, String)> {
    let name_at = |offset: usize| -> String {
        rest[offset..].chars().take_while(|character| character.is_ascii_alphanumeric() || *character == '_').collect()
    };
    if !rest.starts_with('{') {
        return vec![(0, name_at(0))];
    }
    let (mut depth, mut expected, mut names) = (0_usize, false, Vec::new());
    for (offset, character) in rest.char_indices() {
        match character {
            '{' => {
                depth += 1;
                expected = depth == 1;
            }
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' => expected = depth == 1,
            character if expected && !character.is_whitespace() => {
                names.push((offset, name_at(offset)));
                expected = false;
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        arrows_point_down(&Repository::of(&[(path, text)])).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn looking_down_is_allowed() {
        assert!(check("src/pipeline/mod.rs", "use crate::{model::Digest, world};\nuse crate::provider;").is_empty());
        assert!(check("src/trust/mod.rs", "use crate::archive;").is_empty());
        assert!(check("src/main.rs", "use crate::cli;").is_empty());
    }

    #[test]
    fn looking_up_is_found_in_every_spelling() {
        for text in [
            "use crate::pipeline::plan;",
            "use crate::{model::{self, Digest}, pipeline};",
            "fn a() { crate::pipeline::run() }",
            "use super::super::pipeline;",
            "pub(crate) use crate::cli::Verb;",
        ] {
            let found = check("src/world/git.rs", text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains("arrows point down"), "{found:?}");
        }
    }

    #[test]
    fn the_line_is_the_import_s() {
        let found = check("src/model/digest.rs", "//! Digests.\n\nuse crate::{\n    model,\n    world,\n};");
        assert!(found[0].starts_with("src/model/digest.rs:5: "), "{found:?}");
    }

    #[test]
    fn neighbours_ask_first() {
        assert_eq!(check("src/model/x.rs", "use crate::trust;").len(), 1);
        assert_eq!(check("src/config/x.rs", "use crate::cli;").len(), 1);
    }

    #[test]
    fn the_wings_never_meet() {
        for (path, text) in [("src/pipeline/x.rs", "use crate::manager;"), ("src/manager/x.rs", "use crate::install;")]
        {
            assert!(check(path, text)[0].contains("wing"), "{path}");
        }
    }

    #[test]
    fn comments_strings_and_tests_are_no_imports() {
        let text =
            "//! See `crate::cli`.\nconst A: &str = \"crate::cli\";\n#[cfg(test)]\nmod tests { use crate::cli; }";
        assert!(check("src/model/x.rs", text).is_empty());
    }

    #[test]
    fn a_module_without_a_floor_is_found() {
        assert_eq!(check("src/utils.rs", "").len(), 1);
    }
}
