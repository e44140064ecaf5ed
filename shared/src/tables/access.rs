//! The part of the state table that says who may do what, and who did: keys, counters and the audit trail.

use std::collections::HashSet;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::item::{Item, Readable, TableError, item, key, number, sort_key_of, text, value};
use super::state::StateTable;
use crate::apikey::{ApiKey, KeyHash};
use crate::codes::Code;
use crate::ids::CommandId;
use crate::time::{from_millis, iso_millis};

const API_KEYS: &str = "APIKEY";
const AUDIT: &str = "AUDIT#";
const AGENTS: &str = "AGENTS";
/// A year and a month, so that a yearly review finds all of it.
const KEEP_AUDIT_SECONDS: i64 = 400 * 24 * 60 * 60;

/// Minutes that are over and that one update removes.
const FORGOTTEN_AT_ONCE: i64 = 12;

/// A span of time in which something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Minute,
    Hour,
}

impl Window {
    pub fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    /// The number of the window that a moment lies in, and how many seconds of it are left, at least one.
    pub fn of(self, now: Timestamp) -> (i64, i64) {
        let (seconds, second) = (self.seconds(), now.as_second());
        (second.div_euclid(seconds), seconds - second.rem_euclid(seconds))
    }
}

/// What an entry of the audit trail is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditKind {
    /// A number that was dialled, or a call that was moved or ended.
    #[default]
    Call,
    Key,
    Webhook,
}

impl AuditKind {
    pub const ALL: [Self; 3] = [Self::Call, Self::Key, Self::Webhook];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Key => "key",
            Self::Webhook => "webhook",
        }
    }
}

/// Who asked for what: one line of the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditEntry {
    /// Milliseconds.
    pub time: i64,
    pub kind: AuditKind,
    pub key_id: String,
    pub key_name: String,
    pub operation: String,
    /// The extension that calls, or the call that is moved or ended.
    pub from: String,
    /// As it was asked for; of a transfer the other call.
    pub to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_e164: Option<String>,
    /// What the called party was to see instead of the extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_number: Option<String>,
    /// The key or webhook that was made, changed or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its name: a key's own, of a webhook scheme and host of its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_name: Option<String>,
    /// The fields that were given for it, or of a changed webhook those that differ; never their values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// Why it was not even tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Code>,
    /// Tells entries of one moment apart; the same for a repeat of the same request, which is one entry.
    pub nonce: String,
}

impl AuditEntry {
    fn key(&self) -> Item {
        let time = from_millis(self.time);
        key(audit_day(TimeZone::UTC.to_datetime(time).date()), format!("{}#{}", iso_millis(time), self.nonce))
    }
}

fn minutes_key(pk: String) -> Item {
    key(pk, "minutes")
}

fn name(call: &str) -> AttributeValue {
    AttributeValue::Ss(vec![call.to_owned()])
}

/// What an item has of this minute and of those before it, the latest first, with how many minutes ago that was.
fn by_minute(item: &Item, minute: i64, minutes: i64) -> impl Iterator<Item = (i64, &AttributeValue)> {
    (0..=minutes).filter_map(move |ago| Some((ago, item.get(&format!("m{}", minute - ago))?)))
}

/// What an item has counted in this minute and those before it, and after how many seconds the oldest is forgotten.
fn recent(item: &Item, minute: i64, minutes: i64, left: i64) -> (i64, i64) {
    let count = |count: &AttributeValue| count.as_n().ok()?.parse::<i64>().ok().filter(|count| *count > 0);
    let counted = by_minute(item, minute, minutes).filter_map(|(ago, found)| Some((ago, count(found)?)));
    let (total, oldest) = counted.fold((0, 0), |(total, _), (ago, count)| (total + count, ago));
    (total, forgotten_after(oldest, minutes, left))
}

/// How many different names an item has in this minute and those before it, and after how many seconds the oldest is forgotten.
fn distinct(item: &Item, minute: i64, minutes: i64, left: i64) -> (i64, i64) {
    let named = by_minute(item, minute, minutes).filter_map(|(ago, found)| Some((ago, found.as_ss().ok()?)));
    let (names, oldest) = named.fold((HashSet::new(), 0), |(mut names, _), (ago, found)| {
        names.extend(found);
        (names, ago)
    });
    (names.len() as i64, forgotten_after(oldest, minutes, left))
}

fn forgotten_after(oldest: i64, minutes: i64, left: i64) -> i64 {
    left + (minutes - oldest) * Window::Minute.seconds()
}

fn since_of(item: &Item) -> Timestamp {
    let since = item.get("since").and_then(|since| since.as_n().ok()?.parse().ok());
    since.map_or(Timestamp::UNIX_EPOCH, from_millis)
}

fn audit_day(day: Date) -> String {
    format!("{AUDIT}{day}")
}

impl StateTable {
    /// The key with this hash, unless it has expired.
    pub async fn api_key(&self, hash: &KeyHash, now: Timestamp) -> Result<Option<ApiKey>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(API_KEYS, hash.as_str())))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the API key", &error.into_service_error()))?;
        let key: Option<ApiKey> = answer.item.map(value).transpose()?;
        Ok(key.filter(|key| key.is_alive(now)))
    }

    pub async fn put_api_key(&self, hash: &KeyHash, stored: &ApiKey) -> Result<(), TableError> {
        self.put(item(key(API_KEYS, hash.as_str()), stored)?, "store the API key").await
    }

    /// All keys that have not expired, oldest first.
    pub async fn api_keys(&self, now: Timestamp) -> Result<Vec<ApiKey>, TableError> {
        let items = self.query(API_KEYS.to_owned(), "", "list the API keys").await?;
        let mut keys: Vec<ApiKey> = Readable::of(items, value).logged("API key");
        keys.retain(|key| key.is_alive(now));
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(keys)
    }

    /// The key with this public id, and its hash.
    pub async fn api_key_named(&self, id: &str, now: Timestamp) -> Result<Option<(KeyHash, ApiKey)>, TableError> {
        let found = self.query(API_KEYS.to_owned(), id, "find the API key").await?;
        let Some(item) = found.into_iter().next() else { return Ok(None) };
        let hash = item.get("sk").and_then(|sk| KeyHash::stored(sk.as_s().ok()?));
        let key: ApiKey = value(item)?;
        Ok(hash.zip(Some(key)).filter(|(_, key)| key.is_alive(now)))
    }

    /// Stores a changed key, unless it was deleted or changed since it was read. Returns whether it did.
    pub async fn change_api_key(&self, hash: &KeyHash, read: &ApiKey, changed: &ApiKey) -> Result<bool, TableError> {
        let put = self.client.put_item().table_name(&self.table);
        let put = put.set_item(Some(item(key(API_KEYS, hash.as_str()), changed)?));
        let put = match read.changed_at {
            None => put.condition_expression("attribute_exists(pk) AND attribute_not_exists(changedAt)"),
            Some(at) => put.condition_expression("changedAt = :at").expression_attribute_values(":at", number(at)),
        };
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(true),
            Err(PutItemError::ConditionalCheckFailedException(refused)) => {
                // An earlier attempt whose answer was lost may have stored it, and the key may have been used since.
                let found: Option<ApiKey> = refused.item.map(value).transpose()?;
                let as_stored = |found: ApiKey| ApiKey { last_used_at: changed.last_used_at, ..found };
                Ok(found.map(as_stored).as_ref() == Some(changed))
            }
            Err(error) => Err(TableError::request("change the API key", &error)),
        }
    }

    pub async fn delete_api_key(&self, hash: &KeyHash) -> Result<(), TableError> {
        let key = key(API_KEYS, hash.as_str());
        let deleted = self.client.delete_item().table_name(&self.table).set_key(Some(key)).send().await;
        deleted.map(drop).map_err(|error| TableError::request("delete the API key", &error.into_service_error()))
    }

    /// Notes that a key was used; a key that was deleted meanwhile stays deleted.
    pub async fn touch_api_key(&self, hash: &KeyHash, now: Timestamp) -> Result<(), TableError> {
        let written = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(API_KEYS, hash.as_str())))
            .update_expression("SET lastUsedAt = :now")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .send()
            .await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) | Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(TableError::request("note the use of the API key", &error)),
        }
    }

    /// Counts something in the present window and returns how much there is now. Negative amounts give back.
    pub async fn count(&self, what: &str, window: Window, amount: i64, now: Timestamp) -> Result<i64, TableError> {
        let (n, left) = window.of(now);
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(format!("COUNT#{what}"), format!("{}#{n}", window.seconds()))))
            .update_expression("ADD n :amount SET expiresAt = :expires")
            .expression_attribute_values(":amount", number(amount))
            .expression_attribute_values(":expires", number(now.as_second() + left + window.seconds()))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await
            .map_err(|error| TableError::request("count", &error.into_service_error()))?;
        let count = answer.attributes.as_ref().and_then(|item| item.get("n")?.as_n().ok()?.parse().ok());
        Ok(count.unwrap_or(amount))
    }

    /// Counts something, and returns how much there was in the last minutes, this included, and after how many seconds the oldest of
    /// it is forgotten. It is counted by the minute, so that is up to a minute later. Negative amounts give back what was
    /// counted at that time.
    pub async fn count_recent(
        &self,
        what: &str,
        minutes: i64,
        amount: i64,
        at: Timestamp,
    ) -> Result<(i64, i64), TableError> {
        let item = self.add_to_minute(format!("RECENT#{what}"), number(amount), minutes, at).await?;
        let (minute, left) = Window::Minute.of(at);
        Ok(recent(&item, minute, minutes, left))
    }

    /// Counts a call between two numbers under its own name, so that repeats of one request count once. Returns how many calls there
    /// were in the last minutes, and after how many seconds the oldest is forgotten.
    pub async fn count_pair(
        &self,
        pair: &str,
        minutes: i64,
        call: &str,
        at: Timestamp,
    ) -> Result<(i64, i64), TableError> {
        let item = self.add_to_minute(format!("PAIR#{pair}"), name(call), minutes, at).await?;
        let (minute, left) = Window::Minute.of(at);
        Ok(distinct(&item, minute, minutes, left))
    }

    /// A call that was counted then is not placed.
    pub async fn forget_pair(&self, pair: &str, call: &str, at: Timestamp) -> Result<(), TableError> {
        let (minute, _) = Window::Minute.of(at);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(minutes_key(format!("PAIR#{pair}"))))
            .update_expression(format!("DELETE m{minute} :call"))
            .expression_attribute_values(":call", name(call));
        update.send().await.map(drop).map_err(|error| TableError::request("forget a call", &error.into_service_error()))
    }

    /// Adds a number, or names, to what an item has of this minute, and returns all that it has.
    async fn add_to_minute(
        &self,
        pk: String,
        added: AttributeValue,
        minutes: i64,
        at: Timestamp,
    ) -> Result<Item, TableError> {
        let (minute, _) = Window::Minute.of(at);
        // Minutes that are over for good go as long as somebody counts; then the item ends.
        let forgotten: Vec<String> =
            (minutes + 1..=minutes + FORGOTTEN_AT_ONCE).map(|ago| format!("m{}", minute - ago)).collect();
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(minutes_key(pk)))
            .update_expression(format!("ADD m{minute} :added SET expiresAt = :expires REMOVE {}", forgotten.join(", ")))
            .expression_attribute_values(":added", added)
            .expression_attribute_values(":expires", number(at.as_second() + (minutes + 1) * Window::Minute.seconds()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| TableError::request("count", &error.into_service_error()))?;
        Ok(answer.attributes.unwrap_or_default())
    }

    /// Writes an entry of the audit trail. The same entry twice is one.
    pub async fn audit(&self, entry: &AuditEntry) -> Result<(), TableError> {
        let mut item = item(entry.key(), entry)?;
        item.insert("expiresAt".to_owned(), number(entry.time / 1000 + KEEP_AUDIT_SECONDS));
        self.put(item, "write the audit trail").await
    }

    /// A page of a day's audit trail, newest first, each entry with its sort key, and where the next page begins.
    pub async fn audit_of(
        &self,
        day: Date,
        before: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, AuditEntry)>, Option<String>), TableError> {
        let pk = audit_day(day);
        let start = before.map(|before| key(&pk, before));
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :day")
            .expression_attribute_values(":day", text(&pk))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| TableError::request("read the audit trail", &error.into_service_error()))?;
        let next = answer.last_evaluated_key.as_ref().map(sort_key_of);
        let read = |item: Item| Ok((sort_key_of(&item), value(item)?));
        Ok((Readable::of(answer.items.unwrap_or_default(), read).logged("entry of the audit trail"), next))
    }

    /// Writes down whether any agent can act, or any of one PBX, and returns since when it is so. The first look ever finds nothing
    /// out: then it is so since ever.
    pub async fn agents_are(&self, pbx: Option<&str>, online: bool, now: Timestamp) -> Result<Timestamp, TableError> {
        let of_pbx = pbx.map_or_else(|| AGENTS.to_owned(), |pbx| format!("{AGENTS}#{pbx}"));
        let agents = || key(AGENTS, &of_pbx);
        let known = self.get_all(vec![agents()], Some("isOnline, since"), "read the agents' state").await?;
        if let Some(item) = known.first().filter(|item| item.get("isOnline") == Some(&AttributeValue::Bool(online))) {
            return Ok(since_of(item)); // As a minute ago, and nearly always.
        }
        let write = |since: Timestamp, condition: &str| {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(agents()))
                .update_expression("SET isOnline = :online, since = :since")
                .condition_expression(condition)
                .expression_attribute_values(":online", AttributeValue::Bool(online))
                .expression_attribute_values(":since", number(since.as_millisecond()))
        };
        let writes = [
            (now, write(now, "attribute_exists(pk) AND isOnline <> :online")),
            (Timestamp::UNIX_EPOCH, write(Timestamp::UNIX_EPOCH, "attribute_not_exists(pk)")),
        ];
        for (since, write) in writes {
            match write.send().await.map_err(SdkError::into_service_error) {
                Ok(_) => return Ok(since),
                Err(UpdateItemError::ConditionalCheckFailedException(_)) => {}
                Err(error) => return Err(TableError::request("note the agents' state", &error)),
            }
        }
        let found = self.get_all(vec![agents()], Some("since"), "read the agents' state").await?;
        Ok(found.first().map_or(Timestamp::UNIX_EPOCH, since_of))
    }

    /// All items of a partition whose sort key begins like this.
    pub(super) async fn query(&self, pk: String, begins: &str, verb: &'static str) -> Result<Vec<Item>, TableError> {
        let query = self.client.query().table_name(&self.table).consistent_read(true);
        let query = if begins.is_empty() {
            query.key_condition_expression("pk = :pk")
        } else {
            query
                .key_condition_expression("pk = :pk AND begins_with(sk, :begins)")
                .expression_attribute_values(":begins", text(begins))
        };
        let mut pages = query.expression_attribute_values(":pk", text(pk)).into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.map_err(|error| TableError::request(verb, &error.into_service_error()))?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_when_the_clock_says_so() {
        assert_eq!(Window::Minute.of(from_millis(119_999)), (1, 1));
        assert_eq!(Window::Minute.of(from_millis(120_000)), (2, 60));
        assert_eq!(Window::Hour.of(from_millis(3_600_000)), (1, 3600));
    }

    #[test]
    fn what_was_counted_is_forgotten_by_the_minute() {
        let item = |minutes: &[(i64, i64)]| {
            minutes.iter().map(|(minute, count)| (format!("m{minute}"), number(*count))).collect::<Item>()
        };
        assert_eq!(recent(&item(&[(100, 2)]), 100, 10, 30), (2, 630));
        assert_eq!(recent(&item(&[(90, 1), (99, 3), (100, 2)]), 100, 10, 30), (6, 30));
        // What is older, was given back, or lies ahead does not count.
        assert_eq!(recent(&item(&[(89, 5), (95, 0), (100, 2), (101, 7)]), 100, 10, 30), (2, 630));
    }

    #[test]
    fn a_call_counts_once_however_often_it_is_asked_for() {
        let names = |names: &[&str]| AttributeValue::Ss(names.iter().map(|name| (*name).to_owned()).collect());
        let item = Item::from([("m100".to_owned(), names(&["a", "b"])), ("m99".to_owned(), names(&["a", "c"]))]);
        assert_eq!(distinct(&item, 100, 10, 30), (3, 570));
        assert_eq!(distinct(&item, 111, 10, 30), (0, 630));
    }

    #[test]
    fn entries_sort_by_time_and_lie_in_their_day() {
        let entry = AuditEntry {
            time: 1_700_000_000_000,
            key_id: "k".to_owned(),
            key_name: "crm".to_owned(),
            operation: "MakeCall".to_owned(),
            from: "42".to_owned(),
            to: "50".to_owned(),
            nonce: "n".to_owned(),
            ..AuditEntry::default()
        };
        let key = entry.key();
        assert_eq!(key["pk"], text("AUDIT#2023-11-14"));
        assert_eq!(key["sk"], text("2023-11-14T22:13:20.000Z#n"));
    }
}
