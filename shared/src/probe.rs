//! What a check asks of the queues and the table, so that nothing is changed and nobody is disturbed.
//!
//! Whether a right is there shows only when it is used. So each of these requests is one that cannot be carried out: a
//! message without what its queue demands, a receipt that belongs to no message, a write under a condition that never
//! holds. AWS asks for the right first. If it is missing, that is the answer; else the refusal of the request itself is
//! the proof.

use aws_sdk_sqs::types::QueueAttributeName;

use crate::aws;
use crate::queue::Queue;
use crate::tables::Exchange;

/// What a request failed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
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
pub struct ProbeError {
    /// The right that was tried, as a policy names it.
    pub action: &'static str,
    pub fault: Fault,
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

impl Queue {
    /// Whether this FIFO queue would take messages. Never ask a standard queue: it would take this one.
    pub async fn probe_send(&self) -> Result<(), ProbeError> {
        let sent = self.client.send_message().queue_url(&self.url).message_body("check").send().await;
        refused("sqs:SendMessage", sent.err().map(|error| aws::explain(&error.into_service_error())))
    }

    /// Whether this queue would hand out messages and let them be deleted.
    pub async fn probe_receive(&self) -> Result<(), ProbeError> {
        let attributes = self.client.get_queue_attributes().queue_url(&self.url);
        let attributes = attributes.attribute_names(QueueAttributeName::VisibilityTimeout).send().await;
        if let Err(error) = attributes {
            return Err(ProbeError::new("sqs:GetQueueAttributes", aws::explain(&error.into_service_error())));
        }
        // More than a queue ever gives at once.
        let received = self.client.receive_message().queue_url(&self.url).max_number_of_messages(11).send().await;
        refused("sqs:ReceiveMessage", received.err().map(|error| aws::explain(&error.into_service_error())))?;
        let deleted = self.client.delete_message().queue_url(&self.url).receipt_handle("check").send().await;
        refused("sqs:DeleteMessage", deleted.err().map(|error| aws::explain(&error.into_service_error())))?;
        let changed = self.client.change_message_visibility().queue_url(&self.url).receipt_handle("check");
        let changed = changed.visibility_timeout(0).send().await;
        refused("sqs:ChangeMessageVisibility", changed.err().map(|error| aws::explain(&error.into_service_error())))
    }
}

impl Exchange {
    /// Whether the table lets itself be read and written.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        const NEVER: &str = "attribute_exists(pk) AND attribute_not_exists(pk)";
        let key = || Some(crate::tables::check_key());
        let table = &self.table;
        let read = self.client.get_item().table_name(table).set_key(key()).send().await;
        read.map_err(|error| ProbeError::new("dynamodb:GetItem", aws::explain(&error.into_service_error())))?;
        let agents = self.query_agents().await;
        agents.map_err(|error| ProbeError::new("dynamodb:Query", aws::explain(&error)))?;
        let put = self.client.put_item().table_name(table).set_item(key()).condition_expression(NEVER).send().await;
        refused("dynamodb:PutItem", put.err().map(|error| aws::explain(&error.into_service_error())))?;
        let updated =
            self.client.update_item().table_name(table).set_key(key()).condition_expression(NEVER).send().await;
        refused("dynamodb:UpdateItem", updated.err().map(|error| aws::explain(&error.into_service_error())))?;
        let deleted =
            self.client.delete_item().table_name(table).set_key(key()).condition_expression(NEVER).send().await;
        refused("dynamodb:DeleteItem", deleted.err().map(|error| aws::explain(&error.into_service_error())))
    }
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
