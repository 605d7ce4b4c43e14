//! TLS: the server's certificate and key, read from two files and read again when they change.
//!
//! [`Tls::open`] reads them once and refuses a pair that does not belong together; [`Tls::watch`] looks
//! again now and then, and at once on `SIGHUP`. A pair that cannot be used never takes the place of one
//! that can: whoever renews certificates writes two files, and not both at the same instant.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use camino::Utf8PathBuf;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};
use crate::world::files;
use crate::world::keys::{self, Exposure};

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The largest file of certificates, in bytes.
const MAX_CHAIN_BYTES: usize = 1 << 20;

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those between it and a root, as PEM.
    pub certificate: Utf8PathBuf,
    /// Its private key, as PEM.
    pub key: Utf8PathBuf,
}

/// A certificate that is shown to whoever connects.
pub(super) struct Tls {
    files: TlsFiles,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
    #[cfg(unix)]
    told: tokio::signal::unix::Signal,
}

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Nobody panics while it is locked.
        self.0.read().ok().map(|shown| Arc::clone(&shown))
    }
}

impl TlsFiles {
    /// Reads both, and gives them with a digest by which a change is seen.
    pub(super) fn read(&self) -> Result<(Arc<CertifiedKey>, Digest)> {
        let Self { certificate, key } = self;
        let unfit =
            |message: String, path: &Utf8PathBuf| Failure::new(Code::ConfigInvalid, message).subject(path.as_str());
        let chain = files::read_bounded(certificate, MAX_CHAIN_BYTES)?;
        // Kubernetes and those who renew certificates hand them on as links.
        let secret = keys::read_private(key, Exposure::Tolerated)?;
        let digest =
            Digest::of(&[Digest::of(&chain).to_string(), Digest::of(&secret).to_string()].concat().into_bytes());
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&chain).collect::<std::result::Result<_, _>>().map_err(|error| {
                unfit(format!("the certificate `{certificate}` cannot be read"), certificate).because(error)
            })?;
        if certificates.is_empty() {
            return Err(unfit(format!("there is no certificate in `{certificate}`"), certificate)
                .hint("it is a PEM file that begins with `-----BEGIN CERTIFICATE-----`"));
        }
        let private = PrivateKeyDer::from_pem_slice(&secret)
            .map_err(|error| unfit(format!("the key `{key}` of the certificate cannot be read"), key).because(error))?;
        let pair = CertifiedKey::from_der(certificates, private, &ring::default_provider()).map_err(|error| {
            unfit(format!("the certificate `{certificate}` and the key `{key}` cannot be used together"), certificate)
                .because(error)
        })?;
        Ok((Arc::new(pair), digest))
    }
}

impl Tls {
    /// Reads certificate and key.
    pub(super) fn open(files: &TlsFiles) -> Result<Self> {
        let (pair, _) = files.read()?;
        let shown = Arc::new(Shown(RwLock::new(pair)));
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(Code::ConfigInvalid, "TLS cannot be set up").because(error))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Shown>::clone(&shown);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        #[cfg(unix)]
        let told = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
            .map_err(|error| Failure::new(Code::Io, "`SIGHUP` cannot be waited for").because(error))?;
        Ok(Self {
            files: files.clone(),
            shown,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            #[cfg(unix)]
            told,
        })
    }

    /// What makes a connection a safe one.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Reads the files again when they have changed, for ever.
    pub(super) async fn watch(mut self) {
        let mut last = self.files.read().ok().map(|(_, digest)| digest);
        loop {
            self.wait().await;
            match self.files.read() {
                Ok((_, digest)) if Some(digest) == last => {}
                Ok((pair, digest)) => {
                    if let Ok(mut shown) = self.shown.0.write() {
                        *shown = pair;
                    }
                    last = Some(digest);
                    tracing::info!("the certificate was read again");
                }
                Err(failure) => {
                    tracing::warn!(cause = failure.chain().join(": "), "the certificate stays as it was");
                }
            }
        }
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = self.told.recv() => {}
        }
        #[cfg(not(unix))]
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
