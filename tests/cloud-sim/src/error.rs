//! An answer that is an error, as AWS gives it.

use serde_json::{Map, Value as Json, json};

/// An error answer: the code that the SDKs tell errors apart by, and what stands beside it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Further fields of the answer: `Item`, `CancellationReasons`.
    pub(crate) details: Map<String, Json>,
    pub(crate) status: u16,
}

impl ApiError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Map::new(), status: 400 }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    /// The request is not one that the simulator can read. Also where AWS knows a parameter and the simulator does not: it
    /// must not pretend.
    pub(crate) fn unreadable(cause: impl std::fmt::Display) -> Self {
        Self::new("SerializationException", format!("cloud-sim cannot read this request: {cause}"))
    }

    /// The whole table or account is over its limit; the SDKs try it again.
    pub(crate) fn throttled() -> Self {
        Self::new("ThrottlingException", "Rate of requests exceeds the allowed throughput.")
    }

    /// One item or partition is over its limit; the SDKs try it again.
    pub(crate) fn throughput_exceeded() -> Self {
        Self::new(
            "ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded. \
             Consider increasing your provisioning level with the UpdateTable API.",
        )
    }

    pub(crate) fn conflict() -> Self {
        Self::new("TransactionConflictException", "Transaction is ongoing for the item")
    }

    pub(crate) fn condition_failed() -> Self {
        Self::new("ConditionalCheckFailedException", "The conditional request failed")
    }

    pub(crate) fn no_table() -> Self {
        Self::new("ResourceNotFoundException", "Requested resource not found")
    }

    pub(crate) fn with(mut self, name: &str, value: Json) -> Self {
        self.details.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn at_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn body(&self, namespace: &str) -> Json {
        let mut body = json!({"__type": format!("{namespace}#{}", self.code), "message": self.message});
        if let Json::Object(fields) = &mut body {
            fields.extend(self.details.clone());
        }
        body
    }
}

pub(crate) type Answer<T = Json> = Result<T, ApiError>;
