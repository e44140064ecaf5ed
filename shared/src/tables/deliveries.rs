//! The part of the state table that `deliver` lives in: the log of deliveries, and those that wait for a receiver to recover.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::{DAY, KEEP_EVENTS_DAYS, StateTable};
use super::webhooks::{webhook, webhook_key};
use super::{Item, TableError, is_over, item, key, now, number, text, value};
use crate::delivery::{Delivery, DeliveryLog, DeliveryState, LogKey};
use crate::ids::SubscriptionId;
use crate::subscription::Subscription;
use crate::time::iso_millis;

/// What `deliver` has to know before it sends, as of one moment.
#[derive(Debug)]
pub struct ReceiverView {
    pub subscription: Option<Subscription>,
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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParkedItem {
    /// JSON text, as it came from the queue.
    delivery: String,
    round: u32,
    expires_at: i64,
}

fn delivery_key(at: &LogKey) -> Item {
    key(format!("DELIVERY#{}", at.subscription_id), at.sort.as_str())
}

fn parked_partition(id: SubscriptionId) -> String {
    format!("PARKED#{id}")
}

impl StateTable {
    /// The subscription and the delivery's log item in one consistent read.
    pub async fn receiver_view(&self, log: &LogKey) -> Result<ReceiverView, TableError> {
        let subscription_key = webhook_key(log.subscription_id);
        let log_key = delivery_key(log);
        let wanted = vec![subscription_key.clone(), log_key.clone()];
        let mut found = self.get_all(wanted, None, "read the delivery").await?;
        let mut take = |wanted: &Item| -> Option<Item> {
            let at = found.iter().position(|item| wanted.iter().all(|(name, value)| item.get(name) == Some(value)))?;
            Some(found.swap_remove(at))
        };
        Ok(ReceiverView {
            subscription: take(&subscription_key).map(webhook).transpose()?,
            log: take(&log_key).map(value).transpose()?,
        })
    }

    pub async fn put_delivery_log(&self, at: &LogKey, log: &DeliveryLog) -> Result<(), TableError> {
        self.put(log_item(at, log)?, "store the delivery log").await
    }

    pub async fn delivery_log(&self, at: &LogKey) -> Result<Option<DeliveryLog>, TableError> {
        let found = self.get_all(vec![delivery_key(at)], None, "read the delivery log").await?;
        let now = now(&self.client);
        found.into_iter().find(|item| !is_over(item, now)).map(value).transpose()
    }

    /// A page of a webhook's deliveries since a time, and behind which place the next one begins.
    pub async fn delivery_logs(
        &self,
        id: SubscriptionId,
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
        let next = answer.last_evaluated_key.as_ref().and_then(|at| Some(at.get("sk")?.as_s().ok()?.clone()));
        let now = now(&self.client);
        let mut logs = Vec::new();
        for found in answer.items.unwrap_or_default().into_iter().filter(|item| !is_over(item, now)) {
            let sort = found.get("sk").and_then(|sk| sk.as_s().ok()).cloned().unwrap_or_default();
            logs.push((LogKey { subscription_id: id, sort }, value(found)?));
        }
        Ok((logs, next))
    }

    /// Parks a delivery, counts it and logs it, all or nothing, and only while the webhook is failing or draining.
    ///
    /// An earlier round of the delivery may still lie there: whoever queued this round takes it out only afterwards. Then this
    /// round takes its place, and the count stays.
    pub async fn park(&self, delivery: &Delivery, log: &DeliveryLog) -> Result<Parking, TableError> {
        let id = delivery.subscription_id;
        let parked = ParkedItem {
            delivery: serde_json::to_string(delivery).unwrap_or_default(),
            round: delivery.round,
            expires_at: log.updated_at.as_second() + KEEP_EVENTS_DAYS * DAY,
        };
        let place = item(key(parked_partition(id), delivery.parking_place()), &parked)?;
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

    fn while_not_active(&self, update: UpdateBuilder, id: SubscriptionId) -> UpdateBuilder {
        update
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .condition_expression("#state IN (:failing, :draining)")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":failing", text("failing"))
            .expression_attribute_values(":draining", text("draining"))
    }

    /// What is parked for a webhook, oldest first.
    pub async fn parked(
        &self,
        id: SubscriptionId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Parked>, TableError> {
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
        let mut parked = Vec::new();
        for found in answer.items.unwrap_or_default() {
            let place = found.get("sk").and_then(|sk| sk.as_s().ok()).cloned().unwrap_or_default();
            let stored: ParkedItem = value(found)?;
            if let Ok(delivery) = serde_json::from_str(&stored.delivery) {
                parked.push(Parked { place, delivery });
            }
        }
        Ok(parked)
    }

    /// Takes a delivery out of the park, after it was queued again or found stale, and logs what became of it. Whoever comes
    /// second changes nothing: a later round that was parked meanwhile stays, and so does what a later round has logged. A webhook
    /// that was deleted meanwhile is not counted any more.
    pub async fn unpark(&self, parked: &Parked, log: &DeliveryLog) -> Result<bool, TableError> {
        let id = parked.delivery.subscription_id;
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
    pub async fn cancel_parked(&self, id: SubscriptionId, limit: usize, now: Timestamp) -> Result<(), TableError> {
        let parked = self.parked(id, None, limit).await?;
        self.close_parked(&parked, DeliveryState::Cancelled, now).await
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
    Ok(item)
}
