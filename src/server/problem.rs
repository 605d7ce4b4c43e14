//! Failures as answers: `application/problem+json` (RFC 9457) with the stable code of the failure.
//!
//! The message and the hint are for the caller; causes are for the log, because they may name paths,
//! addresses and statements.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::model::{Code, Failure};

/// A failure on its way to the caller.
pub(super) struct Refusal(pub(super) Failure);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

/// What handlers give.
pub(super) type Answer<T> = std::result::Result<T, Refusal>;

/// The document of a failure.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the code says what it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What the code means in general.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What went wrong, in words.
    detail: String,
    /// What went wrong, as a stable word.
    code: &'static str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// What the log says of an answer that is a failure.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) code: Code,
    pub(super) chain: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = status(self.0.code());
        self.with_status(status)
    }
}

impl Refusal {
    /// The answer with a status that is not the one of its code.
    pub(super) fn with_status(self, status: StatusCode) -> Response {
        let Self(failure) = self;
        let code = failure.code();
        let problem = Problem {
            kind: "about:blank",
            title: code.meaning(),
            status: status.as_u16(),
            detail: failure.to_string(),
            code: code.as_str(),
            subject: failure.about().map(str::to_owned),
            hint: failure.way_out().map(str::to_owned),
        };
        // A failure of this machine names its places; the caller has no business with them.
        let problem = if is_our_own(code) {
            Problem {
                detail: "the server could not do it".to_owned(),
                subject: None,
                hint: Some("try again in a moment; the server's log says why".to_owned()),
                ..problem
            }
        } else {
            problem
        };
        let body = serde_json::to_vec(&problem).expect("plain text always serialises");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response.extensions_mut().insert(Told { code, chain: failure.chain().join(": ") });
        response
    }
}

fn is_our_own(code: Code) -> bool {
    matches!(
        code,
        Code::Io
            | Code::StoreUnavailable
            | Code::StoreDamaged
            | Code::KeyInvalid
            | Code::CatalogInvalid
            | Code::CatalogExpired
    )
}

/// The status of a failure. What a caller sent and does not verify is theirs to mend.
fn status(code: Code) -> StatusCode {
    match code {
        Code::RequestInvalid | Code::ArtifactInvalid | Code::PolicyInvalid | Code::EnvironmentUnknown | Code::Usage => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::ApprovalRefused => StatusCode::FORBIDDEN,
        Code::ArtifactUnknown
        | Code::ReleaseUnknown
        | Code::PolicyUnknown
        | Code::RouteUnknown
        | Code::TokenUnknown => StatusCode::NOT_FOUND,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::ArtifactExists | Code::PolicyConflict | Code::UploadMisplaced | Code::Busy => StatusCode::CONFLICT,
        Code::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        code if is_our_own(code) && code != Code::StoreDamaged => StatusCode::SERVICE_UNAVAILABLE,
        Code::StoreDamaged => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// A request that is not understood.
pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::RequestInvalid, message).hint("the server describes its requests at /api/v1/openapi.json")
}

/// An artifact that is not there, or that the caller may not see: nobody is told which.
pub(super) fn no_artifact(service: &str, id: &str) -> Failure {
    Failure::new(Code::ArtifactUnknown, format!("there is no artifact `{service}/{id}`"))
        .subject(id)
        .hint("`consign artifact list` shows those that you may see")
}
