//! The log of deliveries, and what else `deliver` reads before it sends.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use jiff::Timestamp;
use serde::de::Error;

use super::item::{Item, Readable, TableError, is_over, item, key, now, number, sort_key_of, text, value};
use super::packed::{WRITE_UNIT, compressed, read_text, size};
use super::retention::KeepDays;
use super::state::StateTable;
use super::webhooks::{webhook_id_of, webhook_key, webhook_of};
use crate::delivery::{DeliveryLog, DeliveryState, LogKey};
use crate::ids::WebhookId;
use crate::time::iso_millis;
use crate::webhook::Webhook;

/// A delivery's log item, and whether it has to be read.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub at: LogKey,
    pub with_log: bool,
}

/// What `deliver` has to know before it sends, as of one moment.
#[derive(Debug, Default)]
pub struct Receivers {
    webhooks: HashMap<WebhookId, Result<Webhook, TableError>>,
    logs: HashMap<String, Result<DeliveryLog, TableError>>,
}

/// The same for one delivery.
#[derive(Clone, Debug)]
pub struct ReceiverView {
    pub webhook: Option<Webhook>,
    /// As far as it was asked for.
    pub log: Option<DeliveryLog>,
}

impl Receivers {
    /// Fails where an item cannot be read.
    pub fn of(&self, at: &LogKey) -> Result<ReceiverView, &TableError> {
        let webhook = self.webhooks.get(&at.webhook_id).map(Result::as_ref).transpose()?;
        let log = self.logs.get(&place_in_log(at)).map(Result::as_ref).transpose()?;
        Ok(ReceiverView { webhook: webhook.cloned(), log: log.cloned() })
    }
}

/// How the log of deliveries is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

/// Where the attempts of a log are if they are too long to stand in it as they are. A program that does not know this shows the log
/// without them.
const PACKED_ATTEMPTS: &str = "packedAttempts";

fn delivery_key(at: &LogKey) -> Item {
    key(format!("DELIVERY#{}", at.webhook_id), at.sort.as_str())
}

/// Partition and sort key in one.
fn place_in_log(at: &LogKey) -> String {
    format!("DELIVERY#{}#{}", at.webhook_id, at.sort)
}

impl StateTable {
    /// The webhooks of these deliveries, and the log items that are wanted, in one consistent read.
    pub async fn receivers(&self, wanted: &[Wanted]) -> Result<Receivers, TableError> {
        let webhooks: HashSet<WebhookId> = wanted.iter().map(|wanted| wanted.at.webhook_id).collect();
        let logs = wanted.iter().filter(|wanted| wanted.with_log).map(|wanted| &wanted.at);
        let logs: HashMap<String, Item> = logs.map(|at| (place_in_log(at), delivery_key(at))).collect();
        let keys = webhooks.into_iter().map(webhook_key).chain(logs.into_values()).collect();
        let mut receivers = Receivers::default();
        let now = now(&self.client);
        for item in self.get_all(keys, None, "read the deliveries").await? {
            let partition = item.get("pk").and_then(|pk| pk.as_s().ok()).cloned().unwrap_or_default();
            if let Some(id) = webhook_id_of(&item) {
                receivers.webhooks.insert(id, webhook_of(item));
            } else if !is_over(&item, now) {
                receivers.logs.insert(format!("{partition}#{}", sort_key_of(&item)), log_of(item));
            }
        }
        Ok(receivers)
    }

    /// A delivery's log as it is stored.
    pub fn log_item(&self, at: &LogKey, log: &DeliveryLog) -> Result<LogItem, TableError> {
        Ok(LogItem(log_item(at, log, self.keep)?))
    }

    /// Stores log items, each of another delivery.
    pub async fn put_delivery_logs(&self, mut items: Vec<LogItem>) -> Result<(), TableError> {
        const VERB: &str = "store the delivery log";
        if items.len() == 1 {
            // It costs the same, and needs no answer to be looked into.
            return self.put(items.remove(0).0, VERB).await;
        }
        let put = |LogItem(item)| {
            let put = PutRequest::builder().set_item(Some(item)).build().expect("complete");
            WriteRequest::builder().put_request(put).build()
        };
        self.write_all(items.into_iter().map(put).collect(), VERB).await
    }

    /// Logs that a delivery is parked, unless the log knows already what became of it. Returns whether it does not.
    pub async fn put_parked_log(&self, at: &LogKey, log: &DeliveryLog) -> Result<bool, TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(log_item(at, log, self.keep)?))
            .condition_expression(
                "attribute_not_exists(pk) OR #round < :round OR (#round = :round AND #state IN (:retrying, :parked))",
            )
            .expression_attribute_names("#round", "round")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":round", number(log.round.into()))
            .expression_attribute_values(":retrying", text(DeliveryState::Retrying.as_str()))
            .expression_attribute_values(":parked", text(DeliveryState::Parked.as_str()));
        match put.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(true),
            Err(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
            Err(error) => Err(TableError::request("log that the delivery is parked", &error)),
        }
    }

    /// The log of a delivery, if it is still shown.
    pub async fn delivery_log(&self, at: &LogKey) -> Result<Option<DeliveryLog>, TableError> {
        let found = self.get_all(vec![delivery_key(at)], None, "read the delivery log").await?;
        let now = now(&self.client);
        let log = found.into_iter().find(|item| !is_over(item, now)).map(log_of).transpose()?;
        Ok(log.filter(|log| self.keep.shows(log.updated_at, now)))
    }

    /// A page of a webhook's deliveries since a time, and behind which place the next one begins.
    pub async fn delivery_logs(
        &self,
        id: WebhookId,
        since: Option<Timestamp>,
        order: Order,
        behind: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(LogKey, DeliveryLog)>, Option<String>), TableError> {
        let (partition, since) = (format!("DELIVERY#{id}"), iso_millis(since.unwrap_or(Timestamp::UNIX_EPOCH)));
        // DynamoDB refuses a query that is to go on outside of its own bounds. There is nothing more.
        if behind.is_some_and(|behind| behind < since.as_str()) {
            return Ok((Vec::new(), None));
        }
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :deliveries AND sk >= :since")
            .expression_attribute_values(":deliveries", text(&partition))
            .expression_attribute_values(":since", text(since))
            .scan_index_forward(order == Order::OldestFirst)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(behind.map(|behind| key(&partition, behind)))
            .send()
            .await
            .map_err(|error| TableError::request("read the deliveries", &error.into_service_error()))?;
        let next = answer.last_evaluated_key.as_ref().map(sort_key_of);
        let (now, mut items) = (now(&self.client), answer.items.unwrap_or_default());
        items.retain(|item| !is_over(item, now));
        let read = |item: Item| Ok((LogKey { webhook_id: id, sort: sort_key_of(&item) }, log_of(item)?));
        let mut logs = Readable::of(items, read).logged("delivery's log");
        logs.retain(|(_, log)| self.keep.shows(log.updated_at, now));
        Ok((logs, next))
    }
}

/// A delivery's log as it is stored.
#[derive(Debug)]
pub struct LogItem(Item);

impl LogItem {
    pub fn is_of_same_delivery(&self, other: &Self) -> bool {
        (self.0.get("pk"), self.0.get("sk")) == (other.0.get("pk"), other.0.get("sk"))
    }
}

fn log_item(at: &LogKey, log: &DeliveryLog, keep: KeepDays) -> Result<Item, TableError> {
    let mut item = item(delivery_key(at), log)?;
    item.insert("expiresAt".to_owned(), number(keep.deleted_at(log.updated_at.as_second())));
    if size(&item) > WRITE_UNIT {
        let attempts = serde_json::to_string(&log.attempts).map_err(serde_dynamo::Error::custom)?;
        item.insert(PACKED_ATTEMPTS.to_owned(), compressed(&attempts));
        item.remove("attempts");
    }
    Ok(item)
}

fn log_of(item: Item) -> Result<DeliveryLog, TableError> {
    let packed = item.get(PACKED_ATTEMPTS).map(|packed| read_text(packed).unwrap_or_default());
    let mut log: DeliveryLog = value(item)?;
    if let Some(attempts) = packed {
        log.attempts = serde_json::from_str(&attempts).map_err(serde_dynamo::Error::custom)?;
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Attempt;
    use crate::event::tests::sample;

    fn attempt(answer: &str) -> Attempt {
        Attempt {
            at: Timestamp::UNIX_EPOCH,
            duration_ms: 1_234,
            status: Some(503),
            outcome: "answered 503".to_owned(),
            answer: Some(answer.to_owned()),
        }
    }

    #[test]
    fn a_log_pays_one_unit_at_first_and_reads_back_however_long_it_grows() {
        let mut event = sample();
        event.web_hook_event.monitored_user = "a long name ".repeat(50);
        event.pbx_id = "a-long-name.".repeat(50);
        let delivery = crate::delivery::Delivery::of_call(event, WebhookId::from_uuid(uuid::Uuid::nil()));
        let (at, mut log) = (delivery.log_key(), delivery.log(Timestamp::UNIX_EPOCH));
        log.add(attempt(&"a".repeat(256)));
        let item = log_item(&at, &log, KeepDays::default()).expect("an item");
        assert!(size(&item) <= WRITE_UNIT && item.contains_key("attempts"), "{}", size(&item));
        assert_eq!(log_of(item).expect("a log"), log);
        for n in 0..12 {
            log.add(attempt(&format!("<p>The server is busy, attempt {n}.</p>\n").repeat(100)));
        }
        let item = log_item(&at, &log, KeepDays::default()).expect("an item");
        assert!(size(&item) <= WRITE_UNIT && !item.contains_key("attempts"), "{}", size(&item));
        assert_eq!(log_of(item).expect("a log"), log);
    }
}
