//! Which repository, on which server, with which token.
//!
//! [`Target::parse`] reads what a user names: `owner/repository`, with the server before it where that
//! is not github.com. What the environment adds comes in as [`Access`]; nothing is asked of a server.

use std::fmt;

use http::HeaderValue;
use reqwest::Url;

use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::world::http as web;

/// The server that is meant where none is named.
const GITHUB: &str = "https://github.com";

/// A repository and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whom it belongs to.
    pub owner: String,
    /// Its name.
    pub repository: String,
    /// Where its API is, without a slash at the end: `https://api.github.com`.
    pub api: String,
    /// Where its pages are, without a slash at the end: `https://github.com`.
    pub server: String,
    /// What one is known by there, if there is anything.
    pub token: Option<Token>,
}

/// What the environment says of servers and tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The token for github.com, and for the servers that are named here.
    pub token: Option<Token>,
    /// The token for servers of enterprises.
    pub enterprise_token: Option<Token>,
    /// `GH_HOST`: the server that is meant where none is named.
    pub host: Option<String>,
    /// `GITHUB_SERVER_URL`: the server that a workflow runs for.
    pub server_url: Option<String>,
    /// `GITHUB_API_URL`: its API.
    pub api_url: Option<String>,
}

/// A token. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token that can stand in a header.
    pub fn new(text: &str) -> Result<Self> {
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::new(Code::ConfigInvalid, "the token for GitHub is not one word of ASCII")
                .hint("set `GH_TOKEN` to the token alone"));
        }
        Ok(Self(token.to_owned()))
    }

    /// The token itself.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// What shows it to a server.
    pub(super) fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).expect("it is one word of ASCII");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Target {
    /// Reads `OWNER/REPOSITORY`, `HOST/OWNER/REPOSITORY` or the address of the repository's page.
    pub fn parse(given: &str, access: &Access) -> Result<Self> {
        let refused = || {
            let shown = text::without_credentials(given).into_owned();
            Failure::new(Code::ConfigInvalid, format!("the publishing target `{}` is no repository", text::shown(&shown)))
                .subject("publish.target")
                .hint("the provider `github` takes `OWNER/REPOSITORY`, with the server's name before it where that is not github.com")
        };
        let trimmed = given.trim_end_matches('/');
        let trimmed = trimmed.strip_suffix(".git").unwrap_or(trimmed);
        let (named, path) = match trimmed.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/').ok_or_else(refused)?;
                (Some(format!("{scheme}://{host}")), path)
            }
            None if trimmed.matches('/').count() == 2 => {
                let (host, path) = trimmed.split_once('/').ok_or_else(refused)?;
                (Some(format!("https://{host}")), path)
            }
            None => (None, trimmed),
        };
        let (owner, repository) = path.split_once('/').ok_or_else(refused)?;
        if !is_owner(owner) || !is_repository(repository) {
            return Err(refused());
        }
        let server = Server::choose(named.as_deref(), access)?;
        let token = server.token(access);
        Ok(Self { owner: owner.into(), repository: repository.into(), api: server.api, server: server.pages, token })
    }

    /// The address of something in the repository's API: `/releases`.
    pub(super) fn route(&self, path: &str) -> String {
        format!("{}/repos/{}/{}{path}", self.api, self.owner, self.repository)
    }

    /// The repository's page.
    pub fn page(&self) -> String {
        format!("{}/{}/{}", self.server, self.owner, self.repository)
    }

    /// Whether files may be sent to an address that the API names, with the token beside them: the
    /// API's own server, the one beside it that takes uploads, or another door of this very machine.
    pub(super) fn takes_uploads_at(&self, address: &Url) -> bool {
        let Ok(api) = Url::parse(&self.api) else { return false };
        let (Some(own), Some(other)) = (api.host_str(), address.host_str()) else { return false };
        let beside = own.strip_prefix("api.").map(|rest| format!("uploads.{rest}"));
        let is_same_door = own == other && api.port_or_known_default() == address.port_or_known_default();
        let is_beside = beside.as_deref() == Some(other) && address.port().is_none();
        let is_here = web::is_loopback(&api) && web::is_loopback(address);
        address.scheme() == api.scheme() && (is_same_door || is_beside || is_here)
    }
}

/// A server, and whether the environment names it.
struct Server {
    pages: String,
    api: String,
    is_of_environment: bool,
}

impl Server {
    fn choose(named: Option<&str>, access: &Access) -> Result<Self> {
        let of_variable = access.host.as_ref().map(|host| format!("https://{host}"));
        let of_workflow = access.server_url.clone().or_else(|| access.api_url.as_deref().map(pages_of));
        let meant = named.map(str::to_owned).or_else(|| of_variable.clone()).or_else(|| of_workflow.clone());
        let pages = plain(meant.as_deref().unwrap_or(GITHUB))?;
        let is = |other: &Option<String>| other.as_deref().and_then(|other| plain(other).ok()).as_ref() == Some(&pages);
        let api = match &access.api_url {
            Some(api) if is(&of_workflow) => plain(api)?,
            _ => api_of(&pages),
        };
        Ok(Self { is_of_environment: is(&of_variable) || is(&of_workflow), pages, api })
    }

    /// The token that this server may see. One for github.com is not shown to a server that only a file
    /// or a flag names.
    fn token(&self, access: &Access) -> Option<Token> {
        let host = self.pages.split("://").nth(1).unwrap_or_default();
        if host == "github.com" || host.ends_with(".ghe.com") {
            return access.token.clone();
        }
        let general = access.token.clone().filter(|_| self.is_of_environment);
        access.enterprise_token.clone().or(general)
    }
}

/// An address that may be spoken with, without anything behind its path.
fn plain(given: &str) -> Result<String> {
    let url = web::address(given)?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        let message = format!("`{}` is not the plain address of a server", web::Shown(&url));
        return Err(Failure::new(Code::ConfigInvalid, message).hint("name it as `https://github.example.com`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn api_of(pages: &str) -> String {
    match pages.split_once("://") {
        Some((scheme, host)) if host == "github.com" || host.ends_with(".ghe.com") => format!("{scheme}://api.{host}"),
        _ => format!("{pages}/api/v3"),
    }
}

fn pages_of(api: &str) -> String {
    let api = api.trim_end_matches('/');
    match api.split_once("://api.") {
        Some((scheme, host)) => format!("{scheme}://{host}"),
        None => api.strip_suffix("/api/v3").unwrap_or(api).to_owned(),
    }
}

fn is_owner(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=100).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(good)
}

fn is_repository(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=100).contains(&text.len()) && text != "." && text != ".." && text.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let token = |text| Some(Token::new(text).expect("a token"));
        Access { token: token("general"), enterprise_token: token("enterprise"), ..Access::default() }
    }

    fn seen(target: &Target) -> Option<&str> {
        target.token.as_ref().map(Token::secret)
    }

    #[test]
    fn a_repository_is_named_in_several_forms() {
        for given in ["o/r", "github.com/o/r", "https://github.com/o/r", "https://GitHub.com/o/r.git/"] {
            let target = Target::parse(given, &access()).expect(given);
            assert_eq!(
                (target.api.as_str(), target.page().as_str()),
                ("https://api.github.com", "https://github.com/o/r")
            );
            assert_eq!(seen(&target), Some("general"));
        }
        for wrong in [
            "",
            "o",
            "/srv/releases",
            "o/r/x/y",
            "../r",
            "o/..",
            "-o/r",
            "o/r?x",
            "https://u:canary@h/o/r",
            "http://h/o/r",
            "o/r x",
            "ftp://h/o/r",
        ] {
            let failure = Target::parse(wrong, &access()).expect_err(wrong);
            assert!(!failure.chain().join("\n").contains("canary"), "{wrong}");
        }
    }

    #[test]
    fn servers_of_enterprises_are_found_and_see_only_their_own_token() {
        let target = Target::parse("ghe.example.com/o/r", &access()).expect("a target");
        assert_eq!((target.api.as_str(), seen(&target)), ("https://ghe.example.com/api/v3", Some("enterprise")));
        let poor = Access { enterprise_token: None, ..access() };
        assert_eq!(seen(&Target::parse("ghe.example.com/o/r", &poor).expect("a target")), None);
        let tenant = Target::parse("acme.ghe.com/o/r", &poor).expect("a target");
        assert_eq!((tenant.api.as_str(), seen(&tenant)), ("https://api.acme.ghe.com", Some("general")));
        let named = Access { host: Some("ghe.example.com".into()), ..poor.clone() };
        let target = Target::parse("o/r", &named).expect("a target");
        assert_eq!((target.api.as_str(), seen(&target)), ("https://ghe.example.com/api/v3", Some("general")));
        let workflow = Access {
            server_url: Some("https://git.example.com".into()),
            api_url: Some("https://git.example.com/own/api".into()),
            ..poor
        };
        let target = Target::parse("o/r", &workflow).expect("a target");
        assert_eq!((target.api.as_str(), seen(&target)), ("https://git.example.com/own/api", Some("general")));
        let other = Target::parse("github.com/o/r", &workflow).expect("a target");
        assert_eq!((other.api.as_str(), seen(&other)), ("https://api.github.com", Some("general")));
        let only_api = Access { api_url: Some("https://git.example.com/api/v3".into()), ..Access::default() };
        assert_eq!(Target::parse("o/r", &only_api).expect("a target").server, "https://git.example.com");
    }

    #[test]
    fn files_are_sent_to_the_server_itself_and_to_the_one_beside_it() {
        let takes = |target: &str, address: &str| {
            let target = Target::parse(target, &access()).expect("a target");
            target.takes_uploads_at(&Url::parse(address).expect("an address"))
        };
        assert!(takes("o/r", "https://uploads.github.com/repos/o/r/releases/1/assets"));
        assert!(takes("o/r", "https://api.github.com/x"));
        assert!(takes("ghe.example.com/o/r", "https://ghe.example.com/api/uploads/x"));
        assert!(takes("acme.ghe.com/o/r", "https://uploads.acme.ghe.com/x"));
        for (target, wrong) in [
            ("o/r", "https://uploads.github.com.evil.example/x"),
            ("o/r", "https://evil.example/x"),
            ("o/r", "http://uploads.github.com/x"),
            ("o/r", "https://uploads.github.com:8443/x"),
            ("o/r", "https://127.0.0.1/x"),
            ("ghe.example.com/o/r", "https://uploads.github.com/x"),
        ] {
            assert!(!takes(target, wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_one_word_and_never_shown() {
        assert!(!format!("{:?}", access()).contains("general"));
        assert_eq!(Token::new(" canary\n").expect("a token").secret(), "canary");
        for wrong in ["", "  ", "a b", "canary\u{e4}", "a\nb"] {
            let failure = Token::new(wrong).expect_err(wrong);
            assert!(!failure.chain().join("\n").contains("canary"));
        }
    }
}
