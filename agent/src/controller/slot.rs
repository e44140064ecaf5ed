//! The PBX's slot in the stack. A PBX that has none has no place there, and its session ends with the reason.

use std::time::Duration;

use shared::tables::SlotTaken;
use tokio::time::timeout;
use tracing::warn;

use super::state::{ControllerState, SessionEnd};
use crate::peers::slots;

/// A session does not wait longer for a table that is out of reach. The next heartbeat asks again.
const TAKE_WITHIN: Duration = Duration::from_secs(2);

impl ControllerState {
    /// Asks for the slot at the beginning of a session. Events are reported without the answer, too; commands wait for it.
    pub(super) async fn take_slot(&mut self, pbx_id: &str) -> Result<(), SessionEnd> {
        match timeout(TAKE_WITHIN, self.exchange.take_slot(pbx_id, self.queues)).await {
            Ok(Ok(taken)) => return self.slot_is(taken),
            Ok(Err(error)) => warn!("The slot of the PBX is not confirmed: {error}"),
            Err(_) => warn!("The slot of the PBX is not confirmed: the table does not answer"),
        }
        Ok(())
    }

    pub(super) fn slot_is(&mut self, taken: SlotTaken) -> Result<(), SessionEnd> {
        let usable = slots::usable(self.pbx_id.as_deref().unwrap_or("?"), taken, self.queues);
        self.tell(|status| status.slot = usable.as_ref().ok().copied());
        usable.map(drop).map_err(SessionEnd::from)
    }
}
