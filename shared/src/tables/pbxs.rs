//! Which PBXs this stack serves, and by which of its commands queues each of them hears of commands.
//!
//! A PBX takes the lowest free slot by a conditional write and keeps it until an administrator frees it, so that no agent ever listens
//! to the queue of another PBX. The queues of the slots are written by the functions, which know their addresses.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use super::item::{Readable, TableError, item, key, text, value};

const PBX: &str = "PBX";
const SLOT: &str = "slot#";
const QUEUES: &str = "queues";

/// PBXs that a stack serves at most: as many commands queues does the template have.
pub const SLOTS: usize = 8;

/// A slot that is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PbxSlot {
    /// From 1 on.
    pub slot: usize,
    pub pbx_id: String,
    /// Milliseconds.
    pub taken_at: i64,
}

/// What came of asking for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotTaken {
    Slot(usize),
    /// These PBXs have them all.
    NoneLeft(Vec<String>),
}

#[derive(Serialize, Deserialize)]
struct Queues {
    urls: Vec<String>,
}

impl Exchange {
    /// The slots that are taken, in their order.
    pub async fn pbx_slots(&self) -> Result<Vec<PbxSlot>, TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pbx AND begins_with(sk, :slot)")
            .expression_attribute_values(":pbx", text(PBX))
            .expression_attribute_values(":slot", text(SLOT))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("list the PBXs", &error.into_service_error()))?;
        let mut slots: Vec<PbxSlot> = Readable::of(answer.items.unwrap_or_default(), value).logged("PBX's slot");
        slots.sort_by_key(|slot| slot.slot);
        Ok(slots)
    }

    /// The slot of a PBX, which it takes if it has none.
    ///
    /// All agents try the slots in the same order, so two agents of a new PBX meet at the same one.
    pub async fn take_slot(&self, pbx_id: &str, now: Timestamp) -> Result<SlotTaken, TableError> {
        let mut taken = self.pbx_slots().await?;
        for slot in 1..=SLOTS {
            if let Some(own) = taken.iter().find(|taken| taken.pbx_id == pbx_id) {
                return Ok(SlotTaken::Slot(own.slot));
            }
            if taken.iter().all(|taken| taken.slot != slot)
                && let Some(other) = self.put_slot(slot, pbx_id, now).await?
            {
                taken.push(other);
            }
        }
        match taken.iter().find(|taken| taken.pbx_id == pbx_id) {
            Some(own) => Ok(SlotTaken::Slot(own.slot)),
            None => Ok(SlotTaken::NoneLeft(taken.into_iter().map(|taken| taken.pbx_id).collect())),
        }
    }

    /// Who has a slot after this: the PBX, or whoever was quicker.
    async fn put_slot(&self, slot: usize, pbx_id: &str, now: Timestamp) -> Result<Option<PbxSlot>, TableError> {
        let wanted = PbxSlot { slot, pbx_id: pbx_id.to_owned(), taken_at: now.as_millisecond() };
        let written = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(key(PBX, format!("{SLOT}{slot}")), &wanted)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Some(wanted)),
            Err(PutItemError::ConditionalCheckFailedException(error)) => Ok(error.item.map(value).transpose()?),
            Err(error) => Err(TableError::request("give a slot", &error)),
        }
    }

    /// Frees the slot of a PBX that is gone for good.
    pub async fn free_slot(&self, slot: usize) -> Result<(), TableError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(PBX, format!("{SLOT}{slot}"))))
            .send()
            .await
            .map(drop)
            .map_err(|error| TableError::request("free a slot", &error.into_service_error()))
    }

    /// The commands queues by slot, if a function has written them.
    pub async fn commands_queues(&self) -> Result<Vec<String>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(PBX, QUEUES)))
            .send()
            .await
            .map_err(|error| TableError::request("read the commands queues", &error.into_service_error()))?;
        let queues: Option<Queues> = answer.item.map(value).transpose()?;
        Ok(queues.map(|queues| queues.urls).unwrap_or_default())
    }

    /// Writes the commands queues by slot, for the agents.
    pub async fn tell_commands_queues(&self, urls: &[String]) -> Result<(), TableError> {
        let queues = Queues { urls: urls.to_vec() };
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(key(PBX, QUEUES), &queues)?))
            .send()
            .await
            .map(drop)
            .map_err(|error| TableError::request("take the commands queues", &error.into_service_error()))
    }
}
