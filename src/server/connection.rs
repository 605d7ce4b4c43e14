//! Connections: accepted up to a bound, given a time for the head of each request, and let go gently.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::Limits;
use prometheus_client::metrics::gauge::Gauge;

/// How long it is waited when the system has no more connections to give.
const BREATH: Duration = Duration::from_millis(50);

/// Answers on a listener until `stop` comes, and then until what was begun is done or its time is up.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: &Limits,
    open: Gauge,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let (farewell, ending) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let arrived = async {
            // The semaphore is never closed, so there is always a place sooner or later.
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut stop => break,
            arrived = arrived => arrived,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // Small answers should not wait for more; where that cannot be set they are only slower.
        let _ = stream.set_nodelay(true);
        let (router, ending, tls) = (router.clone(), ending.clone(), tls.clone());
        let (stall_timeout, open) = (limits.stall_timeout, open.clone());
        tokio::spawn(async move {
            let _place = place;
            open.inc();
            match tls {
                None => answer(stream, router, stall_timeout, ending).await,
                Some(acceptor) => {
                    // Whoever does not shake hands in time, or in a way that is understood, is let go.
                    let shaken = tokio::time::timeout(stall_timeout, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        answer(stream, router, stall_timeout, ending).await;
                    }
                }
            }
            open.dec();
        });
    }
    drop(listener);
    drop(ending);
    // Nobody may listen any more, and then there is nobody to tell.
    let _ = farewell.send(());
    // Every task lets go of its receiver when it is done.
    let _ = tokio::time::timeout(limits.farewell, farewell.closed()).await;
}

/// Answers the requests of one connection, and lets it go when the server ends.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    stall_timeout: Duration,
    mut ending: watch::Receiver<()>,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(stall_timeout);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut told = false;
    loop {
        tokio::select! {
            // What a caller breaks off is the caller's business.
            _ = connection.as_mut() => break,
            _ = ending.changed(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Comes when this process is told to stop.
pub(super) async fn told_to_stop() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminated) = signal(SignalKind::terminate()) else {
            let _ = interrupted.await;
            return;
        };
        tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = interrupted.await;
}
