//! The settings of every verb of `consign-server`: flag, then environment, then default.

use std::net::SocketAddr;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::super::pubkeys::PubkeyArgs;
use super::super::{Context, usage};
use crate::artifacts::Belief;
use crate::config::environment;
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::server::federation::{self, Federation};
use crate::server::webhooks::{Secret, Webhooks};
use crate::server::{Limits, Settings, TlsFiles};
use crate::store::blobs::Place;
use crate::world::{bucket, files};

/// Where everything is kept if nobody says otherwise.
const DATA: &str = "consign-data";
/// Which region a bucket is in if nobody says otherwise; most stores but AWS do not mind.
const REGION: &str = "us-east-1";
/// Where requests are answered if nobody says otherwise.
const LISTEN: &str = "127.0.0.1:8080";

/// What every verb has to know. Its name is also the id of a group.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Server options")]
pub(super) struct ServerArgs {
    /// Where blobs, the server's key and an embedded database are [default: that of `CONSIGN_SERVER_DATA`, else consign-data]
    #[arg(long, value_name = "DIR")]
    data: Option<Utf8PathBuf>,
    /// A PostgreSQL database in the place of the embedded one; better named in `CONSIGN_SERVER_DATABASE`, which no list of processes shows
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where blobs are kept: a directory, or `s3://BUCKET/PREFIX` [default: that of `CONSIGN_SERVER_BLOBS`, else blobs in the data directory]
    #[arg(long, value_name = "PLACE")]
    blobs: Option<String>,
    /// Where requests are answered; port 0 takes one that is free [default: that of `CONSIGN_SERVER_LISTEN`, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The server's certificate, with those between it and a root, as PEM: requests then come by https
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<Utf8PathBuf>,
    /// The certificate's private key, as PEM; both files are read again when they change
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<Utf8PathBuf>,
    /// Where `/metrics` is answered [default: that of `CONSIGN_SERVER_METRICS`, else nowhere]
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The root.json whose keys have to have signed every bundle that is pushed
    #[arg(long, value_name = "FILE", conflicts_with = "pubkey")]
    trust_root: Option<Utf8PathBuf>,
    #[command(flatten)]
    pubkeys: PubkeyArgs,
    /// The server's own Ed25519 key, which replicas share [default: server.key in the data directory, made at the first start]
    #[arg(long, value_name = "FILE")]
    key: Option<Utf8PathBuf>,
    /// A file with the issuers whose tokens count, and what their claims allow
    #[arg(long, value_name = "FILE")]
    issuers: Option<Utf8PathBuf>,
    /// Where an OTLP collector takes traces, such as `http://127.0.0.1:4318/v1/traces` [default: that of `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`, else nowhere]
    #[arg(long, value_name = "URL")]
    traces: Option<String>,
    /// The largest file that is taken in, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_blob_bytes, hide_default_value = true)]
    max_blob_bytes: u64,
}

impl ServerArgs {
    fn federation(&self, context: &Context) -> Result<Federation> {
        let Some(path) = &self.issuers else { return Ok(Federation::default()) };
        let bytes = files::read_bounded(&context.path(path), federation::MAX_BYTES)?;
        Federation::read(&String::from_utf8_lossy(&bytes)).map_err(|failure| failure.subject(path.as_str()))
    }

    fn blobs(&self, context: &Context, data: &Utf8Path) -> Result<Place> {
        let variable = |name: &'static str| context.environment.get(name).map(str::to_owned);
        let named = self.blobs.clone().or_else(|| variable(environment::CONSIGN_SERVER_BLOBS));
        let own = data.join("blobs");
        let Some(named) = named else { return Ok(Place::Directory(own)) };
        if !named.contains("://") {
            return Ok(Place::Directory(context.path(named.as_str().into())));
        }
        let invalid = |message: String| Failure::new(Code::ConfigInvalid, message);
        let (bucket, prefix) = bucket::address(&named).ok_or_else(|| {
            invalid(format!("blobs cannot be kept at {:?}", text::shown(&named)))
                .hint("name a directory, or `s3://bucket/prefix`")
        })?;
        if self.max_blob_bytes > bucket::MAX_OBJECT_BYTES {
            let most = bucket::MAX_OBJECT_BYTES;
            return Err(invalid(format!("a bucket takes no blob of more than {most} bytes"))
                .hint("choose a smaller `--max-blob-bytes`"));
        }
        let needed = |name: &'static str| {
            variable(name).ok_or_else(|| {
                invalid(format!("`{name}` is not set"))
                    .hint("a bucket is asked with `AWS_ACCESS_KEY_ID` and its secret")
            })
        };
        let bucket = bucket::Settings {
            bucket,
            prefix,
            endpoint: variable(environment::AWS_ENDPOINT_URL_S3).or_else(|| variable(environment::AWS_ENDPOINT_URL)),
            region: variable(environment::AWS_REGION)
                .or_else(|| variable(environment::AWS_DEFAULT_REGION))
                .unwrap_or_else(|| REGION.to_owned()),
            key_id: needed(environment::AWS_ACCESS_KEY_ID)?,
            secret: needed(environment::AWS_SECRET_ACCESS_KEY)?,
            session: variable(environment::AWS_SESSION_TOKEN),
        };
        Ok(Place::Bucket { bucket, staging: own })
    }

    pub(super) fn settings(&self, context: &Context) -> Result<Settings> {
        let variable = |name: &'static str| context.environment.get(name);
        let address = |flag: Option<SocketAddr>,
                       name: &'static str,
                       default: Option<&str>|
         -> Result<Option<SocketAddr>> {
            let Some(text) = variable(name).or(default).filter(|_| flag.is_none()) else { return Ok(flag) };
            let read = text.parse().map(Some);
            read.map_err(|error| {
                usage(format!("`{name}` is not an address with a port")).because(error).hint("such as 127.0.0.1:8080")
            })
        };
        let data = self.data.clone().or_else(|| variable(environment::CONSIGN_SERVER_DATA).map(Into::into));
        let listen = address(self.listen, environment::CONSIGN_SERVER_LISTEN, Some(LISTEN))?;
        let data = context.path(&data.unwrap_or_else(|| DATA.into()));
        Ok(Settings {
            blobs: self.blobs(context, &data)?,
            data,
            database: self
                .database
                .clone()
                .or_else(|| variable(environment::CONSIGN_SERVER_DATABASE).map(str::to_owned)),
            listen: listen.ok_or_else(|| usage("it is not said where to listen"))?,
            tls: self
                .tls_cert
                .as_ref()
                .zip(self.tls_key.as_ref())
                .map(|(certificate, key)| TlsFiles { certificate: context.path(certificate), key: context.path(key) }),
            metrics: address(self.metrics, environment::CONSIGN_SERVER_METRICS, None)?,
            belief: match &self.trust_root {
                Some(path) => Belief::Root(context.path(path)),
                None => match self.pubkeys.keys(context)? {
                    keys if keys.is_empty() => Belief::Nobody,
                    keys => Belief::Keys(keys),
                },
            },
            key: self.key.as_ref().map(|path| context.path(path)),
            federation: self.federation(context)?,
            webhooks: webhooks(context)?,
            traces: self.traces.clone().or_else(|| collector(context)),
            limits: Limits { max_blob_bytes: self.max_blob_bytes, ..Limits::default() },
        })
    }
}

/// The secrets of those who may tell the server something. They are in no flag, for every list of
/// processes would show them.
fn webhooks(context: &Context) -> Result<Webhooks> {
    let secret = |name: &'static str| context.environment.get(name).map(|text| Secret::read(text, name)).transpose();
    Ok(Webhooks::new(
        secret(environment::CONSIGN_WEBHOOK_GITHUB_SECRET)?,
        secret(environment::CONSIGN_WEBHOOK_FLUX_SECRET)?,
        secret(environment::CONSIGN_WEBHOOK_DAEMON_SECRET)?,
    ))
}

/// The collector that the variables of OpenTelemetry name; one of them means every kind of signal.
fn collector(context: &Context) -> Option<String> {
    let variable = |name: &'static str| context.environment.get(name).map(str::to_owned);
    variable(environment::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT).or_else(|| {
        variable(environment::OTEL_EXPORTER_OTLP_ENDPOINT).map(|url| format!("{}/v1/traces", url.trim_end_matches('/')))
    })
}
