//! What the release manager is asked: to release, what is where, and by which rules.

use serde::Serialize;

use super::{Server, document, with_query};
use crate::model::FileName;
use crate::model::delivery::{Environments, Granted, Release, ReleaseRequest, Releases, Status};
use crate::model::failure::Result;
use crate::model::found::{Past, PastArtifacts, Statuses};
use crate::model::management::{
    Applied, ApprovalGiven, Deleted, HoldSet, PolicyList, PolicyTest, PolicyTested, Report, Resumed,
};
use crate::model::policy::Policy;
use crate::world::http::exchange::{Body, Method};

impl Server {
    /// Asks for a release, under a name of one's own where there is one.
    pub fn request(&self, request: &ReleaseRequest, idempotency_key: Option<&str>) -> Result<Granted> {
        let headers: Vec<_> = idempotency_key.iter().map(|key| ("idempotency-key", (*key).to_owned())).collect();
        document(&self.persist(Method::Post, "/api/v1/releases", &json(request), &headers)?)
    }

    /// One release, with every state that it had.
    pub fn release(&self, id: &str) -> Result<Release> {
        self.ask(Method::Get, &format!("/api/v1/releases/{id}"), &Body::Empty)
    }

    /// A page of releases, by the names and values of a query.
    pub fn releases(&self, query: &[(&str, String)]) -> Result<Releases> {
        self.ask(Method::Get, &with_query("/api/v1/releases", query), &Body::Empty)
    }

    /// Every environment.
    pub fn environments(&self) -> Result<Environments> {
        self.ask(Method::Get, "/api/v1/environments", &Body::Empty)
    }

    /// What a service has where.
    pub fn status(&self, service: &FileName, namespace: Option<&FileName>) -> Result<Status> {
        let query: Vec<_> = namespace.iter().map(|namespace| ("namespace", namespace.to_string())).collect();
        self.ask(Method::Get, &with_query(&format!("/api/v1/services/{service}/status"), &query), &Body::Empty)
    }

    /// A page of what services have where: those whose names come after one.
    pub fn statuses(&self, query: &[(&str, String)]) -> Result<Statuses> {
        self.ask(Method::Get, &with_query("/api/v1/status", query), &Body::Empty)
    }

    /// What a service had in an environment, by the names and values of a query.
    pub fn past(&self, service: &FileName, query: &[(&str, String)]) -> Result<Past> {
        self.ask(Method::Get, &with_query(&format!("/api/v1/services/{service}/history"), query), &Body::Empty)
    }

    /// The artifacts of a service that configuration repositories know.
    pub fn past_artifacts(&self, service: &FileName, query: &[(&str, String)]) -> Result<PastArtifacts> {
        let path = format!("/api/v1/services/{service}/history/artifacts");
        self.ask(Method::Get, &with_query(&path, query), &Body::Empty)
    }

    /// The policies that hold for a service.
    pub fn policies(&self, service: &FileName) -> Result<PolicyList> {
        self.ask(Method::Get, &format!("/api/v1/services/{service}/policies"), &Body::Empty)
    }

    /// Puts a policy in its place.
    pub fn apply_policy(&self, service: &FileName, policy: &Policy) -> Result<Applied> {
        self.ask(Method::Put, &format!("/api/v1/services/{service}/policies"), &json(policy))
    }

    /// Takes policies away.
    pub fn delete_policies(&self, service: &FileName, ids: &[String]) -> Result<Deleted> {
        let query: Vec<_> = ids.iter().map(|id| ("id", id.clone())).collect();
        self.ask(Method::Delete, &with_query(&format!("/api/v1/services/{service}/policies"), &query), &Body::Empty)
    }

    /// Asks what a change of policies would have done to the releases that there were.
    pub fn test_policies(&self, service: &FileName, test: &PolicyTest) -> Result<PolicyTested> {
        self.ask(Method::Post, &format!("/api/v1/services/{service}/policies/test"), &json(test))
    }

    /// Suspends automation in one place.
    pub fn hold(&self, service: &FileName, environment: &FileName, hold: &HoldSet) -> Result<Status> {
        self.ask(Method::Put, &format!("/api/v1/services/{service}/holds/{environment}"), &json(hold))
    }

    /// Lets automation go on.
    pub fn resume(&self, service: &FileName, environment: &FileName, namespace: Option<&FileName>) -> Result<Resumed> {
        let query: Vec<_> = namespace.iter().map(|namespace| ("namespace", namespace.to_string())).collect();
        let path = with_query(&format!("/api/v1/services/{service}/holds/{environment}"), &query);
        self.ask(Method::Delete, &path, &Body::Empty)
    }

    /// Says yes or no to an artifact in an environment.
    pub fn approve(&self, service: &FileName, approval: &ApprovalGiven) -> Result<()> {
        let path = format!("/api/v1/services/{service}/approvals");
        self.persist(Method::Post, &path, &json(approval), &[]).map(drop)
    }

    /// How releasing went in a time.
    pub fn delivery_report(&self, query: &[(&str, String)]) -> Result<Report> {
        self.ask(Method::Get, &with_query("/api/v1/report", query), &Body::Empty)
    }
}

fn json(value: &impl Serialize) -> Body {
    Body::Json(crate::model::pretty(value))
}
