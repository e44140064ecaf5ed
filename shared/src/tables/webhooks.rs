//! The part of the state table that holds webhooks: what their owners decided, and how they are doing.
//!
//! The two are written by different programs at the same time, so neither ever overwrites the other: each write names the
//! attributes that it changes, and a change of state names the state that it starts from.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use jiff::Timestamp;

use super::state::StateTable;
use super::{Item, TableError, item, key, number, text, value};
use crate::ids::{CallId, SubscriptionId};
use crate::subscription::{PreviousSecret, Secret, Settings, Subscription, SubscriptionState};

const WEBHOOKS: &str = "WEBHOOK";

pub(super) fn webhook_key(id: SubscriptionId) -> Item {
    key(WEBHOOKS, id.to_string())
}

/// A change of a webhook's state.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Nothing was accepted for too long.
    Fail { reason: &'a str },
    /// Something was accepted, or somebody says that it will be.
    Drain { by_hand: bool },
    /// Nothing is parked any more.
    Activate,
    /// The receiver wants no more.
    SwitchOff { reason: &'a str },
}

impl StateTable {
    pub async fn put_subscription(&self, subscription: &Subscription) -> Result<(), TableError> {
        self.put(item(webhook_key(subscription.id), subscription)?, "store the webhook").await
    }

    /// Stores a webhook unless there is one of this id, which is returned then.
    pub async fn put_new_subscription(&self, subscription: &Subscription) -> Result<Option<Subscription>, TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(webhook_key(subscription.id), subscription)?))
            .condition_expression("attribute_not_exists(pk)");
        match put.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(None),
            Err(PutItemError::ConditionalCheckFailedException(_)) => self.subscription(subscription.id).await,
            Err(error) => Err(TableError::request("store the webhook", &error)),
        }
    }

    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, TableError> {
        let items = self.query(WEBHOOKS.to_owned(), "", "list the webhooks").await?;
        items.into_iter().map(value).collect()
    }

    pub async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the webhook", &error.into_service_error()))?;
        answer.item.map(value).transpose()
    }

    /// Replaces what the owner decided. `None`: there is no such webhook any more.
    pub async fn change_settings(
        &self,
        id: SubscriptionId,
        settings: &Settings,
    ) -> Result<Option<Subscription>, TableError> {
        let attributes: Item = serde_dynamo::to_item(settings)?;
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
        if settings.expires_at.is_none() {
            expression.push_str(" REMOVE expiresAt");
        }
        changed(update.update_expression(expression), "change the webhook").await
    }

    /// Gives a webhook another secret, beside which earlier ones stay valid for a while. `None`: it has another one already.
    pub async fn rotate_secret(
        &self,
        id: SubscriptionId,
        present: &Secret,
        secret: &Secret,
        previous: &[PreviousSecret],
    ) -> Result<Option<Subscription>, TableError> {
        let update = self
            .update_webhook(id)
            .update_expression("SET previousSecrets = :previous, secret = :secret REMOVE previousSecret")
            .condition_expression("secret = :present")
            .expression_attribute_values(":secret", text(secret.expose()))
            .expression_attribute_values(":present", text(present.expose()))
            .expression_attribute_values(":previous", serde_dynamo::to_attribute_value(previous)?);
        changed(update, "rotate the webhook's secret").await
    }

    /// Deletes a webhook. Returns whether there was one.
    pub async fn delete_subscription(&self, id: SubscriptionId) -> Result<bool, TableError> {
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(|error| TableError::request("delete the webhook", &error.into_service_error()))?;
        Ok(deleted.attributes.is_some_and(|item| !item.is_empty()))
    }

    /// Changes the state if it is one that the change starts from. Returns the webhook as it is then, or `None` when nothing
    /// was changed.
    pub async fn change_state(
        &self,
        id: SubscriptionId,
        change: &Change<'_>,
        now: Timestamp,
    ) -> Result<Option<Subscription>, TableError> {
        use SubscriptionState::{Active, Draining, Failing, Off};
        let (to, from, reason): (_, &[SubscriptionState], Option<&str>) = match change {
            Change::Fail { reason } => (Failing, &[Active, Draining], Some(reason)),
            Change::Drain { by_hand: false } => (Draining, &[Failing], None),
            Change::Drain { by_hand: true } => (Draining, &[Failing, Draining, Off], None),
            Change::Activate => (Active, &[Draining], None),
            Change::SwitchOff { reason } => (Off, &[Active, Failing, Draining], Some(reason)),
        };
        let names: Vec<String> = (0..from.len()).map(|n| format!(":from{n}")).collect();
        let mut condition = format!("#state IN ({})", names.join(", "));
        if matches!(change, Change::Activate) {
            condition.push_str(" AND parked <= :none");
        }
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .condition_expression(condition)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":to", text(to.as_str()))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        for (name, state) in names.iter().zip(from) {
            update = update.expression_attribute_values(name, text(state.as_str()));
        }
        if matches!(change, Change::Activate) {
            update = update.expression_attribute_values(":none", number(0));
        }
        let update = match reason {
            Some(reason) => update
                .update_expression("SET #state = :to, stateSince = :now, reason = :reason")
                .expression_attribute_values(":reason", text(reason)),
            None => update.update_expression("SET #state = :to, stateSince = :now REMOVE reason"),
        };
        changed(update, "change the webhook's state").await
    }

    /// Notes that something was accepted; a webhook that was deleted meanwhile stays deleted.
    pub async fn note_success(&self, id: SubscriptionId, now: Timestamp) -> Result<(), TableError> {
        let update = self
            .update_webhook(id)
            .update_expression("SET lastSuccessAt = :now")
            .expression_attribute_values(":now", number(now.as_millisecond()));
        changed(update, "note the webhook's success").await.map(drop)
    }

    /// Notes whose delivery was tried while the webhook fails.
    pub async fn note_probe(&self, id: SubscriptionId, subject: CallId) -> Result<(), TableError> {
        let update = self
            .update_webhook(id)
            .update_expression("SET lastProbed = :call")
            .expression_attribute_values(":call", text(subject.to_string()));
        changed(update, "note the webhook's trial").await.map(drop)
    }

    fn update_webhook(&self, id: SubscriptionId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(webhook_key(id)))
            .condition_expression("attribute_exists(pk)")
    }
}

/// The webhook after the update, or `None` when its condition did not hold.
async fn changed(update: UpdateItemFluentBuilder, verb: &'static str) -> Result<Option<Subscription>, TableError> {
    match update.return_values(ReturnValue::AllNew).send().await.map_err(SdkError::into_service_error) {
        Ok(answer) => answer.attributes.map(value).transpose(),
        Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
        Err(error) => Err(TableError::request(verb, &error)),
    }
}
