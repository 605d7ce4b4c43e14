//! What is counted, in the text that Prometheus reads. It is served on an address of its own.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::manager::Watcher;

/// Every counter of this process.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram>,
    pushes: Family<Push, Counter>,
    releases: Family<Released, Counter>,
    pushed_after: Family<Environment, Histogram>,
    /// How many connections there are.
    pub(super) connections: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Push {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Released {
    environment: String,
    service: String,
    intent: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Environment {
    environment: String,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("consign");
        let (requests, pushes, connections) = (Family::default(), Family::default(), Gauge::default());
        let buckets = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let durations = Family::<Route, Histogram>::new_with_constructor(buckets);
        registry.register("requests", "Requests that were answered", requests.clone());
        registry.register("request_duration_seconds", "How long answering took", durations.clone());
        registry.register("artifact_pushes", "Records that were pushed", pushes.clone());
        let releases = Family::<Released, Counter>::default();
        // From an immediate push to one that has waited for a freeze to end.
        let waits = || Histogram::new(exponential_buckets(0.05, 2.0, 16));
        let pushed_after = Family::<Environment, Histogram>::new_with_constructor(waits);
        registry.register("releases", "Releases by what became of them", releases.clone());
        let help = "How long it took from the request for a release to its push";
        registry.register("release_request_to_push_seconds", help, pushed_after.clone());
        registry.register("connections", "Connections that are open", connections.clone());
        Self { registry, requests, durations, pushes, releases, pushed_after, connections }
    }

    /// Counts an answer. The route is the pattern and not the path, so that there are few.
    pub(super) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = Request { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// Counts a push by what became of it.
    pub(super) fn pushed(&self, result: &'static str) {
        self.pushes.get_or_create(&Push { result }).inc();
    }

    /// What counts releases. Services and environments are those that there are, and so there are no more labels.
    pub(super) fn watcher(&self) -> Watcher {
        let (releases, pushed_after) = (self.releases.clone(), self.pushed_after.clone());
        Box::new(move |told| {
            let (environment, service) = (told.environment.to_owned(), told.service.to_owned());
            if let Some(took) = told.took {
                let labels = Environment { environment: environment.clone() };
                pushed_after.get_or_create(&labels).observe(took.as_secs_f64());
            }
            let labels = Released { environment, service, intent: told.intent, outcome: told.outcome };
            releases.get_or_create(&labels).inc();
        })
    }

    /// The text.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        // Writing into memory cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
