//! Whether the stack has a place for this PBX.

use shared::tables::{Exchange, SLOTS, SlotTaken};

use super::report::{CheckReport, OpenHop};
use crate::config::Config;
use crate::pbx::identity::PbxIdentity;
use crate::peers::slots;

/// Reads the slots, and takes none.
pub(super) async fn check(config: &Config, exchange: &Exchange, report: &mut CheckReport, hop: OpenHop) {
    let taken = match exchange.pbx_slots().await {
        Ok(taken) => taken,
        Err(error) => {
            return report.broken(hop, error.to_string(), "mend the hop exchange-table, or update the agent");
        }
    };
    let (queues, free) = (config.aws.commands_queues().len(), taken.free().count());
    let identity = PbxIdentity::new(config.pbx.id.as_deref(), &config.agent.state_dir);
    let Some(pbx_id) = identity.known() else {
        if free > 0 {
            return report.good(hop, format!("{free} of {SLOTS} are free; the agent takes one when it knows its PBX"));
        }
        let detail = format!("all {SLOTS} are taken: {}", slots::holders(&taken));
        return report.warning(hop, detail, "if this PBX is not among them, free one with `infra/operate.py slots`");
    };
    let own = match taken.of(pbx_id) {
        Some(slot) => SlotTaken::Slot(slot),
        None if taken.free().any(|slot| slot <= queues) => {
            return report.good(hop, format!("PBX `{pbx_id}` has none yet; {free} of {SLOTS} are free"));
        }
        None => SlotTaken::NoneLeft(taken),
    };
    match slots::usable(pbx_id, own, queues) {
        Ok(slot) => report.good(hop, format!("PBX `{pbx_id}` has slot {slot} of {SLOTS}")),
        Err(none) => report.broken(hop, none.detail, none.fix),
    }
}
