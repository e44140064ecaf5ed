//! Why a request got no answer, in words for the delivery log: no URL, no address, no secret.

use std::error::Error;
use std::io;

use shared::rendering::Unrenderable;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the webhook's URL cannot be read")]
    Url,
    #[error(
        "the webhook's URL leaves no room for the event in a request line of 4 KB; a shorter one does, or method POST"
    )]
    TooLong,
    #[error("the webhook's URL is not https")]
    Scheme,
    #[error("the webhook's secret cannot be read")]
    Secret,
    #[error("one of the webhook's own headers cannot be sent")]
    Header,
    #[error("the webhook's address is not on the public internet")]
    Forbidden,
    #[error("the host name cannot be resolved")]
    Unresolved,
    #[error("no HTTP client; see the function's log")]
    NoClient,
    #[error("the connection was refused")]
    ConnectionRefused,
    #[error("no connection")]
    NoConnection,
    #[error("no secure connection: {0}")]
    Tls(String),
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke before an answer came")]
    Broken,
}

impl From<Unrenderable> for Failure {
    fn from(why: Unrenderable) -> Self {
        match why {
            Unrenderable::Url => Self::Url,
            Unrenderable::TooLong => Self::TooLong,
        }
    }
}

impl Failure {
    /// Looks for the cause by its type; the text of an error is not for programs.
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let mut causes = std::iter::successors(Some(error as &(dyn Error + 'static)), |&cause| cause.source());
        if let Some(known) = causes.find_map(Self::known) {
            known
        } else if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::NoConnection
        } else {
            Self::Broken
        }
    }

    fn known(cause: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(failure) = cause.downcast_ref::<Self>() {
            return Some(failure.clone());
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Some(Self::Tls(error.to_string()));
        }
        let error = cause.downcast_ref::<io::Error>()?;
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return Some(Self::ConnectionRefused);
        }
        // An I/O error does not name what it wraps as its source, so look inside.
        Self::known(error.get_ref()?)
    }
}
