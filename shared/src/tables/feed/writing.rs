//! Records a call's events: what the protocol's writer asks for, as requests.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::head::FeedHead;
use super::hours::{EndedCall, with_counters};
use super::items::{entry_item, is_entry_of, tombstone_item};
use super::keys::head_key;
use crate::event::CallEvent;
use crate::event::message::EventMessage;
use crate::feed::{Answer, Request, Writer};
use crate::tables::calls::{LiveCall, call_item, call_key, recorded_number};
use crate::tables::item::{Item, TableError, now, number};
use crate::tables::state::StateTable;

const RECORD: &str = "record the event";

/// What became of something that was to be put where nothing is.
pub(super) enum Put {
    Done,
    /// What is there.
    Refused(Item),
}

impl StateTable {
    /// Reserves numbers of the feed and returns the first one. The same write counts calls that ended.
    pub async fn reserve(&self, count: u64, ended: &[EndedCall<'_>]) -> Result<u64, TableError> {
        let now = now(&self.client);
        let request = self.client.update_item().table_name(&self.table).set_key(Some(head_key()));
        let answer = with_counters(request, "SET reservedAt = :now ADD n :count", ended, now)
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":count", number(count as i64))
            .return_values(ReturnValue::UpdatedOld)
            .send()
            .await
            .map_err(|error| TableError::request("reserve numbers of the feed", &error.into_service_error()))?;
        let before = answer.attributes.as_ref().map(FeedHead::read).unwrap_or_default();
        if before.is_forgotten(now) {
            self.note_forgotten(before.n).await?;
        }
        Ok(before.n + 1)
    }

    /// After a long pause: tells the readers that they need not settle what the table has forgotten.
    async fn note_forgotten(&self, n: u64) -> Result<(), TableError> {
        let noted = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(head_key()))
            .update_expression("SET forgotten = :n")
            .expression_attribute_values(":n", number(n as i64))
            .send()
            .await;
        noted.map(drop).map_err(|error| TableError::request("note a pause of the feed", &error.into_service_error()))
    }

    /// Settles the events that a writer was made for. Those that are settled when it fails stay so; see [`Writer::settled`].
    pub async fn settle(&self, writer: &mut Writer, events: &[&EventMessage<'_>]) -> Result<(), TableError> {
        while let Some(request) = writer.next() {
            writer.take(self.perform(request, events).await?);
        }
        Ok(())
    }

    async fn perform(&self, request: Request, events: &[&EventMessage<'_>]) -> Result<Answer, TableError> {
        let now = now(&self.client);
        Ok(match request {
            Request::Reserve { count } => Answer::Reserved { first: self.reserve(count, &[]).await? },
            Request::Record { event, n } => match self.put_new(call_item(events[event], n, self.keep)).await? {
                Put::Done => Answer::Numbered { n },
                Put::Refused(found) => match recorded_number(&found) {
                    Some(n) => Answer::Numbered { n },
                    None => Answer::SettledBefore,
                },
            },
            Request::Fill { event, n } => match self.put_new(entry_item(events[event], n, self.keep, now)?).await? {
                Put::Refused(found) if !is_entry_of(&found, &events[event].event) => Answer::Taken,
                Put::Done | Put::Refused(_) => {
                    // Before the call's next event is recorded, so that its next update has the next number.
                    if let Some(live) = LiveCall::after(&events[event].event) {
                        self.note_live(events[event].tag.group, &live).await?;
                    }
                    Answer::Filled
                }
            },
            Request::Move { event, from, to } => self.change_number(&events[event].event, from, to).await?,
        })
    }

    /// Puts a tombstone into an empty slot.
    pub(super) async fn put_tombstone(&self, n: u64) -> Result<Put, TableError> {
        self.put_new(tombstone_item(n, self.keep, now(&self.client))).await
    }

    async fn put_new(&self, new: Item) -> Result<Put, TableError> {
        let at: Item =
            ["pk", "sk"].into_iter().filter_map(|name| Some((name.to_owned(), new.get(name)?.clone()))).collect();
        let written = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(new))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Put::Done),
            Err(PutItemError::ConditionalCheckFailedException(refused)) => {
                Ok(Put::Refused(self.found(refused.item, at).await?))
            }
            Err(error) => Err(TableError::request(RECORD, &error)),
        }
    }

    async fn change_number<T>(&self, event: &CallEvent<T>, from: u64, to: u64) -> Result<Answer, TableError> {
        let at = call_key(event.call_id(), event.position());
        let written = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(at.clone()))
            .update_expression("SET n = :to")
            .condition_expression("n = :from")
            .expression_attribute_values(":from", number(from as i64))
            .expression_attribute_values(":to", number(to as i64))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Answer::Numbered { n: to }),
            Err(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                let found = self.found(refused.item, at).await?;
                let n = recorded_number(&found).ok_or(TableError::Incomplete { verb: RECORD })?;
                Ok(Answer::Numbered { n })
            }
            Err(error) => Err(TableError::request(RECORD, &error)),
        }
    }

    /// What stood in the way of a write: as the refusal tells, or read again.
    async fn found(&self, told: Option<Item>, at: Item) -> Result<Item, TableError> {
        if let Some(item) = told.filter(|item| !item.is_empty()) {
            return Ok(item);
        }
        let answer = self.client.get_item().table_name(&self.table).set_key(Some(at)).consistent_read(true).send();
        let answer = answer.await.map_err(|error| TableError::request(RECORD, &error.into_service_error()))?;
        // The table has forgotten it in between.
        answer.item.ok_or(TableError::Incomplete { verb: RECORD })
    }
}
