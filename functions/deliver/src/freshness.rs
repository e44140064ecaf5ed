//! How long after it happened each kind of payload is worth delivering.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::config::{ConfigError, Vars};
use shared::delivery::{Delivery, Payload};
use shared::event::Status;
use shared::time::from_millis;

/// An update is a snapshot of a live call, and soon replaced by the next one.
const UPDATED: SignedDuration = SignedDuration::from_mins(2);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    ringing: SignedDuration,
    connected: SignedDuration,
    disconnected: SignedDuration,
}

impl Freshness {
    pub(crate) fn from_vars(vars: &impl Vars) -> Result<Self, ConfigError> {
        let seconds = |name, default: u32| Ok(SignedDuration::from_secs(vars.parsed(name, default)?.into()));
        Ok(Self {
            ringing: seconds("RINGING_FRESH_SECONDS", 30)?,
            connected: seconds("CONNECTED_FRESH_SECONDS", 120)?,
            disconnected: seconds("DISCONNECTED_FRESH_SECONDS", 3 * 24 * 60 * 60)?,
        })
    }

    /// The freshness of a replay counts from the replay.
    pub(crate) fn expires_at(&self, delivery: &Delivery) -> Timestamp {
        let limit = match &delivery.payload {
            Payload::Call(event) if event.update.is_some() => UPDATED,
            Payload::Call(event) => match event.status() {
                Status::Ringing => self.ringing,
                Status::Connected => self.connected,
                Status::Disconnected => self.disconnected,
            },
            // That something does not work is news as long as the end of a call is.
            Payload::Notice(_) => self.disconnected,
        };
        let from = delivery.replayed_at.map_or(delivery.payload.occurred_at(), from_millis);
        from.checked_add(limit).unwrap_or(Timestamp::MAX)
    }

    /// The time until a delivery is stale.
    pub(crate) fn left(&self, delivery: &Delivery, now: Timestamp) -> Duration {
        Duration::try_from(self.expires_at(delivery).duration_since(now)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use shared::event::CallEvent;

    use super::*;
    use crate::sample;

    #[test]
    fn each_status_has_its_freshness() {
        let freshness = Freshness::from_vars(&HashMap::from([("CONNECTED_FRESH_SECONDS", "7")])).expect("numbers");
        let delivery = sample::delivery();
        let after = |status: Status| {
            let mut delivery = delivery.clone();
            if let Payload::Call(event) = &mut delivery.payload {
                event.web_hook_event.status = status;
            }
            freshness.expires_at(&delivery).duration_since(delivery.payload.occurred_at()).as_secs()
        };
        assert_eq!([Status::Ringing, Status::Connected, Status::Disconnected].map(after), [30, 7, 259_200]);
        let update = CallEvent::update_example(sample::call_id(), sample::now());
        let update = Delivery::of_call(update, delivery.webhook_id);
        assert_eq!(freshness.expires_at(&update).duration_since(sample::now()).as_secs(), 120);
        // A replay is fresh again.
        let replayed_at = sample::now() + SignedDuration::from_hours(24);
        let replay = Delivery { replayed_at: Some(replayed_at.as_millisecond()), ..delivery };
        assert_eq!(freshness.expires_at(&replay).duration_since(replayed_at).as_secs(), 30);
        assert!(Freshness::from_vars(&HashMap::from([("RINGING_FRESH_SECONDS", "-1")])).is_err());
    }
}
