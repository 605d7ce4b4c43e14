//! What is served to services: one server for each network, started when the first service on it needs it.
//!
//! [`Served::offer`] tells a running container where the bundle is, and by what certificate its server is known.
//! What was published already is where everybody finds it, and nothing is served.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::docker::{Engine, Entry, Gateway, Patience, Server};
use crate::world::files;

/// Where commands find the bundle, without a slash at its end.
const URL: &str = "CONSIGN_BUNDLE_URL";
/// What programs take the certificates of authorities from: curl, and whatever uses `OpenSSL` or asks as it does.
const AUTHORITIES: [&str; 2] = ["CURL_CA_BUNDLE", "SSL_CERT_FILE"];
/// Where the certificate lies in a container.
const AUTHORITY_PATH: &str = "/consign-authority.pem";

/// Variables for the commands of a container.
pub(super) type Variables = Vec<(String, String)>;

/// The servers of a run.
#[derive(Debug, Default)]
pub(super) struct Served {
    files: BTreeMap<String, Utf8PathBuf>,
    published: Option<String>,
    servers: Mutex<BTreeMap<Gateway, Server>>,
}

impl Served {
    /// Serves the files of a bundle, or leads to where it was published.
    pub(super) fn new(bundle: &Utf8Path, published: Option<&str>) -> Result<Self> {
        let files = files::list(bundle)?.into_iter().filter(|(_, is_file)| *is_file);
        let files = files.map(|(name, _)| (name.clone(), bundle.join(name))).collect();
        let published = published.map(|url| url.trim_end_matches('/').to_owned());
        Ok(Self { files, published, servers: Mutex::default() })
    }

    /// Makes the bundle reachable from a running container.
    pub(super) fn offer(&self, engine: &Engine, id: &str, patience: &Patience) -> Result<Variables> {
        if let Some(url) = &self.published {
            return Ok(vec![(URL.to_owned(), url.clone())]);
        }
        let Some(gateway) = engine.gateway(id, patience)? else {
            return Err(Failure::new(
                Code::EngineFailed,
                "the container's network has no gateway to serve the bundle at",
            )
            .hint("use an engine of this machine that is not rootless, or `bundle = true`"));
        };
        let (url, authority) = self.at(gateway)?;
        let path = AUTHORITY_PATH.trim_start_matches('/');
        engine.upload(id, "/", vec![Entry::bytes(path, authority)], patience)?;
        let authorities = AUTHORITIES.map(|name| (name.to_owned(), AUTHORITY_PATH.to_owned()));
        Ok(std::iter::once((URL.to_owned(), url)).chain(authorities).collect())
    }

    /// The server at a gateway: its address, and the certificate of its authority.
    fn at(&self, gateway: Gateway) -> Result<(String, String)> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let server = match servers.entry(gateway) {
            Occupied(server) => server.into_mut(),
            Vacant(place) => place.insert(Server::start(gateway, self.files.clone())?),
        };
        Ok((server.url(), server.authority().to_owned()))
    }
}
