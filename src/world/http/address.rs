//! Which addresses are fetched from, how they are shown, and where a redirect may lead.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use super::{Trouble, refuse_redirect};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};

/// An address as it is shown: without user name, password, query and fragment, any of which may
/// hold a secret.
pub struct Shown<'a>(pub &'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(url) = self;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(&text::shown(url.path()))
    }
}

/// Reads an address that may be fetched from.
pub fn address(given: &str) -> Result<Url> {
    let url = Url::parse(given).map_err(|error| {
        let shown = text::without_credentials(given).into_owned();
        Failure::new(Code::Usage, format!("{:?} is not an address", text::shown(&shown)))
            .because(error)
            .hint("give an address such as `https://example.org/releases/v1.0.0`")
    })?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(Failure::new(Code::RemoteRefused, format!("`{}` is plain http", Shown(&url)))
            .subject(Shown(&url).to_string())
            .hint("use https; plain http is only spoken with this machine (127.0.0.1, [::1], localhost)")),
        scheme => Err(Failure::new(Code::RemoteRefused, format!("nothing is fetched over `{}`", text::shown(scheme)))
            .subject(Shown(&url).to_string())
            .hint("use https")),
    }
}

/// Whether an address can only mean this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Where a redirect leads: https to https, and this machine to this machine; nothing else.
pub(super) fn redirected(from: &Url, location: &[u8]) -> Result<Url, Trouble> {
    // The address parser would drop line feeds and tabs without a word.
    let text = std::str::from_utf8(location).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    // A relative redirect would take the user name and password along.
    let mut base = from.clone();
    let _ = base.set_username("");
    let _ = base.set_password(None);
    let to = text.and_then(|text| base.join(text).ok()).ok_or_else(|| refuse_redirect(from, "that is no address"))?;
    if !to.username().is_empty() || to.password().is_some() {
        return Err(refuse_redirect(from, "with a user name in it"));
    }
    match (from.scheme(), to.scheme()) {
        ("https", "https") => Ok(to),
        ("http", "http") if is_loopback(&to) => Ok(to),
        _ => Err(refuse_redirect(from, &format!("to `{}`", Shown(&to)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    #[test]
    fn plain_http_is_spoken_with_this_machine_only() {
        for good in ["https://example.org/x", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost:8000/x"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for (wrong, code) in [
            ("http://example.org/", Code::RemoteRefused),
            ("http://localhost.example.org/", Code::RemoteRefused),
            ("http://127.0.0.1.example.org/", Code::RemoteRefused),
            ("http://10.0.0.1/", Code::RemoteRefused),
            ("ftp://127.0.0.1/", Code::RemoteRefused),
            ("file:///etc/passwd", Code::RemoteRefused),
            ("data:text/plain,x", Code::RemoteRefused),
            ("example.org/x", Code::Usage),
            ("", Code::Usage),
        ] {
            assert_eq!(address(wrong).expect_err(wrong).code(), code, "{wrong}");
        }
    }

    #[test]
    fn a_redirect_leads_to_a_place_that_is_as_safe_or_nowhere() {
        for (from, location, to) in [
            ("https://a.example/x/y", "z", Some("https://a.example/x/z")),
            ("https://user:pass@a.example/x/y", "z", Some("https://a.example/x/z")),
            ("https://a.example/x", "https://b.example/y?token=1", Some("https://b.example/y?token=1")),
            ("https://a.example/x", "//b.example/y", Some("https://b.example/y")),
            ("https://a.example/x", "http://a.example/x", None),
            ("https://a.example/x", "http://127.0.0.1/x", None),
            ("https://a.example/x", "file:///etc/passwd", None),
            ("https://a.example/x", "https://user:pass@b.example/", None),
            ("https://a.example/x", "/a b", None),
            ("https://a.example/x", "/a\tb", None),
            ("https://a.example/x", "/a\u{7f}", None),
            ("https://a.example/x", "/\u{e4}", None),
            ("http://127.0.0.1/x", "http://[::1]:80/y", Some("http://[::1]/y")),
            ("http://127.0.0.1/x", "https://a.example/", None),
            ("http://127.0.0.1/x", "http://a.example/", None),
            ("http://127.0.0.1/x", "http://169.254.169.254/", None),
        ] {
            let got = redirected(&url(from), location.as_bytes());
            match (got, to) {
                (Ok(got), Some(to)) => assert_eq!(got.as_str(), to),
                (Err(trouble), None) => assert_eq!(trouble.failure.code(), Code::RedirectRefused),
                (Ok(got), None) => panic!("{from} -> {location:?} was followed to {got}"),
                (Err(trouble), Some(_)) => panic!("{from} -> {location:?}: {}", trouble.failure),
            }
        }
    }

    #[test]
    fn no_secret_of_an_address_is_shown() {
        let secret = url("https://user:canary@example.org:8443/a/b?token=canary#canary");
        assert_eq!(Shown(&secret).to_string(), "https://example.org:8443/a/b");
        for wrong in ["http://user:canary@example.org/", "https://user:canary@exa mple.org/", "x://user:canary@host/"] {
            let lines = address(wrong).expect_err(wrong).chain().join("\n");
            assert!(!lines.contains("canary"), "{lines}");
        }
    }
}
