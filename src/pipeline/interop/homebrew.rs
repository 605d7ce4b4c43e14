//! A Homebrew formula, which a tap takes as it is.

use super::{Release, is_for, programs};
use crate::model::index::Package;

/// Homebrew's word for a processor, and the platforms for it, the better one first.
type Processor = (&'static str, &'static [&'static str]);

/// Homebrew's words for systems and processors.
/// On Linux a static program is the safer one: Homebrew may bring another C library than the system's.
const SYSTEMS: [(&str, [Processor; 2]); 2] = [
    ("on_macos", [("on_arm", &["macos-arm64"]), ("on_intel", &["macos-amd64"])]),
    (
        "on_linux",
        [("on_arm", &["linux-arm64-musl", "linux-arm64"]), ("on_intel", &["linux-amd64-musl", "linux-amd64"])],
    ),
];

pub(super) fn render(release: &Release<'_>) -> Vec<u8> {
    let mut out = format!("class {} < Formula\n", class_name(release.name.as_str()));
    let mut line = |word: &str, value: &str| out.push_str(&format!("  {word} {value}\n"));
    if let Some(description) = &release.about.description {
        line("desc", &quoted(description.trim_end_matches('.')));
    }
    if let Some(homepage) = &release.about.homepage {
        line("homepage", &quoted(homepage));
    }
    line("version", &quoted(&release.version.to_string()));
    if let Some(licence) = release.about.licence.as_deref().and_then(licence) {
        line("license", &licence);
    }
    for (system, processors) in SYSTEMS {
        let found: Vec<_> =
            processors.iter().filter_map(|(word, platforms)| Some((*word, release.of(platforms)?))).collect();
        if found.is_empty() {
            continue;
        }
        out.push_str(&format!("\n  {system} do\n"));
        for (processor, package) in found {
            let url = quoted(&release.url(package));
            out.push_str(&format!(
                "    {processor} do\n      url {url}\n      sha256 \"{}\"\n    end\n",
                package.sha256
            ));
        }
        out.push_str("  end\n");
    }
    out.push_str("\n  def install\n    bin.install Dir[\"bin/*\"]\n  end\n");
    if let Some(program) = release.packages.iter().find(|package| !is_for(package.platform, "windows")).and_then(first)
    {
        out.push_str(&format!("\n  test do\n    system bin/{}, \"--version\"\n  end\n", quoted(program)));
    }
    out.push_str("end\n");
    out.into_bytes()
}

fn first(package: &Package) -> Option<&str> {
    programs(package).next()
}

/// Homebrew's own rule: each word begins with a capital, and what stands between words goes away.
fn class_name(name: &str) -> String {
    let mut class = String::new();
    let mut begins = true;
    for letter in name.chars() {
        match letter {
            '-' | '_' | '.' => begins = true,
            '+' => class.push('x'),
            _ if begins => {
                class.push(letter.to_ascii_uppercase());
                begins = false;
            }
            _ => class.push(letter),
        }
    }
    class
}

/// A licence expression in Homebrew's form; what that form cannot say is left out.
fn licence(expression: &str) -> Option<String> {
    let listed = |word: &str, parts: Vec<&str>| {
        let parts: Vec<_> = parts.into_iter().map(|part| quoted(part.trim())).collect();
        format!("{word}: [{}]", parts.join(", "))
    };
    let is_plain = !expression.contains(['(', ')']) && !expression.contains(" WITH ");
    match (is_plain, expression.contains(" OR "), expression.contains(" AND ")) {
        (true, false, false) => Some(quoted(expression)),
        (true, true, false) => Some(listed("any_of", expression.split(" OR ").collect())),
        (true, false, true) => Some(listed("all_of", expression.split(" AND ").collect())),
        _ => None,
    }
}

/// A Ruby string in which nothing is looked for.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\' | '#') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}
