//! The PBX's slot in the stack: by its commands queue the agents of the PBX hear of commands. What an administrator is told where there is
//! none.

use shared::tables::{PbxSlots, SLOTS, SlotTaken};

const LIST_QUEUES: &str = "set `aws.commands_queue_urls` to the stack's output CommandsQueueUrls";

/// Why a PBX has no place in a stack, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}: {fix}")]
pub struct NoSlot {
    pub detail: String,
    pub fix: String,
}

/// The slot of a PBX, if its agents know the queue of that one. `queues` is how many they know, from the first one on.
pub fn usable(pbx_id: &str, taken: SlotTaken, queues: usize) -> Result<usize, NoSlot> {
    match taken {
        SlotTaken::Slot(slot) if slot <= queues => Ok(slot),
        SlotTaken::Slot(slot) => Err(NoSlot {
            detail: format!(
                "PBX `{pbx_id}` has slot {slot} of the stack, whose commands queue is not in the configuration"
            ),
            fix: LIST_QUEUES.to_owned(),
        }),
        SlotTaken::NoneLeft(slots) => Err(none_left(pbx_id, &slots, queues)),
    }
}

fn none_left(pbx_id: &str, slots: &PbxSlots, queues: usize) -> NoSlot {
    let holders = holders(slots);
    if queues < SLOTS && slots.free().next().is_some() {
        return NoSlot {
            detail: format!(
                "PBX `{pbx_id}` has no slot of the stack (taken: {holders}), and the commands queues of the free ones are not in the \
                 configuration"
            ),
            fix: format!(
                "{LIST_QUEUES}, or, if this PBX has replaced another one, free its slot with `infra/operate.py slots`"
            ),
        };
    }
    NoSlot {
        detail: format!(
            "PBX `{pbx_id}` has no slot of the stack, which serves {SLOTS} PBXs, and all are taken: {holders}"
        ),
        fix: "free one with `infra/operate.py slots`, or give this PBX a stack of its own".to_owned(),
    }
}

/// Who has which slot, for people.
pub fn holders(slots: &PbxSlots) -> String {
    slots.iter().map(|(slot, pbx)| format!("{slot} {pbx}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_of_use_only_with_its_queue() {
        assert_eq!(usable("branch", SlotTaken::Slot(1), 1), Ok(1));
        assert_eq!(usable("branch", SlotTaken::Slot(8), 8), Ok(8));
        let lacking = usable("branch", SlotTaken::Slot(2), 1).expect_err("one queue").to_string();
        assert!(lacking.contains("slot 2") && lacking.contains("CommandsQueueUrls"), "{lacking}");
        let old = usable("branch", SlotTaken::NoneLeft(PbxSlots::default()), 1).expect_err("one queue").to_string();
        assert!(old.contains("commands_queue_urls") && old.contains("operate.py slots"), "{old}");
        let full = usable("ninth", SlotTaken::NoneLeft(PbxSlots::default()), SLOTS).expect_err("none").to_string();
        assert!(full.contains("PBX `ninth`") && full.contains("8 PBXs") && full.contains("operate.py slots"), "{full}");
    }
}
