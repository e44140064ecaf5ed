//! AWS JSON 1.0: which operation a request names, and how an answer looks.

use std::fmt;

use serde_json::Value as Json;

use crate::error::{Answer, ApiError};

pub(crate) const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    DynamoDb,
    Sqs,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) service: Service,
    pub(crate) operation: String,
    pub(crate) body: Answer<Json>,
}

/// An answer as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// For the header `x-amzn-query-error`, by which SDKs that know SQS's older codes tell errors apart.
    pub query_error: Option<String>,
    pub body: Vec<u8>,
    /// The code of an error.
    pub code: Option<&'static str>,
}

impl Request {
    /// `target` is the header `X-Amz-Target`.
    pub(crate) fn parse(target: &str, body: &[u8]) -> Self {
        let (service, operation) = match target.split_once('.') {
            Some(("AmazonSQS", operation)) => (Service::Sqs, operation),
            Some((_, operation)) => (Service::DynamoDb, operation),
            None => (Service::DynamoDb, target),
        };
        let body = serde_json::from_slice(body).map_err(ApiError::unreadable);
        Self { service, operation: operation.to_owned(), body }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = if self.service == Service::DynamoDb { "DynamoDB" } else { "SQS" };
        write!(f, "{service}.{}", self.operation)
    }
}

impl Response {
    pub(crate) fn new(service: Service, answer: &Answer) -> Self {
        let error = match answer {
            Ok(body) => {
                return Self { status: 200, query_error: None, body: body.to_string().into_bytes(), code: None };
            }
            Err(error) => error,
        };
        let namespace = match (service, error.code) {
            (Service::Sqs, _) => "com.amazonaws.sqs",
            (_, "ValidationException" | "ThrottlingException") => "com.amazon.coral.validate",
            (_, "SerializationException" | "UnknownOperationException") => "com.amazon.coral.service",
            _ => "com.amazonaws.dynamodb.v20120810",
        };
        let side = if error.status < 500 { "Sender" } else { "Receiver" };
        Self {
            status: error.status,
            query_error: (service == Service::Sqs).then(|| format!("{};{side}", query_code(error.code))),
            body: error.body(namespace).to_string().into_bytes(),
            code: Some(error.code),
        }
    }
}

/// What an error of SQS was called before it spoke JSON.
fn query_code(code: &str) -> String {
    match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
        "QueueNameExists" => "QueueAlreadyExists".to_owned(),
        "BatchEntryIdsNotDistinct"
        | "BatchRequestTooLong"
        | "EmptyBatchRequest"
        | "InvalidBatchEntryId"
        | "MessageNotInflight"
        | "PurgeQueueInProgress"
        | "QueueDeletedRecently"
        | "TooManyEntriesInBatchRequest"
        | "UnsupportedOperation" => format!("AWS.SimpleQueueService.{code}"),
        other => other.to_owned(),
    }
}
