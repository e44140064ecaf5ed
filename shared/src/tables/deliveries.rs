//! The part of the state table that `deliver` lives in: the log of deliveries, and those that wait for a receiver to recover.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Serialize};

use super::packed::{WRITE_UNIT, compressed, insert_text, read_text, size};
use super::state::{DAY, KEEP_EVENTS_DAYS, StateTable};
use super::webhooks::{webhook_key, webhook_of};
use super::{Item, Readable, TableError, is_over, item, key, now, number, sort_key_of, text, value};
use crate::delivery::{Delivery, DeliveryLog, DeliveryState, LogKey};
use crate::ids::WebhookId;
use crate::time::iso_millis;
use crate::webhook::Webhook;

/// What `deliver` has to know before it sends, as of one moment.
#[derive(Debug)]
pub struct ReceiverView {
    pub webhook: Option<Webhook>,
    pub log: Option<DeliveryLog>,
}

/// Whether a delivery was parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    Done,
    /// The webhook is in another state meanwhile, or gone.
    NotNow,
}

/// How the log of deliveries is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

/// A delivery that waits in the table.
#[derive(Clone, Debug)]
pub struct Parked {
    pub place: String,
    pub delivery: Delivery,
}

/// Something that waits in the table and that this version cannot read.
#[derive(Debug)]
pub struct Unreadable {
    pub place: String,
    /// As the version that can read it takes it from the queue.
    pub message: String,
    pub error: TableError,
}

/// A page of what is parked, oldest first.
#[derive(Debug, Default)]
pub struct ParkedPage {
    pub parked: Vec<Parked>,
    pub unreadable: Vec<Unreadable>,
    /// Behind this place the next page begins.
    pub last: Option<String>,
}

impl ParkedPage {
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }
}

/// Where a parked delivery's JSON text is, as it came from the queue.
const DELIVERY: &str = "delivery";
/// Where the attempts of a log are if they are too long to stand in it as they are. A program that does not know this shows the log
/// without them.
const PACKED_ATTEMPTS: &str = "packedAttempts";

/// Beside the delivery itself.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParkedItem {
    round: u32,
    expires_at: i64,
}

fn parked_delivery(item: &Item) -> Result<Delivery, TableError> {
    let _: ParkedItem = value(item.clone())?;
    let text = item.get(DELIVERY).and_then(read_text).unwrap_or_default();
    Ok(serde_json::from_str(&text).map_err(serde_dynamo::Error::custom)?)
}

/// What is parked stands there without its envelope.
fn as_message(item: &Item) -> String {
    let version = item.get("v").and_then(|v| v.as_n().ok()).map_or("1", String::as_str);
    let delivery = item.get(DELIVERY).and_then(read_text).unwrap_or_default();
    match delivery.strip_prefix('{') {
        Some(rest) => format!("{{\"v\":{version},{rest}"),
        None => delivery,
    }
}

fn delivery_key(at: &LogKey) -> Item {
    key(format!("DELIVERY#{}", at.webhook_id), at.sort.as_str())
}

fn parked_partition(id: WebhookId) -> String {
    format!("PARKED#{id}")
}

impl StateTable {
    /// The webhook and, if something may have happened to the delivery before, its log item, in one consistent read.
    pub async fn receiver_view(&self, log: &LogKey, may_be_repeat: bool) -> Result<ReceiverView, TableError> {
        let webhook_key = webhook_key(log.webhook_id);
        let log_key = delivery_key(log);
        let wanted = [Some(webhook_key.clone()), may_be_repeat.then(|| log_key.clone())];
        let wanted = wanted.into_iter().flatten().collect();
        let mut found = self.get_all(wanted, None, "read the delivery").await?;
        let mut take = |wanted: &Item| -> Option<Item> {
            let at = found.iter().position(|item| wanted.iter().all(|(name, value)| item.get(name) == Some(value)))?;
            Some(found.swap_remove(at))
        };
        Ok(ReceiverView {
            webhook: take(&webhook_key).map(webhook_of).transpose()?,
            log: take(&log_key).map(log_of).transpose()?,
        })
    }

    pub async fn put_delivery_log(&self, at: &LogKey, log: &DeliveryLog) -> Result<(), TableError> {
        self.put(log_item(at, log)?, "store the delivery log").await
    }

    pub async fn delivery_log(&self, at: &LogKey) -> Result<Option<DeliveryLog>, TableError> {
        let found = self.get_all(vec![delivery_key(at)], None, "read the delivery log").await?;
        let now = now(&self.client);
        found.into_iter().find(|item| !is_over(item, now)).map(log_of).transpose()
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
        Ok((Readable::of(items, read).logged("delivery's log"), next))
    }

    /// Parks a delivery, counts it and logs it, all or nothing, and only while the webhook is failing or draining.
    ///
    /// An earlier round of the delivery may still lie there: whoever queued this round takes it out only afterwards. Then this
    /// round takes its place, and the count stays.
    pub async fn park(&self, delivery: &Delivery, log: &DeliveryLog) -> Result<Parking, TableError> {
        let id = delivery.webhook_id;
        let parked =
            ParkedItem { round: delivery.round, expires_at: log.updated_at.as_second() + KEEP_EVENTS_DAYS * DAY };
        let mut place = item(key(parked_partition(id), delivery.parking_place()), &parked)?;
        let text = serde_json::to_string(delivery).map_err(serde_dynamo::Error::custom)?;
        insert_text(&mut place, DELIVERY, text);
        let put = Put::builder().table_name(&self.table).set_item(Some(place));
        let new = put.clone().condition_expression("attribute_not_exists(pk)");
        let later = put
            .condition_expression("#round < :round")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":round", number(delivery.round.into()));
        // The earlier round may be taken out between the two, so both are tried twice. What is refused then lies there in this
        // round already: the message is a copy.
        let attempts = [(new.clone(), 1), (later.clone(), 0), (new, 1), (later, 0)];
        for (put, counts) in attempts {
            let count = self
                .while_not_active(Update::builder(), id)
                .update_expression("ADD parked :counts")
                .expression_attribute_values(":counts", number(counts));
            let writes = vec![
                TransactWriteItem::builder().update(count.build().expect("complete")).build(),
                TransactWriteItem::builder().put(put.build().expect("complete")).build(),
                self.log_write(&delivery.log_key(), log)?,
            ];
            match self.transact(writes, "park the delivery").await? {
                Transacted::Done => return Ok(Parking::Done),
                Transacted::Refused(refused) if refused[0] => return Ok(Parking::NotNow),
                Transacted::Refused(_) => {}
            }
        }
        Ok(Parking::Done)
    }

    fn while_not_active(&self, update: UpdateBuilder, id: WebhookId) -> UpdateBuilder {
        update
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .condition_expression("#state IN (:failing, :draining)")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":failing", text("failing"))
            .expression_attribute_values(":draining", text("draining"))
    }

    /// What is parked for a webhook, oldest first.
    pub async fn parked(&self, id: WebhookId, after: Option<&str>, limit: usize) -> Result<ParkedPage, TableError> {
        let partition = parked_partition(id);
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :parked")
            .expression_attribute_values(":parked", text(&partition))
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|after| key(&partition, after)))
            .send()
            .await
            .map_err(|error| TableError::request("read what is parked", &error.into_service_error()))?;
        let mut page = ParkedPage::default();
        for item in answer.items.unwrap_or_default() {
            let place = sort_key_of(&item);
            page.last = Some(place.clone());
            match parked_delivery(&item) {
                Ok(delivery) => page.parked.push(Parked { place, delivery }),
                Err(error) => page.unreadable.push(Unreadable { place, message: as_message(&item), error }),
            }
        }
        Ok(page)
    }

    /// Takes something out of the park that cannot be read. Whoever comes second changes nothing.
    pub async fn discard_parked(&self, id: WebhookId, place: &str) -> Result<(), TableError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key(parked_partition(id), place)))
            .condition_expression("attribute_exists(pk)");
        let delete = TransactWriteItem::builder().delete(delete.build().expect("complete")).build();
        let count = Update::builder()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .update_expression("ADD parked :less")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":less", number(-1));
        let count = TransactWriteItem::builder().update(count.build().expect("complete")).build();
        for writes in [vec![delete.clone(), count], vec![delete]] {
            match self.transact(writes, "take what cannot be read out of the park").await? {
                Transacted::Done => break,
                Transacted::Refused(refused) if refused[0] => break,
                Transacted::Refused(_) => {} // The webhook was deleted meanwhile.
            }
        }
        Ok(())
    }

    /// Takes a delivery out of the park, after it was queued again or found stale, and logs what became of it. Whoever comes
    /// second changes nothing: a later round that was parked meanwhile stays, and so does what a later round has logged. A webhook
    /// that was deleted meanwhile is not counted any more.
    pub async fn unpark(&self, parked: &Parked, log: &DeliveryLog) -> Result<bool, TableError> {
        let id = parked.delivery.webhook_id;
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key(parked_partition(id), parked.place.as_str())))
            .condition_expression("#round = :round")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":round", number(parked.delivery.round.into()));
        let count = Update::builder()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .update_expression("ADD parked :less SET unparkedAt = :now")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":now", number(log.updated_at.as_millisecond()))
            .expression_attribute_values(":less", number(-1));
        let logged = Put::builder()
            .table_name(&self.table)
            .set_item(Some(log_item(&parked.delivery.log_key(), log)?))
            .condition_expression(
                "attribute_not_exists(pk) OR #round < :round OR (#round = :round AND #state = :parked)",
            )
            .expression_attribute_names("#round", "round")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":round", number(log.round.into()))
            .expression_attribute_values(":parked", text("parked"));
        let delete = TransactWriteItem::builder().delete(delete.build().expect("complete")).build();
        let mut others = vec![
            TransactWriteItem::builder().update(count.build().expect("complete")).build(),
            TransactWriteItem::builder().put(logged.build().expect("complete")).build(),
        ];
        loop {
            let writes = std::iter::once(delete.clone()).chain(others.clone()).collect();
            match self.transact(writes, "take the delivery out of the park").await? {
                Transacted::Done => return Ok(true),
                Transacted::Refused(refused) if refused[0] => return Ok(false),
                // Without those whose condition does not hold.
                Transacted::Refused(refused) => {
                    let mut refused = refused.into_iter().skip(1);
                    others.retain(|_| !refused.next().unwrap_or(true));
                }
            }
        }
    }

    /// Takes deliveries out of the park that will not be sent any more.
    pub async fn close_parked(
        &self,
        parked: &[Parked],
        state: DeliveryState,
        now: Timestamp,
    ) -> Result<(), TableError> {
        for parked in parked {
            let before = self.delivery_log(&parked.delivery.log_key()).await?;
            self.unpark(parked, &parked.delivery.closed(before, state, now)).await?;
        }
        Ok(())
    }

    /// Nothing will be sent to this webhook any more. Cancels at most `limit` of what is parked.
    pub async fn cancel_parked(&self, id: WebhookId, limit: usize, now: Timestamp) -> Result<(), TableError> {
        let page = self.parked(id, None, limit).await?;
        for unreadable in &page.unreadable {
            self.discard_parked(id, &unreadable.place).await?;
        }
        self.close_parked(&page.parked, DeliveryState::Cancelled, now).await
    }

    fn log_write(&self, at: &LogKey, log: &DeliveryLog) -> Result<TransactWriteItem, TableError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(log_item(at, log)?));
        Ok(TransactWriteItem::builder().put(put.build().expect("complete")).build())
    }

    /// Writes all or nothing. A transaction that met another one, or a table that was throttled, has been tried again by the client.
    async fn transact(&self, writes: Vec<TransactWriteItem>, verb: &'static str) -> Result<Transacted, TableError> {
        let written = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Transacted::Done),
            Err(error) => refused(&error).map(Transacted::Refused).ok_or_else(|| TableError::request(verb, &error)),
        }
    }
}

/// Which conditions did not hold, if that is what a transaction was cancelled for.
fn refused(error: &TransactWriteItemsError) -> Option<Vec<bool>> {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return None };
    let reasons = cancelled.cancellation_reasons().iter();
    let refused: Vec<bool> = reasons.map(|reason| reason.code() == Some("ConditionalCheckFailed")).collect();
    refused.contains(&true).then_some(refused)
}

#[derive(Debug, PartialEq, Eq)]
enum Transacted {
    Done,
    /// Whose condition did not hold.
    Refused(Vec<bool>),
}

fn log_item(at: &LogKey, log: &DeliveryLog) -> Result<Item, TableError> {
    let mut item = item(delivery_key(at), log)?;
    item.insert("expiresAt".to_owned(), number(log.updated_at.as_second() + KEEP_EVENTS_DAYS * DAY));
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
        let delivery = Delivery::of_call(sample(), WebhookId::from_uuid(uuid::Uuid::nil()));
        let (at, mut log) = (delivery.log_key(), delivery.log(Timestamp::UNIX_EPOCH));
        log.add(attempt(&"a".repeat(256)));
        let item = log_item(&at, &log).expect("an item");
        assert!(size(&item) <= WRITE_UNIT && item.contains_key("attempts"), "{}", size(&item));
        assert_eq!(log_of(item).expect("a log"), log);
        for n in 0..12 {
            log.add(attempt(&format!("<p>The server is busy, attempt {n}.</p>\n").repeat(100)));
        }
        let item = log_item(&at, &log).expect("an item");
        assert!(size(&item) <= WRITE_UNIT && !item.contains_key("attempts"), "{}", size(&item));
        assert_eq!(log_of(item).expect("a log"), log);
    }

    #[test]
    fn what_is_parked_and_cannot_be_read_is_a_message_for_who_can() {
        let mut item = key("PARKED#1", "place");
        insert_text(&mut item, DELIVERY, format!("{{\"round\":7,\"new\":\"{}\"}}", "x".repeat(2_000)));
        item.insert("v".to_owned(), number(2));
        assert!(matches!(parked_delivery(&item), Err(TableError::Newer(2))));
        assert!(as_message(&item).starts_with(r#"{"v":2,"round":7,"new":"xx"#), "{}", as_message(&item));
    }
}
