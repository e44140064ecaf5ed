//! The park: deliveries that wait in the table until the worker of their webhook's own lane sends them.
//!
//! Nothing counts them, so that nobody who parks waits for anybody else. Who has parked a delivery takes out its own part of it only:
//! another one may have parked it as well, and have acknowledged it.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use serde::de::Error;

use super::item::{Item, TableError, VERSION, key, now, number, sort_key_of, text};
use super::packed::{insert_text, read_text};
use super::state::StateTable;
use crate::delivery::Delivery;
use crate::ids::WebhookId;

/// A delivery that waits.
#[derive(Clone, Debug)]
pub struct Parked {
    pub key: String,
    pub delivery: Delivery,
    /// Milliseconds; `None` in items of older versions.
    pub parked_at: Option<i64>,
}

/// Something that waits and that this version cannot read.
#[derive(Debug)]
pub struct Unreadable {
    pub key: String,
    /// As the version that can read it takes it from the queue.
    pub message: String,
    pub error: TableError,
}

/// A page of what is parked, oldest first.
#[derive(Debug, Default)]
pub struct ParkedPage {
    pub parked: Vec<Parked>,
    pub unreadable: Vec<Unreadable>,
    /// Behind this key the next page begins, if there is one.
    pub next: Option<String>,
}

/// Longer than any delivery is worth sending.
const KEEP_SECONDS: i64 = 30 * 24 * 60 * 60;
/// The delivery's JSON text, without its envelope.
const DELIVERY: &str = "delivery";

fn read_parked(item: &Item) -> Result<Delivery, TableError> {
    let version = item.get("v").and_then(|v| v.as_n().ok()?.parse().ok());
    if let Some(newer) = version.filter(|version| *version > VERSION) {
        return Err(TableError::Newer(newer));
    }
    let text = item.get(DELIVERY).and_then(read_text).unwrap_or_default();
    Ok(serde_json::from_str(&text).map_err(serde_dynamo::Error::custom)?)
}

fn as_message(item: &Item) -> String {
    let version = item.get("v").and_then(|v| v.as_n().ok()).map_or("1", String::as_str);
    let delivery = item.get(DELIVERY).and_then(read_text).unwrap_or_default();
    match delivery.strip_prefix('{') {
        Some(rest) => format!("{{\"v\":{version},{rest}"),
        None => delivery,
    }
}

fn partition(id: WebhookId) -> String {
    format!("PARKED#{id}")
}

impl StateTable {
    /// Parks a delivery, or adds `holder` to those who have parked it. A later round of it stays what it is.
    pub async fn park(&self, delivery: &Delivery, holder: &str) -> Result<(), TableError> {
        let (now, at) = (now(&self.client), key(partition(delivery.webhook_id), delivery.park_key()));
        let mut item = at.clone();
        item.extend([
            ("v".to_owned(), number(VERSION as i64)),
            ("round".to_owned(), number(delivery.round.into())),
            ("parkedAt".to_owned(), number(now.as_millisecond())),
            ("expiresAt".to_owned(), number(now.as_second() + KEEP_SECONDS)),
            ("holders".to_owned(), AttributeValue::Ss(vec![holder.to_owned()])),
        ]);
        insert_text(&mut item, DELIVERY, serde_json::to_string(delivery).map_err(serde_dynamo::Error::custom)?);
        let values = ["v", "round", "parkedAt", "expiresAt", "holders", DELIVERY]
            .into_iter()
            .filter_map(|name| Some((format!(":{name}"), item.remove(name)?)));
        let parked = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(at))
            .update_expression(
                "SET v = :v, #round = :round, delivery = :delivery, parkedAt = :parkedAt, expiresAt = :expiresAt \
                 ADD holders :holders",
            )
            .condition_expression("attribute_not_exists(pk) OR #round <= :round")
            .expression_attribute_names("#round", "round")
            .set_expression_attribute_values(Some(values.collect()))
            .send()
            .await;
        match parked.map_err(SdkError::into_service_error) {
            Ok(_) | Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(TableError::request("park the delivery", &error)),
        }
    }

    /// Takes `holder`'s part of a parked delivery out again; all of it, if nobody else has parked it.
    pub async fn take_out(&self, delivery: &Delivery, holder: &str) -> Result<(), TableError> {
        let at = key(partition(delivery.webhook_id), delivery.park_key());
        let holder = AttributeValue::Ss(vec![holder.to_owned()]);
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(at.clone()))
            .condition_expression("holders = :holder")
            .expression_attribute_values(":holder", holder.clone())
            .send()
            .await;
        match deleted.map_err(SdkError::into_service_error) {
            Ok(_) => return Ok(()),
            Err(DeleteItemError::ConditionalCheckFailedException(_)) => {}
            Err(error) => return Err(TableError::request("take the delivery out of the park", &error)),
        }
        let left = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(at))
            .update_expression("DELETE holders :holder")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":holder", holder)
            .send()
            .await;
        match left.map_err(SdkError::into_service_error) {
            Ok(_) | Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(TableError::request("take the delivery out of the park", &error)),
        }
    }

    /// Removes what was sent, or will not be. A later round that was parked meanwhile stays.
    pub async fn remove_parked(&self, parked: &Parked) -> Result<(), TableError> {
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(partition(parked.delivery.webhook_id), parked.key.as_str())))
            .condition_expression("attribute_not_exists(pk) OR #round <= :round")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":round", number(parked.delivery.round.into()))
            .send()
            .await;
        match deleted.map_err(SdkError::into_service_error) {
            Ok(_) | Err(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(TableError::request("remove the delivery from the park", &error)),
        }
    }

    /// Removes something that cannot be read.
    pub async fn discard_parked(&self, id: WebhookId, unreadable: &str) -> Result<(), TableError> {
        let deleted = self.client.delete_item().table_name(&self.table).set_key(Some(key(partition(id), unreadable)));
        let deleted = deleted.send().await.map_err(SdkError::into_service_error);
        deleted.map(drop).map_err(|error| TableError::request("discard what cannot be read", &error))
    }

    /// What is parked for a webhook, oldest first. Consistent.
    pub async fn parked(&self, id: WebhookId, behind: Option<&str>, limit: usize) -> Result<ParkedPage, TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :parked")
            .expression_attribute_values(":parked", text(partition(id)))
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(behind.map(|behind| key(partition(id), behind)))
            .send()
            .await
            .map_err(|error| TableError::request("read what is parked", &error.into_service_error()))?;
        let next = answer.last_evaluated_key.as_ref().map(sort_key_of);
        let mut page = ParkedPage { next, ..ParkedPage::default() };
        for item in answer.items.unwrap_or_default() {
            let key = sort_key_of(&item);
            match read_parked(&item) {
                Ok(delivery) => {
                    let parked_at = item.get("parkedAt").and_then(|at| at.as_n().ok()?.parse().ok());
                    page.parked.push(Parked { key, delivery, parked_at });
                }
                Err(error) => page.unreadable.push(Unreadable { key, message: as_message(&item), error }),
            }
        }
        Ok(page)
    }

    /// How many deliveries are parked for a webhook, counted as far as `most`. May be a little out of date.
    pub async fn parked_count(&self, id: WebhookId, most: u32) -> Result<u32, TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :parked")
            .expression_attribute_values(":parked", text(partition(id)))
            .select(Select::Count)
            .limit(i32::try_from(most).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| TableError::request("count what is parked", &error.into_service_error()))?;
        Ok(u32::try_from(answer.count).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parked_and_cannot_be_read_is_a_message_for_who_can() {
        let mut item = key("PARKED#1", "place");
        insert_text(&mut item, DELIVERY, format!("{{\"round\":7,\"new\":\"{}\"}}", "x".repeat(2_000)));
        item.insert("v".to_owned(), number(2));
        assert!(matches!(read_parked(&item), Err(TableError::Newer(2))));
        assert!(as_message(&item).starts_with(r#"{"v":2,"round":7,"new":"xx"#), "{}", as_message(&item));
    }
}
