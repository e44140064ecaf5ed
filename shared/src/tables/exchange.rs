//! The exchange table: commands, agents and the names of calls that several agents share.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::item::{Item, Readable, TableError, item, key, number, text, value};
use crate::agent_status::AgentStatus;
use crate::aws::DateOfAnswer;
use crate::command::{Command, CommandState, Dial, Outcome, Stage};
use crate::event::Direction;
use crate::ids::{CallId, CommandId};

const AGENTS: &str = "AGENT";
pub(super) const PBX: &str = "PBX";
const COMMAND: &str = "command";

fn leg_key(pbx_id: &str, user_guid: &str, conference: &str, direction: Direction) -> Item {
    key(format!("LEG#{pbx_id}#{user_guid}"), format!("{conference}#{}", direction.as_str()))
}

fn command_key(id: CommandId) -> Item {
    key(format!("COMMAND#{id}"), COMMAND)
}

/// Whether a command was inserted, or which one was there already.
#[derive(Debug)]
pub enum Inserted {
    New,
    Existing(Box<Command>),
}

/// What came of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The command is this agent's. `date` is the cloud's time of the claim, when its answer was heard.
    Won { command: Box<Command>, date: Option<Timestamp> },
    /// Somebody else has it, or it has expired.
    Lost,
}

/// What agents remember together about one user's calls in one conference and direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LegItem {
    pub conference: String,
    pub direction: Direction,
    /// How many calls under this conference have ended.
    pub ended: u32,
    /// When the latest of them began, in milliseconds. Who watched the user by then has counted them itself.
    #[serde(default)]
    pub begun: Vec<i64>,
    /// The live call that has this conference as an alias, when it was named under another one.
    #[serde(default)]
    pub live: Option<CallId>,
    /// The call that ended last; an agent that still remembers it forgets it silently.
    #[serde(default)]
    pub last_ended: Option<CallId>,
    /// When it ended, in milliseconds. A leg that was alive before that moment belongs to it, and to no later call.
    #[serde(default)]
    pub last_ended_at: Option<i64>,
    pub expires_at: i64,
}

#[derive(Clone, Debug)]
pub struct Exchange {
    pub(super) client: Client,
    pub(super) table: String,
}

impl Exchange {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Writes a new command, unless another one with this id exists. One whose time is over is none: the TTL deletes late.
    pub async fn insert(&self, command: &Command) -> Result<Inserted, TableError> {
        let written = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(command_key(command.command_id), command)?))
            .condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")
            .expression_attribute_values(":now", number(command.created_at / 1000))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Inserted::New),
            Err(PutItemError::ConditionalCheckFailedException(error)) => {
                let existing = match error.item {
                    Some(existing) => Some(value(existing)?),
                    // It was there a moment ago and the answer lacks it: read it.
                    None => self.command(command.command_id).await?,
                };
                // The same command was written by an earlier attempt whose answer was lost.
                let another = existing.filter(|existing: &Command| existing != command);
                Ok(another.map_or(Inserted::New, |existing| Inserted::Existing(Box::new(existing))))
            }
            Err(error) => Err(TableError::request("insert the command", &error)),
        }
    }

    pub async fn command(&self, id: CommandId) -> Result<Option<Command>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(command_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the command", &error.into_service_error()))?;
        answer.item.map(value).transpose()
    }

    /// Turns a command that is still queued into `expired`, which proves that nothing happened and nothing will.
    pub async fn expire(&self, id: CommandId, now: Timestamp) -> Result<Command, TableError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(command_key(id)))
            .update_expression("SET #state = :expired, updatedAt = :now")
            .condition_expression("#state = :queued")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":expired", text("expired"))
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        conditional(update, "expire the command").await.map(|(_, command)| command)
    }

    /// Takes a queued command. An answer that was lost on the way is recognised by the token.
    pub async fn claim(&self, id: CommandId, token: &str, agent_id: &str, now: Timestamp) -> Result<Claim, TableError> {
        let date = DateOfAnswer::default();
        let claimed = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(command_key(id)))
            .update_expression("SET #state = :running, #token = :token, #owner = :owner, updatedAt = :now")
            .condition_expression("#state = :queued")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#token", "token")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":running", text("running"))
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":owner", text(agent_id))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(date.clone())
            .send()
            .await;
        match claimed.map_err(SdkError::into_service_error) {
            Ok(answer) => match answer.attributes {
                Some(command) => Ok(Claim::Won { command: Box::new(value(command)?), date: date.get() }),
                None => Ok(Claim::Lost),
            },
            Err(UpdateItemError::ConditionalCheckFailedException(mut error)) => {
                let command: Option<Command> = error.item.take().map(value).transpose()?;
                Ok(match command {
                    Some(command) if command.token.as_deref() == Some(token) => {
                        Claim::Won { command: Box::new(command), date: date.get() }
                    }
                    _ => Claim::Lost,
                })
            }
            Err(error) => Err(TableError::request("claim the command", &error)),
        }
    }

    /// Writes how a claimed command ended. Returns whether it was still this claim's to write.
    pub async fn finish(&self, id: CommandId, token: &str, end: &Finish, now: Timestamp) -> Result<bool, TableError> {
        let (state, result, refusal) = match end {
            Finish::Expired => (CommandState::Expired, None, None),
            Finish::Done(Ok(result)) => (CommandState::Succeeded, Some(result.to_string()), None),
            Finish::Done(Err(refusal)) => (CommandState::Failed, None, Some(refusal)),
        };
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(command_key(id)))
            .condition_expression("#token = :token AND #state = :running")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":running", text("running"))
            .expression_attribute_values(":state", serde_dynamo::to_attribute_value(state)?)
            .expression_attribute_values(":now", number(now.as_millisecond()));
        let mut expression = "SET #state = :state, updatedAt = :now".to_owned();
        if let Some(result) = result {
            expression.push_str(", #result = :result");
            update = update
                .expression_attribute_names("#result", "result")
                .expression_attribute_values(":result", text(result));
        }
        if let Some(refusal) = refusal {
            expression.push_str(", refusal = :refusal");
            update = update.expression_attribute_values(":refusal", serde_dynamo::to_attribute_value(refusal)?);
        }
        let update = update.update_expression(expression);
        let (written, command): (bool, Command) = conditional(update, "write the result").await?;
        // An earlier attempt whose answer was lost may have written it.
        Ok(written || (command.token.as_deref() == Some(token) && command.state == state))
    }

    /// Writes down what a long command is about to do, or has done, and that it is still at work. Returns whether the command
    /// is still this claim's.
    pub async fn progress(
        &self,
        id: CommandId,
        token: &str,
        dials: &[Dial],
        stage: Stage,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(command_key(id)))
            .update_expression("SET dials = :dials, stage = :stage, updatedAt = :now")
            .condition_expression("#token = :token AND #state = :running")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":running", text("running"))
            .expression_attribute_values(":dials", serde_dynamo::to_attribute_value(dials)?)
            .expression_attribute_values(":stage", serde_dynamo::to_attribute_value(stage)?)
            .expression_attribute_values(":now", number(now.as_millisecond()));
        let (written, _): (bool, Command) = conditional(update, "write the progress").await?;
        Ok(written)
    }

    /// Makes a running command of an agent that is gone this agent's, to clean up behind it. `None`: it has ended, or somebody
    /// else was quicker.
    pub async fn take_over(
        &self,
        id: CommandId,
        gone: &str,
        token: &str,
        agent_id: &str,
        now: Timestamp,
    ) -> Result<Option<Command>, TableError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(command_key(id)))
            .update_expression("SET #token = :token, #owner = :owner, stage = :stage, updatedAt = :now")
            .condition_expression("#owner = :gone AND #state = :running")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#token", "token")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":owner", text(agent_id))
            .expression_attribute_values(":gone", text(gone))
            .expression_attribute_values(":running", text("running"))
            .expression_attribute_values(":stage", serde_dynamo::to_attribute_value(Stage::CleaningUp)?)
            .expression_attribute_values(":now", number(now.as_millisecond()));
        let taken: (bool, Option<Command>) = conditional_if_any(update, "take the command over").await?;
        Ok(taken.1.filter(|command| taken.0 || command.token.as_deref() == Some(token)))
    }

    /// Notes that this agent does not know a call of the command; returns the command as it is now.
    pub async fn decline(&self, id: CommandId, agent_id: &str) -> Result<Command, TableError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(command_key(id)))
            .update_expression("ADD declined :agent")
            .condition_expression("#state = :queued")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":agent", AttributeValue::Ss(vec![agent_id.to_owned()]));
        conditional(update, "note the refusal").await.map(|(_, command)| command)
    }

    /// Asks for nothing, to find out whether the table answers.
    pub async fn answers(&self) -> Result<(), TableError> {
        let asked = self.client.get_item().table_name(&self.table).set_key(Some(key(PBX, PBX))).send().await;
        asked.map(drop).map_err(|error| TableError::request("answer", &error.into_service_error()))
    }

    pub async fn beat(&self, status: &AgentStatus) -> Result<(), TableError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(key(AGENTS, &status.agent_id), status)?))
            .send()
            .await
            .map(drop)
            .map_err(|error| TableError::request("take the heartbeat", &error.into_service_error()))
    }

    /// Takes leave: an agent that was stopped in order is not offline, it is gone.
    pub async fn leave(&self, agent_id: &str) -> Result<(), TableError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(AGENTS, agent_id)))
            .send()
            .await
            .map(drop)
            .map_err(|error| TableError::request("take the leave", &error.into_service_error()))
    }

    /// Forgets an agent that is gone and has left nothing undone, unless it has been heard of since.
    pub async fn forget(&self, gone: &AgentStatus) -> Result<(), TableError> {
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(AGENTS, &gone.agent_id)))
            .condition_expression("updatedAt = :seen")
            .expression_attribute_values(":seen", number(gone.updated_at))
            .send()
            .await;
        match deleted.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(()),
            Err(error) if error.is_conditional_check_failed_exception() => Ok(()),
            Err(error) => Err(TableError::request("forget the agent", &error)),
        }
    }

    /// All agents whose heartbeat is fresh.
    pub async fn agents(&self, now: Timestamp) -> Result<Vec<AgentStatus>, TableError> {
        let mut agents = self.known_agents().await?;
        agents.retain(|agent| agent.is_fresh(now));
        Ok(agents)
    }

    /// All agents that were heard of in the last day and have not taken leave, or have left something undone.
    pub async fn known_agents(&self) -> Result<Vec<AgentStatus>, TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :agents")
            .expression_attribute_values(":agents", text(AGENTS))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("list the agents", &error.into_service_error()))?;
        Ok(Readable::of(answer.items.unwrap_or_default(), value).logged("agent's status"))
    }

    /// What agents remember about the calls of one user, by conference and direction.
    pub async fn legs(&self, pbx_id: &str, user_guid: &str, now: Timestamp) -> Result<Vec<LegItem>, TableError> {
        let mut legs = Vec::new();
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :legs")
            .expression_attribute_values(":legs", text(format!("LEG#{pbx_id}#{user_guid}")))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| TableError::request("list the legs", &error.into_service_error()))?;
            legs.push(value::<LegItem>(item)?);
        }
        legs.retain(|leg| leg.expires_at > now.as_second());
        Ok(legs)
    }

    /// What agents remember about one user's calls in this conference and direction, as it is at this moment.
    pub async fn leg(
        &self,
        pbx_id: &str,
        user_guid: &str,
        (conference, direction): (&str, Direction),
        now: Timestamp,
    ) -> Result<Option<LegItem>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(leg_key(pbx_id, user_guid, conference, direction)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the leg", &error.into_service_error()))?;
        let leg: Option<LegItem> = answer.item.map(value).transpose()?;
        Ok(leg.filter(|leg| leg.expires_at > now.as_second()))
    }

    /// Writes what is known about a leg. Counts only grow, so of two agents' writes the one that knows more stays.
    pub async fn remember_leg(&self, pbx_id: &str, user_guid: &str, leg: &LegItem) -> Result<(), TableError> {
        let key = leg_key(pbx_id, user_guid, &leg.conference, leg.direction);
        let written = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(key, leg)?))
            .condition_expression("attribute_not_exists(pk) OR ended <= :ended")
            .expression_attribute_values(":ended", number(leg.ended.into()))
            .send()
            .await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(()),
            Err(error) if error.is_conditional_check_failed_exception() => Ok(()),
            Err(error) => Err(TableError::request("remember the leg", &error)),
        }
    }
}

/// How a claimed command ended.
#[derive(Debug)]
pub enum Finish {
    /// Claimed too late to act; nothing was sent to the PBX.
    Expired,
    Done(Outcome),
}

/// Sends a conditional update and returns whether the condition held, with the item as it is afterwards either way.
async fn conditional<T: serde::de::DeserializeOwned>(
    update: UpdateItemFluentBuilder,
    verb: &'static str,
) -> Result<(bool, T), TableError> {
    let (held, item) = conditional_item(update, verb).await?;
    Ok((held, value(item.unwrap_or_default())?))
}

/// The same where the item may not exist.
async fn conditional_if_any<T: serde::de::DeserializeOwned>(
    update: UpdateItemFluentBuilder,
    verb: &'static str,
) -> Result<(bool, Option<T>), TableError> {
    let (held, item) = conditional_item(update, verb).await?;
    Ok((held, item.map(value).transpose()?))
}

pub(super) async fn conditional_item(
    update: UpdateItemFluentBuilder,
    verb: &'static str,
) -> Result<(bool, Option<Item>), TableError> {
    let answer = update
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await
        .map_err(SdkError::into_service_error);
    match answer {
        Ok(answer) => Ok((true, answer.attributes)),
        Err(UpdateItemError::ConditionalCheckFailedException(mut error)) => Ok((false, error.item.take())),
        Err(error) => Err(TableError::request(verb, &error)),
    }
}
