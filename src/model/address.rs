//! Addresses of repositories: the form that is recorded, and the page that a browser opens.
//!
//! What is recorded has no credentials in it and does not depend on the machine. Nothing here asks
//! whether there is anything at an address.

use super::text;

/// User names of ssh addresses that belong to the forge and not to a person.
const FORGE_USERS: [&str; 4] = ["git", "forgejo", "gitea", "gogs"];

/// What stands before a colon in an address of the web that is none of a server.
const NO_HOSTS: [&str; 7] = ["javascript", "vbscript", "data", "blob", "about", "mailto", "file"];

/// A remote's address as it may be written into a document, or nothing when it means something on
/// one machine only (a path, a `file:` address) or needs a program of its own (`ext::…`).
///
/// Passwords, tokens, personal user names, queries and fragments are taken out. The scheme stays as
/// it is: `git@host:x/y` is not turned into something that was never configured.
pub fn recorded(address: &str) -> Option<String> {
    let address = address.trim();
    if address != text::shown(address) || address.contains(|c: char| c.is_whitespace() || "\"'<>`\\^{}|".contains(c)) {
        return None;
    }
    let bare = address.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    if let Some((scheme, rest)) = bare.split_once("://") {
        let scheme = scheme.to_ascii_lowercase();
        if !["https", "http", "ssh", "git"].contains(&scheme.as_str()) {
            return None;
        }
        let (authority, path) = rest.split_once('/')?;
        let (user, host) = split_user(authority);
        let user = user.filter(|_| scheme == "ssh").map(|user| format!("{user}@")).unwrap_or_default();
        return (is_host(host) && !path.is_empty()).then(|| format!("{scheme}://{user}{host}/{path}"));
    }
    // Like scp: `git@host:path`. A single letter before the colon is a drive of Windows.
    let authority = bare.split('/').next().unwrap_or_default();
    let (user, _) = split_user(authority);
    let after_user = &bare[authority.rfind('@').map_or(0, |at| at + 1)..];
    let (host, path) = after_user.split_once(':')?;
    if user.is_none() && NO_HOSTS.contains(&host.to_ascii_lowercase().as_str()) {
        return None;
    }
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    (host.len() > 1 && is_host(host) && !path.is_empty() && !path.starts_with(':'))
        .then(|| format!("{user}{host}:{path}"))
}

/// The one address that is recorded for a repository, in whatever form its clone was made: the page
/// at a forge that is known, else what [`recorded`] gives.
pub fn canonical(address: &str) -> Option<String> {
    let Some(pages) = Pages::of(address) else { return recorded(address) };
    let (host, path) = pages.page.strip_prefix("https://")?.split_once('/')?;
    // Manifests name directories of a repository, too.
    let end = match pages.forge {
        Forge::GitHub | Forge::Gitea => path.match_indices('/').nth(1).map(|(at, _)| at),
        Forge::GitLab => path.find("/-/").or_else(|| path.find("/tree/")),
    };
    let path = &path[..end.unwrap_or(path.len())];
    let path = path.strip_suffix(".git").unwrap_or(path);
    Some(format!("https://{}/{path}", host.to_ascii_lowercase()))
}

/// The page of a repository, as `https://host/path`, made from an address in any form.
pub fn page(address: &str) -> Option<String> {
    let recorded = recorded(address)?;
    let (host, path) = match recorded.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/')?;
            let host = authority.rsplit('@').next().unwrap_or(authority);
            // The port of an ssh server is not the port of its web pages.
            let host = if scheme == "https" || scheme == "http" { host } else { host.split(':').next()? };
            (host, path)
        }
        None => recorded.rsplit_once('@').map_or(recorded.as_str(), |(_, rest)| rest).split_once(':')?,
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (path.contains('/') && !path.starts_with('~')).then(|| format!("https://{host}/{path}"))
}

/// The pages of a repository at a forge whose addresses are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    forge: Forge,
    page: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forge {
    GitHub,
    GitLab,
    /// Gitea and Forgejo, as at Codeberg.
    Gitea,
}

impl Pages {
    /// The pages of a repository; none where the forge is not known from the host's name.
    pub fn of(address: &str) -> Option<Self> {
        let page = page(address)?;
        let host = page.strip_prefix("https://")?.split(['/', ':']).next()?.to_ascii_lowercase();
        let is = |name: &str| host.split('.').any(|label| label == name);
        let forge = match () {
            () if is("github") => Forge::GitHub,
            () if is("gitlab") => Forge::GitLab,
            () if is("codeberg") || is("gitea") || is("forgejo") => Forge::Gitea,
            () => return None,
        };
        Some(Self { forge, page })
    }

    /// The page of a commit.
    pub fn commit(&self, id: &str) -> String {
        match self.forge {
            Forge::GitHub | Forge::Gitea => format!("{}/commit/{id}", self.page),
            Forge::GitLab => format!("{}/-/commit/{id}", self.page),
        }
    }

    /// The page with what changed between two tags.
    pub fn comparison(&self, from: &str, to: &str) -> String {
        match self.forge {
            Forge::GitHub | Forge::Gitea => format!("{}/compare/{from}...{to}", self.page),
            Forge::GitLab => format!("{}/-/compare/{from}...{to}", self.page),
        }
    }

    /// Where the files of a release are, by its tag, at a forge where that can be known.
    pub fn downloads(&self, tag: &str) -> Option<String> {
        match self.forge {
            Forge::GitHub | Forge::Gitea => Some(format!("{}/releases/download/{tag}", self.page)),
            Forge::GitLab => None,
        }
    }

    /// The page of the issue or pull request that `#<number>` means.
    pub fn number(&self, number: &str) -> String {
        match self.forge {
            Forge::GitHub => format!("{}/pull/{number}", self.page),
            Forge::GitLab => format!("{}/-/issues/{number}", self.page),
            Forge::Gitea => format!("{}/issues/{number}", self.page),
        }
    }
}

/// The user name if it is a forge's own, and the host. A part with a password is dropped.
fn split_user(authority: &str) -> (Option<&str>, &str) {
    match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user).filter(|user| FORGE_USERS.contains(user)), host),
        None => (None, authority),
    }
}

fn is_host(host: &str) -> bool {
    host.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'[')
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_has_no_secret_and_no_machine_in_it() {
        for (given, expected) in [
            ("https://github.com/a/b.git", Some("https://github.com/a/b.git")),
            ("https://u:p@host/a/b/", Some("https://host/a/b")),
            ("https://token@host:8443/a/b", Some("https://host:8443/a/b")),
            ("https://host/a/b?private_token=x#y", Some("https://host/a/b")),
            ("HTTPS://host/a", Some("https://host/a")),
            ("ssh://git@host:22/a/b", Some("ssh://git@host:22/a/b")),
            ("ssh://alice@host/a/b", Some("ssh://host/a/b")),
            ("ssh://git:secret@host/a", Some("ssh://host/a")),
            ("git@host:a/b.git", Some("git@host:a/b.git")),
            ("alice@host:a/b", Some("host:a/b")),
            ("git:secret@host:a/b", Some("host:a/b")),
            ("host:a/b", Some("host:a/b")),
            ("/home/alice/repo", None),
            ("../repo", None),
            ("file:///home/alice/repo", None),
            ("C:\\repo", None),
            ("c:/repo", None),
            ("ext::sh -c id", None),
            ("ext::id", None),
            ("javascript:alert(1)", None),
            ("Data:text/html,x", None),
            ("-oProxyCommand=id:x", None),
            ("ssh://-oProxyCommand=id/x", None),
            ("https://host/a\u{202e}b", None),
            ("https://host/a b", None),
            ("https://host/\"><script>", None),
            ("https://host", None),
            ("", None),
        ] {
            assert_eq!(recorded(given).as_deref(), expected, "{given}");
            // What was recorded once stays as it is, which is how a verifier knows it.
            assert_eq!(expected.and_then(recorded).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn every_form_leads_to_the_page() {
        for given in [
            "https://github.com/a/b",
            "https://u:p@github.com/a/b.git",
            "git@github.com:a/b.git",
            "ssh://git@github.com:22/a/b.git",
            "git://github.com/a/b",
        ] {
            assert_eq!(page(given).as_deref(), Some("https://github.com/a/b"), "{given}");
        }
        assert_eq!(page("https://host:8443/g/sub/b").as_deref(), Some("https://host:8443/g/sub/b"));
        assert_eq!(page("/srv/a/b"), None);
    }

    #[test]
    fn a_repository_has_one_address_in_whatever_form_it_was_cloned() {
        for given in [
            "https://github.com/a/b",
            "https://u:p@GitHub.com/a/b.git",
            "git@github.com:a/b.git",
            "ssh://git@github.com:22/a/b.git",
            "git://github.com/a/b/",
            "https://github.com/a/b/tree/main/crates/c",
        ] {
            assert_eq!(canonical(given).as_deref(), Some("https://github.com/a/b"), "{given}");
        }
        let gitlab = canonical("https://gitlab.com/g/s/b/-/tree/main/c");
        assert_eq!(gitlab.as_deref(), Some("https://gitlab.com/g/s/b"));
        // Of another host, nobody knows whether its pages are where its repositories are.
        assert_eq!(canonical("git@host:a/b.git").as_deref(), Some("git@host:a/b.git"));
        assert_eq!(canonical("https://u:p@host/a/b.git").as_deref(), Some("https://host/a/b.git"));
        assert_eq!(canonical("/srv/a"), None);
    }

    #[test]
    fn each_forge_has_its_own_pages() {
        let pages = |address| Pages::of(address).expect(address);
        let github = pages("git@github.com:a/b.git");
        assert_eq!(github.comparison("v1", "v2"), "https://github.com/a/b/compare/v1...v2");
        assert_eq!(github.number("7"), "https://github.com/a/b/pull/7");
        assert_eq!(
            pages("https://gitlab.example.org/g/s/b").commit("f00"),
            "https://gitlab.example.org/g/s/b/-/commit/f00"
        );
        assert_eq!(pages("https://codeberg.org/a/b").number("7"), "https://codeberg.org/a/b/issues/7");
        for unknown in ["https://example.com/a/b", "https://notgithub.example/a/b", "/github/a/b"] {
            assert_eq!(Pages::of(unknown), None);
        }
    }
}
