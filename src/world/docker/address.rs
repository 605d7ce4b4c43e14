//! Where the engine listens.
//!
//! [`candidates`] puts what the user says first and the usual sockets after. It looks at nothing: which
//! of them answers is found out by connecting.

use camino::Utf8PathBuf;

use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// A place where an engine may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket, or a named pipe on Windows.
    Socket(Utf8PathBuf),
    /// Plain HTTP: `host:port`.
    Tcp(String),
}

impl Address {
    /// Reads what `DOCKER_HOST` holds.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |message: String, hint: &str| {
            Err(Failure::new(Code::ConfigInvalid, message).subject("DOCKER_HOST").hint(hint))
        };
        let at = |path: &str| Ok(Self::Socket(Utf8PathBuf::from(path)));
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => at(path),
            Some(("npipe", path)) => at(&path.replace('/', "\\")),
            Some(("tcp" | "http", host)) if !host.is_empty() => Ok(Self::Tcp(host.trim_end_matches('/').to_owned())),
            None if text.starts_with('/') => at(text),
            Some((scheme @ ("ssh" | "https"), _)) => refused(
                format!("`DOCKER_HOST` asks for {scheme}, which is not spoken here"),
                "forward the engine's socket (`ssh -L engine.sock:/var/run/docker.sock HOST`) and name it: `unix:///…`",
            ),
            _ => refused(
                format!("`DOCKER_HOST` is no address of an engine: `{}`", crate::model::text::shown(text)),
                "it looks like `unix:///var/run/docker.sock`",
            ),
        }
    }

    /// The host that published ports are reached at.
    pub fn host(&self) -> &str {
        match self {
            Self::Socket(_) => "127.0.0.1",
            Self::Tcp(authority) => authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host),
        }
    }

    /// Whether its networks may be this machine's, so that containers can reach it.
    pub fn is_near(&self) -> bool {
        let host = self.host().trim_matches(['[', ']']);
        self.is_local() || host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }

    /// Whether the engine surely runs on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Socket(_))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{path}"),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

/// The places to try, in order: `DOCKER_HOST` alone if it is set, else Docker's sockets and then Podman's.
pub fn candidates(
    docker_host: Option<&str>,
    home: Option<&str>,
    runtime_directory: Option<&str>,
) -> Result<Vec<Address>> {
    if let Some(given) = docker_host {
        return Address::parse(given).map(|address| vec![address]);
    }
    if cfg!(windows) {
        return Ok(vec![Address::Socket(r"\\.\pipe\docker_engine".into())]);
    }
    let below =
        |directory: Option<&str>, path: &str| directory.map(|directory| Utf8PathBuf::from(directory).join(path));
    let sockets = [
        Some(Utf8PathBuf::from("/var/run/docker.sock")),
        below(runtime_directory, "docker.sock"),
        below(home, ".docker/run/docker.sock"),
        below(runtime_directory, "podman/podman.sock"),
        Some(Utf8PathBuf::from("/run/podman/podman.sock")),
    ];
    Ok(sockets.into_iter().flatten().map(Address::Socket).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read() {
        let socket = |path: &str| Address::Socket(path.into());
        for (text, expected) in [
            ("unix:///run/x.sock", socket("/run/x.sock")),
            ("/run/x.sock", socket("/run/x.sock")),
            ("tcp://engine:2375", Address::Tcp("engine:2375".to_owned())),
            ("http://127.0.0.1:2375/", Address::Tcp("127.0.0.1:2375".to_owned())),
        ] {
            assert_eq!(Address::parse(text).expect(text), expected);
        }
        assert_eq!(Address::parse("tcp://[::1]:2375").expect("read").host(), "[::1]");
        for (text, is_near) in
            [("unix:///x", true), ("tcp://[::1]:1", true), ("tcp://localhost:1", true), ("tcp://h:1", false)]
        {
            assert_eq!(Address::parse(text).expect("read").is_near(), is_near, "{text}");
        }
        for text in ["ssh://host", "https://host:2376", "unix://relative", "nonsense", "tcp://", ""] {
            let failure = Address::parse(text).expect_err(text);
            assert_eq!((failure.code(), failure.way_out().is_some()), (Code::ConfigInvalid, true));
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_the_user_names_is_the_only_place_that_is_tried() {
        let of = |host: Option<&str>| candidates(host, Some("/h"), Some("/r")).expect("places");
        assert_eq!(of(Some("unix:///x")), [Address::Socket("/x".into())]);
        let shown: Vec<_> = of(None).iter().map(ToString::to_string).collect();
        let expected = [
            "/var/run/docker.sock",
            "/r/docker.sock",
            "/h/.docker/run/docker.sock",
            "/r/podman/podman.sock",
            "/run/podman/podman.sock",
        ];
        assert_eq!(shown, expected);
    }
}
