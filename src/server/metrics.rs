//! What is counted, in the text that Prometheus reads. It is served on an address of its own.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Every counter of this process.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram>,
    pushes: Family<Push, Counter>,
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

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("consign");
        let (requests, pushes, connections) = (Family::default(), Family::default(), Gauge::default());
        let buckets = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let durations = Family::<Route, Histogram>::new_with_constructor(buckets);
        registry.register("requests", "Requests that were answered", requests.clone());
        registry.register("request_duration_seconds", "How long answering took", durations.clone());
        registry.register("artifact_pushes", "Records that were pushed", pushes.clone());
        registry.register("connections", "Connections that are open", connections.clone());
        Self { registry, requests, durations, pushes, connections }
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

    /// The text.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        // Writing into memory cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
