//! Which PBXs this stack serves, and by which of its commands queues each of them hears of commands.
//!
//! A PBX takes the lowest free slot by a conditional write and keeps it until an administrator frees it, so that no agent ever listens
//! to the queue of another PBX. All slots are one item, so that one condition keeps a slot from two PBXs and a PBX from two slots.
//!
//! The first slot is what earlier versions registered their only PBX as. Their agents take it from a PBX that was not heard of for a
//! while, so the time when it was heard of is set to one that never comes.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::exchange::{Exchange, PBX, conditional_item};
use super::item::{Item, TableError, key, number, text, value};

/// PBXs that a stack serves at most: as many commands queues does the template have.
pub const SLOTS: usize = 8;

/// The end of the year 9999, in milliseconds.
const NEVER_STALE: i64 = 253_402_300_799_999;

/// The slots that are taken, from 1 on, with the ids of their PBXs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PbxSlots {
    taken: BTreeMap<usize, String>,
    /// Agents of earlier versions do not take the first one.
    is_first_kept: bool,
}

/// What came of asking for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotTaken {
    Slot(usize),
    /// Other PBXs have all that could be had.
    NoneLeft(PbxSlots),
}

/// The attribute of a slot.
fn attribute(slot: usize) -> String {
    match slot {
        1 => "pbxId".to_owned(),
        slot => format!("pbxId{slot}"),
    }
}

impl PbxSlots {
    fn of_item(item: Option<Item>) -> Result<Self, TableError> {
        let Some(item) = item else { return Ok(Self::default()) };
        let fields: HashMap<String, Value> = value(item)?;
        let holder = |slot| Some((slot, fields.get(&attribute(slot))?.as_str()?.to_owned()));
        Ok(Self {
            taken: (1..=SLOTS).filter_map(holder).collect(),
            is_first_kept: fields.get("updatedAt").and_then(Value::as_i64) == Some(NEVER_STALE),
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.taken.iter().map(|(slot, pbx)| (*slot, pbx.as_str()))
    }

    pub fn of(&self, pbx_id: &str) -> Option<usize> {
        self.iter().find_map(|(slot, pbx)| (pbx == pbx_id).then_some(slot))
    }

    pub fn free(&self) -> impl Iterator<Item = usize> {
        (1..=SLOTS).filter(|slot| !self.taken.contains_key(slot))
    }
}

impl FromIterator<(usize, String)> for PbxSlots {
    fn from_iter<T: IntoIterator<Item = (usize, String)>>(taken: T) -> Self {
        Self { taken: taken.into_iter().collect(), is_first_kept: true }
    }
}

impl Exchange {
    /// The slots as they are at this moment.
    pub async fn pbx_slots(&self) -> Result<PbxSlots, TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pbx")
            .expression_attribute_values(":pbx", text(PBX))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("list the PBXs", &error.into_service_error()))?;
        PbxSlots::of_item(answer.items.unwrap_or_default().pop())
    }

    /// The slot of a PBX, which it takes out of the first so many if it has none. A PBX that has one costs a read.
    pub async fn take_slot(&self, pbx_id: &str, among: usize) -> Result<SlotTaken, TableError> {
        let mut slots = self.pbx_slots().await?;
        // Each attempt that fails shows that another PBX was quicker.
        for _ in 0..=SLOTS {
            let wanted = match slots.of(pbx_id) {
                Some(1) if !slots.is_first_kept => 1,
                Some(own) => return Ok(SlotTaken::Slot(own)),
                None => match slots.free().find(|slot| *slot <= among) {
                    Some(free) => free,
                    None => break,
                },
            };
            match self.put_slot(wanted, pbx_id).await? {
                None => return Ok(SlotTaken::Slot(wanted)),
                Some(as_they_are) => slots = as_they_are,
            }
        }
        Ok(slots.of(pbx_id).map_or(SlotTaken::NoneLeft(slots), SlotTaken::Slot))
    }

    /// Gives a PBX a slot unless the slot is another one's or the PBX has another one; then returns the slots as they are.
    async fn put_slot(&self, slot: usize, pbx_id: &str) -> Result<Option<PbxSlots>, TableError> {
        let others = (1..=SLOTS).filter(|other| *other != slot);
        let has_none = others.map(|other| format!(" AND #slot{other} <> :pbx")).collect::<String>();
        let condition = format!("(attribute_not_exists(#slot{slot}) OR #slot{slot} = :pbx){has_none}");
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(PBX, PBX)))
            .condition_expression(condition)
            .expression_attribute_values(":pbx", text(pbx_id));
        for slot in 1..=SLOTS {
            update = update.expression_attribute_names(format!("#slot{slot}"), attribute(slot));
        }
        update = if slot == 1 {
            update
                .update_expression("SET #slot1 = :pbx, updatedAt = :never")
                .expression_attribute_values(":never", number(NEVER_STALE))
        } else {
            update.update_expression(format!("SET #slot{slot} = :pbx"))
        };
        let (is_given, item) = conditional_item(update, "give a slot").await?;
        if is_given { Ok(None) } else { PbxSlots::of_item(item).map(Some) }
    }
}
