//! The attributes of a queue.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use crate::error::{Answer, ApiError};

pub(crate) const ARN: &str = "arn:aws:sqs:eu-central-1:000000000000:";
/// The largest message, and the largest batch.
pub(crate) const LARGEST: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) fifo: bool,
    pub(crate) content_based_deduplication: bool,
    /// Whether two groups may use the same deduplication id.
    pub(crate) deduplication_per_group: bool,
    pub(crate) throughput_limit: String,
    pub(crate) visibility: Duration,
    pub(crate) retention: Duration,
    pub(crate) receive_wait: Duration,
    pub(crate) delay: Duration,
    pub(crate) largest: usize,
    pub(crate) redrive: Option<Redrive>,
    redrive_policy: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Redrive {
    /// The name of the dead-letter queue.
    pub(crate) to: String,
    pub(crate) max_receive_count: u32,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            fifo: false,
            content_based_deduplication: false,
            deduplication_per_group: false,
            throughput_limit: "perQueue".to_owned(),
            visibility: Duration::from_secs(30),
            retention: Duration::from_secs(4 * 24 * 60 * 60),
            receive_wait: Duration::ZERO,
            delay: Duration::ZERO,
            largest: LARGEST,
            redrive: None,
            redrive_policy: None,
        }
    }

    pub(crate) fn change(&mut self, attributes: &BTreeMap<String, String>) -> Answer<()> {
        for (name, value) in attributes {
            let invalid = || ApiError::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}."));
            let seconds = |low: u64, high: u64| {
                let seconds = value.parse().ok().filter(|seconds| (low..=high).contains(seconds));
                seconds.map(Duration::from_secs).ok_or_else(invalid)
            };
            let flag = || value.parse::<bool>().map_err(|_| invalid());
            match name.as_str() {
                "FifoQueue" => self.fifo = flag()?,
                "ContentBasedDeduplication" => self.content_based_deduplication = flag()?,
                "DeduplicationScope" => self.deduplication_per_group = value == "messageGroup",
                "FifoThroughputLimit" => self.throughput_limit.clone_from(value),
                "VisibilityTimeout" => self.visibility = seconds(0, 43_200)?,
                "MessageRetentionPeriod" => self.retention = seconds(60, 1_209_600)?,
                "ReceiveMessageWaitTimeSeconds" => self.receive_wait = seconds(0, 20)?,
                "DelaySeconds" => self.delay = seconds(0, 900)?,
                "MaximumMessageSize" => {
                    let bytes = value.parse().ok().filter(|bytes| (1024..=LARGEST).contains(bytes));
                    self.largest = bytes.ok_or_else(invalid)?;
                }
                "RedrivePolicy" => self.set_redrive(value).ok_or_else(invalid)?,
                "SqsManagedSseEnabled" => {
                    flag()?;
                }
                _ => return Err(ApiError::new("InvalidAttributeName", format!("Unknown Attribute {name}."))),
            }
        }
        Ok(())
    }

    fn set_redrive(&mut self, text: &str) -> Option<()> {
        if text.is_empty() {
            (self.redrive, self.redrive_policy) = (None, None);
            return Some(());
        }
        let policy: Json = serde_json::from_str(text).ok()?;
        let to = policy["deadLetterTargetArn"].as_str()?.rsplit(':').next()?.to_owned();
        let max = &policy["maxReceiveCount"];
        let max = max.as_u64().or_else(|| max.as_str()?.parse().ok()).filter(|max| (1..=1000).contains(max))?;
        self.redrive = Some(Redrive { to, max_receive_count: u32::try_from(max).ok()? });
        self.redrive_policy = Some(text.to_owned());
        Some(())
    }

    pub(crate) fn shown(&self, name: &str) -> BTreeMap<&'static str, String> {
        let seconds = |duration: Duration| duration.as_secs().to_string();
        let mut shown = BTreeMap::from([
            ("QueueArn", format!("{ARN}{name}")),
            ("VisibilityTimeout", seconds(self.visibility)),
            ("MessageRetentionPeriod", seconds(self.retention)),
            ("ReceiveMessageWaitTimeSeconds", seconds(self.receive_wait)),
            ("DelaySeconds", seconds(self.delay)),
            ("MaximumMessageSize", self.largest.to_string()),
            ("SqsManagedSseEnabled", "true".to_owned()),
        ]);
        if self.fifo {
            let scope = if self.deduplication_per_group { "messageGroup" } else { "queue" };
            shown.extend([
                ("FifoQueue", "true".to_owned()),
                ("ContentBasedDeduplication", self.content_based_deduplication.to_string()),
                ("DeduplicationScope", scope.to_owned()),
                ("FifoThroughputLimit", self.throughput_limit.clone()),
            ]);
        }
        shown.extend(self.redrive_policy.clone().map(|policy| ("RedrivePolicy", policy)));
        shown
    }
}
