//! The requests that show whether the queues and the table grant what the agent needs. They change nothing and disturb nobody.
//!
//! Whether a right is there shows only when it is used. So each of these requests is one that cannot be carried out: a
//! message without what its queue demands, a receipt that belongs to no message, a write under a condition that never
//! holds. AWS asks for the right first. If it is missing, that is the answer; else the refusal of the request itself is
//! the proof.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use shared::aws;

/// What a request failed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No answer came.
    Unreachable,
    /// AWS does not know the key, or its secret is another one, or it has expired.
    Credentials,
    /// The request was made too early or too late by AWS's clock.
    Clock,
    /// There is no such queue or table.
    Missing,
    /// The right is not granted.
    Denied,
    Other,
}

#[derive(Debug, thiserror::Error)]
#[error("{action} failed ({code}): {cause}")]
pub(super) struct ProbeError {
    /// The right that was tried, as a policy names it.
    pub(super) action: &'static str,
    pub(super) fault: Fault,
    code: String,
    cause: String,
}

impl ProbeError {
    fn new(action: &'static str, (code, cause): (String, String)) -> Self {
        Self { action, fault: fault(&code), code, cause }
    }
}

fn fault(code: &str) -> Fault {
    // The name of an error is the last part of what some protocols make of it.
    match code.rsplit(['#', '.']).next().unwrap_or(code) {
        aws::NO_ANSWER => Fault::Unreachable,
        aws::NO_CREDENTIALS
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "InvalidSecurity"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "ExpiredToken"
        | "ExpiredTokenException" => Fault::Credentials,
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => Fault::Clock,
        "QueueDoesNotExist" | "NonExistentQueue" | "ResourceNotFoundException" => Fault::Missing,
        "AccessDenied" | "AccessDeniedException" => Fault::Denied,
        _ => Fault::Other,
    }
}

/// The refusals of requests that are wrong on purpose.
const REFUSED_AS_EXPECTED: [&str; 6] = [
    "MissingParameter",
    "InvalidParameterValue",
    "InvalidParameterValueException",
    "ReadCountOutOfRange",
    "ReceiptHandleIsInvalid",
    "ConditionalCheckFailedException",
];

/// A request that was meant to be refused.
fn refused(action: &'static str, error: Option<(String, String)>) -> Result<(), ProbeError> {
    let unexpected = || ("accepted".to_owned(), "what had to be refused was accepted".to_owned());
    let (code, cause) = error.unwrap_or_else(unexpected);
    if REFUSED_AS_EXPECTED.contains(&code.rsplit(['#', '.']).next().unwrap_or_default()) {
        return Ok(());
    }
    Err(ProbeError::new(action, (code, cause)))
}

/// Whether this FIFO queue would take messages. Never ask a standard queue: it would take this one.
pub(super) async fn send(client: &aws_sdk_sqs::Client, url: &str) -> Result<(), ProbeError> {
    let sent = client.send_message().queue_url(url).message_body("check").send().await;
    refused("sqs:SendMessage", sent.err().map(|error| aws::explain(&error.into_service_error())))
}

/// Whether this queue would hand out messages and let them be deleted.
pub(super) async fn receive(client: &aws_sdk_sqs::Client, url: &str) -> Result<(), ProbeError> {
    let attributes = client.get_queue_attributes().queue_url(url);
    let attributes = attributes.attribute_names(QueueAttributeName::VisibilityTimeout).send().await;
    if let Err(error) = attributes {
        return Err(ProbeError::new("sqs:GetQueueAttributes", aws::explain(&error.into_service_error())));
    }
    // More than a queue ever gives at once.
    let received = client.receive_message().queue_url(url).max_number_of_messages(11).send().await;
    refused("sqs:ReceiveMessage", received.err().map(|error| aws::explain(&error.into_service_error())))?;
    let deleted = client.delete_message().queue_url(url).receipt_handle("check").send().await;
    refused("sqs:DeleteMessage", deleted.err().map(|error| aws::explain(&error.into_service_error())))?;
    let changed = client.change_message_visibility().queue_url(url).receipt_handle("check");
    let changed = changed.visibility_timeout(0).send().await;
    refused("sqs:ChangeMessageVisibility", changed.err().map(|error| aws::explain(&error.into_service_error())))
}

/// Whether the table lets itself be read and written. No item has the key that is asked for.
pub(super) async fn table(client: &aws_sdk_dynamodb::Client, name: &str) -> Result<(), ProbeError> {
    const NEVER: &str = "attribute_exists(pk) AND attribute_not_exists(pk)";
    let nothing = || AttributeValue::S("CHECK".to_owned());
    let key = || Some(HashMap::from([("pk".to_owned(), nothing()), ("sk".to_owned(), nothing())]));
    let read = client.get_item().table_name(name).set_key(key()).send().await;
    read.map_err(|error| ProbeError::new("dynamodb:GetItem", aws::explain(&error.into_service_error())))?;
    let query = client.query().table_name(name).key_condition_expression("pk = :pk");
    let found = query.expression_attribute_values(":pk", nothing()).consistent_read(true).send().await;
    found.map_err(|error| ProbeError::new("dynamodb:Query", aws::explain(&error.into_service_error())))?;
    let put = client.put_item().table_name(name).set_item(key()).condition_expression(NEVER).send().await;
    refused("dynamodb:PutItem", put.err().map(|error| aws::explain(&error.into_service_error())))?;
    let updated = client.update_item().table_name(name).set_key(key()).condition_expression(NEVER).send().await;
    refused("dynamodb:UpdateItem", updated.err().map(|error| aws::explain(&error.into_service_error())))?;
    let deleted = client.delete_item().table_name(name).set_key(key()).condition_expression(NEVER).send().await;
    refused("dynamodb:DeleteItem", deleted.err().map(|error| aws::explain(&error.into_service_error())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_their_names() {
        for (code, expected) in [
            ("AWS.SimpleQueueService.NonExistentQueue", Fault::Missing),
            ("com.amazonaws.sqs#QueueDoesNotExist", Fault::Missing),
            ("AccessDeniedException", Fault::Denied),
            ("InvalidClientTokenId", Fault::Credentials),
            ("RequestExpired", Fault::Clock),
            (aws::NO_ANSWER, Fault::Unreachable),
            ("ThrottlingException", Fault::Other),
        ] {
            assert_eq!(fault(code), expected, "{code}");
        }
    }

    #[test]
    fn only_the_expected_refusal_proves_a_right() {
        let answer = |code: &str| refused("sqs:SendMessage", Some((code.to_owned(), String::new())));
        assert!(answer("MissingParameter").is_ok());
        assert_eq!(answer("AccessDenied").expect_err("denied").fault, Fault::Denied);
        assert_eq!(refused("sqs:SendMessage", None).expect_err("it was accepted").fault, Fault::Other);
    }
}
