//! What both documents call a crate: identifiers, package URLs, addresses and suppliers.
//!
//! Everything is made of untrusted text, and everything that comes out is valid where it is put.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Component, ComponentKey, Inventory};
use crate::model::{Digest, text};

/// How the sources of the public Rust package registry begin, whatever protocol fetched its index.
const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/";
/// The longest line of text that is taken over from a manifest, in characters.
const MAX_LINE_CHARACTERS: usize = 500;

/// A unique identifier for every crate, of letters, digits, dots and hyphens only.
///
/// It is the crate's name and version; only where two would be the same a digest tells them apart.
pub(super) fn identifiers(inventory: &Inventory) -> BTreeMap<&ComponentKey, String> {
    let plain = |key: &ComponentKey| identifier(&format!("crate-{}-{}", key.name, key.version));
    let mut uses = BTreeMap::<String, usize>::new();
    for key in inventory.components.keys() {
        *uses.entry(plain(key)).or_default() += 1;
    }
    let unique = |key| match plain(key) {
        name if uses[&name] == 1 => name,
        name => {
            let all = format!("{}\n{}\n{}", key.name, key.version, key.source);
            format!("{name}-{}", &Digest::of(all.as_bytes()).to_string()[..12])
        }
    };
    inventory.components.keys().map(|key| (key, unique(key))).collect()
}

/// Text with everything but letters, digits, dots and hyphens replaced.
pub(super) fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' }).collect()
}

/// The package URL of a crate, as <https://github.com/package-url/purl-spec> has it.
pub(super) fn package_url(key: &ComponentKey, inventory: &Inventory) -> String {
    let mut url = format!("pkg:cargo/{}@{}", percent(&key.name), percent(&key.version.to_string()));
    if let Some(address) = version_control(key, inventory) {
        let _ = write!(url, "?vcs_url={}", percent(&address));
    } else if let Some(registry) = other_registry(&key.source) {
        let _ = write!(url, "?repository_url={}", percent(registry));
    }
    url
}

/// Where the source code of a crate of git or of the workspace's tree is: `git+<address>@<commit>`.
///
/// Addresses on somebody's own disk are of no use to anybody else and are left out.
pub(super) fn version_control(key: &ComponentKey, inventory: &Inventory) -> Option<String> {
    let (address, commit) = if key.source.is_empty() {
        (inventory.repository.as_deref()?, inventory.commit.as_deref()?)
    } else {
        let (address, commit) = key.source.strip_prefix("git+")?.split_once('#')?;
        (address.split('?').next()?, commit)
    };
    let address = address.strip_prefix("git+").unwrap_or(address);
    public_address(address).map(|address| format!("git+{address}@{commit}"))
}

/// An address on the network in which every character may stand in a URI.
pub(super) fn public_address(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once("://")?;
    let known = matches!(scheme, "https" | "http" | "ssh" | "git");
    let plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=?%".contains(&byte));
    (known && plain && rest.bytes().next()?.is_ascii_alphanumeric()).then_some(address)
}

/// The same as a download location that SPDX validators take, which know no host without a domain.
pub(super) fn download_location(key: &ComponentKey, inventory: &Inventory) -> Option<String> {
    let location = version_control(key, inventory)?;
    let host = location.split_once("://")?.1.split('/').next()?;
    let host = host.split_once('@').map_or(host, |(_, host)| host);
    let (name, domain) = host.rsplit_once('.')?;
    let good = (2..=5).contains(&domain.len())
        && domain.bytes().all(|byte| byte.is_ascii_alphabetic())
        && name.split(['.', '-']).all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    good.then_some(location)
}

fn other_registry(source: &str) -> Option<&str> {
    if source.starts_with(PUBLIC_REGISTRY) {
        return None;
    }
    let address = source.strip_prefix("sparse+").or_else(|| source.strip_prefix("registry+"))?;
    public_address(address)
}

/// Who stands behind a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Supplier {
    /// A name in one line.
    pub(super) name: String,
    /// Whether it is one person's name, as far as that can be seen.
    pub(super) is_person: bool,
}

/// Who stands behind a crate, as far as the manifest says: its first author, or else the account that
/// its repository belongs to, or else the product's.
pub(super) fn supplier(key: &ComponentKey, component: &Component, inventory: &Inventory) -> Supplier {
    if let Some(author) = authors(component).into_iter().next() {
        let lower = author.to_lowercase();
        let many = ["the ", "developers", "contributors", "authors", "project", "team", "foundation", "inc", "ltd"];
        let is_person = !many.iter().any(|word| lower.split(' ').any(|part| part == word.trim()));
        return Supplier { name: author, is_person };
    }
    let own = if key.source.is_empty() { inventory.repository.as_deref() } else { None };
    let name = component.repository.as_deref().and_then(owner).or_else(|| own.and_then(owner));
    Supplier { name: name.unwrap_or_else(|| format!("the authors of {}", one_line(&key.name))), is_person: false }
}

/// The authors' names in one line each, without their addresses.
pub(super) fn authors(component: &Component) -> Vec<String> {
    let name = |author: &String| {
        let name = author.split('<').next().unwrap_or_default();
        // SPDX reads parentheses as an address.
        one_line(name).replace('(', "[").replace(')', "]")
    };
    component.authors.iter().map(name).filter(|name| !name.is_empty()).collect()
}

/// The account in `https://host/account/repository`.
fn owner(repository: &str) -> Option<String> {
    let (_, rest) = public_address(repository)?.split_once("://")?;
    let account = rest.split('/').nth(1)?;
    let plain = !account.is_empty() && account.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    plain.then(|| account.to_owned())
}

/// Text from a manifest as one safe line of bounded length.
pub(super) fn one_line(given: &str) -> String {
    let joined = given.split_whitespace().collect::<Vec<_>>().join(" ");
    text::shown(&joined).chars().take(MAX_LINE_CHARACTERS).collect()
}

/// Percent-encodes everything that package URLs do not take as it is.
fn percent(given: &str) -> String {
    let mut out = String::with_capacity(given.len());
    for byte in given.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Product, Role};
    use super::*;

    fn key(name: &str, version: &str, source: &str) -> ComponentKey {
        ComponentKey { name: name.to_owned(), version: version.parse().expect(version), source: source.to_owned() }
    }

    fn component(authors: &[&str], repository: Option<&str>) -> Component {
        Component {
            licence: None,
            authors: authors.iter().map(ToString::to_string).collect(),
            description: None,
            repository: repository.map(ToOwned::to_owned),
            checksum: None,
            role: Role::Runtime,
            depends_on: BTreeMap::new(),
        }
    }

    fn inventory(repository: Option<&str>) -> Inventory {
        let product = Product {
            name: "tool".parse().expect("a name"),
            version: "1.0.0".parse().expect("a version"),
            created: jiff::Timestamp::UNIX_EPOCH,
            repository: repository.map(ToOwned::to_owned),
            commit: repository.map(|_| "c0ffee".to_owned()),
        };
        Inventory::assemble(product, Vec::new())
    }

    #[test]
    fn package_urls_say_where_a_crate_is_from() {
        let own = inventory(Some("https://u:p@h.example/o/tool"));
        for (source, expected) in [
            ("registry+https://github.com/rust-lang/index", "pkg:cargo/a@1.0.0-rc.1%2Bx"),
            ("sparse+https://r.example/i/", "pkg:cargo/a@1.0.0-rc.1%2Bx?repository_url=https://r.example/i/"),
            (
                "git+ssh://git@h.example/o/a?branch=b#abc",
                "pkg:cargo/a@1.0.0-rc.1%2Bx?vcs_url=git%2Bssh://git%40h.example/o/a%40abc",
            ),
            ("git+file:///home/me/a#abc", "pkg:cargo/a@1.0.0-rc.1%2Bx"),
            ("", "pkg:cargo/a@1.0.0-rc.1%2Bx?vcs_url=git%2Bhttps://h.example/o/tool%40c0ffee"),
        ] {
            assert_eq!(package_url(&key("a", "1.0.0-rc.1+x", source), &own), expected);
        }
        assert_eq!(package_url(&key("a", "1.0.0", ""), &inventory(None)), "pkg:cargo/a@1.0.0");
    }

    #[test]
    fn only_an_address_on_the_network_is_a_download_location() {
        let location = |repository| download_location(&key("a", "1.0.0", ""), &inventory(Some(repository)));
        assert_eq!(location("https://h.example.org/o/a").as_deref(), Some("git+https://h.example.org/o/a@c0ffee"));
        for other in ["file:///home/me", "git@h.org:o/a", "https://localhost/a", "https://h.org/a b", "https://-h.org/"]
        {
            assert_eq!(location(other), None, "{other}");
        }
    }

    #[test]
    fn identifiers_are_unique_and_of_plain_characters() {
        let mut all = inventory(None);
        for (name, version, source) in
            [("a_b", "1.0.0", ""), ("a-b", "1.0.0", ""), ("a-b", "1.0.0", "git+https://h/a#1"), ("c", "1.0.0+x", "")]
        {
            all.components.insert(key(name, version, source), component(&[], None));
        }
        let names: Vec<_> = identifiers(&all).into_values().collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), 4);
        assert!(names.contains(&"crate-c-1.0.0-x".to_owned()));
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))));
    }

    #[test]
    fn a_supplier_is_an_author_or_whom_the_repository_belongs_to() {
        let own = inventory(Some("https://h.example/product/x"));
        let registry = "registry+https://github.com/rust-lang/index";
        for (source, authors, repository, name, is_person) in [
            (registry, &["Ann B. <ann@x>"][..], None, "Ann B.", true),
            (registry, &["The X Project Developers"], None, "The X Project Developers", false),
            (registry, &["\n<only@address>", "E (v)\u{1b}\nil"], None, "E [v]\\u{1b} il", true),
            (registry, &[], Some("https://h.example/owner/x"), "owner", false),
            (registry, &[], Some("javascript:alert(1)"), "the authors of a", false),
            ("", &[], None, "product", false),
        ] {
            let supplier = supplier(&key("a", "1.0.0", source), &component(authors, repository), &own);
            assert_eq!(supplier, Supplier { name: name.to_owned(), is_person });
        }
    }
}
