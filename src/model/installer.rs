//! The installers that a bundle may hold, and the address that they know.

/// The name and the kind of the installer for POSIX shells.
pub const SH: (&str, &str) = ("install.sh", "installer-sh");
/// The name and the kind of the installer for Windows.
pub const PS1: (&str, &str) = ("install.ps1", "installer-ps1");

/// What a base address may have in the place of the release's tag and of its version.
pub const PLACEHOLDERS: [&str; 2] = ["{tag}", "{version}"];

/// Whether a text is the address of a directory of releases that an installer may be told: https, or http of
/// this machine, without credentials, query and fragment, and without a character that a shell would read.
pub fn is_base_url(text: &str) -> bool {
    let filled = PLACEHOLDERS.iter().fold(text.to_owned(), |text, placeholder| text.replace(placeholder, "x"));
    let is_plain = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default();
        let is_character = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/%+,=[]".contains(&byte);
        !host.is_empty() && !host.starts_with(['-', '.', ':']) && rest.bytes().all(is_character) && !rest.ends_with('/')
    };
    let is_here = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let is_loopback = |ip: core::net::IpAddr| ip.is_loopback();
        name == "localhost" || name.trim_matches(['[', ']']).parse().is_ok_and(is_loopback)
    };
    match filled.split_once("://") {
        Some(("https", rest)) => is_plain(rest),
        Some(("http", rest)) => is_plain(rest) && is_here(rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_is_told_plain_addresses_only() {
        for right in [
            "https://github.com/a/b/releases/download/{tag}",
            "https://example.org:8443/releases/v{version}",
            "https://example.org",
            "http://127.0.0.1:8000/x",
            "http://localhost/x",
            "http://[::1]:1/x",
        ] {
            assert!(is_base_url(right), "{right}");
        }
        for wrong in [
            "",
            "https://",
            "https:///x",
            "http://example.org/x",
            "http://127.0.0.1.example.org/x",
            "ftp://example.org",
            "file:///srv/x",
            "https://user:pass@example.org/x",
            "https://example.org/x/",
            "https://example.org/x?y",
            "https://example.org/x#y",
            "https://example.org/'; id; '",
            "https://example.org/$(id)",
            "https://example.org/`id`",
            "https://example.org/\"",
            "https://example.org/a b",
            "https://example.org/a\nb",
            "https://example.org/{other}",
            "https://-oProxyCommand=id/x",
        ] {
            assert!(!is_base_url(wrong), "{wrong}");
        }
    }
}
