//! From settings to a server that answers.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use tokio::net::TcpListener;

use super::connection;
use super::federation::Federation;
use super::metrics::Metrics;
use super::tls::{Tls, TlsFiles};
use super::tokens::{self, Issued};
use super::traces::{Exporter, Traces};
use super::webhooks::Webhooks;
use super::{App, Limits, Parts, key, routes};
use crate::artifacts::{Belief, Registry};
use crate::manager::{Manager, Plan};
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::store::blobs::{self, Blobs};
use crate::store::{self, Place, Store};
use crate::trust::signatures::short;
use crate::world::{clock, files};

/// How often it is looked for uploads that nobody goes on with, and for events that nobody needs.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long an event is kept after it was handled, so that a delivery that comes again is known.
const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Everything that a server has to be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where blobs, the key and an embedded database are.
    pub data: Utf8PathBuf,
    /// The address of a PostgreSQL database, if it is not an embedded one. It is never shown.
    pub database: Option<String>,
    /// Where blobs are.
    pub blobs: blobs::Place,
    /// Where requests are answered.
    pub listen: SocketAddr,
    /// What makes that address a safe one, if it is not a proxy in front of it.
    pub tls: Option<TlsFiles>,
    /// Where operators are answered, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Whom the registry believes.
    pub belief: Belief,
    /// The server's own key, if it is not the one in the data directory.
    pub key: Option<Utf8PathBuf>,
    /// The issuers whose tokens count.
    pub federation: Federation,
    /// Those who may tell this server something.
    pub webhooks: Webhooks,
    /// The collector that spans are sent to, if any.
    pub traces: Option<String>,
    /// What it manages.
    pub plan: Plan,
    /// How much and how long.
    pub limits: Limits,
}

/// What a server would work with.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The data directory.
    pub data: Utf8PathBuf,
    /// Which database: `sqlite` or `postgres`.
    pub database: &'static str,
    /// Where blobs are: a directory, or `s3://BUCKET/PREFIX`.
    pub blobs: String,
    /// Where requests are answered.
    pub listen: SocketAddr,
    /// Whether that is by TLS.
    pub tls: bool,
    /// Where operators are answered.
    pub metrics: Option<SocketAddr>,
    /// The id of the server's own key.
    pub key_id: String,
    /// Whom it believes: `nobody`, `keys` or `trust-root`.
    pub belief: &'static str,
}

/// A server that has its addresses and has not answered yet.
pub struct Running {
    app: App,
    listener: TcpListener,
    tls: Option<Tls>,
    operators: Option<TcpListener>,
    exporter: Option<Exporter>,
    /// Where requests are answered.
    pub address: SocketAddr,
    /// Where operators are answered.
    pub metrics: Option<SocketAddr>,
    /// The token of the administrator, where this is the first start.
    pub first_token: Option<Issued>,
}

/// Opens the registry that the settings name.
pub async fn open(settings: &Settings) -> Result<Registry> {
    make_data_directory(&settings.data)?;
    let place = match &settings.database {
        Some(address) => Place::Postgres(address.clone()),
        None => Place::Sqlite(settings.data.join(store::FILE_NAME)),
    };
    // Whom nobody can be believed by is known before anything is begun.
    settings.belief.anchor(clock::now())?;
    let key = key::open(settings.key.as_deref(), &settings.data)?;
    let blobs = Blobs::open(&settings.blobs)?;
    let store = Store::open(&place).await?;
    Ok(Registry::new(store, blobs, settings.belief.clone(), Arc::new(key)))
}

/// Looks whether a server could start with these settings.
pub async fn check(settings: &Settings) -> Result<Checked> {
    let registry = open(settings).await?;
    registry.store.ping().await?;
    let blobs = registry.blobs.check().await;
    registry.store.close().await;
    settings.tls.as_ref().map(TlsFiles::read).transpose()?;
    blobs?;
    Ok(Checked {
        data: settings.data.clone(),
        database: if settings.database.is_some() { "postgres" } else { "sqlite" },
        blobs: match &settings.blobs {
            blobs::Place::Directory(path) => path.to_string(),
            blobs::Place::Bucket { bucket, .. } => format!("{bucket:?}"),
        },
        listen: settings.listen,
        tls: settings.tls.is_some(),
        metrics: settings.metrics,
        key_id: registry.signer().public().id().to_string(),
        belief: match settings.belief {
            Belief::Nobody => "nobody",
            Belief::Keys(_) => "keys",
            Belief::Root(_) => "trust-root",
        },
    })
}

/// Opens everything and takes the addresses.
pub async fn start(settings: &Settings) -> Result<Running> {
    let tls = settings.tls.as_ref().map(Tls::open).transpose()?;
    let (traces, exporter) = settings.traces.as_deref().map(Traces::to).transpose()?.unzip();
    let registry = open(settings).await?;
    registry.blobs.sweep(clock::now())?;
    let first_token = tokens::issue_first(&registry.store, clock::now()).await?;
    let (listener, address) = bind(settings.listen).await?;
    let operators = match settings.metrics {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let origin = format!("consign.audit/{}", short(registry.signer().public().id()));
    let (operators, metrics) = operators.unzip();
    let (limits, federation) = (settings.limits.clone(), settings.federation.clone());
    let webhooks = settings.webhooks.clone();
    let manager = Manager::new(
        registry.clone(),
        settings.plan.clone(),
        settings.data.join("deployers"),
        owner(settings),
        Arc::new(clock::now),
    );
    let counted = Metrics::new();
    manager.watch(counted.watcher());
    manager.read_repositories();
    let parts = Parts { registry, manager, metrics: counted, limits, federation, webhooks, traces, origin };
    Ok(Running { app: App(Arc::new(parts)), listener, tls, operators, exporter, address, metrics, first_token })
}

impl Running {
    /// Answers until this process is told to stop.
    pub async fn serve(self) {
        self.serve_until(connection::told_to_stop()).await;
    }

    /// Answers until something comes, and then ends what was begun.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) {
        let Self { app, listener, tls, operators, exporter, .. } = self;
        let operators = operators.map(|listener| {
            let (router, limits, open) =
                (routes::operators(app.clone()), app.limits.clone(), app.metrics.connections.clone());
            tokio::spawn(async move {
                connection::serve(listener, None, router, &limits, open, std::future::pending()).await;
            })
        });
        let sweeper = tokio::spawn(sweep(app.clone()));
        let manager = tokio::spawn(app.manager.clone().run());
        let (limits, open) = (app.limits.clone(), app.metrics.connections.clone());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        // Whether it is told or nobody is there any more to tell it, it is over.
        let exporter = exporter.map(|exporter| tokio::spawn(exporter.run(async { drop(ended.await) })));
        let acceptor = tls.as_ref().map(Tls::acceptor);
        let watcher = tls.map(|tls| tokio::spawn(tls.watch()));
        connection::serve(listener, acceptor, routes::public(app.clone()), &limits, open, stop).await;
        for task in operators.into_iter().chain([sweeper, manager]).chain(watcher) {
            task.abort();
        }
        drop(end);
        if let Some(exporter) = exporter {
            let _ = tokio::time::timeout(app.limits.farewell, exporter).await;
        }
        app.registry.store.close().await;
    }
}

/// What this process is called among those that share its database. An embedded one has one server, which
/// takes up at once what it was doing before.
fn owner(settings: &Settings) -> String {
    if settings.database.is_none() {
        return "embedded".to_owned();
    }
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    HEXLOWER.encode(&bytes)
}

/// Throws away, now and then, what nobody needs any more.
async fn sweep(app: App) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if let Err(failure) = app.registry.blobs.sweep(clock::now()) {
            tracing::warn!(cause = failure.chain().join(": "), "forgotten uploads could not be thrown away");
        }
        // What `prune` has condemned and, being killed, has left.
        if let Err(failure) = app.registry.expunge().await {
            tracing::warn!(cause = failure.chain().join(": "), "condemned blobs could not be removed");
        }
        let long_ago = clock::now().saturating_sub(EVENTS_KEPT).unwrap_or(Timestamp::MIN);
        if let Err(failure) = app.registry.store.forget_events(long_ago).await {
            tracing::warn!(cause = failure.chain().join(": "), "handled events could not be forgotten");
        }
    }
}

async fn bind(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let refused = |error| {
        Failure::new(Code::Io, format!("failed to listen on `{wanted}`"))
            .subject(wanted.to_string())
            .because(error)
            .hint("choose another address; port 0 takes one that is free")
    };
    let listener = TcpListener::bind(wanted).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Makes the data directory where there is none. The database in it is nobody else's business; a
/// directory that is there already stays as its owner made it.
fn make_data_directory(directory: &Utf8Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    files::create_directory(directory)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
            .map_err(|error| files::failed("set the permissions of", directory, error))?;
    }
    Ok(())
}
