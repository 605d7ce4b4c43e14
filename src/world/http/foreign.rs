//! The client for libraries that speak HTTP themselves, held to the rules of this house.

use std::time::Duration;

/// A client that follows no redirect, tries nothing again and tells nobody where it comes from. It speaks
/// https only, or else plain http with this machine and past any proxy.
pub fn client(https: bool, connect_timeout: Duration) -> reqwest::Result<reqwest::Client> {
    // An error means that a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(connect_timeout);
    if https {
        return builder.https_only(true).build();
    }
    builder.no_proxy().tls_certs_only([]).build()
}
