//! The part of the state table that holds webhooks: what their owners decided, and how they are doing.
//!
//! The two are written by different programs at the same time, so neither ever overwrites the other: each write names the
//! attributes that it changes, and a change of state names the state that it starts from.
//!
//! A change that others are to be told of carries its notice in the same write.
//!
//! An answer may be lost, and then the next attempt meets what the first one has written: its condition does not hold any more. Such a
//! write recognises its own work by the time, the notice or the secret that it has put there.
//!
//! `endsAt` is the expiry, `expiresAt` the table's TTL attribute, [`KEEP_EXPIRED`] later. Older items have `expiresAt` alone, as their
//! expiry.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;

use super::item::{Item, Readable, TableError, item, key, number, text, value};
use super::state::StateTable;
use crate::ids::WebhookId;
use crate::webhook::{Kind, Lane, PendingNotice, PreviousSecret, Secret, Settings, Webhook, WebhookState};

const WEBHOOK: &str = "WEBHOOK";
const WEBHOOKS: &str = "WEBHOOKS";
const WEBHOOKS_VERSION: &str = "version";

/// Seconds for which an expired webhook is kept: as long as a notice of it is worth delivering.
pub const KEEP_EXPIRED: i64 = 3 * 24 * 60 * 60;

pub(super) fn webhook_key(id: WebhookId) -> Item {
    key(WEBHOOK, id.to_string())
}

/// Whose item this is, if it is a webhook's.
pub(super) fn webhook_id_of(item: &Item) -> Option<WebhookId> {
    item.get("pk").filter(|pk| **pk == text(WEBHOOK))?;
    item.get("sk")?.as_s().ok()?.parse().ok()
}

fn version_key() -> Item {
    key(WEBHOOKS, WEBHOOKS_VERSION)
}

/// See [`StateTable::webhooks_version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhooksVersion(u64);

/// A webhook as it lies in the table.
pub(super) fn webhook_of(mut item: Item) -> Result<Webhook, TableError> {
    if let (None, Some(expires_at)) = (item.get("endsAt"), item.get("expiresAt")) {
        item.insert("endsAt".to_owned(), expires_at.clone());
    }
    value(item)
}

fn webhook_item(webhook: &Webhook) -> Result<Item, TableError> {
    let mut item = item(webhook_key(webhook.id), webhook)?;
    if let Some(at) = webhook.settings.expires_at {
        item.insert("expiresAt".to_owned(), deleted_at(at));
    }
    Ok(item)
}

/// What is written for settings that replace others. A webhook that is to expire within a day is as good as warned of.
fn settings_attributes(settings: &Settings, now: Timestamp) -> Result<Item, TableError> {
    let mut attributes: Item = serde_dynamo::to_item(settings)?;
    if let Some(at) = settings.expires_at {
        attributes.insert("expiresAt".to_owned(), deleted_at(at));
        if settings.expires_soon(now) {
            attributes.insert("expiryWarned".to_owned(), number(at));
        }
    }
    Ok(attributes)
}

fn deleted_at(expires_at: i64) -> AttributeValue {
    number(expires_at.saturating_add(KEEP_EXPIRED))
}

/// A change of a webhook's state.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Nothing was accepted for as long as it was tried.
    Fail { reason: &'a str },
    /// Something was accepted again.
    Recover,
    /// The receiver wants no more.
    SwitchOff { reason: &'a str },
    /// The owner wants what is parked tried now; and events again, where it is `off`.
    Resume { off: bool },
    /// The owner wants nothing sent for now.
    Pause,
    /// The owner does not want what is parked.
    Purge,
}

impl Change<'_> {
    /// What others are told of it. Whoever resumes a webhook by hand only hopes that it accepts again.
    fn notice(&self, now: Timestamp) -> Option<PendingNotice> {
        let (kind, message) = match self {
            Self::Fail { reason } => (Kind::WebhookFailing, format!("is failing: {reason}")),
            Self::SwitchOff { reason } => (Kind::WebhookOff, format!("is switched off: it {reason}")),
            Self::Recover => (Kind::WebhookRecovered, "accepts deliveries again".to_owned()),
            Self::Resume { .. } | Self::Pause | Self::Purge => return None,
        };
        Some(PendingNotice { kind, at: now.as_millisecond(), message })
    }

    fn condition(&self) -> &'static str {
        match self {
            Self::Fail { .. } => "#state IN (:active, :draining)",
            Self::Recover => "#state = :failing OR attribute_exists(refusingSince)",
            Self::SwitchOff { .. } => "#state <> :off",
            Self::Resume { off: true } => "#state = :off",
            Self::Resume { off: false } => "#state <> :off",
            Self::Pause | Self::Purge => "attribute_exists(pk)",
        }
    }

    /// A change that concerns what is parked gives the webhook a lane of its own, whose worker sees to it.
    fn update(&self) -> String {
        const STATE: &str = "#state = :state, stateSince = :now";
        const REFUSES: &str = "reason = :reason, refusingSince = if_not_exists(refusingSince, :now)";
        const LANE: &str = "lane = :own, laneSince = :now, nextLookAt = :now";
        const ANEW: &str = "pausedAt, nextAttemptAt, refusals";
        let (sets, removes): (&[&str], &[&str]) = match self {
            Self::Fail { .. } => (&[STATE, REFUSES, ADD_NOTICE], &[]),
            Self::Recover => (&[STATE, ADD_NOTICE], &["reason, refusingSince"]),
            Self::SwitchOff { .. } => (&[STATE, REFUSES, LANE, ADD_NOTICE], &[]),
            Self::Resume { off: true } => (&[STATE, LANE], &["reason", ANEW]),
            Self::Resume { off: false } => (&[LANE], &[ANEW]),
            Self::Pause => (&["pausedAt = if_not_exists(pausedAt, :now)", LANE], &[]),
            Self::Purge => (&["purgedBefore = :now", LANE], &[]),
        };
        let removes = if removes.is_empty() { String::new() } else { format!(" REMOVE {}", removes.join(", ")) };
        format!("SET {}{removes}", sets.join(", "))
    }

    fn state(&self) -> Option<WebhookState> {
        match self {
            Self::Fail { .. } => Some(WebhookState::Failing),
            Self::Recover | Self::Resume { off: true } => Some(WebhookState::Active),
            Self::SwitchOff { .. } => Some(WebhookState::Off),
            Self::Resume { off: false } | Self::Pause | Self::Purge => None,
        }
    }

    /// Whether it is made, by what is there now: an answer may have been lost.
    fn is_made(&self, webhook: &Webhook, now: Timestamp) -> bool {
        let now = Some(now.as_millisecond());
        let health = &webhook.health;
        match self.state() {
            Some(state) => health.state == state && health.state_since == now,
            None => health.lane_since == now,
        }
    }
}

impl StateTable {
    pub async fn put_webhook(&self, webhook: &Webhook) -> Result<(), TableError> {
        self.put(webhook_item(webhook)?, "store the webhook").await?;
        self.webhooks_changed().await
    }

    /// Stores a webhook unless there is one of this id, which is returned then.
    pub async fn put_new_webhook(&self, webhook: &Webhook) -> Result<Option<Webhook>, TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(webhook_item(webhook)?))
            .condition_expression("attribute_not_exists(pk)");
        match put.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => {
                self.webhooks_changed().await?;
                Ok(None)
            }
            Err(PutItemError::ConditionalCheckFailedException(_)) => {
                // Whoever stored it may have died before it was made known.
                self.webhooks_changed().await?;
                self.webhook(webhook.id).await
            }
            Err(error) => Err(TableError::request("store the webhook", &error)),
        }
    }

    /// All webhooks that this version can read.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, TableError> {
        Ok(self.readable_webhooks().await?.logged("webhook"))
    }

    pub async fn readable_webhooks(&self) -> Result<Readable<Webhook>, TableError> {
        let items = self.query(WEBHOOK.to_owned(), "", "list the webhooks").await?;
        Ok(Readable::of(items, webhook_of))
    }

    /// The version of the set of webhooks: what `fanout` looks at in any of them has not changed while it is the same.
    pub async fn webhooks_version(&self) -> Result<WebhooksVersion, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(version_key()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the webhooks' version", &error.into_service_error()))?;
        let n = answer.item.and_then(|item| item.get("n")?.as_n().ok()?.parse().ok());
        Ok(WebhooksVersion(n.unwrap_or_default()))
    }

    /// Has every `fanout` read the webhooks anew. Comes after the write that it is about and before the answer to whoever asked for it,
    /// so that what was answered holds for every event from then on.
    pub async fn webhooks_changed(&self) -> Result<(), TableError> {
        let bumped = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(version_key()))
            .update_expression("ADD n :one")
            .expression_attribute_values(":one", number(1))
            .send()
            .await;
        bumped.map(drop).map_err(|error| TableError::request("make the change known", &error.into_service_error()))
    }

    pub async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the webhook", &error.into_service_error()))?;
        answer.item.map(webhook_of).transpose()
    }

    /// Replaces what the owner decided. `None`: there is no such webhook any more.
    pub async fn change_settings(
        &self,
        id: WebhookId,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Option<Webhook>, TableError> {
        let attributes = settings_attributes(settings, now)?;
        let mut sets = Vec::new();
        let mut update = self.update_webhook(id);
        for (n, (name, attribute)) in attributes.into_iter().enumerate() {
            sets.push(format!("#n{n} = :v{n}"));
            update = update
                .expression_attribute_names(format!("#n{n}"), name)
                .expression_attribute_values(format!(":v{n}"), attribute);
        }
        let mut expression = format!("SET {}", sets.join(", "));
        // An attribute that is left out has to go.
        let expiry: &[&str] = if settings.expires_at.is_none() { &["endsAt", "expiresAt"] } else { &[] };
        let limit: &[&str] = if settings.max_per_minute.is_none() { &["maxPerMinute"] } else { &[] };
        let mask: &[&str] = if settings.mask_numbers { &[] } else { &["maskNumbers"] };
        let gone = [expiry, limit, mask].concat();
        if !gone.is_empty() {
            expression.push_str(&format!(" REMOVE {}", gone.join(", ")));
        }
        let changed = changed(update.update_expression(expression), "change the webhook").await?;
        self.webhooks_changed().await?;
        Ok(changed)
    }

    /// Gives a webhook another secret, beside which earlier ones stay valid for a while. `None`: it has another one already.
    pub async fn rotate_secret(
        &self,
        id: WebhookId,
        present: &Secret,
        secret: &Secret,
        previous: &[PreviousSecret],
    ) -> Result<Option<Webhook>, TableError> {
        let update = self
            .update_webhook(id)
            .update_expression("SET previousSecrets = :previous, secret = :secret REMOVE previousSecret")
            .condition_expression("secret = :present")
            .expression_attribute_values(":secret", text(secret.expose()))
            .expression_attribute_values(":present", text(present.expose()))
            .expression_attribute_values(":previous", serde_dynamo::to_attribute_value(previous)?);
        changed_once(update, "rotate the webhook's secret", |found| found.secret == *secret).await
    }

    /// Deletes a webhook. Returns whether there was one.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<bool, TableError> {
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(|error| TableError::request("delete the webhook", &error.into_service_error()))?;
        self.webhooks_changed().await?;
        Ok(deleted.attributes.is_some_and(|item| !item.is_empty()))
    }

    /// Makes a change where it can be made. Returns the webhook as it is then, or `None` when nothing was changed.
    pub async fn change_state(
        &self,
        id: WebhookId,
        change: &Change<'_>,
        now: Timestamp,
    ) -> Result<Option<Webhook>, TableError> {
        let expressions = [change.update(), change.condition().to_owned()];
        let mut values: Item = Item::from([
            (":now".to_owned(), number(now.as_millisecond())),
            (":own".to_owned(), text(Lane::Own.as_str())),
        ]);
        for state in [WebhookState::Active, WebhookState::Draining, WebhookState::Failing, WebhookState::Off] {
            values.insert(format!(":{}", state.as_str()), text(state.as_str()));
        }
        if let Some(state) = change.state() {
            values.insert(":state".to_owned(), text(state.as_str()));
        }
        if let Change::Fail { reason } | Change::SwitchOff { reason } = change {
            values.insert(":reason".to_owned(), text(*reason));
        }
        let mut update = self.update_webhook(id);
        if let Some(notice) = change.notice(now) {
            update = with_notice(update, &notice)?;
        }
        // The table refuses what is given and not used.
        let is_used = |name: &str| expressions.iter().any(|expression| names(expression).any(|used| used == name));
        for (name, value) in values.into_iter().filter(|(name, _)| is_used(name)) {
            update = update.expression_attribute_values(name, value);
        }
        if is_used("#state") {
            update = update.expression_attribute_names("#state", "state");
        }
        let [expression, condition] = expressions;
        let update = update.update_expression(expression).condition_expression(condition);
        let changed = changed_once(update, "change the webhook's state", |found| change.is_made(found, now)).await?;
        // One that was off wants events again. That others want none any more need not be known at once.
        if matches!(change, Change::Resume { off: true }) {
            self.webhooks_changed().await?;
        }
        Ok(changed)
    }

    /// Notes that others are to be told of this expiry: that it is near, or that it has come. `None`: that was noted already, or the
    /// expiry is another one meanwhile.
    pub async fn note_expiry(
        &self,
        id: WebhookId,
        expires_at: i64,
        notice: &PendingNotice,
    ) -> Result<Option<Webhook>, TableError> {
        let noted = if notice.kind == Kind::WebhookExpired { "expiryTold" } else { "expiryWarned" };
        // An older item has the expiry as its TTL. From here on it is kept for longer.
        let update = with_notice(self.update_webhook(id), notice)?
            .update_expression(format!("SET #noted = :expiry, endsAt = :expiry, expiresAt = :deleted, {ADD_NOTICE}"))
            .condition_expression(
                "(endsAt = :expiry OR (attribute_not_exists(endsAt) AND expiresAt = :expiry)) \
                 AND (attribute_not_exists(#noted) OR #noted <> :expiry)",
            )
            .expression_attribute_names("#noted", noted)
            .expression_attribute_values(":expiry", number(expires_at))
            .expression_attribute_values(":deleted", deleted_at(expires_at));
        let is_done = |found: &Webhook| found.health.pending_notices.contains(notice);
        changed_once(update, "note the webhook's expiry", is_done).await
    }

    /// Notes that others were told what was to be told. If there is more by now, all of it is told again, which changes nothing.
    pub async fn told(&self, id: WebhookId, notices: &[PendingNotice]) -> Result<(), TableError> {
        let update = self
            .update_webhook(id)
            .update_expression("REMOVE pendingNotices")
            .condition_expression("pendingNotices = :told")
            .expression_attribute_values(":told", serde_dynamo::to_attribute_value(notices)?);
        changed(update, "note what was told").await.map(drop)
    }

    /// Notes that something was accepted; a webhook that was deleted meanwhile stays deleted.
    pub async fn note_success(&self, id: WebhookId, now: Timestamp) -> Result<(), TableError> {
        let update = self
            .update_webhook(id)
            .update_expression("SET lastSuccessAt = :now")
            .expression_attribute_values(":now", number(now.as_millisecond()));
        changed(update, "note the webhook's success").await.map(drop)
    }

    pub(super) fn update_webhook(&self, id: WebhookId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .condition_expression("attribute_exists(pk)")
    }
}

/// The names and values that an expression refers to.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    expression.split([' ', ',', '(', ')']).filter(|word| word.starts_with([':', '#']))
}

/// Part of a SET clause, for [`with_notice`].
const ADD_NOTICE: &str = "pendingNotices = list_append(if_not_exists(pendingNotices, :no_notice), :notice)";

fn with_notice(update: UpdateItemFluentBuilder, notice: &PendingNotice) -> Result<UpdateItemFluentBuilder, TableError> {
    Ok(update
        .expression_attribute_values(":no_notice", AttributeValue::L(Vec::new()))
        .expression_attribute_values(":notice", serde_dynamo::to_attribute_value([notice])?))
}

/// The webhook after an update that may be made twice, or `None` when its condition did not hold.
pub(super) async fn changed(
    update: UpdateItemFluentBuilder,
    verb: &'static str,
) -> Result<Option<Webhook>, TableError> {
    changed_once(update, verb, |_| false).await
}

/// The same where a second attempt finds its condition broken by the first one. `is_done` recognises a webhook that is changed already.
pub(super) async fn changed_once(
    update: UpdateItemFluentBuilder,
    verb: &'static str,
    is_done: impl FnOnce(&Webhook) -> bool,
) -> Result<Option<Webhook>, TableError> {
    let update = update
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match update.send().await.map_err(SdkError::into_service_error) {
        Ok(answer) => answer.attributes.map(webhook_of).transpose(),
        Err(UpdateItemError::ConditionalCheckFailedException(refused)) => {
            Ok(refused.item.and_then(|found| webhook_of(found).ok()).filter(is_done))
        }
        Err(error) => Err(TableError::request(verb, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(expires_at: Option<i64>) -> Webhook {
        let settings = Settings { expires_at, ..Settings::new("https://example.com/hook".to_owned()) };
        let now = crate::time::from_millis(1_700_000_000_000);
        Webhook::new(WebhookId::from_uuid(uuid::Uuid::nil()), settings, Secret::new("whsec_AAAA"), now)
    }

    #[test]
    fn an_item_of_an_older_version_expires_when_it_said() {
        let mut old: Item = serde_dynamo::to_item(webhook(None)).expect("an item");
        assert_eq!(webhook_of(old.clone()).expect("a webhook").settings.expires_at, None);
        old.insert("expiresAt".to_owned(), number(1_800_000_000));
        let read = webhook_of(old).expect("a webhook");
        assert_eq!(read, webhook(Some(1_800_000_000)));
        assert!(read.is_alive(crate::time::from_millis(1_799_999_999_000)));
        assert!(!read.is_alive(crate::time::from_millis(1_800_000_000_000)));
    }

    #[test]
    fn an_item_outlives_its_expiry_and_is_deleted_in_the_end() {
        let webhook_until = webhook(Some(1_800_000_000));
        let item = webhook_item(&webhook_until).expect("an item");
        assert_eq!(item["expiresAt"], number(1_800_000_000 + 3 * 86_400));
        assert_eq!(webhook_of(item).expect("a webhook"), webhook_until);
        assert!(!webhook_item(&webhook(None)).expect("an item").contains_key("expiresAt"));

        let changed = |seconds: i64| {
            let now = crate::time::from_millis(seconds * 1000);
            settings_attributes(&webhook_until.settings, now).expect("attributes")
        };
        let early = changed(1_700_000_000);
        assert_eq!((&early["endsAt"], &early["expiresAt"]), (&number(1_800_000_000), &deleted_at(1_800_000_000)));
        assert!(!early.contains_key("expiryWarned"));
        assert_eq!(changed(1_800_000_000 - 86_400)["expiryWarned"], number(1_800_000_000));
    }

    #[test]
    fn a_hope_is_not_told() {
        let now = crate::time::from_millis(7);
        let kind = |change: Change<'_>| change.notice(now).map(|notice| notice.kind);
        assert_eq!(kind(Change::Fail { reason: "r" }), Some(Kind::WebhookFailing));
        assert_eq!(kind(Change::SwitchOff { reason: "r" }), Some(Kind::WebhookOff));
        assert_eq!(kind(Change::Recover), Some(Kind::WebhookRecovered));
        assert_eq!((kind(Change::Resume { off: true }), kind(Change::Pause)), (None, None));
    }
}
