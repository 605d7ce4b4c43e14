//! The installers of a release: `install.sh`, and `install.ps1` where it is for Windows.
//!
//! [`render`] fills the templates with the release's name and version, the rows that the index will hold,
//! and the place to fetch from. What goes into a script was written by strangers, so every value becomes one
//! quoted word, and one that has a character which a terminal or a shell reads in its own way is refused. The
//! same plan and packages give the same bytes.

use camino::Utf8Path;
use minijinja::value::{Serde, Value};
use serde::Serialize;

use super::marks;
use super::plan::{InstallerPlan, Plan};
use crate::model::failure::Result;
use crate::model::index::{Index, Package};
use crate::model::provenance::InstallerParameters;
use crate::model::{Code, Failure, FileName, Platform, Release, installer, text};
use crate::trust::anchor::MAX_ROOT_BYTES;
use crate::world::files;

const SH_TEMPLATE: &str = include_str!("../../templates/install.sh.j2");
const PS1_TEMPLATE: &str = include_str!("../../templates/install.ps1.j2");

/// The line that ends the index's rows in `install.sh`, and the root. Every row begins with a brace.
const END_OF_ROWS: &str = "END_OF_ROWS";
const END_OF_ROOT: &str = "END_OF_ROOT";

/// Everything that the templates use. Each text is a quoted word already, each line one that may stand alone.
#[derive(Serialize)]
struct Page {
    name: String,
    version: String,
    tag: String,
    base_url: String,
    consign: String,
    platforms: String,
    rows: Vec<String>,
    root: Option<Vec<String>>,
}

/// What an installer knows of its release.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The product.
    pub name: &'a FileName,
    /// Which release it is.
    pub release: &'a Release,
    /// The packages, in the order of the index.
    pub packages: &'a [Package],
    /// Where the release is fetched from, with `{tag}` and `{version}`.
    pub base_url: Option<&'a str>,
    /// The root of the catalog.
    pub root: Option<&'a str>,
}

/// A document: its name and kind, and its bytes.
type Rendered = ((&'static str, &'static str), Vec<u8>);

/// What makes one.
type Script = fn(&Facts<'_>) -> Result<Vec<u8>>;

/// Every installer that the plan has.
pub fn render(plan: &Plan, packages: &[Package]) -> Result<Vec<Rendered>> {
    let root = match &plan.installer.root {
        Some(path) => Some(read_root(&plan.places.root.join(path))?),
        None => None,
    };
    let (base_url, root) = (plan.installer.base_url.as_deref(), root.as_deref());
    let facts = Facts { name: &plan.name, release: &plan.release, packages, base_url, root };
    let scripts: [(_, Script); 2] = [(installer::SH, sh), (installer::PS1, ps1)];
    let wanted = |name: &str| plan.installer.files.iter().any(|file| file.as_str() == name);
    let wanted = scripts.into_iter().filter(|((name, _), _)| wanted(name));
    wanted.map(|(document, render)| Ok((document, render(&facts)?))).collect()
}

/// The installer for POSIX shells.
pub fn sh(facts: &Facts<'_>) -> Result<Vec<u8>> {
    fill(installer::SH.0, SH_TEMPLATE, &page(facts, installer::SH.0, sh_word)?)
}

/// The installer for Windows.
pub fn ps1(facts: &Facts<'_>) -> Result<Vec<u8>> {
    fill(installer::PS1.0, PS1_TEMPLATE, &page(facts, installer::PS1.0, ps1_word)?)
}

/// What of the plan went into them, for the provenance.
pub fn parameters(plan: &InstallerPlan) -> Option<InstallerParameters> {
    let InstallerPlan { files, base_url, root } = plan;
    let files: Vec<String> = files.iter().map(ToString::to_string).collect();
    (!files.is_empty()).then(|| InstallerParameters { files, base_url: base_url.clone(), root: root.clone() })
}

fn page(facts: &Facts<'_>, script: &str, quote: fn(&str) -> String) -> Result<Page> {
    let word = |value: &str| plain(script, value).map(quote);
    let line = |line: &str| plain(script, line).map(str::to_owned);
    let platforms: Vec<_> = Platform::all().map(Platform::name).collect();
    let root = facts.root.map(|root| root.lines().map(line).collect::<Result<_>>());
    Ok(Page {
        name: word(facts.name.as_str())?,
        version: word(&facts.release.version.to_string())?,
        tag: word(&facts.release.tag)?,
        base_url: word(facts.base_url.unwrap_or_default())?,
        consign: word(env!("CARGO_PKG_VERSION"))?,
        platforms: word(&platforms.join(" "))?,
        rows: facts.packages.iter().map(|package| line(&Index::row(package))).collect::<Result<_>>()?,
        root: root.transpose()?,
    })
}

/// Reads the catalog's root. Nothing in it can end the lines that it is written in.
fn read_root(path: &Utf8Path) -> Result<String> {
    let bytes = files::read_bounded(path, MAX_ROOT_BYTES)?;
    let root = String::from_utf8_lossy(&bytes).into_owned();
    let is_root = serde_json::from_str::<serde_json::Value>(&root).is_ok_and(|root| root["signed"]["_type"] == "root");
    if !is_root || root.lines().any(|line| line == END_OF_ROOT || line.starts_with("'@")) {
        return Err(Failure::new(Code::ConfigInvalid, format!("`{path}` is not the root of a catalog"))
            .subject("installer.root")
            .hint("name the `root.json` that `consign catalog init` has written"));
    }
    Ok(root)
}

/// Refuses whatever could move a cursor, end a line or be read as something else.
fn plain<'a>(script: &str, value: &'a str) -> Result<&'a str> {
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(value);
    }
    let message = format!("{:?} cannot be written into `{script}`", text::shown(value));
    Err(Failure::new(Code::NameInvalid, message).subject(script).hint("use printable ASCII characters only"))
}

/// A word that no POSIX shell reads as anything but itself.
fn sh_word(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// A word that `PowerShell` reads as nothing but itself.
fn ps1_word(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn fill(script: &str, template: &str, page: &Page) -> Result<Vec<u8>> {
    let invalid = |error: &minijinja::Error| {
        Failure::new(Code::TemplateInvalid, format!("failed to render `{script}`"))
            .subject(script)
            .because(error.to_string())
    };
    let mut environment = marks::environment().map_err(|error| invalid(&error))?;
    environment.add_global("END_OF_ROWS", END_OF_ROWS);
    environment.add_global("END_OF_ROOT", END_OF_ROOT);
    let page = Value::from(Serde(page));
    environment.render_named_str(script, template, page).map(String::into_bytes).map_err(|error| invalid(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_only_itself() {
        assert_eq!(sh_word("a'b; $(id) `id` \\"), r"'a'\''b; $(id) `id` \'");
        assert_eq!(ps1_word("a'b; $(id)"), "'a''b; $(id)'");
    }

    #[test]
    fn what_moves_a_cursor_or_ends_a_line_is_not_written_into_a_script() {
        for wrong in ["a\nb", "a\rb", "\u{1b}[2J", "a\u{202e}b", "\u{e4}", "a\0b"] {
            assert_eq!(plain("install.sh", wrong).expect_err(wrong).code(), Code::NameInvalid);
        }
        assert!(plain("install.sh", "a'b\"$(x)").is_ok());
    }

    #[test]
    fn nothing_in_a_value_is_read_by_the_template() {
        let page = Page {
            name: sh_word("<<< 7 * 7 >>>"),
            version: String::new(),
            tag: String::new(),
            base_url: String::new(),
            consign: String::new(),
            platforms: String::new(),
            rows: vec!["<% raise %>".to_owned()],
            root: None,
        };
        let filled = fill("x", "<<< name >>>\n<% for row in rows %>\n<<< row >>>\n<% endfor %>\n", &page);
        assert_eq!(String::from_utf8_lossy(&filled.expect("it is rendered")), "'<<< 7 * 7 >>>'\n<% raise %>\n");
    }
}
