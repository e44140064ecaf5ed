//! What a receiver is sent, and what comes back. How it gets there is the business of a [`Transport`].

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use url::Url;

use crate::failure::Failure;

/// How long a request may take. Whoever carries it keeps to that.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connect: Duration,
    /// Over all, connecting included.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(10) }
    }
}

/// One request, whole.
#[derive(Clone, Debug)]
pub struct Request {
    pub url: Url,
    pub headers: HeaderMap,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The body of a POST.
    Json(String),
    /// The event is in the URL of a GET.
    Query,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of the body.
    pub text: String,
}

/// What came of one request.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) at: Timestamp,
    pub(crate) took: Duration,
    pub(crate) result: Result<Answer, Failure>,
}

pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// Carries requests to receivers within the [`Limits`]. The one in use speaks HTTP to strangers; a simulation has receivers of its own.
pub trait Transport: Debug + Send + Sync {
    /// `at` is when the request is sent, by the function's clock.
    fn send(&self, request: Request, at: Timestamp) -> Answering<'_>;
}
